"""Group-sequential tests: levels for tests that are made after each part of the prompts, at a stated error in all.

A test that is repeated after every batch at its usual level finds something sooner or later: with ten looks, one at
2.5 % errs in 9 %. Here the error is spent as the prompts come in, and each look has the level that is left for it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from aftertune.stats.estimate import Floats

PARTS = 10
"""In which prompts are asked until it is decided, with a look after each."""
POWER = 1.5
"""Of the share of the prompts in the share of the error that is spent with it: 1 spends evenly, 3 hardly any early."""
NODES = 160
"""Of the quadrature between two looks; doubling them changes no level by more than 1e-8 of itself."""
FURTHEST = 8.5
"""Standard errors beyond which a normal is taken as 0."""


@dataclass(frozen=True, slots=True)
class Look:
    """When something is decided, and how often before."""

    error: float
    """One-sided error of all looks together."""
    shares: tuple[float, ...]
    """Of all prompts, that each look so far has seen; the present one last."""

    def level(self, error: float) -> float:
        """Return the level of a test at this look that errs at any look with a chance of `error`."""
        return look_levels(error, self.shares)[-1]

    @property
    def confidence(self) -> float:
        """Of intervals that hold the truth at all looks together, with a chance of 1 - 2 `error`; rounded up."""
        return math.ceil(1e4 * (1 - 2 * self.level(self.error)) - 1e-9) / 1e4


def spent(level: float, shares: Sequence[float]) -> list[float]:
    """Return the error that is spent by each look, at the `shares` of all prompts that it has seen.

    Source: the spending functions level * share^power of Kim and DeMets, Biometrika 74 (1987) 149-154.
    """
    return [level * min(share, 1.0) ** POWER for share in shares]


def look_levels(level: float, shares: Sequence[float]) -> list[float]:
    """Return the level of the one-sided test at each look, so that any of them errs with a chance of `level`.

    Args:
        level: Chance that one of the looks errs.
        shares: Of all prompts (clusters) that each look has seen, rising; the last may be under 1.

    For estimates with independent increments (Lan and DeMets, Biometrika 70 (1983) 659-663); where a part of the
    variance is common to all looks, as that between training seeds, they correlate more, and err less (Slepian, Bell
    System Technical Journal 41 (1962) 463-501). The level of a look depends on no later look. Raises ValueError for a
    level outside (0, 1) and for shares that do not rise within (0, 1].
    """
    return list(_levels(level, tuple(spent(level, shares)), tuple(shares)))


@functools.lru_cache(maxsize=4096)
def _levels(level: float, used: tuple[float, ...], shares: tuple[float, ...]) -> tuple[float, ...]:
    """Return the levels of looks by which the error `used` is spent, by recursive integration.

    Source: Armitage, McPherson and Rowe, Journal of the Royal Statistical Society A 132 (1969) 235-244.
    """
    steps = zip((1e-9, *shares), shares, strict=False)
    if not 0 < level < 1 or not shares or not all(0 < a < b <= 1 for a, b in steps):
        raise ValueError(f"need 0 < level < 1 and rising shares in (0, 1], got {level} and {list(shares)}")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    found: list[float] = []
    places, mass = np.zeros(1), np.ones(1)  # a Brownian motion that has crossed no bound yet: values, and their weights
    before, spent_before = 0.0, 0.0
    for share, now in zip(shares, used, strict=True):
        step, target = math.sqrt(share - before), max(now - spent_before, 1e-300)

        def crosses(bound: float, places: Floats = places, mass: Floats = mass, step: float = step) -> float:
            return float(mass @ special.ndtr(-(bound - places) / step))

        low, high = -FURTHEST * math.sqrt(share), 40 * math.sqrt(share)
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if crosses(middle) > target else (low, middle)
        bound = (low + high) / 2
        found.append(float(special.ndtr(-bound / math.sqrt(share))))
        bottom = -FURTHEST * math.sqrt(share)
        grid = bottom + (min(bound, FURTHEST * math.sqrt(share)) - bottom) * (nodes + 1) / 2
        density = np.exp(-((grid[:, None] - places) ** 2) / (2 * step**2)) @ mass / (step * math.sqrt(2 * math.pi))
        mass = density * weights * (grid[-1] - grid[0]) / (nodes[-1] - nodes[0])
        places, before, spent_before = grid, share, now
    return tuple(found)
