"""Metrics that moved in opposite directions, and how often that happens when nothing moved at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Floats
from aftertune.stats.multiplicity import holm

SWAPS = 2000


@dataclass(frozen=True, slots=True)
class MixedSigns:
    """A mixed-sign rate, and its expectation under no drift."""

    observed: float
    """Share of the units that are better on at least one metric and worse on at least one other."""
    expected: float
    """The mean rate when base and tuned differ in name only."""
    low: float
    high: float
    """The rate lies between `low` and `high` in 95 % of the swaps."""
    p: float
    """Chance of a rate at least as high as observed when nothing drifts."""
    units: int
    metrics: int
    """Largest number of metrics of a unit."""


def signed_movements(p_values: Sequence[float], losses: Sequence[float], alpha: float = 0.05) -> list[int]:
    """Return for each metric of one unit 1 (significantly worse), -1 (significantly better) or 0 (neither).

    Args:
        p_values: Two-sided p values of no difference.
        losses: Drifts, signed so that positive is worse.
        alpha: Chance of any false movement among them (Holm's correction).

    Raises ValueError for different lengths or a number that is not a p value.
    """
    if len(p_values) != len(losses):
        raise ValueError(f"need a loss per p value, got {len(p_values)} and {len(losses)}")
    return [int(np.sign(loss)) if p <= alpha else 0 for p, loss in zip(holm(p_values), losses, strict=True)]


def mixed_signs(
    losses: Sequence[Sequence[Floats | None]],
    clusters: Sequence[Codes],
    rng: np.random.Generator,
    *,
    swaps: int = SWAPS,
) -> MixedSigns:
    """Return the share of units with mixed signs, and the share expected under no drift at all.

    Args:
        losses: For each unit (a checkpoint against its base) and metric the paired differences, one per prompt, signed
            so that positive is worse, NaN where there is none; None for a metric that the unit lacks.
        clusters: For each metric the cluster code of each prompt. Metrics share the codes: prompts with one code are
            swapped together in all metrics.
        rng: Generator for the swaps.
        swaps: Number of swaps.

    Under the null the labels base and tuned may be swapped within each cluster, in all metrics at once, which keeps
    what metrics and units have in common (the same prompts, the same base). A metric that does not move at all is
    neither better nor worse. The test asks whether the rate exceeds noise; whether a single unit contradicts itself is
    a matter for `signed_movements`. Units that all move alike are little more than one unit, so with few of them p says
    hardly anything. Raises ValueError for no unit, or for shapes that differ.
    """
    if not losses or any(len(unit) != len(clusters) for unit in losses):
        raise ValueError("need at least one unit, each with an entry per metric")
    names = np.unique(np.concatenate(list(clusters)))
    sums = np.zeros((names.size, len(losses), len(clusters)))
    for i, unit in enumerate(losses):
        for j, (values, codes) in enumerate(zip(unit, clusters, strict=True)):
            if values is None:
                continue
            if values.shape != codes.shape:
                raise ValueError(f"need a cluster per prompt, got {values.shape} and {codes.shape}")
            known = np.isfinite(values)
            np.add.at(sums[:, i, j], np.searchsorted(names, codes[known]), values[known])
    flat = sums.reshape(names.size, -1)
    flat = flat[flat.any(axis=1)]
    # A sum that should be 0 may differ from it by rounding, and would then have a sign.
    slack = 1e-9 * np.abs(flat).sum(axis=0)

    def rate(totals: Floats) -> Floats:
        shaped = np.where(np.abs(totals) <= slack, 0.0, totals).reshape(-1, len(losses), len(clusters))
        return np.asarray(((shaped > 0).any(axis=2) & (shaped < 0).any(axis=2)).mean(axis=1))

    observed = float(rate(flat.sum(axis=0, keepdims=True))[0])
    signs = rng.integers(0, 2, size=(swaps, flat.shape[0]), dtype=np.int8).astype(np.float64) * 2 - 1
    drawn = rate(signs @ flat)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return MixedSigns(
        observed=observed,
        expected=float(drawn.mean()),
        low=float(low),
        high=float(high),
        p=float((1 + (drawn >= observed - 1e-12).sum()) / (1 + swaps)),
        units=len(losses),
        metrics=max(sum(values is not None for values in unit) for unit in losses),
    )
