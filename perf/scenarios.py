"""Simulated scenarios for `calibrate.py`: how prompts, clusters, seeds and samples vary, with no drift and with one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Floats

Generator = np.random.Generator


@dataclass(frozen=True)
class Data:
    """One simulated comparison: paired differences (seeds, prompts), clusters, and the truth."""

    values: Floats
    codes: Codes
    truth: float


@dataclass(frozen=True)
class Scenario:
    """How data come about, under the null or with a drift."""

    name: str
    draw: Callable[[Generator, bool], Data]
    """(generator, whether there is a drift) -> data."""
    methods: tuple[str, ...]


def latent(rng: Generator, codes: Codes, icc: float, shape: tuple[int, ...] = ()) -> Floats:
    """Standard normals with intra-class correlation `icc`, shape (*shape, prompts)."""
    common = rng.normal(size=(*shape, int(codes.max()) + 1))[..., codes]
    return np.asarray(math.sqrt(icc) * common + math.sqrt(1 - icc) * rng.normal(size=(*shape, codes.size)))


def outcomes(groups: int, size: int, icc: float, rate: float, drift: float) -> Callable[[Generator, bool], Data]:
    """0/1 outcomes of a base and one checkpoint, half of whose luck is the prompt's own and common to both."""
    codes = np.repeat(np.arange(groups), size)

    def draw(rng: Generator, drifts: bool) -> Data:
        prompt = latent(rng, codes, icc)
        own = latent(rng, codes, icc, (2,))
        both = np.sqrt(0.5) * prompt + np.sqrt(0.5) * own
        cuts = special.ndtri([[rate], [rate + drift * drifts]])
        base, tuned = (both < cuts).astype(np.float64)
        return Data((tuned - base)[None], codes, drift * drifts)

    return draw


def numbers(groups: int, size: int, icc: float, drift: float) -> Callable[[Generator, bool], Data]:
    """Differences of means of values (a harm score, say), normal within the scale."""
    codes = np.repeat(np.arange(groups), size)

    def draw(rng: Generator, drifts: bool) -> Data:
        return Data((np.clip(0.15 * latent(rng, codes, icc), -0.8, 0.8) + drift * drifts)[None], codes, drift * drifts)

    return draw


def sampled(prompts: int, samples: int, drift: float) -> Callable[[Generator, bool], Data]:
    """T = 0.7: each prompt has its own chance of the outcome, each answer is a draw; answers averaged in the prompt."""
    codes = np.arange(prompts)

    def draw(rng: Generator, drifts: bool) -> Data:
        chance = rng.beta(0.6, 1.4, size=prompts)  # mean .3, many prompts near 0 or 1
        moved = chance + drift * drifts * (1 - chance) / 0.7
        base = rng.binomial(samples, chance) / samples
        tuned = rng.binomial(samples, moved) / samples
        return Data((tuned - base)[None], codes, drift * drifts)

    return draw


def trained(
    k: int, groups: int, size: int, spread: float, rate: float, drift: float
) -> Callable[[Generator, bool], Data]:
    """A recipe: k seeds whose true rates differ with standard deviation `spread`, on the same prompts as the base."""
    codes = np.repeat(np.arange(groups), size)

    def draw(rng: Generator, drifts: bool) -> Data:
        prompt = latent(rng, codes, 0.3 if size > 1 else 0.0)
        moved = special.ndtri(np.clip(rate + drift * drifts + spread * rng.normal(size=(k, 1)), 0.001, 0.999))
        tuned = np.sqrt(0.5) * prompt + np.sqrt(0.5) * rng.normal(size=(k, codes.size)) < moved
        base = np.sqrt(0.5) * prompt + np.sqrt(0.5) * rng.normal(size=codes.size) < special.ndtri(rate)
        return Data(tuned.astype(np.float64) - base, codes, drift * drifts)

    return draw


CLOSED = ("score interval", "t test", "label swaps")
RESAMPLED = ("bootstrap, percentile", "bootstrap, studentised")
COUNTED = ("exact McNemar", "mid-p McNemar", "Newcombe")
PLAIN = "percentile bootstrap of clusters, plain"
"""A counter-example: `clusters.bootstrap` refuses it with so few."""
SCENARIOS = (
    Scenario("independent, 300 prompts, rate 30 %", outcomes(300, 1, 0.0, 0.3, 0.1), (*CLOSED, *COUNTED, *RESAMPLED)),
    Scenario("independent, 300 prompts, rate 1 %", outcomes(300, 1, 0.0, 0.01, 0.03), (*CLOSED, *COUNTED)),
    Scenario("independent, 300 prompts, numbers", numbers(300, 1, 0.0, 0.05), CLOSED),
    Scenario("50 clusters of 10, ICC .7, 0/1", outcomes(50, 10, 0.7, 0.4, 0.15), (*CLOSED, *RESAMPLED)),
    Scenario(
        "50 clusters of 10, ICC .71, numbers", numbers(50, 10, 0.71, 0.1), (*CLOSED, *RESAMPLED, "naive bootstrap")
    ),
    Scenario("8 clusters of 20, ICC .7, numbers", numbers(8, 20, 0.7, 0.1), (*CLOSED, "bootstrap, studentised", PLAIN)),
    Scenario("8 clusters of 20, ICC .3, 0/1", outcomes(8, 20, 0.3, 0.4, 0.15), CLOSED),
    Scenario("T = 0.7, 200 prompts x 5 samples", sampled(200, 5, 0.1), (*CLOSED, *RESAMPLED)),
    Scenario("5 seeds (sd 10 points), 300 prompts", trained(5, 300, 1, 0.1, 0.5, -0.2), ("recipe",)),
    Scenario("5 seeds (sd 5), 44 clusters of 7", trained(5, 44, 7, 0.05, 0.5, -0.1), ("recipe",)),
    Scenario("3 seeds (sd 10 points), 300 prompts", trained(3, 300, 1, 0.1, 0.5, -0.2), ("recipe",)),
    Scenario("3 seeds (sd 4), 300 prompts", trained(3, 300, 1, 0.04, 0.5, -0.1), ("recipe",)),
    Scenario("3 seeds (sd 5), 44 clusters of 7", trained(3, 44, 7, 0.05, 0.5, -0.1), ("recipe",)),
    Scenario("2 seeds (sd 10 points), 300 prompts", trained(2, 300, 1, 0.1, 0.5, -0.2), ("recipe",)),
    Scenario("5 seeds (sd 5), 8 clusters of 40", trained(5, 8, 40, 0.05, 0.5, -0.1), ("recipe",)),
    Scenario("5 seeds (sd 0), 300 prompts, rate 1 %", trained(5, 300, 1, 0.0, 0.01, 0.03), ("recipe",)),
)
DISCRETE = {
    ("exact McNemar", ""), ("mid-p McNemar", ""), ("Newcombe", ""), ("", "rate 1 %"), ("label swaps", "8 clusters"),
    ("label swaps", "rate 30 %"), ("recipe", "2 seeds"),
}  # fmt: skip
"""(method, part of a scenario's name): where chance comes in steps, or an interval allows for what it cannot see."""
