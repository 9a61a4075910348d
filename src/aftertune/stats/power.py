"""What a design can see before it is run, by formula and by simulation, and what would settle it afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from aftertune.stats import clusters, seeds
from aftertune.stats.estimate import Floats, t_quantile

COARSE, FINE = (np.arange(40) + 0.5) / 40, (np.arange(400) + 0.5) / 400
"""Quantiles at which the distribution of an estimated variance is taken: of two at once, of one."""


@dataclass(frozen=True, slots=True)
class PairedDesign:
    """A planned comparison of a tuned model, or a recipe over seeds, with its base on the same prompts."""

    n_prompts: int
    base_rate: float
    """Share of 1s of the base."""
    n_clusters: int | None = None
    """None: prompts are independent."""
    n_seeds: int = 1
    """1: this checkpoint. More: the recipe, seeds being a sample too."""
    agreement: float = 0.5
    """Correlation between base and tuned outcomes on a prompt where nothing drifts; T = 0 and mild tuning give
    more."""
    icc: float = 0.1
    """Intra-class correlation of the differences within a cluster, sampling noise apart."""
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
        """Return the chance that a two-sided test calls a true `drift` different from 0, in the drift's direction.

        See `crossed_power`; the variance moves with the estimate as that of 0/1 outcomes does.
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
    """Return the chance that an interval over prompts (and seeds) comes clear of a value `shift` from the truth.

    Args:
        shift: Distance of the truth from the value that is to be excluded.
        parts: True seed, prompt and interaction part of the estimate's variance, as in `seeds.Crossed`; with one seed
            only the prompt part counts.
        n_seeds: Training seeds; 1 is a single checkpoint.
        prompt_df: Degrees of freedom of the prompt part.
        confidence: Of the interval.
        null: Variance in the test over variance at the truth (Tango's interval takes that of no difference).
        tilt: How much the test's prompt variance grows, relative to itself, where the estimate is larger by 1: more
            discordant pairs are found where more were lost (their regression on the difference).

    The noncentral t distribution (Cohen, Statistical Power Analysis, 1988, chapter 2) holds for one variance that does
    not depend on the estimate. Over seeds the variance is the sum of two estimated ones, so the power for known
    estimates is averaged over the chi-square distributions of the seed and the prompt part, each analysed as
    `seeds.crossed` does: three seeds often look more alike than they are, or less, and see less than the degrees of
    freedom of their true parts would say. With neither seeds nor tilt it is the noncentral t.
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
    # The estimate x at which x^2 = reach (1 + rise (x - shift)): what is larger comes clear.
    rise = tilt * prompt / np.maximum(seed + prompt, 1e-300)
    inner = reach**2 * rise**2 + 4 * reach * (1 - rise * shift)
    edge = np.where(inner > 0, (reach * rise + np.sqrt(np.maximum(inner, 0.0))) / 2, 0.0)
    se = math.sqrt(max(by_seed + by_prompt - both, 1e-300))
    return float(special.ndtr((shift - edge) / se).mean())


def smallest_drift(design: PairedDesign, *, power: float = 0.8, confidence: float = 0.95) -> float | None:
    """Return the smallest drift that `design` sees with chance `power`; None where it sees not even 1.

    A drift is looked for in the direction in which the rate can move furthest. Do not trust it under about 20
    prompts or 3 seeds: the normal model of a difference is too kind there.
    """
    furthest = max(design.base_rate, 1 - design.base_rate)

    def short(drift: float) -> float:
        return design.power(drift, confidence) - power

    if short(furthest) < 0:
        return None
    return float(optimize.brentq(short, 1e-9, furthest, xtol=1e-6))


def simulated_power(
    design: PairedDesign, drift: float, rng: np.random.Generator, *, confidence: float = 0.95, runs: int = 1000
) -> tuple[float, float]:
    """Return the share of simulated runs that see a true `drift` in its direction, and its simulation error.

    Outcomes are 0/1 for base and tuned; prompts share their luck with their cluster, seeds and samples so far as the
    design says, and each run is analysed as a real one is (`clusters.difference`, `seeds.difference`). Slower than
    `PairedDesign.power` and free of its normal model: the one to believe for few prompts, clusters or seeds. Raises
    ValueError for a drift that the base's rate has no room for, or no run.
    """
    if not -design.base_rate <= drift <= 1 - design.base_rate or runs < 1:
        raise ValueError(f"a base rate of {design.base_rate:g} has no room for a drift of {drift:+g} (or no runs)")
    count = design.n_prompts if design.n_clusters is None else design.n_clusters
    codes = np.arange(design.n_prompts) * count // design.n_prompts
    seen = 0
    for _ in range(runs):
        values = _outcomes(design, drift, codes, rng)
        if design.n_seeds > 1:
            found = seeds.difference(values, codes, confidence=confidence)
        else:
            found = clusters.difference(values[0], codes, confidence=confidence)
        seen += found.low > 0 if drift > 0 else found.high < 0
    share = seen / runs
    return share, math.sqrt(max(share * (1 - share), 1 / runs) / runs)


def _outcomes(design: PairedDesign, drift: float, codes: clusters.Codes, rng: np.random.Generator) -> Floats:
    """Return paired differences, shape (seeds, prompts), with the variances and correlations that a design states."""
    k, m, n = design.n_seeds, design.n_samples, design.n_prompts

    def luck(shape: tuple[int, ...]) -> Floats:
        """Uniform numbers; two prompts of a cluster have the same one with chance icc."""
        own, common = rng.random((*shape, n)), rng.random((*shape, int(codes[-1]) + 1))[..., codes]
        return np.where(rng.random((*shape, n)) < math.sqrt(design.icc), common, own)

    def either(share: float, common: Floats, own: Floats, together: bool) -> Floats:
        """Take the common number so often that two draws agree with chance `share`; whole clusters `together`."""
        chosen = rng.random((*own.shape[:-1], int(codes[-1]) + 1))[..., codes] if together else rng.random(own.shape)
        return np.where(chosen < math.sqrt(share), common, own)

    # Seeds differ by whole clusters, so that prompts of one stay as alike as `icc` says; sampling noise is each
    # answer's own.
    by_seed = either(design.shared, luck((1,)), luck((k,)), True) if k > 1 else luck((1,))
    by_sample = by_seed[:, None]
    if design.sampling > 0:
        by_sample = either(1 - design.sampling, by_sample, rng.random((k, m, n)), False)
    moved = drift + (design.seed_sd * rng.normal(size=(k, 1, 1)) if k > 1 else 0.0)
    discordance = np.maximum(2 * design.base_rate * (1 - design.base_rate) * (1 - design.agreement), np.abs(moved))
    gained, lost = (discordance + moved) / 2, (discordance - moved) / 2
    return np.asarray(((by_sample < gained).astype(np.float64) - (by_sample > 1 - lost)).mean(axis=1))


def half_width(design: PairedDesign, confidence: float = 0.95) -> float:
    """Return the expected half-width of the interval where nothing drifts: a smaller margin cannot be passed."""
    se, df = design.error()
    quantile = float(t_quantile(confidence, df))
    square = float(t_quantile(confidence, math.inf)) ** 2
    return min(max(quantile * se, square / (design.n_prompts + square)), 1.0)


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
    """Return how many more prompts bring an interval clear of a value `room` from the truth with chance `power`.

    `parts` and `prompt_df` are those of `crossed_power` as they stand; the prompt and interaction part fall with the
    number of prompts, whose clusters grow in number alike. None where `most` times the prompts are not enough. Raises
    ValueError for no prompt or a negative part.
    """
    if n_prompts < 1 or min(parts) < 0:
        raise ValueError(f"need prompts and no negative variance, got {n_prompts} and {parts}")
    by_seed, by_prompt, both = parts

    def short(times: float) -> float:
        left = (max(by_seed - both, 0.0) + both / times, by_prompt / times, both / times)
        df = min((prompt_df + 1) * times - 1, 1e6)
        return crossed_power(room, left, n_seeds, df, confidence) - power

    if room <= 1e-9 or short(float(most)) < 0:
        return None
    if short(1.0) >= 0:
        return 0
    return math.ceil(n_prompts * (float(optimize.brentq(short, 1.0, float(most), rtol=1e-4)) - 1) - 1e-9)


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
    """Return how many more training seeds bring an interval clear of a value `room` from the truth.

    As `more_prompts`; the seed and interaction part fall with the number of seeds. None where `most` more seeds are
    not enough. Raises ValueError for fewer than two seeds or a negative part.
    """
    if n_seeds < 2 or min(parts) < 0:
        raise ValueError(f"need two seeds and no negative variance, got {n_seeds} and {parts}")
    by_seed, by_prompt, both = parts
    for extra in range(most + 1):
        share = n_seeds / (n_seeds + extra)
        left = (by_seed * share, max(by_prompt - both, 0.0) + both * share, both * share)
        if crossed_power(room, left, n_seeds + extra, min(prompt_df, 1e6), confidence) >= power:
            return extra
    return None


def sd_of_range(low: float, high: float, k: int) -> float:
    """Return the standard deviation that a range over `k` normal values suggests: (high - low) / d2(k).

    Source: L. H. C. Tippett, Biometrika 17 (1925) 364-387. Raises ValueError for k < 2.
    """
    if k < 2:
        raise ValueError(f"a range needs two values, got {k}")
    grid = np.linspace(-8, 8, 3201)
    below = special.ndtr(grid)
    d2 = float(np.trapezoid(1 - below**k - (1 - below) ** k, grid))
    return (high - low) / d2
