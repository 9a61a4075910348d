"""Bands over epochs and temperatures: intervals that hold for all points of one curve at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from aftertune.deciding.blocks import Block, Coded, Floats, Ints, Subject, blocks
from aftertune.findings import Band
from aftertune.records import BASE_ARM, Metric, seed_of
from aftertune.stats.bands import simultaneous

if TYPE_CHECKING:
    import pyarrow as pa

Over = Literal["epoch", "temperature"]
Point = tuple[float, Block, dict[int | None, int]]
"""Place along the curve, the block it lies in, and its subjects by training seed."""


def bands(verdicts: pa.Table | Coded, metrics: Sequence[Metric], *, seed: int, confidence: float = 0.95) -> list[Band]:
    """Return the simultaneous bands of each recipe (of each checkpoint where one seed is all there is).

    Args:
        verdicts: The columns of `records.Verdict`.
        metrics: Those of which curves are drawn.
        seed: Of the draws behind the quantiles.
        confidence: That all points of one curve lie in their intervals; several curves are not corrected for.

    A curve runs over the epochs of one temperature, or over the temperatures of one epoch. It has a band where all its
    points have the same training seeds, each with an answer that was judged on both sides. See `stats.bands`. Raises
    as `drift` does.
    """
    groups: dict[tuple[str, str, str], list[Block]] = defaultdict(list)
    for block in blocks(verdicts, metrics):
        groups[block.metric.name, block.base_model, block.judge].append(block)
    found: list[Band] = []
    for own in groups.values():
        for block in own:
            for points in _curves([block], "epoch"):
                found += _band(points, "epoch", seed, confidence)
        for points in _curves(own, "temperature") if len(own) > 1 else ():
            found += _band(points, "temperature", seed, confidence)
    return found


def _curves(own: Sequence[Block], over: Over) -> Iterator[list[Point]]:
    """Yield the points of each curve in order."""
    cells: dict[tuple[object, ...], dict[tuple[float, int], dict[int | None, int]]] = defaultdict(dict)
    seeds: dict[tuple[object, ...], set[int]] = defaultdict(set)
    for block in own:
        for subject in block.subjects:
            if subject.arm != BASE_ARM and subject.train_seed is not None:
                seeds[subject.arm, subject.recipe].add(subject.train_seed)
    for place, block in enumerate(own):
        for i, one in enumerate(block.subjects):
            if one.arm == BASE_ARM or (over == "epoch" and one.epoch is None):
                continue
            # A checkpoint that was asked at several temperatures is the same one; its epochs are several checkpoints.
            alone: object = one.checkpoint if over == "temperature" else one.train_seed
            recipe = one.train_seed is not None and len(seeds[one.arm, one.recipe]) > 1
            key = (one.arm, one.recipe, None if over == "epoch" else one.epoch, None if recipe else alone)
            at = float(one.epoch or 0) if over == "epoch" else block.temperature
            cells[key].setdefault((at, place), {})[one.train_seed] = i
    for points in cells.values():
        order = sorted(points)
        same = len({tuple(sorted(members, key=str)) for members in points.values()}) == 1
        if len(order) > 1 and len({at for at, _ in order}) == len(order) and same:
            yield [(at, own[place], points[at, place]) for at, place in order]


def _band(points: Sequence[Point], over: Over, seed: int, confidence: float) -> Iterator[Band]:
    values = _values(points)
    if values is None:
        return
    first = points[0][1]
    subject = _subject(points[0])
    several = len(points[0][2]) > 1
    name = (first.metric.name, first.base_model, first.judge, over, first.temperature, subject.arm, subject.recipe)
    rng = np.random.default_rng(seed_of(seed, "band", *name, str(subject.epoch), str(subject.train_seed)))
    width = max(block.width for _, block, _ in points)
    estimates = simultaneous(values[0], values[1], rng, confidence=confidence, scale=width)
    for point, estimate in zip(points, estimates, strict=True):
        one = _subject(point)
        yield Band(
            metric=first.metric.name, estimand="recipe" if several else "checkpoint", base_model=first.base_model,
            arm=one.arm, recipe=one.recipe, checkpoint=None if several else one.checkpoint,
            train_seed=None if several else one.train_seed, epoch=one.epoch, temperature=point[1].temperature,
            judge=first.judge, over=over, delta=estimate.value, low=estimate.low, high=estimate.high,
            confidence=confidence, n_points=len(points), n_prompts=estimate.n, n_clusters=estimate.n_clusters,
            n_seeds=len(point[2]),
        )  # fmt: skip


def _subject(point: Point) -> Subject:
    _, block, members = point
    return block.subjects[next(iter(members.values()))]


def _values(points: Sequence[Point]) -> tuple[Floats, Ints] | None:
    """Return paired differences (points, seeds, prompts) with each prompt's cluster; None where a part is missing."""
    blocks_ = {id(block): block for _, block, _ in points}
    several = len(blocks_) > 1
    if several and any(np.unique(b.prompt_ids).size < b.prompt_ids.size for b in blocks_.values()):
        return None  # a prompt sent with two texts: which goes with which at the other temperature is not known
    names = np.unique(np.concatenate([block.prompt_ids for block in blocks_.values()]))
    size = names.size if several else points[0][1].prompt_ids.size
    seeds = sorted(points[0][2], key=str)
    values, clusters = np.full((len(points), len(seeds), size), np.nan), np.zeros(size, dtype=np.int64)
    for place, (_, block, members) in enumerate(points):
        rows = [members[seed] for seed in seeds]
        bases = block.bases(rows)
        if bases is None:
            return None
        at = np.searchsorted(names, block.prompt_ids) if several else np.arange(size)
        values[place][:, at] = block.mean[rows] - block.mean[bases]
        clusters[at] = block.clusters
    return (values, clusters) if np.isfinite(values).any(axis=2).all() else None
