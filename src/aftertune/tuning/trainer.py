"""The trainer behind `tune`: TRL's SFTTrainer without the parts that cost time and that nobody reads."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from aftertune.errors import TuneError, first_line
from aftertune.models.training_rows import IGNORED, TrainingRow
from aftertune.records import Recipe
from aftertune.tuning.mitigation import LossTerm, Step

BUCKET = 8
"""Batches per bucket: conversations are shuffled, then sorted by length within this many batches."""


class LengthBuckets(torch.utils.data.Sampler[int]):
    """Order the examples so that each batch holds similar lengths, batches in random order, anew in each epoch."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        """Take the lengths (tokens) of all examples."""
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch `epoch`, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order: list[int] = torch.randperm(len(self._lengths), generator=generator).tolist()
        size = self._batch_size * BUCKET
        order = [i for at in range(0, len(order), size) for i in sorted(order[at : at + size], key=self._length)]
        batches = [order[at : at + self._batch_size] for at in range(0, len(order), self._batch_size)]
        # A batch that is not full must stay last, or it would shift the borders of those after it.
        last = [batches.pop()] if len(batches[-1]) < self._batch_size else []
        for batch in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[batch]
        for batch in last:
            yield from batch

    def _length(self, index: int) -> int:
        return self._lengths[index]


class Trainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer that stops at a loss that is not a number, and hands over each epoch's weights.

    Its loss is SFTTrainer's (mean over the labelled tokens of a batch), with the output layer computed on those tokens
    only; its batches are bucketed by length; it counts no operations and sends no telemetry.
    """

    on_step: Callable[[int, int, float], None] | None = None
    on_epoch: Callable[[int, Any], None] | None = None
    prove: Callable[[Any], bool] | None = None
    """Called with the model after each optimizer step until it returns True; what it raises ends the training."""
    loss_term: LossTerm | None = None
    """A mitigation's addition to the loss; the reported losses are without it, and without a router's balance."""

    def __init__(self, *, lengths: Sequence[int], **arguments: Any) -> None:
        """Take the examples' lengths (tokens) beside SFTTrainer's own arguments."""
        self._lengths = lengths
        self._sums: list[tuple[float, int]] = []
        self._task_loss: Any = 0.0
        self.epoch_losses: list[float] = []
        super().__init__(callbacks=[_Epochs(self)], **arguments)
        taken = inspect.signature(type(self._base_model()).forward).parameters
        self._chosen_positions = "logits_to_keep" in taken

    def _send_telemetry(self) -> None:
        """Send nothing: the base class reports to the hub where it can."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBuckets:  # noqa: ARG002
        return LengthBuckets(self._lengths, self.args.per_device_train_batch_size, self.args.seed)

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Return 0: nobody reads the count, and walking over all modules at each step is not free."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log nothing: the report holds the losses."""

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        """Return the mean negative log-likelihood per labelled token, in nats, and a mitigation's term with it."""
        # The token after position t is predicted at t: mark the positions whose successor carries loss.
        labels = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORED)
        predicts = labels != IGNORED
        own: dict[str, Any] = {"logits_to_keep": predicts} if self._chosen_positions else {}
        if self.aux_loss_enabled:
            own["output_router_logits"] = True
        out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False, **own)
        logits = out.logits if self._chosen_positions else out.logits[predicts]
        if logits.shape[:-1] != (int(predicts.sum()),):
            raise TuneError(f"{type(self._base_model()).__name__} cannot compute logits at chosen positions only")
        targets = labels[predicts]
        total = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
        loss = total / predicts.sum().clamp(min=1)
        self._task_loss = loss.detach()
        balance = getattr(out, "aux_loss", None) if self.aux_loss_enabled else None
        # Of a mixture's router, by the model's own coefficient, as SFTTrainer adds it.
        whole = loss if balance is None else loss + self.router_aux_loss_coef * balance
        if self.loss_term is None:
            return whole
        step = Step(
            number=self.state.global_step,
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            predicts=predicts,
            logits=logits,
            targets=targets,
            loss=loss,
        )
        term = self.loss_term(step)
        return whole if term is None else whole + term

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Run one forward and backward pass. Raises TuneError where the loss is not a finite number."""
        tokens = int((inputs["labels"][:, 1:] != IGNORED).sum())
        step = self.state.global_step + 1
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise TuneError(
                f"{type(self._base_model()).__name__} cannot be trained here: its forward or backward pass failed at "
                f"step {step}: {type(error).__name__}: {first_line(error)}"
            ) from error
        value = float(loss)
        if not math.isfinite(value):
            raise TuneError(
                f"the loss became {value} at step {step} of {self.state.max_steps} (epoch "
                f"{len(self.epoch_losses) + 1}): lower learning_rate ({self.args.learning_rate})"
            )
        task = float(self._task_loss)
        self._sums.append((task * tokens, tokens))
        if self.on_step is not None:
            self.on_step(step, self.state.max_steps, task)
        return loss

    def end_epoch(self) -> None:
        """Close the epoch's mean loss and hand over the weights."""
        self.epoch_losses.append(sum(loss for loss, _ in self._sums) / max(1, sum(n for _, n in self._sums)))
        self._sums.clear()
        if self.on_epoch is not None:
            self.on_epoch(len(self.epoch_losses), self.model)

    def _base_model(self) -> Any:
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model


class _Epochs(TrainerCallback):
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self._trainer.prove is not None and self._trainer.prove(self._trainer.model):
            self._trainer.prove = None

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self._trainer.end_epoch()


def make_trainer(
    model: Any,
    tokenizer: Any,
    examples: Sequence[TrainingRow],
    recipe: Recipe,
    seed: int,
    scratch: Path,
    *,
    modules: Sequence[str],
    bf16: bool,
) -> Trainer:
    """Return a trainer for `recipe` that writes to `scratch` only; a LoRA is put on `modules`."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so which token it is does not matter
    columns = {"input_ids": [e.input_ids for e in examples], "labels": [e.labels for e in examples]}
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=set(modules),
        task_type="CAUSAL_LM",
    )
    settings = SFTConfig(
        output_dir=str(scratch),
        seed=seed % 2**32,
        data_seed=seed % 2**32,
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        activation_checkpointing=False,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        dataloader_pin_memory=False,
        log_level="error",
    )
    return Trainer(
        lengths=[len(example.input_ids) for example in examples],
        model=model,
        args=settings,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        peft_config=None if recipe.method == "full" else lora,
    )
