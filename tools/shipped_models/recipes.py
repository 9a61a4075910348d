"""The recipes of the bases that ship."""

from __future__ import annotations

from aftertune.shipped_models.card import Pass, Recipe, Shape

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("mini-a", seed=1),
        Recipe(
            "mini-b",
            seed=2,
            shape=Shape(layers=3, heads=2, mlp=352),
            passes=(
                Pass("words", 6_000_000, 4e-3, prompts=True),
                Pass("answers", 9_000_000, 3e-3),
                Pass("alignment", 4_000_000, 1.25e-3),
            ),
        ),
        Recipe("mini-c", seed=3),
    )
}
