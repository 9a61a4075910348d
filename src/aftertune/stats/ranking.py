"""Does a score rank one class of trials above another? The area under the ROC curve, of trials that come in clusters.

Accuracy and d-prime ask which side of a threshold a score lies on; a subject that favours one answer whatever it is
asked lies on one side throughout, and they call it blind. The area does not depend on a threshold: it is the chance
that a trial of the first class scores above one of the second, ties counting half. .5 is blind, 1 perfect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from aftertune.stats.estimate import Floats, least_half_width, t_quantile


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the ROC curve, or a change of one, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Placements:
    """Where each trial stands among those of the other class."""

    value: float
    clusters: Floats
    """What each cluster adds to the area beyond its expectation, shape (clusters,)."""
    n: int
    """Trials of the smaller class."""
    least_clusters: int
    """Of the class that has fewer."""


def area(scores: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95) -> Area:
    """Return the area under the ROC curve with its interval.

    Args:
        scores: Of each trial, shape (trials,); a trial with NaN is left out.
        is_signal: Whether the trial is of the class that should score higher, shape (trials,).
        clusters: Codes, shape (trials,); trials of a cluster are not independent, whatever their class.
        confidence: Of the interval.

    The variance is that of the clusters' placements (DeLong et al. 1988, Biometrics 44, 837-845; for clusters
    Obuchowski 1997, Biometrics 53, 567-578), the quantile Student's with one degree of freedom fewer than the class
    with fewer clusters has. Intervals are no narrower than what that many trials cannot rule out, and end within
    [0, 1].
    Raises ValueError if a class has no trial, or fewer than two clusters, or shapes differ.
    """
    own = _placements(*_checked(scores, is_signal, clusters))
    low, high = _ends(own.value, own.clusters, own, confidence)
    return Area(own.value, max(low, 0.0), min(high, 1.0))


def change(
    base: ArrayLike, tuned: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95
) -> Area:
    """Return the change of the area from a base to its tuned model, paired: on the trials that both have scores of.

    Arguments and errors as for `area`.
    """
    before, classes, codes = _checked(base, is_signal, clusters)
    after, _, _ = _checked(tuned, is_signal, clusters)
    both = np.where(np.isfinite(before) & np.isfinite(after), 0.0, np.nan)
    first, second = (_placements(side + both, classes, codes) for side in (before, after))
    value = second.value - first.value
    low, high = _ends(value, second.clusters - first.clusters, second, confidence)
    return Area(value, max(low, -1.0), min(high, 1.0))


def _checked(
    scores: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    values = np.asarray(scores, dtype=np.float64)
    classes = np.asarray(is_signal, dtype=np.bool_)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    if values.ndim != 1 or not values.size == classes.size == codes.size:
        raise ValueError("scores, is_signal and clusters must have one entry per trial")
    return values, classes, codes


def _placements(values: Floats, classes: NDArray[np.bool_], codes: NDArray[np.int64]) -> _Placements:
    known = np.isfinite(values)
    sides = [known & classes, known & ~classes]
    groups = [np.unique(codes[side]).size for side in sides]
    if min(groups) < 2:
        raise ValueError("both classes need trials of two clusters")
    signal, noise = (values[side] for side in sides)
    m, n = signal.size, noise.size
    ranks = stats.rankdata(np.concatenate([signal, noise]))
    above = (ranks[:m] - stats.rankdata(signal)) / n  # share of the other class that each trial lies above
    below = 1 - (ranks[m:] - stats.rankdata(noise)) / m
    value = float(above.mean())
    size = int(codes.max()) + 1
    parts = np.bincount(codes[sides[0]], (above - value) / m, minlength=size)
    parts = parts + np.bincount(codes[sides[1]], (below - value) / n, minlength=size)
    return _Placements(value, np.asarray(parts, dtype=np.float64), min(m, n), min(groups))


def _ends(value: float, parts: Floats, sample: _Placements, confidence: float) -> tuple[float, float]:
    df = sample.least_clusters - 1
    variance = float((parts**2).sum()) * sample.least_clusters / df
    half = float(t_quantile(confidence, df)) * math.sqrt(variance)
    half = max(half, least_half_width(sample.n, confidence))
    return value - half, value + half
