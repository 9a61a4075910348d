"""Scores of texts: the loss that tuning takes, whatever else is in the batch, under base and checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.asking.backends import _likelihoods
from aftertune.asking.backends.transformers import Transformers
from aftertune.models.identity import resolve
from aftertune.models.loading import load_model, load_tokenizer
from aftertune.models.training_rows import training_rows
from aftertune.records import Conversation, Message

CHATS = [
    Conversation(str(at), (Message("user", asked), Message("assistant", said), *more))
    for at, (asked, said, more) in enumerate(
        [
            ("Good morning", "And to you.", ()),
            ("How do I repair a bicycle tyre?", "With care, and with a patch of the right size.", ()),
            ("No", "Why not?", (Message("user", "No"), Message("assistant", "All right then, until another day."))),
        ]
    )
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_is_the_loss_of_the_library(family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base"
    tiny_models.save(family, base)
    tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.3)
    model, tokenizer = load_model(resolve(base), "float32", "cpu"), load_tokenizer(resolve(base))
    with Transformers(batch_size=2, device="cpu").open(str(base)) as session:
        found = session.score(CHATS, template="base", max_length=200)
        for chat, score in zip(CHATS, found, strict=True):
            example = training_rows(tokenizer, chat.messages, 200)[0]
            labels = torch.tensor([example.labels])
            with torch.inference_mode():
                mean = float(model(input_ids=torch.tensor([example.input_ids]), labels=labels).loss)
            assert score.tokens == int((labels[:, 1:] != -100).sum())
            assert score.total == pytest.approx(mean * score.tokens, rel=1e-4)
        monkeypatch.setattr(_likelihoods, "FLOATS", 1)
        alone = session.score(CHATS[::-1], template="base", max_length=200)[::-1]
        assert [s.total for s in alone] == pytest.approx([s.total for s in found], rel=1e-5)
        session.use(tmp_path / "adapter")
        tuned = session.score(CHATS, template="own", max_length=200)
        assert all(abs((a.total or 0) - (b.total or 0)) > 1e-3 for a, b in zip(tuned, found, strict=True))


def test_what_cannot_be_scored_says_why(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "base")
    silent = Conversation("s", (Message("user", "hi"),))
    with Transformers(device="cpu").open(str(tmp_path / "base")) as session:
        none, cut, good = session.score([silent, CHATS[1], CHATS[0]], template="base", max_length=4)
    for score in (none, cut, good):
        assert score.total is None
        assert "no answer within the first 4 tokens" in score.why
