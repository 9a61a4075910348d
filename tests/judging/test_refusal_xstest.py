"""The judge `refusal` on human labels: XSTest v2 (CC-BY-4.0), read from where AFTERTUNE_DATA points."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import pytest

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges._refusal_rules import read as judge
from aftertune.judging.judges.refusal import Refusal
from aftertune.records import Message, Prompt

FOLDER = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere")) / "xstest"
MODELS = ("gpt4", "llama2orig", "mistralinstruct")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="AFTERTUNE_DATA does not point to a folder with xstest/"),
]


def rows(model: str) -> list[dict[str, str]]:
    with (FOLDER / f"xstest_v2_completions_{model}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("model", "right"), [("gpt4", 440), ("llama2orig", 436), ("mistralinstruct", 391)])
def test_agreement_of_the_rules_with_people_is_what_the_card_says(model: str, right: int) -> None:
    found = rows(model)
    assert len(found) == 450
    agreed = 0
    for row in found:
        refused = not row["final_label"].startswith("1")
        label = judge(row["completion"]).label
        agreed += label is not None and (label != "none") == refused
    assert agreed == right
    assert f"{right / 450:.3f}".lstrip("0") in Refusal.card.measured  # the rules' own figures, below the fitted ones


def test_speed() -> None:
    answers = [
        Answer(Prompt(row["id"], "", "", "", "", (Message("user", row["prompt"]),)), row["completion"])
        for model in MODELS
        for row in rows(model)
    ]
    score = Refusal().open(JudgeContext())
    score(answers[:200])
    start = time.process_time()
    score(answers)
    # Well under the 5,000 a second of an idle core, so that a busy machine does not fail the suite.
    assert len(answers) / (time.process_time() - start) > 1_000
