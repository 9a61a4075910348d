"""Differences between arms over the same training seeds and prompts: main effects and interactions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aftertune.stats import seeds
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats

MAIN_A = (0.5, 0.5, -0.5, -0.5)
"""Weights for arms in the order (a1 b1, a1 b0, a0 b1, a0 b0): the effect of factor A averaged over B."""
MAIN_B = (0.5, -0.5, 0.5, -0.5)
"""The effect of factor B averaged over A."""
INTERACTION = (1.0, -1.0, -1.0, 1.0)
"""How much larger the effect of A is where B is present."""


def combine(arms: Floats, weights: Sequence[float]) -> Floats:
    """Return the weighted sum over arms, shape (seeds, prompts); NaN where an arm with a weight has no value.

    `arms` has shape (arms, seeds, prompts). Raises ValueError if weights and arms differ in number.
    """
    if arms.ndim != 3 or arms.shape[0] != len(weights):
        raise ValueError(f"need (arms, seeds, prompts) and a weight per arm, got {arms.shape} and {len(weights)}")
    used = [i for i, weight in enumerate(weights) if weight != 0]
    return np.asarray(np.tensordot(np.asarray([weights[i] for i in used]), arms[used], axes=1))


def scale_of(weights: Sequence[float]) -> float:
    """Return the largest absolute value that a contrast of numbers in [0, 1] can take."""
    up = sum(weight for weight in weights if weight > 0)
    return max(up, up - sum(weights))


def contrast(arms: Floats, weights: Sequence[float], clusters: Codes, *, confidence: float = 0.95) -> Estimate:
    """Return a contrast of arms, with seeds and prompts matched by position and both treated as samples.

    Args:
        arms: Shape (arms, seeds, prompts), rates in [0, 1] (or drifts against one base where the weights sum to 0);
            NaN where unjudged.
        weights: One per arm, e.g. (1, -1) or `INTERACTION`.
        clusters: Shape (prompts,).
        confidence: E.g. .95.

    The per-seed, per-prompt contrasts are one crossed layout (`seeds.crossed`), so what arms share by
    seed and prompt cancels. Raises ValueError as `combine` and `seeds.crossed` do. Do not call an interaction absent
    because its interval contains 0 with a few seeds: it takes four times the data of a main effect.
    """
    return seeds.difference(combine(arms, weights), clusters, confidence=confidence, scale=scale_of(weights))
