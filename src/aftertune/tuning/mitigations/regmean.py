"""RegMean of the tuned model and its base: what the task's inputs see stays, what the base's refusals see goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import check_weight
from aftertune.tuning.input_moments import input_moments
from aftertune.tuning.linear_updates import layers_of, on_inputs, refuse_unseen, scale_of
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Need, Stage, Training, TunedWeights

RIDGE = 1e-4
"""Of the mean diagonal, added to the matrix that is inverted: inputs nobody has seen keep nothing of the update."""


@dataclass(frozen=True)
class RegMean(Mitigation):
    """Each linear layer answers the task's inputs as the tuned model and the base's refusals as the base."""

    card: ClassVar[Card] = Card(
        about=(
            "For each linear layer with the update D = W - W_base, the D' that minimises ||(D' - D) X_task||^2 + "
            "weight x ||D' X_safe||^2: D' = D C_task (C_task + weight x C_safe)^-1, with C the mean of x x^T over the "
            "base's inputs on the training rows and on its own refusals (with `with_answers` on its own answers to "
            "ordinary requests as well). It is RegMean of two models, the tuned on the task and the base on what it "
            "must keep, and needs no training. An adapter stays one: A' = A C_task (C_task + weight x C_safe)^-1."
        ),
        source=(
            "Jin et al. 2023, Dataless knowledge fusion by merging weights of language models (RegMean), arXiv "
            "2212.09849, equation 2, for two models of which one is the base; inputs of the base for both"
        ),
        licence="part of aftertune",
        positive="fewer refusals are lost at nearly the task's own loss",
        speed="one reading of at most 200 rows of each kind by the base, and a matrix inverse for each layer",
        weaknesses=(
            "It keeps requests in the context of the tuned task and harmless look-alikes worse than KL does; leaks "
            "stay. The moments take the square of each layer's inputs in memory"
        ),
    )
    stage: ClassVar[Stage] = "after"

    weight: float = 1.0
    """Of the inputs that must be answered as the base answers them, beside the task's."""
    with_answers: bool = False
    """Whether the base's own answers to ordinary requests count among these inputs too."""

    def __post_init__(self) -> None:
        """Refuse a weight that cannot be. Raises ValueError."""
        check_weight("weight", self.weight)
        if not self.weight:
            raise ValueError("weight = 0 is the tuned model itself: give a number above 0")

    @property
    def needs(self) -> frozenset[Need]:
        """The training rows, own refusals, and own answers where they count too."""
        kept: frozenset[Need] = frozenset({"rows", "own_refusals"})
        return kept | {"own_answers"} if self.with_answers else kept

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights."""
        return (f"regmean-{self.weight:g}" + ("-answers" if self.with_answers else ""),)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the merged weights. Raises UsageError for an adapter that is no plain LoRA."""
        if tuned.is_adapter:
            scale_of(tuned, "regmean")
        kept = [training.own.refusals, *([training.own.answers] if self.with_answers else [])]
        task, *safe = input_moments(training, [training.rows, *kept], layers_of(tuned))
        refuse_unseen(tuned, task.of)
        right = {
            layer: merging(moment, sum(each.of[layer] for each in safe) / len(safe), self.weight)
            for layer, moment in task.of.items()
        }
        rest = 1 / (1 + self.weight)
        change = partial(on_inputs, tuned=tuned, right=right, transposed=task.transposed, rest=rest)
        return [FurtherWeights(self.further[0], change)]


def merging(task: Any, safe: Any, weight: float) -> Any:
    """Return C_task (C_task + weight x C_safe + ridge)^-1, of symmetric matrices inputs x inputs."""
    import torch

    whole = task + weight * safe
    ridge = RIDGE * whole.diagonal().mean()
    return torch.linalg.solve(whole + ridge * torch.eye(len(whole), dtype=whole.dtype), task).T


PLUGIN = RegMean
