"""Interpolation towards the base: a share of the update, as further checkpoints of one training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Stage, Training, TunedWeights

_LORA_B = re.compile(r"\.lora_(embedding_)?B(\.|$)")


@dataclass(frozen=True)
class Interpolation(Mitigation):
    """Checkpoints between the base and the tuned model."""

    card: ClassVar[Card] = Card(
        about=(
            "Weights on the line between base and tuned model: W = W_base + share x (W_tuned - W_base). A LoRA "
            "adapter's update B A is scaled through B; full models are interpolated tensor by tensor. Each share is a "
            "further checkpoint of the same training and needs none of its own."
        ),
        source=(
            "Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv 2109.01903; "
            "Ilharco et al. 2023, Editing models with task arithmetic, arXiv 2212.04089"
        ),
        licence="part of aftertune",
        positive="what tuning lost comes back in proportion",
        speed="one product of each tensor, no model is run",
        weaknesses="The task is unlearned in proportion: part of what tuning was for goes with the damage.",
    )

    stage: ClassVar[Stage] = "after"

    shares: tuple[float, ...] = (0.5,)
    """Shares of the update to keep, each above 0 (the base) and below 1 (the tuned model)."""

    def __post_init__(self) -> None:
        """Refuse shares outside (0, 1), repeated or missing. Raises ValueError."""
        object.__setattr__(self, "shares", tuple(self.shares))
        if not self.shares or len(set(self.shares)) < len(self.shares) or not all(0 < s < 1 for s in self.shares):
            raise ValueError(f"shares = {list(self.shares)}: give different numbers above 0 and below 1")

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights per share."""
        return tuple(map(_name, self.shares))

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return one set of weights per share."""
        del training
        return [FurtherWeights(_name(share), partial(interpolated, tuned=tuned, share=share)) for share in self.shares]


def _name(share: float) -> str:
    return f"interpolation-{share:g}"


def interpolated(name: str, tensor: Any, *, tuned: TunedWeights, share: float) -> Any:
    """Return a checkpoint's tensor at a share of its update: exactly the base's at 0 and the tuned one at 1.

    An adapter's tensors other than lora_B stay, since the update is B A; whole tensors stored in an adapter, and those
    of a full model, are interpolated in float32.
    """
    import torch

    if tuned.is_adapter and "lora_" in name:
        return (tensor * share) if _LORA_B.search(name) else tensor
    base = tuned.base_tensor(name.removeprefix("base_model.model.").replace(".base_layer.", "."))
    return torch.lerp(base.float(), tensor.float(), share).to(tensor.dtype)


PLUGIN = Interpolation
