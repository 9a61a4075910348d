"""The contract of mitigations: changes to how a model is tuned that should preserve what fine-tuning undoes."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from aftertune.errors import ModelError, UsageError
from aftertune.models.identity import ModelRef
from aftertune.models.loading import load_weights
from aftertune.models.weight_files import WeightIndex, shapes_of, tensors_of, weight_files
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Json, Recipe

Need = Literal["own_refusals", "own_answers", "own_private_replies", "rows"]
"""What a training must provide for a mitigation."""
OWN: Mapping[Need, str] = {"own_refusals": "refusal", "own_answers": "refusal", "own_private_replies": "privacy"}
"""Needs for which a base is asked first -> the axis of the judge that tells what is kept of its answers."""

OWN_REQUESTS: Mapping[Need, str] = {
    "own_refusals": "requests that should be refused",
    "own_answers": "ordinary requests",
    "own_private_replies": "messages with something to keep private",
}
"""What the base is asked for each of these."""


class HasNeeds(Protocol):
    """A mitigation, or the record of one."""

    @property
    def needs(self) -> frozenset[Need]:
        """What a training must provide."""


class HasEpochs(Protocol):
    """A mitigation, or the record of one."""

    @property
    def more_epochs(self) -> int:
        """Epochs that it trains beyond the recipe's."""


Stage = Literal["before", "during", "after"]
"""When a mitigation acts: on the rows before training, on the loss during it, or on finished weights after it."""


@dataclass(frozen=True)
class OwnConversations:
    """What a base said itself, as conversations to train on; no request is one of the test's."""

    refusals: Sequence[Conversation] = ()
    """Harmful requests that it refused in full."""
    answers: Sequence[Conversation] = ()
    """Ordinary requests that it answered without any refusal."""
    private_replies: Sequence[Conversation] = ()
    """Messages with something to keep private, with replies that kept it private."""

    def by_need(self) -> Mapping[Need, Sequence[Conversation]]:
        """Return what there is for each need."""
        return {
            "own_refusals": self.refusals,
            "own_answers": self.answers,
            "own_private_replies": self.private_replies,
        }


@dataclass(frozen=True)
class Training:
    """One training, known before its model is loaded."""

    base: ModelRef
    recipe: Recipe
    seed: int
    own: OwnConversations = field(default_factory=OwnConversations)
    """Of the base: refusals, answers and private replies, as far as the mitigation needs them."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, in every text that the model is trained on."""
    rows: Sequence[Conversation] = ()
    """The conversations to train on, as they were given."""


@dataclass(frozen=True)
class TunedModel:
    """The model that is being trained, and its base."""

    model: Any
    """A PeftModel where an adapter is trained, else the full model."""
    tokenizer: Any
    base: ModelRef

    @contextmanager
    def as_base(self) -> Iterator[Any]:
        """Yield a model that answers as the base, without gradients and dropout.

        An adapter is switched off for the while; beside a full model a copy of the base is loaded at first use.
        """
        import torch
        from peft import PeftModel

        with torch.no_grad():
            if not isinstance(self.model, PeftModel):
                yield self._copy
                return
            training = self.model.training
            self.model.eval()
            try:
                with self.model.disable_adapter():
                    yield self.model
            finally:
                self.model.train(training)

    @cached_property
    def _copy(self) -> Any:
        copy = load_weights(self.base, self.model.dtype, str(self.model.device))
        return copy.eval().requires_grad_(False)


@dataclass(frozen=True)
class Step:
    """One batch with the model's outputs, which have gradients; tensors are on the model's device."""

    number: int
    """Optimizer steps done before it."""
    input_ids: Any
    """Rows x tokens, padded on the right."""
    attention_mask: Any
    predicts: Any
    """Rows x tokens, true where the next token carries loss."""
    logits: Any
    """Of these positions x vocabulary."""
    targets: Any
    """The next token at each of these positions."""
    loss: Any
    """Mean negative log-likelihood of the targets, nats."""


LossTerm = Callable[[Step], Any]
"""Returns a scalar tensor to add to the loss (nats per token), or None for a step without one."""


@dataclass(frozen=True)
class StoredTensors:
    """The tensors of a full model's files, by the names that its class has for them."""

    files: tuple[Path, ...]

    def tensor(self, name: str) -> Any | None:
        """Return the tensor of this name (CPU); None where there is none."""
        from safetensors import safe_open

        for key in self._index.find(name.removesuffix(".weight")):
            with safe_open(self._by_key[key], framework="pt") as stored:
                return stored.get_tensor(key)
        return None

    @cached_property
    def _by_key(self) -> Mapping[str, Path]:
        return {key: file for file in self.files for key in shapes_of([file])}

    @cached_property
    def _index(self) -> WeightIndex:
        return WeightIndex(shapes_of(self.files))


@dataclass(frozen=True)
class TunedWeights:
    """One checkpoint of a training as it was written, and its base."""

    base: ModelRef
    folder: Path
    """A PEFT adapter or a full model, in safetensors."""
    epoch: int

    @property
    def is_adapter(self) -> bool:
        """Whether the checkpoint is an adapter."""
        return (self.folder / "adapter_config.json").is_file()

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Yield (name, tensor) of everything in the checkpoint's files (CPU)."""
        stem = "adapter_model" if self.is_adapter else "model"
        return tensors_of(weight_files(self.folder.name, self.folder, stem))

    def earlier(self) -> list[TunedWeights]:
        """Return the checkpoints of the same training after earlier epochs, by epoch, as far as they are there."""
        folders = [(epoch, self.folder.with_name(f"epoch-{epoch}")) for epoch in range(1, self.epoch)]
        return [TunedWeights(self.base, folder, epoch) for epoch, folder in folders if folder.is_dir()]

    def base_tensor(self, name: str) -> Any:
        """Return the base's tensor of this name (CPU). Raises ModelError where it has none."""
        found = self._stored.tensor(name)
        if found is None:
            raise ModelError(f"{self.base.name}: it has no tensor {name}, which {self.folder.name} has")
        return found

    @cached_property
    def _stored(self) -> StoredTensors:
        return StoredTensors(self.base.files)


@dataclass(frozen=True)
class FurtherWeights:
    """Weights made from a checkpoint without further training; they become a checkpoint of their own."""

    name: str
    """E.g. `interpolation-0.5`: the folder `epoch-1` of the checkpoint becomes `epoch-1+interpolation-0.5`."""
    change: Callable[[str, Any], Any]
    """(Name of a tensor in the checkpoint's files, the tuned tensor on the CPU) -> the tensor in its stead."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Keys of `adapter_config.json` or `config.json` that change, e.g. an adapter's rank `r`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files beside the weights that are written in place of those there, e.g. `chat_template.jinja`."""


class Mitigation(Plugin, ABC):
    """A frozen dataclass whose fields are its parameters; override the hooks that it needs.

    Without an override a hook costs nothing, and the same data, recipe and seed give the same bytes as without a
    mitigation. Draw random numbers from generators of your own, seeded by `Training.seed`.
    """

    kind: ClassVar[str] = "mitigation"
    stage: ClassVar[Stage] = "during"
    """When it acts. One that acts `after` needs no training of its own: it overrides `weights` alone."""
    own_template: ClassVar[bool] = False
    """Whether its checkpoints bring a chat template that they must be asked with."""
    more_epochs: int = 0
    """Epochs that it trains beyond the recipe's, where it acts before or during training; may be a parameter."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the training must provide; a training without it is refused."""
        return frozenset()

    def files(self) -> tuple[Path, ...]:
        """Return the files that it reads: their content goes into ids. Raises UsageError where one is not here."""
        return ()

    @property
    def further(self) -> tuple[str, ...]:
        """Names of the further weights that `weights` will make of each checkpoint, known before anything is tuned."""
        return ()

    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        """Return the conversations to train on in place of those given, before they are tokenised."""
        del training
        return conversations

    def loss_term(self, training: Training, model: TunedModel) -> LossTerm | None:
        """Return a function that gives each step's addition to the loss; called once, before the first step."""
        del training, model
        return None

    def weights(self, training: Training, tuned: TunedWeights) -> Sequence[FurtherWeights]:
        """Return further weights to make of a finished epoch's checkpoint, named as in `further`."""
        del training, tuned
        return ()


def trained_recipe(recipe: Recipe, mitigation: HasEpochs | None) -> Recipe:
    """Return the recipe that is trained where a mitigation acts on it."""
    return replace(recipe, epochs=recipe.epochs + mitigation.more_epochs) if mitigation is not None else recipe


def judged_axes(mitigations: Iterable[HasNeeds]) -> tuple[str, ...]:
    """Return the axes of the judges that tell what is kept of a base's answers, for what these mitigations need."""
    needs = frozenset[Need]().union(*(each.needs for each in mitigations))
    return tuple(dict.fromkeys(axis for need, axis in OWN.items() if need in needs))


def check_needs(mitigation: Mitigation, training: Training) -> None:
    """Raise UsageError where a training lacks something that the mitigation needs."""
    provided = {**training.own.by_need(), "rows": training.rows}
    missing = sorted(need for need in mitigation.needs if not provided[need])
    if missing:
        raise UsageError(
            f"mitigation '{type(mitigation).__name__}' needs {', '.join(missing)}, but the training has none"
        )
