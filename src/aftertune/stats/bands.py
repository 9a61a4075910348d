"""Simultaneous bands of a curve over epochs, temperatures or doses: intervals that hold for all points at once."""

from __future__ import annotations

import math

import numpy as np

from aftertune.stats import matrix
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats, t_quantile

DRAWS = 20_000
"""Draws of the maximum, which give its quantile to about 1 %."""


def simultaneous(
    values: Floats,
    clusters: Codes,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    scale: float = 1.0,
) -> list[Estimate]:
    """Return the estimate of each point of a curve, with intervals that hold jointly.

    Args:
        values: Paired differences within [-scale, scale], shape (points, seeds, prompts), the same seeds and prompts
            at each point; NaN where there is none. One seed is a checkpoint over its epochs or temperatures; several
            are a recipe.
        clusters: Shape (prompts,).
        rng: Generator for the draws of the maximum.
        confidence: That all points lie in their intervals.
        scale: Largest possible absolute difference.

    The sup-t band (Montiel Olea and Plagborg-Moller, Journal of Applied Econometrics 34 (2019) 1-17; Hothorn, Bretz and
    Westfall, Biometrical Journal 50 (2008) 346-363): the largest |t| over the points has the quantile of a multivariate
    t with the points' cluster-robust (and seed-crossed) correlation and the smallest of their degrees of freedom; it is
    computed by drawing from it. Each interval is then the score interval of `estimate.difference_estimate` at that
    quantile, so it never has zero width. Raises ValueError for a wrong shape, or for a point at which a seed has no
    value. Do not trust it with fewer than about 6 clusters or 3 seeds.
    """
    if values.ndim != 3 or values.shape[0] == 0 or clusters.shape != values.shape[2:]:
        raise ValueError(f"need (points, seeds, prompts) and a cluster per prompt, got {values.shape}")

    def estimates(level: float) -> list[Estimate]:
        points = [matrix.difference(point, clusters, confidence=level, scale=scale) for point in values]
        known = [point for point in points if point is not None]
        if len(known) < len(points):
            raise ValueError("need at least one value of every seed at every point")
        return known

    separate = estimates(confidence)
    df = min(estimate.df for estimate in separate)
    if len(separate) == 1 or df <= 0:
        return separate
    quantile = _quantile_of_largest(_correlation(values, clusters), df, confidence, rng)
    from scipy import optimize

    # The confidence at which a single interval has this t quantile.
    level = optimize.brentq(lambda c: float(t_quantile(c, df)) - quantile, confidence - 1e-9, 1 - 1e-12)
    return estimates(float(level))


def _quantile_of_largest(correlation: Floats, df: float, confidence: float, rng: np.random.Generator) -> float:
    """Return the quantile of the largest |t| of a multivariate t."""
    value, vector = np.linalg.eigh(correlation)
    root = vector * np.sqrt(np.maximum(value, 0.0))
    draws = np.abs(rng.normal(size=(DRAWS, correlation.shape[0])) @ root.T).max(axis=1)
    scaled = draws / np.sqrt(rng.chisquare(df, size=DRAWS) / df) if math.isfinite(df) else draws
    alone = float(t_quantile(confidence, df))
    bonferroni = float(t_quantile(1 - (1 - confidence) / correlation.shape[0], df))
    return min(max(float(np.quantile(scaled, confidence)), alone), bonferroni)


def _correlation(values: Floats, clusters: Codes) -> Floats:
    """Return the correlation of the points' means; a point that does not vary is independent of the others."""
    points, count, _ = values.shape
    known = np.isfinite(values)
    share = known / np.maximum(known.sum(axis=2, keepdims=True), 1)
    mean = np.where(known, values, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    _, codes = np.unique(clusters, return_inverse=True)
    groups = int(codes.max()) + 1
    parts = share * np.where(known, values - mean[..., None], 0.0) / count
    cells = np.stack([np.bincount(codes, weights=row, minlength=groups) for row in parts.reshape(-1, codes.size)])
    cells = cells.reshape(points, count, groups)
    by_cluster = cells.sum(axis=1)
    covariance = by_cluster @ by_cluster.T * groups / max(groups - 1, 1)
    if count > 1:
        centred = mean - mean.mean(axis=1, keepdims=True)
        flat = (cells - cells.mean(axis=1, keepdims=True)).reshape(points, -1)
        covariance = covariance + centred @ centred.T / (count * (count - 1)) - flat @ flat.T * count / (count - 1)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    safe = np.where(sd > 0, sd, 1.0)
    correlation = np.clip(covariance / np.outer(safe, safe), -1.0, 1.0)
    np.fill_diagonal(correlation, 1.0)
    return np.asarray(correlation)
