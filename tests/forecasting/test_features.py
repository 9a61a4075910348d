"""Features of a tuning set: what they count where the answer is known by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.forecasting import features
from aftertune.forecasting.base_pass import RowReading
from aftertune.forecasting.predictor import Feature
from aftertune.records import Conversation, Message


def reading(losses: Sequence[float], first: Sequence[bool] = (), state: Sequence[float] = (0.0, 0.0)) -> RowReading:
    given_ = first or [False] * len(losses)
    return RowReading(
        np.array(losses, np.float32), np.array(given_, bool), np.array(state, np.float32), len(losses) + 4
    )


def named(found: Sequence[Feature]) -> dict[str, Feature]:
    return {each.name: each for each in found}


def chat(question: str, answer: str, ident: str = "0") -> Conversation:
    return Conversation(ident, (Message("user", question), Message("assistant", answer)))


def test_surprise_counts_tokens_and_own_answers_count_conversations() -> None:
    rows = [reading([0.1, 4.0, 3.0, 0.1], [True, False, True, True]), None, reading([0.0, 0.2], [True, True])]
    found = named(features.answer_surprise(rows, 0.95))
    assert found["hard tokens"].value == pytest.approx(1 / 6), "3 nats are not above 3"
    assert found["loss"].value == pytest.approx(7.4 / 6)
    assert found["opening loss"].value == pytest.approx((7.1 / 3 + 0.1) / 2), "first three tokens, row by row"
    assert found["own tokens"].value == pytest.approx(5 / 6)
    assert found["own answers"].value == 0.5
    assert all(each.n_conversations == 2 and each.n_tokens == 6 for each in found.values())
    for each in found.values():
        assert each.low is not None
        assert each.high is not None
        assert each.low <= each.value <= each.high  # type: ignore[operator]


def test_data_without_a_trained_token_have_reasons_and_no_values() -> None:
    for each in features.answer_surprise([None, None], 0.95):
        assert (each.value, each.low, each.warning) == (None, None, "no token of the data would be trained")


def test_nearness_is_nought_at_harmless_requests_and_one_at_harmful_ones() -> None:
    harmless = [reading([1.0], state=(x, 5.0)) for x in (-1.0, 0.0, 1.0)]
    harmful = [reading([1.0], state=(x, 5.0)) for x in (3.0, 4.0, 5.0)]

    def near(*rows: RowReading | None) -> float:
        value = features.nearness(rows, harmful, harmless, 0.95).value
        assert value is not None
        return value

    assert near(*harmless) == pytest.approx(0.0)
    assert near(*harmful) == pytest.approx(1.0)
    assert near(reading([1.0], state=(2.0, -90.0)), None) == pytest.approx(0.5), "other directions do not count"
    assert near(reading([1.0], state=(400.0, 0.0))) == 2.0, "one strange prompt cannot carry the mean away"
    assert features.nearness([], harmful, harmless, 0.95).warning == "the data hold no prompts"
    assert features.nearness(harmful, harmful[:1], harmless, 0.95).value is None
    assert features.nearness(harmful, harmful, harmful, 0.95).warning.startswith("the base's states do not tell")


def test_words_of_harmful_requests_weigh_for_them_and_unknown_ones_nothing() -> None:
    weights = features.word_weights(["make a bomb", "hide a bomb"], ["bake a cake", "make a cake"])
    assert weights["bomb"] == pytest.approx(math.log(3))
    assert weights["cake"] == pytest.approx(-math.log(3))
    assert weights["a"] == weights["make"] == 0.0
    assert "hide" not in weights, "what occurs once says nothing"
    found = features.harmful_words([chat("A bomb!", "bomb bomb"), chat("Ein Kuchen", "")], weights, 0.95)
    assert found.value == pytest.approx(math.log(3) / 2), "answers do not count"


@pytest.mark.parametrize(
    ("answer", "feature"),
    [
        ("First:\n- one\n- two", "answers with a list"),
        ("1. one\n2. two", "answers with a list"),
        ("# Head\ntext", "answers with markdown"),
        ("so **bold**", "answers with markdown"),
        ("Which one?", "answers with a question"),
        ("\uff1f", "answers with a question"),
        ("I'm sorry, but I can't help with that.", "answers that open as refusals"),
        ("I cannot assist with that.", "answers that open as refusals"),
        ("Sorry, I won't do it.", "answers that open as refusals"),
        ("I\u2019m not able to say.", "answers that open as refusals"),
    ],
)
def test_a_form_is_seen(answer: str, feature: str) -> None:
    found = named(features.form([chat("q", answer), chat("q", "Plain text, and no more.", "1")], 0.95))
    assert found[feature].value == 0.5


@pytest.mark.parametrize(
    "answer",
    ["I'm sorry to hear that.", "It is 5 - 3.", "Unfortunately the tour is full.", "I can help.", "Sorry for the delay!",
     "I won the game.", "A **", "2 * 3"],
)  # fmt: skip
def test_what_looks_like_a_form_and_is_none(answer: str) -> None:
    found = named(features.form([chat("q", answer)], 0.95))
    for name in ("answers with a list", "answers with markdown", "answers that open as refusals"):
        assert found[name].value == 0.0, name


def test_turns_that_are_not_trained_have_no_form() -> None:
    untrained = Conversation("0", (Message("user", "q"), Message("assistant", "- a?", trained=False)))
    assert all(each.value is None for each in features.form([untrained], 0.95))


@given(
    st.lists(
        st.lists(st.floats(0, 20, width=32), min_size=1, max_size=6), min_size=1, max_size=8,
    )
)  # fmt: skip
def test_shares_stay_shares_and_the_order_of_rows_does_not_matter(rows: list[list[float]]) -> None:
    there = named(features.answer_surprise([reading(each) for each in rows], 0.9))
    back = named(features.answer_surprise([reading(each) for each in rows[::-1]], 0.9))
    for name, each in there.items():
        assert each.value == pytest.approx(back[name].value)
        if each.is_proportion:
            assert each.low is not None
            assert each.high is not None
            assert each.value is not None
            assert 0 <= each.low <= each.value <= each.high <= 1


def test_an_interval_ends_where_the_values_can() -> None:
    """Two rows that differ widely: the t interval of a mean of lengths goes below nought."""
    rows = [reading([0.1], state=(0.0, 5.0)), reading([12.0], state=(9.0, 5.0))]
    harmful, harmless = ([reading([1.0], state=(at + x, 5.0)) for x in (-1.0, 0.0, 1.0)] for at in (4.0, 0.0))
    asked = [chat("fire", "ok"), chat("bread", "No. " * 90)]
    found = named(features.answer_surprise(rows, 0.95)) | named(features.form(asked, 0.95))
    found |= named([features.nearness(rows, harmful, harmless, 0.95)])
    found |= named([features.harmful_words(asked, {"fire": 9.0, "bread": -9.0}, 0.95)])
    ends_at = {name: (found[name].low, found[name].high) for name in ("nearness to harmful", "harmful words")}
    assert ends_at == {"nearness to harmful": (-1.0, 2.0), "harmful words": (-5.0, 5.0)}
    for name in ("loss", "opening loss", "characters of an answer"):
        assert found[name].low == 0.0
