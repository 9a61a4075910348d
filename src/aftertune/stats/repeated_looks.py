"""One figure looked at many times while a model trains: the noise of the base alone, and a loss that is beyond it."""

from __future__ import annotations

import numpy as np

from aftertune.stats.clusters import Codes, difference
from aftertune.stats.estimate import Estimate, Floats

DRAWS = 10_000


def noise_band(
    values: Floats, clusters: Codes, *, looks: int, confidence: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> float:
    """Return by how much a mean over prompts differs between two draws of prompts, though the model is the same.

    `values`, one number per prompt, are those of one model. Two sets of as many clusters are drawn from them with
    replacement, and the difference of their means is taken; of its size the quantile is returned that is exceeded in
    any of `looks` looks with a chance of at most 1 - confidence (Bonferroni: the looks are of one training, hence
    alike, so that the chance is lower). Raises ValueError for fewer than two clusters or no look.
    """
    _check(looks, confidence)
    _, codes = np.unique(clusters, return_inverse=True)
    sums = np.bincount(codes, weights=values)
    sizes = np.bincount(codes).astype(np.float64)
    if sums.size < 2:
        raise ValueError("a band needs at least two clusters")
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, sums.size, (2, draws, sums.size))
    means = sums[picked].sum(axis=2) / sizes[picked].sum(axis=2)
    return float(np.quantile(np.abs(means[0] - means[1]), 1 - (1 - confidence) / looks))


def loss_at_a_look(base: Floats, now: Floats, clusters: Codes, *, looks: int, confidence: float = 0.95) -> Estimate:
    """Return the mean loss (base minus now, values in [0, 1], one per prompt) with an interval for one look of `looks`.

    All intervals of the training hold at once with the confidence given (Bonferroni). Raises ValueError as
    `clusters.difference`, and for no look.
    """
    _check(looks, confidence)
    return difference(base - now, clusters, confidence=1 - (1 - confidence) / looks)


def _check(looks: int, confidence: float) -> None:
    if looks < 1 or not 0 < confidence < 1:
        raise ValueError(f"need looks >= 1 and 0 < confidence < 1, got {looks} and {confidence}")
