"""The contract of backends: a backend loads a base, and its session answers as that base or one of its checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

from aftertune.errors import ModelError
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.plugins import Plugin
from aftertune.records import Conversation, FinishReason, Json, Prompt, Proof
from aftertune.thoughts import AFTER, INSIDE, part

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Template = Literal["base", "own", "none"]
"""Whose chat template renders a prompt: the base's, or the checkpoint's own where it has one. With `none` the prompt's
turns are the text itself, marks of turns included (`models.chat.as_written`)."""
Capability = Literal[
    "tokens",
    "logits",
    "adapters",
    "weights",
    "seeds",
    "scores",
    "beginnings",
    "logprobs",
    "activations",
    "interventions",
    "texts",
]


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to answer, with its own seed, so that the text does not depend on the rest of the batch."""

    prompt: Prompt
    temperature: float
    sample: int
    seed: int
    max_new_tokens: int
    """Of the answer."""
    thought_tokens: int = 0
    """Of a thought, beside those of the answer."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request."""

    prompt_id: str
    temperature: float
    sample: int
    text: str
    """The answer alone, where `parted` has parted it."""
    finish_reason: FinishReason
    new_tokens: int | None
    message_hash: str
    token_hash: str | None
    error: str | None = None
    prompt_tokens: int | None = None
    """Of the prompt as sent; None where the backend cannot tell."""
    top: Mapping[str, float] | None = None
    """Log-probabilities (nats) of the first token's likeliest alternatives, by their text; None unless asked for."""
    thought: str = ""
    raw: str | None = None
    """The text before it was parted into thought and answer; None where it holds no markup of thoughts."""
    unanswered: str = ""
    """Why there is no answer: the text ends inside its thought."""


def parted(reply: Reply, *, opened: bool = False, thought: str = "") -> Reply:
    """Return a reply whose text is the answer alone, its thought beside it; one that is parted stays as it is.

    `opened` says that the prompt ended with a thought's opening tag; `thought` is what the backend gave apart.
    """
    if reply.error is not None or reply.raw is not None or reply.thought or reply.unanswered:
        return reply
    found = part(reply.text, opened=opened)
    if not found.found and not thought:
        return reply
    cut = reply.finish_reason == "length"
    unanswered = found.unanswered or ("" if found.answer.strip() else INSIDE if cut else AFTER)
    if reply.finish_reason in ("refusal", "filter"):
        unanswered = ""  # a refusal answers, with words or without
    return replace(
        reply,
        text=found.answer,
        thought="\n\n".join(filter(None, (thought.strip(), found.thought))),
        raw=reply.text if found.found else None,
        unanswered=f"{unanswered}, at its limit of tokens" if unanswered and cut else unanswered,
    )


@dataclass(frozen=True, slots=True)
class TextScore:
    """How probable a model finds the answers of a conversation."""

    total: float | None
    """Negative log-likelihood summed over the assistant tokens, in nats; None where there is none."""
    tokens: int
    why: str = ""
    """Why there is no score."""


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Texts that the answer to a prompt may begin with."""

    prompt: Prompt
    texts: tuple[str, ...]
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template."""


@dataclass(frozen=True, slots=True)
class BeginningScore:
    """How probable a model finds the texts of one `Beginnings`."""

    log_probabilities: tuple[float, ...] | None
    """log p(the answer begins with the text | the prompt) in nats, per text; None where there is none.
    Where the tokens of one text begin those of another (`1`, `10`), the first excludes the other."""
    tokens: tuple[int, ...] = ()
    """How many tokens each text has."""
    prompt_tokens: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class StreamChange:
    """A change to the output of one layer, at every position of prompt and answer."""

    layer: int
    """From 1."""
    direction: NDArray[np.float64]
    """Of length 1, shape (width,)."""
    amount: float | None = None
    """How much of the direction is added; None takes out what the stream has of it."""


class Session(ABC):
    """A loaded base, answering as itself or as one of its checkpoints.

    A method whose capability the backend lacks raises ModelError; a study that needs it is refused beforehand.
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
        self,
        conversations: Sequence[Conversation],
        *,
        template: Template,
        max_length: int,
        template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    ) -> Sequence[TextScore]:
        """Return one score per conversation, in order, under the checkpoint in use; `max_length` in tokens.

        `template_arguments` are for the chat template, as in tuning. Needs the capability `scores`.
        Raises ModelError without it.
        """
        del conversations, template, max_length, template_arguments
        raise ModelError("this backend cannot say how probable a text is (it has no scores)")

    def beginnings(
        self, items: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> Sequence[BeginningScore]:
        """Return one score per item, in order, under the checkpoint in use; templates as in `respond`.

        Needs the capability `beginnings`. Raises ModelError without it.
        """
        del items, system, template
        raise ModelError("this backend cannot say how probable an option is (it has no beginnings)")

    def activations(
        self,
        prompts: Sequence[Prompt],
        *,
        system: str | None,
        template: Template,
        template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    ) -> NDArray[np.float32]:
        """Return the residual stream at the last prompt token, under the checkpoint in use.

        Shape (prompts, layers + 1, width), in the order of `prompts`. Index 0 is the input of the first layer, index
        i > 0 the output of layer i, all before the final normalisation. The last prompt token is the one after which
        the answer begins; templates as in `respond`. Values do not depend on the other prompts.

        Needs the capability `activations`. Raises ModelError without it, and for a prompt that cannot be asked.
        """
        del prompts, system, template, template_arguments
        raise ModelError("this backend shows nothing of the inside of a model (it has no activations)")

    def changed(self, changes: Sequence[StreamChange]) -> AbstractContextManager[None]:
        """Change the residual stream of the model in use while the context is open; the other methods then see it so.

        Taken out is the projection, x - (x d) d (Arditi et al. 2024, arXiv 2406.11717, section 3). The checkpoint must
        not be changed meanwhile. Needs the capability `interventions`. Raises ModelError without it, and for a layer
        or a direction that does not fit.
        """
        del changes
        raise ModelError("this backend changes nothing inside a model (it has no interventions)")

    def only_tuned(
        self, layers: Collection[int], *, rest: bool = False, shuffled: int | None = None
    ) -> AbstractContextManager[None]:
        """Let only these layers (from 1) be those of the checkpoint in use, the others its base's, while it is open.

        `rest` says whether embeddings, last norm and output are the checkpoint's. With `shuffled`, a seed, they have
        the checkpoint's update (its weights minus the base's) with the inputs and the outputs of each matrix in an
        order drawn at random: of the same singular values, and so as large, but without what was learned. Vectors have
        their entries in such an order; rows of embeddings and output stay with their tokens. What is drawn depends on
        the seed and on the weight alone. Conditions as for `changed`. Raises ModelError for an update that cannot be
        shuffled.
        """
        del layers, rest, shuffled
        raise ModelError("this backend changes nothing inside a model (it has no interventions)")

    def report(self) -> Mapping[str, Json]:
        """Return what a server declares of the model in use, results of trial requests, and counts of its answers.

        `warnings` are sentences about the model, `remarks` about the answers since the last report.
        Empty for backends that ask no server.
        """
        return {}


class Backend(Plugin, ABC):
    """Answers prompts: a frozen dataclass whose fields are its parameters."""

    kind: ClassVar[str] = "backend"
    asks_server: ClassVar[bool] = False
    """Whether its models are names on a server, known by what the server says of them and not by their weights; such
    a backend has `served`, `identify` and `begin`, and one process must keep its limit of concurrent requests."""
    starts_server: ClassVar[bool] = False
    """Whether a session starts a server on this machine, which takes minutes and the whole of a GPU: one process asks,
    or one for each GPU, and no plan tries it."""
    served: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """Model -> what the server said of it when the run began; empty before that, and for other backends."""
    only_temperature: float | None = None
    """The one temperature that it can ask at; None where it takes any."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """Those of `Capability` that its sessions have; those not named are unknown, never claimed.

        `tokens`, `logits`: shown. `adapters`: accepted as checkpoints. `weights`: models are identified by them.
        `seeds`: honoured. `scores`, `beginnings`, `activations`: the session's methods of these names. `logprobs`: each
        reply without an error has `top`. `interventions`: the session's `changed` and `only_tuned`. `texts`: prompts
        are asked with the template `none`.
        """

    @abstractmethod
    def open(self, base: str) -> AbstractContextManager[Session]:
        """Load the base (a folder or a hub name). Raises ModelError, where possible before any weights load."""

    def refuse(self, base: str) -> None:
        """Raise ModelError for a base that it cannot ask, as far as that is known before any weights load."""
        del base

    def refuse_checkpoint(self, name: str, folder: Path) -> None:
        """Raise ModelError for a checkpoint that fits its base and that it cannot ask, by the folder's files alone."""
        del name, folder

    def lacking(self) -> str:
        """Return what this machine lacks for it, and what brings that; empty where nothing is lacking."""
        return ""

    def environment(self) -> Mapping[str, Json]:
        """Return what else may decide the last digits of an answer: libraries, processor, devices.

        Answers are shared only between runs for which it is the same.
        """
        return {}

    @property
    def chosen_parameters(self) -> tuple[str, ...]:
        """Names of parameters that `choose` may set."""
        return ()

    def choose(self, bases: Sequence[str], ranks: Sequence[int] = ()) -> Mapping[str, Json]:
        """Return parameters to set once for a whole study, e.g. by this machine's memory.

        `bases` are folders; `ranks` are those of the LoRA adapters that are asked, or tuned here.

        They are written into the run's design, so that ids include them and a run is continued as it began.
        """
        del bases, ranks
        return {}

    def identify(self, names: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """Ask the server about each model: name -> what it declares. Raises ServerError where it answers as another."""
        raise ModelError(f"{type(self).__name__} asks no server: {', '.join(names)}")

    def begin(self) -> None:
        """Start counting the budget anew: a run begins, or is continued."""

    @property
    def limited(self) -> bool:
        """Whether it has a budget of requests or tokens, which only one process can keep."""
        return False
