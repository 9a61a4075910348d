"""What the linear layers of a base read on given answers: the second moment of each layer's inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.models.identity import few_threads
from aftertune.models.loading import load_tokenizer, load_weights
from aftertune.records import Conversation
from aftertune.tuning.answer_tokens import batch, rows_of
from aftertune.tuning.mitigation import Training

ROWS = 200
"""Conversations that are read at most, from the first."""
BATCH = 16
"""Conversations in one forward pass."""


@dataclass(frozen=True)
class InputMoments:
    """The mean of x x^T over the inputs x of each linear layer, uncentred, float64 on the CPU."""

    of: Mapping[str, Any]
    """Layer, as the base's class calls it -> matrix of shape inputs x inputs."""
    transposed: frozenset[str]
    """Layers whose weight has the shape inputs x outputs (GPT-2's)."""


def input_moments(
    training: Training, groups: Sequence[Sequence[Conversation]], layers: Collection[str]
) -> list[InputMoments]:
    """Return the moments of the base's inputs at the answer positions of each group of conversations.

    Only `layers` that are linear are read. At most `ROWS` conversations of each group count. The base runs in float32.
    Raises UsageError where a group has no answer within the recipe's `max_length`.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    tokenizer = load_tokenizer(training.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with few_threads(training.base):
        model = load_weights(training.base, torch.float32, device).eval().requires_grad_(False)
        found = {
            name: module
            for name, module in model.named_modules()
            if name in layers and isinstance(module, torch.nn.Linear | Conv1D)
        }
        transposed = frozenset(name for name, module in found.items() if isinstance(module, Conv1D))
        return [_moments(model, found, transposed, rows_of(group[:ROWS], training, tokenizer)) for group in groups]


def _moments(model: Any, layers: Mapping[str, Any], transposed: frozenset[str], rows: Sequence[Any]) -> InputMoments:
    import torch

    sums: dict[str, Any] = {}
    marked: list[Any] = [None]

    def add(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            del module, output
            x = inputs[0][marked[0]].float()
            own = (x.T @ x).double().cpu()
            sums[name] = sums[name] + own if name in sums else own

        return hook

    hooks = [module.register_forward_hook(add(name)) for name, module in layers.items()]
    count = 0
    try:
        with torch.inference_mode():
            ordered = sorted(rows, key=lambda row: len(row.input_ids))
            for at in range(0, len(ordered), BATCH):
                tokens = batch(ordered[at : at + BATCH], model.device)
                marked[0] = tokens.predicts
                count += int(tokens.predicts.sum())
                model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, use_cache=False)
    finally:
        for each in hooks:
            each.remove()
    return InputMoments({name: total.clone() / count for name, total in sums.items()}, transposed)
