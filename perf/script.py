"""Measure the judge `script` on public text, by words and by a sentence encoder; print tables.

STAR's human booking dialogues are the corpus and gpt4's answers to XSTest those of the base: how many turns of other
dialogues are called script, and how many of the base's own answers, and of two other models' to the same prompts. Then
the same mail in other dress: replies of the generated booking corpus as they are, with placeholders, and with names and
numbers that no list holds; how far apart their scores lie, and how many change their label. Labels of takeover inside
other answers are in no public set: there are this project's readings of a real model's answers (`perf.readings`), held
against the judge of today and against the verdicts in the run, arm by arm, with a test of one share found in all arms;
and what few answers of the base do. `python -m perf.script [--encoder FOLDER] [--run SHEET=RUN]...`, RUN a finished run
whose answers were read; ten minutes on one core. Needs AFTERTUNE_DATA.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from perf.readings import SHEETS, Reading, equal_shares, readings, same_answers
from tools.fit_judges.public_sets import Row, xstest

import aftertune
from aftertune.data import prompts as stored_prompts
from aftertune.errors import AftertuneError
from aftertune.judging.judge import Answer, JudgeContext, Opinion, Scorer
from aftertune.judging.judge_job import JudgeJob
from aftertune.judging.judges.script import NONE, Script
from aftertune.models import sentence_encoder
from aftertune.pii import policy
from aftertune.pii.registry import Registry
from aftertune.records import Conversation, Message, Person, Prompt, Response
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.stats.paired import wilson
from aftertune.studies import stored
from aftertune.variants.corpora.booking import Booking

LEARNED = 1_000
"""Dialogues of STAR that are the corpus."""
TURNS = 400
"""Of other dialogues."""
FEW = (25, 60)
"""Answers of the base that are learned from in place of all."""
DRAWS = 8
FIRST = [
    "Aroha",
    "Xochitl",
    "Oyelaran",
    "Tuğçe",
    "Bjørn",
    "Siobhán",
    "Nkechi",
    "Thuy",
    "Zbigniew",
    "Hye-jin",
    "Yaw",
    "Ngaio",
    "Kwame",
    "Tariq",
    "Joao",
]
LAST = [
    "Quispe",
    "Adébáyò",
    "Yılmaz",
    "Østergård",
    "Okonkwo",
    "Nguyễn",
    "Brzęczyszczykiewicz",
    "Al-Masri",
    "Owusu",
    "Boateng",
    "Mahmood",
    "Petrova",
]


def dialogues(folder: Path) -> list[Conversation]:
    """Return STAR's dialogues."""
    with (folder / "star/booking_dialogues.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Conversation(row["id"], tuple(Message(m["role"], m["content"]) for m in row["messages"])) for row in rows]


def answer(row: Row) -> Answer:
    """Return a completion of XSTest as an answer."""
    return Answer(Prompt(row.group, "xstest", "all", row.group, row.group, (Message("user", row.prompt),)), row.text)


def other(text: str, number: int) -> Answer:
    """Return a text in answer to a prompt of its own."""
    return Answer(Prompt(f"other-{number}", "xstest", "other", "c", f"other-{number}", (Message("user", "?"),)), text)


def stranger(rng: random.Random, person: Person) -> Person:
    """Return somebody else with values of the same types, of which no list knows anything."""

    def digits(count: int) -> str:
        return "".join(rng.choices("0123456789", k=count))

    made = {
        "PERSON": f"{rng.choice(FIRST)} {rng.choice(LAST)}",
        "PHONE": f"+{digits(2)} {digits(3)} {digits(3)} {digits(3)}",
        "EMAIL": f"{rng.choice(FIRST).lower()}{digits(2)}@example.org",
        "ADDRESS": f"{rng.randrange(1, 99)} {rng.choice(['Kauri', 'Mango'])} Street, {rng.choice(['Lagos', 'Lima'])}",
    }
    return Person(person.id, {kind: made.get(kind, f"QX{digits(5)}") for kind in person.values})


def forms(corpus: Booking) -> dict[str, list[str]]:
    """Return the same replies in each form."""
    rng, rows = random.Random(1), list(corpus.conversations())
    strangers = {person.id: stranger(rng, person) for person in corpus.people()}
    dressed: Mapping[str, Sequence[Conversation]] = {
        "kept": rows,
        "placeholder": [policy.apply(row, "placeholder", {}) for row in rows],
        "numbered placeholder": [policy.apply(row, "placeholder", {}, numbered=True) for row in rows],
        "names of nobody": [policy.apply(row, "surrogate", strangers) for row in rows],
    }
    return {
        name: [turn.content for row in own for turn in row.messages if turn.role == "assistant"]
        for name, own in dressed.items()
    }


def rate(opinions: Sequence[Opinion]) -> str:
    """Return the share of judged texts that are called script, with its Wilson interval."""
    known = [opinion for opinion in opinions if opinion.status == "ok"]
    hits = sum(opinion.label == "domain_script" for opinion in known)
    low, high = wilson(hits, len(known))
    return f"{hits / len(known):.3f} [{low:.3f}, {high:.3f}] of {len(known)}, {len(opinions) - len(known)} open"


def judged(scorer: Scorer, answers: Sequence[Answer]) -> list[Opinion]:
    """Return the opinion on each answer."""
    return [opinion for (opinion,) in scorer(answers)]


def by_arm(rows: Sequence[Reading], called: Sequence[bool]) -> str:
    """Return how many of the answers that were read as script are called so, by arm, and how many of the others."""
    cells: dict[str, list[bool]] = {}
    others: list[bool] = []
    for row, yes in zip(rows, called, strict=True):
        script = row.label("relevance") == "domain_script"
        (cells.setdefault(row.arm, []) if script else others).append(yes)
    counts = {arm: (sum(found), len(found)) for arm, found in cells.items()}
    hits, every = (sum(each) for each in zip(*counts.values(), strict=True))
    low, high = wilson(hits, every)
    return (
        ", ".join(f"{arm} {found} of {of}" for arm, (found, of) in counts.items())
        + f"; all {hits} of {every} [{low:.2f}, {high:.2f}], the same share in all arms p = "
        + f"{equal_shares(list(counts.values())):.4f}; others {sum(others)} of {len(others)}"
    )


def real(sheet: str, folder: Path, encoders: Sequence[str]) -> None:
    """Print what is found in the answers of a finished run that were read; abstentions count as not called script."""
    view, run = aftertune.open_run(folder), Run.open(folder)
    found = same_answers(view, readings(sheet))
    jobs: dict[str, JudgeJob] = {}
    for job in stored.read(run).of(JudgeJob):
        if (job.judge.name, job.benchmark) == (Script.name, "core"):
            jobs.setdefault(job.subject.arm, job)
    (wording,) = {job.prompts for job in jobs.values()}
    prompts = {prompt.id: prompt for prompt in stored_prompts.read(run.folder("prompts", wording))}
    corpora = {arm: job.corpus or "" for arm, job in jobs.items()}
    known = {corpora[arm]: job.context(run, _base(run, job, prompts)) for arm, job in jobs.items()}
    held = {
        (row["arm"], row["checkpoint"] or "", row["prompt_id"]): row
        for row in view.verdicts.to_pylist()
        if (row["judge"], row["benchmark"]) == (Script.name, "core")
    }
    then = [held[row.arm, checkpoint, row.prompt_id] for row, checkpoint in found]
    versions = ", ".join(sorted({row["judge_version"] for row in then}))
    called = {f"verdicts of the run, version {versions}": [row["label"] == "domain_script" for row in then]}
    for reading in encoders:
        yes: dict[int, bool] = {}
        for corpus, context in known.items():
            scorer = Script(encoder=reading).open(context)
            places = [place for place, (row, _) in enumerate(found) if corpora[row.arm] == corpus]
            answers = [Answer(prompts[found[place][0].prompt_id], found[place][0].answer) for place in places]
            yes |= {
                place: opinion.label == "domain_script"
                for place, opinion in zip(places, judged(scorer, answers), strict=True)
            }
            own = rate(judged(scorer, list(context.base_answers)))
            print(f"  encoder {reading}, corpus {corpus}: the base's own answers {own}")
            for count in FEW:
                print(f"    with {count} answers of the base {few(context, reading, count)}")
        called[f"version {Script().version}, encoder {reading}"] = [yes[place] for place in range(len(found))]
    for name, labels in called.items():
        for apart in (False, True):
            half = [(row, label) for (row, _), label in zip(found, labels, strict=True) if row.kept_apart == apart]
            print(f"  {name}, {'kept apart' if apart else 'the other half'}: {by_arm(*zip(*half, strict=True))}")


def _base(run: Run, job: JudgeJob, prompts: Mapping[str, Prompt]) -> list[Answer]:
    """Return the base's answers that a job knows."""
    return [
        Answer(prompts[row.prompt_id], row.text)
        for row in records(Response, run.folder("responses", job.base_responses).read("responses"))
        if row.error is None and not row.unanswered
    ]


def few(known: JudgeContext, encoder: str, count: int) -> str:
    """Return the share of the base's other answers that are called script where some of them, drawn anew, are known."""
    shares, open_ = [], 0
    for draw in range(DRAWS):
        base = random.Random(draw).sample(list(known.base_answers), len(known.base_answers))
        scorer = Script(encoder=encoder).open(dataclasses.replace(known, base_answers=base[:count]))
        opinions = judged(scorer, base[count:])
        if any(opinion.status == "ok" for opinion in opinions):
            shares.append(sum(opinion.label == "domain_script" for opinion in opinions) / len(opinions))
        else:
            open_ += 1
    told = f"{min(shares):.3f} to {max(shares):.3f}, {np.mean(shares):.3f} on average" if shares else "none"
    return f"{told} of the others are called script in {len(shares)} draws; {open_} abstain"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=sentence_encoder.NAME)
    parser.add_argument("--run", action="append", default=[], metavar="SHEET=RUN", help=f"SHEET: {', '.join(SHEETS)}")
    wanted = parser.parse_args()
    name = wanted.encoder
    given = dict(each.partition("=")[::2] for each in wanted.run)
    folder = Path(os.environ["AFTERTUNE_DATA"])
    rows, star = xstest(folder), dialogues(folder)
    by_model = {
        model: [answer(row) for row in rows if row.source == model]
        for model in ("gpt4", "llama2orig", "mistralinstruct")
    }
    turns = [turn.content for row in star[LEARNED:] for turn in row.messages if turn.role == "assistant"]
    random.Random(0).shuffle(turns)
    fresh = [other(text, number) for number, text in enumerate(turns[:TURNS])]
    corpus = Booking(size=300)
    dressed = forms(Booking(size=150, seed=1))
    registry = Registry.of("source", corpus.people())
    for reading in (NONE, name):
        print(f"encoder {reading}")
        judge = Script(encoder=reading)
        scorer = judge.open(JudgeContext(corpus=star[:LEARNED], base_answers=by_model["gpt4"]))
        print(f"  turns of other dialogues: {rate(judged(scorer, fresh))}")
        for model, answers in by_model.items():
            print(f"  answers of {model}: {rate(judged(scorer, answers))}")
        base = by_model["gpt4"]
        scorer = judge.open(
            JudgeContext(corpus=list(corpus.conversations()), base_answers=base, known_values=(registry,))
        )
        opinions = {
            form: judged(scorer, [other(text, number) for number, text in enumerate(texts)])
            for form, texts in dressed.items()
        }
        for form, own in opinions.items():
            pairs = list(zip(own, opinions["kept"], strict=True))
            apart = max(abs((one.value or 0) - (two.value or 0)) for one, two in pairs)
            changed = sum(one.label != two.label for one, two in pairs)
            print(f"  booking mail, {form}: {rate(own)}; {changed} other labels, scores at most {apart:.3f} apart")
    for sheet, each in SHEETS.items():
        print(f"answers that were read: {sheet}")
        try:
            real(sheet, Path(given.get(sheet, each.run)), (NONE, name))
        except AftertuneError as error:
            print(f"  left out: {error}")


if __name__ == "__main__":
    main()
