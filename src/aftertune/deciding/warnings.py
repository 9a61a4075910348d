"""Why not to trust a number fully, in words: small samples, unjudged answers, unknown training seeds."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.numbers import count
from aftertune.stats.estimate import Estimate

FEW_PROMPTS, FEW_CLUSTERS, FEW_SEEDS = 100, 10, 5
"""Below these a row carries a warning."""
UNJUDGED = 0.05
"""Share of unjudged answers of an arm above which a row carries a warning."""


def recipe_refusal(train_seed: int | None) -> str:
    """Return why one checkpoint says nothing about its recipe."""
    if train_seed is None:
        return "its training seed is unknown: says nothing about the recipe"
    return "one training seed: says nothing about the recipe, which needs at least two"


def sizes(estimate: Estimate | None) -> list[str]:
    """Return which sample sizes behind an estimate are small."""
    if estimate is None:
        return []
    few = [f"only {count(estimate.n, 'prompt')}"] if estimate.n < FEW_PROMPTS else []
    if estimate.n_clusters == 1 < estimate.n:
        few.append("one cluster: how clusters differ cannot be known, so every value is possible")
    elif estimate.n_clusters < min(FEW_CLUSTERS, estimate.n):
        few.append(f"only {count(estimate.n_clusters, 'cluster')}")
    if 1 < estimate.n_seeds < FEW_SEEDS:
        few.append(f"only {estimate.n_seeds} training seeds")
    return few


def unjudged_share(unjudged: int, asked: int, arm: str) -> list[str]:
    """Return how many answers of an arm could not be judged, where there are many."""
    if unjudged <= UNJUDGED * asked:
        return []
    return [f"{unjudged:,} of {asked:,} answers of '{arm}' could not be judged"]


def unseen_share(unseen: int, asked: int, arm: str) -> list[str]:
    """Return how many answers of an arm the model did not make, where there are any."""
    if not unseen:
        return []
    return [f"{unseen:,} of {asked:,} answers of '{arm}' were made by the server or its filter, not by the model"]


def as_text(warnings: Sequence[str]) -> str:
    """Return warnings as one text, each once."""
    return "; ".join(dict.fromkeys(text for text in warnings if text))
