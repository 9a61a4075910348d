"""A study's closing tables as text: our number with interval and n, the paper's beside it, never a blank."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.findings import StudyCell, StudySection
from aftertune.numbers import NOT_MEASURED, PAGE, SHARES, VALUES, whole_percent

OTHERS = "Published numbers are of other models on other data: they show the shape of a finding, not a target."


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell as text; a dash where the paper gives no number."""

    ours: str
    sample: str
    note: str
    published: str

    @property
    def behind(self) -> str:
        """Return how much data stands behind the number, and its warnings."""
        return "; ".join(filter(None, (self.sample, self.note)))


def cell_view(cell: StudyCell, unit: str) -> CellView:
    """Return a cell as text; a missing number is a dash with its reason."""
    published = PAGE.missing
    if isinstance(cell.published, str):
        published = cell.published
    elif cell.published is not None:
        published = PAGE.number(cell.published, _decimals(cell.published)) + (f" {unit}" if unit else "")
    if cell.scale == "range" and cell.low is not None and cell.high is not None:
        ours = PAGE.span(cell.low, cell.high, SHARES, 1)
    elif cell.value is None:
        return CellView(PAGE.missing, "", cell.why or NOT_MEASURED, published)
    elif cell.scale == "share":
        ours = whole_percent(cell.value)
    else:
        scale, most = (VALUES, 3) if cell.scale == "plain" else (SHARES, 1)
        sign = {"rate": " %", "points": " points", "relative": " %"}.get(cell.scale, "")
        signed = cell.scale in ("points", "relative")
        ours = PAGE.estimate(cell.value, cell.low, cell.high, scale, unit=sign, signed=signed, most=most)
    return CellView(ours, cell.sample, cell.note, published)


def _decimals(value: float) -> int:
    """Return as many decimals as a published number was printed with, three at most."""
    return next((digits for digits in range(3) if round(value, digits) == value), 3)


@dataclass(frozen=True, slots=True)
class HeadView:
    """A column's head as text."""

    name: str
    about: str
    """What the column shows."""
    published: bool
    """Whether the paper gives any number for it."""
    usual: str
    """How much data stands behind a number of this column, and its warnings, where its cell says nothing else."""


@dataclass(frozen=True, slots=True)
class SectionView:
    """A closing table as text."""

    title: str
    source: str
    heads: tuple[HeadView, ...]
    rows: tuple[tuple[str, tuple[CellView, ...]], ...]
    statements: tuple[str, ...]
    supports: str
    cannot: str


def section_view(section: StudySection) -> SectionView:
    """Return a closing table with its cells as text; what most cells of a column would repeat stands in its head."""
    rows = [[cell_view(cell, unit) for cell, unit in zip(cells, section.units, strict=True)] for cells in section.rows]
    usual = [_usual(column) for column in zip(*rows, strict=True)] or [""] * len(section.heads)
    return SectionView(
        title=section.title,
        source=section.source,
        heads=tuple(
            HeadView(head, about, any(cells[at].published is not None for cells in section.rows), usual[at])
            for at, (head, about) in enumerate(zip(section.heads, section.about, strict=True))
        ),
        rows=tuple(
            (label, tuple(_without(cell, said) for cell, said in zip(cells, usual, strict=True)))
            for label, cells in zip(section.labels, rows, strict=True)
        ),
        statements=section.statements,
        supports=section.supports,
        cannot=section.cannot,
    )


def _usual(cells: Sequence[CellView]) -> str:
    """Return what most numbers of a column have behind them; empty where a silent cell could be misread by it."""
    counts = Counter(cell.behind for cell in cells)
    most, count = counts.most_common(1)[0]
    return most if count > 1 and 2 * count > len(cells) and "" not in counts else ""


def _without(cell: CellView, said: str) -> CellView:
    return dataclasses.replace(cell, sample="", note="") if said and cell.behind == said else cell
