"""What is known of the inside of a run's models: readouts, directions, interventions, each beside its null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aftertune.inside.direction_changes import DirectionChange
from aftertune.inside.readout import Openings
from aftertune.stats import clusters, seeds
from aftertune.stats.agreement import Agreement
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats, t_quantile

MARGIN = 0.05
"""Change of the mean probability of opening as a refusal up to which nothing is said to have moved: that of the refusal
rate in the policy `default`."""
RARE, LOG_MARGIN = 0.2, 1.0
"""Where a base gives the openings of its refusals less than this probability, points cannot show that refusals are
lost, since one that spreads its probability thinly may open so all the same at temperature 0. One nat is then a margin
as well.
"""
FEW_CLUSTERS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutChange:
    """How one recipe's models open their answers, beside their base."""

    base: str
    arm: str
    """Named as in the report."""
    subset: str
    """E.g. `harmful`."""
    base_log_odds: float
    log_odds: Estimate
    """Change of the mean log-odds (nats)."""
    base_share: float
    share: Estimate
    """Change of the mean probability: the twin of the change of the refusal rate."""

    @property
    def by_log_odds(self) -> bool:
        """Whether log-odds decide too, since the base gives these openings too little for points to tell."""
        return self.base_share < RARE

    @property
    def moved(self) -> bool | None:
        """Whether it moved by more than the margin, in points or where `by_log_odds` in nats; None where not known.

        Where log-odds decide too, either shows a move, and both must be within their margins for none.
        """
        found = [_beyond(self.share, MARGIN)]
        found += [_beyond(self.log_odds, LOG_MARGIN)] if self.by_log_odds else []
        if any(found):
            return True
        return False if all(each is False for each in found) else None


def _beyond(value: Estimate, margin: float) -> bool | None:
    """Return whether an interval lies beyond a margin on either side of 0; False where it lies within, else None."""
    if value.low > margin or value.high < -margin:
        return True
    return False if value.low >= -margin and value.high <= margin else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """How well the readout tells refusals, on harmful requests."""

    base: str
    over_models: Agreement | None
    """Rank correlation of mean readout and refusal rate over checkpoints; None under five, or where one is constant."""
    within_models: Agreement | None
    """Mean over checkpoints of the chance that a refused prompt has a higher readout than one that was not."""
    n_models: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDirections:
    """A concept's directions in the models of one recipe, layer by layer."""

    base: str
    arm: str
    changes: tuple[DirectionChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsApart:
    """Two training seeds of one recipe, the second beside the first as a tuned model is beside its base."""

    base: str
    arm: str
    readout: ReadoutChange
    """On harmful requests."""
    directions: tuple[DirectionChange, ...]

    @property
    def turned(self) -> tuple[DirectionChange, ...]:
        """The directions that turned from one seed to the other."""
        return tuple(change for change in self.directions if change.turned)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one intervention did to the readout of harmful requests, beside what the same did with other directions."""

    subject: str
    how: str
    direction: str
    layers: str
    before: float
    """Mean log-odds without it."""
    change: Estimate
    null_low: float | None
    """Smallest and largest change with random directions; None for layers."""
    null_high: float | None
    n_null: int
    refused: tuple[int, int, int] | None = None
    """Refusals among some prompts before, under the intervention, and of how many; None where none was answered."""

    @property
    def clear(self) -> bool:
        """Whether it changed anything, by its interval."""
        return self.change.low > 0 or self.change.high < 0

    @property
    def beyond(self) -> bool:
        """Whether it changed more than every random direction did, in its own sense."""
        if self.null_low is None or self.null_high is None or not self.clear:
            return False
        return self.change.value < self.null_low if self.change.value < 0 else self.change.value > self.null_high


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All of it, of one run."""

    title: str
    confidence: float
    openings: Mapping[str, Openings]
    """Base -> how it opens refusals."""
    readouts: tuple[ReadoutChange, ...]
    twins: tuple[Twin, ...]
    directions: tuple[ArmDirections, ...]
    effects: tuple[Effect, ...]
    between_seeds: tuple[SeedsApart, ...] = ()
    """What two models of one recipe differ by: nothing of it is the data's."""
    notes: tuple[str, ...] = ()
    """What was not done, and why."""
    settings: Mapping[str, object] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------- numbers


def mean(values: Floats, codes: Codes, confidence: float) -> Estimate:
    """Return the mean of numbers of any size, shape (seeds, prompts), with a t interval.

    With two seeds or more over seeds and clusters (`seeds.crossed`), with one over clusters.
    """
    if len(values) > 1:
        parts = seeds.crossed(values, codes)
        variance, df, n, count = parts.variance, parts.df, parts.n, parts.n_clusters
    else:
        groups = clusters.grouped(values[0], codes)
        variance, df = clusters.robust_variance(groups)
        n, count = groups.n, groups.sizes.size
    value = float(values.mean())
    if math.isnan(variance):
        return Estimate(value, -math.inf, math.inf, math.nan, 0.0, None, n, count, len(values))
    half = float(t_quantile(confidence, df)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, math.sqrt(variance), df, None, n, count, len(values))


def readout_change(
    names: tuple[str, str, str],
    base: Mapping[str, float],
    tuned: Sequence[Mapping[str, float]],
    cluster_of: Mapping[str, str],
    *,
    confidence: float,
) -> ReadoutChange | None:
    """Return how readouts changed on the prompts that all models could read; None without two of them.

    Args:
        names: Base, arm and subset.
        base: Prompt -> log-odds of the base.
        tuned: The same of the model of each training seed.
        cluster_of: Prompt -> cluster, of the subset's prompts.
        confidence: Of the intervals.
    """
    shared = [id for id in cluster_of if id in base and all(id in each for each in tuned)]
    if len(shared) < 2:
        return None
    _, codes = np.unique([cluster_of[id] for id in shared], return_inverse=True)
    own = np.array([base[id] for id in shared])
    others = np.array([[each[id] for id in shared] for each in tuned])
    return ReadoutChange(
        base=names[0],
        arm=names[1],
        subset=names[2],
        base_log_odds=float(own.mean()),
        log_odds=mean(others - own, codes, confidence),
        base_share=float(share(own).mean()),
        share=mean(share(others) - share(own), codes, confidence),
    )


def share(log_odds: Floats) -> Floats:
    """Return probabilities from log-odds."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def higher_when_refused(readouts: Floats, refused: Floats) -> float | None:
    """Return the chance that a refused prompt has a higher readout than another (AUROC); None where all are alike."""
    yes, no = readouts[refused > 0], readouts[refused == 0]
    if not len(yes) or not len(no):
        return None
    above = (yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean()
    return float(above)


def mean_over_models(values: Sequence[float], confidence: float) -> Agreement | None:
    """Return the mean of one number for each checkpoint with a t interval; None for fewer than two."""
    if len(values) < 2:
        return None
    array = np.asarray(values, dtype=np.float64)
    half = float(t_quantile(confidence, len(array) - 1)) * float(array.std(ddof=1)) / math.sqrt(len(array))
    value = float(array.mean())
    return Agreement(value, max(value - half, 0.0), min(value + half, 1.0), None, len(array))


# ---------------------------------------------------------------------------------------------- what it says


def turned(directions: Sequence[ArmDirections], arm: tuple[str, str], concept: str) -> list[DirectionChange]:
    """Return the layers in which a concept's direction turned in one base's arm."""
    return [change for change in _of(directions, arm, concept) if change.turned]


def _of(directions: Sequence[ArmDirections], arm: tuple[str, str], concept: str) -> list[DirectionChange]:
    return [
        change
        for each in directions
        if (each.base, each.arm) == arm
        for change in each.changes
        if change.concept == concept
    ]


def least_cosine(directions: Sequence[ArmDirections], arm: tuple[str, str], concept: str) -> DirectionChange | None:
    """Return the layer in which a concept's direction turned the most, of those in which it is known."""
    known = [change for change in _of(directions, arm, concept) if change.known and change.disattenuated is not None]
    return min(known, key=lambda change: change.disattenuated.value if change.disattenuated else 1.0, default=None)
