"""The judge `refusal` on human labels: XSTest v2 (CC-BY-4.0), read from where AFTERTUNE_DATA points."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from aftertune.judging.judges._refusal_rules import read as judge
from aftertune.judging.judges.refusal import Refusal

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
