"""A study's closing tables, filled in from what its run found: each cell a number with its n, or why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from aftertune.deciding.contradictions import Selection, mixed_of
from aftertune.findings import Mixed, StudyCell, StudySection
from aftertune.records import BASE_ARM, Drift
from aftertune.reporting.table_values import Figures, Found, missing
from aftertune.stats.agreement import rank_correlation
from aftertune.studies.closing_tables import Column, Row, StudyTable
from aftertune.studies.plan import Plan


def fill(plan: Plan, found: Found) -> list[StudySection]:
    """Return the tables of a plan's design with their numbers.

    An arm of several training seeds shows its recipe-level estimate; what exists by checkpoint only (d-prime,
    criterion, violation, membership, exposure) is averaged over the seeds, and its interval reaches from the lowest to
    the highest end of theirs. `relative` is the drift as a share of the base's rate; half its interval's width is (half
    the drift's + |ratio| x half the base's) / base, which holds whatever the correlation of the two.
    """
    return [_Table(plan, found, table).section() for table in plan.design.tables]


class _Table:
    def __init__(self, plan: Plan, found: Found, table: StudyTable) -> None:
        self.plan, self.found, self.table = plan, found, table
        self.figures = Figures(plan, found)
        self.metrics, self.judges = self.figures.metrics, self.figures.judges

    def section(self) -> StudySection:
        pooled = self._pooled()
        rows, moves = [], []
        for place, row in enumerate(self.table.rows):
            cells = []
            for column in self.table.columns:
                cell = pooled.get((place, column.name)) or self.figures.cell(row, column)
                published = row.published.get(column.name)
                if isinstance(published, int):
                    published = float(published)
                cells.append(dataclasses.replace(cell, published=published))
                if drift := self._moved(row, column):
                    moves.append((column, row, drift))
            rows.append(tuple(cells))
        return StudySection(
            title=self.table.title,
            source=self.table.source,
            heads=tuple(column.name for column in self.table.columns),
            about=tuple(self._about(column) for column in self.table.columns),
            units=tuple(column.unit for column in self.table.columns),
            labels=tuple(row.label for row in self.table.rows),
            rows=tuple(rows),
            said=tuple(self._said(moves)),
            supports=" ".join(self.table.supports.split()),
            cannot=" ".join(self.table.cannot.split()),
        )

    # ------------------------------------------------------------------------------------------ many checkpoints

    def _pooled(self) -> dict[tuple[int, str], StudyCell]:
        cells: dict[tuple[int, str], StudyCell] = {}
        asked: list[tuple[tuple[int, str], Selection]] = []
        for place, row in enumerate(self.table.rows):
            for column in self.table.columns:
                if column.what == "agreement":
                    cells[place, column.name] = self._agreement(row, column)
                elif column.what == "mixed_sign":
                    asked.append(((place, column.name), self._selection(row, column)))
        rates = mixed_of(
            self.found.verdicts, self.found.metrics, [one for _, one in asked], seed=self.plan.design.analysis_seed
        )
        return cells | {key: mixed_cell(rate) for (key, _), rate in zip(asked, rates, strict=True)}

    def _selection(self, row: Row, column: Column) -> Selection:
        ids = {subject.id for subject in self.figures.subjects(row)}

        def counts(metric: str, judge: str) -> bool:
            heard = column.judge or self.judges.get(self.metrics[metric].axis)
            return heard in ("*", judge) and fnmatchcase(metric, column.metric or "*")

        at = self.figures.temperature(row, column)
        return Selection(counts, lambda _base, subject: subject.checkpoint in ids, at)

    def _agreement(self, row: Row, column: Column) -> StudyCell:
        ids = {subject.id for subject in self.figures.subjects(row)}
        at = self.figures.temperature(row, column)
        sides = []
        for name, judge in ((column.metric, column.judge), (column.against, column.against_judge)):
            heard = judge or self.judges.get(self.metrics[name].axis, "")
            sign = 1 if self.metrics[name].worse == "up" else -1
            sides.append({
                d.checkpoint: sign * d.delta for d in self.found.drifts
                if d.estimand == "checkpoint" and d.metric == name and d.judge == heard and d.temperature == at
                and d.checkpoint in ids and d.delta is not None
            })  # fmt: skip
        common = sorted(set(sides[0]) & set(sides[1]), key=str)
        try:
            found = rank_correlation([sides[0][c] for c in common], [sides[1][c] for c in common])
        except ValueError as error:
            return missing(str(error))
        note = "seeds of one recipe are not independent"
        shown = f"{found.n:,} checkpoints"
        return StudyCell(value=found.value, low=found.low, high=found.high, sample=shown, note=note)

    # ------------------------------------------------------------------------------------------ in words

    def _about(self, column: Column) -> str:
        words = {
            "level": "rate", "drift": "change from the base", "relative": "change as a share of the base's rate",
            "spread": "lowest to highest rate of a training seed", "harmful_leaking": "harmful and with a hit",
            "off_topic_leaking": "off topic or in the tuned script, and with a hit",
            "memorised": "hits beyond those of twins and base", "beyond_twins": "hits beyond those of twins",
            "d_prime": "d-prime, mean over seeds", "criterion": "criterion, mean over seeds",
            "violation": "violation, mean over seeds", "mixed_sign": "better on one metric and worse on another",
            "agreement": "rank correlation of drifts over checkpoints", "membership_auc": "membership AUC",
            "membership_tpr": "members found at 1 % false alarms", "exposure": "exposure in bits",
        }  # fmt: skip
        judge = f" by {column.judge}" if column.judge not in ("", "*") else " by every judge" if column.judge else ""
        metric = self.metrics.get(column.metric)
        about = f" ({metric.about})" if metric and metric.about else ""
        against = f" and {column.against}" if column.against else ""
        against += f" by {column.against_judge}" if column.against_judge else ""
        at = f" at T = {column.temperature:g}" if column.temperature is not None else ""
        return f"{words[column.what]}: {column.metric or 'all metrics'}{judge}{about}{against}{at}"

    def _moved(self, row: Row, column: Column) -> Drift | None:
        """Return the drift behind a cell that is about one metric of one arm, to say which way it went."""
        if column.what not in ("level", "drift", "relative") or row.arm == BASE_ARM:
            return None
        found = self.figures.drifts(row, column, ("contrast",) if row.contrast else ("recipe", "checkpoint"))
        return None if isinstance(found, str) or found.delta is None or found.low is None else found

    def _said(self, moves: Sequence[tuple[Column, Row, Drift]]) -> Iterator[str]:
        told_of: set[tuple[object, ...]] = set()
        for column in self.table.columns:
            key = (column.metric, column.judge, column.temperature)
            own = [(row, drift) for one, row, drift in moves if one.name == column.name and key not in told_of]
            told_of.add(key)
            arms = [(row.label, drift) for row, drift in own if not row.contrast]
            pairs = [(row.label, drift) for row, drift in own if row.contrast]
            confidence = f"{100 * self.plan.design.confidence:g} % intervals, each on its own"
            if arms:
                ways = [_way(drift) for _, drift in arms]
                names = [label for (label, _), way in zip(arms, ways, strict=True) if way == "worse"]
                named = f" ({', '.join(names)})" if 0 < len(names) < len(arms) else ""
                yield (
                    f"{column.name}: worse than the base in {len(names)} of {len(arms)} rows{named}, better in "
                    f"{ways.count('better')}, not told apart in {ways.count('')} ({confidence})."
                )
            if pairs:
                ways = [_way(drift) for _, drift in pairs]
                told = [f"{label} ({way})" for (label, _), way in zip(pairs, ways, strict=True) if way]
                named = f": {', '.join(told)}" if told else ""
                yield f"{column.name}: {len(told)} of {len(pairs)} contrasts told from zero{named} ({confidence})."


def _way(drift: Drift) -> str:
    """Return `worse`, `better`, or empty where the interval holds zero."""
    assert drift.low is not None
    assert drift.high is not None
    if drift.low <= 0 <= drift.high:
        return ""
    return "worse" if (drift.low > 0) == (drift.worse == "up") else "better"


def mixed_cell(rate: Mixed | None) -> StudyCell:
    """Return a mixed-sign rate as a cell; its expectation under no drift stands in the note."""
    if rate is None:
        return missing("fewer than two metrics, or no checkpoint, to compare")
    note = (
        f"{100 * rate.expected:.0f} % expected where nothing drifts (95 % of label swaps: {100 * rate.low:.0f} to "
        f"{100 * rate.high:.0f} %)"
    )
    return StudyCell(
        value=rate.observed, scale="share", note=note,
        sample=f"{rate.n_checkpoints:,} checkpoints × {rate.n_metrics:,} metrics",
    )  # fmt: skip
