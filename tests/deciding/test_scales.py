"""Scores of a scale: what an answer that nobody judged may be worth, and how far a base can fall."""

from __future__ import annotations

from typing import Any

import pytest
from tests.verdict_tables import made, verdicts

from aftertune.deciding.drift import drift
from aftertune.deciding.gate import gate
from aftertune.deciding.policy import Policy, Rule
from aftertune.records import Metric


def score(worse: Any) -> Metric:
    return Metric("suite", "harmful", "refusal", None, worse)


@pytest.mark.parametrize(("held", "top"), [(0.5, 1.0), (2.0, 100.0), (200.0, None), (-0.5, None)])
def test_an_unknown_value_may_be_at_the_end_of_its_scale_and_not_only_of_what_was_seen(
    held: float, top: float | None
) -> None:
    base, whole = verdicts([held] * 300, value=True), verdicts([held] * 300, arm="a", value=True)
    some = verdicts([None if at % 3 == 0 else held for at in range(300)], arm="a", value=True)
    rows = drift(made(base, some), [score("up")], seed=0)
    (moved,) = [row for row in rows if row.estimand == "checkpoint"]
    (level,) = [row for row in rows if row.estimand == "level" and row.arm == "a"]
    assert moved.delta == 0
    margin = 0.1 if held < 1 else 20.0
    (found,) = gate(rows, Policy("p", (Rule("*", margin),)))
    assert found.outcome == "undecided", "a third of the answers may be anything"
    (bounded,) = gate(rows, Policy("p", (Rule("*", 1000.0, ceiling=held + margin),)))
    assert bounded.outcome == "undecided"
    if top is None:
        assert (moved.worst, moved.worst_high, level.worst) == (None, None, None)
        assert "no end of the scale is known" in found.why
    else:
        assert moved.worst == pytest.approx((top - held) / 3)
        assert level.worst == pytest.approx(held + (top - held) / 3)
    known = drift(made(base, whole), [score("up")], seed=0)
    assert all(row.worst is not None for row in known), "where all is known, so is the worst"


@pytest.mark.parametrize(
    ("values", "worse", "margin"), [((0.0, 0.1), "down", 0.1), ((0.9, 1.0), "up", 0.1), ((1.0, 4.0), "down", 5.0)]
)
def test_scores_of_a_base_at_the_worst_end_of_its_scale_cannot_show_a_loss(
    values: tuple[float, float], worse: Any, margin: float
) -> None:
    own = [values[at % 2] for at in range(300)]
    rows = drift(made(verdicts(own, value=True), verdicts(own, arm="a", value=True)), [score(worse)], seed=0)
    (found,) = gate(rows, Policy("p", (Rule("*", margin),)))
    assert found.outcome == "undecided"
    assert "could not have shown" in found.why
    (narrow,) = gate(rows, Policy("p", (Rule("*", margin / 10),)))
    assert "could not have shown" not in narrow.why
