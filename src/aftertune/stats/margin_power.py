"""How likely the gate decides a planned comparison: that it would fail a loss, and that it would pass it.

The gate fails a loss where its one-sided test against the margin rejects at the metric's share of the error that a
family of metrics has in common, and passes it where the whole interval lies within the margin (`deciding.gate`). Both
chances are those of the gate's own interval, over draws of what it is made of: how many pairs were gained and lost, at
the effective number of pairs that clusters, seeds and samples leave, and the variances of prompts and seeds as they
would be estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from aftertune.stats import clusters, seeds
from aftertune.stats.estimate import Floats, least_half_width, t_quantile, wilson_limits
from aftertune.stats.power import PairedDesign

DRAWS = 2000
"""Of each chance, which is then right to .9 points at 80 %."""
FINEST = 1e-3
"""To which a loss is solved for."""
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class MarginTest:
    """What a metric is held to, counted so that a higher rate is worse."""

    margin: float
    share: float = 1.0
    """Of the error that the metrics of its arm or checkpoint have in common (`multiplicity.family_shares`): what is
    tested at where this metric alone has lost more than its margin."""
    confidence: float = 0.95
    floor: float | None = None
    """Rate below which the tuned model must not fall."""
    ceiling: float | None = None
    """Rate above which it must not rise."""

    @property
    def tested_at(self) -> float:
        """Error of one one-sided test: floor, ceiling and margin have the same part of the metric's share."""
        tests = 1 + (self.floor is not None) + (self.ceiling is not None)
        return self.share * (1 - self.confidence) / 2 / tests


@dataclass(frozen=True, slots=True)
class Chances:
    """Of a true loss: that the gate fails it (outcome drift), and that it passes it; the rest is undecided."""

    fails: float
    passes: float


def chances(design: PairedDesign, test: MarginTest, loss: float, *, draws: int = DRAWS, seed: int = 0) -> Chances:
    """Return the chances that the gate fails and passes a true `loss`.

    `design.base_rate` is the rate of the outcome that is worse. With one seed the loss is the checkpoint's own. Every
    answer is taken as judged, and clusters as equally large. Do not trust it with fewer than about 20 prompts.
    """
    drawn = _drawn(design, test, loss, draws, seed)
    fails = drawn.fails()
    return Chances(float(fails.mean()), float((drawn.passes() & ~fails).mean()))


def failing_loss(design: PairedDesign, test: MarginTest, *, power: float = 0.8) -> float | None:
    """Return the smallest loss that the gate fails with chance `power`; None where it would fail none."""
    return _solved(
        lambda loss: float(_drawn(design, test, loss, DRAWS, 0).fails().mean()) >= power, 0.0, 1 - design.base_rate
    )


def passing_loss(design: PairedDesign, test: MarginTest, *, power: float = 0.8) -> float | None:
    """Return the largest loss that the gate passes with chance `power`; None where it would not pass no loss."""

    def often(loss: float) -> bool:
        return float(_drawn(design, test, loss, DRAWS, 0).passes().mean()) >= power

    most = min(test.margin, 1 - design.base_rate)
    if not often(0.0):
        return None
    found = _solved(lambda loss: not often(loss), 0.0, most)
    return most if found is None else found


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Estimates as they may come out, one an entry."""

    test: MarginTest
    value: Floats
    gained: Floats
    """Counts at the effective number of `pairs`, as those of `lost` and `pairs`."""
    lost: Floats
    pairs: Floats
    known: NDArray[np.bool_]
    """Where the pairs vary: elsewhere the interval is the least that the prompts allow."""
    quantile: Floats
    squares: Floats
    """Squared quantiles at 95 %, which stand for the degrees of freedom."""
    least_df: float
    least: float
    at_base: Floats
    level_variance: Floats

    def fails(self) -> NDArray[np.bool_]:
        """Return where the gate finds a drift."""
        margin, level = self.test.margin, self.test.tested_at
        fails = (self.value - self.least > margin) & ~(self.known & self._contains(margin)) & (self.value > margin)
        shared = level < (1 - self.test.confidence) / 2
        if shared and fails.any():
            at = np.flatnonzero(fails)
            half = self.value[at] - self._low(at)
            p = special.stdtr(self._df(at), -(self.value[at] - margin) / half * self.quantile[at])
            fails[at] = p <= level
        if self.test.ceiling is not None or self.test.floor is not None:
            rate, (low, high) = np.clip(self.at_base + self.value, 0.0, 1.0), self._level()
            stretch = t_quantile(1 - 2 * level, self._df(ALL)) / self.quantile
            fails |= (rate - stretch * (rate - low) > self._ceiling) | (rate + stretch * (high - rate) < self._floor)
        return fails

    def _df(self, at: NDArray[np.intp] | slice) -> Floats:
        df = special.stdtridf(0.5 + seeds.REFERENCE / 2, np.sqrt(self.squares[at]))
        return np.asarray(np.clip(df, self.least_df, 1e9))

    def passes(self) -> NDArray[np.bool_]:
        """Return where the gate passes, a broken floor or ceiling aside."""
        margin = self.test.margin
        passes = (self.value + self.least <= margin) & ~(self.known & self._contains(margin)) & (self.value <= margin)
        above = (self.value + self.least > 0) | (self.known & self._contains(0.0))
        passes &= ~((1 - self.at_base <= margin) & above)
        if self.test.ceiling is not None or self.test.floor is not None:
            low, high = self._level()
            passes &= (high <= self._ceiling) & (low >= self._floor)
        return passes

    @property
    def _ceiling(self) -> float:
        return math.inf if self.test.ceiling is None else self.test.ceiling

    @property
    def _floor(self) -> float:
        return -math.inf if self.test.floor is None else self.test.floor

    def _contains(self, delta: float | Floats, at: NDArray[np.intp] | slice = ALL) -> NDArray[np.bool_]:
        """Return whether Tango's score interval includes `delta` (`estimate.tango`)."""
        b, c, n, q = self.gained[at], self.lost[at], self.pairs[at], self.quantile[at]
        linear = -b - c + (2 * n - b + c) * delta
        root = np.sqrt(np.maximum(linear**2 + 8 * n * c * delta * (1 - delta), 0.0))
        only_first = np.maximum((root - linear) / (4 * n), 0.0)
        variance = n * (2 * only_first + delta * (1 - delta))
        return np.asarray(np.abs(b - c - n * delta) <= q * np.sqrt(np.maximum(variance, 1e-300)))

    def _low(self, at: NDArray[np.intp]) -> Floats:
        """Return the lower limits of `estimate.difference_estimate`."""
        inside, outside = self.value[at], np.full(at.size, -1.0)
        for _ in range(20):
            middle = (inside + outside) / 2
            holds = self._contains(middle, at)
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        low = np.where(self.known[at], inside, self.value[at])
        return np.asarray(np.maximum(np.minimum(low, self.value[at] - self.least), -1.0))

    def _level(self) -> tuple[Floats, Floats]:
        """Return the limits of the tuned model's rate, as `estimate.level_estimate`."""
        level = np.clip(self.at_base + self.value, 0.0, 1.0)
        variance = level * (1 - level) * self.level_variance
        known = (variance > 0) & (level > 0) & (level < 1)
        size = np.where(known, level * (1 - level) / np.where(known, variance, 1.0), 1.0)
        low, high = wilson_limits(level, size, self.quantile)
        low, high = np.where(known, low, level), np.where(known, high, level)
        return np.maximum(np.minimum(low, level - self.least), 0.0), np.minimum(
            np.maximum(high, level + self.least), 1.0
        )


def _drawn(design: PairedDesign, test: MarginTest, loss: float, draws: int, seed: int) -> _Drawn:
    rng = np.random.default_rng(seed)
    k, n = design.n_seeds, design.n_prompts
    groups = n if design.n_clusters is None else design.n_clusters
    base = design.base_rate
    own = (1 - design.sampling) * (1 + (n / groups - 1) * design.icc)
    noise = design.sampling / design.n_samples
    apart = (own * (1 - design.shared) + noise) / k if k > 1 else 0.0
    factor = own * design.shared + apart if k > 1 else own + noise
    size = max(round(n / factor), 2)

    true = np.full((k, draws), loss)
    if k > 1:
        true = np.clip(true + design.seed_sd * rng.normal(size=(k, draws)), -base, 1 - base)
    discordant = np.maximum(2 * base * (1 - base) * (1 - design.agreement), np.abs(true))
    gained_rate, any_rate = ((discordant + true) / 2).mean(axis=0), np.minimum(discordant.mean(axis=0), 1.0)
    flips = rng.binomial(size, any_rate)
    gained = rng.binomial(flips, np.clip(gained_rate / np.maximum(any_rate, 1e-12), 0, 1)) / size
    lost = flips / size - gained
    value = gained - lost
    spread = np.maximum(gained + lost - value**2, 0.0)

    prompt_df = clusters.degrees_of_freedom(np.full(groups, n / groups))
    prompt = spread / (size - 1)
    if groups < n:
        prompt = prompt * rng.chisquare(prompt_df, draws) / prompt_df
    if k == 1:
        variance, least_df = prompt, prompt_df
        squares = np.full(draws, float(t_quantile(seeds.REFERENCE, prompt_df)) ** 2)
    else:
        per_seed = true + np.sqrt(spread / size * apart / factor * k) * rng.normal(size=(k, draws))
        by_seed, both = per_seed.var(axis=0, ddof=1) / k, prompt * apart / factor
        variance, least_df = np.maximum(by_seed + prompt - both, np.maximum(by_seed, prompt)), min(k - 1.0, prompt_df)
        squares = seeds.squared_quantile(variance, (by_seed, prompt, both), k - 1.0, prompt_df)
    quantile = np.sqrt(squares)
    if test.confidence != seeds.REFERENCE:
        df = np.clip(special.stdtridf(0.5 + seeds.REFERENCE / 2, quantile), least_df, 1e9)
        quantile = t_quantile(test.confidence, df)
    known = (variance > 0) & (spread > 0)
    pairs = np.where(known, spread / np.where(known, variance, 1.0), 1.0)

    # The base's own rate errs with the difference: what the base has too much, the difference has too little. Their
    # covariance is what makes the variances of base and difference add up to that of the tuned model's rate.
    one_model = max(n / (own + noise), 2.0)
    base_variance, of_value = base * (1 - base) / one_model, max(float(value.var()), 1e-12)
    tuned = min(base + loss, 1.0)
    differs = float(discordant.mean()) - loss**2
    slope = (tuned * (1 - tuned) - base * (1 - base) - differs) / 2 / one_model / of_value
    rest = math.sqrt(max(base_variance - slope**2 * of_value, 0.0))
    at_base = np.clip(base + slope * (value - loss) + rest * rng.normal(size=draws), 0.0, 1.0)
    at_tuned = np.clip(at_base + value, 1e-9, 1 - 1e-9)
    by_level = design.seed_sd**2 / k / (at_tuned * (1 - at_tuned)) if k > 1 else 0.0
    return _Drawn(
        test=test,
        value=value,
        gained=gained * pairs,
        lost=lost * pairs,
        pairs=pairs,
        known=known,
        quantile=quantile,
        squares=squares,
        least_df=least_df,
        least=least_half_width(n, test.confidence),
        at_base=at_base,
        level_variance=np.full(draws, 1 / one_model) + by_level,
    )


def _solved(reached: Callable[[float], bool], low: float, high: float) -> float | None:
    """Return where a condition that holds from some loss on begins to hold; None where it does not hold at `high`."""
    if not reached(high):
        return None
    while high - low > FINEST:
        middle = (low + high) / 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return high
