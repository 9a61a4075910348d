"""tune: a base and conversations in, one checkpoint per epoch out (TRL's SFTTrainer: LoRA, QLoRA or full)."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aftertune.errors import DataError, StoreError, TuneError, UsageError
from aftertune.files import why_not
from aftertune.models import four_bits
from aftertune.models.chat import IGNORED, TrainingExample, training_example
from aftertune.models.identity import TOKENIZER_FILES, ModelRef, resolve, suited_threads
from aftertune.records import Conversation, Recipe

VERSION = "1"
"""Goes into checkpoint ids: changed whenever the same data, recipe and seed would give other weights."""

log = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16"]
OnStep = Callable[[int, int, float], None]
"""Called after each optimizer step with (steps done, steps in all, loss in nats per trained token)."""


@dataclass(frozen=True, slots=True)
class TuneReport:
    """What a tuning did."""

    base: str
    base_hash: str
    """SHA-256 of the base's weights."""
    recipe: Recipe
    seed: int
    checkpoints: tuple[Path, ...]
    """One folder per epoch, in order."""
    losses: tuple[float, ...]
    """Mean loss of each epoch, nats per trained token."""
    steps: int
    conversations: int
    """Trained on in each epoch."""
    truncated: int
    """Of these, cut at `max_length`."""
    dropped: int
    """Not trained on: no assistant token was left within `max_length`."""
    tokens: int
    """In all conversations once."""
    trained_tokens: int
    """Of these, the ones that carry loss (the assistant's)."""
    parameters: int
    """Trained."""
    precision: str
    """`fp32`, or `bf16` where matrix products ran in it (weights and optimizer in fp32 all the same)."""
    device: str
    seconds: float
    """CPU time of this process."""


def tune(
    base: Path | str,
    conversations: Sequence[Conversation],
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    precision: Precision = "auto",
    on_step: OnStep | None = None,
) -> TuneReport:
    """Tune `base` on `conversations` and write `out/epoch-1`, `out/epoch-2`, ...

    Each folder holds an adapter (`method = lora`) or a full model as safetensors, and the base's tokenizer files
    unchanged. The loss is on the assistant's turns, averaged over the tokens of a batch. Same base, data, recipe, seed
    and machine give the same bytes. `precision`: `fp32`; `bf16`: matrix products in it, and a LoRA's frozen base too;
    `auto`: bf16 on a GPU, fp32 elsewhere (on a CPU small models gain nothing by bf16). The state of the global random
    generators is left as it was.

    Raises UsageError for no data and for 4 bits where there is no GPU, DataError for a conversation that the chat
    template refuses (with its place), ModelError for a base that cannot be used, and TuneError for a loss that is not a
    number (with the step) and for weights that did not move.
    """
    if not conversations:
        raise UsageError("nothing to tune on: the data set is empty")
    _check(recipe)
    reference = resolve(base)
    if reference.kind != "full":
        raise UsageError(f"{base} is an adapter: tuning starts from a full model")
    with (
        _quiet(),
        _random_state(),
        suited_threads(reference),
        tempfile.TemporaryDirectory(prefix="aftertune-") as scratch,
    ):
        return _run(reference, conversations, recipe, seed, out, precision, on_step, Path(scratch))


def no_four_bits(recipe: Recipe) -> str:
    """Return why no base can be tuned in 4 bits here, as the recipe would have it; empty where it can."""
    import importlib.util

    import torch

    if not torch.cuda.is_available() and recipe.without_gpu != "run":
        return "4-bit tuning needs a GPU, and there is none here"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "4-bit tuning needs the package bitsandbytes: pip install 'aftertune[quantized]'"
    return ""


def _packed(recipe: Recipe, dtype: Any, device: str) -> dict[str, Any]:
    """Return how transformers loads the base of a `qlora` recipe."""
    if why := no_four_bits(recipe):
        raise UsageError(f"method 'qlora': {why}")
    return {"quantization_config": four_bits.config(dtype), "device_map": {"": device}}


def _check(recipe: Recipe) -> None:
    for field in ("epochs", "batch_size", "rank", "alpha", "max_length"):
        if getattr(recipe, field) < 1:
            raise UsageError(f"recipe '{recipe.name}': {field} = {getattr(recipe, field)}: it must be 1 or more")
    if not (recipe.learning_rate > 0 and math.isfinite(recipe.learning_rate)):
        raise UsageError(f"recipe '{recipe.name}': learning_rate = {recipe.learning_rate}: it must be above 0")
    for field, top in (("dropout", 1.0), ("warmup", 1.0), ("weight_decay", math.inf)):
        if not 0 <= getattr(recipe, field) < top:
            raise UsageError(f"recipe '{recipe.name}': {field} = {getattr(recipe, field)} is out of range")


def _examples(
    tokenizer: Any, conversations: Sequence[Conversation], max_length: int
) -> tuple[list[TrainingExample], int]:
    """Return the examples to train on and how many were dropped, having no assistant token left."""
    examples, dropped = [], 0
    for number, conversation in enumerate(conversations, start=1):
        try:
            example = training_example(tokenizer, conversation.messages, max_length)
        except DataError as error:
            place = conversation.source or f"conversation {number}"
            raise DataError(f"{place} ({conversation.id}): {error}") from None
        # The first token is never predicted, so a label on it trains nothing.
        if any(label != IGNORED for label in example.labels[1:]):
            examples.append(example)
        else:
            dropped += 1
    if not examples:
        raise UsageError(
            f"nothing to tune on: none of {len(conversations)} conversations has an assistant's turn within "
            f"max_length = {max_length} tokens"
        )
    return examples, dropped


def _run(
    base: ModelRef,
    conversations: Sequence[Conversation],
    recipe: Recipe,
    seed: int,
    out: Path,
    precision: Precision,
    on_step: OnStep | None,
    scratch: Path,
) -> TuneReport:
    started = time.process_time()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from aftertune.tuning.trainer import make_trainer

    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True, trust_remote_code=False)
    examples, dropped = _examples(tokenizer, conversations, recipe.max_length)
    cuda = torch.cuda.is_available()
    bf16 = precision == "bf16" or (precision == "auto" and cuda and torch.cuda.is_bf16_supported())
    dtype = torch.bfloat16 if bf16 and recipe.method != "full" else torch.float32
    packed = _packed(recipe, dtype, "cuda" if cuda else "cpu") if recipe.method == "qlora" else {}
    model = AutoModelForCausalLM.from_pretrained(
        base.path, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False, **packed
    )
    if packed:
        four_bits.settle(model, base.name)
    trainer = make_trainer(model, tokenizer, examples, recipe, seed, scratch, bf16=bf16)
    trainer.on_step = on_step
    trainer.on_epoch = lambda epoch, tuned: _save(tuned, base, out / f"epoch-{epoch}")
    before = _fingerprint(trainer.model)
    trainer.train()
    if _fingerprint(trainer.model) == before:
        raise TuneError(
            f"the weights did not move in {trainer.state.global_step} steps: raise learning_rate "
            f"({recipe.learning_rate}), or lower warmup ({recipe.warmup}) where the steps are few"
        )
    return TuneReport(
        base=base.name,
        base_hash=base.weights_hash,
        recipe=recipe,
        seed=seed,
        checkpoints=tuple(out / f"epoch-{epoch}" for epoch in range(1, recipe.epochs + 1)),
        losses=tuple(trainer.epoch_losses),
        steps=trainer.state.global_step,
        conversations=len(examples),
        truncated=sum(example.truncated for example in examples),
        dropped=dropped,
        tokens=sum(len(example.input_ids) for example in examples),
        trained_tokens=sum(label != IGNORED for example in examples for label in example.labels[1:]),
        parameters=sum(weights.numel() for weights in trainer.model.parameters() if weights.requires_grad),
        precision="bf16" if bf16 else "fp32",
        device="cuda" if cuda else "cpu",
        seconds=time.process_time() - started,
    )


def _fingerprint(model: Any) -> tuple[tuple[float, float], ...]:
    """Return sums per trained tensor that change whenever an optimizer step changes anything."""
    trained = (weights.detach().double() for weights in model.parameters() if weights.requires_grad)
    return tuple((weights.sum().item(), weights.abs().sum().item()) for weights in trained)


def _save(model: Any, base: ModelRef, folder: Path) -> None:
    """Write a checkpoint: safetensors, its configuration, and the base's tokenizer files as they are."""
    from safetensors import SafetensorError

    try:
        _write(model, base, folder)
    except OSError as error:
        raise StoreError(why_not(folder, "cannot write the checkpoint", error)) from None
    except SafetensorError as error:  # a full disk has this name there
        raise StoreError(
            f"{folder}: cannot write the checkpoint: {error}; free some space and run the same command again"
        ) from None


def _write(model: Any, base: ModelRef, folder: Path) -> None:
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import save_file

    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    if isinstance(model, PeftModel):
        config = model.peft_config["default"]
        # A set has another order in each process; a list makes the file the same each time.
        config.target_modules = sorted(config.target_modules)
        config.base_model_name_or_path = base.name
        config.inference_mode = True
        config.save_pretrained(folder)
        config.inference_mode = False
        tensors = {key: value.detach().cpu().contiguous() for key, value in get_peft_model_state_dict(model).items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    else:
        model.save_pretrained(folder)
    for name in (*TOKENIZER_FILES, *(("generation_config.json",) if not isinstance(model, PeftModel) else ())):
        if (base.path / name).exists():
            shutil.copyfile(base.path / name, folder / name)


@contextmanager
def _random_state() -> Iterator[None]:
    """Put the global random generators back afterwards: the trainer seeds all of them."""
    import random

    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries' bars and known notices for the while: none of them is about the user's data."""
    from transformers.utils import logging

    hf_logging: Any = logging
    bars, level = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    four_bits.hush()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
