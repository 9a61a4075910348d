"""Signal detection: can a subject tell two classes apart (d-prime), and which answer does it favour (criterion)?

A subject that always gives the same answer is right on all of one class and wrong on all of the other: accuracy alone
calls that half right, d-prime calls it blind.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aftertune.stats.estimate import least_half_width

Floats = NDArray[np.float64]
DRAWS = 2_000
"""Bootstrap draws by default."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Result of a yes/no experiment with two classes."""

    hit_rate: float
    """Share of yes where yes is right, with the log-linear correction."""
    false_alarm_rate: float
    """Share of yes where no is right, with the log-linear correction."""
    accuracy: float
    """Mean of the two classes' shares of right answers, uncorrected."""
    d_prime: float
    """z(hits) - z(false alarms): 0 is blind, 1 fair, 2 good."""
    d_prime_low: float
    d_prime_high: float
    criterion: float
    """-(z(hits) + z(false alarms)) / 2: above 0 favours no, below 0 favours yes."""
    criterion_low: float
    criterion_high: float
    n_signal: int
    n_noise: int
    n_clusters: int | None = None
    """None if the trials were taken as independent."""


def corrected_rate(yes: ArrayLike, n: ArrayLike) -> Any:
    """Return (yes + 1/2) / (n + 1): the log-linear correction, always applied, so that no rate is 0 or 1.

    Source: Hautus 1995, Behavior Research Methods 27, 46-51.
    """
    return (np.asarray(yes, dtype=float) + 0.5) / (np.asarray(n, dtype=float) + 1.0)


def _density(z: ArrayLike) -> Any:
    """Return the density of the standard normal distribution."""
    return np.exp(-(np.asarray(z, dtype=float) ** 2) / 2.0) / np.sqrt(2.0 * np.pi)


def measures(hits: ArrayLike, n_signal: ArrayLike, false_alarms: ArrayLike, n_noise: ArrayLike) -> tuple[Any, Any]:
    """Return (d-prime, criterion) of counts, element by element."""
    z_hits = special.ndtri(corrected_rate(hits, n_signal))
    z_false_alarms = special.ndtri(corrected_rate(false_alarms, n_noise))
    return z_hits - z_false_alarms, -(z_hits + z_false_alarms) / 2


def independent(hits: int, n_signal: int, false_alarms: int, n_noise: int, confidence: float = 0.95) -> Signal:
    """Return d-prime and criterion of independent trials, with normal intervals.

    Variances after Gourevitch and Galanter 1967, Psychometrika 32, 25-33, of the corrected rates.
    Raises ValueError if a class has no trial or a count exceeds the size of its class.
    """
    if min(n_signal, n_noise) < 1 or not (0 <= hits <= n_signal and 0 <= false_alarms <= n_noise):
        raise ValueError(f"counts {hits} of {n_signal} and {false_alarms} of {n_noise} are no experiment")
    d_prime, criterion = measures(hits, n_signal, false_alarms, n_noise)
    variance = 0.0
    hit_rate, false_alarm_rate = float(corrected_rate(hits, n_signal)), float(corrected_rate(false_alarms, n_noise))
    for share, n in ((hit_rate, n_signal), (false_alarm_rate, n_noise)):
        variance += share * (1 - share) / (n * float(_density(special.ndtri(share))) ** 2)
    half = float(special.ndtri(0.5 + confidence / 2)) * variance**0.5
    return Signal(
        hit_rate=hit_rate,
        false_alarm_rate=false_alarm_rate,
        accuracy=(hits / n_signal + (n_noise - false_alarms) / n_noise) / 2,
        d_prime=float(d_prime),
        d_prime_low=float(d_prime - half),
        d_prime_high=float(d_prime + half),
        criterion=float(criterion),
        criterion_low=float(criterion - half / 2),
        criterion_high=float(criterion + half / 2),
        n_signal=n_signal,
        n_noise=n_noise,
    )


def clustered(
    yes: ArrayLike,
    is_signal: ArrayLike,
    clusters: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> Signal:
    """Return d-prime and criterion of trials that come in clusters, with percentile intervals of a cluster bootstrap.

    Args:
        yes: One 0 or 1 per trial: the answer.
        is_signal: One 0 or 1 per trial: whether yes is right.
        clusters: One code per trial; trials of a cluster are not independent, and are drawn together.
        rng: Generator for the draws of clusters.
        confidence: Confidence of the intervals.
        draws: Number of bootstrap draws.

    Raises ValueError if a class has no trial.
    """
    counts = _counts(yes, is_signal, clusters)
    totals = counts.sum(axis=0)
    if totals[1] == 0 or totals[3] == 0:
        raise ValueError("both classes need a trial")
    resamples = _resample(counts, rng, draws)
    plain = independent(int(totals[0]), int(totals[1]), int(totals[2]), int(totals[3]), confidence)
    d_prime, criterion = measures(*resamples.T)
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    d_low, d_high = (float(value) for value in np.percentile(d_prime, tails))
    c_low, c_high = (float(value) for value in np.percentile(criterion, tails))
    if d_high <= d_low or c_high <= c_low:  # every cluster answers alike: one trial of each class per cluster
        n, shares = len(counts), (totals[0] / totals[1], totals[2] / totals[3])
        one_each = independent(round(n * shares[0]), n, round(n * shares[1]), n, confidence)
        d_low, d_high = min(d_low, one_each.d_prime_low), max(d_high, one_each.d_prime_high)
        c_low, c_high = min(c_low, one_each.criterion_low), max(c_high, one_each.criterion_high)
    return dataclasses.replace(
        plain,
        d_prime_low=d_low,
        d_prime_high=d_high,
        criterion_low=c_low,
        criterion_high=c_high,
        n_clusters=len(counts),
    )


def _counts(yes: ArrayLike, is_signal: ArrayLike, clusters: ArrayLike) -> Floats:
    """Return hits, signal trials, false alarms and noise trials of each cluster, shape (clusters, 4)."""
    answers, signal = np.asarray(yes, dtype=float), np.asarray(is_signal, dtype=bool)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    if not len(answers) == len(signal) == len(codes):
        raise ValueError("yes, is_signal and clusters must have one entry per trial")
    weights = (answers * signal, 1.0 * signal, answers * ~signal, 1.0 * ~signal)
    return np.stack([np.bincount(codes, weight) for weight in weights], axis=1)


def _resample(counts: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Return the summed counts of bootstrap draws of clusters, leaving out draws in which a class is empty."""
    n = len(counts)
    times = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    sums: Floats = times @ counts
    return sums[(sums[:, 1] > 0) & (sums[:, 3] > 0)]


def _undetectable(sides: list[Floats], n: int, confidence: float) -> float:
    """Return the change of d-prime that `n` clusters cannot rule out if none of them differs between the sides."""
    widest = 0.0
    for hits, signals, alarms, noises in sides:
        shares = [float(corrected_rate(round(n * yes / of), n)) for yes, of in ((hits, signals), (alarms, noises))]
        slopes = [float(_density(special.ndtri(share))) for share in shares]
        sampled = sum(share * (1 - share) / (n * slope**2) for share, slope in zip(shares, slopes, strict=True)) ** 0.5
        discordant = least_half_width(n, confidence) * sum(slope**-2 for slope in slopes) ** 0.5
        widest = max(widest, min(float(special.ndtri(0.5 + confidence / 2)) * (2**0.5) * sampled, discordant))
    return widest


@dataclass(frozen=True, slots=True)
class Change:
    """A difference with its percentile interval."""

    value: float
    low: float
    high: float


Trials = tuple[ArrayLike, ArrayLike, ArrayLike]
"""(yes, is_signal, clusters) as `clustered` takes them."""


def change(
    base: Trials,
    tuned: Trials,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    draws: int = DRAWS,
) -> tuple[Change, Change]:
    """Return (change of d-prime, change of criterion) from a base to its tuned model on the same clusters.

    The same clusters are drawn for both sides, since both were asked the same. Raises ValueError if the clusters
    differ, or a class has no trial.
    """
    if set(np.unique(np.asarray(base[2]))) != set(np.unique(np.asarray(tuned[2]))):
        raise ValueError("base and tuned must have the same clusters")
    first, second = _counts(*base), _counts(*tuned)
    times = rng.multinomial(len(first), np.full(len(first), 1 / len(first)), size=draws)
    sides = [(times @ counts, counts.sum(axis=0)) for counts in (first, second)]
    if any(total[1] == 0 or total[3] == 0 for _, total in sides):
        raise ValueError("both classes need a trial")
    usable = np.all([(sums[:, 1] > 0) & (sums[:, 3] > 0) for sums, _ in sides], axis=0)
    resamples = [measures(*sums[usable].T) for sums, _ in sides]
    values = [measures(*total) for _, total in sides]
    tails = [50 * (1 - confidence), 50 * (1 + confidence)]
    changes = []
    for index in (0, 1):
        low, high = np.percentile(resamples[1][index] - resamples[0][index], tails)
        value = float(values[1][index] - values[0][index])
        if high <= low:  # nothing differs in any cluster
            half = _undetectable([total for _, total in sides], len(first), confidence) / (1 + index)
            low, high = value - half, value + half
        changes.append(Change(value, float(low), float(high)))
    return changes[0], changes[1]


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
