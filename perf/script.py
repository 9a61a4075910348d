"""Measure the judge `script` on public text, by words and by a sentence encoder; print tables.

STAR's human booking dialogues are the corpus and gpt4's answers to XSTest those of the base: how many turns of other
dialogues are called script, and how many of the base's own answers, and of two other models' to the same prompts. Then
the same mail in other dress: replies of the generated booking corpus as they are, with placeholders, and with names and
numbers that no list holds; how far apart their scores lie, and how many change their label. Labels of takeover inside
other answers are in no public set. `python -m perf.script [--encoder FOLDER]`; three minutes on one core. Needs
AFTERTUNE_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.fit_judges.public_sets import Row, xstest

from aftertune.judging.judge import Answer, JudgeContext, Opinion, Scorer
from aftertune.judging.judges.script import NONE, Script
from aftertune.models import sentence_encoder
from aftertune.pii import policy
from aftertune.pii.registry import Registry
from aftertune.records import Conversation, Message, Person, Prompt
from aftertune.stats.paired import wilson
from aftertune.variants.corpora.booking import Booking

LEARNED = 1_000
"""Dialogues of STAR that are the corpus."""
TURNS = 400
"""Of other dialogues."""
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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=sentence_encoder.NAME)
    name = parser.parse_args().encoder
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


if __name__ == "__main__":
    main()
