"""The page's sections as plain values: what the template draws, in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.findings import Band
from aftertune.records import Drift, Outcome
from aftertune.reporting import charts
from aftertune.reporting.formatting import MINUS, interval, number, places
from aftertune.reporting.rows import (
    Index,
    Scale,
    change,
    levels,
    main_setting,
    margin_text,
    most_telling,
    phrase,
    sample,
    scale_of,
    scaled,
)
from aftertune.reporting.sentences import contrast_sentence

MAX_ROWS = 40
"""Rows of one plot; of more, those that moved most for the worse are drawn, and the plot says so."""


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One arm of a forest plot."""

    name: str
    bar: charts.Bar | None
    change: str
    levels: str
    sample: str
    outcome: Outcome | None
    """None where the gate did not look."""
    note: str
    """Why there is no number, or the warning that goes with it."""
    formula: str = ""
    """Of a contrast whose name says what it measures."""


@dataclass(frozen=True, slots=True)
class Forest:
    """One metric of a forest plot; metrics that share a unit share the axis."""

    title: str
    about: str
    marks: list[tuple[float, str]]
    zero: float
    margin: float | None
    margin_label: str
    worse_left: bool
    rows: tuple[ForestRow, ...]
    optional: bool = False
    note: str = ""

    @property
    def levels(self) -> bool:
        """Whether any row says where it came from and went to."""
        return any(row.levels for row in self.rows)


@dataclass(frozen=True, slots=True)
class SeedRow:
    """The rates that each training seed of one arm reached."""

    name: str
    dots: tuple[float, ...]
    low: float
    high: float
    base: float | None
    text: str
    width: str
    n: int


@dataclass(frozen=True, slots=True)
class SeedPlot:
    """Seed spread of one metric."""

    title: str
    marks: list[tuple[float, str]]
    rows: tuple[SeedRow, ...]
    note: str
    gated: bool
    """Whether the gate looks at it, or nothing was gated at all."""


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One arm over epochs or temperatures."""

    name: str
    panel: charts.Panel
    text: tuple[tuple[str, str, str, str], ...]
    """(x, drift with interval, simultaneous band, sample) of each point, for those who read rather than look."""


@dataclass(frozen=True, slots=True)
class Curves:
    """One metric over epochs or temperatures, one panel per arm, one y axis for all."""

    title: str
    over: str
    unit: str
    panels: tuple[CurvePanel, ...]
    note: str


def forests(index: Index, rows: Sequence[Drift], gate: bool = True) -> list[Forest]:
    """Return the forest plots of some drifts, one per metric; with `gate`, with margins and what was not measured."""
    decisions = index.findings.decisions if gate else ()
    name = index.namer(rows)
    by_metric: dict[str, list[Drift]] = {}
    for row in rows:
        by_metric.setdefault(row.metric, []).append(row)
    margins = {d.metric: d.margin for d in decisions}
    values: dict[str, list[float | None]] = {}
    for metric, group in by_metric.items():
        scale = scale_of(index.metric(metric))
        known = values.setdefault(scale.unit or metric, [0.0])
        known += [scaled(value, scale) for row in group for value in (row.low, row.delta, row.high)]
        if metric in margins:
            known.append((1 if group[0].worse == "up" else -1) * abs(margins[metric]) * scale.factor * 1.3)
    axes = {key: charts.axis(known, 6, 0.02 if key not in (" points",) else 4.0) for key, known in values.items()}
    found = []
    for metric, group in by_metric.items():
        scale = scale_of(index.metric(metric))
        axis = axes[scale.unit or metric]
        margin = margins.get(metric)
        sign = 1 if group[0].worse == "up" else -1
        shown = most_telling(group, MAX_ROWS)
        missing = [
            ForestRow(d.unit, None, "not measured", "", "", d.outcome, d.why)
            for d in decisions
            if d.metric == metric and index.row(d) is None
        ]
        required = [d.required for d in decisions if d.metric == metric]
        plotted = tuple(_forest_row(index, row, name(row), axis, scale) for row in shown)
        found.append(
            Forest(
                title=phrase(index.metric(metric)),
                about=index.metric(metric).about,
                marks=axis.marks(),
                zero=axis.at(0.0),
                margin=None if margin is None else axis.at(sign * abs(margin) * scale.factor),
                margin_label="" if margin is None else _margin_label(margin, sign, scale),
                worse_left=sign < 0,
                rows=plotted + tuple(missing[:MAX_ROWS]),
                note=_left_off(len(shown), len(group)),
                optional=bool(required) and not any(required),
            )
        )
    return found


def _left_off(shown: int, whole: int) -> str:
    return f"The {shown:,} of {whole:,} rows that moved most for the worse." if shown < whole else ""


def _margin_label(margin: float, sign: int, scale: Scale) -> str:
    return f"margin {MINUS if sign < 0 else '+'}{margin_text(margin, scale)}"


def _forest_row(index: Index, row: Drift, name: str, axis: charts.Axis, scale: Scale) -> ForestRow:
    decision = index.decision(row)
    low, mid, high = (scaled(value, scale) for value in (row.low, row.delta, row.high))
    title = index.findings.contrast_names.get(row.arm, "") if row.estimand == "contrast" else ""
    return ForestRow(
        name=title or name,
        formula=name if title else "",
        bar=charts.bar(axis, low, mid, high),
        change=change(row, scale, unit=False) if row.delta is not None else "not measured",
        levels=levels(row, scale) if row.estimand != "contrast" else "",
        sample=sample(row),
        outcome=decision.outcome if decision else None,
        note=row.warning,
    )


def unmeasured(index: Index) -> list[tuple[str, str, Outcome, str]]:
    """Return (metric, unit, outcome, why) of decisions on metrics that no row measures at all."""
    shown = {row.metric for row in index.headline}
    return [
        (phrase(index.metric(d.metric)), d.unit, d.outcome, d.why)
        for d in index.findings.decisions
        if d.metric not in shown
    ]


def contrasts(index: Index) -> list[tuple[Forest, list[str]]]:
    """Return the forest of the contrasts of each metric with one sentence each."""
    rows = index.contrasts
    names = index.findings.contrast_names
    label = index.namer(rows)
    plots = forests(index, rows, gate=False)
    told: dict[str, list[str]] = {}
    for row in rows:
        title = names.get(row.arm, "")
        called = f"{title} ({label(row)})" if title and label(row) != row.arm else title or label(row)
        told.setdefault(row.metric, []).append(contrast_sentence(row, index, called))
    return [(plot, told[metric]) for plot, metric in zip(plots, told, strict=True)]


def seed_plots(index: Index) -> list[SeedPlot]:
    """Return the per-seed rates of each metric and arm that has two seeds or more."""
    seeds: dict[tuple[object, ...], list[float]] = {}
    for one in main_setting([row for row in index.findings.drifts if row.estimand == "checkpoint"]):
        if one.tuned is not None:
            seeds.setdefault(_seed_key(one), []).append(one.tuned)
    plots = []
    for metric in index.names:
        group = [row for row in index.headline if row.metric == metric and row.estimand == "recipe"]
        scale = scale_of(index.metric(metric))
        name = index.namer(group)
        rows: list[tuple[Drift, list[float]]] = []
        shown = most_telling(group, MAX_ROWS)
        for row in shown:
            rates = sorted(seeds.get(_seed_key(row), []))
            ends = [end for end in (row.spread_low, row.spread_high) if end is not None]
            if len(rates) >= 2 or (not rates and len(ends) == 2):
                rows.append((row, rates))
        if not rows:
            continue
        ends_ = [end for row, rates in rows for end in (*rates, row.spread_low, row.spread_high, row.base)]
        axis = charts.axis([scaled(end, scale) for end in ends_], 6, 10.0 if scale.factor != 1 else 0.05, floor=0.0)
        plots.append(
            SeedPlot(
                phrase(index.metric(metric)),
                axis.marks(),
                tuple(_seed_row(row, rates, name(row), axis, scale) for row, rates in rows),
                note=_left_off(len(shown), len(group)),
                gated=metric in index.gated or not index.gated,
            )
        )
    return plots


def _seed_key(row: Drift) -> tuple[object, ...]:
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge, row.temperature)


def _seed_row(row: Drift, rates: list[float], name: str, axis: charts.Axis, scale: Scale) -> SeedRow:
    shown = [rate * scale.factor for rate in rates] or [
        end * scale.factor for end in (row.spread_low, row.spread_high) if end is not None
    ]
    low, high = min(shown), max(shown)
    decimals = 1 if scale.factor != 1 else 3
    return SeedRow(
        name=name,
        dots=tuple(axis.at(rate * scale.factor) for rate in rates),
        low=axis.at(low),
        high=axis.at(high),
        base=None if row.base is None else axis.at(row.base * scale.factor),
        text=f"{number(low, decimals)} to {number(high, decimals)}{scale.sign}",
        width=f"{number(high - low, decimals)}{scale.unit}",
        n=len(rates) or row.n_seeds,
    )


def curves(index: Index, over: str) -> list[Curves]:
    """Return drift over `epoch` or `temperature` where an arm has two values or more; gated metrics, else all."""
    found = []
    for metric in index.names:
        if index.gated and metric not in index.gated:
            continue
        rows = [row for row in index.moves if row.metric == metric and row.delta is not None]
        groups: dict[tuple[object, ...], list[Drift]] = {}
        fixed = {_curve_key(row, over) for row in index.headline}
        for row in rows:
            if _curve_key(row, over) in fixed and (over == "temperature" or row.epoch is not None):
                groups.setdefault(_curve_key(row, over), []).append(row)
        kept = [sorted(group, key=lambda row: _x(row, over)) for group in groups.values()]
        kept = [group for group in kept if len({_x(row, over) for row in group}) == len(group) > 1]
        wanted = set(map(id, most_telling([group[-1] for group in kept], MAX_ROWS // 2)))
        whole, kept = len(kept), [group for group in kept if id(group[-1]) in wanted]
        if not kept:
            continue
        scale = scale_of(index.metric(metric))
        bands = {_point_key(one): one for one in index.findings.bands if one.metric == metric and one.over == over}
        ends = [scaled(end, scale) for group in kept for row in group for end in (row.low, row.delta, row.high)]
        ends += [end for group in kept for row in group for end in _band(bands.get(_point_key(row)), scale) or ()]
        axis = charts.axis([0.0, *ends], 4, 4.0 if scale.factor != 1 else 0.02)
        name = index.namer([group[0] for group in kept])
        panels = tuple(
            CurvePanel(
                name(group[0]),
                charts.panel(
                    [_point(row, over, scale) for row in group],
                    axis,
                    [_band(bands.get(_point_key(row)), scale) for row in group],
                ),
                tuple(
                    (
                        f"{_x(row, over):g}",
                        change(row, scale, unit=False),
                        _band_text(row, bands.get(_point_key(row)), scale),
                        sample(row),
                    )
                    for row in group
                ),
            )
            for group in kept
        )
        found.append(
            Curves(phrase(index.metric(metric)), over, scale.unit.strip(), panels, _left_off(len(kept), whole))
        )
    return found


def _x(row: Drift, over: str) -> float:
    return row.temperature if over == "temperature" else float(row.epoch or 0)


def _point(row: Drift, over: str, scale: Scale) -> tuple[str, float | None, float | None, float | None]:
    return (f"{_x(row, over):g}", scaled(row.low, scale), scaled(row.delta, scale), scaled(row.high, scale))


def _point_key(row: Drift | Band) -> tuple[object, ...]:
    """Return what a point of a curve and its band have in common, the metric apart."""
    place = (row.base_model, row.arm, row.recipe, row.checkpoint, row.epoch, row.temperature, row.judge)
    return (row.estimand, *place)


def _band(band: Band | None, scale: Scale) -> tuple[float, float] | None:
    return None if band is None else (band.low * scale.factor, band.high * scale.factor)


def _band_text(row: Drift, band: Band | None, scale: Scale) -> str:
    ends = _band(band, scale)
    decimals = places(scaled(row.low, scale), scaled(row.high, scale), row.confidence)
    return "none" if ends is None else interval(*ends, decimals)


def _curve_key(row: Drift, over: str) -> tuple[object, ...]:
    """Return what must be equal along a curve: all but the factor that it runs over."""
    other = row.epoch if over == "temperature" else row.temperature
    single = (row.checkpoint, row.train_seed) if row.estimand == "checkpoint" and over == "temperature" else ()
    seed = (row.train_seed,) if row.estimand == "checkpoint" and over == "epoch" else ()
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge, row.estimand, other, *single, *seed)
