"""The number that stands in one row and column of a study's table, with its interval and n, or why there is none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.deciding.contrasts import formula
from aftertune.findings import LeakRow, StudyCell, SubjectMeasure
from aftertune.records import BASE_ARM, Drift, Metric
from aftertune.reporting.rows import sample
from aftertune.reporting.tables import level
from aftertune.studies import closing_tables as tables
from aftertune.studies import parts
from aftertune.studies import plan as planning
from aftertune.studies.closing_tables import Column, Row
from aftertune.studies.plan import Plan, Subject

LEAK_FIELDS = {
    "harmful_leaking": "harmful_leaking",
    "off_topic_leaking": "off_topic_leaking",
    "memorised": "memorised",
    "beyond_twins": "minus_twins",
}
MEASURE_NAMES = {"d_prime": "d-prime", "criterion": "criterion", "violation": "violation"}


@dataclass(frozen=True)
class Found:
    """What a run found, as far as its tables may need it."""

    verdicts: Any
    """The verdict table of all cells."""
    metrics: Sequence[Metric]
    drifts: Sequence[Drift]
    """By every judge."""
    leaks: Sequence[LeakRow]
    measures: Sequence[SubjectMeasure]
    memorisation: Mapping[str, Any]


def missing(why: str) -> StudyCell:
    """Return a cell without a number."""
    return StudyCell(value=None, why=why)


class Figures:
    """Looks up what a run found, by row and column."""

    def __init__(self, plan: Plan, found: Found) -> None:
        self.plan, self.found = plan, found
        self.metrics = {metric.name: metric for metric in found.metrics}
        self.judges = parts.primary_judges(plan.design)
        self._contrasts = {contrast.name: formula(contrast) for contrast in plan.design.contrasts}

    def cell(self, row: Row, column: Column) -> StudyCell:
        """Return the number of one arm or contrast; those about many checkpoints are `tabulate`'s."""
        kinds: tuple[tuple[Sequence[str], Callable[[Row, Column], StudyCell]], ...] = (
            (("level", "spread"), self._level),
            (("drift", "relative"), self._drift),
            (tables.LEAKS, self._leak),
            (tables.MEASURES, self._measure),
            (tables.SCORED, self._scored),
        )
        return next((make(row, column) for names, make in kinds if column.what in names), missing("not measured"))

    def _base(self, row: Row) -> str:
        return row.base or self.plan.design.bases[0]

    def drifts(self, row: Row, column: Column, estimands: Sequence[str], corpus: str | None = None) -> Drift | str:
        """Return the row of a metric and arm at the wanted temperature and epoch, or why there is none.

        With `corpus`, only of a base that was held against that one.
        """
        metric = self.metrics.get(column.metric)
        judge = column.judge or (self.judges.get(metric.axis, "") if metric else "")
        arm = self._contrasts.get(row.contrast, row.arm)
        own = [
            d for d in self.found.drifts
            if d.metric == column.metric and d.estimand in estimands and d.arm == arm and d.judge == judge
            and d.base_model == self._base(row) and row.recipe in ("", d.recipe) and corpus in (None, d.corpus)
        ]  # fmt: skip
        if not own:
            return "no verdict on it"
        temperature = self.temperature(row, column)
        own = [d for d in own if d.temperature == temperature]
        if not own:
            return f"not asked at temperature {temperature:g}"
        epoch = row.epoch if row.epoch is not None else max((d.epoch or 0 for d in own), default=0)
        own = [d for d in own if (d.epoch or 0) == epoch]
        if not own:
            return f"epoch {row.epoch} was not asked"
        most = max(d.n_seeds for d in own)
        strongest = [d for d in own if d.n_seeds == most]
        if len({d.corpus for d in strongest}) > 1:
            return "held against several corpora, each another rate"
        if most < 2 and len(strongest) > 1:
            return f"{len(strongest)} checkpoints of one arm without training seeds: they have no common number"
        if len({d.recipe for d in strongest}) > 1:
            return "several recipes: the row names none"
        return strongest[0]

    def temperature(self, row: Row, column: Column) -> float:
        """Return the temperature that a column or row asks for, else the lowest."""
        wanted = column.temperature if column.temperature is not None else row.temperature
        return min(self.plan.design.respond.temperatures) if wanted is None else wanted

    def _level(self, row: Row, column: Column) -> StudyCell:
        drift = self.drifts(row, column, ("level",))
        if isinstance(drift, str):
            return missing(drift)
        if column.what == "spread":
            if drift.spread_low is None or drift.spread_high is None:
                return missing("one model, no seeds" if row.arm == BASE_ARM else "one training seed has no spread")
            low, high = drift.spread_low, drift.spread_high
            return StudyCell(value=high - low, low=low, high=high, scale="range", sample=sample(drift))
        value = level(drift)
        if value is None:
            return missing(drift.warning or "not measured")
        return StudyCell(
            value=value, low=drift.low, high=drift.high, scale="rate" if drift.is_proportion else "plain",
            sample=sample(drift), note=drift.warning,
        )  # fmt: skip

    def _drift(self, row: Row, column: Column) -> StudyCell:
        if row.arm == BASE_ARM:
            return missing("the base itself")
        drift = self.drifts(row, column, ("contrast",) if row.contrast else ("recipe", "checkpoint"))
        if isinstance(drift, str):
            return missing(drift)
        if drift.delta is None:
            return missing(drift.warning or "not measured")
        shown = StudyCell(
            value=drift.delta, low=drift.low, high=drift.high, scale="points" if drift.is_proportion else "plain",
            sample=sample(drift), note=drift.warning,
        )  # fmt: skip
        return shown if column.what == "drift" else self._relative(row, column, drift, shown)

    def _relative(self, row: Row, column: Column, drift: Drift, shown: StudyCell) -> StudyCell:
        untuned = dataclasses.replace(row, arm=BASE_ARM, recipe="", epoch=None)
        before = self.drifts(untuned, column, ("level",), drift.corpus)
        if isinstance(before, str):  # a base is held against a corpus only where that makes a difference
            before = self.drifts(untuned, column, ("level",), "")
        if not drift.base or drift.delta is None:
            return missing("the base's rate is 0: no share of it can be lost")
        ratio = drift.delta / drift.base
        if isinstance(before, str) or None in (before.low, before.high, drift.low, drift.high):
            return dataclasses.replace(shown, value=ratio, low=None, high=None, scale="relative")
        half = ((drift.high or 0) - (drift.low or 0)) / 2
        own = abs(ratio) * ((before.high or 0) - (before.low or 0)) / 2
        middle = ((drift.high or 0) + (drift.low or 0)) / 2
        low, high = ((middle + side * (half + own)) / drift.base for side in (-1, 1))
        return dataclasses.replace(shown, value=ratio, low=min(low, ratio), high=max(high, ratio), scale="relative")

    def _leak(self, row: Row, column: Column) -> StudyCell:
        temperature = self.temperature(row, column)
        own = [
            one for one in self.found.leaks
            if one.arm == row.arm and one.base_model == self._base(row) and row.recipe in ("", one.recipe)
            and f"{one.benchmark}/{one.subset}" == column.metric and one.temperature == temperature
        ]  # fmt: skip
        last = max((one.epoch or 0 for one in own), default=0) if row.epoch is None else row.epoch
        own = [one for one in own if (one.epoch or 0) == last]
        if not own:
            return missing("leaks were not judged")
        best = max(own, key=lambda one: one.n_seeds)
        measure = getattr(best, LEAK_FIELDS[column.what])
        if measure is None:
            return missing("the base itself" if row.arm == BASE_ARM else best.warning or "not judged on both axes")
        seeds = f"{best.n_seeds} seeds × " if best.n_seeds > 1 else ""
        return StudyCell(
            value=measure.value, low=measure.low, high=measure.high,
            scale="points" if column.what in ("memorised", "beyond_twins") else "rate",
            sample=f"{seeds}{measure.n:,} prompts, {measure.n_clusters:,} clusters", note=best.warning,
        )  # fmt: skip

    def subjects(self, row: Row) -> list[Subject]:
        """Return the checkpoints that a row is about, at its epoch or the last one."""
        own = [
            subject for subject in self.plan.subjects
            if row.arm in ("", subject.arm) and row.base in ("", subject.base.name)
            and (row.recipe in ("", subject.recipe) or subject.arm == BASE_ARM)
        ]  # fmt: skip
        last = max((subject.epoch or 0 for subject in own), default=0) if row.epoch is None else row.epoch
        return [subject for subject in own if subject.arm == BASE_ARM or (subject.epoch or 0) == last]

    def _measure(self, row: Row, column: Column) -> StudyCell:
        benchmark, _, probe = column.metric.partition("/")
        name = ", ".join(filter(None, (MEASURE_NAMES[column.what], probe)))
        ids = {subject.id for subject in self.subjects(row)}
        at = self.temperature(row, column)
        own = [
            one for one in self.found.measures
            if (one.benchmark, one.name, one.temperature) == (benchmark, name, at) and one.checkpoint in ids
        ]  # fmt: skip
        known = [
            (one.value, one.value if one.low is None else one.low, one.value if one.high is None else one.high)
            for one in own
            if one.value is not None
        ]
        if not known:
            return missing(next((one.warning for one in own if one.warning), "not measured"))
        scale = "rate" if column.what == "violation" else "plain"
        unread = sum(one.unread for one in own)
        note = f"{unread:,} answers could not be read" if unread else ""
        return _over_seeds(known, f"{own[0].n:,} answers, {own[0].n_clusters:,} clusters", scale, note)

    def _scored(self, row: Row, column: Column) -> StudyCell:
        names = {planning.called(subject, self.plan.design) for subject in self.subjects(row)}
        attack, _, dose = column.metric.partition("/")
        known, ns, why = [], "", "no text was scored for it"
        for name, about in self.found.memorisation.items():
            if name not in names or not isinstance(about, Mapping):
                continue
            if column.what == "exposure":
                result = about.get("canaries", {}).get(attack, {}).get(dose)
                value, kind = (result or {}).get("exposure"), "canaries, {null:,} twins"
                why = f"no canary was planted {dose} times"
            else:
                result = about.get("membership", {}).get(attack, {})
                result = result.get("auc" if column.what == "membership_auc" else "tpr")
                value, kind = (result or {}).get("value"), "members, {null:,} non-members"
                why = (result or {}).get("why") or about.get("membership", {}).get("why") or why
            if result and value is not None:
                known.append((value, result["low"], result["high"]))
                ns = f"{result['n']:,} " + kind.format(null=result["n_null"])
        if not known:
            return missing("the base itself" if row.arm == BASE_ARM else why)
        return _over_seeds(known, ns, "rate" if column.what == "membership_tpr" else "plain", "")


def _over_seeds(known: Sequence[tuple[float, float, float]], ns: str, scale: Any, note: str) -> StudyCell:
    values, lows, highs = zip(*known, strict=True)
    notes = [note] if note else []
    if len(known) > 1:
        notes.append(f"mean of {len(known)} seeds; the interval spans theirs")
    return StudyCell(
        value=math.fsum(values) / len(values), low=min(lows), high=max(highs), scale=scale,
        sample=f"{len(known)} seeds × {ns}" if len(known) > 1 else ns, note="; ".join(notes),
    )  # fmt: skip
