"""Why not to trust a number fully, in words: what is too few, unjudged or unknown behind it."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.stats.estimate import Estimate

FEW_PROMPTS, FEW_CLUSTERS, FEW_SEEDS = 100, 10, 5
"""Below these a row carries a warning."""
UNJUDGED = 0.05
"""Share of unjudged answers of an arm above which a row carries a warning."""


def recipe_refusal(train_seed: int | None) -> str:
    """Return why nothing is said about a recipe of which one checkpoint is known."""
    if train_seed is None:
        return "its training seed is unknown: says nothing about the recipe"
    return "one training seed: says nothing about the recipe, which needs at least two"


def sizes(found: Estimate | None) -> list[str]:
    """Return what is too few behind an estimate."""
    if found is None:
        return []
    few = [f"only {found.n} prompts"] if found.n < FEW_PROMPTS else []
    if found.n_clusters == 1 < found.n:
        few.append("one cluster: how clusters differ cannot be known, so every value is possible")
    elif found.n_clusters < min(FEW_CLUSTERS, found.n):
        few.append(f"only {found.n_clusters} clusters")
    if 1 < found.n_seeds < FEW_SEEDS:
        few.append(f"only {found.n_seeds} training seeds")
    return few


def unjudged_share(unjudged: int, asked: int, arm: str) -> list[str]:
    """Return that many answers of an arm could not be judged, where they are many."""
    text = f"{unjudged:,} of {asked:,} answers of '{arm}' could not be judged"
    return [text] if unjudged > UNJUDGED * asked else []


def said(warnings: Sequence[str]) -> str:
    """Return warnings as one text, each once."""
    return "; ".join(dict.fromkeys(text for text in warnings if text))
