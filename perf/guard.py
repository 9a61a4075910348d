"""The judge `guard` on sets, models and prompts that it was not fitted on; `python -m perf.judges guard` runs it.

`python -m perf.guard [N]` prints its speed alone, in all and by part, on N answers of 700 to 1,300 characters (512).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from perf import judges as tables
from tools.fit_judges import answer_sets, heads
from tools.fit_judges.answer_sets import Labelled
from tools.fit_judges.public_sets import xstest

from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges import _encoder_heads as reading
from aftertune.judging.judges import _refusal_rules as rules
from aftertune.judging.judges._refusal_stance import request
from aftertune.judging.judges.guard import HEADS, Guard, refusal_opinion
from aftertune.judging.judges.refusal import Refusal
from aftertune.models import sentence_encoder
from aftertune.records import Message, Prompt

FOLDS = (
    ("xstest", "diasafety"),
    ("gptfuzz", "openai_moderation", "xstest/gpt4"),
    ("jailbreak_evaluation", "hh_rlhf", "xstest/llama2orig"),
    ("jailbreakbench", "xstest/mistralinstruct", "star"),
)
"""Sets, and models of XSTest, that are left out together: each is measured by heads that saw none of the four."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """Rows of one set that heads read without having seen it."""

    name: str
    rows: list[Labelled]
    chances: NDArray[np.float64]
    """Of the axes of `answer_sets.AXES`, shape (rows, 3)."""


def left_out(folder: Path) -> list[Measured]:
    """Fit on all but each fold's sets and on two thirds of all prompts; read all of the sets that were left out."""
    rows = answer_sets.load(folder)
    with tempfile.TemporaryDirectory() as scratch:
        return of_folds(rows, heads.encode(sentence_encoder.find(), rows, Path(scratch)))


def of_folds(rows: Sequence[Labelled], encoded: heads.Encoded) -> list[Measured]:
    """Return what `left_out` does, of rows that the encoder has read."""
    names = np.array([row.set for row in rows])
    families = np.array([row.family for row in rows])
    constructed = np.array([row.constructed for row in rows])
    held = np.array([row.held_out for row in rows])
    out = []
    for fold in FOLDS:
        mine: Mask = np.isin(names, fold) | np.isin(families, fold)
        texts = {row.text for row, left in zip(rows, mine, strict=True) if left}
        fitted = ~mine & ~held & np.array([row.text not in texts for row in rows])
        fit = heads.fit(encoded, rows, fitted, heads.AXES)
        places = np.flatnonzero(mine & ~constructed)
        chances = 1 / (1 + np.exp(-heads.logits(fit, encoded, places)))
        for name in fold:
            some = (names[places] == name) | (families[places] == name)
            out.append(Measured(name, [rows[k] for k in places[some]], chances[some]))
    return out


def report(sets: Sequence[Measured], held: bool) -> None:
    """Print the tables on the prompts of the untouched third, or on the others."""
    print("on the third of all prompts that was looked at once" if held else "on the other two thirds of the prompts")
    for each in sets:
        some = [k for k, row in enumerate(each.rows) if row.held_out == held]
        part = Measured(each.name, [each.rows[k] for k in some], each.chances[some])
        if part.name.startswith("xstest"):
            _refusals(part)
        _axis(part, 1)
        _axis(part, 2)
        _others(part)


def _refusals(part: Measured) -> None:
    """Print refusals as the judge calls them, rules and heads together, and as the rules alone do."""
    rulings = [rules.read(row.text) for row in part.rows]
    called = [
        refusal_opinion(
            ruling,
            reading.Reading(float(p), 0, ""),
            reading.Readings([], 0, len(row.text.split())),
        ).label
        for ruling, p, row in zip(rulings, part.chances[:, 0], part.rows, strict=True)
    ]
    truth = np.array([row.refusal == 1 for row in part.rows])
    groups = tables.codes([row.group for row in part.rows])
    mine = np.array([label in ("full", "partial") for label in called])
    plain = np.array([ruling.label in ("full", "partial") for ruling in rulings])
    print(
        f"  {part.name} refusal (n {len(truth)}): accuracy {tables.rate(mine == truth, groups)}, AUROC "
        f"{tables.auroc(truth, part.chances[:, 0]):.3f}, sensitivity {mine[truth].mean():.3f}, specificity "
        f"{1 - mine[~truth].mean():.3f}; rules alone {(plain == truth).mean():.3f}"
    )


def _axis(part: Measured, axis: int) -> None:
    """Print one axis where the set knows it of both kinds of answers."""
    name = answer_sets.AXES[axis]
    y = np.array([getattr(row, name) for row in part.rows])
    known = ~np.isnan(y)
    if part.name.startswith("xstest"):
        unsafe = _unsafe_prompts(part.rows)
        if axis == 2 and (safe := known & ~unsafe & np.array([row.compliance == 1 for row in part.rows])).any():
            groups = tables.codes([row.group for row, use in zip(part.rows, safe, strict=True) if use])
            alarms = tables.rate(part.chances[safe, 2] >= 0.5, groups)
            print(f"  {part.name} answered safe prompts, called harmful: {alarms}")
        known &= unsafe
        name = f"{name}, unsafe prompts"
    if not known.any() or len(set(y[known])) < 2:
        return
    groups = tables.codes([row.group for row, use in zip(part.rows, known, strict=True) if use])
    y, p = y[known] == 1, part.chances[known, axis]
    right = (p >= 0.5) == y
    low, high = tables.auroc_interval(y.astype(float), p, groups)
    print(
        f"  {part.name} {name} (n {y.size}, {int(y.sum())} so): accuracy {tables.rate(right, groups)}, AUROC "
        f"{tables.auroc(y, p):.3f} [{low:.3f}, {high:.3f}], sensitivity {right[y].mean():.3f}, specificity "
        f"{right[~y].mean():.3f}"
    )


def _unsafe_prompts(rows: Sequence[Labelled]) -> Mask:
    """Return which rows answer an unsafe prompt of XSTest, whose full compliances count as harmful."""
    unsafe = {row.prompt for row in xstest(Path(os.environ["AFTERTUNE_DATA"])) if row.unsafe}
    return np.array([row.prompt in unsafe for row in rows])


def _others(part: Measured) -> None:
    """Print what is known otherwise: comparisons, and harmless sets."""
    if part.name == "hh_rlhf":
        pairs: dict[int, dict[bool, float]] = {}
        for row, p in zip(part.rows, part.chances[:, 2], strict=True):
            pairs.setdefault(row.pair, {})[row.better] = p
        right = np.array([pair[False] > pair[True] for pair in pairs.values() if len(pair) == 2])
        print(f"  hh_rlhf: the more harmful of two answers ranks higher: {tables.rate(right, np.arange(right.size))}")
    if part.name == "star":
        alarms = part.chances >= 0.5
        n = np.arange(len(alarms))
        print(f"  star called harmful {tables.rate(alarms[:, 2], n)}, refusals {tables.rate(alarms[:, 0], n)}")


def answer(row: Labelled) -> Answer:
    """Return a row as judges are given it."""
    turns = (Message("user", row.prompt),) if row.prompt else ()
    return Answer(Prompt(row.group, "", "", "", "", turns), row.text)


def rivals(folder: Path) -> None:
    """Print what the judge `refusal` as it ships makes of harm on the sets that it was never fitted on."""
    rows = [row for row in answer_sets.load(folder) if not row.constructed]
    score = Refusal().open(JudgeContext())
    for name in ("jailbreak_evaluation", "jailbreakbench", "diasafety", "openai_moderation"):
        mine = [row for row in rows if row.set == name]
        values = np.array([_of(each, "harm").value or 0.0 for each in score([answer(row) for row in mine])])
        groups = tables.codes([row.group for row in mine])
        for axis in ("compliance", "harm"):
            y = np.array([getattr(row, axis) for row in mine])
            if not np.isnan(y).any():
                right = (values >= 0.5) == (y == 1)
                print(
                    f"  {name} {axis}, by the judge refusal: accuracy {tables.rate(right, groups)}, AUROC "
                    f"{tables.auroc(y, values):.3f}"
                )


def _of(opinions: Sequence[Opinion], axis: str) -> Opinion:
    return next(opinion for opinion in opinions if opinion.axis == axis)


def traps() -> None:
    """Print harm and compliance on the hand-written hard pairs, which nothing is fitted on."""
    path = Path(__file__).parent.parent / "tests" / "judging" / "harm_traps.jsonl"
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    score = Guard().open(JudgeContext())
    for half in ("tune", "untouched"):
        mine = [pair for pair in pairs if pair["half"] == half]
        answers = [
            Answer(Prompt("", "", "", "", "", (Message("user", pair["prompt"]),)), pair["response"]) for pair in mine
        ]
        said = score(answers)
        y = np.array([pair["harmful"] for pair in mine], bool)
        for axis in ("compliance", "harm"):
            p = np.array([_of(each, axis).value or 0.0 for each in said])
            right = (p >= 0.5) == y
            print(
                f"  traps, {half}, {axis} against harmful: accuracy {tables.rate(right, np.arange(y.size))}, AUROC "
                f"{tables.auroc(y, p):.3f}, sensitivity {right[y].mean():.3f}, specificity {right[~y].mean():.3f}"
            )


def of_usual_length(folder: Path, count: int) -> list[Answer]:
    """Return answers of 700 to 1,300 characters."""
    rows = [row for row in answer_sets.load(folder) if not row.constructed and row.compliance in (0, 1)]
    return [answer(row) for row in rows if 700 <= len(row.text) <= 1300][:count]


def parts(answers: Sequence[Answer]) -> None:
    """Print the CPU milliseconds an answer of each part of a reading in float32."""
    import torch

    encoder, module = sentence_encoder.load(sentence_encoder.find()), reading.Module(reading.load(HEADS))

    def timed(what: str, do: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = do()
        print(f"  {what}: {1000 * (time.process_time() - start) / len(answers):.2f} ms an answer")
        return found

    texts = [reading.normalised(each.text) for each in answers]
    asked = [request(each.prompt) for each in answers]
    rulings = timed("rules", lambda: [rules.read_normalised(text) for text in texts])
    numbers = torch.from_numpy(timed("words", lambda: reading.numbers_of_words(asked, texts, rulings)))
    pairs = timed("tokens", lambda: [reading.pair(encoder, *each) for each in zip(asked, texts, strict=True)])
    batches = timed("encoder", lambda: list(encoder.states([each.ids for each in pairs], reading.LAYER)))
    owns = [
        mask & (torch.arange(mask.shape[1])[None, :] >= torch.tensor([pairs[k].before for k in places])[:, None])
        for places, _, mask in batches
    ]
    both = list(zip(batches, owns, strict=True))
    timed("heads", lambda: [module.weighed(s, mask, own, numbers[places]) for (places, s, mask), own in both])


def speed(folder: Path, count: int = 1024) -> None:
    """Print answers a CPU second by precision, and how many labels the second precision changes."""
    answers = of_usual_length(folder, count)
    parts(answers)
    labels: list[list[str | None]] = []
    for precision in sentence_encoder.PRECISIONS:
        score = Guard(precision=precision).open(JudgeContext())
        score(answers[:128])
        start = time.process_time()
        said = [opinions for k in range(0, len(answers), 512) for opinions in score(answers[k : k + 512])]
        took = time.process_time() - start
        labels.append([opinion.label for opinions in said for opinion in opinions])
        print(f"  {precision}: {len(answers) / took:.0f} answers of 700 to 1,300 characters a CPU second")
    flips = sum(one != other for one, other in zip(*labels, strict=True))
    print(f"  labels that differ between the two: {flips} of {len(labels[0])}")


def run(data: Any) -> None:
    """Print everything."""
    del data
    if not sentence_encoder.is_there():
        print(f"guard: skipped, {sentence_encoder.INSTALL}")
        return
    folder = Path(os.environ["AFTERTUNE_DATA"])
    speed(folder)
    traps()
    rivals(folder)
    sets = left_out(folder)
    report(sets, held=False)
    report(sets, held=True)


if __name__ == "__main__":
    speed(Path(os.environ["AFTERTUNE_DATA"]), int(sys.argv[1]) if sys.argv[1:] else 512)
