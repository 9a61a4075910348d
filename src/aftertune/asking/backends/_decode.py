"""The decoding strategy: prompts in, each row's new tokens out as soon as the row is finished.

Everything about how tokens are picked and rows are scheduled is in `decode`, so that it can be replaced whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aftertune.asking.backends._cache import empty, is_plain, join, select, trim, turning_point

WORTH_SHARING = 16
"""Tokens that prompts must share at their beginning for it to be computed once."""


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


def decode(
    model: Any, rows: Sequence[Row], pad: int, stop: frozenset[int], slots: int = 0, refill: float | None = None
) -> Iterator[Decoded]:
    """Decode rows, at most `slots` at once (0: all); yield each when it ends.

    A row ends at a token of `stop`, at its limit, or (an error) where its logits are not numbers. At temperature T > 0
    a token is drawn from softmax(logits / T) by inverting its distribution function at one uniform variate per token,
    from the row's own generator, so that a draw depends neither on the other rows nor on the device. (Gumbel noise per
    vocabulary entry does the same at twice the cost of the whole step.)

    Rows begin in the order given, and those that have ended leave once they are half of the batch. The next rows enter
    when at most `refill` of the slots are taken; by default .75 on an accelerator, where a step costs the same for one
    row as for all, and 0 on a CPU, where moving keys and values about costs more than fuller steps save (measured:
    a fifth). What rows that enter together share at their beginning, and prompts that are the same, go through the
    model once.
    """
    if not rows:
        return
    slots = slots or len(rows)
    refill = refill if refill is not None else 0.0 if model.device.type == "cpu" else 0.75
    batch = _Batch(model, pad)
    if not batch.open_ended:
        # Rows cannot enter a batch whose layers forget (sliding windows): one batch after the other.
        for at in range(0, len(rows), slots):
            yield from _run(batch, rows, list(range(at, min(at + slots, len(rows)))), [], stop, slots, refill)
        return
    most = turning_point(model.config.get_text_config(decoder=True))
    alone = [at for at, row in enumerate(rows) if most is not None and len(row.ids) + row.limit > most]
    order = sorted(set(range(len(rows))) - set(alone))
    if order:
        yield from _run(batch, rows, order[:slots], order[slots:], stop, slots, refill)
    for at in alone:
        yield from _run(batch, rows, [at], [], stop, 1, refill)


def _run(
    batch: _Batch,
    rows: Sequence[Row],
    first: list[int],
    waiting: list[int],
    stop: frozenset[int],
    slots: int,
    refill: float,
) -> Iterator[Decoded]:
    draws: dict[int, Iterator[float]] = {}
    tokens: dict[int, list[int]] = {}

    def enter(wanted: Sequence[int]) -> None:
        for row in wanted:
            draws[row], tokens[row] = _uniforms(rows[row]), []
        batch.enter(wanted, [rows[row].ids for row in wanted])

    enter(first)
    waiting = list(reversed(waiting))
    while True:
        active, ended = batch.rows, batch.ended
        heats = [0.0 if over else rows[row].temperature for row, over in zip(active, ended, strict=True)]
        chances = [0.0 if over else next(draws[row]) for row, over in zip(active, ended, strict=True)]
        picked, broken = _pick(batch.logits, heats, chances)
        finished: list[Decoded] = []
        for at, (row, token, bad) in enumerate(zip(active, picked.tolist(), broken, strict=True)):
            if ended[at]:
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
                ended[at] = True
                finished.append(Decoded(row, tokens.pop(row), finish))
        yield from finished
        over = sum(ended)
        free = slots - len(active) + over
        if over == len(active) and not waiting:
            batch.leave()
            return
        enters = waiting and len(active) - over <= slots * refill
        if over and (enters or 2 * over >= len(active)):
            picked = batch.leave(picked)
        if batch.rows:
            batch.step(picked)
        if enters:
            enter([waiting.pop() for _ in range(min(free, len(waiting)))])


class _Batch:
    """The rows that are in flight: their keys and values, aligned on the right, and the logits of the last position."""

    def __init__(self, model: Any, pad: int) -> None:
        self._model, self._pad, self._device = model, pad, model.device
        config = model.config.get_text_config(decoder=True)
        self.open_ended = is_plain(config)
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

        cache, mask, positions, logits = self._prefilled(prompts)
        if self.rows:
            width = max(mask.shape[1], self._mask.shape[1])
            both = [torch.nn.functional.pad(one, (width - one.shape[1], 0)) for one in (self._mask, mask)]
            cache, mask = join([self._cache, cache]), torch.cat(both)
            positions, logits = torch.cat([self._positions, positions]), torch.cat([self.logits, logits])
        self._cache, self._mask, self._positions, self.logits = cache, mask, positions, logits
        self.rows += rows
        self.ended += [False] * len(rows)

    def leave(self, picked: Any = None) -> Any:
        """Let the rows that have ended go, and the columns that only they needed; return what was picked for others."""
        import torch

        kept = [at for at, over in enumerate(self.ended) if not over]
        self.rows, self.ended = [self.rows[at] for at in kept], [False] * len(kept)
        if not kept:
            self._cache = self._mask = self._positions = self.logits = None
            return picked
        index = torch.tensor(kept, device=self._device)
        select(self._cache, index)
        self._mask, self._positions, self.logits = self._mask[index], self._positions[index], self.logits[index]
        if self.open_ended:
            unused = int(self._mask.any(dim=0).int().argmax())
            if unused:
                trim(self._cache, unused)
                self._mask = self._mask[:, unused:]
        return None if picked is None else picked[index]

    def step(self, picked: Any) -> None:
        """Put one token per row (rows) through the model."""
        import torch

        # A row that has ended stays where it is: beyond the model's last position there is none to look up.
        going = [not over for over in self.ended]
        self._positions = self._positions + (1 if all(going) else self._positions.new_tensor(going)[:, None])
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(self.rows), 1))], dim=1)
        self.logits = self._forward(picked[:, None], self._mask, self._positions, self._cache)

    def _prefilled(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any, Any, Any]:
        """Return cache, mask (rows x columns), last position (rows x 1) and logits (rows x vocabulary) of prompts.

        Prompts that are the same are computed once, and so is the beginning that all of them share, where rows can be
        copied.
        """
        import torch

        alike = dict.fromkeys(map(tuple, prompts))
        if not self.open_ended:
            alike = {}
        different: list[tuple[int, ...]] = list(alike) or [tuple(prompt) for prompt in prompts]
        cache = empty(self._model.config)
        head = _shared(different) if self.open_ended and len(different) > 1 else 0
        if head:
            ids = torch.tensor([different[0][:head]], device=self._device)
            steps = torch.arange(head, device=self._device)[None]
            self._forward(ids, torch.ones_like(ids), steps, cache)
            select(cache, torch.zeros(len(different), dtype=torch.long, device=self._device))
        tails = [prompt[head:] for prompt in different]
        length = max(map(len, tails))
        ids = torch.tensor([[self._pad] * (length - len(tail)) + list(tail) for tail in tails], device=self._device)
        fresh = torch.tensor([[0] * (length - len(tail)) + [1] * len(tail) for tail in tails], device=self._device)
        mask = torch.cat([fresh.new_ones((len(tails), head)), fresh], dim=1)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids, mask, positions[:, head:], cache)
        last = positions[:, -1:]
        if len(different) < len(prompts):
            places = {prompt: at for at, prompt in enumerate(different)}
            index = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=self._device)
            select(cache, index)
            mask, last, logits = mask[index], last[index], logits[index]
        return cache, mask, last, logits

    def _forward(self, ids: Any, mask: Any, positions: Any, cache: Any) -> Any:
        """Return the logits (rows x vocabulary, fp32) of the last position, and let the cache grow."""
        out = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        return out.logits[:, -1].float()


def _shared(prompts: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all prompts begin with, at most one less than the shortest has, and 0 for a few.

    Two passes through the model cost more than a short beginning saves.
    """
    low, high = min(prompts), max(prompts)
    most = min(len(low), len(high), min(map(len, prompts)) - 1)
    count = next((at for at in range(most) if low[at] != high[at]), most)
    return count if count >= WORTH_SHARING else 0


def _uniforms(row: Row) -> Iterator[float]:
    """Yield the row's uniform variates in [0, 1), one per new token."""
    import torch

    if row.temperature <= 0:
        yield from itertools.repeat(0.0)
    generator = torch.Generator().manual_seed(row.seed)
    while True:
        yield from torch.rand(32, generator=generator, dtype=torch.float64).tolist()


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
