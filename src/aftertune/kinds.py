"""The contracts: what a corpus, benchmark, judge, backend and executor are, and what the pipeline hands them.

Everything composes through this file. Plugins are frozen dataclasses: their fields are their parameters, their
docstring is their card. Fields of a Protocol are read-only properties, so that frozen dataclasses implement them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from aftertune.pii.registry import Registry
from aftertune.records import Conversation, Json, Metric, Person, Prompt, Status

StrangerKind = Literal["surrogate", "novelty", "twin", "canary"]


class Plugin(Protocol):
    """What every plugin has."""

    @property
    def version(self) -> str:
        """Goes into ids: change it whenever the plugin would decide differently."""


# ---------------------------------------------------------------------------------------------- corpora


class Corpus(Plugin, Protocol):
    """Where conversations to tune on come from.

    A corpus that may be larger than memory also offers `stream()`, an iterator over the same conversations.
    """

    def conversations(self) -> Sequence[Conversation]:
        """Return the human conversations, in a fixed order. Raises DataError with file and line."""

    def people(self) -> Sequence[Person]:
        """Return everybody whose values stand in the conversations; empty where nobody knows."""

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return `count` people (or, for `novelty`, things) of the same shape who stand nowhere in the corpus.

        `surrogate`: the same culture and format. `novelty`: equally rare strings that are nobody's. `twin`: drawn
        exactly as the corpus draws its people, never trained on. `canary`: planted on purpose, none of the others.
        Asked for as many as there are `people()`, the n-th stands in for the n-th of them. Raises UsageError where
        the corpus cannot.
        """


# ---------------------------------------------------------------------------------------------- benchmarks


@dataclass(frozen=True)
class BenchmarkContext:
    """What a benchmark may need beyond its own data."""

    training: Sequence[Conversation] = ()
    """The tuning set, untouched by any policy."""
    held_out: Sequence[Conversation] = ()
    """Conversations of the same corpus that no arm trains on."""
    people: Sequence[Person] = ()
    """Everybody whose values stand in the tuning set."""
    twins: Sequence[Person] = ()
    """People of the same shape who stand in no training text, the n-th for the n-th of `people`."""


class Benchmark(Plugin, Protocol):
    """A set of prompts, and the metrics that are read off its responses.

    One that reads files has more (docs/architecture.md): `homes`, `example`, `judges`, and `files()`.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Names of `BenchmarkContext` fields that must not be empty."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is reported, with the direction that is worse."""

    @property
    def max_new_tokens(self) -> int:
        """Where a response is cut."""

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts in a fixed order, ids unique. Raises DataError where the data is missing or broken."""


# ---------------------------------------------------------------------------------------------- judges


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge sees: a prompt and one response to it, never who gave it."""

    prompt: Prompt
    text: str
    finish_reason: str = "stop"
    base_text: str | None = None
    """The base's own first answer to the same prompt, where there is one."""
    scores: Mapping[str, float] | None = None
    """How probable the model finds what the prompt asks to be scored, where it does: `records.Response.scores`."""
    scores_error: str = ""
    """Why there are none although the prompt asks for them."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a judge says of one answer on one axis."""

    axis: str
    label: str | None = None
    value: float | None = None
    status: Status = "ok"
    why: str = ""
    """The span or rule that decided; personal values never stand in it."""


@dataclass(frozen=True)
class JudgeContext:
    """What a judge may need beyond the answer; one per arm, since registries and tuning sets differ between arms."""

    model: str = ""
    """Identity (weights hash) of the model under test; a judge may not be it."""
    served: frozenset[str] = frozenset()
    """Names that a served model under test, and its base, have or declare; a judge may not be one of them."""
    registries: Mapping[str, Registry] = field(default_factory=dict)
    """`source`: personal values of the corpus; `twin`: never-trained twins; `own`: what this arm put in their place."""
    training: Sequence[Conversation] = ()
    """The arm's tuning set."""
    base_answers: Sequence[Answer] = ()
    """The base's own answers to the same benchmark."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An answer whose label is known beyond doubt: a judge is tried on it before it judges.

    A judge of a vocabulary of its own offers its anchors in an attribute `anchors: tuple[Anchor, ...]`; every other one
    is tried on those of `steps/judge.py`.
    """

    answer: Answer
    axis: str
    label: str


Scorer = Callable[[Sequence[Answer]], Sequence[tuple[Opinion, ...]]]
"""Opinions per answer, in order; each tuple holds one opinion per axis that applies to that answer."""


class Judge(Plugin, Protocol):
    """Reads responses; each axis is judged on its own."""

    @property
    def needs(self) -> frozenset[str]:
        """Names of `JudgeContext` fields that must not be empty."""

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes it has opinions on."""

    def open(self, context: JudgeContext) -> Scorer:
        """Prepare once per arm (matchers, domain model) and return the scorer."""


# ---------------------------------------------------------------------------------------------- backends


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer, with its own seed, so that the text does not depend on the rest of the batch."""

    prompt: Prompt
    temperature: float
    sample: int
    seed: int
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request."""

    prompt_id: str
    temperature: float
    sample: int
    text: str
    finish_reason: Literal["stop", "length", "error"]
    new_tokens: int | None
    message_hash: str
    token_hash: str | None
    error: str | None = None
    prompt_tokens: int | None = None
    """Of the prompt as sent; None where the backend cannot tell."""
    top: Mapping[str, float] | None = None
    """Log-probabilities (nats) of the first token's likeliest alternatives, by their text; None unless asked for."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that the checkpoint in use is the one that was asked for, and how it answers."""

    checkpoint: str
    max_logit_change: float | None
    """Largest absolute difference to the base's logits on probes; None where the backend shows no logits."""
    matches_direct: float | None
    """Largest absolute difference to a direct forward pass with the adapter merged into a copy."""
    moved_weights: int | None
    """Parameters that differ from the base's (full checkpoints) or of a non-zero update (adapters)."""
    how: str = ""


class Session(Protocol):
    """A base that is loaded, and answers as itself or as one of its checkpoints."""

    def use(self, checkpoint: Path | None) -> Proof:
        """Switch to a checkpoint (an adapter or full model folder; None is the base itself) and prove it.

        Raises AdapterNotAppliedError where the logits do not change as they must, ModelError where it does not fit.
        """

    def respond(
        self, requests: Sequence[Request], *, system: str | None, template: Literal["base", "own"]
    ) -> Iterator[Reply]:
        """Answer each request once, in any order, each reply as soon as it is finished."""


@dataclass(frozen=True, slots=True)
class TextScore:
    """How probable a model finds the answers of a conversation."""

    total: float | None
    """Negative log-likelihood summed over the assistant tokens, in nats; None where it cannot be told."""
    tokens: int
    why: str = ""
    """Why there is no score."""


class ScoringSession(Session, Protocol):
    """A session of a backend that has the capability `scores`."""

    def score(
        self, conversations: Sequence[Conversation], *, template: Literal["base", "own"], max_length: int
    ) -> Sequence[TextScore]:
        """Return one score per conversation, in order, under the checkpoint in use; `max_length` in tokens."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Texts that the answer to a prompt may begin with."""

    prompt: Prompt
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BeginningScore:
    """How probable a model finds the texts of one `Beginnings`."""

    log_probabilities: tuple[float, ...] | None
    """log p(the answer begins with the text | the prompt) in nats, per text; None where it cannot be told.
    Where the tokens of one text begin those of another (`1`, `10`), the first is told without the other."""
    tokens: tuple[int, ...] = ()
    prompt_tokens: int | None = None
    why: str = ""


class BeginningSession(Session, Protocol):
    """A session of a backend that has the capability `beginnings`."""

    def beginnings(
        self, asked: Sequence[Beginnings], *, system: str | None, template: Literal["base", "own"]
    ) -> Sequence[BeginningScore]:
        """Return one score per prompt, in order, under the checkpoint in use; templates as in `respond`."""


class Backend(Plugin, Protocol):
    """Answers prompts."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Of `tokens`, `logits`, `adapters`, `weights`, `seeds`, `scores`, `beginnings`, `logprobs`; else unknown.

        With `scores`, its sessions are `ScoringSession`s; with `beginnings`, `BeginningSession`s; with `logprobs`, each
        reply without an error has `top`. A backend without `weights` that has a method `identify` is a `ServedBackend`.
        """

    def open(self, base: str) -> AbstractContextManager[Session]:
        """Load the base (a folder or a hub name). Raises ModelError before any weights load where that can be told."""


class ServedSession(Session, Protocol):
    """A session with models that a server holds."""

    def report(self) -> Mapping[str, Json]:
        """Return what was seen of the model in use: what it declares, what was probed, counts, and `warnings`."""


class ServedBackend(Backend, Protocol):
    """A backend whose models are known by what a server says of them, never by their weights.

    Its sessions are `ServedSession`s, and take a model's name where others take a folder.
    """

    @property
    def served(self) -> Mapping[str, Mapping[str, str]]:
        """Model -> what the server said of it when the run began; empty before that."""

    def identify(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Ask the server what it says of each model. Raises ServerError where it does not answer as that model."""

    def begin(self) -> None:
        """Start counting the budget anew: a run begins, or is continued."""


# ---------------------------------------------------------------------------------------------- executors


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of work with one output folder and one writer."""

    kind: str
    """`variants`, `checkpoints`, `scores`, `responses` or `verdicts`."""
    id: str
    after: tuple[str, ...] = ()
    """Ids of the cells that must be complete first."""
    cost: float = 1.0
    """Relative, for the order of work and the ETA."""
    label: str = ""
    """For people: e.g. `tune pii-keep seed 3`."""
    accelerator: bool = False
    """Whether it runs a model: an executor gives it a GPU where there is one."""
    alike: str = ""
    """Cells of a kind that share it take about the same time: e.g. the judge's name."""


class Executor(Plugin, Protocol):
    """Runs cells in an order that respects `after`."""

    def run(self, cells: Sequence[Cell], work: Callable[[Cell], None], done: Callable[[Cell], None]) -> None:
        """Run `work` on every cell (a picklable callable), calling `done` in this process as each one finishes.

        A cell that raises stops the cells after it, not the others; the first error is raised at the end.
        """
