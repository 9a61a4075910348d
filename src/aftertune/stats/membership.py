"""Membership inference and exposure: can one tell from a model which texts it was tuned on?

A higher score means "member". What matters is the true-positive rate at a low false-positive rate, not the average over
all thresholds (Carlini et al. 2022, Membership Inference Attacks From First Principles, arXiv 2112.03570, section III);
the area under the curve is given as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aftertune.stats.paired import clopper_pearson

Floats = NDArray[np.float64]
FPR = 0.01
"""False-positive rate at which true positives are counted."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A true-positive rate at a false-positive rate."""

    value: float | None
    """None if there are too few non-members; see `why`."""
    low: float | None
    high: float | None
    positives: int
    """Members above the threshold."""
    n: int
    """Number of members."""
    n_null: int
    """Number of non-members, which set the threshold."""
    fpr: float
    """Allowed false-positive rate."""
    false_positives: int
    """Non-members above the threshold, at most `fpr * n_null`."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Area:
    """The area under the ROC curve: the probability that a member scores above a non-member, ties counting half."""

    value: float
    low: float
    high: float
    n: int
    n_null: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Attack:
    """What one attack achieves."""

    auc: Area
    tpr: Rate


@dataclass(frozen=True, slots=True)
class Exposed:
    """Exposure of canaries of one dose, in bits, and how many of them can be told from their twins."""

    exposure: float
    """Mean over the canaries: at most log2(twins + 1); about 1.44 bits (1 / ln 2) for a model that knows nothing."""
    low: float
    high: float
    most: float
    """The largest exposure that this many twins can show."""
    rank: float
    """Mean rank among the twins as a share: 0 is the most probable of all, 0.5 is chance."""
    n: int
    """Number of canaries."""
    n_null: int
    """Number of twins that each canary is compared with, at least."""
    tpr: Rate


def roc_area(members: ArrayLike, others: ArrayLike, *, confidence: float = 0.95) -> Area:
    """Return the area under the ROC curve of the scores of members against those of others, with its interval.

    The variance is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, eq. 5), computed from midranks; the
    interval is symmetric on the logit scale. If the groups do not overlap at all, that variance is 0 and the limits are
    those of Newcombe's method 5 (2006, Statistics in Medicine 25:559, an inverted score test). Raises ValueError for an
    empty group or scores that are not numbers.
    """
    x, y = _numbers(members, "members"), _numbers(others, "others")
    m, n = len(x), len(y)
    ranks = _ranks(np.concatenate([x, y]))
    above = (ranks[:m] - _ranks(x)) / n
    below = 1.0 - (ranks[m:] - _ranks(y)) / m
    area = float(above.mean())
    quantile = float(special.ndtri(0.5 + confidence / 2.0))
    variance = (float(above.var(ddof=1)) / m if m > 1 else 0.0) + (float(below.var(ddof=1)) / n if n > 1 else 0.0)
    if variance > 0 and 0 < area < 1 and min(m, n) > 1:
        width = quantile * math.sqrt(variance) / (area * (1 - area))
        middle = math.log(area / (1 - area))
        low, high = (float(special.expit(middle - width)), float(special.expit(middle + width)))
    else:
        low, high = _newcombe(area, m, n, quantile)
    return Area(area, low, high, m, n, confidence)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value among all, from 1; equal values have the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]


def _newcombe(area: float, m: int, n: int, quantile: float) -> tuple[float, float]:
    """Return the limits of Newcombe's method 5: areas `quantile` of their own standard errors from the estimate."""
    half = (m + n) / 2.0 - 1.0

    def reach(theta: float) -> float:
        spread = 1.0 + half * (1.0 - theta) / (2.0 - theta) + half * theta / (1.0 + theta)
        return (area - theta) ** 2 - quantile**2 * theta * (1.0 - theta) * max(spread, 0.0) / (m * n)

    from scipy import optimize

    edge = 1e-9  # the estimate itself always solves the equation; the limit is the other root
    low = 0.0 if area <= edge else float(optimize.brentq(reach, 0.0, area - edge))
    high = 1.0 if area >= 1 - edge else float(optimize.brentq(reach, area + edge, 1.0))
    return low, high


def tpr_at_fpr(members: ArrayLike, others: ArrayLike, *, fpr: float = FPR, confidence: float = 0.95) -> Rate:
    """Return the share of members above the lowest threshold that at most `fpr` of the others exceed.

    The interval is Clopper and Pearson's (exact) for that threshold; it does not include the uncertainty of the
    threshold. With fewer than 1 / `fpr` others no threshold has that rate, and there is no value. Raises ValueError for
    an empty group or scores that are not numbers.
    """
    x, y = _numbers(members, "members"), _numbers(others, "others")
    least = math.ceil(1.0 / fpr - 1e-9)
    if len(y) < least:
        why = f"{len(y)} never-trained texts: a false-positive rate of {fpr:.0%} needs at least {least}"
        return Rate(None, None, None, 0, len(x), len(y), fpr, 0, why)
    allowed = math.floor(fpr * len(y) + 1e-9)
    threshold = float(np.sort(y)[len(y) - 1 - allowed])
    hits = int((x > threshold).sum())
    low, high = clopper_pearson(hits, len(x), confidence)
    return Rate(hits / len(x), low, high, hits, len(x), len(y), fpr, int((y > threshold).sum()))


def attack(members: ArrayLike, others: ArrayLike, *, fpr: float = FPR, confidence: float = 0.95) -> Attack:
    """Return the area and the true-positive rate of one attack. Raises as `roc_area` does."""
    return Attack(
        roc_area(members, others, confidence=confidence), tpr_at_fpr(members, others, fpr=fpr, confidence=confidence)
    )


def rank_of(score: float, others: ArrayLike) -> float:
    """Return the rank of `score` among itself and `others`, 1 for the highest; ties share their mean rank."""
    y = _numbers(others, "others")
    return 1.0 + float((y > score).sum()) + 0.5 * float((y == score).sum())


def exposure(score: float, others: ArrayLike) -> float:
    """Return log2 of the number of candidates minus log2 of the rank, in bits.

    Carlini et al. 2019 (arXiv 1802.08232), definition 2, with the never-trained twins and the canary itself as
    candidates: a sample of the space instead of all of it, so the exposure is at most log2(twins + 1).
    """
    y = _numbers(others, "others")
    return math.log2(len(y) + 1) - math.log2(rank_of(score, y))


def exposed(pairs: Sequence[tuple[float, Sequence[float]]], *, fpr: float = FPR, confidence: float = 0.95) -> Exposed:
    """Return the exposure of canaries from (score, scores of its own twins) of each.

    The interval of the mean exposure is Student's over canaries, if they differ. A canary counts as told apart if fewer
    than `fpr` of its twins score as high (of 100, none); the interval of that share is exact. Raises ValueError for no
    canary, or one without twins.
    """
    if not pairs:
        raise ValueError("no canary")
    bits = np.array([exposure(score, others) for score, others in pairs])
    ranks = [(rank_of(score, others) - 1.0) / len(others) for score, others in pairs]
    least = min(len(others) for _, others in pairs)
    n = len(bits)
    mean = float(bits.mean())
    most = math.log2(least + 1)
    if n > 1 and float(np.ptp(bits)) > 1e-9:
        half = float(special.stdtrit(n - 1, 0.5 + confidence / 2.0)) * float(bits.std(ddof=1)) / math.sqrt(n)
        low, high = max(0.0, mean - half), min(most, mean + half)
    else:
        # All n have one exposure: so has at least the lower exact limit of the share n of n; the rest may be anything.
        share = clopper_pearson(n, n, confidence)[0]
        low, high = share * mean, share * mean + (1.0 - share) * most
    needed = math.ceil(1.0 / fpr - 1e-9)
    if least < needed:
        why = f"{least} twins: a false-positive rate of {fpr:.0%} needs at least {needed}"
        rate = Rate(None, None, None, 0, n, least, fpr, 0, why)
    else:
        hits = sum(int((np.asarray(others) >= score).sum()) < fpr * len(others) - 1e-9 for score, others in pairs)
        rate_low, rate_high = clopper_pearson(hits, n, confidence)
        rate = Rate(hits / n, rate_low, rate_high, hits, n, least, fpr, math.ceil(fpr * least - 1e-9) - 1)
    return Exposed(mean, low, high, most, float(np.mean(ranks)), n, least, rate)


def _numbers(values: ArrayLike, name: str) -> Floats:
    scores = np.asarray(values, dtype=np.float64).ravel()
    if len(scores) == 0 or not np.isfinite(scores).all():
        raise ValueError(f"{name}: need at least one score and finite scores only, got {len(scores)}")
    return scores
