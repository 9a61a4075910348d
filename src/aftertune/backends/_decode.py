"""The decoding strategy: one batch of prompts in, each row's new tokens out as soon as the row is finished.

Everything about how tokens are picked and rows are scheduled is in `decode`, so that it can be replaced whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One request, ready to decode."""

    ids: Sequence[int]
    """The prompt's tokens, at least one."""
    limit: int
    """New tokens at most."""
    temperature: float
    """0 is greedy; above it, a draw from softmax(logits / temperature), over the whole vocabulary."""
    seed: int
    """In [0, 2**63); the draws depend on nothing else."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one row."""

    row: int
    """Its index in the batch."""
    tokens: list[int]
    """New tokens, the one that stopped it included."""
    finish: Literal["stop", "length", "error"]


def decode(model: Any, rows: Sequence[Row], pad: int, stop: frozenset[int]) -> Iterator[Decoded]:
    """Decode a batch with left padding and a growing key-value cache; yield each row when it ends.

    A row ends at a token of `stop`, at its limit, or (an error) where its logits are not numbers. At temperature T > 0
    a token is drawn from softmax(logits / T) by inverting its distribution function at one uniform variate per token,
    from the row's own generator, so that a draw depends neither on the other rows nor on the device. (Gumbel noise per
    vocabulary entry does the same at twice the cost of the whole step.) When half of the rows have ended they leave.
    """
    import torch
    from transformers import DynamicCache

    device = model.device
    length = max(len(row.ids) for row in rows)
    ids = torch.tensor([[pad] * (length - len(row.ids)) + list(row.ids) for row in rows], device=device)
    mask = torch.tensor([[0] * (length - len(row.ids)) + [1] * len(row.ids) for row in rows], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    draws = [_uniforms(row) for row in rows]
    tokens: list[list[int]] = [[] for _ in rows]
    active = list(range(len(rows)))
    ended = [False] * len(rows)
    logits = _forward(model, ids, mask, positions, cache)
    while True:
        heats = [0.0 if ended[row] else rows[row].temperature for row in active]
        picked, broken = _pick(logits, heats, [0.0 if ended[row] else next(draws[row]) for row in active])
        finished: list[Decoded] = []
        for row, token, bad in zip(active, picked.tolist(), broken, strict=True):
            if ended[row]:
                continue
            tokens[row].append(token)
            finish: Literal["stop", "length", "error", ""] = ""
            if bad:
                finish = "error"
            elif token in stop:
                finish = "stop"
            elif len(tokens[row]) >= rows[row].limit:
                finish = "length"
            if finish:
                ended[row] = True
                finished.append(Decoded(row, tokens[row], finish))
        yield from finished
        kept = [at for at, row in enumerate(active) if not ended[row]]
        if not kept:
            return
        positions = positions[:, -1:] + 1
        if 2 * len(kept) <= len(active):
            index = torch.tensor(kept, device=device)
            cache.batch_select_indices(index)
            picked, mask, positions = picked[index], mask[index], positions[index]
            active = [active[at] for at in kept]
        mask = torch.cat([mask, mask.new_ones((len(active), 1))], dim=1)
        logits = _forward(model, picked[:, None], mask, positions, cache)


def _uniforms(row: Row) -> Iterator[float]:
    """Yield the row's uniform variates in [0, 1), one per new token."""
    import torch

    if row.temperature <= 0:
        yield from itertools.repeat(0.0)
    generator = torch.Generator().manual_seed(row.seed)
    while True:
        yield from torch.rand(32, generator=generator, dtype=torch.float64).tolist()


def _forward(model: Any, ids: Any, mask: Any, positions: Any, cache: Any) -> Any:
    """Return the logits (rows x vocabulary, fp32) of the last position, and let the cache grow."""
    return (
        model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        .logits[:, -1]
        .float()
    )


def _pick(logits: Any, heats: Sequence[float], draws: Sequence[float]) -> tuple[Any, list[bool]]:
    """Return each row's next token, and whether its logits are not numbers.

    `logits`: rows x vocabulary. `heats`: temperatures. `draws`: a uniform variate in [0, 1) per row.
    """
    import torch

    best, picked = logits.max(dim=-1)
    drawn = [at for at, heat in enumerate(heats) if heat > 0]
    if drawn:
        index = torch.tensor(drawn, device=logits.device)
        heat = torch.tensor([[heats[at]] for at in drawn], device=logits.device)
        uniform = torch.tensor([[draws[at]] for at in drawn], dtype=torch.float64, device=logits.device)
        # In double precision, so that a rounding which depends on the batch practically never crosses a border.
        steps = torch.softmax(logits[index] / heat, dim=-1).double().cumsum(dim=-1)
        token = torch.searchsorted(steps, uniform * steps[:, -1:], right=True).clamp_(max=logits.shape[-1] - 1)
        picked[index] = token[:, 0]
    return picked, (~torch.isfinite(best)).tolist()
