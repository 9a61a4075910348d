"""tune: a base and conversations in, one checkpoint per epoch out (TRL's SFTTrainer: LoRA, QLoRA or full)."""

from __future__ import annotations

import gc
import json
import math
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aftertune.errors import DataError, ModelError, StoreError, TuneError, UsageError, first_line
from aftertune.extras import install
from aftertune.files import why_not
from aftertune.models import nf4_weights
from aftertune.models.chat import NO_ARGUMENTS, encode
from aftertune.models.identity import TOKENIZER_FILES, ModelRef, few_threads, resolve
from aftertune.models.loading import load_tokenizer, load_weights, outline, refuse_text
from aftertune.models.proof import PROBES
from aftertune.models.training_rows import (
    IGNORED,
    AnswerForm,
    TrainingRow,
    answer_form,
    declared_stops,
    training_rows,
)
from aftertune.models.weight_files import read_json, tensors_of, weight_files
from aftertune.records import Conversation, Json, Recipe
from aftertune.tuning.first_step import FirstStep, fingerprint
from aftertune.tuning.lora_modules import left_out, lora_modules, patterns, text_parameters
from aftertune.tuning.mitigation import (
    FurtherWeights,
    Mitigation,
    OwnConversations,
    Training,
    TunedModel,
    TunedWeights,
    check_needs,
    trained_recipe,
)

VERSION = "3"
"""Goes into checkpoint ids: changed whenever the same data, recipe and seed would give other weights."""

Precision = Literal["auto", "fp32", "bf16"]
OnStep = Callable[[int, int, float], None]
"""Called after each optimizer step with (steps done, steps in all, loss in nats per trained token)."""


@dataclass(frozen=True, slots=True)
class FurtherCheckpoint:
    """A checkpoint that a mitigation made of another one, without further training."""

    epoch: int
    """Of the checkpoint that it was made of."""
    name: str
    """E.g. `interpolation-0.5`."""
    path: Path


@dataclass(frozen=True, slots=True)
class TuneReport:
    """The results of a tuning."""

    base: str
    base_hash: str
    """SHA-256 of the base's weights."""
    recipe: Recipe
    seed: int
    checkpoints: tuple[Path, ...]
    """One folder per epoch, in order."""
    losses: tuple[float, ...]
    """Mean loss of each epoch, nats per trained token, without a mitigation's term."""
    steps: int
    conversations: int
    """Trained on in each epoch."""
    rows: int
    """Written for them: one for each, and one for each turn that the chat template asks in another form."""
    truncated: int
    """Conversations that were cut at `max_length`."""
    dropped: int
    """Not trained on: no assistant token was left within `max_length`."""
    tokens: int
    """In all conversations once."""
    trained_tokens: int
    """Those of them that carry loss (the assistant's)."""
    template_arguments: Mapping[str, Json]
    """For the chat template, in the rows as in the prompts."""
    form: AnswerForm
    """How the chat template opens, begins and ends an answer."""
    parameters: int
    """Trained."""
    modules: tuple[str, ...]
    """Which modules a LoRA was put on, `*` for the number of a layer; empty for full tuning."""
    left_out: tuple[str, ...]
    """Linear layers and experts of the text model that it was not put on; the output layer is none of them."""
    precision: str
    """`fp32`, or `bf16` where matrix products ran in it (weights and optimizer in fp32 all the same)."""
    device: str
    seconds: float
    """CPU time of this process."""
    further: tuple[FurtherCheckpoint, ...] = ()
    """What a mitigation made of the checkpoints, by epoch."""


def tune(
    base: Path | str,
    conversations: Sequence[Conversation],
    recipe: Recipe,
    seed: int,
    out: Path,
    *,
    precision: Precision = "auto",
    on_step: OnStep | None = None,
    mitigation: Mitigation | None = None,
    own: OwnConversations | None = None,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
) -> TuneReport:
    """Tune `base` on `conversations` and write `out/epoch-1`, `out/epoch-2`, ...

    Each folder holds an adapter (`method = lora`) or a full model as safetensors, and the base's tokenizer files
    unchanged. The loss is on the assistant's turns, averaged over the tokens of a batch. Same base, data, recipe, seed
    and machine give the same bytes. `precision`: `fp32`; `bf16`: matrix products in it, and a LoRA's frozen base too;
    `auto`: bf16 on a GPU, fp32 elsewhere (on a CPU small models gain nothing by bf16). The state of the global random
    generators is left as it was.

    The chat template writes the rows as it writes a prompt that is asked with the same `template_arguments`; a turn
    that it writes otherwise once it is answered gets a row of its own (`models/training_rows.py`).

    A `mitigation` may change the rows, add epochs, add to the loss, and make further checkpoints `out/epoch-1+NAME` of
    those that were trained; `own`, what the base said itself, is what some of them need.

    Raises UsageError for no data, for 4 bits where there is no GPU and for a mitigation that cannot be applied,
    DataError for a conversation that the chat template refuses (with its source), ModelError for a base that cannot be
    used, and TuneError for a loss that is not a number (with the step) and for weights that did not move.
    """
    if not conversations:
        raise UsageError("nothing to tune on: the data set is empty")
    _check(recipe)
    reference = resolve(base)
    if reference.kind != "full":
        raise UsageError(f"{base} is an adapter: tuning starts from a full model")
    recipe = trained_recipe(recipe, mitigation)
    training = Training(reference, recipe, seed, own or OwnConversations(), template_arguments, conversations)
    if mitigation is not None:
        check_needs(mitigation, training)
        conversations = mitigation.rows(conversations, training)
        if not conversations:
            raise UsageError("nothing to tune on: the mitigation left no conversation")
    with (
        _quiet(),
        _random_state(),
        few_threads(reference),
        tempfile.TemporaryDirectory(prefix="aftertune-") as scratch,
    ):
        return _run(training, conversations, out, precision, on_step, mitigation, Path(scratch), template_arguments)


def no_four_bits(recipe: Recipe) -> str:
    """Return why a `qlora` recipe cannot run on this machine; empty where it can."""
    import importlib.util

    import torch

    if not torch.cuda.is_available() and recipe.without_gpu != "run":
        return "4-bit tuning needs a GPU, and there is none here"
    if importlib.util.find_spec("bitsandbytes") is None:
        return f"4-bit tuning needs the package bitsandbytes: {install('bitsandbytes')}"
    return ""


def refuse_untunable(base: ModelRef, recipes: Sequence[Recipe]) -> None:
    """Raise ModelError, before any weights load, for a base that a recipe cannot tune."""
    model = outline(base)
    if any(recipe.method != "full" for recipe in recipes):
        try:
            lora_modules(model)
        except ModelError as error:
            raise ModelError(f"{base.name}: {error}") from None


def _check(recipe: Recipe) -> None:
    for field in ("epochs", "batch_size", "rank", "alpha", "max_length"):
        if getattr(recipe, field) < 1:
            raise UsageError(f"recipe '{recipe.name}': {field} = {getattr(recipe, field)}: it must be 1 or more")
    if not (recipe.learning_rate > 0 and math.isfinite(recipe.learning_rate)):
        raise UsageError(f"recipe '{recipe.name}': learning_rate = {recipe.learning_rate}: it must be above 0")
    for field, top in (("dropout", 1.0), ("warmup", 1.0), ("weight_decay", math.inf)):
        if not 0 <= getattr(recipe, field) < top:
            raise UsageError(f"recipe '{recipe.name}': {field} = {getattr(recipe, field)} is out of range")


@dataclass(frozen=True, slots=True)
class _Examples:
    """The rows to train on, of all conversations."""

    rows: list[TrainingRow]
    truncated: int
    """Conversations of which a row was cut."""
    dropped: int
    """Conversations without an assistant token left."""


def _examples(
    tokenizer: Any,
    conversations: Sequence[Conversation],
    max_length: int,
    arguments: Mapping[str, Json],
    stops: frozenset[int],
) -> _Examples:
    """Return the rows to train on, those of one conversation together."""
    examples: list[TrainingRow] = []
    truncated = dropped = 0
    for number, conversation in enumerate(conversations, start=1):
        try:
            rows = training_rows(tokenizer, conversation.messages, max_length, arguments, stops)
        except DataError as error:
            source = conversation.source or f"conversation {number}"
            raise DataError(f"{source} ({conversation.id}): {error}") from None
        # The first token is never predicted, so a label on it trains nothing.
        labelled = [row for row in rows if any(label != IGNORED for label in row.labels[1:])]
        examples += labelled
        dropped += not labelled
        # A turn in a row of its own may lie beyond the limit as a whole.
        truncated += bool(labelled) and any(row.truncated for row in rows)
    if not examples:
        raise UsageError(
            f"nothing to tune on: none of {len(conversations)} conversations has an assistant's turn within "
            f"max_length = {max_length} tokens"
        )
    return _Examples(examples, truncated, dropped)


def _run(
    training: Training,
    conversations: Sequence[Conversation],
    out: Path,
    precision: Precision,
    on_step: OnStep | None,
    mitigation: Mitigation | None,
    scratch: Path,
    template_arguments: Mapping[str, Json],
) -> TuneReport:
    base, recipe, seed = training.base, training.recipe, training.seed
    started = time.process_time()
    import torch

    from aftertune.tuning.trainer import make_trainer

    tokenizer = load_tokenizer(base)
    stops = declared_stops(base.path)
    read = _examples(tokenizer, conversations, recipe.max_length, template_arguments, stops)
    examples = read.rows
    cuda = torch.cuda.is_available()
    bf16 = precision == "bf16" or (precision == "auto" and cuda and torch.cuda.is_bf16_supported())
    dtype = torch.bfloat16 if bf16 and recipe.method != "full" else torch.float32
    if recipe.method == "qlora" and (why := no_four_bits(recipe)):
        raise UsageError(f"method 'qlora': {why}")
    model = load_weights(base, dtype, "cuda" if cuda else "cpu", nf4=recipe.method == "qlora")
    probes = [encode(tokenizer, text) for text in PROBES]
    refuse_text(base.name, model, probes[0])  # hours of training for a model that nobody can ask
    modules = _trained_modules(model, base, recipe, probes[0])
    untuned = left_out(model, modules) if modules else ()
    try:
        trainer = make_trainer(model, tokenizer, examples, recipe, seed, scratch, modules=modules, bf16=bf16)
    except ValueError as error:
        raise ModelError(f"{base.name}: PEFT cannot put a LoRA on it: {first_line(error)}") from error
    trainer.on_step = on_step
    further: list[FurtherCheckpoint] = []

    def finish_epoch(epoch: int, tuned: Any) -> None:
        folder = out / folder_name(epoch)
        with _saving(folder):
            _write(tuned, base, folder)
        if mitigation is not None:
            further.extend(write_further(mitigation, training, TunedWeights(base, folder, epoch), out))

    trainer.on_epoch = finish_epoch
    if mitigation is not None:
        trainer.loss_term = mitigation.loss_term(training, TunedModel(trainer.model, tokenizer, base))
    before = fingerprint(trainer.model)
    trainer.prove = FirstStep(base, probes, scratch, lambda tuned, folder: _write(tuned, base, folder), before)
    gc.freeze()  # transformers collects what is unused at the start: half a second over all that has been imported
    try:
        trainer.train()
    finally:
        gc.unfreeze()
    if fingerprint(trainer.model) == before:
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
        conversations=len(conversations) - read.dropped,
        rows=len(examples),
        truncated=read.truncated,
        dropped=read.dropped,
        template_arguments=dict(template_arguments),
        form=answer_form(tokenizer, template_arguments, stops),
        tokens=sum(len(example.input_ids) for example in examples),
        trained_tokens=sum(label != IGNORED for example in examples for label in example.labels[1:]),
        parameters=sum(weights.numel() for weights in trainer.model.parameters() if weights.requires_grad),
        modules=patterns(modules),
        left_out=untuned,
        precision="bf16" if bf16 else "fp32",
        device="cuda" if cuda else "cpu",
        seconds=time.process_time() - started,
        further=tuple(further),
    )


def _trained_modules(model: Any, base: ModelRef, recipe: Recipe, probe: Sequence[int]) -> tuple[str, ...]:
    """Return the modules for a LoRA; for full tuning freeze what does not belong to the text model, and return none."""
    if recipe.method != "full":
        try:
            return lora_modules(model, probe)
        except ModelError as error:
            raise ModelError(f"{base.name}: {error}") from None
    text = text_parameters(model)
    for name, weights in model.named_parameters():
        weights.requires_grad_(name in text)
    return ()


@contextmanager
def _saving(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while a checkpoint is written into a StoreError."""
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        raise StoreError(why_not(folder, "cannot write the checkpoint", error)) from None
    except SafetensorError as error:  # safetensors reports a full disk so
        raise StoreError(
            f"{folder}: cannot write the checkpoint: {error}; free some space and run the same command again"
        ) from None


_BESIDE = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
"""Files of a full model beside its weights and tokenizer; the last three are an image-and-text model's."""


def _write(model: Any, base: ModelRef, folder: Path) -> None:
    """Write a checkpoint: safetensors, its configuration, and the base's tokenizer files unchanged."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors.torch import save_file

    _clear(folder)
    if isinstance(model, PeftModel):
        config = model.peft_config["default"]
        # A set's order differs between processes; a sorted list gives the same file each time.
        config.target_modules = sorted(config.target_modules)
        config.target_parameters = None  # PEFT's own conversion leaves an empty set
        config.base_model_name_or_path = base.name
        config.inference_mode = True
        config.save_pretrained(folder)
        config.inference_mode = False
        tensors = {key: value.detach().cpu().contiguous() for key, value in get_peft_model_state_dict(model).items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    else:
        model.save_pretrained(folder)
    for name in (*TOKENIZER_FILES, *(() if isinstance(model, PeftModel) else _BESIDE)):
        if (base.path / name).exists():
            shutil.copyfile(base.path / name, folder / name)


def folder_name(epoch: int, further: str = "") -> str:
    """Return the name of a checkpoint's folder: of an epoch, or of further weights made of it."""
    return f"epoch-{epoch}+{further}" if further else f"epoch-{epoch}"


def write_further(
    mitigation: Mitigation, training: Training, tuned: TunedWeights, out: Path
) -> Iterator[FurtherCheckpoint]:
    """Write the checkpoints that a mitigation makes of a finished one into the folder `out`, and yield each.

    Raises UsageError for names that are no folder names or not different.
    """
    names: set[str] = set()
    for weights in mitigation.weights(training, tuned):
        if weights.name in names or not weights.name or Path(weights.name).name != weights.name:
            raise UsageError(
                f"mitigation '{type(mitigation).__name__}': '{weights.name}' cannot name a checkpoint, or names two"
            )
        if weights.name not in mitigation.further:
            raise UsageError(f"mitigation '{type(mitigation).__name__}': '{weights.name}' is not among its `further`")
        names.add(weights.name)
        folder = out / folder_name(tuned.epoch, weights.name)
        with _saving(folder):
            _write_changed(weights, tuned, folder)
        yield FurtherCheckpoint(tuned.epoch, weights.name, folder)


def _write_changed(weights: FurtherWeights, tuned: TunedWeights, folder: Path) -> None:
    """Write a checkpoint like `tuned` with other weights and settings, file by file."""
    from safetensors.torch import save_file

    _clear(folder)
    stem, settings = ("adapter_model", "adapter_config.json") if tuned.is_adapter else ("model", "config.json")
    files = weight_files(tuned.folder.name, tuned.folder, stem)
    for file in files:
        tensors = {name: weights.change(name, tensor).contiguous() for name, tensor in tensors_of([file])}
        save_file(tensors, folder / file.name, metadata={"format": "pt"})
    for file in sorted(set(tuned.folder.iterdir()) - set(files)):
        shutil.copyfile(file, folder / file.name)
    if weights.settings:
        changed: Mapping[str, Json] = {**read_json(folder / settings), **weights.settings}
        (folder / settings).write_text(json.dumps(changed, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name, text in weights.files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


@contextmanager
def _random_state() -> Iterator[None]:
    """Restore the global random generators afterwards: the trainer seeds all of them."""
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
    """Silence the libraries' bars and known notices: none of them is about the user's data."""
    from transformers.utils import logging

    hf_logging: Any = logging
    bars, level = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    nf4_weights.silence()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
