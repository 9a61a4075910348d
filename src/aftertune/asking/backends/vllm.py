"""Backend on vLLM: starts `vllm serve` on this machine, asks it token by token what was meant, and ends it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from aftertune import hardware
from aftertune.asking.backends import _observations, _vllm_server
from aftertune.asking.backends._client import Client, Ledger, Limits
from aftertune.asking.backends._completions import Completion, TokenCompletion, read_token_completion
from aftertune.asking.backends._observations import Observations
from aftertune.asking.backends._prompt_tokens import end_ids, prompt_ids
from aftertune.asking.backends._replies import answered, failed, opens
from aftertune.asking.backends._thought_tokens import extended_limit, text_of
from aftertune.asking.backends._vllm_adapters import RANKS, WAY_OUT, refuse_adapter, room
from aftertune.errors import AdapterNotAppliedError, ModelError, ServerError, UsageError
from aftertune.models import identity
from aftertune.models.chat import NO_ARGUMENTS, as_written, encode, refuse_arguments
from aftertune.models.identity import ModelRef
from aftertune.models.loading import load_tokenizer
from aftertune.models.proof import PROBES
from aftertune.models.session import Backend, Capability, Reply, Request, Session, Template
from aftertune.models.training_rows import declared_stops
from aftertune.plugins import Card
from aftertune.records import Json, Message, Proof, digest
from aftertune.run.clock import START
from aftertune.run.job_progress import PROGRESS
from aftertune.run.place import PLACE

log = logging.getLogger(__name__)

_DTYPES = ("bfloat16", "float16", "float32")
REPEATS = 5
"""How often log-probabilities are asked for where they differ from one time to the next: of ten answers of one model,
five happen to lie apart from the other five once in 126 times."""
_OWN_FLAGS = frozenset(
    {
        "host", "port", "uds", "api-key", "served-model-name", "model", "model-tag", "tokenizer",
        "skip-tokenizer-init", "enable-lora", "lora-modules", "max-lora-rank", "max-loras", "dtype", "max-model-len",
        "seed", "generation-config", "config-format", "override-generation-config", "chat-template", "revision",
        "tokenizer-revision", "code-revision", "lora-target-modules", "default-mm-loras", "logits-processors",
        "logprobs-mode", "config", "trust-remote-code", "middleware", "root-path", "hf-token", "headless", "grpc",
        "runner", "convert", "task", "tokens-only", "ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "allowed-origins",
        "tool-server", "fingerprint-mode", "data-parallel-address", "master-addr", "nnodes", "node-rank",
        "worker-cls", "worker-extension-cls",
    }
)  # fmt: skip
"""Arguments of `vllm serve` that nobody may give: what is set here and by parameters, then what would have it serve
something else without a word, run code, reach out, or let others in."""


@dataclass(frozen=True)
class Vllm(Backend):
    """Answers with models in a `vllm serve` that it starts on this machine and ends."""

    starts_server: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        about=(
            "Answers with models that are too large, or too slow, for the backend `transformers`. It starts `vllm "
            "serve` on a free port of 127.0.0.1 with a key of its own, waits until it answers, and ends it with all of "
            "its processes, also where aftertune is killed. Base and adapters share one server; a full checkpoint has "
            "its own, one after the other, since two do not fit on one GPU.\n\n"
            "Prompts are written by the local chat template and sent as token ids, and the server must say that it "
            "read these. Answers come back as token ids and are read by the local tokenizer. So prompts, ends of "
            "answers and thoughts are those of the backend `transformers`, and the model's own generation_config "
            "gives its end-of-turn tokens and nothing else. An adapter is proved by log-probabilities that are not the "
            "base's."
        ),
        source="vLLM: https://docs.vllm.ai",
        licence="Apache-2.0 (vLLM); the models' own",
        weaknesses=(
            "Tested with a stand-in for the command `vllm`, not on a GPU. That an adapter is applied as it was tuned, "
            "and not in part, is not proved: the backend `transformers` proves that. A text depends on what else is "
            "answered at that moment. No activations, and no probabilities of given texts."
        ),
    )

    executable: str = field(default="vllm", compare=False)
    """The command, by name or path: it may stand in an environment of its own."""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    """Of weights and products; GPUs before Ampere need `float16`."""
    max_model_len: int = 0
    """Tokens of prompt and answer that it has room for; 0: what the model can read."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of `vllm serve`, e.g. `{tensor-parallel-size = 2, gpu-memory-utilization = 0.8, quantization =
    "fp8"}`; a flag is `true`, its `--no-` form `false`."""
    concurrency: int = 128
    """Most requests in flight."""
    loading_s: float = field(default=1800.0, compare=False)
    """Seconds that it may take to start."""
    timeout_s: float = field(default=900.0, compare=False)
    """Seconds for one answer, the time that it waits for others included."""
    lora_rank: int = -1
    """Largest rank of adapters that it has room for: 8, 16, 32, 64, 128, 256, 320 or 512; 0: no adapters. -1: chosen as
    a run begins, by its adapters."""
    release: str = ""
    """Version of vLLM; written by aftertune when a run begins, and another one is refused later."""

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured. Raises ValueError."""
        if self.dtype not in _DTYPES:
            raise ValueError(f"dtype = {self.dtype!r} (known: {', '.join(_DTYPES)})")
        for name, low in (("max_model_len", 0), ("concurrency", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name} = {value}: give a whole number, {low} or more")
        for name in ("loading_s", "timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}: give seconds above 0")
        if self.lora_rank not in (-1, 0, *RANKS):
            raise ValueError(f"lora_rank = {self.lora_rank} (known: {', '.join(map(str, RANKS))}; 0 and -1)")
        if not isinstance(self.arguments, Mapping):
            raise ValueError("arguments: give a table, e.g. {tensor-parallel-size = 2}")
        for name, value in self.arguments.items():
            _refuse_argument(name, value)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Tokens, adapters and weights, which are the files that it is given."""
        return frozenset({"tokens", "adapters", "weights", "texts"})

    @property
    def chosen_parameters(self) -> tuple[str, ...]:
        """`release` and `lora_rank`."""
        return ("release", "lora_rank")

    def choose(self, bases: Sequence[str], ranks: Sequence[int] = ()) -> Mapping[str, Json]:
        """Return the version of vLLM that is installed, and the rank that it must have room for.

        Raises MissingPackageError where there is none, UsageError for one that is too old, ModelError for a rank that
        is too large.
        """
        del bases
        needed = room(ranks)
        if 0 <= self.lora_rank < needed:
            raise ModelError(
                f"backend vllm: lora_rank = {self.lora_rank}, and the run has an adapter that needs {needed}"
            )
        chosen: dict[str, Json] = {}
        if self.lora_rank < 0:
            chosen["lora_rank"] = needed
        if not self.release:
            chosen["release"] = _vllm_server.release(self.executable)
        return chosen

    def environment(self) -> dict[str, Json]:
        """Return the version of vLLM, the variables that set it otherwise, and the GPUs."""
        return {"vllm": self.release, "variables": dict(_vllm_server.variables()), "gpus": hardware.gpus()}

    def refuse_checkpoint(self, name: str, folder: Path) -> None:
        """Raise ModelError for an adapter that vLLM would not serve as it was tuned."""
        if (folder / "adapter_config.json").exists():
            refuse_adapter(name, folder)

    def lacking(self) -> str:
        """Return that vLLM is not installed; empty where it is."""
        try:
            _vllm_server.executable(self.executable)
        except UsageError as error:
            return str(error)
        return ""

    @contextmanager
    def open(self, base: str) -> Iterator[VllmSession]:
        """Start a server with the base (a folder or a hub name) and yield the session; it is ended afterwards.

        Raises ModelError for a base that cannot be used, MissingPackageError without vLLM, ServerError where the server
        does not start.
        """
        reference = identity.resolve(base)
        if reference.kind != "full":
            raise ModelError(f"{base} is an adapter: the base must be a full model")
        session = VllmSession(self, reference)
        try:
            yield session
        finally:
            session.close()


PLUGIN = Vllm


class _Prompt(NamedTuple):
    """A request as it is sent."""

    request: Request
    ids: list[int]
    opened: bool
    """Whether the chat template opened a thought."""
    limit: int
    """Most tokens of the answer."""


Fingerprint = tuple[tuple[float, ...], ...]
"""Log-probabilities of the tokens of each probe."""


class _Said(NamedTuple):
    """What a model said of the probes, each time that it was asked."""

    model: ModelRef
    times: list[Fingerprint]

    @property
    def noise(self) -> float:
        """The largest difference from one time to another."""
        return max((_distance(one, other) for one, other in itertools.combinations(self.times, 2)), default=0.0)


class VllmSession(Session):
    """A server with a base or a full checkpoint of it, answering as that or as one of its adapters."""

    def __init__(self, backend: Vllm, base: ModelRef) -> None:
        """Read the base's tokenizer; the server is started when it is first used."""
        self._backend, self._base_ref = backend, base
        self._command = _vllm_server.executable(backend.executable)
        self._release = _vllm_server.release(backend.executable)
        if backend.release not in ("", self._release):
            raise UsageError(
                f"backend vllm: the run began with vLLM {backend.release}, and here is {self._release}, which may "
                "answer otherwise: install that one, or use another run folder (-o)"
            )
        self._base_tokenizer = load_tokenizer(base)
        self._probes = [encode(self._base_tokenizer, text) for text in PROBES]
        self._server: _vllm_server.VllmServer | None = None
        self._client: Client | None = None
        self._log = PLACE.log_file("vllm")
        self._ledger = Ledger()
        self._since, self._reported = self._ledger.copy(), False
        self._ref, self._own_tokenizer, self._name = base, None, ""
        self._said: dict[str, _Said] = {}
        """By a model's identity."""
        self._used: object = None
        self._proof: Proof | None = None
        self._loaded: set[str] = set()
        self._failed: dict[Path, str] = {}
        """Folder of a model -> why no server with it could be started: trying takes minutes, so it is tried once."""
        self._observations: defaultdict[str, Observations] = defaultdict(Observations)

    @property
    def exact(self) -> bool:
        """False: kernels of a GPU sum in an order that depends on the batch."""
        return False

    def close(self) -> None:
        """End the server; the log of one outside of a run goes with it."""
        server, self._server = self._server, None
        failed = bool(self._failed or (server is not None and server.gone()))
        if server is not None:
            server.stop()
        if PLACE.root is None and not failed:
            with contextlib.suppress(OSError):
                self._log.unlink()

    # ------------------------------------------------------------------------------------------ switching

    def use(self, checkpoint: Path | None) -> Proof:
        """Switch to a checkpoint (None: the base) and prove, as far as a server shows it, that it answers.

        The proof: the server declares the folder of the model that was meant, and its log-probabilities of the probes'
        tokens differ from the base's by more than either differ from one time to the next. What a full checkpoint
        differs by is not known where the base was not asked before it.
        Raises AdapterNotAppliedError where they do not differ, ModelError for what vLLM cannot serve or refuses to
        load, ServerError where the server does not start or is gone.
        """
        if self._server is not None and (why := self._server.gone()):
            raise ServerError(why)
        if self._reported:  # the next report covers what follows
            self._since, self._reported = self._ledger.copy(), False
            for observations in self._observations.values():
                observations.clear()
        key = None if checkpoint is None else (str(checkpoint), _stamps(checkpoint))
        if self._proof is not None and self._used == key:
            return self._proof
        self._proof = None
        reference = self._base_ref if checkpoint is None else identity.resolve(checkpoint, base=self._base_ref)
        if reference.kind == "adapter":
            name = self._load(reference)
        else:
            name = self._serve(reference)
        self._ref, self._name = reference, name
        self._own_tokenizer = None
        own = reference.tokenizer_hash, reference.template_hash
        if reference.tokenizer_hash and own != (self._base_ref.tokenizer_hash, self._base_ref.template_hash):
            self._own_tokenizer = load_tokenizer(reference)
        change = self._prove(reference)
        observations = self._observations[reference.identity]
        if observations.trials is None:
            observations.trials = _observations.run_trials(self._ask_trial)
        self._used, self._proof = key, self._evidence(reference, change)
        return self._proof

    def _serve(self, reference: ModelRef) -> str:
        """Have a server with a full model; one with another model is ended first. Return its name there."""
        folder = reference.path.resolve()
        if self._server is not None and self._server.model == folder:
            return self._server.name
        if self._server is not None:
            self._server.stop()
            self._server = self._client = None
        self._loaded.clear()
        if folder in self._failed:
            raise ServerError(self._failed[folder])
        server, own = _vllm_server.VllmServer(folder, self._log), self._backend
        log.warning("vllm serve: starting with %s (what it says: %s)", reference.name, self._log)
        try:
            with START.starting():
                server.start(self._command, self._arguments(), own.loading_s)
        except ServerError as error:
            self._failed[folder] = str(error)
            raise
        self._server = server
        limits = Limits(own.concurrency, own.timeout_s, 3, 0.5, 0.0, 0, 0)
        self._client = Client(
            server.url,
            server.key,
            limits,
            self._ledger,
            path="/completions",
            read=read_token_completion,
            gone=server.gone,
        )
        return server.name

    def _arguments(self) -> list[str]:
        own = self._backend
        rank = {"enable-lora": True, "max-loras": 1, "max-lora-rank": own.lora_rank} if own.lora_rank > 0 else {}
        length = {"max-model-len": own.max_model_len} if own.max_model_len else {}
        fixed = {
            "dtype": own.dtype,
            "seed": 0,
            "config-format": "hf",  # a folder of Mistral's may hold the same model twice
            "generation-config": "vllm",  # not the model's own, whose temperature or penalties would decide answers
            "disable-uvicorn-access-log": True,
            **length,
            **rank,
        }
        return _vllm_server.flags({**own.arguments, **fixed})

    def _load(self, reference: ModelRef) -> str:
        """Have an adapter loaded beside the base, under a name of its own, and return the name."""
        refuse_adapter(reference.name, reference.path)
        if self._backend.lora_rank <= 0:
            raise ModelError(
                f"{reference.name}: backend vllm: lora_rank = {self._backend.lora_rank}: no room for adapters"
            )
        if self._base_ref.identity in self._said:
            self._serve(self._base_ref)
        else:
            self.use(None)
        server, client = self._running()
        name, folder = f"adapter-{reference.identity}", str(reference.path.resolve())
        if name not in self._loaded:
            start = server.size()
            why = client.post("/load_lora_adapter", {"lora_name": name, "lora_path": folder})
            if why and (gone := server.gone()):
                raise ServerError(gone)
            if why:
                raise ModelError(f"{reference.name}: vLLM does not load it ({why}): {WAY_OUT}")
            if left := _vllm_server.ignored(server.lines_since(start)):
                raise AdapterNotAppliedError(
                    f"{reference.name}: vLLM says that it leaves out a part: {left}: {WAY_OUT}"
                )
            self._loaded.add(name)
        body = client.get("/models")
        rows = body.get("data") if isinstance(body, dict) else None
        row = next((each for each in rows or () if isinstance(each, dict) and each.get("id") == name), None)
        if row is None:
            raise ServerError(f"{reference.name}: vLLM does not list the adapter that it was given")
        if row.get("root") not in (None, folder) or row.get("parent") not in (None, server.name):
            raise ServerError(
                f"{reference.name}: vLLM lists it as {row.get('root')!r} on {row.get('parent')!r}: another adapter "
                "than it was given"
            )
        return name

    def _running(self) -> tuple[_vllm_server.VllmServer, Client]:
        if self._server is None or self._client is None:
            raise ModelError("backend vllm: nothing is served yet: `use` comes first")
        return self._server, self._client

    # ------------------------------------------------------------------------------------------ proof

    def _prove(self, reference: ModelRef) -> float | None:
        """Return by how much the log-probabilities differ from the base's, at most; None where those are not known.

        Raises AdapterNotAppliedError.
        """
        base = self._base_ref
        if reference.identity not in self._said:
            self._said[reference.identity] = _Said(reference, [self._fingerprint()])
        said = self._said[reference.identity]
        if reference is base:
            while len(said.times) < REPEATS:
                said.times.append(self._fingerprint())
            return 0.0
        if base.identity not in self._said:
            return None
        its_base = self._said[base.identity]
        while its_base.noise and len(said.times) < REPEATS:
            said.times.append(self._fingerprint())
        between = [_distance(one, other) for one in said.times for other in its_base.times]
        if reference.weights_hash == base.weights_hash:
            return max(between)
        if min(between) <= max(said.noise, its_base.noise):
            del self._said[reference.identity]
            noise = f", and the base's own differ by {its_base.noise:.2g} from time to time" if its_base.noise else ""
            raise AdapterNotAppliedError(
                f"{reference.name}: not applied: vLLM's log-probabilities with it are the base's (largest difference "
                f"{min(between):.2g}{noise}): nothing was tuned into it, or vLLM leaves it out: {WAY_OUT}"
            )
        for other in self._said.values():
            if other.times == said.times and other.model.weights_hash != reference.weights_hash:
                raise AdapterNotAppliedError(
                    f"{reference.name}: vLLM's log-probabilities with it are those with {other.model.name}, to the "
                    f"last digit: one of them is not applied: {WAY_OUT}"
                )
        return min(between)

    def _fingerprint(self) -> Fingerprint:
        """Return the log-probabilities of the probes' tokens; asked one by one, so that no batch decides them."""
        rows = []
        for ids in self._probes:
            body = {**self._body(ids, 0.0, 0, 1, frozenset()), "prompt_logprobs": 1}
            (completion,) = self._all([body])
            if not completion.prompt_logprobs:
                raise ServerError(
                    f"{self._ref.name}: vLLM shows no log-probabilities of a prompt, so nothing is proved"
                )
            rows.append(completion.prompt_logprobs)
        return tuple(rows)

    def _evidence(self, reference: ModelRef, change: float | None) -> Proof:
        own = self._backend
        kind = "adapter" if reference.kind == "adapter" else "base" if reference is self._base_ref else "full model"
        base = self._said.get(self._base_ref.identity)
        noise = f"; the base's own differ by {base.noise:.2g} from time to time" if base and base.noise else ""
        settings = f", {' '.join(_vllm_server.flags(own.arguments))}" if own.arguments else ""
        return Proof(
            reference.name,
            None,
            None,
            None if kind == "adapter" else (0 if kind == "base" else None),
            how=f"{kind} in vLLM {self._release}, {own.dtype}{settings}{noise}",
            device="cuda" if hardware.gpus() else "",
            precision=own.dtype,
            quantization=str(own.arguments.get("quantization", "none")),
            adapters="unmerged" if kind == "adapter" else "",
            batch_size=own.concurrency,
            max_logprob_change=change,
        )

    # ------------------------------------------------------------------------------------------ asking

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        """Answer each request once, each reply as soon as it arrives; templates as in the backend `transformers`.

        A request that fails, or whose prompt leaves no room, gives a reply with its error; the others go on. Raises
        ServerError where the server is gone, or read other tokens than it was sent.
        """
        server, client = self._running()
        writer, own = self._tokenizers(template)
        forms = list({digest(request.template_arguments): request.template_arguments for request in requests}.values())
        for arguments in forms:
            refuse_arguments(writer, arguments)
        stop = end_ids(self._stops(), own, writer, forms)
        prompts: dict[str, list[int] | str] = {}
        ready: list[_Prompt] = []
        for request in requests:
            key = request.prompt.id
            if key not in prompts:
                prompts[key] = prompt_ids(
                    writer, own, request.prompt.messages, system, server.context, request.template_arguments
                )
            ids = prompts[key]
            if isinstance(ids, str):
                yield failed(request, system, ids)
                continue
            opened = opens(own, ids)
            space = (server.context or len(ids) + 2**30) - len(ids)
            thought = request.thought_tokens if opened else 0
            ready.append(_Prompt(request, ids, opened, min(request.max_new_tokens + thought, space)))
        longer: list[_Prompt] = []
        for again in (False, True):
            todo = longer if again else ready
            bodies = [self._body(one.ids, one.request.temperature, one.request.seed, one.limit, stop) for one in todo]
            for at, outcome in client.ask(bodies, self._accept) if bodies else ():
                one = todo[at]
                if not isinstance(outcome, TokenCompletion):
                    why = outcome if isinstance(outcome, str) else f"vLLM refuses to answer: {outcome.how}"
                    self._observations[self._ref.identity].fail(why)
                    yield failed(one.request, system, why, one.ids)
                    continue
                self._same_prompt(outcome, one.ids)
                if not again and (more := self._more(one, outcome, own, server.context)) is not None:
                    longer.append(more)
                    continue
                PROGRESS.wrote(len(outcome.tokens))
                yield self._reply(one, outcome, own, stop, system)

    def _more(self, one: _Prompt, outcome: TokenCompletion, own: Any, context: int | None) -> _Prompt | None:
        """Return the request with room for its thought, where it was cut in one or soon after; else None."""
        request = one.request
        if outcome.ending != "length" or not request.thought_tokens or one.limit > request.max_new_tokens:
            return None
        most = request.max_new_tokens, request.thought_tokens
        if extended_limit(own, outcome.tokens, *most, opened=one.opened) <= len(outcome.tokens):
            return None
        space = (context or len(one.ids) + 2**30) - len(one.ids)
        return one._replace(limit=min(sum(most), space))

    def _reply(
        self, one: _Prompt, outcome: TokenCompletion, own: Any, stop: frozenset[int], system: str | None
    ) -> Reply:
        """Return a reply whose answer is no longer than was asked for, whatever room its thought had."""
        request, tokens = one.request, list(outcome.tokens)
        if outcome.ending == "stop" and tokens and tokens[-1] in stop:
            tokens.pop()
        limit = min(request.max_new_tokens, one.limit)
        while len(tokens) > limit:
            most = request.max_new_tokens, request.thought_tokens
            extended = min(extended_limit(own, tokens[:limit], *most, opened=one.opened), one.limit)
            if extended <= limit:
                break
            limit = extended
        cut = outcome.ending == "length" or len(tokens) > limit
        text = text_of(own, tokens[:limit])
        ending: Literal["length", "stop"] = "length" if cut else "stop"
        self._observations[self._ref.identity].count(replace(outcome, text=text, ending=ending), 0)
        new_tokens = min(len(outcome.tokens), limit + (not cut))
        return answered(request, system, one.ids, text, ending, new_tokens, opened=one.opened)

    def report(self) -> dict[str, Json]:
        """Return what the server is and was told, trial results, and counts of answers since the last report."""
        self._reported = True
        told = self._observations[self._ref.identity].report(
            self._ref.name, self._ledger.since(self._since), seeds=True, weights="those of its files"
        )
        told["declared"] = {"server": f"vLLM {self._release}", "arguments": " ".join(self._arguments())}
        if variables := _vllm_server.variables():
            told["variables"] = dict(variables)
        return told

    def _tokenizers(self, template: Template) -> tuple[Any, Any]:
        """Return the tokenizer whose chat template writes the text, and the one that turns it into tokens."""
        if template not in ("base", "own", "none"):
            raise ModelError(f"template = {template!r} (known: base, own, none)")
        own = self._own_tokenizer or self._base_tokenizer
        if template == "none":
            return as_written(own), own
        return (own if template == "own" else self._base_tokenizer), own

    def _stops(self) -> frozenset[int]:
        """Return the end tokens that the model in use declares."""
        folder = self._base_ref.path if self._ref.kind == "adapter" else self._ref.path
        return declared_stops(folder)

    def _body(
        self, ids: Sequence[int], temperature: float, seed: int, limit: int, stop: frozenset[int]
    ) -> dict[str, Any]:
        return {
            "model": self._name,
            "prompt": list(ids),
            "max_tokens": limit,
            "temperature": temperature,
            "top_p": 1.0,
            "seed": seed & 0x7FFFFFFF,
            "stop_token_ids": sorted(stop),
            "skip_special_tokens": False,
            "return_token_ids": True,
        }

    def _accept(self, completion: Completion) -> None:
        if completion.ending not in ("stop", "length"):
            return
        if completion.model and completion.model != self._name:
            raise ServerError(f"{self._ref.name}: vLLM answered as '{completion.model[:80]}', not as '{self._name}'")
        if completion.fingerprint:
            self._observations[self._ref.identity].fingerprints[completion.fingerprint] += 1

    def _same_prompt(self, completion: TokenCompletion, ids: Sequence[int]) -> None:
        if completion.read is None:
            raise ServerError(
                f"{self._ref.name}: vLLM does not say which tokens it read, so nothing is known of its answers"
            )
        if list(completion.read) != list(ids):
            raise ServerError(
                f"{self._ref.name}: vLLM read other tokens than it was sent: its answers are to other prompts"
            )

    def _all(self, bodies: Sequence[Mapping[str, Any]]) -> list[TokenCompletion]:
        """Return the completions of requests that must all be answered. Raises ServerError."""
        _, client = self._running()
        outcomes = dict(client.ask(bodies, self._accept))
        completions = []
        for index, body in enumerate(bodies):
            outcome = outcomes[index]
            if not isinstance(outcome, TokenCompletion):
                raise ServerError(f"{self._ref.name} in vLLM: a trial request failed: {outcome}")
            self._same_prompt(outcome, body["prompt"])
            completions.append(outcome)
        return completions

    def _ask_trial(self, requests: Sequence[tuple[Sequence[Message], float, int]]) -> list[Completion]:
        writer, own = self._tokenizers("base")
        stop = end_ids(self._stops(), own, writer, [NO_ARGUMENTS])
        bodies = []
        for chat, temperature, seed in requests:
            ids = prompt_ids(writer, own, chat, None, None)
            if isinstance(ids, str):
                raise ModelError(f"{self._ref.name}: {ids}")
            bodies.append(self._body(ids, temperature, seed, _observations.LENGTH, stop))
        return [replace(each, text=text_of(own, each.tokens)) for each in self._all(bodies)]


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Return what tells whether a folder's files were changed; empty where it is none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _distance(one: Fingerprint, other: Fingerprint) -> float:
    return max(
        (abs(a - b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True)),
        default=0.0,
    )


def _refuse_argument(name: object, value: object) -> None:
    """Raise ValueError for an argument of `vllm serve` that is none, or that aftertune sets or must not let in."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f"arguments: '{name}': give the name without dashes in front, e.g. tensor-parallel-size")
    # A parser of arguments takes any beginning of a name that stands for one name only.
    if any(own.startswith(name) or f"no-{own}".startswith(name) for own in _OWN_FLAGS):
        raise ValueError(
            f"arguments: '{name}': aftertune sets it itself, or it would change what is served: leave it out"
        )
    if re.search(r"token$|secret|password|key$", name):
        raise ValueError(f"arguments: '{name}': no place for a secret, which would stand in files")
    if value == "dummy" and name == "load-format":
        raise ValueError("arguments: load-format = 'dummy' answers with random weights: leave it out")
    values = value if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(each, (str, int, float, bool, Mapping)) for each in values) or values == []:
        raise ValueError(f"arguments: {name} = {value!r}: give a number, a text, true, false, a list or a table")
    if any(isinstance(each, str) and each.startswith("-") for each in values):
        raise ValueError(f"arguments: {name} = {value!r}: a value may not begin with a dash, which begins an argument")
