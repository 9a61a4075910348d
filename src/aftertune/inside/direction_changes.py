"""What a recipe's models did to the directions of some concepts, layer by layer, beside nulls and ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.inside.analysis import Activations
from aftertune.inside.concepts import FIRST
from aftertune.stats import directions
from aftertune.stats.clusters import Codes
from aftertune.stats.directions import Range, RecipeComparison
from aftertune.stats.estimate import Estimate, Floats
from aftertune.stats.multiplicity import holm

ALPHA = 0.05
LEAST_RELIABILITY = 0.5
"""Below this a disattenuated cosine is not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionChange:
    """One concept's direction in one layer of a recipe's models, beside the base's."""

    concept: str
    layer: int
    """The output of this layer, from 1."""
    reliability: tuple[float, float]
    """Of the base's direction and of the tuned models' on average: the share of its squared length that is no noise."""
    cosine: Estimate
    """Between directions from different prompts; noise makes it lower than `ceiling`."""
    ceiling: float | None
    """The cosine of two such estimates of one and the same direction."""
    disattenuated: Estimate | None
    """`cosine` over `ceiling`: 1 where the direction has not turned; None without a direction."""
    length_ratio: Estimate | None
    """Length of the tuned direction over the base's."""
    same_prompts: Estimate
    """The cosine with both directions from the same prompts."""
    shuffled: Range
    """95 % of such cosines with shuffled labels."""
    random: Range
    """95 % of the cosines between the base's direction and random ones with the covariance of the tuned activations."""
    p: float
    """Of shuffled labels, Holm's over the concept's layers: whether this direction turned more than others."""
    least_p: float
    """The lowest `p` that so many clusters, shuffles and layers can give."""
    n_pairs: int
    n_clusters: int
    n_seeds: int

    @property
    def known(self) -> bool:
        """Whether both directions are more than noise."""
        return self.disattenuated is not None and min(self.reliability) >= LEAST_RELIABILITY

    @property
    def tellable(self) -> bool:
        """Whether it could be told that it turned: few clusters have no shuffles that are rare enough."""
        return self.least_p < ALPHA

    @property
    def turned(self) -> bool:
        """Whether it turned: its cosine is clear of 1, and it turned more than shuffled labels do."""
        return self.clear_of_one and self.p < ALPHA

    @property
    def clear_of_one(self) -> bool:
        """Whether the interval of the disattenuated cosine ends below 1."""
        return self.known and self.disattenuated is not None and self.disattenuated.high < 1


def direction_changes(
    base: Activations,
    tuned: Sequence[Activations],
    concept: str,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    shuffles: int = directions.SHUFFLES,
) -> list[DirectionChange]:
    """Return what became of a concept's direction in each layer; none where the concept's pairs have one cluster only.

    Args:
        base: Activations of the base on the pairs of all concepts.
        tuned: Those of the model of each training seed, on the same prompts in the same order.
        concept: Which pairs; their ids begin with it.
        rng: Generator for the nulls.
        confidence: Of the intervals.
        shuffles: Draws of each null.
    """
    first, second, codes = sides(base, concept)
    count = len(np.unique(codes))
    if count < 2:
        return []
    made: list[tuple[int, RecipeComparison, Range]] = []
    for layer in range(1, base.values.shape[1]):
        own, *others = (
            each.values[first, layer].astype(np.float64) - each.values[second, layer] for each in (base, *tuned)
        )
        try:
            compared = directions.compare_recipe(own, others, codes, rng, confidence=confidence, shuffles=shuffles)
        except ValueError:
            continue  # the prompts of each pair give the same activations: nothing tells them apart in this layer
        centred = np.concatenate([_centred(each, side, layer) for each in tuned for side in (first, second)])
        made.append((layer, compared, directions.random_cosines(own.mean(axis=0), centred, rng)))
    adjusted = holm([compared.p for _, compared, _ in made])
    least = min(len(made) * directions.least_p(count, shuffles), 1.0)
    return [
        DirectionChange(
            concept=concept,
            layer=layer,
            reliability=compared.reliability,
            cosine=compared.cosine,
            ceiling=compared.ceiling,
            disattenuated=compared.disattenuated,
            length_ratio=compared.length_ratio,
            same_prompts=compared.same_prompts,
            shuffled=compared.same_prompts_null,
            random=random,
            p=p,
            least_p=least,
            n_pairs=len(first),
            n_clusters=count,
            n_seeds=len(tuned),
        )
        for (layer, compared, random), p in zip(made, adjusted, strict=True)
    ]


def sides(activations: Activations, concept: str) -> tuple[list[int], list[int], Codes]:
    """Return the rows of a concept's first and second prompts, pair by pair, and the cluster of each pair."""
    own = [index for index, prompt in enumerate(activations.prompts) if prompt.pair.rpartition("-")[0] == concept]
    first = {activations.prompts[index].pair: index for index in own if activations.prompts[index].side == FIRST}
    second = {activations.prompts[index].pair: index for index in own if activations.prompts[index].side != FIRST}
    pairs = [pair for pair in first if pair in second]
    _, codes = np.unique([activations.prompts[first[pair]].cluster for pair in pairs], return_inverse=True)
    return [first[pair] for pair in pairs], [second[pair] for pair in pairs], codes.astype(np.int64)


def _centred(activations: Activations, rows: Sequence[int], layer: int) -> Floats:
    values = activations.values[list(rows), layer].astype(np.float64)
    return np.asarray(values - values.mean(axis=0))
