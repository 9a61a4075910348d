"""Many checks in a terminal fit the window, failures first, and nothing is left off without a word."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reporting.conftest import audit

from aftertune.headline import leading
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.terminal import decision_lines, discrimination_lines, result_table
from aftertune.reporting.terminal_matrix import check_matrix


def many(arms: int, metrics: int, outcomes: dict[tuple[int, int], Outcome] | None = None) -> Any:
    """Drifts and decisions of arms and metrics that pass, but for `outcomes` by (arm, metric)."""
    row, decision = audit().drifts[0], audit().decisions[0]
    drifts: list[Drift] = []
    decisions: list[Decision] = []
    for m in range(metrics):
        for a in range(arms):
            own: dict[str, Any] = {"metric": f"suite/set/axis-{m:02d}=x", "arm": f"arm-{a:02d}", "checkpoint": f"c{a}"}
            state = (outcomes or {}).get((a, m), "pass")
            drifts.append(dataclasses.replace(row, **own))
            decisions.append(dataclasses.replace(decision, **own, unit=own["arm"], outcome=state, worse="down"))
    return drifts, decisions


def test_thirty_adapters_and_eleven_metrics_are_a_screen_with_failures_first() -> None:
    drifts, decisions = many(30, 11, {(17, 3): "drift", (4, 3): "unconfirmed", (4, 9): "undecided"})
    lines = result_table(drifts, decisions, 80, 24)
    assert len(lines) <= 24
    assert all(len(line) <= 120 for line in lines)
    assert [line.split()[0] for line in lines[:3]] == ["[1]", "arm-17", "arm-04"]
    assert lines[1].split()[1:3] == ["D", "-1.2"]
    assert lines[2].split()[1] == "B"
    assert "[1] suite/set/axis-03=x, lower is worse" in lines
    assert lines[-1] == (
        "not shown: 28 arms with every check passed; 9 metrics that every arm passes (drift --all shows them)"
    )
    assert "B beyond the margin, not confirmed" in " ".join(lines)


def test_all_shows_every_arm_and_metric_in_blocks_that_fit() -> None:
    drifts, decisions = many(30, 11, {(17, 3): "drift"})
    lines = check_matrix(drifts, decisions, 60, 24, whole=True)
    assert all(sum(line.startswith(f"arm-{a:02d}") for line in lines) >= 2 for a in range(30))
    assert sum(line.startswith("[") for line in lines) == 11
    assert max(map(len, lines[:60])) <= 60
    assert not any("not shown" in line for line in lines)


@given(
    st.integers(1, 40), st.integers(1, 12), st.integers(30, 200), st.integers(10, 60),
    st.dictionaries(st.tuples(st.integers(0, 39), st.integers(0, 11)), st.sampled_from(["drift", "undecided", "error"])),
)  # fmt: skip
def test_it_fits_the_window_and_counts_what_it_leaves_off(
    arms: int, metrics: int, width: int, height: int, outcomes: Any
) -> None:
    drifts, decisions = many(arms, metrics, outcomes)
    lines = check_matrix(drifts, decisions, width, height)
    failing = {d.unit for d in decisions if d.outcome != "pass"}
    shown = [line for line in lines if line.startswith("arm-")]
    table = [line for line in lines if line.startswith(("arm-", " "))]
    assert all(len(line) <= max(width, 22) for line in table)
    assert len(shown) <= max(height, 5)
    if failing:
        hidden = [line for line in lines if line.startswith("not shown")]
        assert len(shown) == len(failing) or f"{len(failing) - len(shown):,} more arm" in hidden[0]
    else:
        assert lines == [
            f"all {arms * metrics:,} checks pass: {arms:,} arms, {metrics:,} metrics (drift --all shows them)"
        ]


def test_few_checks_stay_the_table_with_intervals() -> None:
    drifts, decisions = many(4, 6)
    assert "interval" in result_table(drifts, decisions, None)[0]
    drifts, decisions = many(5, 5)
    assert "interval" not in " ".join(result_table(drifts, decisions, None))
    assert "interval" in " ".join(result_table(drifts, decisions, None, whole=True))


@pytest.mark.parametrize(("arms", "more"), [(8, False), (9, True)])
def test_of_many_arms_those_that_decide_have_a_sentence(arms: int, more: bool) -> None:
    _, decisions = many(arms, 2, {(arms - 1, 1): "drift"})
    lines = decision_lines("drift", decisions, whole=False)
    assert len(lines) == 10 + more
    if more:
        assert lines[2].startswith(f"  arm-{arms - 1:02d}: drift")
        assert lines[-1] == "  1 more: 1 pass (drift --all shows them)"
    assert len(decision_lines("drift", decisions)) == 2 + arms
    assert discrimination_lines([], whole=False) == []


def test_json_leads_with_what_was_decided_on_and_leaves_levels_and_seeds_for_all() -> None:
    drifts, decisions = many(3, 2)
    levels = [dataclasses.replace(row, estimand="level") for row in drifts]
    assert leading([*drifts, *levels], decisions) == drifts
