"""Backend on a server: any model behind an OpenAI-compatible address, known by what the server says of it."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from aftertune.asking.backends import _observations
from aftertune.asking.backends._client import Client, Ledger, Limits
from aftertune.asking.backends._completions import Completion, read_text_completion
from aftertune.asking.backends._observations import Observations
from aftertune.asking.backends._server_errors import remedy
from aftertune.data.table_files import whole
from aftertune.errors import ModelError, ServerError, UsageError
from aftertune.models.chat import message_hash, with_system
from aftertune.models.session import Backend, Capability, Reply, Request, Session, Template, parted
from aftertune.plugins import Card
from aftertune.records import Json, Message, Proof, digest
from aftertune.thoughts import INSIDE, closes_unopened

_TokensField = Literal["max_tokens", "max_completion_tokens"]
_OURS = {
    "model", "messages", "prompt", "temperature", "seed", "stream", "logprobs", "top_logprobs", "n",
    *get_args(_TokensField),
}  # fmt: skip
_LEAST = {"concurrency": 1, "retries": 0, "budget_requests": 0, "budget_tokens": 0, "least_tokens": 1}
"""The smallest value of each whole number among the parameters."""
_SUFFIX = re.compile(r"[@:].*|-\d{4}(-\d{2}-\d{2}|\d{4})?")
"""What a server may append to a model's name: a revision or a date."""
_SECRET = re.compile(r"(?=.*[a-z])(?=.*\d)(?:(?=.*[A-Z])|(?:sk|hf|gsk|r8|ghp|xai)_)\w{20,}")
"""What could be the name of a variable but looks like a key."""
_PRIVATE = re.compile(
    r".*(?:api.?key|authori[sz]ation|secret|password).*|(?:.*[-_])?key|auth|(?:access|id|auth|bearer)?[-_]?token", re.I
)
PROBES = 3
"""Requests that are asked with room for a thought, at most, to see whether a model's template opens one."""
_LEDGERS: dict[str, Ledger] = {}


@dataclass(frozen=True)
class Endpoint(Backend):
    """Answers with models on a server: vLLM, llama.cpp, `transformers serve`, a hosted API."""

    asks_server: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        about=(
            "Answers with models that a server holds: vLLM, llama.cpp, `transformers serve`, a hosted API. It speaks "
            "the chat completions of the OpenAI API (POST URL/chat/completions, GET URL/models), or with `completions` "
            "its plain ones (POST URL/completions), for a judge whose prompt is a text of its own. A base and its "
            "checkpoints are the names that the server knows them by; vLLM serves LoRA adapters so. What the server "
            "declares of each model is asked when a run begins, recorded, and part of the ids; a server that declares "
            "something else later is refused. A seed is sent with each request; whether it is honoured, and whether "
            "the temperature is, is tested by a few trial requests and recorded. A server that ignores the temperature "
            "is refused where one above 0 is asked. What the server itself calls a refusal, or its content filter "
            "keeps back, is an answer that refuses; an answer that a filter cut keeps its text."
        ),
        source="OpenAI's chat completions API, as servers implement it",
        licence="the server's and the model's own",
        weaknesses=(
            "Unknown are the weights, the tokens, the logits, the chat template, and whether an adapter is applied. A "
            "hosted model may change without notice; texts depend on what else the server answers at that moment."
        ),
    )

    url: str = ""
    """Address up to and with `/v1`, e.g. `http://127.0.0.1:8000/v1`; no user name, password or key in it."""
    url_env: str = ""
    """Environment variable that holds the address instead, for a server that moves; the address is then in no id."""
    key_env: str = ""
    """Name of the environment variable that holds the API key; empty sends none. The key itself is written nowhere."""
    concurrency: int = 16
    """Most requests in flight; there are fewer while the server is in trouble."""
    timeout_s: float = 120.0
    """Seconds for a whole answer, or with `stream` for the next piece of it."""
    retries: int = 6
    """Further attempts after 429, 5xx, a time-out, a broken connection or half a reply."""
    backoff_s: float = 0.5
    """Seconds: longest wait before the first retry; it doubles each time, to 60 at most, and the wait is drawn from
    0 to it. Retry-After is added."""
    loading_s: float = 600.0
    """Seconds of patience with a server that loads its model: it says so beside 503, or answers 503 from the start.
    What it says is shown. 0 treats that like any other 5xx."""
    budget_requests: int = 0
    """Most requests that one command sends, retries and trials included; 0 is no limit."""
    budget_tokens: int = 0
    """Most tokens, of prompts and answers, that one command spends; 0 is no limit."""
    stream: bool = False
    """Whether answers arrive piece by piece: a stall in the middle of one is then noticed after `timeout_s`."""
    send_seed: bool = True
    """Whether requests carry a seed (31 bits); some servers refuse one."""
    tokens_field: _TokensField = "max_tokens"
    """What the server calls the length limit."""
    least_tokens: int = 1
    """Smallest length limit that the server accepts, e.g. 16: whatever would be asked with less is asked with this."""
    only_temperature: float | None = None
    """The one temperature that the server takes, e.g. 1, where it takes no other. Nothing is tried at 0 then, and the
    report says what stays unknown; a design must ask at this temperature, and an LLM judge is asked at it."""
    completions: bool = False
    """Whether prompts go as plain texts to URL/completions, where no chat template touches them: for a model with a
    format of its own (the judge `safety_classifier`), never for a chat model under test."""
    logprobs: int = 0
    """Log-probabilities of likely tokens to request, at most 20; 0: none. A server that shows none is refused."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Model -> the name that the server answers under, where it differs."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More fields of each request's body, e.g. `{chat_template_kwargs = {enable_thinking = false}}`."""
    served: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Model -> what the server said of it; written by aftertune when a run begins."""

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured. Raises ValueError."""
        if self.url and self.url_env:
            raise ValueError("give url or url_env, not both")
        _address(self.url)
        for name in ("url_env", "key_env"):
            value = getattr(self, name)
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*|", value) or _SECRET.fullmatch(value):
                raise ValueError(f"{name} is not the name of an environment variable (the key itself goes nowhere)")
        for name, low in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name} = {value}: give a whole number, {low} or more")
        for name in ("timeout_s", "backoff_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}: give seconds above 0")
        if not 0 <= self.loading_s < float("inf"):
            raise ValueError(f"loading_s = {self.loading_s}: give seconds, 0 or more")
        only = self.only_temperature
        if only is not None and not (isinstance(only, (int, float)) and 0 <= only <= 5):
            raise ValueError(f"only_temperature = {only}: give a temperature from 0 to 5")
        if self.logprobs not in range(21):
            raise ValueError(f"logprobs = {self.logprobs}: give 0 to 20")
        if self.completions and (self.stream or self.tokens_field != "max_tokens"):
            raise ValueError("completions: plain completions have `max_tokens` and are not streamed here")
        if self.tokens_field not in get_args(_TokensField):
            raise ValueError(f"tokens_field = {self.tokens_field!r} (known: {', '.join(get_args(_TokensField))})")
        for key in _keys(self.extra):
            if key in _OURS & set(self.extra) or _PRIVATE.fullmatch(key):
                raise ValueError(
                    f"extra: '{key}': aftertune sets this field itself, or it is no place for a secret: use key_env"
                )

    @property
    def limited(self) -> bool:
        """Whether it has a budget, which one process must keep."""
        return bool(self.budget_requests or self.budget_tokens)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Adapters by name, log-probabilities and plain texts where they are asked for; nothing else is claimed."""
        own: set[Capability] = {"adapters"}
        if self.logprobs:
            own.add("logprobs")
        if self.completions:
            own.add("texts")
        return frozenset(own)

    def begin(self) -> None:
        """Start counting the budget anew."""
        _LEDGERS.setdefault(self._ledger_key(), Ledger()).begin()

    def identify(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """Ask the server about each model: one trial request each, and its list of models if it has one.

        Returns:
            Model -> `asked`, `replied`, and where the server gives them `listed` (yes or no), `root` and `parent` (from
            the list) and `fingerprint` (`system_fingerprint` of the reply).

        Raises UsageError for a missing address or key, ServerError where the server does not answer as that model.
        """
        session = EndpointSession(self, names[0] if names else "")
        return {name: session.identify(name) for name in names}

    @contextmanager
    def open(self, base: str) -> Iterator[EndpointSession]:
        """Yield a session with the model that the server calls `base`. Raises UsageError without address or key."""
        yield EndpointSession(self, base)

    def client(self) -> Client:
        """Return a client of the server. Raises UsageError without address or key."""
        url, key = self.url, ""
        if self.url_env:
            url = os.environ.get(self.url_env, "")
            if not url:
                raise UsageError(f"backend endpoint: the environment variable {self.url_env} holds no address")
            try:
                _address(url)
            except ValueError as error:
                raise UsageError(f"backend endpoint: {self.url_env}: {error}") from None
        if not url:
            raise UsageError("backend endpoint: url is empty: give the address, e.g. http://127.0.0.1:8000/v1")
        if self.key_env:
            key = os.environ.get(self.key_env, "").strip()
            if not key or not key.isascii() or not key.isprintable():
                raise UsageError(f"backend endpoint: the environment variable {self.key_env} holds no usable key")
        limits = Limits(
            self.concurrency,
            self.timeout_s,
            self.retries,
            self.backoff_s,
            self.loading_s,
            self.budget_requests,
            self.budget_tokens,
        )
        ledger = _LEDGERS.setdefault(self._ledger_key(), Ledger())
        if self.completions:
            return Client(url, key, limits, ledger, path="/completions", read=read_text_completion)
        return Client(url, key, limits, ledger)

    def _ledger_key(self) -> str:
        return digest(self.url, self.url_env, self.budget_requests, self.budget_tokens)


PLUGIN = Endpoint


class EndpointSession(Session):
    """A server, answering as one of its models."""

    def __init__(self, backend: Endpoint, base: str) -> None:
        """Prepare a client; nothing is asked yet."""
        self._backend, self._base, self._name = backend, base, base
        self._client = backend.client()
        self._observations: defaultdict[str, Observations] = defaultdict(Observations)
        self._models: Mapping[str, Mapping[str, Any]] | None = None
        self._opens: defaultdict[str, bool | None] = defaultdict(lambda: None)
        """Whether a model's chat template opens a thought in the prompt; None where it is not known."""
        self._probed: Counter[str] = Counter()
        self._begun, self._since, self._reported = self._client.ledger.begun, self._client.ledger.copy(), False

    def use(self, checkpoint: Path | None) -> Proof:
        """Switch to the model of this name (None: the base), and test how it treats temperature and seed.

        The proof is empty: a server shows neither logits nor weights. Raises ServerError where the server does not
        answer, answers as another model than it did when the run began, or withholds requested log-probabilities.
        """
        if self._begun != self._client.ledger.begun:  # another run: the server may be another by now
            self._begun, self._models, self._reported = self._client.ledger.begun, None, True
            self._observations.clear()
        if self._reported:  # the next report covers what follows
            self._since, self._reported = self._client.ledger.copy(), False
            for observations in self._observations.values():
                observations.clear()
        self._name = str(checkpoint) if checkpoint is not None else self._base
        for name in dict.fromkeys((self._base, self._name)):
            if self._observations[name].trials is None:
                self._try(name)
        return Proof(self._name, None, None, None)

    def _try(self, name: str) -> None:
        now, then = self.identify(name), self._backend.served.get(name)
        for key in ("replied", "root", "parent"):
            if then is not None and now.get(key, "") != then.get(key, now.get(key, "")):
                raise ServerError(
                    f"{name}: the server now declares {key} '{now.get(key, '')}', when the run began it was "
                    f"'{then[key]}': this is another model; audit it in a run folder of its own (-o)"
                )
        only = self._backend.only_temperature
        trials = _observations.run_trials(lambda requests: self._ask_trial(name, requests), only)
        if self._backend.logprobs and not trials.top:
            raise ServerError(f"{name}: logprobs = {self._backend.logprobs}, but the server shows no log-probabilities")
        base = self._observations[self._base].trials
        self._observations[name].trials = trials
        self._observations[name].as_base = base is not None and bool(trials.greedy) and base.greedy == trials.greedy

    def identify(self, name: str) -> dict[str, str]:
        """Return what the server declares of a model, as `Endpoint.identify`."""
        observations = self._observations[name]
        if not observations.declared:
            if str(Path(name)) != name:
                raise UsageError(f"'{name}' cannot be the name of a served model")
            temperature = self._backend.only_temperature or 0.0
            (completion,) = self._ask_trial(name, [((Message("user", "Hello"),), temperature, 0)], length=1)
            declared = {"asked": name, "replied": completion.model or name, "fingerprint": completion.fingerprint}
            models = self._list()
            if models:
                row = models.get(name, {})
                declared["listed"] = "yes" if name in models else "no"
                declared |= {key: str(row[key]) for key in ("root", "parent") if row.get(key)}
            observations.declared = {key: value for key, value in declared.items() if value}
        return dict(observations.declared)

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        """Answer each request once, each reply as soon as it arrives; the server applies its chat template.

        With `completions` it applies none, and `template` must be `none`. A request that the server refuses, or that
        fails at every attempt, gives a reply with its error. Raises ModelError for another template and for a
        temperature above 0 that the server ignores, ServerError where the server is gone, refuses the key, answers as
        another model, or the budget is used up.
        """
        if template == "own":
            raise ModelError("template = 'own': the server writes the chat template, so it cannot be chosen")
        if (template == "none") != self._backend.completions:
            told = "plain texts, and a chat" if self._backend.completions else "chats, and a plain text"
            raise ModelError(f"backend endpoint: it sends {told} is to be sent: set `completions` the other way")
        observations = self._observations[self._name]
        only = self._backend.only_temperature
        others = {request.temperature for request in requests} - {only} if only is not None else set()
        if others:
            raise ModelError(f"{self._name}: the server takes temperature {only:g} only, not {min(others):g}")
        trials = observations.trials
        if (
            only is None
            and trials is not None
            and not trials.temperature
            and any(request.temperature > 0 for request in requests)
        ):
            raise ModelError(
                f"{self._name}: the server ignores the temperature (sampled answers were all the same): ask at "
                "temperature 0 only, or mend the server (transformers serve: do_sample in generation_config.json)"
            )
        least = self._backend.least_tokens
        longer: list[int] = []
        limits = {index: request.max_new_tokens for index, request in enumerate(requests)}
        for again in (False, True):
            wanted = longer if again else list(limits)
            bodies = [self._asked(requests[index], system, limits[index]) for index in wanted]
            for at, outcome in self._client.ask(bodies, lambda completion: self._accept(self._name, completion)):
                request, index = requests[wanted[at]], wanted[at]
                reply = _reply(request, outcome, system, opened=again and self._opens[self._name] is True)
                if not again and self._cut_by_thought(request, reply, system):
                    # A server counts thought and answer together, and only now is it known that there is a thought.
                    longer.append(index)
                    limits[index] += request.thought_tokens
                    continue
                if isinstance(outcome, Completion):
                    observations.count(outcome, self._backend.logprobs, limits[index] < least)
                if reply.error is not None:
                    observations.fail(reply.error)
                yield reply

    def report(self) -> dict[str, Json]:
        """Return what the server declares of the model in use, trial results, counts since the last report."""
        self._reported = True
        spent = self._client.ledger.since(self._since)
        backend = self._backend
        return self._observations[self._name].report(self._name, spent, backend.send_seed, backend.only_temperature)

    # ------------------------------------------------------------------------------------------ asking

    def _ask_trial(
        self, name: str, requests: Sequence[tuple[Sequence[Message], float, int]], length: int = _observations.LENGTH
    ) -> list[Completion]:
        """Return the completions of trial requests (chat, temperature, seed). Raises ServerError where one fails."""
        bodies = [self._body(name, chat, temperature, seed, length) for chat, temperature, seed in requests]
        outcomes = dict(self._client.ask(bodies, lambda completion: self._accept(name, completion)))
        completions = []
        for index in range(len(bodies)):
            outcome = outcomes[index]
            if not isinstance(outcome, Completion):
                raise ServerError(f"{name} at {self._client.url}: a trial request failed: {outcome}{remedy(outcome)}")
            completions.append(outcome)
        return completions

    def _body(self, name: str, chat: Sequence[Message], temperature: float, seed: int, length: int) -> dict[str, Any]:
        turns = [{"role": turn.role, "content": whole(turn.content)} for turn in chat]
        body: dict[str, Any] = {**self._backend.extra, "model": name, "messages": turns, "temperature": temperature}
        if self._backend.completions:
            body["prompt"] = "".join(turn["content"] for turn in body.pop("messages"))
        body[self._backend.tokens_field] = max(length, self._backend.least_tokens)
        if self._backend.send_seed:
            body["seed"] = seed & 0x7FFFFFFF  # more bits than this are not safe in every server
        if self._backend.stream:
            body["stream"] = True
            if self._backend.budget_tokens:  # else the pieces do not say what they cost
                body.setdefault("stream_options", {"include_usage": True})
        if self._backend.logprobs and self._backend.completions:
            body["logprobs"] = self._backend.logprobs
        elif self._backend.logprobs:
            body |= {"logprobs": True, "top_logprobs": self._backend.logprobs}
        return body

    def _asked(self, request: Request, system: str | None, length: int) -> dict[str, Any]:
        """Return the body of a request, with the arguments of its chat template."""
        chat = with_system(request.prompt.messages, system)
        body = self._body(self._name, chat, request.temperature, request.seed, length)
        if request.template_arguments:
            field_ = "chat_template_kwargs"
            body[field_] = {**body.get(field_, {}), **request.template_arguments}
        return body

    def _cut_by_thought(self, request: Request, reply: Reply, system: str | None) -> bool:
        """Return whether a reply that reached its limit has a thought, or is one whose beginning the template wrote.

        The second is found out by asking one request, or up to `PROBES`, with room for a thought: does it close one?
        """
        if not request.thought_tokens or reply.finish_reason != "length":
            return False
        if reply.thought or reply.unanswered or reply.raw is not None:
            return True
        name = self._name
        if self._opens[name] is None and self._probed[name] < PROBES:
            self._probed[name] += 1
            body = self._asked(request, system, request.max_new_tokens + request.thought_tokens)
            for _, outcome in self._client.ask([body], lambda completion: self._accept(name, completion)):
                if isinstance(outcome, Completion):
                    closes = closes_unopened(outcome.text)
                    self._opens[name] = closes if closes or outcome.ending != "length" else None
        return self._opens[name] is True

    def _accept(self, name: str, completion: Completion) -> None:
        replied = completion.model
        known = {name, self._backend.aliases.get(name, name), self._backend.served.get(name, {}).get("replied", name)}
        is_file = Path(name).name == replied and "/" in name
        revision = any(replied.startswith(each) and _SUFFIX.fullmatch(replied, len(each)) for each in known)
        if replied and replied not in known and not is_file and not revision:
            raise ServerError(
                f"asked for '{name}', the server answered as '{replied[:80]}': if that is the same model, say so by "
                f'aliases = {{"{name}" = "{replied[:80]}"}}'
            )
        if completion.fingerprint:
            self._observations[name].fingerprints[completion.fingerprint] += 1

    def _list(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the server's models by id; empty where it has no list (`transformers serve` without a hub cache)."""
        if self._models is None:
            body = self._client.get("/models")
            rows = body.get("data") if isinstance(body, dict) else None
            models = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            self._models = {str(row.get("id")): row for row in models}
        return self._models


def _reply(request: Request, outcome: Completion | str, system: str | None, *, opened: bool) -> Reply:
    hashed = message_hash(request.prompt.messages, system)
    key = request.prompt.id, request.temperature, request.sample
    if isinstance(outcome, Completion) and not outcome.text.strip() and outcome.ending in ("stop", "length"):
        if outcome.tools:
            outcome = "no text: the model called a tool instead of answering"
        elif outcome.left_out:
            outcome = f"no text: the answer is of other parts ({', '.join(outcome.left_out)[:80]})"
    if isinstance(outcome, str):
        return Reply(*key, "", "error", None, hashed, None, outcome)
    reply = Reply(
        *key,
        outcome.text,
        outcome.ending,
        outcome.new_tokens,
        hashed,
        None,
        prompt_tokens=outcome.prompt_tokens,
        top=outcome.top,
    )
    silent = not outcome.text.strip() and outcome.ending in ("stop", "length")
    if silent and outcome.thought_tokens and not outcome.thought:
        return replace(reply, unanswered=f"{INSIDE}, which the server does not show")
    return parted(reply, opened=opened, thought=outcome.thought)


def _keys(value: Any) -> Iterator[str]:
    """Yield the keys of a table and of all tables in it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _keys(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _keys(item)


def _address(url: str) -> None:
    """Raise ValueError for an address that cannot be used or holds a secret; it is not repeated then."""
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:  # it would repeat the address
        raise ValueError("url: not an address; no user name, password or key belongs in it: use key_env") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url: give an address that starts with http:// or https://")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("url: an address with a user name, password or ? in it would stand in files: use key_env")
