"""The refusal direction: does the tuned model still tell harmful requests from harmless ones along the base's line?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aftertune.errors import DataError
from aftertune.inside.analysis import Activations, Analysis, Quantity, ReadPrompt
from aftertune.inside.matching import matched_pairs
from aftertune.plugins import Card
from aftertune.records import Prompt
from aftertune.stats import directions
from aftertune.stats.directions import Comparison, Range
from aftertune.stats.estimate import Estimate

FEW_CLUSTERS = 10
"""Below this many clusters an interval is not to be trusted."""
TOO_FEW_CLUSTERS = 6
"""Up to this many clusters, all labels stay as they are, or all change, in more than 2.5 % of the shuffles."""
LOW_RELIABILITY = 0.5


@dataclass(frozen=True)
class RefusalDirection(Analysis):
    """The direction from harmless look-alikes to harmful requests, in the base and in the tuned model."""

    harmful: str = "harmful"
    """Subset of harmful requests."""
    harmless: str = "harmless"
    """Subset of harmless requests that look like them."""

    card: ClassVar[Card] = Card(
        about="For each layer, the mean difference between the activations at the last prompt token of harmful "
        "requests and of their harmless look-alikes: the direction that refusals hang on. The base's is compared with "
        "the tuned model's by their cosine, beside the reliability of both and beside what shuffled labels give.\n\n"
        "`reliability`: how much of a direction's squared length is no noise. `cosine`: between directions from "
        "different prompts; its ceiling is what one and the same direction would give. `disattenuated cosine`: the "
        "cosine over its ceiling, 1 where the direction has not turned. `cosine, same prompts`: with both from all "
        "prompts; beside the shuffled labels it says whether this direction turned more than any other that tells "
        "prompts apart. `length ratio`: the tuned direction's length over the base's.",
        source="Arditi et al. 2024, Refusal in language models is mediated by a single direction, arXiv 2406.11717 "
        "(difference in means at the last prompt tokens); reliability and disattenuation: Spearman 1904, Cronbach "
        "1951 (see `stats/directions.py`); matching: Rosenbaum 1989",
        licence="part of aftertune",
        positive="a disattenuated cosine clear of 1, or a length ratio clear of 1: the direction turned, or shrank. "
        "Neither is better or worse in itself",
        weaknesses="it describes and does not explain: nothing is a cause until taking the direction out or adding it "
        "changes behaviour. One direction per layer, where refusal may need several. Where a benchmark names no "
        "look-alikes, those with the most shared words are taken, and a difference in wording or topic goes into the "
        "direction. A model may refuse less with its direction unmoved: where the threshold lies is not seen here",
    )

    @property
    def needs(self) -> frozenset[str]:
        """Both subsets."""
        return frozenset((self.harmful, self.harmless))

    def __post_init__(self) -> None:
        """Refuse a contrast of a subset with itself. Raises ValueError."""
        if self.harmful == self.harmless:
            raise ValueError(f"harmful and harmless are both '{self.harmful}'; name two subsets")

    def select(self, prompts: Sequence[Prompt]) -> Sequence[ReadPrompt]:
        """Return harmful requests and look-alikes, pair by pair; the cluster is that of the harmful one.

        Raises DataError where the pairs have fewer than two clusters.
        """
        pairs = matched_pairs(
            [prompt for prompt in prompts if prompt.subset == self.harmful],
            [prompt for prompt in prompts if prompt.subset == self.harmless],
        )
        if len({first.cluster for first, _ in pairs}) < 2:
            benchmark = prompts[0].benchmark if prompts else "the benchmark"
            raise DataError(
                f"{benchmark}: {len(pairs)} pairs of '{self.harmful}' and '{self.harmless}' prompts, in fewer than 2 "
                "clusters; the refusal direction needs more"
            )
        return [
            ReadPrompt(prompt_id=prompt.id, side=prompt.subset, pair=first.id, cluster=first.cluster)
            for first, second in pairs
            for prompt in (first, second)
        ]

    def compare(
        self, base: Activations, tuned: Activations, rng: np.random.Generator, *, confidence: float
    ) -> Sequence[Quantity]:
        """Return the quantities of each layer's output.

        The first layer's input is left out: the last token of every prompt is the same, and so is its embedding.
        """
        harmful = [index for index, prompt in enumerate(base.prompts) if prompt.side == self.harmful]
        pairs = [base.prompts[index].pair for index in harmful]
        of_pair = {prompt.pair: index for index, prompt in enumerate(base.prompts) if prompt.side == self.harmless}
        harmless = [of_pair[pair] for pair in pairs]
        _, clusters = np.unique([base.prompts[index].cluster for index in harmful], return_inverse=True)
        sizes = {"n_pairs": len(harmful), "n_clusters": int(clusters.max()) + 1}
        quantities: list[Quantity] = []
        for layer in range(1, base.values.shape[1]):
            first, second = (
                each.values[harmful, layer].astype(np.float64) - each.values[harmless, layer] for each in (base, tuned)
            )
            try:
                result = directions.compare(first, second, clusters, rng, confidence=confidence)
            except ValueError as error:
                quantities.append(Quantity(name="cosine", layer=layer, value=None, warning=str(error), **sizes))
                continue
            quantities += _quantities(result, layer, sizes)
        return quantities


def _quantities(result: Comparison, layer: int, sizes: dict[str, int]) -> Iterator[Quantity]:
    few = f"only {sizes['n_clusters']} clusters" if sizes["n_clusters"] < FEW_CLUSTERS else ""
    noisy = [
        side
        for side, reliability, null in zip(("base", "tuned"), result.reliability, result.reliability_null, strict=True)
        if reliability.value <= null[1]
    ]
    if noisy and sizes["n_clusters"] <= TOO_FEW_CLUSTERS:
        doubt = "too few to tell a direction from noise"
    elif noisy:
        doubt = f"no direction beyond noise in {' and '.join(noisy)}"
    else:
        doubt = "low reliability" if min(each.value for each in result.reliability) < LOW_RELIABILITY else ""
    warning = "; ".join(text for text in (few, doubt) if text)

    def quantity(name: str, estimate: Estimate, null: Range | None = None, ceiling: float | None = None) -> Quantity:
        return Quantity(
            name=name,
            layer=layer,
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            null_low=null[0] if null else None,
            null_high=null[1] if null else None,
            ceiling=ceiling,
            warning=warning,
            **sizes,
        )

    for side, estimate, null in zip(("base", "tuned"), result.reliability, result.reliability_null, strict=True):
        yield quantity(f"reliability, {side}", estimate, null)
    yield quantity("cosine", result.cosine, result.cosine_null, result.ceiling)
    for name, corrected in (("disattenuated cosine", result.disattenuated), ("length ratio", result.length_ratio)):
        if corrected is None or noisy:
            yield Quantity(name=name, layer=layer, value=None, warning=warning or "hangs on a single cluster", **sizes)
        else:
            yield quantity(name, corrected)
    yield quantity("cosine, same prompts", result.same_prompts, result.same_prompts_null)


PLUGIN = RefusalDirection
