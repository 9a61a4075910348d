"""Where the spread of a drift comes from: seeds, prompts, sampling and judges, by metric and recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from aftertune.deciding.blocks import SUBJECT, UNIT, Coded, Floats, Ints, Subject, own_base, readings
from aftertune.deciding.warnings import FEW_SEEDS, as_text
from aftertune.findings import Spread
from aftertune.records import BASE_ARM, Metric
from aftertune.stats.components import components

if TYPE_CHECKING:
    import pyarrow as pa

LEFT_OUT = 0.1
"""Share of the prompts without all of their verdicts above which a row carries a warning."""


def spreads(verdicts: pa.Table | Coded, metrics: Sequence[Metric], *, confidence: float = 0.95) -> list[Spread]:
    """Return the variance components of each recipe's drift, by metric, base and temperature.

    What is decomposed is each answer's value minus the mean of the base's answers to the same prompt by the same judge
    (`stats.components`). Recipes of which there is but one seed, sample and judge have nothing to part. Raises
    DataError for a broken table.
    """
    table = Coded.of(verdicts)
    found: list[Spread] = []
    for metric, rows, value, known in readings(table, metrics):
        code, firsts = table.joint(("base", "temperature"), rows)
        for group in range(firsts.size):
            here = np.flatnonzero((code == group) & known)
            if here.size:
                found += _of_base(table, metric, rows[here], value[here], confidence)
    return found


def _of_base(table: Coded, metric: Metric, rows: Ints, value: Floats, confidence: float) -> Iterator[Spread]:
    subject, firsts = table.joint(SUBJECT, rows)
    unit, units = table.joint(UNIT, rows)
    judge, judges = table.joint(("judge", "judge_version"), rows)
    names, sample = np.unique(table.sample[rows], return_inverse=True)
    subjects = [Subject(**{name: table.at(name, row) for name in SUBJECT}) for row in firsts]
    bases: dict[tuple[str, int | None], int] = {}
    means: dict[int, Floats] = {}
    recipes: dict[tuple[str, str, int | None, str], list[int]] = defaultdict(list)
    shape = (units.size, names.size, judges.size)
    by_subject = np.split(np.argsort(subject, kind="stable"), np.cumsum(np.bincount(subject))[:-1])

    def cube(member: int) -> Floats:
        own = by_subject[member]
        values = np.full(shape, np.nan)
        values[unit[own], sample[own], judge[own]] = value[own]
        return values

    for i, one in enumerate(subjects):
        if one.arm == BASE_ARM:
            cells = cube(i)
            seen = np.isfinite(cells)
            with np.errstate(invalid="ignore"):
                means[i] = np.where(seen, cells, 0).sum(axis=1) / seen.sum(axis=1)
            bases[one.corpus, one.train_seed] = i
        else:
            recipes[one.arm, one.recipe, one.epoch, "" if one.train_seed is not None else one.checkpoint].append(i)
    for (arm, recipe, epoch, _), members in recipes.items():
        before = [own_base(subjects[i], bases) for i in members]
        if any(base is None for base in before):
            continue
        values = np.stack(
            [cube(i) - means[base][:, None] for i, base in zip(members, before, strict=True) if base is not None]
        )
        values = values[:, :, np.isfinite(values).any(axis=(0, 1, 3))]  # samples that only the base has
        values = values[..., np.isfinite(values).any(axis=(0, 1, 2))]
        asked = int(np.isfinite(values).any(axis=(0, 2, 3)).sum()) if values.size else 0
        full = int(np.isfinite(values).all(axis=(0, 2, 3)).sum()) if values.size else 0
        if full < 2 or values.shape[0] * values.shape[2] * values.shape[3] < 2:
            continue
        parts = components(values, confidence=confidence)
        total = sum(part.variance for part in parts)
        warnings = [f"only {len(members)} training seeds"] if 1 < len(members) < FEW_SEEDS else []
        if full < (1 - LEFT_OUT) * asked:
            warnings.append(f"{asked - full:,} of {asked:,} prompts lack a verdict and were left out")
        for part in parts:
            yield Spread(
                metric=metric.name, base_model=table.at("base", rows[0]), arm=arm, recipe=recipe, epoch=epoch,
                temperature=float(table.at("temperature", rows[0])), source=part.source, variance=part.variance,
                low=part.low, high=part.high, confidence=confidence, part=part.variance / total if total else 0.0,
                n_seeds=len(members), n_prompts=full, n_samples=values.shape[2], n_judges=values.shape[3],
                warning=as_text(warnings),
            )  # fmt: skip
