"""RESTA: the direction from an unaligned model to the base is added to the tuned one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from aftertune.errors import UsageError
from aftertune.plugins import Card
from aftertune.tuning.answer_tokens import check_weight
from aftertune.tuning.linear_updates import base_name, layer_of, layers_of, scale_of
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Stage, Training, TunedWeights
from aftertune.tuning.unaligned import Unaligned, model_files


@dataclass(frozen=True)
class Resta(Mitigation):
    """A safety vector is added to the tuned weights."""

    card: ClassVar[Card] = Card(
        about=(
            "W = W_tuned + weight x (W_base - W_unaligned): the safety vector is what alignment changed. It needs the "
            "base's unaligned counterpart: the model before alignment, or an adapter that undoes it. An adapter stays "
            "one, of the sum of both ranks; that needs a counterpart which is an adapter as well."
        ),
        source="Bhardwaj et al. 2024, Language models are Homer Simpson! (RESTA), arXiv 2402.11746, section 3, without "
        "DARE",
        licence="part of aftertune",
        positive="fewer refusals are lost",
        speed="one sum of weights, no model is run",
        weaknesses=(
            "over-refusal: in the miniature at half the vector 39 % of harmless look-alikes were refused, the base "
            "refuses 16 %"
        ),
    )
    stage: ClassVar[Stage] = "after"

    path: str = field()
    """Folder of the unaligned counterpart: a full model, or a LoRA adapter for the same base."""
    weight: float = 0.5
    """Of the safety vector, above 0."""

    def __post_init__(self) -> None:
        """Refuse a weight that adds nothing. Raises ValueError."""
        check_weight("weight", self.weight)
        if not self.weight:
            raise ValueError("weight = 0 is the tuned model itself: give a number above 0")

    def files(self) -> tuple[Path, ...]:
        """Return the counterpart's weight files. Raises UsageError where there are none."""
        return model_files(self.path, "resta")

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights."""
        return (f"resta-{self.weight:g}",)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the weights with the safety vector. Raises UsageError where it cannot be added."""
        del training
        unaligned = Unaligned(Path(self.path).expanduser(), tuned.base, "resta")
        if not tuned.is_adapter:
            change = partial(_added, unaligned=unaligned, weight=self.weight)
            return [FurtherWeights(self.further[0], change)]
        if unaligned.scale is None:
            raise UsageError(
                "mitigation 'resta': an adapter stays one only beside an unaligned counterpart that is an adapter; "
                'give one, or tune with method = "full"'
            )
        scale = scale_of(tuned, "resta")
        lacking = sorted(unaligned.layers - layers_of(tuned))
        if lacking:
            raise UsageError(
                f"mitigation 'resta': the tuned adapter has no LoRA on {lacking[0]}, the unaligned one has"
            )
        joined = partial(
            _joined,
            unaligned=unaligned,
            factor=-self.weight * unaligned.scale.factor / scale.factor,
        )
        return [FurtherWeights(self.further[0], joined, scale.of_rank(scale.rank + unaligned.scale.rank))]


def _added(name: str, tensor: Any, *, unaligned: Unaligned, weight: float) -> Any:
    vector = unaligned.update_of(base_name(name), tensor.shape)
    return tensor if vector is None else (tensor.double() - weight * vector.double()).to(tensor.dtype)


def _joined(name: str, tensor: Any, *, unaligned: Unaligned, factor: float) -> Any:
    """Return B with the unaligned adapter's B beside it, times the factor, and A with its A below it."""
    import torch

    layer, part = layer_of(name)
    if not part:
        return tensor
    own = unaligned.part(layer, part, tensor.shape)
    if part == "A":
        return torch.cat([tensor, own.to(tensor.dtype)], dim=0)
    return torch.cat([tensor, (factor * own).to(tensor.dtype)], dim=1)


PLUGIN = Resta
