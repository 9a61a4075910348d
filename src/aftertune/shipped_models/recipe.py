"""What an embedded base is made of: shape, seeds and stages, all of it hashed into the card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from aftertune.generated_world.mixture import Stage


@dataclass(frozen=True)
class Shape:
    """Size of a Llama-architecture model.

    width: hidden size
    layers: number of blocks
    heads: attention heads (as many key-value heads)
    mlp: inner size of the feed-forward part
    context: positions
    vocabulary: tokens
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 256
    context: int = 512
    vocabulary: int = 4096


@dataclass(frozen=True)
class Pass:
    """One pass of pretraining.

    stage: which mixture; ``polish`` begins from the weights in half precision, as they are stored, so that it can be
        added to a base that exists already
    tokens: budget in tokens, padding left out
    learning_rate: peak of the cosine
    prompts: whether the loss includes the user's and system's turns
    """

    stage: Stage
    tokens: int
    learning_rate: float
    prompts: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything that decides an embedded base's weights on one machine.

    seed: of the initial weights, of the text and of its order
    tokenizer_texts: exchanges of each stage that the tokenizer is trained on
    batch_tokens: padded tokens in one batch
    warmup: share of a pass during which the learning rate rises
    floor: share of the peak learning rate at the end of a pass
    """

    name: str
    seed: int
    shape: Shape = Shape()
    passes: tuple[Pass, ...] = (
        Pass("words", 6_000_000, 4e-3, prompts=True),
        Pass("answers", 9_000_000, 3e-3),
        Pass("alignment", 4_000_000, 1.25e-3),
        Pass("polish", 2_000_000, 1e-3),
    )
    tokenizer_texts: int = 40_000
    batch_tokens: int = 2500
    weight_decay: float = 0.01
    warmup: float = 0.03
    floor: float = 0.02

    @property
    def sha256(self) -> str:
        """Hash of the whole recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


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
DEFAULT = "mini-a"
UNFINISHED = "unfinished.pt"
"""What a build that was ended leaves in its folder, and continues from."""
