"""Do scores of training rows predict what models do that were trained without some of them?

Models are trained on random halves of the rows. Scores are good where halves whose rows have high ones give models with
high outcomes: the linear datamodelling score (Park et al. 2023, TRAK, arXiv 2303.14186, section 2). Training seeds move
the outcome too, so that even the true influences do not predict it fully: the ceiling is what one seed's outcomes
predict of another's. How many halves it takes to tell anything is said beforehand by `halves_needed`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from aftertune.stats.agreement import Agreement, rank_correlation
from aftertune.stats.estimate import Floats


@dataclass(frozen=True, slots=True)
class RowScore:
    """How well scores of rows predict the outcomes of models that were trained on halves."""

    correlation: Agreement
    """Rank correlation over halves of the summed scores with the outcome, averaged over seeds."""
    reliability: float | None
    """Of that average: 1 where seeds agree fully; None with one seed, where nobody knows."""
    ceiling: float | None
    """The correlation that the true influences would have: the square root of `reliability`; None as above."""

    @property
    def tells(self) -> bool:
        """Whether the scores predict anything, by the interval."""
        return self.correlation.low > 0 or self.correlation.high < 0


def row_score(scores: Floats, members: Floats, outcomes: Floats, *, confidence: float = 0.95) -> RowScore:
    """Return how well scores of rows predict outcomes.

    Args:
        scores: One number for each row, shape (rows,).
        members: 1 where a half holds a row, else 0; shape (halves, rows).
        outcomes: E.g. the mean readout of harmful requests; shape (halves, seeds).
        confidence: Of the interval, which is that of `agreement.rank_correlation` over halves.

    The reliability of one seed is the mean correlation between the outcomes of two seeds over halves; that of the
    average follows by Spearman and Brown (British Journal of Psychology 3 (1910) 271-322). Raises ValueError for wrong
    shapes, fewer than five halves, or sums or a seed's outcomes that are all alike.
    """
    if scores.ndim != 1 or members.shape[1:] != scores.shape or outcomes.shape[:1] != members.shape[:1]:
        raise ValueError(
            f"need (rows,), (halves, rows), (halves, seeds): {scores.shape}, {members.shape}, {outcomes.shape}"
        )
    if outcomes.ndim != 2:
        raise ValueError("outcomes need the shape (halves, seeds)")
    correlation = rank_correlation(members @ scores, outcomes.mean(axis=1), confidence=confidence)
    seeds = outcomes.shape[1]
    if seeds < 2:
        return RowScore(correlation, None, None)
    alike = np.flatnonzero(np.ptp(outcomes, axis=0) == 0)
    if alike.size:
        raise ValueError(f"seed number {int(alike[0]) + 1} has the same outcome on every half: it agrees with none")
    between = np.asarray(np.corrcoef(outcomes.T))
    one = float(between[np.triu_indices(seeds, 1)].mean())
    reliability = averaged(one, seeds) if one > 0 else 0.0
    return RowScore(correlation, reliability, math.sqrt(reliability))


def averaged(reliability: float, seeds: int) -> float:
    """Return the reliability of the mean of some seeds from that of one (Spearman and Brown)."""
    return seeds * reliability / (1 + (seeds - 1) * reliability)


def halves_needed(
    correlation: float, reliability: float, *, seeds: int = 1, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Return how many random halves it takes to tell scores from nothing.

    Args:
        correlation: Between the scores' sums and what the halves would do without any noise of seeds.
        reliability: Correlation between the outcomes of two seeds over halves.
        seeds: Trainings of each half, whose outcomes are averaged.
        power: Chance that the interval then excludes 0.
        confidence: Of that interval.

    What is seen is `correlation` x the square root of the reliability of the mean; a rank correlation of normal numbers
    is 6/pi asin(r/2) (Kendall and Stuart), and the number follows from Fisher's z with the standard error of Bonett and
    Wright, as in `agreement.rank_correlation`.
    Raises ValueError for a correlation or reliability that is not above 0 and below 1, or no seed.
    """
    if not (0 < correlation < 1 and 0 < reliability < 1):
        raise ValueError(f"correlation {correlation} and reliability {reliability} must lie between 0 and 1")
    if seeds < 1:
        raise ValueError(f"seeds = {seeds}: give 1 or more")
    seen = 6 / math.pi * math.asin(correlation * math.sqrt(averaged(reliability, seeds)) / 2)
    wanted = float(special.ndtri(0.5 + confidence / 2) + stats.norm.ppf(power))
    return math.ceil((1 + seen**2 / 2) * (wanted / math.atanh(seen)) ** 2 + 3)
