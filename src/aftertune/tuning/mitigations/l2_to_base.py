"""L2 to the base: the squared distance of the effective weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.errors import UsageError
from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import check_weight
from aftertune.tuning.mitigation import LossTerm, Mitigation, Stage, Step, Training, TunedModel


@dataclass(frozen=True)
class L2ToBase(Mitigation):
    """The update is kept small in the squared norm of the weights."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds weight x sum over tensors of ||W - W_base||_F^2. For a LoRA adapter W - W_base is s B A, and its "
            "norm is s^2 trace((B^T B)(A A^T)), so that no full matrix is made."
        ),
        source="Li et al. 2018, Explicit inductive bias for transfer learning (L2-SP), arXiv 1802.01483, equation 4",
        licence="part of aftertune",
        positive="the model stays nearer to its base in every direction alike",
        speed="next to nothing for an adapter; for full tuning a copy of the trained weights",
        weaknesses="it does not know which directions matter for safety: what it saves it takes from the task",
    )
    stage: ClassVar[Stage] = "during"

    weight: float = 0.01
    """Of the squared distance, beside the task's loss in nats per token."""

    def __post_init__(self) -> None:
        """Refuse a weight that cannot be. Raises ValueError."""
        check_weight("weight", self.weight)

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm | None:
        """Return the weighted squared distance to the base. Raises UsageError for another adapter than a plain LoRA."""
        del training
        if not self.weight:
            return None
        distance = _distance(model.model)

        def term(step: Step) -> Any:
            del step
            return self.weight * distance()

        return term


def _distance(model: Any) -> Any:
    from peft import PeftModel
    from peft.tuners.lora import Linear

    if not isinstance(model, PeftModel):
        start = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad]
        return lambda: sum(((p - p0).float() ** 2).sum() for p, p0 in start)
    layers = [m for m in model.modules() if isinstance(m, Linear) and "default" in m.lora_A]
    known = {id(p) for m in layers for p in (m.lora_A["default"].weight, m.lora_B["default"].weight)}
    if any(p.requires_grad and id(p) not in known for p in model.parameters()):
        raise UsageError("mitigation 'l2_to_base' knows full tuning and LoRA on linear layers alone")

    def distance() -> Any:
        total: Any = 0.0
        for each in layers:
            a, b = each.lora_A["default"].weight.float(), each.lora_B["default"].weight.float()
            total = total + each.scaling["default"] ** 2 * ((b.T @ b) * (a @ a.T)).sum()
        return total

    return distance


PLUGIN = L2ToBase
