"""The tables that close a study's report: our number with interval and n, the paper's beside it, never a blank."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.findings import StudyCell, StudySection
from aftertune.reporting.formatting import interval, number, places

OTHERS = "Published numbers are of other models on other data: they show the shape of a finding, not a target."
NONE = "–"


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell as text; a dash where the paper gives no number."""

    ours: str
    sample: str
    note: str
    published: str


def cell_view(cell: StudyCell, unit: str) -> CellView:
    """Return a cell as text; a missing number is a dash with its reason."""
    published = NONE
    if isinstance(cell.published, str):
        published = cell.published
    elif cell.published is not None:
        published = number(cell.published, _decimals(cell.published)) + (f" {unit}" if unit else "")
    if cell.scale == "range" and cell.low is not None and cell.high is not None:
        ours = f"{number(100 * cell.low, 1)} to {number(100 * cell.high, 1)} %"
    elif cell.value is None:
        return CellView(NONE, "", cell.why or "not measured", published)
    elif cell.scale == "share":
        ours = f"{number(100 * cell.value, 0)} %"
    else:
        factor = 1.0 if cell.scale == "plain" else 100.0
        low, high = (None if end is None else factor * end for end in (cell.low, cell.high))
        decimals = places(low, high) if factor == 1.0 else min(places(low, high), 1)
        sign = {"rate": " %", "points": " points", "relative": " %"}.get(cell.scale, "")
        value = number(factor * cell.value, decimals, signed=cell.scale in ("points", "relative"))
        ours = f"{value}{sign} {interval(low, high, decimals)}"
    return CellView(ours, cell.sample, cell.note, published)


def _decimals(value: float) -> int:
    """Return as many decimals as a published number was printed with, three at most."""
    return next((digits for digits in range(3) if round(value, digits) == value), 3)


@dataclass(frozen=True, slots=True)
class SectionView:
    """A closing table as text."""

    title: str
    source: str
    heads: tuple[tuple[str, str, bool], ...]
    """Name, what the column shows, and whether the paper gives any number for it."""
    rows: tuple[tuple[str, tuple[CellView, ...]], ...]
    said: tuple[str, ...]
    supports: str
    cannot: str


def section_view(section: StudySection) -> SectionView:
    """Return a closing table with its cells as text."""
    return SectionView(
        title=section.title,
        source=section.source,
        heads=tuple(
            (head, about, any(cells[place].published is not None for cells in section.rows))
            for place, (head, about) in enumerate(zip(section.heads, section.about, strict=True))
        ),
        rows=tuple(
            (label, tuple(cell_view(cell, unit) for cell, unit in zip(cells, section.units, strict=True)))
            for label, cells in zip(section.labels, section.rows, strict=True)
        ),
        said=section.said,
        supports=section.supports,
        cannot=section.cannot,
    )
