"""Prediction for a group never seen: a ridge through the origin, conformal intervals over groups, rank correlation.

Groups are what data come in (corpora): rows of one group are alike, a new case comes from a new group.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Floats


def ridge(design: Floats, outcome: Floats, weights: Floats, penalty: float) -> Floats:
    """Return the coefficients of a weighted ridge without intercept; shapes (n, k), (n,), (n,).

    Columns are brought to one root mean square before the penalty, so that their units do not matter:
    argmin sum_i w_i (y_i - x_i b)^2 / sum w + penalty * sum_k (s_k b_k)^2, with s_k the weighted root mean square.
    A column of zeros gets the coefficient 0. Raises ValueError for shapes that do not fit.
    """
    if design.ndim != 2 or outcome.shape != design.shape[:1] or weights.shape != outcome.shape or not len(outcome):
        raise ValueError(f"shapes do not fit: {design.shape}, {outcome.shape}, {weights.shape}")
    share = weights / weights.sum()
    scale = np.sqrt(share @ design**2)
    scale = np.where(scale > 0, scale, np.inf)
    scaled = design / scale
    gram = scaled.T @ (share[:, None] * scaled) + penalty * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(gram, scaled.T @ (share * outcome)) / scale)


def equal_weights(groups: Codes) -> Floats:
    """Return a weight per row, so that every group weighs the same."""
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / sizes[codes])


def conformal_quantile(scores: Floats, groups: Codes, confidence: float) -> float:
    """Return the score that a row of a new group stays under with probability `confidence`; infinite for few groups.

    Each of K groups has the weight 1 / (K + 1), shared by its rows, and the rest lies at infinity. Source:
    hierarchical conformal prediction, Lee, Barber and Willett 2023 (arXiv 2306.06342), theorem 1: valid where groups
    are exchangeable, and rows within them.
    """
    if scores.shape != groups.shape or not len(scores):
        raise ValueError("need one group per score, and at least one score")
    count = len(np.unique(groups))
    weights = equal_weights(groups) / (count + 1)
    order = np.argsort(scores)
    reached = np.cumsum(weights[order])
    at = int(np.searchsorted(reached, confidence - 1e-12))
    return float(scores[order[at]]) if at < len(scores) else math.inf


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman's rank correlation of predictions and outcomes, groups resampled."""

    value: float | None
    """None where predictions or outcomes are all the same."""
    low: float | None
    """95 % percentile interval of a bootstrap of whole groups; None under five groups."""
    high: float | None
    p: float | None
    """Of the permutation test: share of shuffled outcomes, whole groups' blocks where they have one size, with a
    correlation at least as large; at least 1 / (permutations + 1). None without permutations."""
    n: int
    groups: int


def rank_correlation(
    predicted: Floats,
    outcome: Floats,
    groups: Codes,
    rng: np.random.Generator,
    draws: int = 2_000,
    permutations: int | None = None,
) -> RankCorrelation:
    """Return the correlation with a cluster bootstrap over groups and a permutation of the groups' outcomes.

    The null shuffles whole groups: each group gets the sorted-in outcomes of another, resampled to its size, so that
    what is alike within groups stays alike. There are as many `permutations` as draws unless said otherwise; with 0
    there is no p, as where the predictions are to be made anew for each (`refitted_p`).
    """
    permutations = draws if permutations is None else permutations
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    value = _spearman(predicted, outcome)
    if value is None:
        return RankCorrelation(None, None, None, None, len(outcome), len(names))
    low = high = None
    if len(names) >= 5:
        boot = []
        for _ in range(draws):
            rows = np.concatenate([members[code] for code in rng.integers(len(names), size=len(names))])
            each = _spearman(predicted[rows], outcome[rows])
            if each is not None:
                boot.append(each)
        if boot:
            low, high = (float(each) for each in np.quantile(boot, [0.025, 0.975]))
    as_large = 0
    for _ in range(permutations):
        null = _spearman(predicted, permuted(outcome, groups, rng))
        as_large += null is not None and null >= value
    p = (as_large + 1) / (permutations + 1) if permutations else None
    return RankCorrelation(value, low, high, p, len(outcome), len(names))


def permuted(outcome: Floats, groups: Codes, rng: np.random.Generator) -> Floats:
    """Return outcomes of which each group has those of another, drawn to its size: what is alike in groups stays so."""
    names, codes = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    shuffled = np.empty_like(outcome)
    for mine, other in zip(members, rng.permutation(len(names)), strict=True):
        theirs = members[other]
        picked = rng.permutation(theirs) if len(theirs) >= len(mine) else rng.choice(theirs, len(mine))
        shuffled[mine] = outcome[picked[: len(mine)]]
    return shuffled


def refitted_p(
    value: float | None,
    outcome: Floats,
    groups: Codes,
    predict: Callable[[Floats], Floats],
    rng: np.random.Generator,
    draws: int,
) -> float | None:
    """Return the permutation test's p value of a rank correlation of predictions that were made with groups left out.

    `predict` makes them anew of `permuted` outcomes: a fit that has not seen a group leans away from it (its mean is
    that of the others), so that by chance such a correlation is below zero, and predictions that are held fixed give a
    p value that is too large. NaN stands for a row without prediction; None without a correlation.
    """
    if value is None:
        return None
    as_large = 0
    for _ in range(draws):
        shuffled = permuted(outcome, groups, rng)
        predicted = predict(shuffled)
        known = ~np.isnan(predicted)
        null = _spearman(predicted[known], shuffled[known])
        as_large += null is not None and null >= value
    return (as_large + 1) / (draws + 1)


def _spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])
