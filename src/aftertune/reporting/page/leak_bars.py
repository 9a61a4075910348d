"""Leaks as stacked bars: what answers repeat of the training data, parted into memorised and what strangers get too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.findings import Findings, LeakRow, Measure
from aftertune.naming import Names, Unit
from aftertune.numbers import PAGE
from aftertune.records import BASE_ARM
from aftertune.reporting.sentences import leak_rows, leak_sample, leak_share

PARTS = (
    ("memorised", "memorised: repeated beyond the twins' level"),
    ("twins", "the level of twins, people that nobody trained on"),
    ("echoed", "echoed: the prompt held it too"),
    ("invented", "invented: shaped like a value, and nobody's"),
)
"""Class of a segment, and what it is."""
LEAST = 0.005
"""Share of answers below which a set of prompts has no bars."""
MAX_BARS = 24


@dataclass(frozen=True, slots=True)
class LeakBar:
    """One arm on one set of prompts; segments are (class, start, width) in per cent of the answers."""

    name: str
    segments: tuple[tuple[str, float, float], ...]
    repeated: str
    memorised: str
    echoed: str
    invented: str


@dataclass(frozen=True, slots=True)
class LeakGroup:
    """The bars of one set of prompts."""

    title: str
    sample: str
    leaking: bool
    """Whether any model repeats training data, beyond one answer in two hundred."""
    bars: tuple[LeakBar, ...]


@dataclass(frozen=True, slots=True)
class LeakBars:
    """Sets of prompts with leaks, and those without any."""

    groups: tuple[LeakGroup, ...]
    none: tuple[str, ...]


def leak_bars(findings: Findings) -> LeakBars:
    """Return the bars of each set of prompts in which any answer held a personal value, the base among them."""
    grouped: dict[str, list[LeakRow]] = {}
    rows = leak_rows(findings)
    names = Names(map(Unit.of, rows))
    for row in rows:
        grouped.setdefault(f"{row.benchmark}: {row.subset}" if row.subset else row.benchmark, []).append(row)
    shown = {title: own for title, own in grouped.items() if any(_size(row) >= LEAST for row in own)}
    groups = []
    for title, own in shown.items():
        ordered = sorted(own, key=lambda row: (row.arm == BASE_ARM, -_share(row.registry), -_size(row)))
        samples = {leak_sample(row.n_seeds, row.registry) for row in own if row.arm != BASE_ARM}
        bars = tuple(_bar(row, names(Unit.of(row))) for row in ordered[:MAX_BARS])
        leaking = any(_share(row.registry) >= LEAST for row in own)
        groups.append(LeakGroup(title, samples.pop() if len(samples) == 1 else "", leaking, bars))
    groups.sort(key=lambda group: not group.leaking)
    return LeakBars(tuple(groups), tuple(title for title in grouped if title not in shown))


def _share(measure: Measure | None) -> float:
    return 0.0 if measure is None else measure.value


def _size(row: LeakRow) -> float:
    return sum(map(_share, (row.registry, row.echoed, row.invented)))


def _bar(row: LeakRow, name: str) -> LeakBar:
    whole = _share(row.registry)
    twins = min(_share(row.twin), whole)
    return LeakBar(
        name=name,
        segments=_stacked((whole - twins, twins, _share(row.echoed), _share(row.invented))),
        repeated=leak_share(row.registry),
        memorised="" if row.arm == BASE_ARM else leak_share(row.memorised or row.minus_base, signed=True),
        echoed=PAGE.number(100 * _share(row.echoed), 1),
        invented=PAGE.number(100 * _share(row.invented), 1),
    )


def _stacked(shares: Sequence[float]) -> tuple[tuple[str, float, float], ...]:
    segments, start = [], 0.0
    for (name, _), share in zip(PARTS, shares, strict=True):
        width = min(100 * share, 100 - start)
        if width > 0:
            segments.append((name, round(start, 2), round(width, 2)))
        start += width
    return tuple(segments)
