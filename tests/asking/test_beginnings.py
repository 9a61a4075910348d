"""How probable texts are as the beginning of an answer: a direct forward pass, whatever else is in the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.asking.backends._likelihoods import Branches, log_probabilities
from aftertune.asking.backends.transformers import Transformers
from aftertune.models.chat import encode, render_text
from aftertune.models.identity import resolve
from aftertune.models.loading import load_model, load_tokenizer
from aftertune.models.session import Beginnings
from aftertune.records import Message, Prompt

ASKED = (
    "Is it wet? (A) yes (B) no",
    "Where would you like to go, and with how many people? (A) Rome (B) the moon",
    "No?",
)
TEXTS = ("A", "(A", "B", "(B", "the second of May.")


def prompt(text: str, id_: str = "p") -> Prompt:
    return Prompt(id_, "b", "s", "c", "c", (Message("user", text),))


def asked(text: str, texts: Sequence[str] = TEXTS) -> Beginnings:
    return Beginnings(prompt(text), tuple(texts))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_a_direct_pass_over_prompt_and_text_says(family: Family, tmp_path: Path) -> None:
    base = tiny_models.save(family, tmp_path / "base")
    tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.3)
    model, tokenizer = load_model(resolve(base), "float32", "cpu"), load_tokenizer(resolve(base))
    gap = " " if family == "mistral" else ""
    with Transformers(batch_size=2, device="cpu").open(str(base)) as session:
        found = session.beginnings(
            [asked(text) for text in ASKED], system="Be short." if family == "llama" else None, template="base"
        )
        for text, score in zip(ASKED, found, strict=True):
            opened = render_text(tokenizer, prompt(text).messages, "Be short." if family == "llama" else None, True)
            start = len(encode(tokenizer, opened))
            assert score.prompt_tokens == start
            assert score.log_probabilities is not None
            for said, value, count in zip(TEXTS, score.log_probabilities, score.tokens, strict=True):
                ids = encode(tokenizer, opened + gap + said)
                assert count == len(ids) - start
                with torch.inference_mode():
                    logs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
                direct = sum(float(logs[at - 1, ids[at]]) for at in range(start, len(ids)))
                assert value == pytest.approx(direct, abs=2e-5)
        session.use(tmp_path / "adapter")
        tuned = session.beginnings([asked(ASKED[0])], system=None, template="own")[0]
        assert tuned.log_probabilities is not None
        assert found[0].log_probabilities is not None
        assert abs(tuned.log_probabilities[0] - found[0].log_probabilities[0]) > 1e-3


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory: pytest.TempPathFactory) -> object:
    return load_model(resolve(tiny_models.save("llama", tmp_path_factory.mktemp("m") / "base")), "float32", "cpu")


def _asked(draw: st.DrawFn) -> Branches:
    token = st.integers(0, 300)
    texts = draw(st.lists(st.lists(token, min_size=1, max_size=4), min_size=1, max_size=5))
    return Branches(draw(st.lists(token, min_size=1, max_size=25)), texts)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.composite(_asked)(), min_size=2, max_size=5), size=st.integers(1, 7))
def test_it_does_not_depend_on_the_batch(model: object, rows: list[Branches], size: int) -> None:
    together = log_probabilities(model, rows, 0, size)
    alone = [log_probabilities(model, [row], 7, 1)[0] for row in rows]
    for a, b in zip(together, alone, strict=True):
        assert a is not None
        assert b is not None
        assert a == pytest.approx(b, rel=1e-6, abs=5e-6)
        top = sorted(b, reverse=True)
        if len(set(top)) > 1 and top[0] - top[1] > 1e-4:
            assert a.index(max(a)) == b.index(max(b))


def test_what_goes_on_as_another_text_is_taken_out(model: object) -> None:
    """`1` beside `10` and `100`: the probabilities of the three add up to that of beginning with `1`."""
    prompt_, one, ten, hundred = [5, 9, 2], [20], [20, 30], [20, 30, 31]
    (alone,) = log_probabilities(model, [Branches(prompt_, [one])], 0, 4)
    (found,) = log_probabilities(model, [Branches(prompt_, [one, hundred, ten])], 0, 4)
    assert alone is not None
    assert found is not None
    assert math.exp(alone[0]) == pytest.approx(sum(map(math.exp, found)), rel=1e-6)
    (again,) = log_probabilities(model, [Branches(prompt_, [[20], [20]])], 0, 4)
    assert again == pytest.approx([alone[0], alone[0]]), "a text that stands twice is no continuation of itself"


def test_all_next_tokens_have_all_the_probability(model: object) -> None:
    (found,) = log_probabilities(model, [Branches([1, 2, 3], [[token] for token in range(420)])], 0, 4)
    assert found is not None
    assert sum(map(math.exp, found)) == pytest.approx(1, abs=1e-5)


def test_what_cannot_be_scored_says_why_and_the_others_are_scored(tmp_path: Path) -> None:
    base = tiny_models.save("llama", tmp_path / "base")
    with Transformers(device="cpu").open(str(base)) as session:
        long, empty, good, odd = session.beginnings(
            [asked("word " * 600), asked("hi", ("",)), asked("hi"), asked("word " * 80, ("word " * 500,))],
            system=None,
            template="base",
        )
    assert long.log_probabilities is empty.log_probabilities is odd.log_probabilities is None
    assert "context" in long.why
    assert "no tokens" in empty.why
    assert "the model reads 512" in odd.why
    assert good.log_probabilities is not None


def test_a_batch_that_fails_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aftertune.asking.backends import _likelihoods

    base = tiny_models.save("llama", tmp_path / "base")
    honest = _likelihoods.log_probabilities

    def small(model: object, rows: Sequence[Branches], *how: Any) -> list[list[float] | None]:
        if len(rows) > 1 or len(rows[0].prompt) > 60:
            raise RuntimeError("out of memory\nmore")
        return honest(model, rows, *how)

    monkeypatch.setattr(_likelihoods, "log_probabilities", small)
    with Transformers(device="cpu").open(str(base)) as session:
        one, two, three = session.beginnings(
            [asked("hi"), asked("hi " * 60), asked("No")], system=None, template="base"
        )
    assert two.why == "RuntimeError: out of memory"
    assert one.log_probabilities is not None
    assert three.log_probabilities is not None
