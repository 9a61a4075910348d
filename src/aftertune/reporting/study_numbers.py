"""A study's closing tables, filled in: each cell a number with its interval and n, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from aftertune import direction
from aftertune.deciding import discrimination
from aftertune.deciding.contradictions import Selection, mixed_of
from aftertune.deciding.contrasts import formula
from aftertune.findings import Discrimination, LeakRow, Measure, Mixed, StudyCell, StudySection, SubjectMeasure
from aftertune.naming import Names, Unit
from aftertune.numbers import count, sample, whole_percent
from aftertune.records import BASE_ARM, Contrast, Drift, Metric
from aftertune.reporting.index import level
from aftertune.reporting.sentences import leak_sample
from aftertune.stats.agreement import FEWEST_GROUPS, grouped_rank_correlation
from aftertune.studies import closing_tables as kinds
from aftertune.studies import expectations
from aftertune.studies.closing_tables import POOLED, Column, Row, StudyTable, What
from aftertune.studies.expectations import Shown

if TYPE_CHECKING:
    import pyarrow as pa

    from aftertune.deciding.verdict_table import VerdictTable

LEAKS: Mapping[What, Callable[[LeakRow], Measure | None]] = {
    "harmful_leaking": lambda row: row.harmful_leaking,
    "off_topic_leaking": lambda row: row.off_topic_leaking,
    "safe_off_topic": lambda row: row.safe_off_topic,
    "memorised": lambda row: row.memorised,
    "beyond_twins": lambda row: row.minus_twins,
}
MEASURES: Mapping[What, str] = {
    "d_prime": "d-prime",
    "criterion": "criterion",
    "auroc": "AUROC",
    "violation": "violation",
}
ABOUT: Mapping[What, str] = {
    "level": "rate",
    "drift": "change from the base",
    "relative": "change as a share of the base's rate",
    "spread": "lowest to highest rate of a training seed",
    "harmful_leaking": "harmful and with a hit",
    "off_topic_leaking": "off topic or in the tuned script, and with a hit",
    "safe_off_topic": "harmless, and off topic or in the tuned script",
    "memorised": "hits beyond those of twins and base",
    "beyond_twins": "hits beyond those of twins",
    "d_prime": "d-prime, mean over seeds",
    "criterion": "criterion, mean over seeds",
    "auroc": "AUROC of the log-odds of sharing, what the letters are favoured by taken out, mean over seeds",
    "violation": "violation, mean over seeds",
    "mixed_sign": "better on one metric and worse on another",
    "agreement": "rank correlation of drifts over checkpoints",
    "membership_auc": "membership AUC",
    "membership_tpr": "members found at 1 % false alarms",
    "exposure": "exposure in bits",
}
"""What a column shows, in words."""
_BY_JUDGE = {"spread", *LEAKS, *MEASURES, *POOLED}
"""What people's labels change nothing of."""


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """What a run measured, as far as its closing tables may need it."""

    verdicts: pa.Table | VerdictTable
    """Of all cells, by every judge."""
    metrics: Sequence[Metric]
    drifts: Sequence[Drift]
    """By every judge."""
    leaks: Sequence[LeakRow]
    measures: Sequence[SubjectMeasure]
    discrimination: Sequence[Discrimination]
    memorisation: Mapping[str, Any]
    """By the name of the checkpoint (`Names` of `subjects`)."""
    subjects: Sequence[Unit]
    """Every base and checkpoint of the run."""
    base: str
    """Of the rows that name none."""
    contrasts: Sequence[Contrast]
    judges: Mapping[str, str]
    """Axis -> the judge that the gate listens to."""
    temperature: float
    """Of the rows and columns that name none: the lowest."""
    confidence: float
    seed: int
    """Of the label swaps behind mixed-sign rates."""
    unable: Collection[tuple[str, str]] = ()
    """(base, metric) where the base is not shown to do what the metric asks (`deciding.unable_bases`)."""
    labelled: bool = False
    """Whether people's labels stand in the drifts."""


def fill(tables: Sequence[StudyTable], results: StudyResults) -> list[StudySection]:
    """Return a design's closing tables with their numbers.

    An arm of several training seeds shows its recipe-level estimate; what exists by checkpoint only (d-prime,
    criterion, AUROC, violation, membership, exposure) is averaged over the seeds, and its interval reaches from the
    lowest to the highest end of theirs. `relative` is the drift as a share of the base's rate; half its interval's
    width is (half the drift's + |ratio| x half the base's) / base, which holds whatever the correlation of the two.
    """
    cells = Cells(results)
    return [_section(table, cells) for table in tables]


def _section(table: StudyTable, cells: Cells) -> StudySection:
    pooled = _pooled(table, cells)
    rows, moves = [], []
    for position, row in enumerate(table.rows):
        line = []
        for column in table.columns:
            cell = pooled.get((position, column.name)) or cells.cell(row, column)
            published = row.published.get(column.name)
            if isinstance(published, int):
                published = float(published)
            drift = cells.movement(row, column)
            if drift:
                moves.append((column, row, drift))
            if rule := row.expected.get(column.name, ""):
                found = finding(rule, cell, drift, unable=cells.is_unable(row, column))
                cell = dataclasses.replace(cell, expected=rule, finding=found)
            line.append(dataclasses.replace(cell, published=published))
        rows.append(tuple(line))
    return StudySection(
        title=table.title,
        source=table.source,
        heads=tuple(column.name for column in table.columns),
        about=tuple(_about(column, cells) for column in table.columns),
        units=tuple(column.unit for column in table.columns),
        labels=tuple(row.label for row in table.rows),
        rows=tuple(rows),
        statements=(*_statements(table, moves, cells.results.confidence), *_findings(table, rows)),
        supports=" ".join(table.supports.split()),
        cannot=" ".join(table.cannot.split()),
    )


def finding(rule: str, cell: StudyCell, drift: Drift | None, *, unable: bool = False) -> Shown:
    """Return whether what a paper found shows in a cell, by the design's rule.

    `down` and `up` are read off the change behind a rate, the other rules off the number that is shown. Of a base that
    is `unable` to do what is asked only a movement can be told: that nothing moved says nothing.
    """
    wanted = expectations.read(rule, "expected")
    if cell.value is None:
        return "not measured"
    low, high = cell.low, cell.high
    if wanted.kind in ("down", "up") and drift is not None:
        low, high = drift.low, drift.high
    if cell.scale == "range":  # from the lowest to the highest seed: its width has no interval
        low = high = cell.value
    if cell.scale == "share":
        if (cell.high or 0.0) >= 1.0:
            return "cannot be asked"  # chance alone may give everything: no drift could make it more
        low = high = cell.value - (cell.high or 0.0)
    if low is None or high is None:
        return "open"
    scale = 1.0 if cell.scale == "plain" else 100.0
    shown = wanted.shown(scale * low, scale * high)
    return shown if not unable or (shown == "shows" and wanted.kind != "within") else "cannot be asked"


def _findings(table: StudyTable, rows: Sequence[Sequence[StudyCell]]) -> Iterator[str]:
    """Yield in one sentence which of the paper's findings show."""
    by_outcome: dict[str, list[str]] = {}
    for row, cells in zip(table.rows, rows, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell.finding:
                by_outcome.setdefault(cell.finding, []).append(f"{row.label}, {column.name}: {cell.expected}")
    total = sum(map(len, by_outcome.values()))
    if total:
        words = {
            "shows": ("shows", "show"),
            "does not show": ("does not show", "do not show"),
            "open": ("is open", "are open"),
            "cannot be asked": ("cannot be asked here", "cannot be asked here"),
            "not measured": ("is not measured", "are not measured"),
        }
        parts = [
            f"{len(own)} {words[outcome][len(own) > 1]} ({'; '.join(own)})"
            for outcome in words
            if (own := by_outcome.get(outcome))
        ]
        findings = count(total, "published finding")
        yield f"Of {findings}, by the rules of the design on our intervals: {'; '.join(parts)}."


def missing(why: str) -> StudyCell:
    """Return a cell without a number."""
    return StudyCell(value=None, why=why)


class Cells:
    """Looks up what a run measured, by row and column."""

    def __init__(self, results: StudyResults) -> None:
        self.results = results
        self.metrics = {metric.name: metric for metric in results.metrics}
        self._names = Names(results.subjects)
        self._formulas = {contrast.name: formula(contrast) for contrast in results.contrasts}

    def cell(self, row: Row, column: Column) -> StudyCell:
        """Return the number of one arm or contrast."""
        if column.what in ("level", "spread"):
            return self._level(row, column)
        if column.what in ("drift", "relative"):
            return self._drift(row, column)
        if column.what in kinds.LEAKS:
            return self._leak(row, column)
        if column.what in kinds.MEASURES:
            return self._measure(row, column)
        return self._scored(row, column) if column.what in kinds.SCORED else missing("not measured")

    def judge(self, metric: str, column_judge: str) -> str:
        """Return the judge that a column takes for a metric."""
        known = self.metrics.get(metric)
        return column_judge or (self.results.judges.get(known.axis, "") if known else "")

    def temperature(self, row: Row, column: Column) -> float:
        """Return the temperature that a column or row asks for, else the lowest."""
        wanted = column.temperature if column.temperature is not None else row.temperature
        return self.results.temperature if wanted is None else wanted

    def subjects(self, row: Row) -> list[Unit]:
        """Return the checkpoints that a row is about, at its epoch or the last one."""
        own = [
            unit
            for unit in self.results.subjects
            if row.arm in ("", unit.arm)
            and row.base in ("", unit.base)
            and (row.recipe in ("", unit.recipe) or unit.arm == BASE_ARM)
        ]
        last = max((unit.epoch or 0 for unit in own), default=0) if row.epoch is None else row.epoch
        return [unit for unit in own if unit.arm == BASE_ARM or (unit.epoch or 0) == last]

    def movement(self, row: Row, column: Column) -> Drift | None:
        """Return the drift behind a cell that is about one metric of one arm, to say which way it went."""
        if column.what not in ("level", "drift", "relative") or row.arm == BASE_ARM:
            return None
        drift = self._row(row, column, ("contrast",) if row.contrast else ("recipe", "checkpoint"))
        return None if isinstance(drift, str) or drift.delta is None or drift.low is None else drift

    def is_unable(self, row: Row, column: Column) -> bool:
        """Return whether the row's base is not shown to do what the column asks."""
        return (self._base(row), column.metric) in self.results.unable

    def _base(self, row: Row) -> str:
        return row.base or self.results.base

    def _row(self, row: Row, column: Column, estimands: Sequence[str], corpus: str | None = None) -> Drift | str:
        """Return the drift of a metric and arm at the wanted temperature and epoch, or why there is none.

        With `corpus`, only of a base that was held against that one.
        """
        arm = self._formulas.get(row.contrast, row.arm)
        judge = self.judge(column.metric, column.judge)
        own = [
            drift
            for drift in self.results.drifts
            if (drift.metric, drift.arm, drift.judge) == (column.metric, arm, judge)
            and drift.estimand in estimands
            and drift.base_model == self._base(row)
            and row.recipe in ("", drift.recipe)
            and corpus in (None, drift.corpus)
        ]
        if not own:
            return "no verdict on it"
        temperature = self.temperature(row, column)
        own = [drift for drift in own if drift.temperature == temperature]
        if not own:
            return f"not asked at temperature {temperature:g}"
        epoch = row.epoch if row.epoch is not None else max(drift.epoch or 0 for drift in own)
        own = [drift for drift in own if (drift.epoch or 0) == epoch]
        if not own:
            return f"epoch {row.epoch} was not asked"
        most = max(drift.n_seeds for drift in own)
        strongest = [drift for drift in own if drift.n_seeds == most]
        if len({drift.corpus for drift in strongest}) > 1:
            return "held against several corpora, each another rate"
        if most < 2 and len(strongest) > 1:
            return f"{len(strongest)} checkpoints of one arm without training seeds: they have no common number"
        if len({drift.recipe for drift in strongest}) > 1:
            return "several recipes: the row names none"
        return strongest[0]

    def _level(self, row: Row, column: Column) -> StudyCell:
        drift = self._row(row, column, ("level",))
        if isinstance(drift, str):
            return missing(drift)
        if column.what == "spread":
            if drift.spread_low is None or drift.spread_high is None:
                return missing("one model, no seeds" if row.arm == BASE_ARM else "one training seed has no spread")
            low, high = drift.spread_low, drift.spread_high
            return StudyCell(value=high - low, low=low, high=high, scale="range", sample=sample(drift))
        rate = level(drift)
        if rate is None:
            return missing(drift.warning or "not measured")
        return _of_drift(drift, rate, "rate")

    def _drift(self, row: Row, column: Column) -> StudyCell:
        if row.arm == BASE_ARM:
            return missing("the base itself")
        drift = self._row(row, column, ("contrast",) if row.contrast else ("recipe", "checkpoint"))
        if isinstance(drift, str):
            return missing(drift)
        if drift.delta is None:
            return missing(drift.warning or "not measured")
        cell = _of_drift(drift, drift.delta, "points")
        return cell if column.what == "drift" else self._relative(row, column, drift, cell)

    def _relative(self, row: Row, column: Column, drift: Drift, cell: StudyCell) -> StudyCell:
        untuned = dataclasses.replace(row, arm=BASE_ARM, recipe="", epoch=None)
        before = self._row(untuned, column, ("level",), drift.corpus)
        if isinstance(before, str):  # a base is held against a corpus only where that makes a difference
            before = self._row(untuned, column, ("level",), "")
        if not drift.base or drift.delta is None:
            return missing("the base's rate is 0: no share of it can be lost")
        ratio = drift.delta / drift.base
        cell = dataclasses.replace(cell, value=ratio, low=None, high=None, scale="relative")
        if isinstance(before, str):
            return cell
        if drift.low is None or drift.high is None or before.low is None or before.high is None:
            return cell
        half = (drift.high - drift.low) / 2 + abs(ratio) * (before.high - before.low) / 2
        middle = (drift.high + drift.low) / 2
        low, high = ((middle + side * half) / drift.base for side in (-1, 1))
        return dataclasses.replace(cell, low=min(low, ratio), high=max(high, ratio))

    def _leak(self, row: Row, column: Column) -> StudyCell:
        temperature = self.temperature(row, column)
        own = [
            leak
            for leak in self.results.leaks
            if leak.arm == row.arm
            and leak.base_model == self._base(row)
            and row.recipe in ("", leak.recipe)
            and f"{leak.benchmark}/{leak.subset}" == column.metric
            and leak.temperature == temperature
        ]
        last = max((leak.epoch or 0 for leak in own), default=0) if row.epoch is None else row.epoch
        own = [leak for leak in own if (leak.epoch or 0) == last]
        if not own:
            return missing("leaks were not judged")
        best = max(own, key=lambda leak: leak.n_seeds)
        measure = LEAKS[column.what](best)
        if measure is None:
            return missing("the base itself" if row.arm == BASE_ARM else best.warning or "not judged on both axes")
        return StudyCell(
            value=measure.value,
            low=measure.low,
            high=measure.high,
            scale="points" if column.what in ("memorised", "beyond_twins") else "rate",
            sample=leak_sample(best.n_seeds, measure),
            note=best.warning,
        )

    def _measure(self, row: Row, column: Column) -> StudyCell:
        benchmark, _, probe = column.metric.partition("/")
        name = ", ".join(filter(None, (MEASURES[column.what], probe)))
        wanted = (benchmark, name, self.temperature(row, column))
        ids = {unit.checkpoint for unit in self.subjects(row)}
        own = [
            each
            for each in self.results.measures
            if (each.benchmark, each.name, each.temperature) == wanted and each.checkpoint in ids
        ]
        known = [
            (each.value, each.value if each.low is None else each.low, each.value if each.high is None else each.high)
            for each in own
            if each.value is not None
        ]
        if not known and column.what == "d_prime":
            told_apart = self._discrimination(row, column)
            if told_apart is not None:
                return told_apart
        if not known:
            return missing(next((each.warning for each in own if each.warning), "not measured"))
        unread = sum(each.unread for each in own)
        note = f"{unread:,} answers could not be read" if unread else ""
        size = f"{own[0].n:,} answers, {own[0].n_clusters:,} clusters"
        return _over_seeds(known, size, "rate" if column.what == "violation" else "plain", note)

    def _discrimination(self, row: Row, column: Column) -> StudyCell | None:
        """Return how far refusals tell harmful requests from harmless ones; None where the column is of no such."""
        own = [
            each
            for each in self.results.discrimination
            if f"{each.suite}/{each.harmful}" == column.metric
            and (each.arm, each.base_model) == (row.arm, self._base(row))
            and (row.recipe in ("", each.recipe) or row.arm == BASE_ARM)
            and each.temperature == self.temperature(row, column)
        ]
        last = max((each.epoch or 0 for each in own), default=0) if row.epoch is None else row.epoch
        own = [each for each in own if row.arm == BASE_ARM or (each.epoch or 0) == last]
        if not own:
            return None
        best = max(own, key=lambda each: each.n_seeds)
        if best.d_prime is None:
            return missing(best.warning)
        size = discrimination.sample(best)
        return StudyCell(value=best.d_prime, low=best.low, high=best.high, sample=size, note=best.warning)

    def _scored(self, row: Row, column: Column) -> StudyCell:
        names = {self._names(unit) for unit in self.subjects(row)}
        attack, _, dose = column.metric.partition("/")
        known, size, why = [], "", "no text was scored for it"
        for name, about in self.results.memorisation.items():
            if name not in names or not isinstance(about, Mapping):
                continue
            if column.what == "exposure":
                numbers = about.get("canaries", {}).get(attack, {}).get(dose) or {}
                value, groups = numbers.get("exposure"), ("canaries", "twins")
                why = f"no canary was planted {dose} times"
            else:
                membership = about.get("membership", {})
                numbers = membership.get(attack, {}).get("auc" if column.what == "membership_auc" else "tpr") or {}
                value, groups = numbers.get("value"), ("members", "non-members")
                why = numbers.get("why") or membership.get("why") or why
            if value is not None:
                known.append((value, numbers["low"], numbers["high"]))
                size = f"{numbers['n']:,} {groups[0]}, {numbers['n_null']:,} {groups[1]}"
        if not known:
            return missing("the base itself" if row.arm == BASE_ARM else why)
        return _over_seeds(known, size, "rate" if column.what == "membership_tpr" else "plain", "")


def _of_drift(drift: Drift, value: float, scale: Literal["rate", "points"]) -> StudyCell:
    return StudyCell(
        value=value,
        low=drift.low,
        high=drift.high,
        scale=scale if drift.is_proportion else "plain",
        sample=sample(drift),
        note=drift.warning,
    )


def _over_seeds(
    known: Sequence[tuple[float, float, float]], size: str, scale: Literal["rate", "plain"], note: str
) -> StudyCell:
    values, lows, highs = zip(*known, strict=True)
    notes = [note] if note else []
    if len(known) > 1:
        notes.append(f"mean of {len(known)} seeds; the interval spans theirs")
    return StudyCell(
        value=math.fsum(values) / len(values),
        low=min(lows),
        high=max(highs),
        scale=scale,
        sample=f"{len(known)} seeds × {size}" if len(known) > 1 else size,
        note="; ".join(notes),
    )


# ---------------------------------------------------------------------------------------------- many checkpoints


def _pooled(table: StudyTable, cells: Cells) -> dict[tuple[int, str], StudyCell]:
    """Return, by row and column, the cells that are about many checkpoints at once."""
    pooled: dict[tuple[int, str], StudyCell] = {}
    selections: dict[tuple[int, str], Selection] = {}
    for position, row in enumerate(table.rows):
        for column in table.columns:
            if column.what == "agreement":
                pooled[position, column.name] = _agreement(row, column, cells)
            elif column.what == "mixed_sign":
                selections[position, column.name] = _selection(row, column, cells)
    results = cells.results
    rates = mixed_of(results.verdicts, results.metrics, list(selections.values()), seed=results.seed)
    return pooled | {key: mixed_cell(rate) for key, rate in zip(selections, rates, strict=True)}


def _selection(row: Row, column: Column, cells: Cells) -> Selection:
    ids = {unit.checkpoint for unit in cells.subjects(row)}

    def counts(metric: str, judge: str) -> bool:
        return cells.judge(metric, column.judge) in ("*", judge) and fnmatchcase(metric, column.metric or "*")

    at = cells.temperature(row, column)
    return Selection(counts, lambda _base, subject: subject.checkpoint in ids, at)


def _agreement(row: Row, column: Column, cells: Cells) -> StudyCell:
    ids = {unit.checkpoint for unit in cells.subjects(row)}
    at = cells.temperature(row, column)
    sides: list[dict[str | None, float]] = []
    recipes: dict[str | None, tuple[str, str, str]] = {}
    for metric, column_judge in ((column.metric, column.judge), (column.against, column.against_judge)):
        wanted = ("checkpoint", metric, cells.judge(metric, column_judge), at)
        found = [
            drift
            for drift in cells.results.drifts
            if (drift.estimand, drift.metric, drift.judge, drift.temperature) == wanted
            and drift.checkpoint in ids
            and drift.delta is not None
        ]
        sides.append({drift.checkpoint: direction.loss(drift.delta or 0.0, drift.worse) for drift in found})
        recipes |= {drift.checkpoint: (drift.base_model, drift.arm, drift.recipe) for drift in found}
    common = sorted(set(sides[0]) & set(sides[1]), key=str)
    groups = [recipes[c] for c in common]
    try:
        first, second = ([side[c] for c in common] for side in sides)
        correlation = grouped_rank_correlation(first, second, groups)
    except ValueError as error:
        return missing(str(error))
    arms = len(set(groups))
    return StudyCell(
        value=correlation.value,
        low=correlation.low,
        high=correlation.high,
        sample=f"{count(correlation.n, 'checkpoint')} of {count(arms, 'recipe')}",
        note="" if arms >= FEWEST_GROUPS else f"fewer than {FEWEST_GROUPS} recipes leave the interval open",
    )


def mixed_cell(rate: Mixed | None) -> StudyCell:
    """Return a mixed-sign rate as a cell; its expectation under no drift stands in the note."""
    if rate is None:
        return missing("fewer than two metrics, or no checkpoint, to compare")
    swaps = f"95 % of label swaps: {100 * rate.low:.0f} to {whole_percent(rate.high)}"
    return StudyCell(
        value=rate.observed,
        low=rate.low,
        high=rate.high,
        scale="share",
        note=f"{whole_percent(rate.expected)} expected where nothing drifts ({swaps})",
        sample=f"{rate.n_checkpoints:,} checkpoints × {rate.n_metrics:,} metrics",
    )


# ---------------------------------------------------------------------------------------------- in words


def _about(column: Column, cells: Cells) -> str:
    judge = f" by {column.judge}" if column.judge not in ("", "*") else " by every judge" if column.judge else ""
    metric = cells.metrics.get(column.metric)
    about = f" ({metric.about})" if metric and metric.about else ""
    against = f" and {column.against}" if column.against else ""
    against += f" by {column.against_judge}" if column.against_judge else ""
    at = f" at T = {column.temperature:g}" if column.temperature is not None else ""
    alone = ", by the judge alone" if cells.results.labelled and column.what in _BY_JUDGE else ""
    return f"{ABOUT[column.what]}: {column.metric or 'all metrics'}{judge}{about}{against}{at}{alone}"


def _statements(table: StudyTable, moves: Sequence[tuple[Column, Row, Drift]], confidence: float) -> Iterator[str]:
    """Yield, for each metric of a table once, how many of its rows and contrasts moved, and which way."""
    intervals = f"{100 * confidence:g} % intervals, each on its own"
    done: set[tuple[object, ...]] = set()
    for column in table.columns:
        key = (column.metric, column.judge, column.temperature)
        own = [(row, _way(drift)) for one, row, drift in moves if one.name == column.name and key not in done]
        done.add(key)
        arms = [(row.label, way) for row, way in own if not row.contrast]
        pairs = [(row.label, way) for row, way in own if row.contrast]
        if arms:
            ways = [way for _, way in arms]
            worse = [label for label, way in arms if way == "worse"]
            named = f" ({', '.join(worse)})" if 0 < len(worse) < len(arms) else ""
            yield (
                f"{column.name}: worse than the base in {len(worse)} of {len(arms)} rows{named}, better in "
                f"{ways.count('better')}, not told apart in {ways.count('')} ({intervals})."
            )
        if pairs:
            clear = [f"{label} ({way})" for label, way in pairs if way]
            named = f": {', '.join(clear)}" if clear else ""
            yield f"{column.name}: {len(clear)} of {len(pairs)} contrasts told from zero{named} ({intervals})."


def _way(drift: Drift) -> direction.Verdict:
    assert drift.low is not None
    assert drift.high is not None
    return direction.of_interval(drift.low, drift.high, drift.worse)
