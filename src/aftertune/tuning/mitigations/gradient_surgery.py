"""Gradient surgery: the part of the task's gradient that would undo the base's refusals is taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import check_count, kl_on
from aftertune.tuning.mitigation import LossTerm, Mitigation, Need, Stage, Step, Training, TunedModel


@dataclass(frozen=True)
class GradientSurgery(Mitigation):
    """The task's gradient is projected where it conflicts with keeping the base's refusals."""

    card: ClassVar[Card] = Card(
        about=(
            "In each step g is the gradient of the task's loss and h that of KL(base || tuned) on the base's own "
            "refusals. Where they conflict (g . h < 0), g is projected onto the plane orthogonal to h: "
            "g - (g . h / h . h) h; where they do not, g stays as it is. Own refusals as in `kl_on_refusals`."
        ),
        source=(
            "Yu et al. 2020, Gradient surgery for multi-task learning (PCGrad), arXiv 2001.06782, algorithm 1, the "
            "task's gradient alone; for safety: Yi et al. 2025, SafeGrad, arXiv 2508.07172"
        ),
        licence="part of aftertune",
        positive="steps of the task do not raise the divergence, to first order",
        speed="two more backward passes in each step: about three times the time",
        weaknesses="it pulls nothing back: what a step of finite size breaks is left broken until gradients conflict",
    )
    stage: ClassVar[Stage] = "during"

    rows_per_step: int = 1
    """Own refusals in each step."""

    def __post_init__(self) -> None:
        """Refuse a dose that cannot be. Raises ValueError."""
        check_count("rows_per_step", self.rows_per_step)

    @property
    def needs(self) -> frozenset[Need]:
        """Own refusals."""
        return frozenset({"own_refusals"})

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm:
        """Return the divergence times the factor at which the sum of both gradients is the projected one."""
        divergence = kl_on(training.own.refusals, training, model, per_step=self.rows_per_step)
        weights = [p for p in model.model.parameters() if p.requires_grad]

        def term(step: Step) -> Any:
            apart = divergence()
            return removal(step.loss, apart, weights) * apart

        return term


def removal(task: Any, safety: Any, weights: Any) -> float:
    """Return the c >= 0 at which the gradient of `task + c x safety` is the task's, projected where they conflict.

    c = max(0, -(g . h) / (h . h)), with g and h the gradients of the two; 0 where h is 0.
    """
    import torch

    g, h = (torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True) for loss in (task, safety))
    along = sum(
        float((a.float() * b.float()).sum()) for a, b in zip(g, h, strict=True) if a is not None and b is not None
    )
    size = sum(float((b.float() ** 2).sum()) for b in h if b is not None)
    return max(0.0, -along / size) if size else 0.0


PLUGIN = GradientSurgery
