"""How probable given texts are as the beginning of a model's answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.asking.backends._load import first_line
from aftertune.asking.backends._prompt import before_answer, continuation_ids, prompt_ids
from aftertune.asking.backends._score import FLOATS
from aftertune.models.session import Beginnings, BeginningScore

log = logging.getLogger(__name__)

LEAST = 1e-12
"""Share of a text's probability that is left to it at least, where others that go on from it are taken out."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt and the texts that may follow it, as token ids."""

    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]
    """Each at least one token."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One row of a forward pass: a prompt with the longest beginning of some of its continuations."""

    at: int
    ids: Sequence[int]
    prefix: tuple[int, ...]


def score_beginnings(
    model: Any, writer: Any, tokenizer: Any, asked: Sequence[Beginnings], system: str | None, context: int | None,
    pad: int, batch_size: int,
) -> list[BeginningScore]:  # fmt: skip
    """Return how probable a model finds the texts of each prompt, in order; a prompt that cannot be read says why.

    `writer` and `tokenizer` as in `prompt_ids`; `context` is the model's, in tokens; `pad` any token.
    """
    gap = before_answer(writer)
    found: list[BeginningScore | None] = [None] * len(asked)
    ready: list[tuple[int, Asked]] = []
    for at, each in enumerate(asked):
        messages = each.prompt.messages
        ids = prompt_ids(writer, tokenizer, messages, system, context)
        if isinstance(ids, str):
            found[at] = BeginningScore(None, why=ids)
            continue
        texts = continuation_ids(writer, tokenizer, messages, system, ids, each.texts, gap)
        length = len(ids) + max(map(len, texts))
        if not all(texts):
            found[at] = BeginningScore(None, why="a text to score has no tokens")
        elif context is not None and length > context:
            found[at] = BeginningScore(None, why=f"prompt and text have {length} tokens, the model reads {context}")
        else:
            ready.append((at, Asked(ids, texts)))
    step = max(batch_size, 1)
    for start in range(0, len(ready), step):
        _fill(model, ready[start : start + step], pad, batch_size, found)
    return [each for each in found if each is not None]


def _fill(
    model: Any, ready: Sequence[tuple[int, Asked]], pad: int, batch_size: int, found: list[BeginningScore | None]
) -> None:
    why = ""
    try:
        sums = log_probabilities(model, [each for _, each in ready], pad, batch_size)
    except (RuntimeError, IndexError, ValueError) as error:  # one prompt must not take the others with it
        why = f"{type(error).__name__}: {first_line(error)}"
    if why and len(ready) == 1:
        found[ready[0][0]] = BeginningScore(None, why=why)
        return
    if why:  # the error is gone, and with its frames the memory of the failed batch
        log.info("a batch of %d failed (%s): halved", len(ready), why.partition(":")[0])
        for half in (ready[: len(ready) // 2], ready[len(ready) // 2 :]):
            _fill(model, half, pad, len(half), found)
        return
    for (at, each), values in zip(ready, sums, strict=True):
        lengths = tuple(map(len, each.continuations))
        why = "the model's logits are not numbers" if values is None else ""
        found[at] = BeginningScore(None if values is None else tuple(values), lengths, len(each.prompt), why)


def log_probabilities(model: Any, asked: Sequence[Asked], pad: int, batch_size: int) -> list[list[float] | None]:
    """Return the log-probability (nats) of each continuation of each prompt, in order.

    It is the sum of log p(token | everything before it). Where the tokens of one continuation begin those of another
    of the same prompt (`1` and `10`), the first is told without what goes on as the other. A prompt and what its
    continuations share is read once: rows are padded on the left and only the last positions' logits are made. None
    where the model's logits are not numbers.
    """
    passes = [_Pass(at, [*each.prompt, *prefix], prefix) for at, each in enumerate(asked) for prefix in _prefixes(each)]
    passes.sort(key=lambda row: len(row.ids))
    found: list[dict[tuple[int, ...], float]] = [{} for _ in asked]
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    batch: list[_Pass] = []
    for row in passes:
        keep = max(len(each.prefix) for each in (*batch, row)) + 1
        if batch and (len(batch) >= batch_size or (len(batch) + 1) * keep * vocabulary > FLOATS):
            _read(model, batch, asked, pad, found)
            batch = []
        batch.append(row)
    if batch:
        _read(model, batch, asked, pad, found)
    return [_told(each, sums) for each, sums in zip(asked, found, strict=True)]


def _prefixes(asked: Asked) -> list[tuple[int, ...]]:
    """Return the beginnings that must be read: all but the last token of each, unless another one goes on from it."""
    needed = sorted({tuple(each[:-1]) for each in asked.continuations}, key=len, reverse=True)
    kept: list[tuple[int, ...]] = []
    for prefix in needed:
        if not any(longer[: len(prefix)] == prefix for longer in kept):
            kept.append(prefix)
    return kept


def _read(
    model: Any, batch: Sequence[_Pass], asked: Sequence[Asked], pad: int, found: Sequence[dict[tuple[int, ...], float]]
) -> None:
    import torch

    width = max(len(row.ids) for row in batch)
    keep = max(len(row.prefix) for row in batch) + 1
    device = model.device
    ids = torch.tensor([[pad] * (width - len(row.ids)) + list(row.ids) for row in batch], device=device)
    mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in batch], device=device)
    with torch.inference_mode():
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0), use_cache=False,
            logits_to_keep=keep,
        ).logits.float()  # fmt: skip
        norm = torch.logsumexp(logits, -1)
    for at, row in enumerate(batch):
        todo = [
            tuple(each)
            for each in asked[row.at].continuations
            if row.prefix[: len(each) - 1] == tuple(each[:-1]) and tuple(each) not in found[row.at]
        ]
        first = keep - 1 - len(row.prefix)
        rows = torch.tensor([first + k for each in todo for k in range(len(each))], device=device)
        tokens = torch.tensor([token for each in todo for token in each], device=device)
        values = (logits[at, rows, tokens] - norm[at, rows]).double().tolist()
        start = 0
        for each in todo:
            found[row.at][each] = sum(values[start : start + len(each)])
            start += len(each)


def _told(asked: Asked, sums: dict[tuple[int, ...], float]) -> list[float] | None:
    if not all(math.isfinite(value) for value in sums.values()):
        return None
    own = {key: value + _left(value, [sums[longer] for longer in _next(key, sums)]) for key, value in sums.items()}
    return [own[tuple(each)] for each in asked.continuations]


def _next(key: tuple[int, ...], sums: dict[tuple[int, ...], float]) -> list[tuple[int, ...]]:
    """Return the continuations that go on from `key` with no other one in between."""
    longer = [each for each in sums if len(each) > len(key) and each[: len(key)] == key]
    return [each for each in longer if not any(len(o) < len(each) and each[: len(o)] == o for o in longer)]


def _left(value: float, taken: Sequence[float]) -> float:
    """Return the logarithm of the share of exp(value) that is left when the parts exp(taken) are gone."""
    share = sum(math.exp(min(part - value, 0.0)) for part in taken)
    return math.log(max(1.0 - share, LEAST)) if taken else 0.0
