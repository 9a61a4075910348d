"""Estimates from a matrix (seeds, prompts): for one checkpoint if it has a single row, else for the recipe."""

from __future__ import annotations

import numpy as np

from aftertune.stats import clusters as single
from aftertune.stats import seeds
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats


def difference(values: Floats, clusters: Codes, *, confidence: float = 0.95, scale: float = 1.0) -> Estimate | None:
    """Return the mean of paired differences within [-scale, scale]; None where a seed has no value.

    Args:
        values: Shape (seeds, prompts), NaN where there is no value.
        clusters: Shape (prompts,).
        confidence: E.g. .95.
        scale: Largest possible absolute difference.

    See `clusters.difference` for one seed and `seeds.difference` for several. Raises ValueError for wrong shapes.
    """
    if not np.isfinite(values).any(axis=1).all():
        return None
    if values.shape[0] > 1:
        return seeds.difference(values, clusters, confidence=confidence, scale=scale)
    known = np.isfinite(values[0])
    return single.difference(values[0][known], clusters[known], confidence=confidence, scale=scale)


def level(
    values: Floats, clusters: Codes, *, confidence: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate | None:
    """Return the mean of values within `bounds`; None where a seed has no value.

    Arguments as for `difference`. See `clusters.level` for one seed and `seeds.level` for several.
    """
    if not np.isfinite(values).any(axis=1).all():
        return None
    if values.shape[0] > 1:
        return seeds.level(values, clusters, confidence=confidence, bounds=bounds)
    known = np.isfinite(values[0])
    return single.level(values[0][known], clusters[known], confidence=confidence, bounds=bounds)
