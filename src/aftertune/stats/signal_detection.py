"""Signal detection: can a subject tell two classes apart (d-prime), and which answer does it favour (criterion)?

A subject that always gives the same answer is right on all of one class and wrong on all of the other: accuracy alone
calls that half right, d-prime calls it blind.

Intervals are closed forms. Both measures are taken as linear in the answers near the observed rates (the delta method),
so that what makes rates uncertain makes them uncertain: trials that come in clusters, clusters that hold trials of both
classes, training seeds. Where trials of a category move together, intervals that take them as independent find a
d-prime in up to two of five cases in which there is none; a percentile bootstrap of few clusters does in one of ten
(`perf/calibrate.py`, docs/statistics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aftertune.stats import seeds
from aftertune.stats.clusters import degrees_of_freedom
from aftertune.stats.estimate import Floats, least_half_width, t_quantile

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Value:
    """A measure with its interval; infinite ends where a class has one cluster, since then nothing is known."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> tuple[float, float] | tuple[None, None]:
        """The ends, or None for both where nothing is known."""
        return (self.low, self.high) if math.isfinite(self.low) and math.isfinite(self.high) else (None, None)


@dataclass(frozen=True, slots=True)
class Signal:
    """Result of a yes/no experiment with two classes, over one or more training seeds."""

    hit_rate: float
    """Share of yes where yes is right, uncorrected; mean over seeds, as all below."""
    false_alarm_rate: float
    """Share of yes where no is right, uncorrected."""
    accuracy: float
    """Mean of the two classes' shares of right answers."""
    d_prime: Value
    """z(hits) - z(false alarms) of the corrected rates: 0 is blind, 1 fair, 2 good."""
    criterion: Value
    """-(z(hits) + z(false alarms)) / 2: above 0 favours no, below 0 favours yes."""
    n_signal: int
    n_noise: int
    n_clusters: int
    n_seeds: int


def corrected_rate(yes: ArrayLike, n: ArrayLike) -> Any:
    """Return (yes + 1/2) / (n + 1): the log-linear correction, always applied, so that no rate is 0 or 1.

    Source: Hautus 1995, Behavior Research Methods 27, 46-51.
    """
    return (np.asarray(yes, dtype=float) + 0.5) / (np.asarray(n, dtype=float) + 1.0)


def measures(hits: ArrayLike, n_signal: ArrayLike, false_alarms: ArrayLike, n_noise: ArrayLike) -> tuple[Any, Any]:
    """Return (d-prime, criterion) of counts, element by element."""
    z_hits = special.ndtri(corrected_rate(hits, n_signal))
    z_false_alarms = special.ndtri(corrected_rate(false_alarms, n_noise))
    return z_hits - z_false_alarms, -(z_hits + z_false_alarms) / 2


WEIGHTS: Mapping[str, tuple[float, float]] = {"d_prime": (1.0, -1.0), "criterion": (-0.5, -0.5)}
"""Measure -> the factors of z(hits) and of z(false alarms) in it."""


def signal(yes: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95) -> Signal:
    """Return d-prime and criterion of trials that may come in clusters, with their intervals.

    Args:
        yes: Share of yes in [0, 1], shape (trials,) or (seeds, trials); NaN where no answer could be read. With several
            seeds the measures are means over them, and seeds are a sample as trials are (`seeds.crossed`).
        is_signal: Whether yes is right, shape (trials,).
        clusters: Codes, shape (trials,); trials of a cluster are not independent, whatever their class.
        confidence: Confidence of the intervals.

    The variance of a class's rate is cluster-robust (CR2 within the class), never below that of independent trials at
    the corrected rate, which never vanishes; what clusters have of both classes enters as their covariance, and leaves
    at least what that many trials cannot rule out. The degrees of freedom are the smaller of the two classes'. A true
    d-prime beyond what corrected rates can reach (4.7 for 50 trials of each class) is underestimated.
    Raises ValueError if a class has no trial with an answer in one of the seeds, or shapes differ.
    """
    answers, classes, codes = _checked(yes, is_signal, clusters)
    hits, alarms = _rates(answers, classes, codes), _rates(answers, ~classes, codes)
    hit_rate, false_alarm_rate = float(hits.mean.mean()), float(alarms.mean.mean())
    found = {name: _value((hits, alarms), weights, confidence) for name, weights in WEIGHTS.items()}
    known = np.isfinite(answers).any(axis=0)
    return Signal(
        hit_rate=hit_rate,
        false_alarm_rate=false_alarm_rate,
        accuracy=(hit_rate + 1 - false_alarm_rate) / 2,
        d_prime=found["d_prime"],
        criterion=found["criterion"],
        n_signal=int((known & classes).sum()),
        n_noise=int((known & ~classes).sum()),
        n_clusters=int(np.unique(codes[known]).size),
        n_seeds=answers.shape[0],
    )


def change(
    base: ArrayLike, tuned: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95
) -> tuple[Value, Value]:
    """Return (change of d-prime, change of criterion) from a base to its tuned model on the same trials.

    Args:
        base: As `yes` of `signal`, of one seed, or of the seeds of `tuned`.
        tuned: As `yes` of `signal`.
        is_signal: As in `signal`.
        clusters: As in `signal`.
        confidence: As in `signal`.

    A trial counts where both have an answer. The interval is paired: what makes both say yes cancels. Where nothing
    differs it is as wide as that many trials cannot rule out. Raises ValueError as `signal`.
    """
    before, classes, codes = _checked(base, is_signal, clusters)
    after, _, _ = _checked(tuned, is_signal, clusters)
    before, after = np.broadcast_arrays(before, after)
    known = np.isfinite(before) & np.isfinite(after)
    sides = [np.where(known, each, np.nan) for each in (before, after)]
    pairs = []
    for chosen in (classes, ~classes):
        first, second = (_rates(side, chosen, codes) for side in sides)
        pairs.append(second.minus(first, confidence))
    return (
        _value((pairs[0], pairs[1]), WEIGHTS["d_prime"], confidence),
        _value((pairs[0], pairs[1]), WEIGHTS["criterion"], confidence),
    )


@dataclass(frozen=True)
class _Rates:
    """z of a class's corrected rates, or their change, and where their variance comes from."""

    mean: Floats
    """Rates, shape (seeds,)."""
    z: Floats
    """Shape (seeds,)."""
    parts: Floats
    """What each cluster adds to z beyond its expectation, shape (seeds, clusters)."""
    sizes: Floats
    """Trials of each cluster, shape (clusters,)."""
    n: int
    slope: float
    """Least density of the normal distribution at z: how z answers to a rate."""
    least: float
    """Variance that z has at least."""

    def minus(self, other: _Rates, confidence: float) -> _Rates:
        """Return the change from another side's, on the same trials."""
        quantile = float(t_quantile(confidence, math.inf))
        slope = min(self.slope, other.slope)
        # What that many trials cannot rule out although none of them differs between the sides.
        unseen = (least_half_width(self.n, confidence) / quantile / slope) ** 2
        least = min(self.least + other.least, unseen)
        return _Rates(
            self.mean - other.mean, self.z - other.z, self.parts - other.parts, self.sizes, self.n, slope, least
        )

    @property
    def robust(self) -> float:
        """Variance of the mean z over clusters."""
        return float((self.parts.mean(axis=0) ** 2).sum())


def _checked(yes: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike) -> tuple[Floats, Bools, NDArray[np.int64]]:
    answers = np.atleast_2d(np.asarray(yes, dtype=np.float64))
    classes = np.asarray(is_signal, dtype=np.bool_)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64)
    if answers.ndim != 2 or not answers.shape[1] == classes.size == codes.size:
        raise ValueError("yes, is_signal and clusters must have one entry per trial")
    return answers, classes, codes


def _rates(answers: Floats, chosen: Bools, codes: NDArray[np.int64]) -> _Rates:
    """Return the rates of one class."""
    values = answers[:, chosen]
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    if (counts == 0).any():
        raise ValueError("both classes need a trial")
    sums = np.where(known, values, 0.0).sum(axis=1)
    if (np.where(known, values, 0.0) < 0).any() or (np.where(known, values, 0.0) > 1).any():
        raise ValueError("answers must be shares of yes, from 0 to 1")
    mean, corrected = sums / counts, corrected_rate(sums, counts)
    z = special.ndtri(corrected)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    groups = int(codes.max()) + 1
    own = codes[chosen]
    sizes = np.bincount(own[known.any(axis=0)], minlength=groups).astype(np.float64)
    share = np.minimum(sizes / sizes.sum(), 1 - 1e-9)  # of a single cluster the interval is infinite in any case
    residual = np.where(known, values - mean[:, None], 0.0) / (counts * density)[:, None]
    parts = np.stack([np.bincount(own, row, minlength=groups) for row in residual]) / np.sqrt(1 - share)
    least = float((corrected * (1 - corrected) / (counts * density**2)).mean())
    # The trials of all seeds are the same: their mean is as uncertain as one seed is, but for what seeds do not share.
    by_seed = float((parts**2).sum(axis=1).mean())
    least *= float((parts.mean(axis=0) ** 2).sum()) / by_seed if by_seed > 0 else 1.0
    return _Rates(mean, z, parts, sizes, int(sizes.sum()), float(density.min()), least)


def _value(classes: tuple[_Rates, _Rates], weights: tuple[float, float], confidence: float) -> Value:
    """Return the weighted sum of two classes' z with its interval."""
    (hit_weight, alarm_weight), (hits, alarms) = weights, classes
    each = hit_weight * hits.z + alarm_weight * alarms.z
    cells = hit_weight * hits.parts + alarm_weight * alarms.parts
    value, k = float(each.mean()), each.size
    known = [rates.sizes[rates.sizes > 0] for rates in classes]
    if min(sizes.size for sizes in known) < 2:
        return Value(value, -math.inf, math.inf)
    df = min(degrees_of_freedom(sizes) for sizes in known)
    lacking = sum(
        weight**2 * max(rates.least - rates.robust, 0.0) for weight, rates in zip(weights, classes, strict=True)
    )
    over_prompts = float((cells.mean(axis=0) ** 2).sum()) + lacking
    # Classes that move together leave nothing of it where a subject says the same to both trials of every cluster: then
    # the measure is as uncertain as that many trials cannot rule out, or as independent trials are where that is less.
    n, slope = min(rates.n for rates in classes), min(rates.slope for rates in classes)
    unseen = least_half_width(n, confidence) / float(t_quantile(confidence, math.inf)) / slope
    apart = sum(weight**2 * rates.least for weight, rates in zip(weights, classes, strict=True))
    over_prompts = max(over_prompts, min((unseen * max(abs(hit_weight), abs(alarm_weight))) ** 2, apart))
    variance = over_prompts
    if k > 1:
        over_seeds = float(each.var(ddof=1)) / k
        both = float(((cells - cells.mean(axis=0)) ** 2).sum()) / (k * (k - 1))
        variance = max(over_seeds + over_prompts - both, over_seeds, over_prompts)
        df = seeds.crossed_degrees_of_freedom(variance, (over_seeds, over_prompts, both), k - 1.0, df)
    half = float(t_quantile(confidence, df)) * math.sqrt(variance)
    return Value(value, value - half, value + half)


def ever(happened: ArrayLike, unit: ArrayLike, group: ArrayLike) -> dict[Any, float]:
    """Return group -> share of its units for which something happened at least once.

    This is the violation score of CIMemories (arXiv 2511.14937): units are a profile's private attributes, `happened`
    says for each message whether the attribute was given away, and the maximum over tasks and samples is taken before
    the mean.
    """
    happened_by_unit: dict[Any, dict[Any, float]] = {}
    for did, which, where in zip(np.asarray(happened, dtype=float), unit, group, strict=True):  # type: ignore[arg-type]
        units = happened_by_unit.setdefault(where, {})
        units[which] = max(units.get(which, 0.0), float(did))
    return {where: float(np.mean(list(units.values()))) for where, units in happened_by_unit.items()}
