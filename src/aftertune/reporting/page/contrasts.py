"""Contrasts between arms, each once: what it measures, on which metric, how large, and to which side."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune import direction
from aftertune.numbers import PAGE, count, p_value
from aftertune.records import Drift
from aftertune.reporting import charts
from aftertune.reporting.index import Index
from aftertune.reporting.page.footnotes import Footnotes

OPEN = 8
"""Rows that are not folded."""
MAX_ROWS = 150


@dataclass(frozen=True, slots=True)
class ContrastRow:
    """One contrast on one metric; the bar's right side is worse, whichever way the metric counts."""

    title: str
    metric: str
    worse: str
    bar: charts.Bar | None
    change: str
    shows: str
    """`worse`, `better`, or that neither is shown."""
    tone: str
    notes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Those that show something, the largest first, and those that do not."""

    marks: list[tuple[float, str]]
    zero: float
    shown: tuple[ContrastRow, ...]
    further: tuple[ContrastRow, ...]
    """Those that differ too, but by less."""
    rest: tuple[ContrastRow, ...]
    summary: str
    formulas: tuple[tuple[str, str], ...]
    """What each contrast that has a name is made of."""


def contrasts(index: Index, notes: Footnotes) -> Contrasts | None:
    """Return the contrasts that lead, those that show a difference first; None where there are none."""
    rows = [row for row in index.contrasts if not index.gated or row.metric in index.gated]
    if not rows:
        return None
    name = index.namer(rows)
    values: list[float | None] = [0.0]
    for row in rows:
        if index.scale(row.metric).is_percent:
            values += [100 * end for end in _as_losses(row) if end is not None]
    axis = charts.axis(values, 6, 4.0)
    rows = sorted(rows, key=lambda row: -abs(row.delta or 0.0) * index.scale(row.metric).is_percent)
    made = [_row(index, row, name(row), axis, notes) for row in rows]
    shown = [row for row in made if row.tone]
    rest = [row for row in made if not row.tone]
    formulas = {row.arm: index.findings.contrast_names.get(row.arm, "") for row in rows}
    return Contrasts(
        marks=axis.marks(),
        zero=axis.at(0.0),
        shown=tuple(shown[:OPEN]),
        further=tuple(shown[OPEN:MAX_ROWS]),
        rest=tuple(rest[:MAX_ROWS]),
        formulas=tuple((called, formula) for formula, called in formulas.items() if called),
        summary=f"{len(shown):,} of {count(len(made), 'contrast')} differ from zero beyond the interval",
    )


def _as_losses(row: Drift) -> tuple[float | None, float | None, float | None]:
    if row.worse == "up":
        return row.low, row.delta, row.high
    return tuple(None if end is None else -end for end in (row.high, row.delta, row.low))  # type: ignore[return-value]


def _row(index: Index, row: Drift, name: str, axis: charts.Axis, notes: Footnotes) -> ContrastRow:
    scale = index.scale(row.metric)
    title = index.findings.contrast_names.get(row.arm, "")
    shows, tone = "not measured", ""
    if row.delta is not None and row.low is not None and row.high is not None:
        tone = direction.of_interval(row.low, row.high, row.worse)
        shows = tone or "not shown"
        if tone and row.p_adjusted is not None and row.p_adjusted > 1 - row.confidence:
            shows = f"{tone}, but not after correction for looking at several (p = {p_value(row.p_adjusted)})"
            tone = ""
    ends = [scale(end) for end in _as_losses(row)]
    return ContrastRow(
        title=title or name,
        metric=index.called(row.metric),
        worse=direction.words(row.worse),
        bar=charts.bar(axis, *ends) if scale.is_percent else None,
        change=PAGE.change(row, scale, unit=False),
        shows=shows,
        tone=tone,
        notes=notes(row.warning),
    )
