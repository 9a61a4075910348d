"""Scores of texts: the loss that tuning takes, whatever else is in the batch, under base and checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


class Noted:
    """Stands before an output layer and counts the positions that it is given."""

    def __init__(self, model: Any) -> None:
        self.positions: list[int] = []
        model.get_output_embeddings().register_forward_pre_hook(
            lambda _, args: self.positions.append(args[0].numel() // args[0].shape[-1])
        )


@pytest.mark.parametrize("fault", ["none", "takes none", "fails", "takes another", "another shape"])
def test_the_output_layer_is_computed_where_a_token_is_scored_or_the_score_is_the_same(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.save("llama", tmp_path / "base")
    reference = resolve(tmp_path / "base")
    model, tokenizer = load_model(reference, "float32", "cpu"), load_tokenizer(reference)
    expected = []
    for chat in CHATS:
        example = training_rows(tokenizer, chat.messages, 200)[0]
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([example.input_ids])).logits[0].double().log_softmax(-1)
        labels = list(enumerate(example.labels[1:]))
        expected.append(-sum(float(logits[at, label]) for at, label in labels if label != -100))
    kind = type(model)
    forward = kind.forward

    def faulty(self: Any, input_ids: Any = None, logits_to_keep: Any = 0, **named: Any) -> Any:
        if isinstance(logits_to_keep, torch.Tensor):
            if fault == "fails":
                raise IndexError("too many indices for a tensor")
            logits_to_keep = logits_to_keep.roll(1, 1) if fault == "takes another" else 0
        return forward(self, input_ids=input_ids, logits_to_keep=logits_to_keep, **named)

    def without(self: Any, input_ids: Any = None, attention_mask: Any = None, use_cache: bool = False) -> Any:
        return forward(self, input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    if fault != "none":
        monkeypatch.setattr(kind, "forward", without if fault == "takes none" else faulty)
    noted = Noted(model)
    found = _likelihoods.score_texts(model, tokenizer, CHATS, 200, 8)
    assert [score.total for score in found] == pytest.approx(expected, rel=3e-6)
    labelled, read = sum(score.tokens for score in found), noted.positions[-1]
    assert read == labelled if fault == "none" else read > labelled
