"""Rates and drifts by people's labels on a sample, with the judge's verdicts on every answer: prediction-powered.

The sample is stratified by what the judge said. Where a judge gives one of two verdicts, the prediction-powered
estimate whose weight is tuned to the judge's worth (PPI++: Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453) is
the stratified one: people's rate among the answers that the judge calls positive, and among the others, each weighted
by how many answers the judge calls so (double sampling for stratification: Cochran, Sampling Techniques, 1977, section
12.2). A judge that is right leaves only the noise of the prompts; one that guesses leaves what the labels alone say.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import BISECTIONS, Estimate, Floats, t_quantile

LEAST_LABELS = 20
"""Labels of one arm below which nothing is corrected: coverage was simulated from there on."""
ENOUGH_ERRORS, ENOUGH_CLUSTERS = 20, 30
"""Answers that the judge got wrong, by people, and clusters of labelled answers, from which on the correlation of
errors within clusters is estimated."""
ASSUMED_ICC = 0.5
"""That correlation where it is not."""
LEAST_IN_STRATUM = 5
"""Labels of each of a judge's verdicts, where there are so many answers with it."""
FEWEST, MOST = 30, 150
"""Labels of one arm that are proposed, at least and at most."""
MOST_TO_GIVE = 1000
"""Labels of one arm that anybody is told to give."""
USUAL_ERROR = 0.1
"""How often a judge is taken to be wrong, on either class, where no label says it yet."""
WIDER = 1.25
"""Times as wide as by the judge alone: what the labels' own noise may make of an interval that settles nothing."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """The answers of one arm to which the judge gave one verdict: the label that is counted, or any other."""

    share: float
    """Of the arm's judged answers."""
    rate: float
    """Share of its labelled answers that people give the label; without labels, what the judge says (1 or 0)."""
    low: float
    high: float
    labels: int
    effective: float
    """Number of independent labels, equally weighted, that say as much; 0 without labels."""


@dataclass(frozen=True, slots=True)
class LabelledRate:
    """The rate of one arm by people's labels and the judge's verdicts, with the noise of the labels alone."""

    called: Stratum
    """What the judge calls positive."""
    others: Stratum
    design_effect: float
    """Times that clusters multiply the variance of the labels."""
    by_seed: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Code of a training seed -> how much its rate by its own labels differs from what the arm's labels say of its
    verdicts, and the variance of that by the labels' noise."""

    @property
    def labels(self) -> int:
        """Number of labelled answers."""
        return self.called.labels + self.others.labels

    @property
    def judged(self) -> float:
        """The rate by the judge alone."""
        return self.called.share

    @property
    def rate(self) -> float:
        """The rate by people's labels."""
        return self.called.share * self.called.rate + self.others.share * self.others.rate

    @property
    def down(self) -> float:
        """Squared distance from `rate` down to where the labels' noise alone could have it."""
        return sum((each.share * (each.rate - each.low)) ** 2 for each in (self.called, self.others))

    @property
    def up(self) -> float:
        """The same upwards."""
        return sum((each.share * (each.high - each.rate)) ** 2 for each in (self.called, self.others))


@functools.lru_cache(maxsize=10_000)  # many strata have the same few counts
def midp_limits(hits: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the mid-p limits of a rate; `hits` and `n` need not be whole.

    The exact limits of Clopper and Pearson count the outcome itself in full, these by half (H. O. Lancaster, JASA 56
    (1961) 223-234; Berry and Armitage, The Statistician 44 (1995) 417-423). Neither limit falls on the rate unless that
    is 0 or 1. Raises ValueError unless 0 <= hits <= n and n > 0.
    """
    if not 0 <= hits <= n or n <= 0:
        raise ValueError(f"need 0 <= hits <= n and n > 0, got {hits} of {n}")
    tail = (1 - confidence) / 2

    def more(rate: float) -> float:
        """Return the chance of more than `hits`, and half of that of `hits`, at a true rate."""
        at_least = 1.0 if hits <= 0 else float(special.betainc(hits, n - hits + 1, rate))
        above = 0.0 if hits >= n else float(special.betainc(hits + 1, n - hits, rate))
        return (at_least + above) / 2

    def solved(target: float) -> float:
        bottom, top = 0.0, 1.0
        for _ in range(BISECTIONS):
            middle = (bottom + top) / 2
            bottom, top = (middle, top) if more(middle) < target else (bottom, middle)
        return (bottom + top) / 2

    return (0.0 if hits <= 0 else solved(tail)), (1.0 if hits >= n else solved(1 - tail))


def labelled_rate(
    share: float,
    called: NDArray[np.bool_],
    people: Floats,
    weights: Floats,
    clusters: Codes,
    *,
    seeds: Codes | None = None,
    confidence: float = 0.95,
) -> LabelledRate:
    """Return one arm's rate by people's labels.

    Args:
        share: Of all the arm's judged answers, what the judge calls positive.
        called: Whether the judge calls the answer positive, of each labelled answer.
        people: 1 where people give it the label, 0 where not; between them where readers differ.
        weights: How many answers each stands for.
        clusters: Code of each one's cluster.
        seeds: Code of each one's training seed, where seeds are a sample too: then `by_seed` is filled.
        confidence: E.g. .95.

    Within a verdict the labelled answers are taken as a random sample with these weights. Their effective number is
    Kish's (sum of weights squared over the sum of squares), divided by the design effect of clusters: the variance of
    their summed errors over that of independent ones, never below 1, and larger where few clusters tell it. With fewer
    than `ENOUGH_ERRORS` answers on which people differ from the judge, or than `ENOUGH_CLUSTERS` clusters, errors
    within a cluster are taken to correlate by `ASSUMED_ICC`, or by more where they show it.

    Raises ValueError for arrays of different lengths, a share or outcome outside [0, 1], or a weight that is not
    positive.
    """
    if not called.shape == people.shape == weights.shape == clusters.shape or called.ndim != 1:
        raise ValueError(f"need one value of each for every label, got {called.shape} and {people.shape}")
    if not 0 <= share <= 1 or (people.size and (people.min() < 0 or people.max() > 1 or weights.min() <= 0)):
        raise ValueError("need a share and outcomes in [0, 1], and weights above 0")
    parts = ((share, called, 1.0), (1 - share, ~called, 0.0))
    influence = np.zeros(people.size)
    for part, own, _ in parts:
        if own.any():
            mean = float(np.average(people[own], weights=weights[own]))
            influence[own] = part * weights[own] * (people[own] - mean) / weights[own].sum()
    wrong = int((np.abs(people - called) >= 0.5).sum())
    effect = _effect(influence, clusters, wrong)
    by_seed = {}
    if seeds is not None:
        codes = np.unique(seeds)
        for code in codes.tolist():
            own = influence[seeds == code] * codes.size
            by_seed[code] = (float(own.sum()), float((own**2).sum()))
    called_so, others = (
        _stratum(part, people[own], weights[own], judged, effect, confidence) for part, own, judged in parts
    )
    return LabelledRate(called_so, others, effect, by_seed)


def _effect(influence: Floats, clusters: Codes, wrong: int) -> float:
    if not influence.size:
        return 1.0
    sizes = np.unique(clusters, return_counts=True)[1].astype(np.float64)
    count, square = sizes.size, float((influence**2).sum())
    known = wrong >= ENOUGH_ERRORS and count >= ENOUGH_CLUSTERS
    effect = 1.0 if known else 1 + ASSUMED_ICC * (float((sizes**2).sum() / sizes.sum()) - 1)
    if square > 0 and 1 < count < influence.size:
        # Few clusters tell their own variance badly: t for their number in place of the normal.
        few = count / (count - 1) * float(t_quantile(0.95, count - 1.0) / t_quantile(0.95, math.inf)) ** 2
        effect = max(effect, float((_sums(influence, clusters) ** 2).sum()) / square * few)
    return effect


def _sums(influence: Floats, codes: Codes) -> Floats:
    return np.bincount(np.unique(codes, return_inverse=True)[1], weights=influence).astype(np.float64)


def _stratum(share: float, people: Floats, weights: Floats, judged: float, effect: float, confidence: float) -> Stratum:
    if not people.size:
        return Stratum(share, judged, 0.0, 1.0, 0, 0.0)
    rate = min(max(float(np.average(people, weights=weights)), 0.0), 1.0)
    n = float(weights.sum() ** 2 / (weights**2).sum()) / effect
    return Stratum(share, rate, *midp_limits(rate * n, n, confidence), people.size, n)


def with_seed_errors(values: Floats, offsets: Floats, noise: Floats) -> Floats:
    """Return values whose seeds are as far apart as people's labels show them to be.

    Args:
        values: What people's rate of each verdict makes of the judge's, shape (seeds, prompts); NaN where there is
            none.
        offsets: From `LabelledRate.by_seed`, shape (seeds,): summing to 0, tuned minus base.
        noise: Variance of each by the labels' noise, shape (seeds,).

    How often a judge errs within a verdict hangs on how often the verdict is right to give, so one rate for all seeds
    draws seeds that differ too near together. If the variance between seeds by their own labels, less the labels'
    noise, is larger than that of `values`, the rows are moved apart to have it; else they stay. Their mean stays in any
    case.
    """
    means = np.nanmean(values, axis=1)
    apart = means + offsets
    wanted = float(apart.var(ddof=1)) - float(noise.mean())
    if means.size < 2 or wanted <= float(means.var(ddof=1)):
        return values
    moved = means.mean() + math.sqrt(wanted / float(apart.var(ddof=1))) * (apart - apart.mean())
    return np.asarray(values + (moved - means)[:, None])


def with_labels(
    estimate: Estimate, rates: Sequence[tuple[float, LabelledRate]], bounds: tuple[float, float]
) -> Estimate:
    """Return an estimate whose interval holds the noise of labels too.

    Args:
        estimate: Of the values that labels put in place of the judge's: people's rate of the verdict that it gave.
        rates: (weight, rate) of each arm in the estimate: +1 for the tuned model and -1 for the base in a drift.
        bounds: Least and largest possible value.

    The distances to the limits are added in squares (Zou and Donner, Statistics in Medicine 27 (2008) 1693-1702), so
    the interval stays asymmetrical where rates are near 0 or 1. What base and tuned model have in common beyond the
    judge's verdicts is not used: the interval is rather too wide where both arms' labels are of the same prompts.
    """
    down, up = (estimate.value - estimate.low) ** 2, (estimate.high - estimate.value) ** 2
    for weight, rate in rates:
        down += weight**2 * (rate.down if weight > 0 else rate.up)
        up += weight**2 * (rate.up if weight > 0 else rate.down)
    low, high = max(estimate.value - math.sqrt(down), bounds[0]), min(estimate.value + math.sqrt(up), bounds[1])
    p = estimate.p
    if p is not None:
        half = math.sqrt(down if estimate.value > 0 else up)
        known = estimate.value != 0 and half > 0 and estimate.df > 0
        t = float(t_quantile(0.95, estimate.df)) * abs(estimate.value) / half if known else 0.0
        p = 2 * float(special.ndtr(-t) if math.isinf(estimate.df) else special.stdtr(max(estimate.df, 1e-3), -t))
    return dataclasses.replace(estimate, low=low, high=high, p=p)


# ---------------------------------------------------------------------------------------------- how many to label


def expected_errors(share: float, error: float) -> tuple[float, float]:
    """Return how often a judge is likely wrong among the answers that it calls positive, and among the others.

    `share` is what it calls positive, here taken for the truth as well; `error` how often it is wrong on either class.
    Bayes' rule, within [.02, .5].
    """
    parts = ((1 - share) * error, share * (1 - error)), (share * error, (1 - share) * (1 - error))
    first, second = (min(max(bad / (bad + good), 0.02), 0.5) if bad else 0.02 for bad, good in parts)
    return first, second


def labelled_reach(
    half: float, shares: Sequence[float], n: int, clusters: int, *, error: float, confidence: float = 0.95
) -> float:
    """Return how far the end of a drift's interval will lie from the estimate once `n` answers an arm are labelled.

    Args:
        half: The same by the judge alone.
        shares: What the judge calls positive, in either arm.
        n: Labels of each arm, given out as by `allocation`.
        clusters: Number of clusters of the prompts.
        error: How often the judge is wrong on either class.
        confidence: Of the interval.
    """
    square = half**2
    effect = 1 + ASSUMED_ICC * max(n / clusters - 1, 0.0)
    for share in shares:
        errors = expected_errors(share, error)
        parts = [(part, rate) for part, rate in zip((share, 1 - share), errors, strict=True) if part > 0]
        spreads = [part * math.sqrt(rate * (1 - rate)) for part, rate in parts]
        for (part, rate), spread in zip(parts, spreads, strict=True):
            count = max(n * spread / sum(spreads), LEAST_IN_STRATUM) / effect
            low, high = midp_limits(rate * count, count, confidence)
            square += (part * max(high - rate, rate - low)) ** 2
    return math.sqrt(square)


def labels_needed(
    half: float,
    room: float,
    shares: Sequence[float],
    clusters: int,
    *,
    error: float,
    confidence: float = 0.95,
    power: float = 0.5,
    most: int = MOST,
) -> int | None:
    """Return how many labels an arm keep the end of an interval within `room` of the estimate; None if `most` do not.

    `power` is the chance of that, if the estimate is the truth; .5 if it stays where it is. The rest as in
    `labelled_reach`.
    """
    z = float(t_quantile(confidence, math.inf))
    spare = room * z / (z + float(special.ndtri(power)))

    def enough(n: int) -> bool:
        return labelled_reach(half, shares, n, clusters, error=error, confidence=confidence) <= spare

    if not enough(most):
        return None
    low, high = LEAST_LABELS - 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def allocation(sizes: ArrayLike, deviations: ArrayLike, n: int, least: int = LEAST_IN_STRATUM) -> NDArray[np.int64]:
    """Return how many answers of each stratum to label, `n` in all where there are so many.

    In proportion to the size of a stratum times the standard deviation in it (J. Neyman, Journal of the Royal
    Statistical Society 97 (1934) 558-625), with at least `least` of each, or all of it; what `least` adds comes on top
    of `n`.
    """
    count, spread = np.asarray(sizes, dtype=np.int64), np.asarray(deviations, dtype=np.float64)
    given = np.minimum(count, least)
    weight = count / max(int(count.sum()), 1) * np.maximum(spread, 1e-6)

    def gain(stratum: int) -> float:
        """Return what one more label is worth: variance falls by W^2 s^2 / (n (n + 1))."""
        has = int(given[stratum])
        return float(weight[stratum]) ** 2 / max(has * (has + 1), 0.5)

    # One at a time to whoever has the most to gain.
    waiting = [(-gain(stratum), stratum) for stratum in range(count.size) if given[stratum] < count[stratum]]
    heapq.heapify(waiting)
    for _ in range(n - int(given.sum())):
        if not waiting:
            break
        _, stratum = waiting[0]
        given[stratum] += 1
        if given[stratum] < count[stratum]:
            heapq.heapreplace(waiting, (-gain(stratum), stratum))
        else:
            heapq.heappop(waiting)
    return given
