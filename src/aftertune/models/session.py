"""What a backend is: it loads a base, and the session answers as the base itself or as one of its checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from aftertune.errors import ModelError
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Json, Prompt, Proof

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Template = Literal["base", "own"]
"""Whose chat template renders a prompt: the base's, or the checkpoint's own where it has one."""
Capability = Literal[
    "tokens", "logits", "adapters", "weights", "seeds", "scores", "beginnings", "logprobs", "activations"
]


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
class TextScore:
    """How probable a model finds the answers of a conversation."""

    total: float | None
    """Negative log-likelihood summed over the assistant tokens, in nats; None where it cannot be told."""
    tokens: int
    why: str = ""
    """Why there is no score."""


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


class Session(ABC):
    """A base that is loaded, and answers as itself or as one of its checkpoints.

    What a backend lacks the capability for raises ModelError; a study that needs it is refused before it is asked.
    """

    @abstractmethod
    def use(self, checkpoint: Path | None) -> Proof:
        """Switch to a checkpoint (an adapter or full model folder; None is the base itself) and prove it.

        Raises AdapterNotAppliedError where the logits do not change as they must, ModelError where it does not fit.
        """

    @abstractmethod
    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        """Answer each request once, in any order, each reply as soon as it is finished."""

    @property
    def exact(self) -> bool:
        """Whether a text cannot depend on what else is in its batch."""
        return True

    def score(
        self, conversations: Sequence[Conversation], *, template: Template, max_length: int
    ) -> Sequence[TextScore]:
        """Return one score per conversation, in order, under the checkpoint in use; `max_length` in tokens.

        Needs the capability `scores`. Raises ModelError without it.
        """
        del conversations, template, max_length
        raise ModelError("this backend cannot tell how probable a text is (it has no scores)")

    def beginnings(
        self, asked: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> Sequence[BeginningScore]:
        """Return one score per prompt, in order, under the checkpoint in use; templates as in `respond`.

        Needs the capability `beginnings`. Raises ModelError without it.
        """
        del asked, system, template
        raise ModelError("this backend cannot tell how probable an option is (it has no beginnings)")

    def activations(self, prompts: Sequence[Prompt], *, system: str | None, template: Template) -> NDArray[np.float32]:
        """Return the residual stream at the last prompt token, under the checkpoint in use.

        Shape (prompts, layers + 1, width); layer 0 is the embedding's output. Needs the capability `activations`.
        Raises ModelError without it, and for a prompt that does not fit the context.
        """
        del prompts, system, template
        raise ModelError("this backend shows nothing of the inside of a model (it has no activations)")

    def report(self) -> Mapping[str, Json]:
        """Return what was seen of a served model in use: what it declares, what was tried, counts, and `warnings`."""
        return {}


class Backend(Plugin, ABC):
    """Answers prompts: a frozen dataclass whose fields are its parameters."""

    kind: ClassVar[str] = "backend"
    asks_server: ClassVar[bool] = False
    """Whether its models are names that a server holds, known by what the server says of them and not by weights; such
    a backend has `served`, `identify` and `begin`."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[str]:
        """Those of `Capability` that its sessions have; what is not named is unknown, never claimed.

        `tokens`, `logits`: shown. `adapters`: taken as checkpoints. `weights`: identity by their content. `seeds`:
        honoured. `scores`, `beginnings`, `activations`: the session's methods of these names. `logprobs`: each reply
        without an error has `top`.
        """

    @abstractmethod
    def open(self, base: str) -> AbstractContextManager[Session]:
        """Load the base (a folder or a hub name). Raises ModelError before any weights load where that can be told."""

    @property
    def chosen_parameters(self) -> tuple[str, ...]:
        """Names of parameters that `choose` may set."""
        return ()

    def choose(self, bases: Sequence[str]) -> Mapping[str, Json]:
        """Return parameters to set once for a whole study of these bases, as it begins, e.g. by this machine's memory.

        They are written into the run's design, so that ids hold them and a run is continued as it began.
        """
        del bases
        return {}

    @property
    def served(self) -> Mapping[str, Mapping[str, str]]:
        """Model -> what the server said of it when the run began; empty before that, and for other backends."""
        return {}

    def identify(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Ask the server what it says of each model. Raises ServerError where it does not answer as that model."""
        raise ModelError(f"{type(self).__name__} asks no server: {', '.join(names)}")

    def begin(self) -> None:
        """Start counting the budget anew: a run begins, or is continued."""

    @property
    def limited(self) -> bool:
        """Whether one process must keep its concurrency and budget."""
        return self.asks_server
