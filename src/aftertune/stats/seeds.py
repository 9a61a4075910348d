"""What a recipe does: training seeds crossed with prompts, both treated as samples.

A checkpoint is one draw from its recipe. An average over prompts within one checkpoint, however many, says nothing
about the next seed. Here the unit of inference is the recipe: the estimate's variance has a part that only more
seeds reduce, one that only more prompts reduce, and one that both reduce.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from aftertune.stats.clusters import Codes, degrees_of_freedom
from aftertune.stats.estimate import Estimate, Floats, difference_estimate, level_estimate, t_quantile

REFERENCE = 0.95
"""Confidence at which the degrees of freedom of a sum of two variances are matched."""
ENOUGH = 4.0
"""Degrees of freedom of the smaller part from which Satterthwaite's approximation is good enough alone."""


@dataclass(frozen=True, slots=True)
class Crossed:
    """A mean over seeds and prompts, and where its variance comes from."""

    mean: float
    """Mean of the per-seed means."""
    per_seed: Floats
    """Mean over prompts for each seed, shape (seeds,)."""
    variance: float
    """Variance of `mean`."""
    df: float
    """Degrees of freedom of `variance`."""
    seed_part: float
    """Variance of the per-seed means divided by their number; contains the seed x prompt part too."""
    prompt_part: float
    """Cluster-robust variance of the prompt means; contains the seed x prompt part too."""
    interaction_part: float
    """The seed x prompt part: contained in both of the others, and so subtracted once."""
    n: int
    """Number of prompts."""
    n_clusters: int

    @property
    def n_seeds(self) -> int:
        """Number of training seeds."""
        return self.per_seed.size

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest per-seed mean."""
        return float(self.per_seed.min()), float(self.per_seed.max())


def crossed(values: Floats, clusters: Codes) -> Crossed:
    """Return the mean over seeds and prompts with the variance of the two-way random layout.

    Args:
        values: Shape (seeds, prompts): one number per seed and prompt (paired differences, rates or contrasts);
            NaN where there is none.
        clusters: Shape (prompts,): integer codes.

    The variance is seed part + cluster part - interaction part (Searle, Casella and McCulloch, Variance Components,
    1992, section 4.3; with clusters for prompts as in Cameron, Gelbach and Miller, Journal of Business & Economic
    Statistics 29 (2011) 238-249), never below the larger of the first two. The degrees of freedom are those of
    `crossed_degrees_of_freedom`: with 3 seeds or more, 3.6 % to 5.7 % of true nulls are called a drift at the 5 %
    level, whatever the shares of the parts (300 prompts); with 2 seeds, 1 % to 6 %. Raises ValueError for fewer than
    two seeds, wrong shapes, or a seed without a value. With two seeds it says little more than "wide"; do not trust it
    if which cells are missing depends on the seed.
    """
    if values.ndim != 2 or clusters.shape != values.shape[1:]:
        raise ValueError(f"need (seeds, prompts) and one cluster per prompt, got {values.shape} and {clusters.shape}")
    if values.shape[0] < 2:
        raise ValueError("a recipe-level estimate needs at least two training seeds, got one")
    known = np.isfinite(values)
    used = known.any(axis=0)
    values, known = values[:, used], known[:, used]
    counts = known.sum(axis=1)
    if (counts == 0).any():
        raise ValueError(f"seed number {int(np.argmin(counts)) + 1} has no value")
    _, codes = np.unique(clusters[used], return_inverse=True)
    seeds, groups = values.shape[0], int(codes.max()) + 1
    filled = np.where(known, values, 0.0)
    per_seed = filled.sum(axis=1) / counts
    seed_part = float(per_seed.var(ddof=1)) / seeds

    weight = known / (seeds * counts[:, None])
    residual = np.where(known, values - per_seed[:, None], 0.0)
    cells = np.stack([np.bincount(codes, weights=row, minlength=groups) for row in weight * residual])
    mass = np.bincount(codes, weights=weight.sum(axis=0), minlength=groups)
    if groups < 2:
        return Crossed(float(per_seed.mean()), per_seed, seed_part, 0.0, seed_part, 0.0, 0.0, int(used.sum()), groups)
    prompt_part = float((cells.sum(axis=0) ** 2 / (1 - mass)).sum())
    # The seed x prompt effect: cells after the seed's and the prompt's means are removed.
    effect = residual.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    both = np.stack(
        [np.bincount(codes, weights=row, minlength=groups) for row in weight * np.where(known, residual - effect, 0.0)]
    )
    interaction = float((both**2 / (1 - mass)).sum()) * seeds / (seeds - 1)
    variance = max(seed_part + prompt_part - interaction, seed_part, prompt_part)
    prompt_df = degrees_of_freedom(np.bincount(codes).astype(np.float64))
    df = crossed_degrees_of_freedom(variance, (seed_part, prompt_part, interaction), seeds - 1.0, prompt_df)
    return Crossed(
        float(per_seed.mean()), per_seed, variance, df, seed_part, prompt_part, interaction, int(used.sum()), groups
    )


def squared_quantile(
    variance: ArrayLike,
    parts: tuple[ArrayLike, ArrayLike, ArrayLike],
    seed_df: float,
    prompt_df: float,
    confidence: float = REFERENCE,
) -> Floats:
    """Return the squared two-sided quantile for a mean whose variance is the sum of two estimated ones.

    Args:
        variance: Estimated, seed + prompt - interaction part; any shape, the parts' own.
        parts: The seed, prompt and interaction parts of `Crossed`.
        seed_df: Seeds - 1.
        prompt_df: Degrees of freedom of the prompt part.
        confidence: E.g. .95.

    With four degrees of freedom or more (five seeds) it is Satterthwaite's (Biometrics Bulletin 2 (1946) 110-114). With
    fewer, that is too small if most of the variance comes from the part with few degrees of freedom and its estimate
    happens to be low (3 seeds: up to 7.5 % false alarms); Cochran's, the parts' own squared quantiles weighted by the
    parts (Biometrics 20 (1964) 191-195), is too large in between (3 seeds: down to 2.2 %). So the two are mixed:
    Cochran's has the estimated share of the part with fewer degrees of freedom as its weight, Satterthwaite's the rest.
    A part with a single degree of freedom (two seeds) estimates its own share too badly for that, and both have the
    same weight.
    """
    seed, prompt, both = (np.asarray(part, dtype=np.float64) for part in parts)
    total = np.asarray(variance, dtype=np.float64)
    least, most = min(seed_df, prompt_df), max(seed_df, prompt_df)
    few = seed if seed_df <= prompt_df else prompt
    bottom = seed**2 / seed_df + prompt**2 / prompt_df + both**2 / (seed_df * prompt_df)
    known = bottom > 0
    matched = np.where(known, np.maximum(total**2 / np.where(known, bottom, 1.0), least), least)
    share = np.clip(few / np.where(total > 0, total, 1.0), 0.0, 1.0)
    first, second = (float(t_quantile(confidence, df)) ** 2 for df in (least, most))
    cochran = share * first + (1 - share) * second
    if least >= ENOUGH:
        weight = np.ones_like(share)
    else:
        weight = 1 - share if least >= 2 else np.full_like(share, 0.5)
    squares = weight * t_quantile(confidence, matched) ** 2 + (1 - weight) * cochran
    return np.asarray(np.where(known, squares, first))


def crossed_degrees_of_freedom(
    variance: float, parts: tuple[float, float, float], seed_df: float, prompt_df: float
) -> float:
    """Return the degrees of freedom of Student's t whose squared 95 % quantile is `squared_quantile`."""
    target = math.sqrt(float(squared_quantile(variance, parts, seed_df, prompt_df)))
    # stdtridf inverts the quantile function of t for the degrees of freedom.
    return float(min(max(special.stdtridf(0.5 + REFERENCE / 2, target), min(seed_df, prompt_df)), 1e9))


def difference(values: Floats, clusters: Codes, *, confidence: float = 0.95, scale: float = 1.0) -> Estimate:
    """Return the recipe-level mean of paired differences within [-scale, scale]; see `crossed`.

    `values` has shape (seeds, prompts). Raises ValueError as `crossed` does, notably for one seed.
    """
    parts = crossed(values, clusters)
    up = float(np.nanmean(np.maximum(values, 0), axis=1).mean())
    down = float(np.nanmean(np.maximum(-values, 0), axis=1).mean())
    return difference_estimate(
        parts.mean,
        up,
        down,
        parts.variance,
        parts.df,
        confidence=confidence,
        n=parts.n,
        n_clusters=parts.n_clusters,
        n_seeds=parts.n_seeds,
        scale=scale,
    )


def level(
    values: Floats, clusters: Codes, *, confidence: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return the recipe-level mean of values within `bounds`; see `crossed` and `estimate.level_estimate`."""
    parts = crossed(values, clusters)
    return level_estimate(
        parts.mean,
        parts.variance,
        parts.df,
        confidence=confidence,
        n=parts.n,
        n_clusters=parts.n_clusters,
        n_seeds=parts.n_seeds,
        bounds=bounds,
    )


def all_worse_chance(tuned: int, base: int | None = None) -> float:
    """Return the chance that every tuned seed is worse than every base seed if nothing drifted: 1 / C(k + m, k).

    `tuned` and `base` are numbers of seeds, equal by default. Raises ValueError for a count below 1.
    """
    other = tuned if base is None else base
    if tuned < 1 or other < 1:
        raise ValueError(f"need at least one seed on either side, got {tuned} and {other}")
    return 1 / math.comb(tuned + other, tuned)
