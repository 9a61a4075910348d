"""Curves: a metric's drift over epochs or sampling temperatures, a panel an arm."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune import direction
from aftertune.findings import Band
from aftertune.numbers import PAGE, Scale, row_decimals, sample
from aftertune.records import Drift
from aftertune.reporting import charts
from aftertune.reporting.index import Index, most_telling

MAX_PANELS = 20
"""Of more, the arms that moved most for the worse are drawn, and the plot says so."""


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
    worse: str
    over: str
    unit: str
    panels: tuple[CurvePanel, ...]
    note: str


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
        wanted = set(map(id, most_telling([line[-1] for line in lines], MAX_PANELS)))
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
        title = index.called(metric)
        note = f"The {len(lines):,} of {whole:,} rows that moved most for the worse." if len(lines) < whole else ""
        plots.append(Curves(title, direction.words(index.metric(metric).worse), over, scale.unit.strip(), panels, note))
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
