"""The terms of a contrast: as a formula, and the arms, recipes and epochs that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.records import Contrast

Group = tuple[str, str, int | None]
"""Arm, recipe and epoch: checkpoints that differ in their training seed only."""


def formula(contrast: Contrast) -> str:
    """Return a contrast as `Drift.arm` has it, e.g. `keep - placeholder` or `0.5 a + 0.5 b - c`."""
    terms = sorted(((arm, w) for arm, w in contrast.weights.items() if w), key=lambda term: term[1] < 0)
    parts = [f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w):g} '}{arm}" for arm, w in terms]
    return " ".join(parts).removeprefix("+ ")


def settings(terms: Sequence[str], groups: Sequence[Group]) -> list[tuple[str, int | None, list[Group]]]:
    """Return (recipe, epoch, group of each term) for each way in which a contrast can be made.

    A term `arm/recipe` stands for that recipe; a term `arm` for each recipe in turn that all such arms have, or for
    each recipe of any of them where they share none. Where all terms name recipes and these differ, `recipe` is empty.
    Epochs are those that all terms have; where they share none (recipes of different lengths), each term is at its own
    last epoch and `epoch` is None.
    """
    arms = {key[0] for key in groups}
    named = [(term,) if term in arms else tuple(term.rsplit("/", 1)) for term in terms]
    own = [{key[1] for key in groups if key[0] == name[0]} for name in named if len(name) == 1]
    recipes = set.intersection(*own) or set.union(*own) if own else {""}
    rows: list[tuple[str, int | None, list[Group]]] = []
    for recipe in sorted(recipes):
        pairs = [(name[0], name[1] if len(name) > 1 else recipe) for name in named]
        epochs = [{key[2] for key in groups if key[:2] == pair} for pair in pairs]
        common = set.intersection(*epochs)
        name = recipe or (pairs[0][1] if len({pair[1] for pair in pairs}) == 1 else "")
        if common or not all(epochs):
            for epoch in sorted(common or set.union(*epochs), key=lambda epoch: epoch or 0):
                rows.append((name, epoch, [(*pair, epoch) for pair in pairs]))
        else:
            last = [max(group, key=lambda epoch: epoch or 0) for group in epochs]
            rows.append((name, None, [(*pair, epoch) for pair, epoch in zip(pairs, last, strict=True)]))
    return rows
