"""The page's plots as plain values that the template draws: forests, spread over seeds, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune import direction
from aftertune.deciding import discrimination
from aftertune.findings import Band
from aftertune.headline import group, main_setting
from aftertune.numbers import NOT_MEASURED, PAGE, Scale, row_decimals, sample
from aftertune.records import Drift, Outcome
from aftertune.reporting import charts
from aftertune.reporting.index import Index, most_telling, phrase
from aftertune.reporting.sentences import contrast_name, contrast_sentence

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
    reason: str = ""
    """Why the gate says what it says."""
    bound: float | None = None
    """Where the gate's own test puts the interval's better end, in per cent of the width."""
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
    worse: str
    rows: tuple[ForestRow, ...]
    optional: bool = False
    note: str = ""

    @property
    def levels(self) -> bool:
        """Whether any row has the rates of base and tuned model."""
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
    for metric, own in by_metric.items():
        scale = index.scale(metric)
        known = values.setdefault(scale.unit or metric, [0.0])
        known += [scale(value) for row in own for value in (row.low, row.delta, row.high)]
        if metric in margins:
            known.append(direction.sign(own[0].worse) * abs(margins[metric]) * scale.factor * 1.3)
    axes = {key: charts.axis(known, 6, 0.02 if key not in (" points",) else 4.0) for key, known in values.items()}
    plots = []
    for metric, own in by_metric.items():
        scale = index.scale(metric)
        axis = axes[scale.unit or metric]
        margin = margins.get(metric)
        sign = direction.sign(own[0].worse)
        top = most_telling(own, MAX_ROWS)
        missing = [
            ForestRow(d.unit, None, NOT_MEASURED, "", "", d.outcome, "", d.reason)
            for d in decisions
            if d.metric == metric and index.row(d) is None
        ]
        required = [d.required for d in decisions if d.metric == metric]
        plotted = tuple(_forest_row(index, row, name(row), axis, scale) for row in top)
        plots.append(
            Forest(
                title=phrase(index.metric(metric)),
                about=index.metric(metric).about,
                marks=axis.marks(),
                zero=axis.at(0.0),
                margin=None if margin is None else axis.at(sign * abs(margin) * scale.factor),
                margin_label="" if margin is None else _margin_label(margin, sign, scale),
                worse_left=sign < 0,
                worse=direction.words(own[0].worse),
                rows=plotted + tuple(missing[:MAX_ROWS]),
                note=" ".join(filter(None, (_left_off(len(top), len(own)), *_of_bases(index, metric)))),
                optional=bool(required) and not any(required),
            )
        )
    return plots


def _left_off(n: int, whole: int) -> str:
    return f"The {n:,} of {whole:,} rows that moved most for the worse." if n < whole else ""


def _of_bases(index: Index, metric: str) -> list[str]:
    """Return, beside refusals of harmful requests, how far those of each base tell these from harmless ones."""
    rows = [row for row in discrimination.bases(index.findings.discrimination) if row.metric == metric]
    return [
        f"{row.base_model if len(rows) > 1 else 'The base'} refuses {discrimination.numbers(row, PAGE)} (0 where both "
        "are refused alike; see “Do refusals tell harmful requests from harmless ones?”)."
        for row in rows
        if row.d_prime is not None
    ]


def _margin_label(margin: float, sign: int, scale: Scale) -> str:
    return f"margin {PAGE.minus if sign < 0 else '+'}{PAGE.margin(margin, scale, unit=False)}"


def _forest_row(index: Index, row: Drift, name: str, axis: charts.Axis, scale: Scale) -> ForestRow:
    decision = index.decision(row)
    low, mid, high = (scale(value) for value in (row.low, row.delta, row.high))
    title = index.findings.contrast_names.get(row.arm, "") if row.estimand == "contrast" else ""
    return ForestRow(
        name=title or name,
        formula=name if title else "",
        bar=charts.bar(axis, low, mid, high),
        change=PAGE.change(row, scale, unit=False),
        levels=PAGE.levels(row, scale) if row.estimand != "contrast" else "",
        sample=sample(row),
        outcome=decision.outcome if decision else None,
        reason=decision.reason if decision else "",
        bound=None if decision is None or decision.bound is None else axis.at(decision.bound * scale.factor),
        note=row.warning,
    )


def unmeasured(index: Index) -> list[tuple[str, str, Outcome, str]]:
    """Return (metric, unit, outcome, why) of each decision on a metric that no row measures."""
    metrics = {row.metric for row in index.headline}
    return [
        (phrase(index.metric(d.metric)), d.unit, d.outcome, d.why)
        for d in index.findings.decisions
        if d.metric not in metrics
    ]


def contrasts(index: Index) -> list[tuple[Forest, list[str]]]:
    """Return the forest of the contrasts of each metric with one sentence each."""
    rows = index.contrasts
    name = index.namer(rows)
    plots = forests(index, rows, gate=False)
    sentences: dict[str, list[str]] = {}
    for row in rows:
        called = contrast_name(row, index, name(row))
        sentences.setdefault(row.metric, []).append(contrast_sentence(row, index, called))
    return [(plot, sentences[metric]) for plot, metric in zip(plots, sentences, strict=True)]


def seed_plots(index: Index) -> list[SeedPlot]:
    """Return the per-seed rates of each metric and arm that has two seeds or more."""
    seeds: dict[tuple[object, ...], list[float]] = {}
    checkpoints = [row for row in index.findings.drifts if row.estimand == "checkpoint"]
    for one in main_setting(checkpoints, group):
        if one.tuned is not None:
            seeds.setdefault(_seed_key(one), []).append(one.tuned)
    plots = []
    for metric in index.names:
        own = [row for row in index.headline if row.metric == metric and row.estimand == "recipe"]
        scale = index.scale(metric)
        name = index.namer(own)
        rows: list[tuple[Drift, list[float]]] = []
        top = most_telling(own, MAX_ROWS)
        for row in top:
            rates = sorted(seeds.get(_seed_key(row), []))
            ends = [end for end in (row.spread_low, row.spread_high) if end is not None]
            if len(rates) >= 2 or (not rates and len(ends) == 2):
                rows.append((row, rates))
        if not rows:
            continue
        known = [end for row, rates in rows for end in (*rates, row.spread_low, row.spread_high, row.base)]
        axis = charts.axis([scale(end) for end in known], 6, 10.0 if scale.is_percent else 0.05, floor=0.0)
        plots.append(
            SeedPlot(
                phrase(index.metric(metric)),
                axis.marks(),
                tuple(_seed_row(row, rates, name(row), axis, scale) for row, rates in rows),
                note=_left_off(len(top), len(own)),
                gated=metric in index.gated or not index.gated,
            )
        )
    return plots


def _seed_key(row: Drift) -> tuple[object, ...]:
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge, row.temperature)


def _seed_row(row: Drift, rates: list[float], name: str, axis: charts.Axis, scale: Scale) -> SeedRow:
    ends = rates or [end for end in (row.spread_low, row.spread_high) if end is not None]
    low, high = min(ends), max(ends)
    digits = 1 if scale.is_percent else 3
    return SeedRow(
        name=name,
        dots=tuple(axis.at(rate * scale.factor) for rate in rates),
        low=axis.at(low * scale.factor),
        high=axis.at(high * scale.factor),
        base=None if row.base is None else axis.at(row.base * scale.factor),
        text=PAGE.span(low, high, scale, digits),
        width=f"{PAGE.number(high * scale.factor - low * scale.factor, digits)}{scale.unit}",
        n=len(rates) or row.n_seeds,
    )


def curves(index: Index, over: str) -> list[Curves]:
    """Return drift over `epoch` or `temperature` where an arm has two values or more; gated metrics, else all."""
    plots = []
    for metric in index.names:
        if index.gated and metric not in index.gated:
            continue
        rows = [row for row in index.moves if row.metric == metric and row.delta is not None]
        groups: dict[tuple[object, ...], list[Drift]] = {}
        fixed = {_curve_key(row, over) for row in index.headline}
        for row in rows:
            if _curve_key(row, over) in fixed and (over == "temperature" or row.epoch is not None):
                groups.setdefault(_curve_key(row, over), []).append(row)
        lines = [sorted(own, key=lambda row: _x(row, over)) for own in groups.values()]
        lines = [line for line in lines if len({_x(row, over) for row in line}) == len(line) > 1]
        wanted = set(map(id, most_telling([line[-1] for line in lines], MAX_ROWS // 2)))
        whole, lines = len(lines), [line for line in lines if id(line[-1]) in wanted]
        if not lines:
            continue
        scale = index.scale(metric)
        bands = {_point_key(one): one for one in index.findings.bands if one.metric == metric and one.over == over}
        ends = [scale(end) for line in lines for row in line for end in (row.low, row.delta, row.high)]
        ends += [end for line in lines for row in line for end in _band(bands.get(_point_key(row)), scale) or ()]
        axis = charts.axis([0.0, *ends], 4, 4.0 if scale.is_percent else 0.02)
        name = index.namer([line[0] for line in lines])
        panels = tuple(
            CurvePanel(
                name(line[0]),
                charts.panel(
                    [_point(row, over, scale) for row in line],
                    axis,
                    [_band(bands.get(_point_key(row)), scale) for row in line],
                ),
                tuple(
                    (
                        f"{_x(row, over):g}",
                        PAGE.change(row, scale, unit=False),
                        _band_text(row, bands.get(_point_key(row)), scale),
                        sample(row),
                    )
                    for row in line
                ),
            )
            for line in lines
        )
        title = phrase(index.metric(metric))
        plots.append(Curves(title, over, scale.unit.strip(), panels, _left_off(len(lines), whole)))
    return plots


def _x(row: Drift, over: str) -> float:
    return row.temperature if over == "temperature" else float(row.epoch or 0)


def _point(row: Drift, over: str, scale: Scale) -> tuple[str, float | None, float | None, float | None]:
    return (f"{_x(row, over):g}", scale(row.low), scale(row.delta), scale(row.high))


def _point_key(row: Drift | Band) -> tuple[object, ...]:
    """Return what a point of a curve and its band have in common, the metric apart."""
    setting = (row.checkpoint, row.epoch, row.temperature, row.judge)
    return (row.estimand, row.base_model, row.arm, row.recipe, *setting)


def _band(band: Band | None, scale: Scale) -> tuple[float, float] | None:
    return None if band is None else (band.low * scale.factor, band.high * scale.factor)


def _band_text(row: Drift, band: Band | None, scale: Scale) -> str:
    ends = _band(band, scale)
    return "none" if ends is None else PAGE.interval(*ends, row_decimals(row, scale))


def _curve_key(row: Drift, over: str) -> tuple[object, ...]:
    """Return what must be equal along a curve: all but the factor that it runs over."""
    other = row.epoch if over == "temperature" else row.temperature
    single = (row.checkpoint, row.train_seed) if row.estimand == "checkpoint" and over == "temperature" else ()
    seed = (row.train_seed,) if row.estimand == "checkpoint" and over == "epoch" else ()
    return (row.metric, row.arm, row.base_model, row.recipe, row.judge, row.estimand, other, *single, *seed)
