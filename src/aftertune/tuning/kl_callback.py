"""KL to the base for trainings outside aftertune: a callback of transformers' and TRL's trainers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback
from transformers.training_args import ParallelMode

from aftertune.data import chat_rows
from aftertune.data.openings import behind_openings
from aftertune.errors import UsageError
from aftertune.models.training_rows import IGNORED, TrainingRow, training_rows
from aftertune.records import Conversation
from aftertune.tuning.answer_tokens import batch, check_count, check_weight, divergence, draws, log_probabilities


def kl_to_base(
    rows: Sequence[Mapping[str, Any]],
    *,
    weight: float = 1.0,
    in_context_of: Sequence[Mapping[str, Any]] = (),
    rows_per_step: int = 1,
    first_tokens: int = 0,
    max_length: int = 1024,
    seed: int = 0,
) -> TrainerCallback:
    """Return a callback for `SFTTrainer(callbacks=[...])` that holds what the base says of given answers.

    The gradient of weight x KL(base || tuned), averaged over the tokens of the answers, joins that of the task's loss
    before it is clipped, once for each optimizer step: as if it stood in the loss. The base is the model without its
    PEFT adapter; where a full model is trained, it is copied as the training begins. The divergence is logged as
    `kl_to_base` beside the loss.

    Args:
        rows: Conversations, best the base's own refusals of harmful requests and its own answers to ordinary ones, in
            any form of a tuning set: `{"messages": [...]}`, `{"prompt": ..., "completion": ...}` and others.
        weight: Of the divergence, beside the task's loss; 0 changes nothing.
        in_context_of: The training rows: each conversation then stands there a second time, its request behind the
            opening of one of these, so that it is held in the context of the tuned task, too.
        rows_per_step: Conversations in each step; every one comes once before any comes again.
        first_tokens: Only so many tokens at the beginning of each answer count; 0 is all.
        max_length: Tokens at which a conversation is cut.
        seed: Fixes their order, and which openings they stand behind.

    Raises UsageError for a dose that cannot be, for no rows and for training rows without a user's turn, DataError for
    a row that is no conversation; and as the training begins UsageError for one in several processes or with fp16,
    whose gradients are scaled.
    """
    try:
        check_weight("weight", weight)
        check_count("rows_per_step", rows_per_step)
        check_count("first_tokens", first_tokens, least=0)
        check_count("max_length", max_length)
    except ValueError as error:
        raise UsageError(f"kl_to_base: {error}") from None
    if not rows:
        raise UsageError("kl_to_base: rows is empty: give conversations, e.g. the base's own refusals")
    chats = _read("rows", rows)
    if in_context_of:
        dressed = behind_openings(chats, _read("in_context_of", in_context_of), seed)
        if not dressed:
            raise UsageError("kl_to_base: in_context_of has no row with a user's turn, to take an opening from")
        chats += dressed
    return _KlToBase([chat.messages for chat in chats], weight, rows_per_step, first_tokens, max_length, seed)


def _read(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Conversation]:
    return [chat_rows.conversation(row, f"{name}[{at}]", at + 1) for at, row in enumerate(rows)]


class _KlToBase(TrainerCallback):
    def __init__(
        self, chats: Sequence[Any], weight: float, rows_per_step: int, first_tokens: int, max_length: int, seed: int
    ) -> None:
        self._chats, self._weight, self._first = chats, weight, first_tokens
        self._per_step, self._max_length, self._seed = rows_per_step, max_length, seed
        self._batches: Iterator[list[TrainingRow]] = iter(())
        self._copy: Any = None
        self._seen: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Tokenise the conversations and keep the base."""
        from peft import PeftModel

        del state, control
        if not self._weight:
            return
        if args.parallel_mode != ParallelMode.NOT_PARALLEL and args.world_size * max(args.n_gpu, 1) > 1:
            raise UsageError("kl_to_base: the training runs in several processes or on several GPUs; use one")
        if args.fp16:
            raise UsageError("kl_to_base: fp16 scales gradients; train with bf16 or fp32")
        tokenizer, model = about["processing_class"], about["model"]
        stops = model.generation_config.eos_token_id if model.generation_config else None
        ends = frozenset(() if stops is None else stops if isinstance(stops, list) else [stops])
        written = [row for chat in self._chats for row in training_rows(tokenizer, chat, self._max_length, {}, ends)]
        kept = [row for row in written if any(label != IGNORED for label in row.labels[1:])]
        if not kept:
            raise UsageError(f"kl_to_base: no row has an answer within max_length = {self._max_length} tokens")
        self._batches = draws(kept, self._per_step, self._seed)
        if not isinstance(model, PeftModel):
            self._copy = copy.deepcopy(model).eval().requires_grad_(False)
            # accelerate puts a forward of its own on the model; in a copy it would still run the original.
            self._copy.__dict__.pop("forward", None)

    def on_step_begin(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Add the gradient of the weighted divergence to those of the step that begins."""
        del state, control
        if not self._weight:
            return
        import torch

        model = about["model"]
        half = torch.autocast(model.device.type, torch.bfloat16) if args.bf16 else contextlib.nullcontext()
        with half:
            tokens = batch(next(self._batches), model.device, self._first)
            with self._as_base(model) as base:
                before = log_probabilities(base, tokens)
            apart = divergence(before, log_probabilities(model, tokens))
        (self._weight * apart).backward()
        self._seen.append(float(apart.detach()))

    def on_log(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Write the mean divergence since the last log beside the loss."""
        del args, control
        logs = about.get("logs")
        if self._seen and logs is not None and "loss" in logs:
            logs["kl_to_base"] = state.log_history[-1]["kl_to_base"] = sum(self._seen) / len(self._seen)
            self._seen.clear()

    @contextmanager
    def _as_base(self, model: Any) -> Iterator[Any]:
        import torch

        with torch.no_grad():
            if self._copy is not None:
                yield self._copy
                return
            training = model.training
            model.eval()
            try:
                with model.disable_adapter():
                    yield model
            finally:
                model.train(training)
