"""How probable a model finds the answers of given conversations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from aftertune.errors import AftertuneError
from aftertune.models.chat import IGNORED, TrainingExample, training_example
from aftertune.models.session import TextScore
from aftertune.records import Conversation

FLOATS = 1 << 28
"""Logits held at a time, at most, unless one conversation alone has more: 1 GiB in fp32."""


def score_texts(
    model: Any, tokenizer: Any, conversations: Sequence[Conversation], max_length: int, batch_size: int
) -> list[TextScore]:
    """Return each conversation's negative log-likelihood over its assistant tokens (nats), in order.

    The tokens and labels are those that tuning takes its loss on. A conversation longer than `max_length` tokens is
    cut there, as in tuning; one that the chat template refuses, or without assistant tokens, has no score and says why.
    """
    import torch

    found: list[TextScore | None] = [None] * len(conversations)
    ready: list[tuple[int, TrainingExample]] = []
    for at, conversation in enumerate(conversations):
        try:
            example = training_example(tokenizer, conversation.messages, max_length)
        except AftertuneError as error:
            found[at] = TextScore(None, 0, str(error))
            continue
        if any(label != IGNORED for label in example.labels[1:]):
            ready.append((at, example))
        else:
            found[at] = TextScore(None, 0, f"no answer within the first {max_length} tokens")
    ready.sort(key=lambda item: len(item[1].input_ids))
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    with torch.inference_mode():
        for batch in _batches(ready, vocabulary, batch_size):
            for (at, _), score in zip(batch, _batch(model, [example for _, example in batch]), strict=True):
                found[at] = score
    return [score for score in found if score is not None]


def _batches(
    ready: Sequence[tuple[int, TrainingExample]], vocabulary: int, most: int
) -> Iterator[list[tuple[int, TrainingExample]]]:
    batch: list[tuple[int, TrainingExample]] = []
    for item in ready:  # from short to long, so the newest is the longest
        full = (len(batch) + 1) * len(item[1].input_ids) * vocabulary > FLOATS
        if batch and (full or len(batch) >= most):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _batch(model: Any, examples: Sequence[TrainingExample]) -> list[TextScore]:
    import torch

    width = max(len(example.input_ids) for example in examples)
    device = model.device

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Any:
        return torch.tensor([list(row) + [fill] * (width - len(row)) for row in rows], device=device)

    ids = padded([example.input_ids for example in examples], 0)
    mask = padded([[1] * len(example.input_ids) for example in examples], 0)
    labels = padded([example.labels for example in examples], IGNORED)[:, 1:]
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none"
    ).double()
    counts = (labels != IGNORED).sum(1).tolist()
    return [
        TextScore(total, count) if total == total and abs(total) != float("inf") else
        TextScore(None, count, "the model's logits are not numbers")
        for total, count in zip(losses.sum(1).tolist(), counts, strict=True)
    ]  # fmt: skip
