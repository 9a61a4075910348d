"""Which prompts a model may be asked together, found by its own logits before it answers anything.

A prompt in a batch is padded to the longest, other rows leave and enter beside it, and what it has read is kept in a
cache. Its logits must be those of one pass over its tokens alone, or answers depend on who else was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aftertune.asking.backends._decoding import WORTH_SHARING, Batch, Batching, takes_padding
from aftertune.errors import ModelError, first_line
from aftertune.models.loading import FORGETS

EVENTS = 3
"""Of a trial, each with a new token after it: two rows have entered, one leaves, two others enter."""
Rows = Sequence[tuple[Sequence[int], Sequence[int]]]
"""Prompt and the new tokens that follow it, as token ids."""
FAILURES = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError)
"""What a forward pass raises that does not take a prompt, a batch or a cache as it is given."""


def batching(model: Any, name: str, texts: Sequence[Sequence[int]], pad: int, tolerance: float) -> Batching:
    """Return which prompts may go through a model together.

    `texts` are token ids of any meaning; `tolerance` is a share of the largest logit. Each way of asking is tried in
    the order of its cost and held against one pass over each text, alone and without a cache. Where not even a prompt
    alone is within the tolerance (a low precision, or a state that is added up in another order), others need not be
    nearer than twice its distance.
    Raises ModelError, in one line, for a model that answers no prompt at all, or forgets what it has read.
    """
    rows = _rows([token for text in texts for token in text])
    try:
        direct = [_direct(model, *row) for row in rows]
    except FAILURES as error:
        raise ModelError(f"{name}: {type(model).__name__} cannot be asked here: {_why(error)}") from None
    largest = max(float(one.abs().max()) for one in direct)
    if not math.isfinite(largest):
        raise ModelError(f"{name}: the model's logits are not numbers")
    allowed = tolerance * largest
    ways: list[Batching] = ["any", "equal lengths"] if takes_padding(model) else ["equal lengths"]
    errors: dict[Batching, float] = {}
    for way in ways:
        errors[way], _ = _error(model, rows, direct, pad, way)
        if errors[way] <= allowed:
            return way
    alone, why = _error(model, rows, direct, pad, "alone")
    if not alone <= FORGETS * largest:
        raise ModelError(
            f"{name}: {type(model).__name__} cannot be asked here: "
            + (why or f"token by token its logits are {alone:.2g} away from those of one pass (largest {largest:.2g})")
            + "; ask it on a server (backend endpoint)"
        )
    return next((way for way in ways if errors[way] <= 2 * alone), "alone")


def _rows(tokens: Sequence[int]) -> Rows:
    """Return four texts made of tokens: the first and the third of equal length, the last two alike at the beginning.

    That beginning is worth sharing.
    """
    tokens = list(tokens) * (1 + 3 * WORTH_SHARING // len(tokens))
    head, new = tokens[1 : 1 + WORTH_SHARING], EVENTS
    return [
        (tokens[: WORTH_SHARING + 3], tokens[5 : 5 + new]),
        (tokens[3:8], tokens[1 : 1 + new]),
        ([*head, *tokens[5:8]], tokens[2 : 2 + new]),
        ([*head, *tokens[9:14]], tokens[:new]),
    ]


def _direct(model: Any, prompt: Sequence[int], new: Sequence[int]) -> Any:
    """Return the logits after the prompt and after each new token (1 + new tokens x vocabulary), in one pass."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([[*prompt, *new]], device=model.device)
        return model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()


def _error(model: Any, rows: Rows, direct: Sequence[Any], pad: int, way: Batching) -> tuple[float, str]:
    """Return the largest distance of a way's logits from the direct ones, infinite where it fails, and why it did."""
    try:
        found = _asked(model, rows, pad, way)
    except FAILURES as error:
        return math.inf, _why(error)
    distances = [float((logits - direct[row][: len(logits)]).abs().max()) for row, logits in found]
    return (max(distances) if all(map(math.isfinite, distances)) else math.inf), ""


def _asked(model: Any, rows: Rows, pad: int, way: Batching) -> list[tuple[int, Any]]:
    """Return the logits of rows (by their index) after the prompt and each new token, put through as `decode` does."""
    import torch

    found: list[tuple[int, Any]] = []
    for group in {"any": [[0, 1]], "equal lengths": [[0, 2]], "alone": [[0], [1]]}[way]:
        batch = Batch(model, pad, way)
        logits: dict[int, list[Any]] = {}
        with torch.inference_mode():
            _enter(batch, rows, group, logits)
            for event in range(EVENTS):
                _step(batch, rows, logits)
                if way == "any" and event == 0:
                    batch.ended[1] = True
                    batch.leave()
                if way == "any" and event == 1 and batch.open_ended:
                    _enter(batch, rows, [2, 3], logits)
        found += [(row, torch.stack(own)) for row, own in logits.items()]
    return found


def _enter(batch: Batch, rows: Rows, new: Sequence[int], logits: dict[int, list[Any]]) -> None:
    batch.enter(new, [rows[row][0] for row in new])
    logits |= {row: [batch.logits[at]] for at, row in enumerate(batch.rows) if row in new}


def _step(batch: Batch, rows: Rows, logits: dict[int, list[Any]]) -> None:
    """Put the next new token of each row that is there through the model."""
    batch.step(batch.logits.new_tensor([rows[row][1][len(logits[row]) - 1] for row in batch.rows]).long())
    for at, row in enumerate(batch.rows):
        logits[row].append(batch.logits[at])


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
