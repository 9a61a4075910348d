"""One number per prompt, prompts in clusters: closed-form estimates, a label-swap test and the cluster bootstrap.

Prompts of one category, vignette or profile move together. Counting them as independent finds drift where there is
none: with 50 clusters of 10 prompts and an intra-class correlation of .7, a bootstrap of the prompts calls 43 % of true
nulls significant at the 5 % level. Here the cluster is the unit. `values` always holds one number per prompt, its
samples averaged beforehand, and `clusters` one integer code per prompt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from aftertune.stats.estimate import Estimate, Floats, difference_estimate, least_half_width, level_estimate, t_quantile

Codes = NDArray[np.int64]
EXACT_CLUSTERS = 14
"""Up to this many clusters all 2^G label swaps are enumerated."""
NORMAL_CLUSTERS, DOMINANT = 1000, 0.01
"""Beyond this many clusters the swap distribution is taken as normal, unless one has this share of its variance."""
PERCENTILE_CLUSTERS = 20
"""Fewest clusters for a percentile bootstrap."""
CHUNK = 2_000_000
"""Signs drawn at once."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Values summed within clusters."""

    sums: Floats
    """Sum of the values of each cluster, shape (G,)."""
    sizes: Floats
    """Number of prompts of each cluster, shape (G,)."""

    @property
    def n(self) -> int:
        """Number of prompts."""
        return int(self.sizes.sum())

    @property
    def mean(self) -> float:
        """Mean over prompts."""
        return float(self.sums.sum() / self.sizes.sum())


def grouped(values: Floats, clusters: Codes) -> Grouped:
    """Return the sums and sizes of the clusters that occur.

    Raises ValueError if the shapes differ, there is no value, or a value is not finite.
    """
    if values.ndim != 1 or values.shape != clusters.shape:
        raise ValueError(f"need one cluster per value, got shapes {values.shape} and {clusters.shape}")
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("need at least one value, all of them finite")
    _, codes = np.unique(clusters, return_inverse=True)
    sums = np.bincount(codes, weights=values).astype(np.float64)
    return Grouped(sums, np.bincount(codes).astype(np.float64))


def robust_variance(groups: Grouped) -> tuple[float, float]:
    """Return the cluster-robust variance of the mean over prompts and its degrees of freedom.

    Source: the CR2 estimator with Satterthwaite degrees of freedom of Bell and McCaffrey, Survey Methodology 28
    (2002) 169-181, which has a closed form for a mean. The degrees of freedom are the smaller of those under
    independent prompts and under an intra-class correlation of 1; for equal clusters both are G - 1. One cluster
    gives (NaN, 0). Do not trust it with fewer than about 6 clusters.
    """
    sizes, n = groups.sizes, float(groups.sizes.sum())
    if sizes.size < 2:
        return math.nan, 0.0
    share = sizes / n
    residual = groups.sums - groups.mean * sizes
    variance = float((residual**2 / (1 - share)).sum() / n**2)
    return variance, degrees_of_freedom(sizes)


def degrees_of_freedom(sizes: Floats) -> float:
    """Return the degrees of freedom of `robust_variance` for clusters of these sizes."""
    if sizes.size < 2:
        return 0.0
    n = float(sizes.sum())
    share = sizes / n
    slack = 1 - share
    independent_trace = n
    off = (float((sizes**2 / slack).sum()) ** 2 - float((sizes**4 / slack**2).sum())) / n**2
    independent = independent_trace**2 / (float((sizes**2).sum()) + off)
    # The same for prompts that are copies of each other within a cluster: sums with variance sizes^2.
    weight, kappa = sizes**2 / slack, float((share**2).sum())
    diagonal = 1 - 2 * share + kappa
    rest = kappa - 2 * share
    u0, u1, u2 = (float((weight * share**power).sum()) for power in (0, 1, 2))
    trace = float((weight * diagonal).sum())
    square = float((weight**2 * (diagonal**2 - rest**2)).sum())
    square += kappa**2 * u0**2 + 2 * u2 * u0 - 4 * kappa * u1 * u0 + 2 * u1**2
    return min(independent, trace**2 / square)


def difference(values: Floats, clusters: Codes, *, confidence: float = 0.95, scale: float = 1.0) -> Estimate:
    """Return the mean of paired differences within [-scale, scale], with a score interval that respects clusters.

    The variance is `robust_variance`, the interval `estimate.difference_estimate`, the p value that of the t test.
    Raises ValueError as `grouped` does.
    """
    groups = grouped(values, clusters)
    variance, df = robust_variance(groups)
    up, down = float(np.maximum(values, 0).mean()), float(np.maximum(-values, 0).mean())
    return difference_estimate(
        groups.mean,
        up,
        down,
        0.0 if math.isnan(variance) else variance,
        df,
        confidence=confidence,
        n=groups.n,
        n_clusters=groups.sizes.size,
        scale=scale,
    )


def level(
    values: Floats, clusters: Codes, *, confidence: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return the mean of values within `bounds`, with a Wilson interval that respects clusters.

    Raises ValueError as `grouped` does.
    """
    groups = grouped(values, clusters)
    variance, df = robust_variance(groups)
    return level_estimate(
        groups.mean,
        0.0 if math.isnan(variance) else variance,
        df,
        confidence=confidence,
        n=groups.n,
        n_clusters=groups.sizes.size,
        bounds=bounds,
    )


def swap_test(values: Floats, clusters: Codes, rng: np.random.Generator, *, swaps: int = 9999) -> float:
    """Return the two-sided p value of "base and tuned labels may be swapped within each cluster".

    `values` are paired differences; a swap changes the sign of a whole cluster. For single 0/1 pairs this is the exact
    McNemar test. Up to 14 clusters all 2^G swaps are enumerated; beyond that `swaps` random ones are drawn and the
    observed one is counted, so that p is never 0 (Phipson and Smyth, Statistical Applications in Genetics and Molecular
    Biology 9 (2010) 39); beyond 1,000 clusters, none of them dominant, the normal limit is used. Exact under its null
    whatever the correlation within clusters; with G clusters p cannot fall below 2^(1-G). Raises ValueError as
    `grouped` does.
    """
    sums = grouped(values, clusters).sums
    sums = sums[sums != 0]
    if sums.size == 0:
        return 1.0
    observed = abs(float(sums.sum())) * (1 - 1e-12)
    if sums.size <= EXACT_CLUSTERS:
        bits = np.arange(2**sums.size)[:, None] >> np.arange(sums.size) & 1
        return float((np.abs((1 - 2 * bits) @ sums) >= observed).mean())
    squares = sums**2
    if sums.size > NORMAL_CLUSTERS and squares.max() < DOMINANT * squares.sum():
        return float(2 * special.ndtr(-observed / math.sqrt(float(squares.sum()))))
    extreme, remaining = 0, swaps
    while remaining:
        count = min(remaining, max(CHUNK // sums.size, 1))
        signs = rng.integers(0, 2, size=(count, sums.size), dtype=np.int8).astype(np.float64)
        extreme += int((np.abs(2 * (signs @ sums) - sums.sum()) >= observed).sum())
        remaining -= count
    return (1 + extreme) / (1 + swaps)


def bootstrap(
    values: Floats,
    clusters: Codes,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    method: Literal["percentile", "studentised"] = "studentised",
    resamples: int = 1999,
    scale: float = 1.0,
) -> Estimate:
    """Return the mean of paired differences with an interval from resampling whole clusters.

    `percentile` is widened for the number of clusters (the expanded percentile interval of T. C. Hesterberg, The
    American Statistician 69 (2015) 371-386: t with G - 1 degrees of freedom in place of the normal, and G / (G - 1)).
    With few clusters that asks for quantiles so far out that the resamples, which take few different values, have no
    such tail: with fewer than 20 clusters it is refused. `studentised` is the bootstrap-t (Efron and Tibshirani 1993,
    section 12.5), better for skewed values. The interval is never narrower than `least_half_width`, and one cluster
    gives the whole scale. `p` is that of the t test of `difference`. Do not trust `studentised` with fewer than about 8
    clusters, nor either method where fewer than 5 clusters differ from 0: the closed form of `difference` is more
    reliable there. Raises ValueError as `grouped` does, for an unknown method, and for `percentile` with fewer than 20
    clusters.
    """
    if method not in ("percentile", "studentised"):
        raise ValueError(f"method must be 'percentile' or 'studentised', got {method!r}")
    closed = difference(values, clusters, confidence=confidence, scale=scale)
    groups = grouped(values, clusters)
    count = groups.sizes.size
    if method == "percentile" and count < PERCENTILE_CLUSTERS:
        raise ValueError(
            f"a percentile bootstrap needs {PERCENTILE_CLUSTERS} clusters, got {count}; use 'studentised' or the "
            "closed form of `difference`"
        )
    if count < 2 or closed.se == 0:
        return closed
    resampled = rng.integers(0, count, size=(resamples, count)) + np.arange(resamples)[:, None] * count
    weights = np.bincount(resampled.ravel(), minlength=resamples * count).reshape(resamples, count).astype(np.float64)
    sums, sizes = groups.sums, groups.sizes
    totals = weights @ sizes
    means = weights @ sums / totals
    tail = (1 - confidence) / 2
    if method == "percentile":
        q = float(t_quantile(confidence, count - 1)) * math.sqrt(count / (count - 1))
        tail = float(special.ndtr(-q))
        low, high = np.quantile(means, [tail, 1 - tail])
    else:
        squares = weights @ sums**2 - 2 * means * (weights @ (sums * sizes)) + means**2 * (weights @ sizes**2)
        spread = np.sqrt(np.maximum(squares, 0) * count / (count - 1)) / totals
        varies = spread > closed.se * 1e-6
        pivots = np.full(resamples, np.nan)
        pivots[varies] = (means[varies] - closed.value) / spread[varies]
        # A resample without spread says nothing about its own error; it is left out, and the floor covers it.
        pivots = pivots[np.isfinite(pivots)]
        if pivots.size < resamples // 2:
            return closed
        bottom, top = np.quantile(pivots, [tail, 1 - tail])
        low, high = closed.value - top * closed.se, closed.value - bottom * closed.se
    floor = least_half_width(closed.n, confidence) * scale
    low, high = min(float(low), closed.value - floor), max(float(high), closed.value + floor)
    return Estimate(closed.value, max(low, -scale), min(high, scale), closed.se, count - 1.0, closed.p, closed.n, count)
