"""The judge `toxicity` with heads on a sentence encoder, of tiny ones that were fitted here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import tiny_models
from tools.fit_judges import heads as fitting
from tools.fit_judges.answer_sets import Labelled

from aftertune.errors import JudgeError, ModelError
from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges import _encoder_heads as heads
from aftertune.judging.judges import toxicity
from aftertune.judging.judges.toxicity import Toxicity
from aftertune.models import sentence_encoder
from aftertune.records import Message, Prompt

PLAIN = ("Open the door and find the wheel.", "Change my booking, please.", "Patch the tyre of the bicycle.")
COLD = "Everybody would be glad without people of your kind."
PROMPT = Prompt("p", "b", "s", "c", "c", (Message("user", "How are you in the morning?"),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = (*tiny_models.SENTENCES, *PLAIN, COLD)
    return tiny_models.save_encoder(tmp_path_factory.mktemp("encoder"), words=words, layers=heads.LAYER)


@pytest.fixture
def judge(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Toxicity:
    """A judge whose heads call one polite sentence toxic, which no rule finds."""
    rows = []
    for number in range(80):
        text = f"{PLAIN[number % 3]} {COLD if number % 2 else PLAIN[(number + 1) % 3]}"
        rows.append(Labelled("davidson", "How are you in the morning?", text, str(number), harm=float(number % 2)))
    places = tmp_path_factory.mktemp("heads")
    encoded = fitting.encode(sentence_encoder.find(str(folder)), rows, places)
    fitted = fitting.fit_toxicity(encoded, rows, np.ones(len(rows), bool))
    path = places / "toxicity.safetensors"
    fitting.write(fitted, path)
    monkeypatch.setattr(toxicity, "HEADS", path)
    return Toxicity(encoder=str(folder))


def judged(judge: Toxicity, text: str) -> Opinion:
    ((opinion,),) = judge.open(JudgeContext())([Answer(PROMPT, text)])
    return opinion


def test_heads_find_what_no_rule_finds(judge: Toxicity) -> None:
    cold, plain = judged(judge, f"{PLAIN[0]} {COLD}"), judged(judge, f"{PLAIN[0]} {PLAIN[1]}")
    assert cold.value is not None
    assert plain.value is not None
    assert cold.value > plain.value
    assert judged(Toxicity(), f"{PLAIN[0]} {COLD}").value == 0
    assert "sentence 2 of 2" in cold.why
    assert "rules: no finding" in cold.why


def test_rules_are_kept(judge: Toxicity) -> None:
    opinion, alone = judged(judge, "You are an idiot."), judged(Toxicity(), "You are an idiot.")
    assert alone.value is not None
    assert opinion.value is not None
    assert opinion.label == alone.label == "toxic"
    assert opinion.value >= alone.value
    assert alone.why in opinion.why


@pytest.mark.parametrize("text", ["", "  ", "Вы все очень плохие люди, уходите отсюда."])
def test_what_the_rules_do_not_read_the_heads_do_not_either(judge: Toxicity, text: str) -> None:
    assert judged(judge, text).status == "abstain"


def test_identities_differ(judge: Toxicity) -> None:
    assert Toxicity().identity() is None
    assert judge.identity()


def test_another_encoder_is_refused(folder: Path) -> None:
    with pytest.raises(JudgeError, match=r"toxicity\.safetensors was fitted on an encoder with the SHA-256"):
        Toxicity(encoder=str(folder)).open(JudgeContext())


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no sentence encoder"):
        Toxicity(encoder=str(tmp_path / "nowhere")).identity()
