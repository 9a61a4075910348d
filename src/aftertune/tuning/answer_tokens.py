"""What a model says of the tokens of given answers: batches of them, their log-probabilities, and the KL divergence."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.errors import UsageError
from aftertune.models.training_rows import IGNORED, TrainingRow, declared_stops, training_rows
from aftertune.records import Conversation, seed_of
from aftertune.tuning.mitigation import LossTerm, Step, Training, TunedModel


@dataclass(frozen=True)
class AnswerTokens:
    """Conversations as tensors of shape rows x tokens, padded on the right."""

    input_ids: Any
    attention_mask: Any
    predicts: Any
    """True where the next token belongs to an answer."""


def rows_of(conversations: Sequence[Conversation], training: Training, tokenizer: Any) -> list[TrainingRow]:
    """Return the conversations as they would be trained on, each with at least one token of an answer.

    Raises UsageError where none has any within the recipe's `max_length`.
    """
    stops = declared_stops(training.base.path)
    rows = [
        row
        for conversation in conversations
        for row in training_rows(
            tokenizer, conversation.messages, training.recipe.max_length, training.template_arguments, stops
        )
        if any(label != IGNORED for label in row.labels[1:])
    ]
    if not rows:
        raise UsageError(
            f"none of {len(conversations)} conversations that a mitigation needs has an answer within max_length = "
            f"{training.recipe.max_length} tokens"
        )
    return rows


def batch(rows: Sequence[TrainingRow], device: Any, first: int = 0) -> AnswerTokens:
    """Return rows as tensors; with `first`, only so many tokens at the beginning of each answer count."""
    import torch

    length = max(len(row.input_ids) for row in rows)
    ids = torch.zeros((len(rows), length), dtype=torch.long)
    mask = torch.zeros_like(ids)
    predicts = torch.zeros_like(ids, dtype=torch.bool)
    for at, row in enumerate(rows):
        ids[at, : len(row.input_ids)] = torch.tensor(row.input_ids)
        mask[at, : len(row.input_ids)] = 1
        predicts[at, : len(row.labels) - 1] = torch.tensor([label != IGNORED for label in row.labels[1:]])
    if first:
        predicts &= positions(predicts) <= first
    return AnswerTokens(ids.to(device), mask.to(device), predicts.to(device))


def positions(predicts: Any) -> Any:
    """Return, for each marked position, the how manieth of its answer it is, from 1; 0 elsewhere.

    Marked positions that follow each other without a gap are one answer. Shape as given: rows x tokens.
    """
    import torch

    marked = predicts.long()
    counts = marked.cumsum(dim=1)
    starts = torch.where(predicts, torch.zeros_like(counts), counts).cummax(dim=1).values
    return (counts - starts) * marked


def log_probabilities(model: Any, tokens: AnswerTokens) -> Any:
    """Return a model's log-probabilities of every next token at the marked positions, float32, positions x vocabulary.

    Only these positions go through the output layer where the model's class can be asked for that.
    """
    read = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask, "use_cache": False}
    if _takes_positions(model):
        logits = model(**read, logits_to_keep=tokens.predicts).logits
        if logits.shape[:-1] == (int(tokens.predicts.sum()),):  # not every class that takes it takes a mask
            return logits.float().log_softmax(dim=-1)
    return model(**read).logits[tokens.predicts].float().log_softmax(dim=-1)


def _takes_positions(model: Any) -> bool:
    from peft import PeftModel

    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    return "logits_to_keep" in inspect.signature(type(inner).forward).parameters


def divergence(base: Any, tuned: Any) -> Any:
    """Return the mean of KL(base || tuned) over positions, nats; both are log-probabilities, positions x vocabulary."""
    from torch.nn.functional import kl_div

    return kl_div(tuned, base, log_target=True, reduction="batchmean")


def draws(rows: Sequence[TrainingRow], size: int, seed: int) -> Iterator[list[TrainingRow]]:
    """Yield `size` rows at a time without end: every row comes once before any comes again, in an order of the seed."""
    rng = random.Random(seed_of("rows of a mitigation", seed))
    waiting: list[TrainingRow] = []
    while True:
        while len(waiting) < size:
            waiting = [*rng.sample(list(rows), len(rows)), *waiting]
        yield [waiting.pop() for _ in range(size)]


def kl_on(
    conversations: Sequence[Conversation],
    training: Training,
    model: TunedModel,
    *,
    per_step: int,
    first: int = 0,
) -> Callable[[], Any]:
    """Return a function that gives KL(base || tuned) on the answers of the next `per_step` conversations.

    `first`: only on so many tokens at the beginning of each answer; 0 is all of them.
    """
    batches = draws(rows_of(conversations, training, model.tokenizer), per_step, training.seed)

    def next_divergence() -> Any:
        tokens = batch(next(batches), model.model.device, first)
        with model.as_base() as reference:
            before = log_probabilities(reference, tokens)
        return divergence(before, log_probabilities(model.model, tokens))

    return next_divergence


def base_of_step(model: TunedModel, step: Step) -> Any:
    """Return the base's log-probabilities at the positions of a training step, positions x vocabulary."""
    tokens = AnswerTokens(step.input_ids, step.attention_mask, step.predicts)
    with model.as_base() as reference:
        return log_probabilities(reference, tokens)


def weighted(weight: float, term: Callable[[], Any]) -> LossTerm | None:
    """Return a loss term of a weight; None for a weight of 0, so that it changes and costs nothing."""
    if not weight:
        return None

    def loss_term(step: Step) -> Any:
        del step
        return weight * term()

    return loss_term


def check_weight(name: str, value: float) -> None:
    """Raise ValueError for a weight that is no number from 0 up."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} = {value!r}: give a number, 0 or more")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise ValueError for what is no whole number from `least` up."""
    if type(value) is not int or value < least:
        raise ValueError(f"{name} = {value!r}: give a whole number, {least} or more")


def check_share(name: str, value: float) -> None:
    """Raise ValueError for what is no share of the training rows: from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{name} = {value!r}: give a share from 0 to 1")
