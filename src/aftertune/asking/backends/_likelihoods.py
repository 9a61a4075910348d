"""How probable a model finds given answers, and given texts as the beginning of its answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.asking.backends._decoding import Batching
from aftertune.asking.backends._prompt_tokens import before_answer, continuation_ids, declared, prompt_ids
from aftertune.errors import AftertuneError, DataError, first_line
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.forward_pass import forward_arguments
from aftertune.models.session import Beginnings, BeginningScore, TextScore
from aftertune.models.training_rows import IGNORED, TrainingRow, training_rows
from aftertune.records import Conversation, Json

log = logging.getLogger(__name__)

FLOATS = 1 << 28
"""Most logits in memory at a time, unless one conversation alone has more: 1 GiB in fp32."""
SAME = 0.01
"""Share of the largest logit by which the logits of marked positions may be away from those of all: they are the same
products, in another order."""
LEAST = 1e-12
"""Least share of its probability that a text keeps when longer texts that begin with it are taken out."""
NOT_NUMBERS = "the model's logits are not numbers"


def score_texts(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Conversation],
    max_length: int,
    batch_size: int,
    arguments: Mapping[str, Json] = NO_ARGUMENTS,
    batching: Batching = "any",
) -> list[TextScore]:
    """Return each conversation's negative log-likelihood over its assistant tokens (nats), in order.

    The tokens and labels are those that tuning takes its loss on, of all rows of a conversation. A row longer than
    `max_length` tokens is cut there, as in tuning; a conversation that the chat template refuses, or without assistant
    tokens, has no score and says why. `arguments` are for the chat template; `batching` says which rows may go through
    the model together.
    """
    import torch

    scores: list[list[TextScore]] = [[] for _ in conversations]
    ready: list[tuple[int, TrainingRow]] = []
    stops = declared(model)
    for index, conversation in enumerate(conversations):
        try:
            rows = training_rows(tokenizer, conversation.messages, max_length, arguments, stops)
        except AftertuneError as error:
            scores[index] = [TextScore(None, 0, str(error))]
            continue
        labelled = [row for row in rows if any(label != IGNORED for label in row.labels[1:])]
        ready += [(index, row) for row in labelled]
        if not labelled:
            scores[index] = [TextScore(None, 0, f"no answer within the first {max_length} tokens")]
    ready.sort(key=lambda item: len(item[1].input_ids))
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    with torch.inference_mode():
        chosen = bool(ready) and _chosen_positions(model, ready[0][1].input_ids)
        for batch in _score_batches(ready, vocabulary, batch_size, batching, chosen=chosen):
            found = _score_batch(model, [row for _, row in batch], chosen=chosen)
            for (index, _), score in zip(batch, found, strict=True):
                scores[index].append(score)
    return [_total(own) for own in scores]


def _chosen_positions(model: Any, ids: Sequence[int]) -> bool:
    """Return whether a model computes the logits of marked positions alone, by trying it on the text `ids`.

    Not every class that takes `logits_to_keep` takes a mask, and some change what they read with it.
    """
    import torch

    if not forward_arguments(model).last_only:
        return False
    text = torch.tensor([list(ids)], device=model.device)
    wanted = torch.zeros_like(text, dtype=torch.bool)
    wanted[0, :: max(1, len(ids) - 1)] = True  # the first and the last
    whole = model(input_ids=text, use_cache=False).logits
    try:
        own = model(input_ids=text, use_cache=False, logits_to_keep=wanted).logits
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return False
    expected = whole[wanted]
    return bool(own.shape == expected.shape and (own - expected).abs().max() <= SAME * expected.abs().max())


def _total(rows: Sequence[TextScore]) -> TextScore:
    """Return the score of a conversation from those of its rows."""
    totals = [row.total for row in rows if row.total is not None]
    count = sum(row.tokens for row in rows)
    if len(totals) < len(rows):
        return TextScore(None, count, next(row.why for row in rows if row.total is None))
    return TextScore(sum(totals), count)


def _score_batches(
    ready: Sequence[tuple[int, TrainingRow]], vocabulary: int, largest: int, batching: Batching, *, chosen: bool
) -> Iterator[list[tuple[int, TrainingRow]]]:
    """Yield rows that are scored together; `chosen`: the logits of labelled positions alone are computed."""
    batch: list[tuple[int, TrainingRow]] = []
    labelled = 0
    for item in ready:  # from short to long, so the newest is the longest
        own = sum(label != IGNORED for label in item[1].labels[1:])
        positions = labelled + own if chosen else (len(batch) + 1) * len(item[1].input_ids)
        lengths = [len(one.input_ids) for _, one in (*batch[:1], item)]
        full = positions * vocabulary > FLOATS or len(batch) >= largest
        if batch and (full or not _together(lengths, batching)):
            yield batch
            batch, labelled = [], 0
        batch.append(item)
        labelled += own
    if batch:
        yield batch


def _together(lengths: Sequence[int], batching: Batching) -> bool:
    """Return whether two texts of these lengths may stand in one batch."""
    return batching == "any" or (batching == "equal lengths" and lengths[0] == lengths[-1])


def _score_batch(model: Any, examples: Sequence[TrainingRow], *, chosen: bool) -> list[TextScore]:
    import torch

    width = max(len(example.input_ids) for example in examples)
    device = model.device

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Any:
        return torch.tensor([list(row) + [fill] * (width - len(row)) for row in rows], device=device)

    ids = padded([example.input_ids for example in examples], 0)
    mask = padded([[1] * len(example.input_ids) for example in examples], 0)
    # A token is predicted at the position before it.
    labels = padded([[*example.labels[1:], IGNORED] for example in examples], IGNORED)
    predicts = labels != IGNORED
    own = {"logits_to_keep": predicts} if chosen else {}
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **own).logits
    logits = (logits if chosen else logits[predicts]).float()
    # A log-softmax by hand, in place: one value a row is wanted. Without the largest logit the sums are as exact as it.
    logits = logits - logits.amax(-1, keepdim=True)
    wanted = logits.gather(1, labels[predicts][:, None])[:, 0].double()
    losses = logits.exp_().sum(-1).double().log() - wanted
    totals = losses.new_zeros(len(examples)).index_add_(0, predicts.nonzero()[:, 0], losses).tolist()
    counts = predicts.sum(1).tolist()
    return [
        TextScore(total, count) if math.isfinite(total) else TextScore(None, count, NOT_NUMBERS)
        for total, count in zip(totals, counts, strict=True)
    ]


# ---------------------------------------------------------------------------------------------- beginnings


@dataclass(frozen=True, slots=True)
class Branches:
    """A prompt and the texts that may follow it, as token ids."""

    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]
    """Each at least one token."""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One row of a forward pass: a prompt with the longest beginning of some of its continuations."""

    index: int
    """Of the prompt."""
    ids: Sequence[int]
    prefix: tuple[int, ...]


def score_beginnings(
    model: Any,
    writer: Any,
    tokenizer: Any,
    items: Sequence[Beginnings],
    system: str | None,
    context: int | None,
    pad: int,
    batch_size: int,
    batching: Batching = "any",
) -> list[BeginningScore]:
    """Return how probable a model finds the texts of each prompt, in order; a prompt that cannot be read says why.

    `writer` and `tokenizer` as in `prompt_ids`; `context` is the model's, in tokens; `pad` any token; `batching` says
    which prompts may go through the model together.
    """
    stops = declared(model)
    scores: list[BeginningScore | None] = [None] * len(items)
    ready: list[tuple[int, Branches]] = []
    for index, item in enumerate(items):
        messages = item.prompt.messages
        ids = prompt_ids(writer, tokenizer, messages, system, context, item.template_arguments)
        if isinstance(ids, str):
            scores[index] = BeginningScore(None, why=ids)
            continue
        try:
            before = before_answer(writer, item.template_arguments, stops)
        except DataError as error:
            scores[index] = BeginningScore(None, why=str(error))
            continue
        ids, texts = continuation_ids(
            writer, tokenizer, messages, system, ids, item.texts, before, item.template_arguments
        )
        length = len(ids) + max(map(len, texts))
        if not all(texts):
            scores[index] = BeginningScore(None, why="a text to score has no tokens")
        elif context is not None and length > context:
            scores[index] = BeginningScore(None, why=f"prompt and text have {length} tokens, the model reads {context}")
        else:
            ready.append((index, Branches(ids, texts)))
    step = max(batch_size, 1)
    for start in range(0, len(ready), step):
        _fill(model, ready[start : start + step], pad, batch_size, batching, scores)
    return [score for score in scores if score is not None]


def _fill(
    model: Any,
    ready: Sequence[tuple[int, Branches]],
    pad: int,
    batch_size: int,
    batching: Batching,
    scores: list[BeginningScore | None],
) -> None:
    why = ""
    try:
        sums = log_probabilities(model, [branches for _, branches in ready], pad, batch_size, batching)
    except (RuntimeError, IndexError, ValueError) as error:  # one prompt must not take the others with it
        why = f"{type(error).__name__}: {first_line(error)}"
    if why and len(ready) == 1:
        scores[ready[0][0]] = BeginningScore(None, why=why)
        return
    if why:  # only here is the error released, and with its frames the memory of the failed batch
        log.info("a batch of %d failed (%s): halved", len(ready), why.partition(":")[0])
        for half in (ready[: len(ready) // 2], ready[len(ready) // 2 :]):
            _fill(model, half, pad, len(half), batching, scores)
        return
    for (index, branches), values in zip(ready, sums, strict=True):
        lengths = tuple(map(len, branches.continuations))
        why = NOT_NUMBERS if values is None else ""
        scores[index] = BeginningScore(None if values is None else tuple(values), lengths, len(branches.prompt), why)


def log_probabilities(
    model: Any, prompts: Sequence[Branches], pad: int, batch_size: int, batching: Batching = "any"
) -> list[list[float] | None]:
    """Return the log-probability (nats) of each continuation of each prompt, in order.

    It is the sum of log p(token | everything before it). Where the tokens of one continuation begin those of another
    of the same prompt (`1` and `10`), the first excludes what continues as the other. A prompt and what its
    continuations share is read once: rows are padded on the left and only the last positions' logits are computed.
    None where the model's logits are not numbers.
    """
    passes = [
        _Pass(index, [*branches.prompt, *prefix], prefix)
        for index, branches in enumerate(prompts)
        for prefix in _prefixes(branches)
    ]
    passes.sort(key=lambda row: len(row.ids))
    sums: list[dict[tuple[int, ...], float]] = [{} for _ in prompts]
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    batch: list[_Pass] = []
    for row in passes:
        keep = max(len(each.prefix) for each in (*batch, row)) + 1
        full = len(batch) >= batch_size or (len(batch) + 1) * keep * vocabulary > FLOATS
        if batch and (full or not _together([len(batch[0].ids), len(row.ids)], batching)):
            _read(model, batch, prompts, pad, sums)
            batch = []
        batch.append(row)
    if batch:
        _read(model, batch, prompts, pad, sums)
    return [_exclusive(branches, own) for branches, own in zip(prompts, sums, strict=True)]


def _prefixes(branches: Branches) -> list[tuple[int, ...]]:
    """Return the beginnings that must be read: all but the last token of each, unless a longer one includes it."""
    needed = sorted({tuple(each[:-1]) for each in branches.continuations}, key=len, reverse=True)
    prefixes: list[tuple[int, ...]] = []
    for prefix in needed:
        if not any(longer[: len(prefix)] == prefix for longer in prefixes):
            prefixes.append(prefix)
    return prefixes


def _read(
    model: Any,
    batch: Sequence[_Pass],
    prompts: Sequence[Branches],
    pad: int,
    sums: Sequence[dict[tuple[int, ...], float]],
) -> None:
    """Run one batch and add to `sums`, per prompt, the log-probabilities of the continuations that it covers."""
    import torch

    width = max(len(row.ids) for row in batch)
    keep = max(len(row.prefix) for row in batch) + 1
    device = model.device
    ids = torch.tensor([[pad] * (width - len(row.ids)) + list(row.ids) for row in batch], device=device)
    mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in batch], device=device)
    known = forward_arguments(model)
    with torch.inference_mode():
        out = model(
            input_ids=ids,
            attention_mask=mask,
            use_cache=False,
            **({"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if known.positions else {}),
            **({"logits_to_keep": keep} if known.last_only else {}),
        )
        logits = out.logits[:, -keep:].float()
        norm = torch.logsumexp(logits, -1)
    for position, row in enumerate(batch):
        own = sums[row.index]
        todo = [
            tuple(each)
            for each in prompts[row.index].continuations
            if row.prefix[: len(each) - 1] == tuple(each[:-1]) and tuple(each) not in own
        ]
        first = keep - 1 - len(row.prefix)
        rows = torch.tensor([first + k for each in todo for k in range(len(each))], device=device)
        tokens = torch.tensor([token for each in todo for token in each], device=device)
        values = (logits[position, rows, tokens] - norm[position, rows]).double().tolist()
        start = 0
        for each in todo:
            own[each] = sum(values[start : start + len(each)])
            start += len(each)


def _exclusive(branches: Branches, sums: dict[tuple[int, ...], float]) -> list[float] | None:
    """Return each continuation's log-probability without that of the longer ones that begin with it."""
    if not all(math.isfinite(value) for value in sums.values()):
        return None
    own = {key: value + _remainder(value, [sums[longer] for longer in _next(key, sums)]) for key, value in sums.items()}
    return [own[tuple(each)] for each in branches.continuations]


def _next(key: tuple[int, ...], sums: dict[tuple[int, ...], float]) -> list[tuple[int, ...]]:
    """Return the continuations that extend `key` with no other one in between."""
    longer = [each for each in sums if len(each) > len(key) and each[: len(key)] == key]
    return [each for each in longer if not any(len(o) < len(each) and each[: len(o)] == o for o in longer)]


def _remainder(value: float, parts: Sequence[float]) -> float:
    """Return the logarithm of the share of exp(value) that remains without the parts exp(parts)."""
    share = sum(math.exp(min(part - value, 0.0)) for part in parts)
    return math.log(max(1.0 - share, LEAST)) if parts else 0.0
