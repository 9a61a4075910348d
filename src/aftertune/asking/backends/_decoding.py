"""The decoding strategy: prompts in, each row's new tokens out as soon as the row is finished.

Rows leave a batch when they end, others enter it, and what prompts share at their beginning is computed once, for the
models whose logits do not depend on it (`_batching.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aftertune.models.forward_pass import empty_cache, forward_arguments, only_states
from aftertune.run.job_progress import PROGRESS

WORTH_SHARING = 16
"""Tokens that prompts must share at their beginning for it to be computed once."""
PASS = 1024
"""Tokens of prompts that go through a model together on a CPU, at least: a token of a smaller pass costs more, and a
larger pass reads more padding."""
ACCELERATOR_PASS = 16384
"""The same elsewhere."""
Batching = Literal["any", "equal lengths", "alone"]
"""Which prompts go through a model together: any; those of equal length, from the first token to the last; none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One request, ready to decode."""

    ids: Sequence[int]
    """The prompt's tokens, at least one."""
    limit: int
    """New tokens at most, unless `extended` says more."""
    temperature: float
    """0 is greedy; above it, a draw from softmax(logits / temperature), over the whole vocabulary."""
    seed: int
    """In [0, 2**63); the draws depend on nothing else."""
    extended: Callable[[Sequence[int]], int] | None = None
    """Called with the new tokens where these reach their limit: how many there may be, the same number for no more.
    It must depend on nothing but the tokens."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of one row."""

    row: int
    """Its index in the batch."""
    tokens: list[int]
    """New tokens, including the one that ended it."""
    finish: Literal["stop", "length", "error"]


def decode(
    model: Any,
    rows: Sequence[Row],
    pad: int,
    stop: frozenset[int],
    slots: int = 0,
    refill: float | None = None,
    batching: Batching = "any",
) -> Iterator[Decoded]:
    """Decode rows, at most `slots` at once (0: all) and those that `batching` lets together; yield each when it ends.

    A row ends at a token of `stop`, at its limit, or (an error) where its logits are not numbers. A limit that is
    reached may be extended by the row itself (a thought before the answer). At temperature T > 0
    a token is drawn from softmax(logits / T) by inverting its distribution function at one uniform variate per token,
    from the row's own generator, so that a draw depends neither on the other rows nor on the device. (Gumbel noise per
    vocabulary entry does the same at twice the cost of the whole step.)

    Rows begin in the given order, and those that have ended leave once they are half of the batch. The next rows enter
    when at most `refill` of the slots are taken; by default .75 on an accelerator, where a step costs the same for one
    row as for all, and 0 on a CPU, where moving keys and values about costs more than fuller steps save (measured:
    a fifth). The beginning shared by rows that enter together, and prompts that are the same, go through the model
    once.
    """
    if not rows:
        return
    slots = slots or len(rows)
    refill = refill if refill is not None else 0.0 if model.device.type == "cpu" else 0.75
    batch = Batch(model, pad, batching)
    longest = _longrope_switch(model.config.get_text_config(decoder=True))
    alone = [at for at, row in enumerate(rows) if longest is not None and len(row.ids) + row.limit > longest]
    order = sorted(set(range(len(rows))) - set(alone))
    if order and batch.open_ended:
        yield from _run(batch, rows, order[:slots], order[slots:], stop, slots, refill, longest, alone)
    elif order:
        for group in _groups(rows, order, 1 if batching == "alone" else slots, batching):
            yield from _run(batch, rows, group, [], stop, slots, refill, longest, alone)
    for at in alone:
        yield from _run(batch, rows, [at], [], stop, 1, refill)


def _groups(rows: Sequence[Row], order: Sequence[int], most: int, batching: Batching) -> Iterator[list[int]]:
    """Yield rows that go together where none can enter a batch that has begun: at most `most`, in order."""
    groups: dict[int, list[int]] = {}
    for at in order:
        groups.setdefault(len(rows[at].ids) if batching == "equal lengths" else 0, []).append(at)
    for group in groups.values():
        for start in range(0, len(group), most):
            yield group[start : start + most]


def _run(
    batch: Batch,
    rows: Sequence[Row],
    first: list[int],
    waiting: list[int],
    stop: frozenset[int],
    slots: int,
    refill: float,
    longest: int | None = None,
    alone: list[int] | None = None,
) -> Iterator[Decoded]:
    """Decode rows, `first` and then `waiting`; one that would outgrow `longest` tokens goes to `alone` instead."""
    limits = {row: rows[row].limit for row in (*first, *waiting)}
    draws: dict[int, Iterator[float]] = {}
    tokens: dict[int, list[int]] = {}

    def enter(new: Sequence[int]) -> None:
        for row in new:
            draws[row], tokens[row] = _uniforms(rows[row]), []
        with PROGRESS.reading(len(new)):
            batch.enter(new, [rows[row].ids for row in new])

    enter(first)
    waiting = list(reversed(waiting))
    while True:
        active, ended = batch.rows, batch.ended
        temperatures = [0.0 if over else rows[row].temperature for row, over in zip(active, ended, strict=True)]
        uniforms = [0.0 if over else next(draws[row]) for row, over in zip(active, ended, strict=True)]
        chosen, broken = _pick(batch.logits, temperatures, uniforms)
        finished: list[Decoded] = []
        for at, (row, token, bad) in enumerate(zip(active, chosen.tolist(), broken, strict=True)):
            if ended[at]:
                continue
            tokens[row].append(token)
            finish: Literal["stop", "length", "error", ""] = ""
            if bad:
                finish = "error"
            elif token in stop:
                finish = "stop"
            elif len(tokens[row]) >= limits[row]:
                extended = rows[row].extended
                limits[row] = extended(tokens[row]) if extended else limits[row]
                if len(tokens[row]) >= limits[row]:
                    finish = "length"
                elif alone is not None and longest is not None and len(rows[row].ids) + limits[row] > longest:
                    # Its length would change the other rows' angles: it begins anew by itself.
                    ended[at] = True
                    alone.append(row)
                    del tokens[row]
            if finish:
                ended[at] = True
                finished.append(Decoded(row, tokens.pop(row), finish))
        PROGRESS.wrote(len(active) - sum(ended) + len(finished))
        yield from finished
        over = sum(ended)
        free = slots - len(active) + over
        if over == len(active) and not waiting:
            batch.leave()
            return
        enters = waiting and len(active) - over <= slots * refill
        if over and batch.rows_leave and (enters or 2 * over >= len(active)):
            chosen = batch.leave(chosen)
        if batch.rows:
            batch.step(chosen)
        if enters:
            enter([waiting.pop() for _ in range(min(free, len(waiting)))])


class _Read(NamedTuple):
    """Rows that the model has read: what it keeps of them, and its logits after them."""

    cache: Any
    mask: Any
    """Rows x columns; 0 where a column holds nothing of the row."""
    positions: Any
    """Of the last token (rows x 1)."""
    logits: Any
    """Of the last token (rows x vocabulary)."""


class Batch:
    """The rows in flight: their keys and values, aligned on the right, and the logits of the last position."""

    def __init__(self, model: Any, pad: int, batching: Batching = "any") -> None:
        self._model, self._pad, self._device = model, pad, model.device
        self._arguments = forward_arguments(model)
        self.open_ended = batching == "any" and keeps_everything(model)
        """Whether rows may enter later, and what prompts share is computed once."""
        self.rows_leave = batching == "any"
        """Whether rows that have ended may leave before the others end: a state in the model's layers, as
        RecurrentGemma has, cannot be thinned out."""
        self.rows: list[int] = []
        self.ended: list[bool] = []
        self.logits: Any = None
        """Of each row's last position (rows x vocabulary)."""
        self._cache: Any = None
        self._mask: Any = None
        self._positions: Any = None

    def enter(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """Run new rows' prompts through the model and put the rows at the end of the batch."""
        import torch

        with torch.inference_mode():
            parts, order = self._prefilled(prompts)
            if self.rows:
                parts.insert(0, _Read(self._cache, self._mask, self._positions, self.logits))
            self._cache, self._mask, self._positions, self.logits = _joined(parts)
        self.rows += [rows[at] for at in order]
        self.ended += [False] * len(rows)

    def leave(self, tokens: Any = None) -> Any:
        """Remove the rows that have ended and the columns that only they needed; return the other rows' `tokens`.

        Where keys and values are written in place, rows from the end take the places of those that leave.
        """
        import torch

        active = [at for at, over in enumerate(self.ended) if not over]
        if self.open_ended:
            late = iter([at for at in active if at >= len(active)][::-1])
            order = [next(late) if over else at for at, over in enumerate(self.ended[: len(active)])]
        else:
            order = active
        self.rows, self.ended = [self.rows[at] for at in order], [False] * len(order)
        if not order:
            self._cache = self._mask = self._positions = self.logits = None
            return tokens
        with torch.inference_mode():
            index = torch.tensor(order, device=self._device)
            self._mask, self._positions, self.logits = self._mask[index], self._positions[index], self.logits[index]
            if self.open_ended:
                places = [place for place, at in enumerate(order) if place != at]
                _keep(self._cache, len(order), index.new_tensor(places), index[places])
                unused = int(self._mask.any(dim=0).int().argmax())
                if unused:
                    _trim(self._cache, unused)
                    self._mask = self._mask[:, unused:]
            else:
                _select(self._cache, index)
            return None if tokens is None else tokens[index]

    def step(self, tokens: Any) -> None:
        """Put one token per row (rows) through the model."""
        import torch

        # A row that has ended keeps its position: the model has none beyond its last one.
        going = [not over for over in self.ended]
        with torch.inference_mode():
            self._positions = self._positions + (1 if all(going) else self._positions.new_tensor(going)[:, None])
            self._mask = torch.cat([self._mask, self._mask.new_ones((len(self.rows), 1))], dim=1)
            self.logits, self._cache = self._forward(tokens[:, None], self._mask, self._positions, self._cache)

    def _empty_cache(self) -> Any:
        cache = empty_cache(self._model)
        if not self.open_ended:
            return cache
        from aftertune.asking.backends._keys_values import written_in_place

        return written_in_place(cache)

    def _prefilled(self, prompts: Sequence[Sequence[int]]) -> tuple[list[_Read], list[int]]:
        """Return prompts that have been read, in parts, and which prompt each row of these is.

        Where rows can be copied, prompts that are the same are computed once, and so is the beginning that all of them
        share. Where they can be joined, prompts of similar length go through the model together, so that little of what
        it reads is padding.
        """
        import torch

        if not self.open_ended:
            return [self._read(prompts, self._empty_cache())], list(range(len(prompts)))
        alike: dict[tuple[int, ...], list[int]] = {}
        for at, prompt in enumerate(prompts):
            alike.setdefault(tuple(prompt), []).append(at)
        different = sorted(alike, key=len, reverse=True)
        head = _shared(different) if len(different) > 1 else 0
        beginning = self._empty_cache()
        if head:
            ids = torch.tensor([different[0][:head]], device=self._device)
            self._forward(ids, torch.ones_like(ids), torch.arange(head, device=self._device)[None], beginning)
        parts, order = [], []
        for group in _similar(different, head, PASS if self._device.type == "cpu" else ACCELERATOR_PASS):
            cache = self._empty_cache()
            if head:
                for layer, old in zip(cache.layers, beginning.layers, strict=True):
                    layer.update(*(states.expand(len(group), -1, -1, -1) for states in (old.keys, old.values)))
            part = self._read([prompt[head:] for prompt in group], cache, head)
            if any(len(alike[prompt]) > 1 for prompt in group):
                copies = [row for row, prompt in enumerate(group) for _ in alike[prompt]]
                index = torch.tensor(copies, device=self._device)
                _select(part.cache, index)
                part = _Read(part.cache, part.mask[index], part.positions[index], part.logits[index])
            parts.append(part)
            order += [at for prompt in group for at in alike[prompt]]
        return parts, order

    def _read(self, tails: Sequence[Sequence[int]], cache: Any, head: int = 0) -> _Read:
        """Put prompts without their first `head` tokens, which the cache holds, through the model in one pass."""
        import torch

        length = max(map(len, tails))
        ids = torch.tensor([[self._pad] * (length - len(tail)) + list(tail) for tail in tails], device=self._device)
        fresh = torch.tensor([[0] * (length - len(tail)) + [1] * len(tail) for tail in tails], device=self._device)
        mask = torch.cat([fresh.new_ones((len(tails), head)), fresh], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits, cache = self._forward(ids, mask, positions[:, head:], cache)
        return _Read(cache, mask, positions[:, -1:], logits)

    def _forward(self, ids: Any, mask: Any, positions: Any, cache: Any) -> tuple[Any, Any]:
        """Return the logits (rows x vocabulary, fp32) of the last position, and the cache with the new columns."""
        known = self._arguments
        if cache is not None and only_states(cache):
            mask = mask[:, -ids.shape[1] :]
        out = self._model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=True,
            **{known.cache: cache},
            **({"position_ids": positions} if known.positions else {}),
            **({"logits_to_keep": 1} if known.last_only else {}),
        )
        return out.logits[:, -1].float(), cache if cache is not None else getattr(out, known.cache)


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all prompts begin with, at most one less than the shortest has, and 0 if too few.

    Two passes through the model cost more than a short beginning saves.
    """
    low, high = min(prompts), max(prompts)
    most = min(len(low), len(high), min(map(len, prompts)) - 1)
    count = next((at for at in range(most) if low[at] != high[at]), most)
    return count if count >= WORTH_SHARING else 0


def _similar(prompts: Sequence[tuple[int, ...]], head: int, least: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield prompts, from long to short, in groups that have at least so many tokens behind the first `head`."""
    group: list[tuple[int, ...]] = []
    for prompt in prompts:
        group.append(prompt)
        if len(group) * (len(group[0]) - head) >= least:
            yield group
            group = []
    if group:
        yield group


def _uniforms(row: Row) -> Iterator[float]:
    """Yield the row's uniform variates in [0, 1), one per new token."""
    import torch

    if row.temperature <= 0:
        yield from itertools.repeat(0.0)
    generator = torch.Generator().manual_seed(row.seed)
    while True:
        yield from torch.rand(32, generator=generator, dtype=torch.float64).tolist()


def _pick(logits: Any, temperatures: Sequence[float], uniforms: Sequence[float]) -> tuple[Any, list[bool]]:
    """Return each row's next token, and whether its logits are not numbers.

    `logits`: rows x vocabulary. `uniforms`: a uniform variate in [0, 1) per row.
    """
    import torch

    best, tokens = logits.max(dim=-1)
    sampled = [row for row, temperature in enumerate(temperatures) if temperature > 0]
    if sampled:
        index = torch.tensor(sampled, device=logits.device)
        temperature = torch.tensor([[temperatures[row]] for row in sampled], device=logits.device)
        uniform = torch.tensor([[uniforms[row]] for row in sampled], dtype=torch.float64, device=logits.device)
        # In double precision, so that a rounding which depends on the batch practically never crosses a border.
        steps = torch.softmax(logits[index] / temperature, dim=-1).double().cumsum(dim=-1)
        token = torch.searchsorted(steps, uniform * steps[:, -1:], right=True).clamp_(max=logits.shape[-1] - 1)
        tokens[index] = token[:, 0]
    return tokens, (~torch.isfinite(best)).tolist()


# ---------------------------------------------------------------------------------------------- keys and values


def keeps_everything(model: Any) -> bool:
    """Return whether every layer keeps all keys and values: no sliding window, no recurrent state.

    Only then can rows be aligned on the right and enter a batch later.
    """
    from transformers.cache_utils import DynamicLayer

    cache = empty_cache(model)
    # GPT-Neo's local attention counts columns back, and its cache does not know of it.
    local = "local" in (getattr(model.config, "attention_layers", None) or ())
    return bool(cache is not None and cache.layers and not local) and all(
        type(layer) is DynamicLayer for layer in cache.layers
    )


def takes_padding(model: Any) -> bool:
    """Return whether the layers of a model's cache are all of transformers' common kinds.

    A layer that a model's own module defines may keep more than keys and values, at places of their own (DeepSeek V4
    keeps sums over windows that begin at the first column, a pad or not).
    """
    cache = empty_cache(model)
    return cache is not None and all(type(layer).__module__ == "transformers.cache_utils" for layer in cache.layers)


def _longrope_switch(config: Any) -> int | None:
    """Return the tokens beyond which the longest row of a batch decides the rotary angles of all; None for no limit.

    This happens with LongRoPE (Phi-3 and 4; Ding et al. 2024, arXiv 2402.13753) as transformers computes it.
    """
    parameters = getattr(config, "rope_parameters", None) or {}
    # Some models have one set per kind of layer.
    sets = [parameters, *(value for value in parameters.values() if isinstance(value, dict))]
    lengths = [each.get("original_max_position_embeddings") for each in sets if each.get("rope_type") == "longrope"]
    return min((length for length in lengths if length is not None), default=None)


def _joined(parts: Sequence[_Read]) -> _Read:
    """Return the rows of all parts, aligned on the right. More than one must be written in place."""
    import torch
    from torch.nn.functional import pad

    if len(parts) == 1:
        return parts[0]
    first, *others = (part.cache for part in parts)
    for layer in first.layers:
        # Popped, so that the keys and values of a layer are let go before the next layer's are copied.
        layer.join([other.layers.pop(0) for other in others])
    columns = max(part.mask.shape[1] for part in parts)
    mask = torch.cat([pad(part.mask, (columns - part.mask.shape[1], 0)) for part in parts])
    positions, logits = (torch.cat(one) for one in zip(*((part.positions, part.logits) for part in parts), strict=True))
    return _Read(first, mask, positions, logits)


def _select(cache: Any, rows: Any) -> None:
    """Keep the rows that an index (a tensor) names, in its order."""
    for layer in cache.layers:
        # Not `batch_select_indices`, which layers with a recurrent state do not have, or have for their keys alone.
        layer.reorder_cache(rows)


def _keep(cache: Any, rows: int, places: Any, moved: Any) -> None:
    """Keep the first `rows` rows, after the rows `moved` were put into `places`."""
    for layer in cache.layers:
        layer.keep(rows, places, moved)


def _trim(cache: Any, columns: int) -> None:
    """Drop columns on the left that no row needs."""
    for layer in cache.layers:
        layer.drop(columns)
