"""Categories as heat maps: every category of a metric's prompts in every arm, the worst first."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune import direction
from aftertune.findings import CategoryRow
from aftertune.numbers import PAGE
from aftertune.outcome import SEVERITY
from aftertune.records import Worse
from aftertune.reporting.cleaning import show
from aftertune.reporting.index import Index
from aftertune.reporting.page.anchors import anchor

STEPS = (5.0, 15.0, 30.0, 50.0)
"""Losses, in points, at which a cell becomes darker."""
BESIDE = 6
"""Arms up to which a long map is parted in two that stand side by side."""
TALL = 16
"""Rows from which on a map is long."""
MAX_ARMS = 16
MAX_CATEGORIES = 80
MAX_MAPS = 12
MAX_CELLS = 2_000
"""Of all maps together, the last one aside."""
MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One category in one arm."""

    text: str
    tone: str
    """`w1` to `w4` for the worse, `b1` to `b4` for the better, empty in between."""
    sure: bool
    """Whether the interval excludes zero."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One metric: rows are categories, columns arms."""

    id: str
    title: str
    worse: str
    arms: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[HeatCell | None, ...]], ...]
    """(category, prompts, cells)."""
    note: str

    @property
    def columns(self) -> tuple[tuple[tuple[str, str, tuple[HeatCell | None, ...]], ...], ...]:
        """The rows in one part, or in two that stand side by side where few arms leave room for that."""
        if len(self.arms) > BESIDE or len(self.rows) < TALL:
            return (self.rows,)
        half = (len(self.rows) + 1) // 2
        return self.rows[:half], self.rows[half:]


def heat_maps(index: Index) -> list[HeatMap]:
    """Return a map of each metric with categories in which something moved, that of the worst decision first."""
    tones: dict[str, int] = {}
    for decision in index.findings.decisions:
        rank = SEVERITY.index(decision.outcome)
        tones[decision.metric] = min(tones.get(decision.metric, rank), rank)
    grouped: dict[str, list[CategoryRow]] = {}
    for row in index.findings.categories:
        if index.scale(row.metric).is_percent and row.delta is not None:
            grouped.setdefault(row.metric, []).append(row)
    failing = {name for name, rank in tones.items() if SEVERITY[rank] != "pass"}
    metrics = [name for name in index.names if name in grouped and (name in failing or not failing)]
    metrics.sort(key=lambda name: tones.get(name, len(SEVERITY)))
    maps: list[HeatMap] = []
    for name in metrics[:MAX_MAPS]:
        if sum(len(one.rows) * len(one.arms) for one in maps) > MAX_CELLS:
            break
        maps.append(_map(index, name, grouped[name]))
    return maps


def _map(index: Index, metric: str, rows: list[CategoryRow]) -> HeatMap:
    worse = index.metric(metric).worse
    losses: dict[str, list[float]] = {}
    by_arm: dict[str, list[float]] = {}
    cells: dict[tuple[str, str], CategoryRow] = {}
    for row in rows:
        loss = 100 * direction.loss(row.delta, worse)
        losses.setdefault(row.category, []).append(loss)
        by_arm.setdefault(row.arm, []).append(loss)
        cells[row.category, row.arm] = row
    arms = sorted(by_arm, key=lambda arm: -sum(by_arm[arm]) / len(by_arm[arm]))
    categories = sorted(losses, key=lambda name: -sum(losses[name]) / len(losses[name]))
    notes = []
    if len(arms) > MAX_ARMS:
        notes.append(f"The {MAX_ARMS} of {len(arms):,} arms that moved most for the worse.")
    if len(categories) > MAX_CATEGORIES:
        notes.append(f"The first {MAX_CATEGORIES} of {len(categories):,} categories; report.json has all.")
    arms = arms[:MAX_ARMS]
    return HeatMap(
        id=f"categories-{anchor(metric)}",
        title=index.called(metric),
        worse=direction.words(worse),
        arms=tuple(arms),
        rows=tuple(
            (
                show(category, index.findings.mask_label, MAX_NAME).text,
                f"{max(cells[category, arm].n_prompts for arm in by_arm if (category, arm) in cells):,}",
                tuple(_cell(cells.get((category, arm)), worse) for arm in arms),
            )
            for category in categories[:MAX_CATEGORIES]
        ),
        note=" ".join(notes),
    )


def _cell(row: CategoryRow | None, worse: Worse) -> HeatCell | None:
    if row is None or row.delta is None:
        return None
    loss = 100 * direction.loss(row.delta, worse)
    step = sum(abs(loss) >= at for at in STEPS)
    sure = row.low is not None and row.high is not None and not row.low <= 0 <= row.high
    return HeatCell(
        text=PAGE.number(100 * row.delta, 0, signed=True),
        tone=f"{'w' if loss > 0 else 'b'}{step}" if step else "",
        sure=sure,
    )
