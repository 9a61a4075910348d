"""Where the spread of a drift comes from: seeds, prompts, sampling and judges, by metric and recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aftertune.deciding.verdict_table import (
    SUBJECT,
    UNIT,
    Floats,
    Ints,
    MetricVerdicts,
    VerdictTable,
    base_rows,
    own_base,
)
from aftertune.deciding.warnings import FEW_SEEDS, as_text
from aftertune.findings import Spread
from aftertune.records import BASE_ARM, Metric
from aftertune.stats.variance_components import components

if TYPE_CHECKING:
    import pyarrow as pa

LEFT_OUT = 0.1
"""Share of prompts left out for a missing verdict above which a row carries a warning."""


def spreads(verdicts: pa.Table | VerdictTable, metrics: Sequence[Metric], *, confidence: float = 0.95) -> list[Spread]:
    """Return the variance components of each recipe's drift, by metric, base and temperature.

    Args:
        verdicts: The columns of `records.Verdict`.
        metrics: Metrics to decompose.
        confidence: Confidence of each interval by itself.

    What is decomposed is the value of each answer minus the mean of the base's answers to the same prompt by the same
    judge (see `stats.variance_components`). A recipe with only one seed, sample and judge has nothing to separate.
    Raises DataError for a broken table.
    """
    table = VerdictTable.of(verdicts)
    rows: list[Spread] = []
    for own in table.of_metrics(metrics):
        code, firsts = table.joint(("base", "temperature"), own.rows)
        for group in range(firsts.size):
            chosen = np.flatnonzero((code == group) & own.judged)
            if chosen.size:
                rows += _of_base(table, own, chosen, confidence)
    return rows


@dataclass(frozen=True)
class _Layout:
    """The judged values of one metric for one base at one temperature, by subject, prompt, sample and judge."""

    values: Floats
    by_subject: Sequence[Ints]
    """Where the values of each subject are."""
    unit: Ints
    sample: Ints
    judge: Ints
    shape: tuple[int, int, int]
    """Prompts, samples, judges."""

    def of_subject(self, number: int) -> Floats:
        """Return the values of one subject, shape (prompts, samples, judges); NaN where there is none."""
        own = self.by_subject[number]
        values = np.full(self.shape, np.nan)
        values[self.unit[own], self.sample[own], self.judge[own]] = self.values[own]
        return values


def _of_base(table: VerdictTable, verdicts: MetricVerdicts, chosen: Ints, confidence: float) -> Iterator[Spread]:
    rows = verdicts.rows[chosen]
    subject, firsts = table.joint(SUBJECT, rows)
    unit, units = table.joint(UNIT, rows)
    judge, judges = table.joint(("judge", "judge_version"), rows)
    samples, sample = np.unique(table.sample[rows], return_inverse=True)
    by_subject = np.split(np.argsort(subject, kind="stable"), np.cumsum(np.bincount(subject))[:-1])
    shape = (units.size, samples.size, judges.size)
    layout = _Layout(verdicts.values[chosen], by_subject, unit, sample, judge, shape)
    subjects = [table.subject(row) for row in firsts]
    bases = base_rows(subjects)
    base_means = {row: _mean_over_samples(layout.of_subject(row)) for row in bases.values()}
    recipes: dict[tuple[str, str, int | None, str], list[int]] = defaultdict(list)
    for i, one in enumerate(subjects):
        if one.arm != BASE_ARM:
            recipes[one.arm, one.recipe, one.epoch, "" if one.train_seed is not None else one.checkpoint].append(i)
    for (arm, recipe, epoch, _), members in recipes.items():
        own_bases = [base for i in members if (base := own_base(subjects[i], bases)) is not None]
        if len(own_bases) < len(members):
            continue
        values = np.stack(
            [layout.of_subject(i) - base_means[base][:, None] for i, base in zip(members, own_bases, strict=True)]
        )
        values = values[:, :, np.isfinite(values).any(axis=(0, 1, 3))]  # samples that only the base has
        values = values[..., np.isfinite(values).any(axis=(0, 1, 2))]
        asked = int(np.isfinite(values).any(axis=(0, 2, 3)).sum()) if values.size else 0
        complete = int(np.isfinite(values).all(axis=(0, 2, 3)).sum()) if values.size else 0
        if complete < 2 or values.shape[0] * values.shape[2] * values.shape[3] < 2:
            continue
        sources = components(values, confidence=confidence)
        total = sum(source.variance for source in sources)
        warnings = [f"only {len(members)} training seeds"] if 1 < len(members) < FEW_SEEDS else []
        if complete < (1 - LEFT_OUT) * asked:
            warnings.append(f"{asked - complete:,} of {asked:,} prompts lack a verdict and were left out")
        for source in sources:
            yield Spread(
                metric=verdicts.metric.name,
                base_model=table.at("base", rows[0]),
                arm=arm,
                recipe=recipe,
                epoch=epoch,
                temperature=float(table.at("temperature", rows[0])),
                source=source.source,
                variance=source.variance,
                low=source.low,
                high=source.high,
                confidence=confidence,
                part=source.variance / total if total else 0.0,
                n_seeds=len(members),
                n_prompts=complete,
                n_samples=values.shape[2],
                n_judges=values.shape[3],
                warning=as_text(warnings),
            )


def _mean_over_samples(values: Floats) -> Floats:
    """Return means with shape (prompts, judges); NaN where a judge judged none of a prompt's samples."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=1) / known.sum(axis=1))
