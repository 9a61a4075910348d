"""Simultaneous bands over epochs and temperatures: intervals that hold for all points of a curve at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from aftertune.deciding.blocks import Block, blocks
from aftertune.deciding.verdict_table import Floats, Ints, Subject, VerdictTable
from aftertune.findings import Band
from aftertune.records import BASE_ARM, Metric, seed_of
from aftertune.stats.bands import simultaneous

if TYPE_CHECKING:
    import pyarrow as pa

Over = Literal["epoch", "temperature"]


@dataclass(frozen=True)
class _Point:
    """One point of a curve."""

    at: float
    """The epoch or temperature."""
    block: Block
    by_seed: Mapping[int | None, int]
    """Training seed -> row of the subject in the block."""

    @property
    def subject(self) -> Subject:
        """The first of its subjects."""
        return self.block.subjects[next(iter(self.by_seed.values()))]


def bands(
    verdicts: pa.Table | VerdictTable, metrics: Sequence[Metric], *, seed: int, confidence: float = 0.95
) -> list[Band]:
    """Return the simultaneous bands of each recipe, or of each checkpoint where there is only one seed.

    Args:
        verdicts: The columns of `records.Verdict`.
        metrics: Metrics to draw curves of.
        seed: Seed of the draws behind the quantiles.
        confidence: That all points of one curve lie in their intervals; there is no correction for several curves.

    A curve runs over the epochs at one temperature, or over the temperatures at one epoch. It has a band where all its
    points have the same training seeds, each with an answer that was judged on both sides. See `stats.bands` for the
    method. Raises as `drift` does.
    """
    groups: dict[tuple[str, str, str], list[Block]] = defaultdict(list)
    for block in blocks(verdicts, metrics):
        groups[block.metric.name, block.base_model, block.judge].append(block)
    rows: list[Band] = []
    for temperatures in groups.values():
        for block in temperatures:
            for points in _curves([block], "epoch"):
                rows += _band(points, "epoch", seed, confidence)
        for points in _curves(temperatures, "temperature") if len(temperatures) > 1 else ():
            rows += _band(points, "temperature", seed, confidence)
    return rows


def _curves(temperatures: Sequence[Block], over: Over) -> Iterator[list[_Point]]:
    """Yield the points of each curve in order."""
    curves: dict[tuple[object, ...], dict[tuple[float, int], dict[int | None, int]]] = defaultdict(dict)
    seeds: dict[tuple[object, ...], set[int]] = defaultdict(set)
    for block in temperatures:
        for subject in block.subjects:
            if subject.arm != BASE_ARM and subject.train_seed is not None:
                seeds[subject.arm, subject.recipe].add(subject.train_seed)
    for number, block in enumerate(temperatures):
        for row, subject in enumerate(block.subjects):
            if subject.arm == BASE_ARM or (over == "epoch" and subject.epoch is None):
                continue
            # One checkpoint is asked at several temperatures, but each epoch is another checkpoint.
            alone: object = subject.checkpoint if over == "temperature" else subject.train_seed
            is_recipe = subject.train_seed is not None and len(seeds[subject.arm, subject.recipe]) > 1
            epoch = None if over == "epoch" else subject.epoch
            at = float(subject.epoch or 0) if over == "epoch" else block.temperature
            curve = curves[subject.arm, subject.recipe, epoch, None if is_recipe else alone]
            curve.setdefault((at, number), {})[subject.train_seed] = row
    for points in curves.values():
        order = sorted(points)
        same_seeds = len({tuple(sorted(by_seed, key=str)) for by_seed in points.values()}) == 1
        if len(order) > 1 and len({at for at, _ in order}) == len(order) and same_seeds:
            yield [_Point(at, temperatures[number], points[at, number]) for at, number in order]


def _band(points: Sequence[_Point], over: Over, seed: int, confidence: float) -> Iterator[Band]:
    paired = _paired_differences(points)
    if paired is None:
        return
    values, clusters = paired
    block, subject = points[0].block, points[0].subject
    n_seeds = len(points[0].by_seed)
    name = (block.metric.name, block.base_model, block.judge, over, block.temperature, subject.arm, subject.recipe)
    rng = np.random.default_rng(seed_of(seed, "band", *name, str(subject.epoch), str(subject.train_seed)))
    width = max(point.block.width for point in points)
    estimates = simultaneous(values, clusters, rng, confidence=confidence, scale=width)
    for point, estimate in zip(points, estimates, strict=True):
        yield Band(
            metric=block.metric.name,
            estimand="recipe" if n_seeds > 1 else "checkpoint",
            base_model=block.base_model,
            arm=point.subject.arm,
            recipe=point.subject.recipe,
            checkpoint=None if n_seeds > 1 else point.subject.checkpoint,
            train_seed=None if n_seeds > 1 else point.subject.train_seed,
            epoch=point.subject.epoch,
            temperature=point.block.temperature,
            judge=block.judge,
            over=over,
            delta=estimate.value,
            low=estimate.low,
            high=estimate.high,
            confidence=confidence,
            n_points=len(points),
            n_prompts=estimate.n,
            n_clusters=estimate.n_clusters,
            n_seeds=n_seeds,
        )


def _paired_differences(points: Sequence[_Point]) -> tuple[Floats, Ints] | None:
    """Return tuned - base, shape (points, seeds, prompts), and the prompts' clusters; None where a part is missing."""
    own = list({id(point.block): point.block for point in points}.values())
    if len(own) > 1 and any(np.unique(block.prompt_ids).size < block.prompt_ids.size for block in own):
        return None  # a prompt was sent in two forms, and nothing says which belong together across temperatures
    names = np.unique(np.concatenate([block.prompt_ids for block in own]))
    size = names.size if len(own) > 1 else own[0].prompt_ids.size
    seeds = sorted(points[0].by_seed, key=str)
    values, clusters = np.full((len(points), len(seeds), size), np.nan), np.zeros(size, dtype=np.int64)
    for i, point in enumerate(points):
        block, rows = point.block, [point.by_seed[seed] for seed in seeds]
        bases = block.bases(rows)
        if bases is None:
            return None
        columns = np.searchsorted(names, block.prompt_ids) if len(own) > 1 else np.arange(size)
        values[i][:, columns] = block.mean[rows] - block.mean[bases]
        clusters[columns] = block.clusters
    return (values, clusters) if np.isfinite(values).any(axis=2).all() else None
