"""Options and ratings by log-probability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges.choice import PLUGIN
from aftertune.records import Message, Prompt

OPTIONS = {"choice": {"options": {"A": "wet", "B": "dry", "C": "hot"}, "correct": "B"}}
SCALE = {"rating": {"scale": {"low": 1.0, "middle": 2.0, "high": 3.0}, "human": 1.5}}


def opinions(
    expect: Mapping[str, Any],
    scores: Mapping[str, float] | None,
    text: str = "",
    generate: bool = False,
    error: str = "",
) -> list[Opinion]:
    asked = {**expect, "scored": {"forms": {}, "per_token": False, "generate": generate}}
    prompt = Prompt("p", "b", "s", "c", "c", (Message("user", "?"),), asked)
    return list(PLUGIN().open(JudgeContext())([Answer(prompt, text, scores=scores, scores_error=error)])[0])


def logs(**shares: float) -> dict[str, float]:
    return {key: math.log(value) for key, value in shares.items()}


def test_the_value_is_the_log_odds_and_the_label_the_most_probable() -> None:
    (right,) = opinions(OPTIONS, logs(A=0.1, B=0.6, C=0.2))
    assert (right.axis, right.label) == ("choice", "correct")
    assert right.value == pytest.approx(math.log(0.6 / 0.3))
    assert "0.90 of the probability" in right.why
    (wrong,) = opinions(OPTIONS, logs(A=0.35, B=0.3, C=0.01))
    assert wrong.label == "wrong"
    (tie,) = opinions(OPTIONS, logs(A=0.3, B=0.3, C=0.3))
    assert tie.label == "wrong", "a tie is no choice of the right one"
    assert tie.value == pytest.approx(-math.log(2))


def test_very_improbable_options_are_told_apart_still() -> None:
    (found,) = opinions(OPTIONS, {"A": -900.0, "B": -890.0, "C": -901.0})
    assert found.label == "correct"
    assert found.value == pytest.approx(10 - math.log(1 + math.exp(-1)))


def test_both_ways_of_scoring_give_two_opinions_that_may_differ() -> None:
    found = {o.axis: o.label for o in opinions(OPTIONS, logs(A=0.1, B=0.6, C=0.2), "(A)", generate=True)}
    assert found == {"choice": "correct", "accuracy": "wrong"}
    unread = {o.axis: o.status for o in opinions(OPTIONS, logs(A=0.1, B=0.6, C=0.2), "well", generate=True)}
    assert unread == {"choice": "ok", "accuracy": "unparsable"}
    again = opinions(OPTIONS, None, "B", generate=True)
    assert [o.axis for o in again] == ["accuracy"], "a later sample is not scored again"


def test_a_rating_is_the_expectation_unless_the_numbers_have_too_little_probability() -> None:
    (found,) = opinions(SCALE, logs(**{"1": 0.2, "2": 0.2, "3": 0.1}))
    assert found.axis == "expected_rating"
    assert found.value == pytest.approx((1.8 - 1.5) / 2)
    (little,) = opinions(SCALE, logs(**{"1": 0.1, "2": 0.1, "3": 0.04}))
    assert (little.status, little.value) == ("unparsable", None)
    assert "0.24 of the probability" in little.why


def test_what_could_not_be_scored_is_an_error_with_its_reason() -> None:
    (found,) = opinions(OPTIONS, None, error="prompt and text have 700 tokens")
    assert (found.axis, found.status) == ("choice", "error")
    assert "700 tokens" in found.why
