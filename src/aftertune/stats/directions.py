"""Directions in activation space: how alike those of two models are, and how well each of them is known.

A direction is the mean over matched pairs of prompts of the difference between their activations. It is estimated from
few pairs in many dimensions, so two estimates of one direction are not parallel, and a low cosine may be noise. Each
cosine therefore comes with the reliability of both directions, its ceiling. A mean difference has the sign of its
labels; a principal component of one side has none of its own, and its cosine with another says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.stats import seeds
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats, t_quantile

SHUFFLES = 999
"""Draws of a null: a value lies outside a range of 95 % of them in 4 to 6 % of the cases."""
FEWEST_CLUSTERS = 3
"""Fewest clusters for an interval."""
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models' directions of one contrast, from the same pairs of prompts.

    A null is the range of 95 % of the draws in which the two prompts of a pair may change places.
    """

    reliability: tuple[Estimate, Estimate]
    """Of the first and the second model's direction: squared length without noise as a share of that with noise."""
    reliability_null: tuple[Range, Range]
    cosine: Estimate
    """Between the first model's direction and the second's, estimated from different clusters of prompts."""
    cosine_null: Range
    ceiling: float | None
    """The cosine of two such estimates of a direction that is the same in both models; None without any direction."""
    disattenuated: Estimate | None
    """`cosine` over `ceiling`: an estimate of the cosine between the true directions. It may exceed 1 by chance."""
    same_prompts: Estimate
    """The cosine with both directions from all pairs; their noise is shared, so it may exceed the ceiling."""
    same_prompts_null: Range
    """Of the same cosine. Near 1 where whatever tells prompts apart lies alike in both models."""
    length_ratio: Estimate | None
    """Length of the second direction over that of the first, both without noise; None without any direction."""


def compare(
    first: Floats,
    second: Floats,
    clusters: Codes,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    shuffles: int = SHUFFLES,
) -> Comparison:
    """Compare the directions of two models.

    Args:
        first: Difference of the activations of each pair of prompts in the first model, shape (pairs, width).
        second: The same pairs in the second model.
        clusters: Shape (pairs,); pairs of one cluster are not independent.
        rng: Generator for the shuffled labels.
        confidence: Of the intervals.
        shuffles: Draws of each null.

    With a_c and b_c the sums of the differences over cluster c, n_c its pairs, N their number, a and b the means:

        |a|^2 = |sum_c a_c|^2 / N^2,    <a, b>' = sum_{c != d} <a_c, b_d> / (N^2 - sum_c n_c^2)

    The second leaves out the products within a cluster, whose noise is not independent, and so is unbiased for the
    inner product of the true directions. It is the mean inner product over all splits of the clusters in two (for
    clusters of one size), as Cronbach's alpha is the mean of all split-half reliabilities (Cronbach, Psychometrika 16
    (1951) 297-334). From it

        reliability(a) = <a, a>' / |a|^2,    cosine = <a, b>' / (|a| |b|),
        ceiling = sqrt(reliability(a) reliability(b)),    disattenuated = cosine / ceiling,

    the last by Spearman (American Journal of Psychology 15 (1904) 72-101). The cosine r of two halves' directions
    gives the same reliability through the formula of Spearman and Brown, 2 r / (1 + r) (British Journal of Psychology 3
    (1910) 271-322).

    Intervals: the jackknife over clusters with t quantiles of G - 1 degrees of freedom (Efron and Tibshirani 1993,
    chapter 11); those of cosines and reliabilities are cut to [-1, 1]. Nulls: the labels of all pairs of a cluster
    are swapped together, at random, in both models alike. Do not trust intervals with fewer than about 10 clusters,
    nor a disattenuated cosine with a reliability below about .5.

    Raises ValueError for wrong shapes, values that are not finite, no two clusters, or a mean difference of length 0.
    """
    _check(first, second, clusters)
    _, codes = np.unique(clusters, return_inverse=True)
    count = int(codes.max()) + 1
    if count < 2:
        raise ValueError("need at least 2 clusters of pairs")
    sizes = np.bincount(codes).astype(np.float64)
    products = _Products.of(_sums(first, codes, count), _sums(second, codes, count), sizes)
    whole = products.means(np.ones((1, count)))
    if not np.isfinite(_Means.same_prompts(whole)).all():
        raise ValueError("a mean difference of length 0 has no direction")
    without_one = products.means(1.0 - np.eye(count))
    shuffled = products.means(rng.choice(np.array([-1.0, 1.0]), size=(shuffles, count)))

    def bounded(statistic: Callable[[_Means], Floats]) -> Estimate:
        return _jackknife(statistic(whole), statistic(without_one), len(clusters), confidence, 1.0)

    def ratio(statistic: Callable[[_Means], Floats]) -> Estimate | None:
        values = statistic(whole), statistic(without_one)
        is_known = count >= FEWEST_CLUSTERS and all(np.isfinite(value).all() for value in values)
        return _jackknife(*values, len(clusters), confidence, math.inf) if is_known else None

    ceiling = float(whole.ceiling()[0])
    return Comparison(
        reliability=(bounded(_Means.first_reliability), bounded(_Means.second_reliability)),
        reliability_null=(_range(shuffled.first_apart / whole.first), _range(shuffled.second_apart / whole.second)),
        cosine=bounded(_Means.cosine),
        cosine_null=_range(shuffled.both_apart / np.sqrt(whole.first * whole.second)),
        ceiling=ceiling if math.isfinite(ceiling) else None,
        disattenuated=ratio(_Means.disattenuated),
        same_prompts=bounded(_Means.same_prompts),
        same_prompts_null=_range(shuffled.same_prompts()),
        length_ratio=ratio(_Means.length_ratio),
    )


@dataclass(frozen=True, slots=True)
class RecipeComparison:
    """A base's direction of one contrast beside those of the models that one recipe gave, one for each training seed.

    Estimates are means over seeds. With two seeds or more their intervals are for the recipe: other seeds and other
    prompts. With one they are for this checkpoint: other prompts.
    """

    reliability: tuple[float, float]
    """Of the base's direction, and of the tuned models' on average."""
    cosine: Estimate
    """Between directions that are estimated from different clusters of prompts."""
    ceiling: float | None
    disattenuated: Estimate | None
    length_ratio: Estimate | None
    same_prompts: Estimate
    """Between directions from all pairs."""
    same_prompts_null: Range
    """Of the same mean, with the labels of whole clusters shuffled alike in all models and the direction taken off."""
    p: float
    """Chance that shuffled labels give a cosine as low as `same_prompts`: whether this direction turned more than
    whatever else tells these prompts apart. Never below 2^(1 - G) with G clusters, which have no more shuffles."""


def compare_recipe(
    first: Floats,
    tuned: Sequence[Floats],
    clusters: Codes,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    shuffles: int = SHUFFLES,
) -> RecipeComparison:
    """Compare a base's direction with those of one recipe's models.

    Args:
        first: Differences of the base, shape (pairs, width).
        tuned: The same pairs in the model of each training seed; one is enough.
        clusters: As for `compare`.
        rng: Generator for the shuffled labels.
        confidence: Of the intervals.
        shuffles: Draws of the null.

    Statistics as in `compare`, but for the null: hardly any shuffle swaps as much as it leaves, so that a strong
    direction remains in it and turns with it. The mean difference is taken off every pair beforehand. Over seeds, the
    jackknife's pseudo-values, G x the whole - (G - 1) x without one cluster (Tukey, Annals of Mathematical Statistics
    29 (1958) 614), are crossed with the seeds as answers to prompts are
    (`seeds.crossed`). Raises ValueError as `compare`, and for no model.
    """
    if not tuned:
        raise ValueError("need at least one tuned model")
    for second in tuned:
        _check(first, second, clusters)
    _, codes = np.unique(clusters, return_inverse=True)
    count = int(codes.max()) + 1
    if count < 2:
        raise ValueError("need at least 2 clusters of pairs")
    sizes = np.bincount(codes).astype(np.float64)
    own = _sums(first, codes, count)
    products = [_Products.of(own, _sums(second, codes, count), sizes) for second in tuned]
    signs = rng.choice(np.array([-1.0, 1.0]), size=(shuffles, count))
    whole = [each.means(np.ones((1, count))) for each in products]
    left_out = [each.means(1.0 - np.eye(count)) for each in products]
    # Where all labels stay or all change, nothing is left of what was centred.
    mixed = signs[np.abs(signs.sum(axis=1)) < count]
    shuffled = np.mean([each.centred().means(mixed).same_prompts() for each in products], axis=0)
    shuffled = shuffled[np.isfinite(shuffled)]
    if not all(np.isfinite(each.same_prompts()).all() for each in whole):
        raise ValueError("a mean difference of length 0 has no direction")

    def estimate(statistic: Callable[[_Means], Floats], limit: float) -> Estimate:
        values = np.array([float(statistic(each)[0]) for each in whole])
        without = np.stack([statistic(each) for each in left_out])
        return _over_seeds(values, without, len(clusters), confidence, limit)

    def ratio(statistic: Callable[[_Means], Floats]) -> Estimate | None:
        is_known = all(np.isfinite(statistic(each)).all() for each in (*whole, *left_out))
        return estimate(statistic, math.inf) if is_known and count >= FEWEST_CLUSTERS else None

    same = estimate(_Means.same_prompts, 1.0)
    ceilings = [float(each.ceiling()[0]) for each in whole]
    as_low = int(np.count_nonzero(shuffled <= same.value + 1e-12))
    return RecipeComparison(
        reliability=(
            float(whole[0].first_reliability()[0]),
            float(np.mean([each.second_reliability()[0] for each in whole])),
        ),
        cosine=estimate(_Means.cosine, 1.0),
        ceiling=float(np.mean(ceilings)) if all(map(math.isfinite, ceilings)) else None,
        disattenuated=ratio(_Means.disattenuated),
        length_ratio=ratio(_Means.length_ratio),
        same_prompts=same,
        same_prompts_null=_range(shuffled),
        p=max((1 + as_low) / (1 + len(shuffled)), least_p(count, shuffles)),
    )


def least_p(clusters: int, shuffles: int) -> float:
    """Return the lowest p value that shuffled labels of so many clusters can have; swapping all changes nothing."""
    return max(2.0 ** (1 - clusters), 1 / (1 + shuffles))


def _over_seeds(values: Floats, left_out: Floats, n: int, confidence: float, limit: float) -> Estimate:
    """Return the mean over seeds of a statistic, given without each cluster too: shape (seeds, clusters)."""
    if len(values) < 2 or left_out.shape[1] < FEWEST_CLUSTERS or not np.isfinite(left_out).all():
        mean = _jackknife(values[:1], left_out[0], n, confidence, limit)
        if len(values) == 1:
            return mean
        return Estimate(float(values.mean()), -limit, limit, math.nan, 0.0, None, n, left_out.shape[1], len(values))
    count = left_out.shape[1]
    pseudo = count * values[:, None] - (count - 1) * left_out
    parts = seeds.crossed(pseudo, np.arange(count))
    se, point = math.sqrt(parts.variance), float(values.mean())
    half = float(t_quantile(confidence, parts.df)) * se
    low, high = max(point - half, -limit), min(point + half, limit)
    return Estimate(point, low, high, se, parts.df, None, n, count, len(values))


def random_cosines(direction: Floats, activations: Floats, rng: np.random.Generator, *, draws: int = SHUFFLES) -> Range:
    """Return the range of 95 % of the cosines between a direction and random ones with the activations' covariance.

    Args:
        direction: Shape (width,).
        activations: Shape (prompts, width), already centred within whatever the direction tells apart.
        rng: Generator for the draws.
        draws: Random directions.

    A draw is a normally distributed vector whose covariance is that of `activations`. Most activations lie in few
    dimensions, so such cosines are far wider than those of directions that are equally likely everywhere. Raises
    ValueError for wrong shapes or a direction of length 0.
    """
    if direction.ndim != 1 or activations.ndim != 2 or activations.shape[1:] != direction.shape:
        raise ValueError(f"need (width,) and (prompts, width), got {direction.shape} and {activations.shape}")
    length = float(np.linalg.norm(direction))
    if length == 0:
        raise ValueError("a direction of length 0 has no cosine")
    drawn = draw_directions(activations, rng, draws)
    return _range(drawn @ (direction / length))


def draw_directions(activations: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """Return random directions of length 1 with the covariance of centred activations, shape (draws, width)."""
    vectors = rng.standard_normal((draws, len(activations))) @ activations
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def _check(first: Floats, second: Floats, clusters: Codes) -> None:
    if first.ndim != 2 or first.shape != second.shape or clusters.shape != first.shape[:1]:
        shapes = f"{first.shape}, {second.shape} and {clusters.shape}"
        raise ValueError(f"need (pairs, width) twice and a cluster per pair, got {shapes}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("need finite differences")
    if not len(first):
        raise ValueError("need at least 2 clusters of pairs")


def _sums(differences: Floats, codes: Codes, count: int) -> Floats:
    sums = np.zeros((count, differences.shape[1]))
    np.add.at(sums, codes, differences)
    return sums


@dataclass(frozen=True, slots=True)
class _Means:
    """Inner products of the two mean differences, one per weighting of the clusters; what is made of them is NaN where
    it is not defined."""

    first: Floats
    second: Floats
    both: Floats
    first_apart: Floats
    """Without the products within a cluster; so are the next two."""
    second_apart: Floats
    both_apart: Floats

    def first_reliability(self) -> Floats:
        return _divided(self.first_apart, self.first)

    def second_reliability(self) -> Floats:
        return _divided(self.second_apart, self.second)

    def cosine(self) -> Floats:
        return _divided(self.both_apart, np.sqrt(self.first * self.second))

    def same_prompts(self) -> Floats:
        return _divided(self.both, np.sqrt(self.first * self.second))

    def ceiling(self) -> Floats:
        return _divided(self._lengths_apart(), np.sqrt(self.first * self.second))

    def disattenuated(self) -> Floats:
        return _divided(self.both_apart, self._lengths_apart())

    def length_ratio(self) -> Floats:
        return _divided(self._lengths_apart(), self.first_apart)

    def _lengths_apart(self) -> Floats:
        is_known = (self.first_apart > 0) & (self.second_apart > 0)
        return np.sqrt(np.where(is_known, self.first_apart * self.second_apart, np.nan))


@dataclass(frozen=True, slots=True)
class _Products:
    """Inner products of the clusters' sums, shape (clusters, clusters): everything is made of these."""

    first: Floats
    second: Floats
    both: Floats
    sizes: Floats

    @classmethod
    def of(cls, first: Floats, second: Floats, sizes: Floats) -> _Products:
        return cls(first @ first.T, second @ second.T, first @ second.T, sizes)

    def centred(self) -> _Products:
        """Return the products of the sums from which each model's mean difference is taken off."""
        off = np.eye(len(self.sizes)) - np.outer(self.sizes, np.ones(len(self.sizes))) / self.sizes.sum()
        first, second, both = (off @ each @ off.T for each in (self.first, self.second, self.both))
        return _Products(first, second, both, self.sizes)

    def means(self, weights: Floats) -> _Means:
        """Return the inner products with clusters weighted by 1 (as they are), 0 (left out) or -1 (labels swapped)."""
        pairs = np.abs(weights) @ self.sizes
        apart = pairs**2 - weights**2 @ self.sizes**2

        def inner(products: Floats) -> tuple[Floats, Floats]:
            total = ((weights @ products) * weights).sum(axis=1)
            return total / pairs**2, _divided(total - weights**2 @ np.diag(products), apart)

        (first, first_apart), (second, second_apart) = inner(self.first), inner(self.second)
        both, both_apart = inner(self.both)
        return _Means(first, second, both, first_apart, second_apart, both_apart)


def _divided(value: Floats, by: Floats) -> Floats:
    return np.divide(value, by, out=np.full_like(value, np.nan), where=by > 0)


def _jackknife(value: Floats, left_out: Floats, n: int, confidence: float, limit: float) -> Estimate:
    """Return a value with the interval that the values without one cluster each give, within [-limit, limit].

    The whole range where too few clusters or undefined values leave nothing known.
    """
    point, count = float(value[0]), left_out.size
    if count < FEWEST_CLUSTERS or not np.isfinite(left_out).all():
        return Estimate(point, -limit, limit, math.nan, 0.0, None, n, count)
    se = math.sqrt((count - 1) / count * float(((left_out - left_out.mean()) ** 2).sum()))
    half = float(t_quantile(confidence, count - 1)) * se
    return Estimate(point, max(point - half, -limit), min(point + half, limit), se, count - 1.0, None, n, count)


def _range(values: Floats) -> Range:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.025, 0.975]) if finite.size else (math.nan, math.nan)
    return float(low), float(high)
