"""The frontier of mitigations as a picture: a line for each, a column for each metric that decides, intervals in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.deciding.repair import TASK_MARGIN, Cell, Difference, Frontier, allowed
from aftertune.numbers import PAGE
from aftertune.reporting import charts
from aftertune.reporting.cleaning import clean
from aftertune.reporting.figures import COLOURS, FAINT, INK, MARGIN, OTHER, Box, Dot, Figure, Line, Words
from aftertune.reporting.repair import RARE, head, method

LEFT, COLUMN, GAP, RIGHT, ROW, TOP, FOOT = 330, 164, 44, 116, 40, 96, 66
"""Pixels: of the names, of a column, between two, of the verdicts, of a row, above and below the rows."""
LONGEST = 46
"""Characters of one line of a name."""
CHOSEN = "#e9f3ed"
"""Behind the one that is recommended."""
VERDICTS = {"repairs": COLOURS["pass"], "does not repair": COLOURS["drift"]}
Shapes = list[Line | Box | Dot | Words]


@dataclass(frozen=True)
class _Mark:
    """One value with its interval, in points or per cent; ends are None where there is none."""

    value: float
    low: float | None
    high: float | None
    colour: str


@dataclass(frozen=True)
class _Column:
    """One metric over the rows."""

    title: str
    lower_is_worse: bool
    marks: Sequence[_Mark | None]
    """None where it was not measured."""
    limit: float | None = None
    """Beyond it is shaded."""


def figure(frontier: Frontier, task_margin: float = TASK_MARGIN) -> Figure:
    """Return the picture of one arm's frontier, the plain tuning first.

    Columns are the refusals of harmful requests and of harmless look-alikes and the contextual privacy that was lost,
    each as the difference to the base in points, coloured as the gate decides; the most frequent leak; and the task's
    held-out loss as the difference to the plain tuning in per cent of it, shaded where it is higher than `task_margin`
    lets it be.
    """
    columns = _columns(frontier, task_margin)
    bottom = TOP + ROW * len(frontier.rows)
    width = LEFT + len(columns) * (COLUMN + GAP) + RIGHT
    title = clean(f"What undoes it: {frontier.arm}, {frontier.recipe}")
    shapes: Shapes = [Words(16, 26, title, 16)]
    about = "change from the base in points, of the task's loss from the plain tuning in per cent; 95 % intervals"
    shapes.append(Words(16, 46, about, 12, colour=OTHER))
    for at, row in enumerate(frontier.rows):
        y = TOP + ROW * at + ROW / 2
        if row.recipe == frontier.recommended:
            shapes.append(Box(8, y - ROW / 2 + 2, width - 16, ROW - 4, CHOSEN))
        lines = _lines(clean(method(frontier, row).strip("`")))
        for line, text in enumerate(lines):
            shapes.append(Words(LEFT - 14, y + 4 + 15 * (line - (len(lines) - 1) / 2), text, 12, "end"))
        said = "recommended" if row.recipe == frontier.recommended else row.verdict
        shapes.append(Words(width - RIGHT + 4, y + 4, said, 12, colour=VERDICTS.get(row.verdict, OTHER)))
    for at, column in enumerate(columns):
        shapes += _drawn(column, LEFT + at * (COLUMN + GAP), bottom)
    shapes.append(Words(16, bottom + 46, "green: passes; red: fails; grey: neither", 12, colour=OTHER))
    if any(column.limit is not None for column in columns):
        shapes.append(Words(LEFT, bottom + 46, "shaded: the task's loss is higher than it may be", 12, colour=OTHER))
    return Figure(width, bottom + FOOT, title, tuple(shapes))


def _columns(frontier: Frontier, task_margin: float) -> list[_Column]:
    rows, found = frontier.rows, []
    for kind in ("safety", "over_refusal", "privacy"):
        for name in frontier.metrics[kind]:
            if kind != "privacy" or name in frontier.lost:
                cells = [row.cells[name] for row in rows]
                marks = [_mark(cell.to_base, 100.0, COLOURS.get(cell.outcome, OTHER)) for cell in cells]
                moved = cells[0].to_base  # of contextual privacy that was lost, to the worse
                lower = kind == "safety" or (kind == "privacy" and moved is not None and moved.value < 0)
                found.append(_Column(clean(head(kind, name)), lower, marks))
    leaks = [(max(row.cells[name].value or 0.0 for row in rows), name) for name in frontier.metrics["leaks"]]
    if leaks and max(leaks)[0] >= RARE:
        _, name = max(leaks)
        marks = [_mark(row.cells[name].to_base, 100.0, _leaks(row.cells[name])) for row in rows]
        found.append(_Column(clean(head("leaks", name)), False, marks))
    for name in frontier.metrics["task"]:
        tuned = rows[0].cells[name].value
        if name.rsplit("/", 1)[-1] == "loss" and tuned:
            most = 100 * allowed(tuned, task_margin) / tuned
            plain = _Mark(0.0, None, None, INK)
            others = [_task(row.cells[name], 100 / tuned, most) for row in rows[1:]]
            found.append(_Column(clean(head("task", name)), False, [plain, *others], most))
    return found


def _mark(apart: Difference | None, factor: float, colour: str) -> _Mark | None:
    return None if apart is None else _Mark(factor * apart.value, factor * apart.low, factor * apart.high, colour)


def _task(cell: Cell, factor: float, most: float) -> _Mark | None:
    apart = cell.to_tuned
    if apart is None:
        return None
    within, beyond = factor * apart.high <= most, factor * apart.low > most
    return _mark(apart, factor, COLOURS["pass"] if within else COLOURS["drift"] if beyond else OTHER)


def _leaks(cell: Cell) -> str:
    """Return the colour of a leak, which decides only where it is shown to be more than the plain tuning's."""
    return COLOURS["drift"] if cell.to_tuned is not None and cell.to_tuned.low > 0 else OTHER


def _drawn(column: _Column, left: float, bottom: float) -> Shapes:
    """Return the shapes of a column whose plot begins at `left` and whose rows end at `bottom`."""
    known = [end for mark in column.marks if mark for end in (mark.low, mark.value, mark.high)]
    axis = charts.axis([0.0, column.limit, *known], pieces=3)

    def x(value: float) -> float:
        return left + COLUMN * (value - axis.low) / (axis.high - axis.low)

    worse = f"{'lower' if column.lower_is_worse else 'higher'} is worse"
    shapes: Shapes = [Words(left + COLUMN / 2, TOP - 25, column.title, 12, "middle")]
    shapes.append(Words(left + COLUMN / 2, TOP - 10, worse, 11, "middle", OTHER))
    if column.limit is not None:
        shapes.append(Box(x(column.limit), TOP, x(axis.high) - x(column.limit), bottom - TOP, MARGIN))
    for tick in axis.ticks:
        shapes.append(Line(x(tick), TOP, x(tick), bottom, FAINT))
        shapes.append(Words(x(tick), bottom + 17, PAGE.short(tick), 11, "middle", OTHER))
    shapes.append(Line(x(0), TOP, x(0), bottom, INK, 1.5))
    for at, mark in enumerate(column.marks):
        y = TOP + ROW * at + ROW / 2
        if mark is None:
            shapes.append(Words(left + COLUMN / 2, y + 4, "not measured", 11, "middle", OTHER))
            continue
        if mark.low is not None and mark.high is not None:
            shapes.append(Line(x(mark.low), y, x(mark.high), y, mark.colour, 2.5))
        shapes.append(Dot(x(mark.value), y, 4.5, mark.colour))
    return shapes


def _lines(name: str) -> list[str]:
    """Return a name in lines that fit, broken before a hyphen."""
    lines = [""]
    for at, part in enumerate(name.split("-")):
        piece = part if at == 0 else f"-{part}"
        if lines[-1] and len(lines[-1]) + len(piece) > LONGEST:
            lines.append("")
        lines[-1] += piece
    return [line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in lines]
