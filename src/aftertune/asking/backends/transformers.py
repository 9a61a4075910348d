"""Backend on this machine: a base and its checkpoints in Hugging Face transformers and PEFT, on a CPU or a GPU."""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from aftertune import hardware
from aftertune.asking.backends._activations import last_token_activations
from aftertune.asking.backends._batching import batching
from aftertune.asking.backends._decoding import Batching, Decoded, Row, decode
from aftertune.asking.backends._interventions import changed_stream, only_tuned
from aftertune.asking.backends._likelihoods import NOT_NUMBERS, score_beginnings, score_texts
from aftertune.asking.backends._prompt_tokens import prompt_ids, stop_ids
from aftertune.asking.backends._replies import answered, failed, opens
from aftertune.asking.backends._thought_tokens import extended_limit, text_of
from aftertune.errors import AdapterNotAppliedError, ModelError, first_line
from aftertune.models.adapter_files import changes_base, proved_by_hand
from aftertune.models.chat import NO_ARGUMENTS, as_written, encode, refuse_arguments
from aftertune.models.identity import ModelRef, few_threads, resolve
from aftertune.models.loading import load_model, load_tokenizer, memory, outline, quiet
from aftertune.models.nf4_weights import dequantized, rounded_like
from aftertune.models.peft_adapters import EXPERT, FAILURES, AdapterTensors, attach, merged, read_adapter
from aftertune.models.proof import (
    PROBES,
    TOLERANCE,
    Comparison,
    compare_running,
    logits,
    manual_update,
    moved_weights,
    places,
    replicated,
)
from aftertune.models.session import (
    Backend,
    Beginnings,
    BeginningScore,
    Capability,
    Reply,
    Request,
    Session,
    StreamChange,
    Template,
    TextScore,
)
from aftertune.models.unread_tensors import unread_by
from aftertune.models.weight_files import tensors_of
from aftertune.plugins import Card
from aftertune.records import Conversation, Json, Prompt, Proof, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_HOW_MANY: dict[Batching, str] = {
    "any": "{} in flight",
    "equal lengths": "prompts of one length at a time, {} in flight",
    "alone": "one prompt at a time",
}
SHOWN = 16
"""Tokens in the probe that shows changed embeddings."""
ROOM = 0.7
"""Share of the memory that weights may take; the rest is for keys, values and activations."""


@dataclass(frozen=True)
class Transformers(Backend):
    """Answers with models on this machine, through Hugging Face transformers and PEFT."""

    card: ClassVar[Card] = Card(
        about=(
            "Answers with models on this machine. The base is loaded once. An adapter is attached to it by "
            "PEFT; a full checkpoint is loaded beside it. Nothing is merged in place and nothing is written. Every "
            "setting of the decoding is aftertune's: the checkpoint's own generation_config (temperature, top_p, "
            "repetition penalty) gives its end-of-turn tokens and nothing else."
        ),
        source="Hugging Face transformers and PEFT",
        licence="Apache-2.0 (both libraries); the models' own",
        weaknesses=(
            "In bfloat16, and on a GPU, the last digits of the logits depend on the batch, so a near-tie between two "
            "tokens may fall either way."
        ),
    )

    batch_size: int = 0
    """Requests in flight; halved where memory runs out. 0: 128 under ten million parameters, else 64."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and products."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1`, ..."""
    adapters: Literal["auto", "merged", "unmerged"] = "auto"
    """`merged`: W + BA in a copy of the base (fast; twice the memory; float32 only). `unmerged`: beside the base's
    weights. `auto`: merged in float32 if two copies of the base fit into memory, which is decided once per study;
    unmerged in bfloat16, where the sum would round the update away, in 4 bits, and on a tied output layer."""
    quantization: Literal["none", "nf4"] = "none"
    """`nf4`: linear layers in 4 bits, as QLoRA tunes and many serve them (needs bitsandbytes); slow on a CPU."""

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured. Raises ValueError."""
        if self.batch_size < 0:
            raise ValueError(f"batch_size = {self.batch_size}: it must be 0 (chosen by size) or more")
        for name, known in (
            ("dtype", tuple(TOLERANCE)),
            ("adapters", ("auto", "merged", "unmerged")),
            ("quantization", ("none", "nf4")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} = {getattr(self, name)!r} (known: {', '.join(known)})")
        if self.adapters == "merged" and (self.dtype != "float32" or self.quantization != "none"):
            raise ValueError(
                "adapters = 'merged' needs dtype = 'float32' and quantization = 'none': elsewhere the sum rounds the "
                "update away"
            )

    version = "4"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All but log-probabilities with each reply."""
        shown: tuple[Capability, ...] = ("tokens", "logits", "scores", "beginnings", "activations", "interventions")
        return frozenset((*shown, "adapters", "weights", "seeds", "texts"))

    @property
    def chosen_parameters(self) -> tuple[str, ...]:
        """`adapters`, chosen by memory."""
        return ("adapters",)

    def environment(self) -> dict[str, Json]:
        """Return the versions of the libraries, the processor and the GPUs."""
        versions = {name: version(name) for name in ("torch", "transformers")}
        return {**versions, **hardware.processor(), "gpus": hardware.gpus()}

    def choose(self, bases: Sequence[str], ranks: Sequence[int] = ()) -> Mapping[str, Json]:
        """Return `adapters = "unmerged"` for a study where a merged copy would not fit beside a base."""
        del ranks
        if self.adapters != "auto" or self.dtype != "float32" or self.quantization != "none":
            return {}
        largest = max((4 * resolve(base).parameters for base in bases), default=0)
        available = memory(self.device)
        if 2 * largest <= ROOM * available:
            return {}
        log.warning(
            "adapters are not merged: two copies of the base, %.1f GB, in %.1f GB", 2 * largest / 1e9, available / 1e9
        )
        return {"adapters": "unmerged"}

    def refuse(self, base: str) -> None:
        """Raise ModelError for a base whose class cannot be built or asked here."""
        reference = resolve(base)
        outline(reference)
        load_tokenizer(reference)

    @contextmanager
    def open(self, base: str) -> Iterator[TransformersSession]:
        """Load the base (a folder or a hub name) and yield the session; its memory is released afterwards.

        Raises ModelError, before any weights load, for a base that cannot be used.
        """
        reference = resolve(base)
        if reference.kind != "full":
            raise ModelError(f"{base} is an adapter: the base must be a full model")
        with few_threads(reference):
            session = TransformersSession(self, reference)
            try:
                yield session
            finally:
                session.close()

    def around(self, model: Any, tokenizer: Any) -> TransformersSession:
        """Return a session that asks a model which somebody else holds, e.g. one in training; it has no checkpoints.

        The caller sees to it that the model is in evaluation mode while it is asked. Nothing of it is changed.
        Raises ModelError for a model that cannot be asked.
        """
        name = type(model).__name__
        return TransformersSession(
            self, ModelRef(name, Path(), "full", name, (), None, None, None), held=(model, tokenizer)
        )


PLUGIN = Transformers


class TransformersSession(Session):
    """A loaded base, answering as itself or as one of its checkpoints."""

    def __init__(self, backend: Transformers, base: ModelRef, held: tuple[Any, Any] | None = None) -> None:
        """Load the base's weights and tokenizer, or take those that are `held`."""
        self._backend = backend
        self._base_ref = base
        self._base = self._load(base) if held is None else held[0]
        self._slots = backend.batch_size or (128 if self._base.num_parameters() < 10_000_000 else 64)
        self._base_tokenizer = load_tokenizer(base) if held is None else held[1]
        self._probes = [encode(self._base_tokenizer, text) for text in PROBES]
        self._base_batching = self._prove_batching(self._base, base.name)
        self._base_logits = logits(self._base, self._probes)
        self._reset()

    @property
    def exact(self) -> bool:
        """Whether a text cannot depend on what else is in its batch."""
        return self._backend.dtype == "float32" and self._base.device.type == "cpu"

    def _load(self, reference: ModelRef) -> Any:
        own = self._backend
        base = None if reference is self._base_ref else self._base_ref
        return load_model(reference, own.dtype, own.device, nf4=own.quantization != "none", base=base)

    def _prove_batching(self, model: Any, name: str) -> Batching:
        """Return which prompts may go through a model together. Raises ModelError where it can answer none."""
        vocabulary = min(_vocabulary_rows(model))
        texts = [[id_ % vocabulary for id_ in probe] for probe in self._probes]
        pad = (self._base_tokenizer.pad_token_id or 0) % vocabulary
        return batching(model, name, texts, pad, TOLERANCE[self._backend.dtype])

    def _reset(self) -> None:
        self._batching = self._base_batching
        self._key: object = None
        self._model = self._base
        self._ref = self._base_ref
        self._own_tokenizer: Any = None
        self._attached: Any = None
        self._proof = self._conditions(Proof(self._base_ref.name, 0.0, 0.0, 0), "base")

    def _conditions(self, proof: Proof, model: str, adapters: Literal["", "merged", "unmerged"] = "") -> Proof:
        """Return the proof with the conditions under which the model answers; `model` names it in the sentence."""
        own, device = self._backend, self._base.device.type
        base = ", base in nf4" if own.quantization == "nf4" else ""
        return replace(
            proof,
            how=f"{model}{base}, {own.dtype} on {device}, {_HOW_MANY[self._batching].format(self._slots)}",
            device=device,
            precision=own.dtype,
            quantization=own.quantization,
            adapters=adapters,
            check=proof.check or ("arithmetic" if adapters else ""),
            batch_size=1 if self._batching == "alone" else self._slots,
            batching=self._batching,
        )

    def close(self) -> None:
        """Release the weights."""
        self._base = self._model = self._attached = None

    def use(self, checkpoint: Path | None) -> Proof:
        """Switch to a checkpoint (None: the base itself) and prove from logits that it answers.

        The proof: on probe prompts the logits differ from the base's, and agree with a forward pass to which the files
        were applied by hand, or, for an adapter whose arithmetic is not repeated, with PEFT's own merge. A full model
        whose weights equal the base's is the base: no change is expected of it. A checkpoint that is already in use
        stays.
        Raises AdapterNotAppliedError, ModelError as in `Session.use`.
        """
        if checkpoint is None:
            self._leave()
            return self._proof
        reference = resolve(checkpoint, base=self._base_ref)
        stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in reference.files]
        key = str(reference.path.resolve()), stamps
        if key != self._key:
            self._leave()
            proof = self._use_adapter(reference) if reference.kind == "adapter" else self._use_full(reference)
            own = reference.tokenizer_hash, reference.template_hash
            if reference.tokenizer_hash and own != (self._base_ref.tokenizer_hash, self._base_ref.template_hash):
                self._own_tokenizer = load_tokenizer(reference)
            self._key, self._ref, self._proof = key, reference, proof
        return self._proof

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        """Answer each request once; longest prompts first, each reply as soon as its row is finished.

        `template` says whose chat template writes the prompt: the base's, or the checkpoint's own where it has one. The
        text becomes tokens by the tokenizer that the model was tuned with. A request that fails, or whose prompt leaves
        no room in the model's context, gives a reply with its error; the others go on.
        """
        writer, own = self._tokenizers(template)
        context = self._context()
        forms = list({digest(request.template_arguments): request.template_arguments for request in requests}.values())
        for arguments in forms:
            refuse_arguments(writer, arguments)
        ready: list[tuple[Request, list[int]]] = []
        prompts: dict[str, list[int] | str] = {}
        for request in requests:
            if request.prompt.id not in prompts:
                prompts[request.prompt.id] = prompt_ids(
                    writer, own, request.prompt.messages, system, context, request.template_arguments
                )
            ids = prompts[request.prompt.id]
            if isinstance(ids, str):
                yield failed(request, system, ids)
            else:
                ready.append((request, ids))
        ready.sort(key=lambda item: -len(item[1]))
        stop = stop_ids(self._model, own, writer, forms)
        slots = 1 if self._batching == "alone" else self._slots
        yield from self._answer(ready, own, stop, system, context, slots)

    def score(
        self,
        conversations: Sequence[Conversation],
        *,
        template: Template,
        max_length: int,
        template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    ) -> Sequence[TextScore]:
        """Return how probable the model in use finds the conversations' answers, over the tokens that tuning reads.

        `template` `own` takes the checkpoint's own tokenizer and chat template where it has one.
        """
        writer, _ = self._tokenizers(template)
        context = self._context()
        length = min(max_length, context) if context else max_length
        return score_texts(self._model, writer, conversations, length, self._slots, template_arguments, self._batching)

    def beginnings(
        self, items: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> Sequence[BeginningScore]:
        """Return how probable the texts are as the beginnings of the answers; templates as in `respond`."""
        writer, own = self._tokenizers(template)
        pad, many = own.pad_token_id or 0, self._batching
        return score_beginnings(self._model, writer, own, items, system, self._context(), pad, self._slots, many)

    def activations(
        self,
        prompts: Sequence[Prompt],
        *,
        system: str | None,
        template: Template,
        template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    ) -> NDArray[np.float32]:
        """Return the residual stream at the last prompt token, as `Session.activations`: one pass per prompt."""
        writer, own = self._tokenizers(template)
        context = self._context()
        rows: list[list[int]] = []
        for prompt in prompts:
            ids = prompt_ids(writer, own, prompt.messages, system, context, template_arguments)
            if isinstance(ids, str):
                raise ModelError(f"prompt '{prompt.id}': {ids}")
            rows.append(ids)
        return last_token_activations(self._model, rows)

    @contextmanager
    def changed(self, changes: Sequence[StreamChange]) -> Iterator[None]:
        """Change the residual stream of the model in use while the context is open, as `Session.changed`."""
        with changed_stream(self._model, changes):
            yield

    @contextmanager
    def only_tuned(self, layers: Collection[int], *, rest: bool = False, shuffled: int | None = None) -> Iterator[None]:
        """Let only these layers be the checkpoint's while the context is open, as `Session.only_tuned`."""
        before = self._model
        with only_tuned(self._base, before, layers, rest=rest, shuffled=shuffled) as mixed:
            self._model = mixed
            try:
                yield
            finally:
                self._model = before

    def _tokenizers(self, template: Template) -> tuple[Any, Any]:
        """Return the tokenizer whose chat template writes the text, and the one that turns it into tokens."""
        if template not in ("base", "own", "none"):
            raise ModelError(f"template = {template!r} (known: base, own, none)")
        own = self._own_tokenizer or self._base_tokenizer
        if template == "none":
            return as_written(own), own
        return (own if template == "own" else self._base_tokenizer), own

    def _context(self) -> int | None:
        """Return how many tokens the model in use can read; None where it does not say."""
        limit: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        return limit

    def _answer(
        self,
        requests: Sequence[tuple[Request, list[int]]],
        tokenizer: Any,
        stop: frozenset[int],
        system: str | None,
        context: int | None,
        slots: int,
    ) -> Iterator[Reply]:
        """Answer requests in order, `slots` at once; a batch that fails is halved until one request is left."""
        todo = [(requests, slots)]
        while todo:
            group, slots = todo.pop()
            rows = [self._row(one, ids, tokenizer, (context or sys.maxsize) - len(ids)) for one, ids in group]
            done: set[int] = set()
            why, smaller = "", slots
            try:
                pad, many = tokenizer.pad_token_id or 0, self._batching
                for decoded in decode(self._model, rows, pad, stop, slots, batching=many):
                    done.add(decoded.row)
                    yield _reply(*group[decoded.row], decoded, tokenizer, system)
            except Exception as error:  # noqa: BLE001 - one request must not take the others with it
                why = f"{type(error).__name__}: {first_line(error)}"
                if isinstance(error, MemoryError) or "memory" in str(error).lower():
                    smaller = max(1, slots // 2)
            # Only here is the error released, and with its frames the keys and values that the failed batch held.
            remaining = [item for row, item in enumerate(group) if row not in done] if why else []
            # Rows enter in order, so those that were in flight come first.
            flying, waiting = remaining[:slots], remaining[slots:]
            if waiting:
                todo.append((waiting, smaller))
            if len(flying) == 1:
                yield failed(flying[0][0], system, why, flying[0][1])
            elif flying:
                log.info("a batch of %d failed (%s): halved", len(flying), why.partition(":")[0])
                middle = (len(flying) + 1) // 2
                todo += [(flying[middle:], middle), (flying[:middle], middle)]

    def _row(self, request: Request, ids: list[int], tokenizer: Any, room: int) -> Row:
        """Return a request ready to decode; `room` is for how many tokens the model's context has place."""
        limit, opened = min(request.max_new_tokens, room), opens(tokenizer, ids)

        def extended(tokens: Sequence[int]) -> int:
            most = request.max_new_tokens, request.thought_tokens
            return min(extended_limit(tokenizer, tokens, *most, opened=opened), room)

        return Row(ids, limit, request.temperature, request.seed, extended if request.thought_tokens else None)

    # ------------------------------------------------------------------------------------------ switching

    def _leave(self) -> None:
        """Go back to the base; it is loaded again where taking PEFT's layers out does not bring it back."""
        attached, self._attached = self._attached, None
        if attached is not None:
            attached.unload()
            distance = float((logits(self._base, self._probes) - self._base_logits).abs().max())
            noise = 0.0 if self._base.device.type == "cpu" else 0.1 * TOLERANCE[self._backend.dtype]
            if not distance <= noise * float(self._base_logits.abs().max()):
                self._reload()
        self._reset()

    def _reload(self) -> None:
        self._attached = self._base = self._model = None
        self._base = self._model = self._load(self._base_ref)

    def _use_adapter(self, reference: ModelRef) -> Proof:
        adapter = read_adapter(self._base, reference)
        if not proved_by_hand(adapter.config):
            return self._use_merging_adapter(adapter)
        plain = replicated(self._base, adapter.config)
        update = manual_update(plain, reference, self._base_ref)
        if update.moved == 0:
            raise AdapterNotAppliedError(f"{reference.name}: the adapter is zero (B A = 0): nothing was tuned into it")
        embeddings = _embeddings(self._base, update.weights)
        probes = self._probes_for(embeddings, *adapter.rows.values())
        expected = logits(plain, probes.ids, update.weights, update.added)
        del plain, embeddings
        moved = update.moved
        del update
        why = ""
        if self._merges(adapter):
            try:
                self._model = merged(self._attach(adapter, copied=True), adapter)
                return self._conditions(self._prove(adapter.name, expected, moved, probes), "adapter merged", "merged")
            except (AdapterNotAppliedError, ModelError) as error:
                if self._backend.adapters == "merged":
                    raise
                # Some models read a layer's weights past PEFT's layers, and some updates PEFT cannot merge.
                why = first_line(error)
                self._leave()
        self._model = self._attach(adapter)
        try:
            proof = self._prove(adapter.name, expected, moved, probes)
        except AdapterNotAppliedError:
            if self._backend.dtype == "float32" or self._backend.quantization != "none":
                raise
            proof = self._prove_in_float32(reference, adapter, moved, probes)
        if why:
            log.warning("asked unmerged, since the merged model is not the tuned one: %s", why)
        return self._conditions(proof, "adapter unmerged", "unmerged")

    def _prove_in_float32(self, reference: ModelRef, adapter: AdapterTensors, moved: int, probes: _Probes) -> Proof:
        """Prove an adapter on a copy of the base in float32, and put it beside the base.

        In bfloat16 the experts that a mixture chooses may depend on the last digit, and with them all logits.
        """
        plain = replicated(copy.deepcopy(self._base).float(), adapter.config)
        update = manual_update(plain, reference, self._base_ref)
        probes = _Probes(probes.ids, logits(plain, probes.ids))
        expected = logits(plain, probes.ids, update.weights, update.added)
        del plain, update
        tuned = attach(copy.deepcopy(self._base).float(), adapter)
        result = self._compared(tuned, logits(tuned, probes.ids), expected, probes, moved, TOLERANCE["float32"])
        del tuned
        if result.fault:
            raise AdapterNotAppliedError(f"{adapter.name}: not applied, in float32 either: {result.fault}")
        self._model = self._attach(adapter)
        return replace(self._prove(adapter.name, None, moved, probes), matches_direct=result.error)

    def _use_merging_adapter(self, adapter: AdapterTensors) -> Proof:
        """Switch to an adapter whose arithmetic is not repeated: PEFT's forward pass is held against its merge.

        Both are of a copy in float32, since in bfloat16 the sum would round a small update away.
        """
        method = adapter.config["peft_type"]
        if self._backend.quantization != "none":
            raise ModelError(
                f"{adapter.name}: an adapter of the type {method} is proved by merging it, which rounds in 4 bits: use "
                "quantization = 'none'"
            )
        tuned = attach(copy.deepcopy(self._base).float(), adapter)
        probes = self._probes_for(self._base.get_input_embeddings().weight, *adapter.rows.values())
        beside = logits(tuned, probes.ids)
        whole = merged(tuned, adapter)
        expected, moved = logits(whole, probes.ids), moved_weights(whole, self._base)
        if moved == 0:
            raise AdapterNotAppliedError(f"{adapter.name}: the adapter changes no weight: nothing was tuned into it")
        result = self._compared(whole, beside, expected, probes, moved, TOLERANCE["float32"])
        if result.fault:
            raise AdapterNotAppliedError(
                f"{adapter.name}: not applied: PEFT's merge and its forward pass differ: {result.fault}"
            )
        if self._merges(adapter):
            self._model, expected = whole, beside
        else:
            del tuned, whole
            self._model = self._attach(adapter)
        proof = replace(self._prove(adapter.name, expected, moved, probes), check="merge")
        how: Literal["merged", "unmerged"] = "merged" if self._merges(adapter) else "unmerged"
        return self._conditions(proof, f"adapter {how}, proved by PEFT's merge", how)

    def _merges(self, adapter: AdapterTensors) -> bool:
        if self._backend.adapters != "auto":
            return self._backend.adapters == "merged"
        tied = any(_TIED.search(key) for key in adapter.tensors)
        return self._backend.dtype == "float32" and self._backend.quantization == "none" and not tied

    def _attach(self, adapter: AdapterTensors, *, copied: bool = False) -> Any:
        """Put an adapter on a copy of the base, or beside the base's weights where PEFT leaves those as they are."""
        own = dict(self._base.named_parameters(remove_duplicate=False))
        whole = any(key.replace(".base_layer.", ".") in own for key in adapter.tensors)
        if copied or whole or changes_base(adapter.config):
            with quiet():
                return attach(copy.deepcopy(self._base), adapter)
        try:
            with quiet():
                self._attached = attach(self._base, adapter)
        except (AdapterNotAppliedError, ModelError):  # layers of PEFT may remain in the base
            self._reload()
            raise
        return self._attached

    def _probes_for(self, embeddings: Any, *rows: int) -> _Probes:
        """Return the probes for a model with these input embeddings, and these numbers of rows in other tensors.

        Where the probes' tokens have the base's embeddings, and others do not, those others are a probe of their own.
        """
        base = self._base.get_input_embeddings().weight
        vocabulary = min(*_vocabulary_rows(self._base), embeddings.shape[0], *rows)
        probes = [[id_ % vocabulary for id_ in probe] for probe in self._probes]
        if embeddings is not base:
            differs = (embeddings[:vocabulary] != base[:vocabulary].to(embeddings)).any(dim=1)
            changed = differs.nonzero().flatten().tolist()
            if changed and not {id_ for probe in probes for id_ in probe}.intersection(changed):
                probes.append(changed[:SHOWN])
        return _Probes(probes, self._base_logits if probes == self._probes else logits(self._base, probes))

    def _use_full(self, reference: ModelRef) -> Proof:
        if reference.weights_hash == self._base_ref.weights_hash:
            return replace(self._conditions(Proof(reference.name, 0.0, 0.0, 0), "full model"), how="")
        self._model = self._load(reference)
        own = dict(self._model.named_parameters(remove_duplicate=False))
        different: dict[str, Any] = {}
        experts = []
        for key, value in tensors_of(reference.files):
            if key not in own:
                experts += [key] if EXPERT.search(key) else []
                continue
            value = rounded_like(value, own[key])
            if not value.equal(dequantized(own[key])):
                different[key] = partial(value.clone)
        found = places(own, reference) if experts else {}
        unread = unread_by(self._model, experts)
        absent = [key for key in experts if key not in found and key not in unread]
        if absent:
            self._leave()
            raise AdapterNotAppliedError(
                f"{reference.name}: not applied: {len(absent)} tensors of experts are not in the loaded model as they "
                f"are in the files, e.g. {absent[0]}"
            )
        moved = moved_weights(self._model, self._base)
        probes = self._probes_for(self._model.get_input_embeddings().weight, *_vocabulary_rows(self._model))
        # Where every weight is the file's, a pass with the file's weights is this model's own.
        expected = logits(self._model, probes.ids, different) if different else None
        return self._conditions(self._prove(reference.name, expected, moved, probes), "full model")

    def _compared(
        self, model: Any, actual: Any, expected: Any, probes: _Probes, moved: int, tolerance: float
    ) -> Comparison:
        return compare_running(model, probes.ids, actual, expected, probes.base, moved, tolerance)

    def _prove(self, name: str, expected: Any, moved: int, probes: _Probes) -> Proof:
        """Hold the model in use against the expected logits (None: its own); `moved` weights should differ."""
        try:
            actual = logits(self._model, probes.ids)
        except FAILURES as error:
            self._leave()
            raise ModelError(f"{name}: the model does not run with it: {first_line(error)}") from None
        expected = actual if expected is None else expected
        result = self._compared(self._model, actual, expected, probes, moved, TOLERANCE[self._backend.dtype])
        if result.fault:
            self._leave()
            raise AdapterNotAppliedError(f"{name}: not applied: {result.fault}; {moved:,} weights should have moved")
        try:
            self._batching = self._prove_batching(self._model, name)
        except ModelError:
            self._leave()
            raise
        return Proof(name, result.change, result.error, moved)


_TIED = re.compile(r"(^|\.)(\w*embed\w*|lm_head|wte)\.")
"""Modules whose weights two layers may share, so that merging into one would change the other."""


def _reply(request: Request, ids: list[int], decoded: Decoded, tokenizer: Any, system: str | None) -> Reply:
    if decoded.finish == "error":
        return failed(request, system, NOT_NUMBERS, ids)
    tokens = decoded.tokens[:-1] if decoded.finish == "stop" else decoded.tokens
    text, opened = text_of(tokenizer, tokens), opens(tokenizer, ids)
    return answered(request, system, ids, text, decoded.finish, len(decoded.tokens), opened=opened)


class _Probes(NamedTuple):
    """Token ids whose logits are compared, and the base's logits on them."""

    ids: list[list[int]]
    base: Any


def _embeddings(base: Any, weights: Mapping[str, Any]) -> Any:
    """Return the input embeddings that `weights` (parameter name -> tensor) put in place of the base's; or those."""
    own = base.get_input_embeddings().weight
    return next((weights[name] for name, value in base.named_parameters() if value is own and name in weights), own)


def _vocabulary_rows(model: Any) -> tuple[int, int]:
    """Return the rows of the input and output embeddings."""
    rows, out = int(model.get_input_embeddings().weight.shape[0]), model.get_output_embeddings()
    return rows, int(out.weight.shape[0]) if out is not None else rows
