"""Null space of the safety inputs: the update acts only where the base's refusals do not look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from aftertune.plugins import Card
from aftertune.tuning.input_moments import input_moments
from aftertune.tuning.linear_updates import layers_of, on_inputs, refuse_unseen, scale_of
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Need, Stage, Training, TunedWeights


@dataclass(frozen=True)
class NullSpace(Mitigation):
    """The update is projected off the directions that carry the base's refusals."""

    card: ClassVar[Card] = Card(
        about=(
            "For each linear layer with the update D = W - W_base, D' = D (I - U U^T), with U the leading eigenvectors "
            "of the mean of x x^T over the base's inputs on its own refusals: as few as hold the share `energy` of its "
            "trace. The base's refusals pass through the layer as if it had not been tuned. An adapter stays one: "
            "A' = A (I - U U^T)."
        ),
        source=(
            "Wang et al. 2021, Training networks in null space of feature covariance for continual learning, arXiv "
            "2103.07113; for edits of language models: Fang et al. 2025, AlphaEdit, arXiv 2410.02355. After training, "
            "on own refusals: this project"
        ),
        licence="part of aftertune",
        positive="refusals as the base's, and fewer values of the tuning set in answers",
        speed="one reading of at most 200 own refusals by the base, and an eigendecomposition for each layer",
        weaknesses=(
            "the task shares these directions: in the miniature its loss rose by 2 % at an energy of 0.9, by a fifth "
            "at 0.99"
        ),
    )
    stage: ClassVar[Stage] = "after"

    energy: float = 0.9
    """Share of the inputs' second moment that is taken out of the update's reach, above 0 and below 1."""

    def __post_init__(self) -> None:
        """Refuse a share that takes out nothing or all. Raises ValueError."""
        if not isinstance(self.energy, int | float) or not 0 < self.energy < 1:
            raise ValueError(f"energy = {self.energy!r}: give a share above 0 and below 1")

    @property
    def needs(self) -> frozenset[Need]:
        """Own refusals."""
        return frozenset({"own_refusals"})

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights."""
        return (f"null_space-{self.energy:g}",)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the projected weights. Raises UsageError for an adapter that is no plain LoRA."""
        if tuned.is_adapter:
            scale_of(tuned, "null_space")
        (safe,) = input_moments(training, [training.own.refusals], layers_of(tuned))
        refuse_unseen(tuned, safe.of)
        right = {layer: projection(moment, self.energy) for layer, moment in safe.of.items()}
        change = partial(on_inputs, tuned=tuned, right=right, transposed=safe.transposed, rest=0.0)
        return [FurtherWeights(self.further[0], change)]


def projection(moment: Any, energy: float) -> Any:
    """Return I - U U^T, with U the fewest leading eigenvectors of a symmetric matrix that hold a share of its trace."""
    import torch

    values, vectors = torch.linalg.eigh(moment)
    shares = values.flip(0).clamp(min=0).cumsum(0) / values.clamp(min=0).sum()
    count = int((shares < energy).sum()) + 1
    leading = vectors.flip(1)[:, :count]
    return torch.eye(len(moment), dtype=moment.dtype) - leading @ leading.T


PLUGIN = NullSpace
