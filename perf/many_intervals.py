"""The intervals of `stats.matrix.difference` for many simulated comparisons at once, where clusters are equally large.

A simulation of 4,000 comparisons takes seconds so, not minutes; that both give the same numbers is tested
(`tests/stats/test_calibration.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from aftertune.stats import clusters, seeds
from aftertune.stats.estimate import BISECTIONS, Floats, least_half_width, t_quantile


@dataclass(frozen=True)
class Many:
    """Mean differences with all that their intervals are made of, one an entry of each array."""

    value: Floats
    gained: Floats
    """Mean positive part of the differences."""
    lost: Floats
    variance: Floats
    df: Floats
    n: int
    """Prompts."""

    def limits(self, confidence: float) -> tuple[Floats, Floats]:
        """Return the limits of `estimate.difference_estimate` at `confidence`."""
        quantile = t_quantile(confidence, self.df)
        spread = np.maximum(self.gained + self.lost - self.value**2, 0.0)
        known = (self.variance > 0) & (spread > 0)
        pairs = np.where(known, spread / np.where(known, self.variance, 1.0), 1.0)
        floor = least_half_width(self.n, confidence)
        ends = []
        for end in (-1.0, 1.0):
            inside, outside = self.value.copy(), np.full_like(self.value, end)
            for _ in range(BISECTIONS):
                middle = (inside + outside) / 2
                holds = _contains(middle, self.gained * pairs, self.lost * pairs, pairs, quantile)
                inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
            reached = np.where(known, inside, self.value)
            ends.append(np.clip(np.minimum(reached, self.value - floor) if end < 0 else
                                np.maximum(reached, self.value + floor), -1.0, 1.0))  # fmt: skip
        return ends[0], ends[1]

    def p_beyond(self, margin: float, confidence: float) -> Floats:
        """Return the one-sided p values of "the loss is at most the margin", a higher value being worse.

        As `deciding.decision.Check.p`, by an interval of `confidence`.
        """
        half = self.value - self.limits(confidence)[0]
        t = (self.value - margin) / half * t_quantile(confidence, self.df)
        return np.asarray(special.stdtr(self.df, -t))


def many(values: Floats) -> Many:
    """Return the estimates of paired differences, shape (..., seeds, clusters, prompts of each cluster)."""
    *shape, k, groups, size = values.shape
    n = groups * size
    per_seed = values.mean(axis=(-1, -2))
    residual = values - per_seed[..., None, None]
    cells = residual.sum(axis=-1) / (k * n)
    slack = 1 - 1 / groups
    prompt = (cells.sum(axis=-2) ** 2).sum(axis=-1) / slack
    prompt_df = clusters.degrees_of_freedom(np.full(groups, float(size)))
    up, down = (np.maximum(sign * values, 0).mean(axis=(-1, -2, -3)) for sign in (1, -1))
    value = per_seed.mean(axis=-1)
    if k == 1:
        return Many(value, up, down, prompt, np.full(shape, prompt_df), n)
    seed = per_seed.var(axis=-1, ddof=1) / k
    rest = (residual - residual.mean(axis=-3, keepdims=True)).sum(axis=-1) / (k * n)
    both = (rest**2).sum(axis=(-1, -2)) / slack * k / (k - 1)
    variance = np.maximum(seed + prompt - both, np.maximum(seed, prompt))
    squares = seeds.squared_quantile(variance, (seed, prompt, both), k - 1.0, prompt_df)
    df = np.clip(special.stdtridf(0.5 + seeds.REFERENCE / 2, np.sqrt(squares)), min(k - 1.0, prompt_df), 1e9)
    return Many(value, up, down, variance, np.asarray(df, dtype=np.float64), n)


def _contains(delta: Floats, b: Floats, c: Floats, n: Floats, q: Floats) -> Floats:
    """Return whether Tango's score interval includes `delta` (`estimate.tango`)."""
    linear = -b - c + (2 * n - b + c) * delta
    root = np.sqrt(np.maximum(linear**2 + 8 * n * c * delta * (1 - delta), 0.0))
    only_first = np.maximum((root - linear) / (4 * n), 0.0)
    variance = n * (2 * only_first + delta * (1 - delta))
    return np.asarray(np.abs(b - c - n * delta) <= q * np.sqrt(np.maximum(variance, 1e-300)))
