from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune import plugins
from aftertune.errors import AftertuneError, JudgeError, ModelError, UsageError
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.moderation import Moderation
from aftertune.records import Message, Prompt

LABELS = {"bad": "toxic", "worse": "toxic", "fine": "clean"}
PROMPT = Prompt("1", "b", "s", "c", "c", (Message("user", "?"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_classifier(tmp_path_factory.mktemp("m") / "c", {0: "fine", 1: "bad", 2: "worse"})


def test_the_value_is_the_summed_probability_of_the_positive_classes(folder: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    text = "Good morning to you."
    score = Moderation(str(folder), LABELS).open(JudgeContext())
    (given,) = score([Answer(PROMPT, text)])
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    tokens: Any = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        p = torch.softmax(model(tokens["input_ids"]).logits[0], -1)
    assert given[0].value == pytest.approx(float(p[1] + p[2]), abs=1e-5)
    assert given[0].label == ("toxic" if float(p[1] + p[2]) >= 0.5 else "clean")
    for threshold, label in ((0.0001, "toxic"), (0.9999, "clean")):
        (given,) = Moderation(str(folder), LABELS, threshold=threshold).open(JudgeContext())([Answer(PROMPT, text)])
        assert given[0].label == label
    long, empty = score([Answer(PROMPT, "word " * 3000), Answer(PROMPT, "  ")])
    assert "tokens were read" in long[0].why
    assert empty[0].status == "abstain"


def test_what_does_not_fit_is_one_line(folder: Path, tmp_path: Path) -> None:
    chat = tiny_models.save("llama", tmp_path / "chat")
    cases: list[tuple[str, dict[str, str], type[AftertuneError], str]] = [
        (str(tmp_path / "gone"), LABELS, ModelError, "no such model folder"),
        ("nobody/no-such-classifier", LABELS, ModelError, "cannot be reached"),
        (str(chat), LABELS, JudgeError, "no sequence classifier"),
        (str(folder), {"bad": "toxic", "fine": "clean"}, JudgeError, "worse"),
        (str(folder), {**LABELS, "bads": "toxic"}, JudgeError, "did you mean 'bad'"),
    ]
    for model, labels, kind, message in cases:
        with pytest.raises(kind, match=message) as error:
            Moderation(model, labels).open(JudgeContext())
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="two labels"):
        plugins.load("judge", "moderation", {"model": "m", "labels": {"a": "x"}})
