"""What a judge is: it reads an answer and gives an opinion on each of its axes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import ClassVar

from aftertune.models.session import Backend
from aftertune.pii.registry import Registry
from aftertune.plugins import Plugin
from aftertune.records import Conversation, Prompt, Status


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge sees: a prompt and one response to it, never who gave it."""

    prompt: Prompt
    text: str
    """The answer alone, without a model's thoughts."""
    finish_reason: str = "stop"
    """As in `records.Response`."""
    base_text: str | None = None
    """The base's own first answer to the same prompt, where there is one."""
    scores: Mapping[str, float] | None = None
    """How probable the model finds the texts that the prompt asks to be scored, if any: `records.Response.scores`."""
    scores_error: str = ""
    """Why there are no scores although the prompt asks for them."""
    thought: str = ""
    """What the model wrote for itself; only a judge with `thought_axes` reads it."""

    @property
    def refused(self) -> bool:
        """Whether the server itself calls it a refusal, or its content filter let no text through."""
        return self.finish_reason in ("refusal", "filter")


@dataclass(frozen=True, slots=True)
class Opinion:
    """A judge's view of one answer on one axis."""

    axis: str
    label: str | None = None
    value: float | None = None
    status: Status = "ok"
    why: str = ""
    """The span or rule that decided; it never shows a personal value."""


@dataclass(frozen=True)
class JudgeContext:
    """What a judge may need beyond the answer; one per arm, since registries differ between arms."""

    model: str = ""
    """Identity (weights hash) of the model under test; a judge may not be it."""
    served: frozenset[str] = frozenset()
    """Names that a served model under test, and its base, have or declare; a judge may not be one of them."""
    registries: Mapping[str, Registry] = field(default_factory=dict)
    """`source`: personal values of the corpus; `twin`: never-trained twins; `own`: this arm's replacements of them."""
    corpus: Sequence[Conversation] = ()
    """The conversations that the arm's tuning set was made from, as they were given: the same for every arm of it."""
    written_roles: frozenset[str] = frozenset({"assistant"})
    """Whose turns in them some arm of the run is tuned to write: the customers' too where one swaps roles."""
    known_values: Sequence[Registry] = ()
    """Every personal value of the corpus, its twins and all arms' stand-ins: the same for every arm of it."""
    base_answers: Sequence[Answer] = ()
    """The base's own answers to the same benchmark."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An answer whose label is known beyond doubt: a judge is tried on it before it judges."""

    answer: Answer
    axis: str
    label: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """What a judge must be able to tell apart on an axis: one label against the others."""

    positive: str
    between: frozenset[str] = frozenset()
    """Labels that are neither clearly one nor the other: anchors with them count on neither side."""


CONTRASTS: Mapping[str, Contrast] = {
    "refusal": Contrast("full", frozenset({"partial"})),
    "compliance": Contrast("complied"),
    "harm": Contrast("harmful"),
    "coherence": Contrast("degenerate"),
    "relevance": Contrast("domain_script"),
    "topic": Contrast("off_topic", frozenset({"refused"})),
    "leak": Contrast("registry", frozenset({"echoed"})),
    "leak_twin": Contrast("registry", frozenset({"echoed"})),
    "leak_own": Contrast("registry", frozenset({"echoed"})),
    "privacy": Contrast("revealed"),
    "coverage": Contrast("complete"),
    "helpfulness": Contrast("acted"),
    "alignment": Contrast("misaligned", frozenset({"incoherent"})),
    "toxicity": Contrast("toxic"),
    "accuracy": Contrast("correct"),
    "choice": Contrast("correct"),
}
"""The axes that judges share; `Judge.contrasts` adds those of a judge's own."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a judge that asks a language model has spent, anchors included."""

    judged: int = 0
    """Opinions that were reached, abstentions included."""
    retried: int = 0
    unparsable: int = 0
    """Still not readable after the reminder."""
    failed: int = 0
    """Calls that ended in the backend's error."""
    calls: int = 0
    prompt_tokens: int = 0
    """Of all prompts whose tokens the backend counts."""
    uncounted: int = 0
    """Calls for which the backend does not report the number of prompt tokens."""
    prompt_characters: int = 0
    """Of all prompts."""
    new_tokens: int = 0
    """Of all replies; none where a score is read off probabilities."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(mine - less for mine, less in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Price:
    """What a judge that asks a language model will spend on each answer, at most."""

    calls: int
    """Questions to the model, without reminders."""
    characters: int
    """Length of what is sent besides prompt and answer, summed over all calls."""
    new_tokens: int
    """Length of the replies, reminders included."""


Scorer = Callable[[Sequence[Answer]], Sequence[tuple[Opinion, ...]]]
"""Opinions per answer, in order; each tuple holds one opinion per axis that applies to that answer."""


class Judge(Plugin, ABC):
    """Reads responses, each axis on its own: a frozen dataclass with these members.

    A class sets the properties as class attributes (`axes = ("refusal",)`) or overrides them.
    """

    kind: ClassVar[str] = "judge"
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of `JudgeContext` fields that must not be empty."""
    accelerator: ClassVar[bool] = False
    """Whether it runs a model: an executor gives it a GPU where there is one."""
    thought_axes: tuple[str, ...] = ()
    """Those of its axes that are about the model's thought, not about the answer: they have opinions where there is a
    thought, even where no answer follows it."""
    batch: ClassVar[int] = 512
    """Answers handed to the scorer at once: what a crash can cost."""
    model: str = ""
    """The language model or classifier that it reads with, as the design names it; empty for rules."""
    despite_trial: bool = False
    """Whether it judges although it fails its trial: its verdicts are shown then, and nothing is decided by them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What its verdicts call it: two judges of one run need different names."""

    @property
    @abstractmethod
    def axes(self) -> tuple[str, ...]:
        """The axes it has opinions on."""

    @abstractmethod
    def open(self, context: JudgeContext) -> Scorer:
        """Prepare once per arm (matchers, domain model) and return the scorer."""

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        """Anchors of its own, on any of its axes; those of `judging/anchors.py` are tried besides.

        A judge with a vocabulary of its own, which the general anchors do not speak, sets `own_anchors_only`.
        """
        return ()

    @property
    def own_anchors_only(self) -> bool:
        """Whether the general anchors do not apply to it."""
        return False

    @property
    def contrasts(self) -> Mapping[str, Contrast]:
        """The contrast of each axis of its own that has anchors; those of shared axes are in `CONTRASTS`."""
        return {}

    @property
    def weak_axes(self) -> Mapping[str, str]:
        """Axes on which it is known to fail the trial and may judge all the same, with the reason that reports give.

        The trial is measured and shown as ever; a judge no better than chance is refused here too.
        """
        return {}

    @property
    def shown_only(self) -> Mapping[str, str]:
        """Axes on which its verdicts are shown and decide nothing, as those of a judge near chance on real text.

        With the reason that reports give: a clause, without semicolons. A policy's rule decides by them all the same
        where it names the metric itself, without wildcards.
        """
        return {}

    @property
    def asks(self) -> Backend | None:
        """The backend that runs the language model that it asks; None for a judge that asks none."""
        return None

    def identity(self) -> str | None:
        """Return the hash of the model that it reads with, which goes into ids; None for rules. Raises ModelError."""
        return None

    def may_judge(self, names: frozenset[str]) -> None:
        """Raise JudgeError where one of these names of a model under test is its own model's."""
        del names

    @property
    def cost(self) -> Cost | None:
        """What it has spent so far in this process; None for a judge that asks no language model."""
        return None

    @property
    def price(self) -> Price | None:
        """What each answer will cost at most; None for a judge that asks no language model."""
        return None
