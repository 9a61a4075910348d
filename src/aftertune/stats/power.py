"""Power: what a design can detect, by formula and by simulation, and how many more prompts or seeds it would take."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from aftertune.stats import matrix, seeds
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Floats, t_quantile

COARSE, FINE = (np.arange(40) + 0.5) / 40, (np.arange(400) + 0.5) / 400
"""Grids of quantiles over which an estimated variance is averaged: for two variances at once, and for one."""


@dataclass(frozen=True, slots=True)
class PairedDesign:
    """A planned comparison of a tuned model, or a recipe over seeds, with its base on the same prompts."""

    n_prompts: int
    base_rate: float
    """Share of 1s of the base."""
    n_clusters: int | None = None
    """None for independent prompts."""
    n_seeds: int = 1
    """1 for a checkpoint; more for a recipe, with seeds as a sample too."""
    agreement: float = 0.5
    """Correlation between base and tuned outcomes on a prompt if nothing drifts; higher at T = 0 and with mild
    tuning."""
    icc: float = 0.1
    """Intra-class correlation of the differences within a cluster, without sampling noise."""
    seed_sd: float = 0.03
    """Standard deviation of a recipe's true rate between seeds."""
    shared: float = 0.5
    """Share of the prompts' variance that all seeds of a recipe have in common."""
    n_samples: int = 1
    """Answers per prompt, averaged within it."""
    sampling: float = 0.0
    """Share of the prompts' variance that is sampling noise, which more answers per prompt average out; 0 at T = 0."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        clusters = self.n_prompts if self.n_clusters is None else self.n_clusters
        if self.n_prompts < 2 or not 2 <= clusters <= self.n_prompts or min(self.n_seeds, self.n_samples) < 1:
            raise ValueError("need 2 <= n_clusters <= n_prompts, n_seeds >= 1 and n_samples >= 1")
        for name in ("base_rate", "agreement", "icc", "shared", "sampling"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.seed_sd < 0:
            raise ValueError(f"seed_sd must not be negative, got {self.seed_sd}")

    @property
    def _clusters(self) -> int:
        return self.n_prompts if self.n_clusters is None else self.n_clusters

    def _discordance(self, drift: float) -> float:
        return max(2 * self.base_rate * (1 - self.base_rate) * (1 - self.agreement), abs(drift))

    def parts(self, drift: float = 0.0) -> tuple[float, float, float]:
        """Return the seed, prompt and interaction part of the estimate's variance (`seeds.Crossed`).

        Discordance is 2 p (1 - p) (1 - agreement), at least |drift|. Sampling noise is averaged over a prompt's
        answers; clusters multiply what is left of the prompts' variance by the design effect 1 + (m - 1) icc (Kish,
        Survey Sampling, 1965, section 5.4); seeds add seed_sd^2 / k.
        """
        prompts = max(self._discordance(drift) - drift**2, 1e-12) / self.n_prompts
        own = prompts * (1 - self.sampling) * (1 + (self.n_prompts / self._clusters - 1) * self.icc)
        noise = prompts * self.sampling / self.n_samples
        if self.n_seeds == 1:
            return 0.0, own + noise, 0.0
        both = (own * (1 - self.shared) + noise) / self.n_seeds
        return self.seed_sd**2 / self.n_seeds + both, own * self.shared + both, both

    def error(self, drift: float = 0.0) -> tuple[float, float]:
        """Return the standard error of the estimated drift and its degrees of freedom, if `drift` is the truth."""
        by_seed, by_prompt, both = self.parts(drift)
        variance = by_seed + by_prompt - both
        if self.n_seeds == 1:
            return math.sqrt(variance), self._clusters - 1.0
        parts = (by_seed, by_prompt, both)
        return math.sqrt(variance), seeds.crossed_degrees_of_freedom(
            variance, parts, self.n_seeds - 1.0, self._clusters - 1.0
        )

    def power(self, drift: float, confidence: float = 0.95) -> float:
        """Return the chance that a two-sided test finds a true `drift` different from 0, in the drift's direction.

        See `crossed_power`; the variance depends on the estimate as it does for 0/1 outcomes.
        """
        size, discordance = abs(drift), self._discordance(drift)
        spread = max(discordance - drift**2, 1e-12)
        tilt = size * (1 - discordance) / (spread * discordance) if discordance > 0 else 0.0
        prompt_df = self._clusters - 1.0
        null = discordance / spread if discordance > 0 else 1.0
        return crossed_power(size, self.parts(drift), self.n_seeds, prompt_df, confidence, null=null, tilt=tilt)


def crossed_power(
    shift: float,
    parts: tuple[float, float, float],
    n_seeds: int,
    prompt_df: float,
    confidence: float = 0.95,
    *,
    null: float = 1.0,
    tilt: float = 0.0,
) -> float:
    """Return the chance that an interval over prompts (and seeds) excludes a value at distance `shift` from the truth.

    Args:
        shift: Distance of the truth from the value to be excluded.
        parts: True seed, prompt and interaction part of the estimate's variance, as in `seeds.Crossed`; with one seed
            only the prompt part counts.
        n_seeds: Number of training seeds; 1 is a single checkpoint.
        prompt_df: Degrees of freedom of the prompt part.
        confidence: Confidence of the interval.
        null: Variance in the test over variance at the truth (Tango's interval uses that of no difference).
        tilt: Relative growth of the test's prompt variance per unit of the estimate: the number of discordant pairs
            regresses on their difference.

    The noncentral t distribution (Cohen, Statistical Power Analysis, 1988, chapter 2) holds for one variance that does
    not depend on the estimate. Over seeds the variance is the sum of two estimated ones, so the power at given
    estimates is averaged over the chi-square distributions of the seed and the prompt part, each analysed as
    `seeds.crossed` does: three seeds often look more alike than they are, or less, and have less power than the degrees
    of freedom of their true parts suggest. With neither seeds nor tilt it is the noncentral t.
    """
    by_seed, by_prompt, both = parts
    if n_seeds == 1:
        prompt = by_prompt * special.chdtri(prompt_df, 1 - FINE) / prompt_df
        seed, variance = np.zeros(FINE.size), prompt
        square = np.full(FINE.size, float(t_quantile(confidence, prompt_df)) ** 2)
    else:
        seed_df = n_seeds - 1.0
        seed = by_seed * special.chdtri(seed_df, 1 - COARSE)[:, None] / seed_df + 0.0 * COARSE
        prompt = by_prompt * special.chdtri(prompt_df, 1 - COARSE) / prompt_df + 0.0 * seed
        variance = np.maximum(seed + prompt - both, np.maximum(seed, prompt))
        square = seeds.squared_quantile(variance, (seed, prompt, both), seed_df, prompt_df, confidence)
    reach = square * null * variance
    # The edge is the x with x^2 = reach (1 + rise (x - shift)): any larger estimate excludes the value.
    rise = tilt * prompt / np.maximum(seed + prompt, 1e-300)
    inner = reach**2 * rise**2 + 4 * reach * (1 - rise * shift)
    edge = np.where(inner > 0, (reach * rise + np.sqrt(np.maximum(inner, 0.0))) / 2, 0.0)
    se = math.sqrt(max(by_seed + by_prompt - both, 1e-300))
    return float(special.ndtr((shift - edge) / se).mean())


def smallest_drift(design: PairedDesign, *, power: float = 0.8, confidence: float = 0.95) -> float | None:
    """Return the smallest drift that `design` detects with chance `power`; None if it cannot even detect the largest.

    The drift is in the direction in which the rate can move furthest. Do not trust it with fewer than about 20 prompts
    or 3 seeds: the normal model of a difference is too optimistic there.
    """
    furthest = max(design.base_rate, 1 - design.base_rate)

    def excess(drift: float) -> float:
        return design.power(drift, confidence) - power

    if excess(furthest) < 0:
        return None
    from scipy import optimize

    return float(optimize.brentq(excess, 1e-9, furthest, xtol=1e-6))


def simulated_power(
    design: PairedDesign, drift: float, rng: np.random.Generator, *, confidence: float = 0.95, runs: int = 1000
) -> tuple[float, float]:
    """Return the share of simulated runs that detect a true `drift` in its direction, and its simulation error.

    Outcomes are 0/1 for base and tuned; prompts correlate within clusters and across seeds and samples as the design
    says, and each run is analysed like a real one (`matrix.difference`). Slower than `PairedDesign.power`, but without
    its normal model: the one to believe for few prompts, clusters or seeds. Raises ValueError for a drift that the
    base's rate has no room for, or for fewer than one run.
    """
    if not -design.base_rate <= drift <= 1 - design.base_rate or runs < 1:
        raise ValueError(f"a base rate of {design.base_rate:g} has no room for a drift of {drift:+g} (or no runs)")
    count = design.n_prompts if design.n_clusters is None else design.n_clusters
    codes = np.arange(design.n_prompts) * count // design.n_prompts
    detected = 0
    for _ in range(runs):
        estimate = matrix.difference(_outcomes(design, drift, codes, rng), codes, confidence=confidence)
        assert estimate is not None
        detected += estimate.low > 0 if drift > 0 else estimate.high < 0
    share = detected / runs
    return share, math.sqrt(max(share * (1 - share), 1 / runs) / runs)


def _outcomes(design: PairedDesign, drift: float, codes: Codes, rng: np.random.Generator) -> Floats:
    """Return paired differences, shape (seeds, prompts), with the variances and correlations that a design states."""
    k, m, n = design.n_seeds, design.n_samples, design.n_prompts

    def uniform(shape: tuple[int, ...]) -> Floats:
        """Draw uniform numbers; two prompts of a cluster have the same one with chance icc."""
        own, common = rng.random((*shape, n)), rng.random((*shape, int(codes[-1]) + 1))[..., codes]
        return np.where(rng.random((*shape, n)) < math.sqrt(design.icc), common, own)

    def either(share: float, common: Floats, own: Floats, together: bool) -> Floats:
        """Take the common number so often that two draws agree with chance `share`; by whole clusters if `together`."""
        chosen = rng.random((*own.shape[:-1], int(codes[-1]) + 1))[..., codes] if together else rng.random(own.shape)
        return np.where(chosen < math.sqrt(share), common, own)

    # Seeds differ by whole clusters, so that prompts of a cluster stay as similar as `icc` says; sampling noise is
    # drawn for each answer.
    by_seed = either(design.shared, uniform((1,)), uniform((k,)), True) if k > 1 else uniform((1,))
    by_sample = by_seed[:, None]
    if design.sampling > 0:
        by_sample = either(1 - design.sampling, by_sample, rng.random((k, m, n)), False)
    true = drift + (design.seed_sd * rng.normal(size=(k, 1, 1)) if k > 1 else 0.0)
    discordance = np.maximum(2 * design.base_rate * (1 - design.base_rate) * (1 - design.agreement), np.abs(true))
    gained, lost = (discordance + true) / 2, (discordance - true) / 2
    return np.asarray(((by_sample < gained).astype(np.float64) - (by_sample > 1 - lost)).mean(axis=1))


def more_prompts(
    n_prompts: int,
    parts: tuple[float, float, float],
    n_seeds: int,
    prompt_df: float,
    room: float,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    most: int = 100,
) -> int | None:
    """Return how many more prompts make an interval exclude a value at distance `room` from the truth.

    `parts` and `prompt_df` are the current ones, as in `crossed_power`; the prompt and interaction parts fall with the
    number of prompts, and clusters grow in number alike. The chance of exclusion is at least `power`. None if `most`
    times the prompts are not enough. Raises ValueError for no prompt or a negative part.
    """
    if n_prompts < 1 or min(parts) < 0:
        raise ValueError(f"need prompts and no negative variance, got {n_prompts} and {parts}")
    by_seed, by_prompt, both = parts

    def excess(times: float) -> float:
        scaled = (max(by_seed - both, 0.0) + both / times, by_prompt / times, both / times)
        df = min((prompt_df + 1) * times - 1, 1e6)
        return crossed_power(room, scaled, n_seeds, df, confidence) - power

    if room <= 1e-9 or excess(float(most)) < 0:
        return None
    if excess(1.0) >= 0:
        return 0
    from scipy import optimize

    return math.ceil(n_prompts * (float(optimize.brentq(excess, 1.0, float(most), rtol=1e-4)) - 1) - 1e-9)


def more_seeds(
    parts: tuple[float, float, float],
    n_seeds: int,
    prompt_df: float,
    room: float,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    most: int = 50,
) -> int | None:
    """Return how many more training seeds make an interval exclude a value at distance `room` from the truth.

    As `more_prompts`; the seed and interaction parts fall with the number of seeds. None if `most` more seeds are not
    enough. Raises ValueError for fewer than two seeds or a negative part.
    """
    if n_seeds < 2 or min(parts) < 0:
        raise ValueError(f"need two seeds and no negative variance, got {n_seeds} and {parts}")
    by_seed, by_prompt, both = parts

    def enough(extra: int) -> bool:
        share = n_seeds / (n_seeds + extra)
        scaled = (by_seed * share, max(by_prompt - both, 0.0) + both * share, both * share)
        return crossed_power(room, scaled, n_seeds + extra, min(prompt_df, 1e6), confidence) >= power

    # One by one as far as the degrees of freedom are told another way for each number; from there on power only rises.
    first = min(max(int(seeds.ENOUGH) + 1 - n_seeds, 0), most)
    for extra in range(first + 1):
        if enough(extra):
            return extra
    if not enough(most):
        return None
    low, high = first, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def sd_of_range(low: float, high: float, k: int) -> float:
    """Return the standard deviation estimated from the range of `k` normal values: (high - low) / d2(k).

    Source: L. H. C. Tippett, Biometrika 17 (1925) 364-387. Raises ValueError for k < 2.
    """
    if k < 2:
        raise ValueError(f"a range needs two values, got {k}")
    grid = np.linspace(-8, 8, 3201)
    below = special.ndtr(grid)
    d2 = float(np.trapezoid(1 - below**k - (1 - below) ** k, grid))
    return (high - low) / d2
