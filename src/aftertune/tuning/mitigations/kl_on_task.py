"""KL to the base on the task's own tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import base_of_step, check_count, check_weight, divergence, positions
from aftertune.tuning.mitigation import LossTerm, Mitigation, Stage, Step, Training, TunedModel


@dataclass(frozen=True)
class KlOnTask(Mitigation):
    """What the base says of the task's own tokens is held during training."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds weight x KL(base || tuned), in nats and averaged over tokens, on the tokens that are trained: the "
            "task is learned against a pull to the base on the very same texts. It needs no data beside the task's. "
            "With `first_tokens` only the beginning of each answer counts."
        ),
        source=(
            "Li and Hoiem 2016, Learning without forgetting, arXiv 1606.09282, on a language model's tokens; first "
            "tokens: Qi et al. 2025, arXiv 2406.05946"
        ),
        licence="part of aftertune",
        positive="fewer refusals are lost, and fewer values of the tuning set are learned",
        speed="one more reading of each batch, by the base",
        weaknesses="it slows the task itself: its loss ends higher at the same number of steps",
    )
    stage: ClassVar[Stage] = "during"

    weight: float = 0.3
    """Of the divergence, beside the task's loss."""
    first_tokens: int = 0
    """Only so many tokens at the beginning of each answer count; 0 is all."""

    def __post_init__(self) -> None:
        """Refuse doses that cannot be. Raises ValueError."""
        check_weight("weight", self.weight)
        check_count("first_tokens", self.first_tokens, least=0)

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm | None:
        """Return the weighted divergence on a step's own tokens."""
        del training
        if not self.weight:
            return None

        def term(step: Step) -> Any:
            before, after = base_of_step(model, step), step.logits.float().log_softmax(dim=-1)
            if self.first_tokens:
                kept = positions(step.predicts)[step.predicts] <= self.first_tokens
                before, after = before[kept], after[kept]
            return self.weight * divergence(before, after)

        return term


PLUGIN = KlOnTask
