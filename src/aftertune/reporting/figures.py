"""Figures for papers and slides: a forest plot of every metric, as SVG, and as PNG where Pillow is installed.

A figure is a list of shapes, so that both forms show the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from aftertune.errors import MissingPackageError
from aftertune.headline import subject
from aftertune.numbers import PAGE, scale_of
from aftertune.records import Decision, Drift
from aftertune.reporting import charts
from aftertune.reporting.cleaning import clean

WIDTH, LEFT, RIGHT, ROW, TOP, FOOT = 960, 250, 250, 28, 56, 56
"""Pixels: of the figure, of its names and numbers, of a row, above and below the rows."""
LONGEST = 34
"""Characters of a name."""
COLOURS = {"pass": "#1b7f4d", "drift": "#b3261e"}
"""Of a decision; any other is grey."""
OTHER, INK, FAINT, MARGIN = "#6b6b6b", "#1c1b1f", "#c9c9c9", "#f3d7d5"
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line; a level one with the same `y` twice."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """A text whose baseline is at `y`."""

    x: float
    y: float
    text: str
    size: int = 13
    anchor: Anchor = "start"
    colour: str = INK


@dataclass(frozen=True, slots=True)
class Figure:
    """Shapes, the first at the back, on a white ground."""

    width: int
    height: int
    title: str
    shapes: tuple[Line | Box | Dot | Words, ...]


def forest(metric: str, rows: Sequence[Drift], decisions: Sequence[Decision]) -> Figure:
    """Return the forest plot of one metric: each arm's change with its interval, the margin shaded beyond.

    `rows` are of one metric and have an estimate.
    """
    scale = scale_of(*rows)
    decided = {subject(one): one for one in decisions}
    known = [one for row in rows if (one := decided.get(subject(row))) is not None]
    sign = 1 if rows[0].worse == "up" else -1
    margin = sign * known[0].margin * scale.factor if known else None
    axis = charts.axis([0.0, margin, *(scale(v) for row in rows for v in (row.low, row.delta, row.high))])
    span = WIDTH - LEFT - RIGHT
    height = TOP + ROW * len(rows) + FOOT

    def x(value: float) -> float:
        return LEFT + span * (value - axis.low) / (axis.high - axis.low)

    bottom = TOP + ROW * len(rows)
    shapes: list[Line | Box | Dot | Words] = [Words(LEFT, 24, clean(metric), 16)]
    worse = "higher is worse" if sign > 0 else "lower is worse"
    shapes.append(Words(LEFT, 43, f"change from the base{scale.unit and f',{scale.unit}'}; {worse}", 12, colour=OTHER))
    if margin is not None:
        start, end = (x(margin), x(axis.high)) if sign > 0 else (x(axis.low), x(margin))
        shapes.append(Box(start, TOP, max(0.0, end - start), ROW * len(rows), MARGIN))
    for tick in axis.ticks:
        shapes.append(Line(x(tick), TOP, x(tick), bottom, FAINT))
        shapes.append(Words(x(tick), bottom + 18, PAGE.short(tick), 12, "middle", OTHER))
    shapes.append(Line(x(0), TOP, x(0), bottom, INK, 1.5))
    for at, row in enumerate(rows):
        one = decided.get(subject(row))
        colour = COLOURS.get(one.outcome, OTHER) if one else OTHER
        y = TOP + ROW * at + ROW / 2
        name = clean(
            row.arm if row.checkpoint is None or row.train_seed is None else f"{row.arm} seed {row.train_seed}"
        )
        shapes.append(
            Words(LEFT - 12, y + 4, name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…", anchor="end")
        )
        if row.low is not None and row.high is not None:
            shapes.append(Line(x(scale.factor * row.low), y, x(scale.factor * row.high), y, colour, 2.5))
        assert row.delta is not None
        shapes.append(Dot(x(scale.factor * row.delta), y, 5, colour))
        said = f"  {one.outcome}" if one else ""
        shapes.append(Words(WIDTH - RIGHT + 12, y + 4, f"{PAGE.change(row, scale, unit=False)}{said}", colour=colour))
    if margin is not None:
        shapes.append(Words(LEFT, height - 10, "shaded: beyond the margin", 12, colour=OTHER))
    return Figure(WIDTH, height, clean(metric), tuple(shapes))


def svg(figure: Figure) -> str:
    """Return a figure as an SVG document; the same figure gives the same bytes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{figure.width}" height="{figure.height}" '
        f'viewBox="0 0 {figure.width} {figure.height}" role="img" font-family="sans-serif">',
        f"<title>{escape(figure.title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for shape in figure.shapes:
        match shape:
            case Line(x1, y1, x2, y2, colour, width):
                place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
                parts.append(f'<line {place} stroke="{colour}" stroke-width="{width:g}"/>')
            case Box(x, y, width, height, colour):
                size = f'width="{width:.1f}" height="{height:.1f}"'
                parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')
            case Dot(x, y, radius, colour):
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}"/>')
            case Words(x, y, text, size_, anchor, colour):
                how = f'font-size="{size_}" text-anchor="{anchor}" fill="{colour}"'
                parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def png(figure: Figure, scale: int = 2) -> bytes:
    """Return a figure as a PNG of `scale` pixels a point. Raises MissingPackageError without Pillow."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError:
        raise MissingPackageError("PNG figures need the package Pillow: pip install pillow; SVG needs none") from None
    image = Image.new("RGB", (figure.width * scale, figure.height * scale), "#ffffff")
    draw = ImageDraw.Draw(image)
    for shape in figure.shapes:
        match shape:
            case Line(x1, y1, x2, y2, colour, width):
                draw.line([x1 * scale, y1 * scale, x2 * scale, y2 * scale], colour, round(width * scale))
            case Box(x, y, width, height, colour):
                draw.rectangle([x * scale, y * scale, (x + width) * scale, (y + height) * scale], colour)
            case Dot(x, y, radius, colour):
                ends = [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
                draw.ellipse(ends, colour)
            case Words(x, y, text, size, anchor, colour):
                font = ImageFont.load_default(size * scale)
                side = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
                # The font that Pillow brings has no minus sign of its own.
                draw.text((x * scale, y * scale), text.replace("\N{MINUS SIGN}", "-"), colour, font, side)
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()
