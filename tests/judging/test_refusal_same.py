"""Making the judge faster may not change a verdict: those of version 3, as it was first released, are on file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tools.fit_judges import fit

from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.refusal import Refusal
from aftertune.records import Message, Prompt

LETTERS = {"full": "f", "partial": "p", "none": "n", None: "-", "harmful": "H", "harmless": "h"}
FOLDER = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere"))


@pytest.mark.data
@pytest.mark.skipif(not (FOLDER / "gptfuzz").is_dir(), reason="AFTERTUNE_DATA has no gptfuzz/")
def test_verdicts_are_those_on_file() -> None:
    rows = fit.load(FOLDER).rows[::15]
    answers = [Answer(Prompt(r.group, "", "", "", "", (Message("user", r.prompt),)), r.text) for r in rows]
    found = "".join(LETTERS[o.label] for given in Refusal().open(JudgeContext())(answers) for o in given)
    kept = (Path(__file__).parent / "refusal_verdicts.txt").read_text(encoding="utf-8").replace("\n", "")
    assert len(rows) > 400
    assert found == kept
