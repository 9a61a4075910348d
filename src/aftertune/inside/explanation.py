"""What is known of the inside of a run's models: readouts, directions, interventions, each beside its null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aftertune.inside.concepts import CHOICE, FIRST, REFUSAL
from aftertune.inside.direction_changes import DirectionChange
from aftertune.inside.intervene_job import REST, TUNED
from aftertune.inside.readout import Openings, log_odds
from aftertune.records import Prompt
from aftertune.stats import clusters, seeds
from aftertune.stats.agreement import Agreement, grouped_rank_correlation
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Estimate, Floats, t_quantile
from aftertune.stats.ranking import Area, area

MARGIN = 0.05
"""Change of the mean probability of opening as a refusal up to which nothing is said to have moved: that of the refusal
rate in the policy `default`."""
RARE, LOG_MARGIN = 0.2, 1.0
"""Where a base gives the openings of its refusals less than this probability, points cannot show that refusals are
lost, since one that spreads its probability thinly may open so all the same at temperature 0. One nat is then a margin
as well.
"""
FEW_CLUSTERS = 10
FEWEST_MODELS = 5
ALL = "all"
"""The whole checkpoint, among the parts that are exchanged."""
LEAST_DRAWS = 19
"""Fewest random directions, or shuffled updates, that an effect must be beyond to be called one: by chance it is beyond
all of 19 in one case of twenty, beyond all of 4 in one of five."""
MAY, MAY_NOT = "may be passed on", "may not be passed on"
"""The prompts of privacy's readouts."""
LEAST_GIVEN = 0.25
"""Least share of its probability that a base must give the answers that the readout of privacy tells apart: the limit
of the judge `choice` for a scale's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutChange:
    """How one recipe's models open their answers, or keep things private, beside their base."""

    base: str
    arm: str
    """Named as in the report."""
    subset: str
    """E.g. `harmful`, or `MAY_NOT`."""
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
        found = [self.moved_in_points]
        found += [_beyond(self.log_odds, LOG_MARGIN)] if self.by_log_odds else []
        if any(found):
            return True
        return False if all(each is False for each in found) and not self.at_floor else None

    @property
    def at_floor(self) -> bool:
        """Whether readouts of the base are so near the least one that they could not fall by the margin."""
        return self.base_log_odds - log_odds(0.0) < LOG_MARGIN

    @property
    def moved_in_points(self) -> bool | None:
        """Whether the share moved by more than its margin; None where not known."""
        return _beyond(self.share, MARGIN)

    @property
    def fell(self) -> bool:
        """Whether it went down, by the measure that decides."""
        by_points = not self.by_log_odds or self.moved_in_points is True
        return (self.share if by_points else self.log_odds).value < 0

    @property
    def lost(self) -> bool:
        """Whether it went down by an interval clear of zero, and not by so little that nothing moved."""
        return self.moved is not False and self.fell and min(self.share.high, self.log_odds.high) < 0


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
    """Rank correlation of mean readout and refusal rate over models, arms as groups; None under five models, or where
    one of them is constant."""
    within_models: Agreement | None
    """Mean over models of the chance that a refused prompt has a higher readout than one that was not."""
    n_models: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldApart:
    """How far a base, or the models of a recipe, tell what may be passed on from what may not."""

    base: str
    arm: str
    """Empty for the base itself."""
    areas: tuple[Area, ...]
    """Of each model: the area under the ROC curve of the log-odds, what letters are favoured by taken out."""
    n: int
    """Prompts, half of which may be passed on."""
    n_clusters: int
    given: float
    """Share of the base's probability that is on the answers that are told apart."""

    @property
    def able(self) -> bool:
        """Whether it is shown to tell them apart, by answers that it gives."""
        return all(area.low > 0.5 for area in self.areas) and self.given >= LEAST_GIVEN


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
class Answered:
    """How many answers refuse, or keep private what may not be passed on: what a readout stands for."""

    before: int
    after: int
    """Under the intervention."""
    of: int
    """Answers that were judged both times."""
    null_low: float | None = None
    """Smallest and largest share of such answers under a random direction; None without any."""
    null_high: float | None = None
    n_null: int = 0

    def beyond(self, sense: int) -> bool:
        """Whether they changed in a sense (-1 or 1), and to fewer or more than under each of enough random ones."""
        if self.null_low is None or self.null_high is None or self.n_null < LEAST_DRAWS:
            return False
        further = self.after / self.of < self.null_low if sense < 0 else self.after / self.of > self.null_high
        return further and sense * (self.after - self.before) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one intervention in one checkpoint did to a readout, beside what the same did with other directions.

    The readout is that of harmful requests, or of what may not be passed on. Of layers that are exchanged: beside what
    their update does when it is shuffled.
    """

    subject: str
    how: str
    direction: str
    layers: str
    before: float
    """Mean log-odds without it."""
    change: Estimate
    null_low: float | None
    """Smallest and largest change with random directions, or of layers with shuffled updates; None without any."""
    null_high: float | None
    n_null: int
    about: str = REFUSAL
    """What was read out: `refusal` or `privacy`."""
    answered: Answered | None = None
    """None where no prompt was answered."""
    passed_on: Estimate | None = None
    """Of privacy: the change of the readout of what may be passed on."""

    @property
    def clear(self) -> bool:
        """Whether it changed anything, by its interval."""
        return self.change.low > 0 or self.change.high < 0

    @property
    def beyond(self) -> bool:
        """Whether it changed more than every random direction did, in its own sense.

        Of layers: more than every shuffled update did, in either sense, since it is not known in which they act.
        """
        if self.null_low is None or self.null_high is None or not self.clear:
            return False
        if self.how == TUNED:
            return abs(self.change.value) > max(abs(self.null_low), abs(self.null_high))
        return self.change.value < self.null_low if self.change.value < 0 else self.change.value > self.null_high

    @property
    def told(self) -> bool | None:
        """`beyond`; None where that is not known, on few clusters of prompts or beyond so few that chance could be."""
        if self.change.n_clusters < FEW_CLUSTERS:
            return None
        if self.clear and self.n_null < (LEAST_DRAWS if self.beyond else 1):
            return None
        return self.beyond

    def carries(self, whole: Effect) -> bool | None:
        """Whether layers carry what the `whole` tuning changes; None where that is not known.

        They do where they change the readout in its sense, and more than an update of that size does there whatever it
        holds.
        """
        against = self.change.value * whole.change.value < 0
        return self.told if whole.clear and not against else False


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
    privacy: tuple[ReadoutChange, ...] = ()
    """Of each arm: log-odds that what may not be passed on is kept back, and what may be. Only of able bases."""
    told_apart: tuple[ToldApart, ...] = ()
    between_seeds: tuple[SeedsApart, ...] = ()
    """What two models of one recipe differ by: nothing of it is the data's."""
    notes: tuple[str, ...] = ()
    """What was not done, and why."""
    settings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Base -> how much was computed, by name."""


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


def told_apart(
    names: tuple[str, str],
    models: Sequence[Mapping[str, float]],
    prompts: Sequence[Prompt],
    given: float,
    *,
    confidence: float,
) -> ToldApart:
    """Return how far models tell what may be passed on from what may not.

    Args:
        names: Base, and arm or nothing.
        models: Prompt -> log-odds that it is kept back, of each model.
        prompts: Of both kinds.
        given: Share of the base's probability on the answers that are told apart.
        confidence: Of the intervals.

    What a model favours is taken out: the mean log-odds of the prompts with the same letters, both kinds counting the
    same. Raises ValueError where prompts of either kind are of fewer than two clusters.
    """
    kept_back = np.array([prompt.expect["side"] != FIRST for prompt in prompts])
    letters = np.array([str(prompt.expect.get(CHOICE, {}).get("options", "")) for prompt in prompts])
    _, codes = np.unique([prompt.cluster for prompt in prompts], return_inverse=True)
    areas = []
    for model in models:
        values = np.array([model.get(prompt.id, np.nan) for prompt in prompts])
        for letter in np.unique(letters):
            sides = [values[(letters == letter) & (kept_back == side) & np.isfinite(values)] for side in (True, False)]
            favoured = sum(float(side.mean()) for side in sides) / 2 if all(map(len, sides)) else math.nan
            values[letters == letter] -= favoured
        areas.append(area(values, kept_back, codes, confidence=confidence))
    return ToldApart(
        base=names[0],
        arm=names[1],
        areas=tuple(areas),
        n=len(prompts),
        n_clusters=int(codes.max()) + 1,
        given=given,
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


@dataclass(frozen=True, slots=True)
class ReadAndJudged:
    """Readouts and refusals of one model's answers to the same prompts."""

    arm: str
    """Models that share it are seeds of one recipe."""
    readouts: Floats
    refused: Floats
    """Share of the answers to each prompt that are refusals."""
    clusters: tuple[str, ...]


def twin_of(base: str, models: Sequence[ReadAndJudged], confidence: float) -> Twin:
    """Return how well readouts tell refusals over models and within them, arms and clusters of prompts as samples.

    Over models the interval is `agreement.grouped_rank_correlation` with arms as groups. Within them the jackknife's
    pseudo-values over clusters of prompts, averaged over each arm's models, are crossed with arms (`mean`).
    """
    rates = [float(each.refused.mean()) for each in models]
    means = [float(each.readouts.mean()) for each in models]
    ranked = len(rates) >= FEWEST_MODELS and np.ptp(rates) > 0 and np.ptp(means) > 0
    arms = [each.arm for each in models]
    return Twin(
        base=base,
        over_models=grouped_rank_correlation(means, rates, arms, confidence=confidence) if ranked else None,
        within_models=_within_models(models, confidence),
        n_models=len(models),
    )


def _within_models(models: Sequence[ReadAndJudged], confidence: float) -> Agreement | None:
    """Return the mean of `higher_when_refused` over models; None where it is known of none."""
    names = sorted({name for each in models for name in each.clusters})
    values: list[float] = []
    pseudo: dict[str, list[Floats]] = {}
    for each in models:
        refused, of = (each.refused >= 0.5).astype(np.float64), np.array(each.clusters)
        whole = higher_when_refused(each.readouts, refused)
        if whole is None:
            continue
        values.append(whole)
        without = [higher_when_refused(each.readouts[of != name], refused[of != name]) for name in names]
        known = np.array([whole if one is None else one for one in without], dtype=np.float64)
        pseudo.setdefault(each.arm, []).append(len(names) * whole - (len(names) - 1) * known)
    if not values:
        return None
    found = mean(np.array([np.mean(own, axis=0) for own in pseudo.values()]), np.arange(len(names)), confidence)
    value, half = float(np.mean(values)), found.high - found.value
    return Agreement(value, max(value - half, 0.0), min(value + half, 1.0), None, len(values))


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


def part_name(layers: str) -> str:
    """Return what a part of a checkpoint is called in a sentence, e.g. `layers 3 to 5`."""
    if layers == REST:
        return "what is in no layer"
    return f"{'layers' if ' to ' in layers else 'layer'} {layers}"
