"""Safe LoRA: updates that do not lie along the alignment are projected onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from aftertune.errors import UsageError
from aftertune.plugins import Card
from aftertune.tuning.linear_updates import layer_of, scale_of
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Stage, Training, TunedWeights
from aftertune.tuning.unaligned import Unaligned, model_files


@dataclass(frozen=True)
class SafeLora(Mitigation):
    """A LoRA's update is projected onto what alignment changed, layer by layer."""

    card: ClassVar[Card] = Card(
        about=(
            "With V = W_base - W_unaligned for each layer and C = V V^T / ||V||_F: where the cosine of C D and the "
            "update D = s B A is below `threshold`, D becomes C D (B becomes C B); elsewhere it stays. It needs the "
            "base's unaligned counterpart: the model before alignment, or an adapter that undoes it."
        ),
        source="Hsu et al. 2024, Safe LoRA, arXiv 2405.16833, equations 2 and 3; the threshold is a choice",
        licence="part of aftertune",
        positive="refusals as the base's where the projection takes hold",
        speed="one product of each layer's matrices, no model is run",
        weaknesses=(
            "C is no projector: V V^T / ||V||_F scales as well, by ||V||_F, so that a small V takes the whole update "
            "away, and the task with it, as in the miniature. An unaligned counterpart is seldom at hand"
        ),
    )
    stage: ClassVar[Stage] = "after"

    path: str = field()
    """Folder of the unaligned counterpart: a full model, or a LoRA adapter for the same base."""
    threshold: float = 0.35
    """Cosine below which a layer is projected; above 1 projects all."""

    def __post_init__(self) -> None:
        """Refuse a threshold that is no number. Raises ValueError."""
        if not isinstance(self.threshold, int | float) or isinstance(self.threshold, bool):
            raise ValueError(f"threshold = {self.threshold!r}: give a number, e.g. 0.35")

    def files(self) -> tuple[Path, ...]:
        """Return the counterpart's weight files. Raises UsageError where there are none."""
        return model_files(self.path, "safe_lora")

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights."""
        return (f"safe_lora-{self.threshold:g}",)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the projected adapter. Raises UsageError for a checkpoint that is no plain LoRA adapter."""
        del training
        if not tuned.is_adapter:
            raise UsageError("mitigation 'safe_lora' needs a LoRA recipe")
        scale_of(tuned, "safe_lora")
        unaligned = Unaligned(Path(self.path).expanduser(), tuned.base, "safe_lora")
        tensors = dict(tuned.tensors())
        return [
            FurtherWeights(
                self.further[0],
                partial(_changed, tensors=tensors, unaligned=unaligned, threshold=self.threshold),
            )
        ]


def _changed(name: str, tensor: Any, *, tensors: Any, unaligned: Unaligned, threshold: float) -> Any:
    layer, part = layer_of(name)
    if part != "B":
        return tensor
    alignment = -unaligned.update(layer)
    down = tensors[name.replace(".lora_B.", ".lora_A.")]
    return projected(tensor.double(), down.double(), alignment.double(), threshold).to(tensor.dtype)


def projected(up: Any, down: Any, alignment: Any, threshold: float) -> Any:
    """Return B, or C B where the cosine between C B A and B A is below the threshold; C = V V^T / ||V||_F.

    Shapes: `up` B outputs x rank, `down` A rank x inputs, `alignment` V outputs x inputs. A zero V projects nothing.
    """
    size = alignment.norm()
    if not size:
        return up
    moved = alignment @ (alignment.T @ up) / size
    before, after = up @ down, moved @ down
    norms = before.norm() * after.norm()
    cosine = float((before * after).sum() / norms) if norms else 0.0
    return moved if cosine < threshold else up


PLUGIN = SafeLora
