"""The geometry of the charts: shares of the width in per cent, for inline SVG that stretches while its text does not.

A chart here is numbers only; `macros.html` draws them. Positions along x are per cent of the plot's width, positions
along y are pixels, so a chart is as sharp at 300 as at 1,200 pixels and needs no script to fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aftertune.numbers import PAGE

EDGE = 3.0
"""Per cent of the width that is left free at both ends."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of a value in per cent of the width, clipped to the plot."""
        share = (value - self.low) / (self.high - self.low)
        return round(min(max(EDGE + share * (100 - 2 * EDGE), 0.0), 100.0), 2)

    def marks(self) -> list[tuple[float, str]]:
        """Return (position in per cent, label) of each tick."""
        return [(self.at(tick), PAGE.short(tick)) for tick in self.ticks]


def axis(values: Iterable[float | None], pieces: int = 5, least: float = 0.0, floor: float = -math.inf) -> Axis:
    """Return an axis over the finite values with about `pieces` round steps, at least `least` wide.

    It never begins below `floor`, where all values are above that: rates have no negative side.
    """
    known = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if high - low < max(least, 1e-9):
        middle, half = (low + high) / 2, max(least, 1e-9 if least else 0.5) / 2
        low, high = min(low, middle - half), max(high, middle + half)
    if min(known) >= floor > low:
        low, high = floor, high + floor - low
    step = _step((high - low) / pieces)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(i * step, 10) for i in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def _step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)


@dataclass(frozen=True, slots=True)
class Bar:
    """An interval with its estimate, in per cent of the width."""

    low: float
    mid: float
    high: float


def bar(scale: Axis, low: float | None, mid: float | None, high: float | None) -> Bar | None:
    """Return where an estimate and its interval stand; None without an estimate."""
    if mid is None or not math.isfinite(mid):
        return None
    ends = [mid if end is None or not math.isfinite(end) else end for end in (low, high)]
    return Bar(scale.at(ends[0]), scale.at(mid), scale.at(ends[1]))


@dataclass(frozen=True, slots=True)
class Whisker:
    """One point of a curve: x in per cent, y in pixels from the top."""

    x: float
    low: float
    mid: float
    high: float
    band: tuple[float, float] | None = None
    """Bottom and top of the interval that holds for all points of the curve at once."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A small line plot: points with intervals, joined in order."""

    points: tuple[Whisker, ...]
    x_marks: tuple[tuple[float, str], ...]
    y_marks: tuple[tuple[float, str], ...]
    zero: float | None
    """Pixels from the top; None where zero is off the plot."""
    height: int


PANEL_TOP, PANEL_PLOT, PANEL_BOTTOM, PANEL_LEFT = 8, 96, 22, 17.0


def panel(
    points: Sequence[tuple[str, float | None, float | None, float | None]],
    scale: Axis,
    bands: Sequence[tuple[float, float] | None] = (),
) -> Panel:
    """Return a line plot of (x label, low, estimate, high) points, evenly spaced along x on the y scale `scale`.

    `bands` holds the simultaneous interval of each point, where there is one.
    """

    def y(value: float) -> float:
        share = min(max((value - scale.low) / (scale.high - scale.low), 0.0), 1.0)
        return round(PANEL_TOP + PANEL_PLOT * (1 - share), 1)

    width = (100 - PANEL_LEFT) / max(len(points), 1)
    xs = [round(PANEL_LEFT + width * (i + 0.5), 2) for i in range(len(points))]
    whiskers = []
    for x, (_, low, mid, high), band in zip(xs, points, bands or [None] * len(points), strict=True):
        if mid is not None and math.isfinite(mid):
            ends = y(mid if low is None else low), y(mid if high is None else high)
            whiskers.append(Whisker(x, ends[0], y(mid), ends[1], None if band is None else (y(band[0]), y(band[1]))))
    return Panel(
        points=tuple(whiskers),
        x_marks=tuple((x, label) for x, (label, *_) in zip(xs, points, strict=True)),
        y_marks=tuple((y(tick), PAGE.short(tick)) for tick in scale.ticks),
        zero=y(0.0) if scale.low <= 0 <= scale.high else None,
        height=PANEL_TOP + PANEL_PLOT + PANEL_BOTTOM,
    )
