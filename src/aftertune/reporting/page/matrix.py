"""The first thing on the page: metrics and arms in a matrix, each cell a state, a change and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune import direction
from aftertune.numbers import NOT_MEASURED, PAGE, row_decimals
from aftertune.outcome import SEVERITY, words
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.index import Index
from aftertune.reporting.page.anchors import anchor

MOST_COLUMNS = 8
"""Arms that stand as columns; with more of them they are the rows."""
MOST_ROWS = 40
"""Rows that are open; the rest is folded."""
MOST_IN_ALL = 200


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one arm."""

    outcome: Outcome | None
    """None where the gate did not look."""
    state: str
    change: str
    interval: str
    href: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """What a row or column is about."""

    name: str
    worse: str
    """Direction of a metric; empty for an arm."""
    href: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """One row; a cell is None where there is nothing to show."""

    head: Head
    cells: tuple[Cell | None, ...]
    tone: str
    """Worst state in it, or empty."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The rows that hold up a pass, then those that pass everywhere."""

    corner: str
    heads: tuple[Head, ...]
    open: tuple[MatrixRow, ...]
    folded: tuple[MatrixRow, ...]
    fold: str
    """What the folded rows are."""
    left_off: int


def matrix(index: Index) -> Matrix:
    """Return the matrix of the gated metrics, or of all where none was gated; the worst rows and columns first."""
    cells = _cells(index)
    metrics = list(dict.fromkeys(metric for metric, _ in cells))
    units = list(dict.fromkeys(unit for _, unit in cells))
    by_arm = len(units) > MOST_COLUMNS
    down, across = (units, metrics) if by_arm else (metrics, units)

    def at(row: str, column: str) -> Cell | None:
        return cells.get((column, row) if by_arm else (row, column))

    def head(name: str, is_metric: bool) -> Head:
        if not is_metric:
            return Head(name, "", "")
        return Head(index.called(name), direction.words(index.metric(name).worse), anchor(name))

    def weight(states: Sequence[Cell | None]) -> list[int]:
        ranks = [_rank(cell) for cell in states]
        return [-ranks.count(rank) for rank in range(len(SEVERITY))]

    across = sorted(across, key=lambda column: weight([at(row, column) for row in down]))
    down = sorted(down, key=lambda row: weight([at(row, column) for column in across]))
    rows = [
        MatrixRow(
            head(row, not by_arm),
            tuple(at(row, column) for column in across),
            min(
                (c.outcome for column in across if (c := at(row, column)) and c.outcome), key=SEVERITY.index, default=""
            ),
        )
        for row in down
    ]
    passing = [row for row in rows if row.tone == "pass"]
    failing = [row for row in rows if row.tone != "pass"]
    if not failing:
        passing, failing = passing[MOST_ROWS:], passing[:MOST_ROWS]
    rest = failing[MOST_ROWS:]
    folded = [*rest, *passing]
    passes = "passes" if len(folded) == 1 else "pass"
    what = "more" if rest or not passing else f"that {passes} {'every metric' if by_arm else 'everywhere'}"
    noun = ("arm" if by_arm else "metric") + ("s" if len(folded) != 1 else "")
    return Matrix(
        corner="Arm" if by_arm else "Metric",
        heads=tuple(head(name, by_arm) for name in across),
        open=tuple(failing[:MOST_ROWS]),
        folded=tuple(folded[:MOST_IN_ALL]),
        fold=f"{len(folded):,} {noun} {what}" if what != "more" else f"{len(folded):,} more {noun}",
        left_off=max(len(folded) - MOST_IN_ALL, 0),
    )


def _rank(cell: Cell | None) -> int:
    return len(SEVERITY) - 1 if cell is None or cell.outcome is None else SEVERITY.index(cell.outcome)


def _cells(index: Index) -> dict[tuple[str, str], Cell]:
    cells: dict[tuple[str, str], Cell] = {}
    for decision in index.findings.decisions:
        cell = _cell(index, index.decided(decision), decision, decision.unit)
        before = cells.get((decision.metric, decision.unit))
        if before is None or _rank(cell) < _rank(before):
            cells[decision.metric, decision.unit] = cell
    if not index.findings.decisions:
        name = index.namer(index.headline)
        for row in index.headline:
            cells[row.metric, name(row)] = _cell(index, row, None, name(row))
    return cells


def _cell(index: Index, row: Drift | None, decision: Decision | None, unit: str) -> Cell:
    change, interval = NOT_MEASURED, ""
    if row is not None and row.delta is not None:
        scale, digits = index.scale(row.metric), row_decimals(row, index.scale(row.metric))
        change = PAGE.number(scale(row.delta), digits, signed=True)
        interval = PAGE.interval(scale(row.low), scale(row.high), digits)
    metric = row.metric if row is not None else decision.metric if decision else ""
    return Cell(
        outcome=decision.outcome if decision else None,
        state=words(decision.outcome) if decision else "",
        change=change,
        interval=interval,
        href=anchor(metric, unit),
        optional=bool(decision and not decision.required),
    )
