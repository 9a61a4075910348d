"""Forest plots: each metric's arms with interval, seeds, margin and the bound that the gate tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aftertune import direction
from aftertune.deciding import discrimination
from aftertune.headline import group, main_setting
from aftertune.numbers import NOT_MEASURED, PAGE, Scale, sample
from aftertune.outcome import SEVERITY
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting import charts
from aftertune.reporting.index import Index, most_telling
from aftertune.reporting.page.anchors import anchor
from aftertune.reporting.page.footnotes import Footnotes

MAX_ROWS = 24
"""Rows of one plot; of more, those that moved most for the worse are drawn, and the plot says so."""
PRINTED = 22
"""Rows of all plots together in the print edition."""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One arm of a forest plot."""

    id: str
    name: str
    bar: charts.Bar | None
    dots: tuple[float, ...]
    """Where the single training seeds stand, in per cent of the width."""
    bound: float | None
    """Where the gate's own test puts the interval's better end, in per cent of the width."""
    change: str
    levels: str
    outcome: Outcome | None
    """None where the gate did not look."""
    reason: str
    """Why the gate says what it says."""
    sample: str
    """How much data stands behind it, where that differs between rows."""
    notes: tuple[int, ...]
    """Footnotes."""


@dataclass(frozen=True, slots=True)
class Forest:
    """One metric of a forest plot, on an axis that fits its data."""

    id: str
    title: str
    metric: str
    worse: str
    marks: list[tuple[float, str]]
    zero: float
    margin: float | None
    margin_label: str
    worse_left: bool
    rows: tuple[ForestRow, ...]
    sample: str
    """How much data stands behind every row; empty where that differs."""
    optional: bool
    note: str
    tone: Outcome | None
    """Worst state of its rows."""
    printed: bool

    @property
    def levels(self) -> bool:
        """Whether any row has the rates of base and tuned model."""
        return any(row.levels for row in self.rows)

    @property
    def parts(self) -> tuple[tuple[ForestRow, ...], tuple[ForestRow, ...]]:
        """The rows that are drawn at once, and those that pass beside others that do not: they are folded."""
        if self.passes or self.tone is None:
            return self.rows, ()
        return (
            tuple(row for row in self.rows if row.outcome != "pass"),
            tuple(row for row in self.rows if row.outcome == "pass"),
        )

    @property
    def passes(self) -> bool:
        """Whether every row passes."""
        return bool(self.rows) and all(row.outcome == "pass" for row in self.rows)


def forests(index: Index, rows: Sequence[Drift], notes: Footnotes) -> list[Forest]:
    """Return the forest plots of some drifts, one per metric, the worst first, each with its margin."""
    name = index.namer(rows)
    seeds = _seeds(index)
    plots = []
    metrics = dict.fromkeys([*(row.metric for row in rows), *(d.metric for d in index.findings.decisions)])
    for metric in metrics:
        own = sorted((row for row in rows if row.metric == metric), key=index.rank)
        decisions = [d for d in index.findings.decisions if d.metric == metric]
        missing = [d for d in decisions if index.row(d) is None and index.decided(d) is None]
        if own or missing:
            plots.append(_forest(index, metric, own, decisions, missing, name, seeds, notes))
    return _print(sorted(plots, key=lambda plot: len(SEVERITY) if plot.tone is None else SEVERITY.index(plot.tone)))


def _print(plots: Sequence[Forest]) -> list[Forest]:
    """Return the plots with those marked that the print edition has room for."""
    left, marked = PRINTED, []
    calm = all(plot.passes for plot in plots)
    for plot in plots:
        size = len(plot.parts[0]) + 2
        shown = (calm or not plot.passes) and size <= left
        left -= size * shown
        marked.append(dataclasses.replace(plot, printed=shown))
    return marked


def _forest(
    index: Index,
    metric: str,
    own: Sequence[Drift],
    decisions: Sequence[Decision],
    missing: Sequence[Decision],
    name: Callable[[Drift], str],
    seeds: dict[tuple[object, ...], list[float]],
    notes: Footnotes,
) -> Forest:
    scale, worse = index.scale(metric), index.metric(metric).worse
    sign = direction.sign(worse)
    margin = next((d.margin for d in decisions), None)
    top = sorted(most_telling(own, MAX_ROWS), key=index.rank)
    known: list[float | None] = [0.0]
    for row in top:
        decision = index.decision(row)
        known += [scale(value) for value in (row.low, row.delta, row.high)]
        known += [scale(value) for value in seeds.get(_key(row), ())]
        known.append(scale(decision.bound) if decision else None)
    if margin is not None:
        known.append(sign * abs(margin) * scale.factor * 1.3)
    axis = charts.axis(known, 5, 4.0 if scale.is_percent else 0.02)
    samples = {sample(row) for row in top}
    drawn = [
        _row(index, row, name(row), axis, scale, seeds.get(_key(row), []), notes, several=len(samples) > 1)
        for row in top
    ]
    drawn += [
        ForestRow(
            anchor(metric, d.unit), d.unit, None, (), None, NOT_MEASURED, "", d.outcome, d.reason or d.why, "", ()
        )
        for d in missing[:MAX_ROWS]
    ]
    states = [row.outcome for row in drawn if row.outcome]
    left_off = f"The {len(top):,} of {len(own):,} rows that moved most for the worse." if len(top) < len(own) else ""
    return Forest(
        id=anchor(metric),
        title=index.called(metric),
        metric=metric,
        worse=direction.words(worse),
        marks=axis.marks(),
        zero=axis.at(0.0),
        margin=None if margin is None else axis.at(sign * abs(margin) * scale.factor),
        margin_label="" if margin is None else f"margin {_signed(margin, sign, scale)}",
        worse_left=sign < 0,
        rows=tuple(drawn),
        sample=samples.pop() if len(samples) == 1 else "",
        optional=bool(decisions) and not any(d.required for d in decisions),
        note=" ".join(filter(None, (left_off, *_of_bases(index, metric)))),
        tone=min(states, key=SEVERITY.index) if states else None,
        printed=False,
    )


def _signed(margin: float, sign: int, scale: Scale) -> str:
    return f"{PAGE.minus if sign < 0 else '+'}{PAGE.margin(margin, scale, unit=False)}"


def _row(
    index: Index,
    row: Drift,
    name: str,
    axis: charts.Axis,
    scale: Scale,
    seeds: Sequence[float],
    notes: Footnotes,
    *,
    several: bool,
) -> ForestRow:
    decision = index.decision(row)
    bound = decision.bound if decision else None
    return ForestRow(
        id=anchor(row.metric, name),
        name=name,
        bar=charts.bar(axis, scale(row.low), scale(row.delta), scale(row.high)),
        dots=tuple(axis.at(seed * scale.factor) for seed in seeds) if len(seeds) > 1 else (),
        bound=None if bound is None else axis.at(bound * scale.factor),
        change=PAGE.change(row, scale, unit=False),
        levels=PAGE.levels(row, scale),
        outcome=decision.outcome if decision else None,
        reason=decision.reason if decision else "",
        sample=sample(row) if several else "",
        notes=notes(row.warning),
    )


def _seeds(index: Index) -> dict[tuple[object, ...], list[float]]:
    """Return the drift of each training seed by what it shares with its recipe."""
    seeds: dict[tuple[object, ...], list[float]] = {}
    checkpoints = [row for row in index.findings.drifts if row.estimand == "checkpoint"]
    for one in main_setting(checkpoints, group):
        if one.delta is not None:
            seeds.setdefault(_key(one), []).append(one.delta)
    return seeds


def _key(row: Drift) -> tuple[object, ...]:
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge, row.temperature)


def _of_bases(index: Index, metric: str) -> list[str]:
    """Return, beside refusals of harmful requests, how far those of each base tell these from harmless ones."""
    rows = [row for row in discrimination.bases(index.findings.discrimination) if row.metric == metric]
    return [
        f"{row.base_model if len(rows) > 1 else 'The base'} refuses {discrimination.numbers(row, PAGE)} (0 where both "
        "are refused alike)."
        for row in rows
        if row.d_prime is not None
    ]
