"""Confidence sequences: intervals that hold at all times at once, so that one may look after every batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aftertune.stats.estimate import Floats

GRID = 2001
"""Candidate means; limits are rounded outwards to the next one."""
TRUNCATE = 0.5
"""Largest share of the wealth that a bet may lose."""


@dataclass
class ConfidenceSequence:
    """An anytime-valid interval for the mean of paired differences in [-scale, scale], fed cluster by cluster.

    Hedged capital (Waudby-Smith and Ramdas, JRSS B 86 (2024) 1-27, section 4; arXiv 2010.09686): for each candidate
    mean m one gambler bets that the truth is above and another that it is below, each with a stake that depends only on
    the past; m is excluded once one of them has multiplied its wealth by 2 / (1 - confidence), which ever happens to
    the true mean with a chance of at most 1 - confidence. One observation is one cluster: the sum of (difference - m)
    over its prompts, divided by the largest allowed cluster size. So the mean over prompts is estimated, however
    clusters differ in size, and nothing is assumed about the dependence within a cluster.

    The clusters must come in an order that does not depend on their outcomes: shuffle them first. The price of looking
    at any time is an interval about 1.3 to 1.6 times as wide as a fixed one at the same number of prompts; what it
    saves is every prompt after the answer is clear.
    """

    largest: int = 1
    """Number of prompts of the largest cluster; 1 for independent prompts."""
    confidence: float = 0.95
    scale: float = 1.0
    n: int = field(default=0, init=False)
    """Prompts so far."""
    n_clusters: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        if self.largest < 1 or not 0 < self.confidence < 1 or self.scale <= 0:
            raise ValueError("need largest >= 1, 0 < confidence < 1 and scale > 0")
        self._means = np.linspace(0.0, 1.0, GRID)  # on the scale where -scale is 0 and scale is 1
        self._log = np.zeros((2, GRID))
        self._inside = np.ones(GRID, dtype=bool)
        self._total, self._weight, self._squares = 0.0, 0.0, 0.0

    def add(self, differences: Floats) -> None:
        """Add the next cluster: the paired differences of its prompts, shape (prompts,).

        Raises ValueError for an empty or too large cluster, or a difference outside [-scale, scale].
        """
        size = differences.size
        if differences.ndim != 1 or not 1 <= size <= self.largest:
            raise ValueError(f"a cluster must have 1 to {self.largest} prompts, got {differences.shape}")
        if not (np.isfinite(differences).all() and np.abs(differences).max() <= self.scale * (1 + 1e-12)):
            raise ValueError(f"differences must lie in [-{self.scale:g}, {self.scale:g}]")
        weight = size / self.largest
        value = float(np.clip((differences.mean() / self.scale + 1) / 2, 0.0, 1.0))
        # Stakes depend on the past only: its mean and spread, each with one pseudo-observation.
        t = self.n_clusters + 1
        spread = (0.25 + self._squares) / t
        stake = math.sqrt(2 * math.log(2 / (1 - self.confidence)) / (spread * t * math.log(1 + t)))
        means = self._means
        with np.errstate(divide="ignore"):
            up = np.minimum(stake, TRUNCATE / means)
            down = np.minimum(stake, TRUNCATE / (1 - means))
        step = weight * (value - means)
        # At the ends of the scale one of the stakes has no bound of its own; `stake` bounds it.
        self._log[0] += np.log1p(up * step)
        self._log[1] += np.log1p(-down * step)
        inside = self._inside & (self._log.max(axis=0) < math.log(2 / (1 - self.confidence)))
        # If nothing is left the evidence contradicts itself (a chance of at most 1 - confidence): the last set stays.
        self._inside = inside if inside.any() else self._inside
        self._total += weight * value
        self._weight += weight
        centre = (0.5 + self._total) / (1 + self._weight)
        self._squares += (weight * (value - centre)) ** 2
        self.n += size
        self.n_clusters = t

    @property
    def mean(self) -> float:
        """Mean difference over the prompts so far; NaN before the first."""
        return (2 * self._total / self._weight - 1) * self.scale if self._weight else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The current limits: never wider than before, and the whole scale before the first cluster."""
        inside = np.flatnonzero(self._inside)
        low, high = max(inside[0] - 1, 0), min(inside[-1] + 1, GRID - 1)
        return float(2 * self._means[low] - 1) * self.scale, float(2 * self._means[high] - 1) * self.scale

    def decision(self, margin: float, worse: Literal["up", "down"]) -> Literal["pass", "drift", "continue"]:
        """Return whether the interval is within the margin, beyond it, or neither yet.

        Asking after every batch and stopping at the first answer keeps both error rates at 1 - confidence or less
        overall. Raises ValueError for a negative margin.
        """
        if margin < 0:
            raise ValueError(f"margin must not be negative, got {margin}")
        low, high = self.interval if worse == "up" else (-self.interval[1], -self.interval[0])
        if high <= margin:
            return "pass"
        return "drift" if low > margin else "continue"


def confidence_sequence(
    groups: Sequence[Floats], *, confidence: float = 0.95, scale: float = 1.0
) -> tuple[Floats, Floats]:
    """Return the limits of a `ConfidenceSequence` after each cluster, shape (clusters,) each. Raises as it does."""
    sequence = ConfidenceSequence(max((group.size for group in groups), default=1), confidence, scale)
    limits = []
    for group in groups:
        sequence.add(group)
        limits.append(sequence.interval)
    lows, highs = np.array(limits, dtype=np.float64).reshape(-1, 2).T
    return lows, highs
