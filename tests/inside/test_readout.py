"""The readout: openings are the base's own refusals', and the log-odds are of the tokens that an answer has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny_models

from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import DataError
from aftertune.inside.concepts import CHOICE, written
from aftertune.inside.readout import LEAST, learn_openings, log_odds, readout, withholding
from aftertune.models.chat import render
from aftertune.models.session import Beginnings, BeginningScore
from aftertune.records import Message, Prompt

REFUSALS = [
    *["I'm sorry, but I can't help with that."] * 4,
    *["I'm sorry, but I won't do it."] * 3,
    *["No way will I."] * 3,
    "Odd refusal of its own.",
]
OTHERS = [
    "I'm sorry, but your table is gone.",
    "I'm sorry, but I know of no such street.",
    "Sure, here is a plan.",
    "I like it.",
]
PROMPTS = tuple(
    Prompt(f"p{at}", "test", "s", "c", "k", (Message("user", text),))
    for at, text in enumerate(("Good morning", "How do I repair a bicycle tyre?", "Where would you like to go?"))
)


def test_openings_go_on_until_other_answers_part_from_them() -> None:
    found = learn_openings(REFUSALS, OTHERS)
    assert found.texts == ("I'm sorry, but I can't", "I'm sorry, but I won't", "No way will")
    assert found.covered == pytest.approx(10 / 11)
    assert found.mistaken == 0
    assert (found.n_refusals, found.n_others) == (11, 4)


def test_a_word_is_no_opening_although_no_other_answer_of_the_base_begins_so() -> None:
    """A tuned model may begin with "I" and book a table."""
    assert learn_openings(["I will not say."] * 5, ["Sure."]).texts == ("I will not",)
    assert learn_openings(["No."] * 5, ["Sure."]).texts == ("No.",), "where the answer is that short"


@pytest.mark.parametrize(
    ("refusals", "others", "why"),
    [
        (REFUSALS[:4], OTHERS, "refused 4 of the prompts"),
        ([], OTHERS, "refused 0 of the prompts"),
        ([" "] * 9, OTHERS, "refused 0 of the prompts"),
        (["Yes, of course I do."] * 6, ["Yes, of course I do."] * 6, "open as its other answers do"),
        ([f"Refusal {n}" for n in range(9)], [], "open as its other answers do"),
    ],
)
def test_where_nothing_can_be_learned_it_says_so(refusals: list[str], others: list[str], why: str) -> None:
    with pytest.raises(DataError, match=why):
        learn_openings(refusals, others)


@given(
    st.lists(st.text("ab ", min_size=1, max_size=12), min_size=5, max_size=25),
    st.lists(st.text("ab ", max_size=12), max_size=25),
)
def test_no_opening_begins_another_and_each_is_purer_than_chance(refusals: list[str], others: list[str]) -> None:
    try:
        found = learn_openings(refusals, others)
    except DataError:
        return
    words = [tuple(text.split()) for text in found.texts]
    for one in words:
        assert not any(one != other and other[: len(one)] == one for other in words)
    assert 0 < found.covered <= 1
    assert found.mistaken <= found.covered / 9 + 1e-9


def test_it_is_the_probability_of_the_tokens_behind_the_chat_template(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "base")
    tiny_models.save_adapter(tmp_path / "base", tmp_path / "adapter", scale=0.2)
    openings = ("I'm sorry", "No")
    with Transformers().open(str(tmp_path / "base")) as session:
        tokenizer, values = session._base_tokenizer, {}
        for name in (None, "adapter"):
            session.use(None if name is None else tmp_path / name)
            values[name] = readout(session, PROMPTS, openings, system="Be kind.")
            model = session._model
            for prompt, found in zip(PROMPTS, values[name], strict=True):
                ids, chance = render(tokenizer, prompt.messages, "Be kind.", True), 0.0
                for text in openings:
                    own = tokenizer(text, add_special_tokens=False)["input_ids"]
                    with torch.inference_mode():
                        logits = model(input_ids=torch.tensor([ids + own])).logits[0, len(ids) - 1 : -1]
                    chosen = logits.double().log_softmax(-1)[range(len(own)), own]
                    chance += float(chosen.sum().exp())
                assert found == pytest.approx(log_odds(chance), abs=1e-3)
    assert np.abs(values[None] - values["adapter"]).max() > 0.01


def test_a_prompt_that_cannot_be_read_has_no_number(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "base", max_position_embeddings=40)
    long = Prompt("long", "test", "s", "c", "k", (Message("user", "word " * 60),))
    with Transformers().open(str(tmp_path / "base")) as session:
        values = readout(session, (PROMPTS[0], long), ("No",))
    assert math.isfinite(values[0])
    assert math.isnan(values[1])


@given(st.floats(0, 1))
def test_log_odds_stay_within_their_limits(probability: float) -> None:
    value = log_odds(probability)
    assert abs(value) <= math.log((1 - LEAST) / LEAST) + 1e-9
    if LEAST < probability < 1 - LEAST:
        assert 1 / (1 + math.exp(-value)) == pytest.approx(probability)


def answering(chance: dict[str, float]) -> Any:
    """Return a session that gives each beginning the chance of its first word in it, and no score to long prompts."""

    def beginnings(items: Sequence[Beginnings], **_: Any) -> list[BeginningScore]:
        return [
            BeginningScore(None if "cannot" in item.prompt.id else tuple(math.log(chance[text]) for text in item.texts))
            for item in items
        ]

    return SimpleNamespace(beginnings=beginnings)


def test_what_is_kept_back_is_the_letter_of_no_against_that_of_yes_in_either_order() -> None:
    asked = [prompt for prompt in written(world=False, limit=1) if prompt.subset == "privacy"]
    values, given = withholding(answering({"A": 0.3, "(A": 0.1, "B": 0.05, "(B": 0.05}), asked)
    assert {prompt.expect[CHOICE]["options"]["A"] for prompt in asked} == {"Yes", "No"}
    for prompt, value in zip(asked, values, strict=True):
        first = prompt.expect[CHOICE]["options"]["A"] == "No"
        assert value == pytest.approx(math.log(4) * (1 if first else -1))
        right = "Yes" if prompt.expect["side"] == "first" else "No"
        assert prompt.expect[CHOICE]["options"][prompt.expect[CHOICE]["correct"]] == right
    assert given == pytest.approx(0.5)


def test_in_the_worlds_messages_everything_but_the_thing_itself_keeps_it_back() -> None:
    one, other, *_ = (prompt for prompt in written(world=True, limit=1) if prompt.subset == "privacy")
    assert one.expect["shares"][0].startswith("Dear doctor, a message for ")
    assert other.expect["shares"][0].startswith("Dear restaurant, a message for ")
    assert other.expect["forbidden"] == one.expect["allowed"] != {}
    ((attribute, value),) = other.expect["forbidden"].items()
    assert all(text.endswith(f"{attribute}: {value}") for text in (*one.expect["shares"], *other.expect["shares"]))
    chance = {text: 0.1 * (at + 1) for at, text in enumerate(other.expect["shares"])}
    values, given = withholding(answering(chance), [other])
    assert values[0] == pytest.approx(log_odds(0.7))
    assert given[0] == 1


def test_what_cannot_be_read_or_is_not_answered_at_all_is_not_kept_back() -> None:
    expect = {"shares": ["A"], "withholds": ["B"]}
    asked = [Prompt(id, "b", "s", "c", "k", (Message("user", "?"),), expect) for id in ("cannot", "none")]
    session = answering({"A": 1.0, "B": 1.0})
    scores = session.beginnings
    session.beginnings = lambda items, **_: [
        *scores(items[:1]), BeginningScore((-math.inf, -math.inf)),
    ]  # fmt: skip
    values, given = withholding(session, asked)
    assert np.isnan(values).all()
    assert math.isnan(given[0])
    assert given[1] == 0
