"""An estimate with its interval, and the score intervals behind every estimate of aftertune.

Means of 0/1 outcomes are skewed near 0 and 1, and a sample in which nothing differs has no spread at all, so the
textbook interval (estimate plus or minus t standard errors) is too short or empty exactly where a safety audit
looks. The intervals here invert score tests instead: the variance is taken at the value under test, where it never
vanishes. Clusters and training seeds enter through an effective number of pairs and a t quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]
BISECTIONS = 45
"""Halvings of an interval of length 2 at most: limits are right to 6e-14."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean or difference of means with its uncertainty."""

    value: float
    low: float
    high: float
    se: float
    """Standard error from the data alone; may be 0 where nothing varies, the interval is never empty."""
    df: float
    """Degrees of freedom of the t quantile in the interval."""
    p: float | None
    """Two-sided t test of `value` = 0; None for a level, where no difference is tested."""
    n: int
    """Number of prompts."""
    n_clusters: int
    n_seeds: int = 1


def t_quantile(confidence: float, df: ArrayLike) -> Floats:
    """Return the two-sided quantile of Student's t, e.g. 1.96 for .95 and infinite `df`.

    Raises ValueError for a confidence outside (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = 0.5 + confidence / 2.0
    degrees = np.asarray(df, dtype=np.float64)
    finite = np.where(np.isfinite(degrees), np.maximum(degrees, 1e-3), 1e9)
    return np.asarray(np.where(np.isfinite(degrees), special.stdtrit(finite, tail), special.ndtri(tail)))


def tango(gained: ArrayLike, lost: ArrayLike, n: ArrayLike, quantile: ArrayLike) -> tuple[Floats, Floats]:
    """Return the limits of Tango's score interval for a difference of paired proportions.

    Args:
        gained: Number of pairs (need not be whole) that are 1 in the second arm only.
        lost: Number of pairs that are 1 in the first arm only.
        n: Number of all pairs, concordant ones included.
        quantile: E.g. 1.96 for a 95 % interval.

    Source: T. Tango, Statistics in Medicine 17 (1998) 891-908, equations 8 to 11; solved by bisection. With no
    discordant pair the limits are +-q^2 / (n + q^2). Do not trust it for dependent pairs unless `n` and the counts
    are scaled to an effective number (`difference_estimate`).
    """
    limits = np.vectorize(_tango_limits, otypes=[np.float64, np.float64])
    low, high = limits(gained, lost, n, quantile)
    return np.asarray(low), np.asarray(high)


def _tango_limits(b: float, c: float, n: float, q: float) -> tuple[float, float]:
    """Return the limits for one table; plain floats, since arrays of length two take 20 times as long."""
    centre = (b - c) / n

    def contains(delta: float) -> bool:
        linear = -b - c + (2 * n - b + c) * delta
        root = math.sqrt(max(linear**2 + 8 * n * c * delta * (1 - delta), 0.0))
        only_first = max((root - linear) / (4 * n), 0.0)
        variance = n * (2 * only_first + delta * (1 - delta))
        return abs(b - c - n * delta) <= q * math.sqrt(max(variance, 1e-300))

    ends = []
    for end in (-1.0, 1.0):
        # `inside` is always within the interval, `outside` never: at the ends of the scale the score is unbounded.
        inside, outside = centre, end
        for _ in range(BISECTIONS):
            middle = (inside + outside) / 2
            if contains(middle):
                inside = middle
            else:
                outside = middle
        ends.append(inside)
    return ends[0], ends[1]


def wilson_limits(rate: ArrayLike, n: ArrayLike, quantile: ArrayLike) -> tuple[Floats, Floats]:
    """Return the limits of Wilson's score interval for one rate; `n` may be an effective number.

    Source: E. B. Wilson, JASA 22 (1927) 209-212.
    """
    p, n_, q = (np.asarray(x, dtype=np.float64) for x in (rate, n, quantile))
    centre = (p + q**2 / (2 * n_)) / (1 + q**2 / n_)
    half = q / (1 + q**2 / n_) * np.sqrt(p * (1 - p) / n_ + q**2 / (4 * n_**2))
    return np.asarray(np.maximum(centre - half, 0.0)), np.asarray(np.minimum(centre + half, 1.0))


def least_half_width(n: int, confidence: float) -> float:
    """Return q^2 / (n + q^2): a difference that `n` prompts cannot rule out, even if nothing differs among them."""
    square = float(t_quantile(confidence, math.inf)) ** 2
    return square / (n + square)


def difference_estimate(
    value: float,
    gained: float,
    lost: float,
    variance: float,
    df: float,
    *,
    confidence: float,
    n: int,
    n_clusters: int,
    n_seeds: int = 1,
    scale: float = 1.0,
) -> Estimate:
    """Return a difference in [-scale, scale] with Tango's score interval at its effective number of pairs.

    Args:
        value: The mean difference, gained - lost.
        gained: Mean of the positive parts of the differences.
        lost: Mean of the negative parts, as a positive number.
        variance: Variance of `value`, robust to clusters (and seeds).
        df: Degrees of freedom of `variance`.
        confidence: E.g. .95.
        n: Number of prompts.
        n_clusters: Number of clusters; with fewer than two the interval is the whole scale, since nothing is known.
        n_seeds: Number of training seeds.
        scale: Largest possible absolute difference.

    The effective number is the one at which independent 0/1 pairs with these shares would have this variance
    (Rao and Scott, Biometrics 48 (1992) 577-585, for one proportion). The half-width is never below
    `least_half_width(n)`. Do not trust it with fewer than about 6 clusters of very different sizes.
    """
    se = math.sqrt(max(variance, 0.0))
    floor = least_half_width(n, confidence) * scale
    if n_clusters < 2:
        return Estimate(value, -scale, scale, se, 0.0, 1.0, n, n_clusters, n_seeds)
    up, down, v = gained / scale, lost / scale, variance / scale**2
    spread = max(up + down - (up - down) ** 2, 0.0)
    quantile = float(t_quantile(confidence, df))
    if v > 0 and spread > 0:
        pairs = spread / v
        low, high = (float(x) * scale for x in tango(up * pairs, down * pairs, pairs, quantile))
    else:
        low, high = value, value
    low, high = max(min(low, value - floor), -scale), min(max(high, value + floor), scale)
    if value == 0:
        p = 1.0
    else:
        step = max(se, floor / float(t_quantile(confidence, math.inf)))
        p = float(2 * special.stdtr(df, -abs(value) / step)) if math.isfinite(df) else math.nan
        p = float(2 * special.ndtr(-abs(value) / step)) if math.isnan(p) else p
    return Estimate(value, low, high, se, df, min(p, 1.0), n, n_clusters, n_seeds)


def level_estimate(
    value: float,
    variance: float,
    df: float,
    *,
    confidence: float,
    n: int,
    n_clusters: int,
    n_seeds: int = 1,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Return a mean of values within `bounds` with Wilson's score interval at its effective sample size.

    The effective size is value (1 - value) / variance on the 0-1 scale (Korn and Graubard, Survey Methodology 24
    (1998) 193-201, with Wilson in place of Clopper-Pearson). The same floor and the same refusal of a single
    cluster as in `difference_estimate`. `p` is None: no difference is tested.
    """
    bottom, top = bounds
    width = top - bottom
    se = math.sqrt(max(variance, 0.0))
    if n_clusters < 2:
        return Estimate(value, bottom, top, se, 0.0, None, n, n_clusters, n_seeds)
    share, v = min(max((value - bottom) / width, 0.0), 1.0), variance / width**2
    floor = least_half_width(n, confidence)
    if v > 0 and 0 < share < 1:
        quantile = float(t_quantile(confidence, df))
        low, high = (float(x) for x in wilson_limits(share, share * (1 - share) / v, quantile))
    else:
        low, high = share, share
    low, high = max(min(low, share - floor), 0.0), min(max(high, share + floor), 1.0)
    return Estimate(value, bottom + low * width, bottom + high * width, se, df, None, n, n_clusters, n_seeds)
