"""Which rows lead: what a reader sees first of a run, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeVar

from aftertune.records import Decision, Drift

BY_NO_JUDGE = "nothing is decided by the judge"
"""How the warning of an estimate begins whose judge decides nothing (`Judge.shown_only`)."""


class Setting(Protocol):
    """A row of one temperature and epoch."""

    @property
    def temperature(self) -> float:
        """At which the responses were sampled."""

    @property
    def epoch(self) -> int | None:
        """Of the checkpoints; None where it is not known."""


Row = TypeVar("Row", bound=Setting)


def headline(drifts: Sequence[Drift], decisions: Sequence[Decision] = ()) -> list[Drift]:
    """Return the rows that lead, in the order in which they came; those of metrics that nothing is decided on last.

    Of each arm and metric the strongest estimand (`strongest`), at its lowest temperature and its last epoch; of
    several judges of a metric the one that `decisions` listen to, or all where none of them does.
    """
    rows = main_setting(_heard(strongest(drifts), drifts, decisions), group)
    decided = {decision.metric for decision in decisions}
    return sorted(rows, key=lambda row: row.metric not in decided)


def contrasts(drifts: Sequence[Drift], decisions: Sequence[Decision] = ()) -> list[Drift]:
    """Return the contrasts that lead: by the judges and at the settings of the headline."""
    return main_setting(_heard([row for row in drifts if row.estimand == "contrast"], drifts, decisions), group)


def shown_only(rows: Sequence[Drift]) -> dict[str, list[str]]:
    """Return why nothing is decided by the judge of some of these rows -> their metrics."""
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for why in row.warning.split("; "):
            if why.startswith(BY_NO_JUDGE):
                found.setdefault(why, {})[row.metric] = None
    return {why: list(metrics) for why, metrics in found.items()}


def leading(drifts: Sequence[Drift], decisions: Sequence[Decision]) -> list[Drift]:
    """Return the rows that lead, those that were decided on, and the contrasts that lead, in their order."""
    decided = {subject(decision) for decision in decisions}
    wanted = {id(row) for row in (*headline(drifts, decisions), *contrasts(drifts, decisions))}
    return [row for row in drifts if id(row) in wanted or subject(row) in decided]


def strongest(drifts: Sequence[Drift]) -> list[Drift]:
    """Return the rows of each arm and metric by recipe where there are any, else by checkpoint."""
    moves = [row for row in drifts if row.estimand in ("recipe", "checkpoint")]
    recipes = {group(row) for row in moves if row.estimand == "recipe"}
    return [row for row in moves if row.estimand == "recipe" or group(row) not in recipes]


def main_setting(rows: Sequence[Row], by: Callable[[Row], Hashable]) -> list[Row]:
    """Return, of each group, the rows at its lowest temperature and, there, its last epoch (None is the last)."""
    best: dict[Hashable, tuple[float, float]] = {}
    for row in rows:
        best[by(row)] = min(best.get(by(row), _rank(row)), _rank(row))
    return [row for row in rows if _rank(row) == best[by(row)]]


def subject(row: Decision | Drift) -> tuple[Hashable, ...]:
    """Return what a decision and the drift that it decides on have in common."""
    setting = (row.recipe, row.checkpoint, row.epoch, row.temperature, row.judge)
    return (row.metric, row.estimand, row.base_model, row.arm, *setting)


def _heard(rows: Sequence[Drift], drifts: Sequence[Drift], decisions: Sequence[Decision]) -> list[Drift]:
    decided = {subject(decision) for decision in decisions}
    judges = {(row.metric, row.judge) for row in strongest(drifts) if subject(row) in decided}
    metrics = {metric for metric, _ in judges}
    return [row for row in rows if row.metric not in metrics or (row.metric, row.judge) in judges]


def group(row: Drift) -> tuple[Hashable, ...]:
    """Return what the rows of an arm and metric have in common over temperatures, epochs and seeds."""
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge)


def _rank(row: Setting) -> tuple[float, float]:
    return (row.temperature, -math.inf if row.epoch is None else -row.epoch)
