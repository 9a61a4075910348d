"""A weight soup of the epochs of one training: their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from aftertune.errors import UsageError
from aftertune.plugins import Card
from aftertune.tuning.linear_updates import layer_of, scale_of
from aftertune.tuning.mitigation import FurtherWeights, Mitigation, Stage, Training, TunedWeights


@dataclass(frozen=True)
class EpochSoup(Mitigation):
    """The mean of all checkpoints of a training up to an epoch."""

    card: ClassVar[Card] = Card(
        about=(
            "The mean of the weights after each epoch of one training, up to the epoch in question. Of LoRA adapters "
            "the mean of the products B A is taken, not of the factors: the result is an adapter of the sum of the "
            "ranks."
        ),
        source=(
            "Izmailov et al. 2018, Averaging weights leads to wider optima, arXiv 1803.05407; Wortsman et al. 2022, "
            "Model soups, arXiv 2203.05482"
        ),
        licence="part of aftertune",
        positive="a model between the epochs: what is lost late is lost less",
        speed="one sum of weights, no model is run",
        weaknesses="it restores little: in the miniature refusals are lost from the first epoch on",
    )
    stage: ClassVar[Stage] = "after"

    @property
    def further(self) -> tuple[str, ...]:
        """One set of weights."""
        return ("epoch_soup",)

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return the mean of the epochs. Raises UsageError where the checkpoint has no earlier epoch beside it."""
        del training
        earlier = tuned.earlier()
        if not earlier:
            raise UsageError(
                f"mitigation 'epoch_soup': {tuned.folder.name} has no earlier epoch beside it: give epochs = 2 or more"
            )
        others = [dict(each.tensors()) for each in earlier]
        if not tuned.is_adapter:
            return [FurtherWeights(self.further[0], partial(_mean, others=others))]
        scale = scale_of(tuned, "epoch_soup")
        settings = scale.of_rank(scale.rank * (len(others) + 1))
        return [FurtherWeights(self.further[0], partial(_stacked, others=others), settings)]


def _mean(name: str, tensor: Any, *, others: Sequence[Mapping[str, Any]]) -> Any:
    total = tensor.double() + sum(each[name].double() for each in others)
    return (total / (len(others) + 1)).to(tensor.dtype)


def _stacked(name: str, tensor: Any, *, others: Sequence[Mapping[str, Any]]) -> Any:
    """Return the factors of all epochs side by side, B divided by their number: B A is the mean of the products."""
    import torch

    _, part = layer_of(name)
    if not part:
        return _mean(name, tensor, others=others)
    parts = [tensor, *(each[name] for each in others)]
    return torch.cat(parts, dim=0) if part == "A" else torch.cat(parts, dim=1) / len(parts)


PLUGIN = EpochSoup
