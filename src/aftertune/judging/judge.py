"""What a judge is: it reads an answer, and says on each of its axes what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """An answer whose label is known beyond doubt: a judge is tried on it before it judges."""

    answer: Answer
    axis: str
    label: str


@dataclass
class Cost:
    """What a judge that asks a language model has spent so far in this process."""

    calls: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a judge that asks a language model will spend on each answer, at most."""

    calls: int
    """Questions to the model."""
    characters: int
    """Of what is sent beside prompt and answer, over all calls."""
    new_tokens: int
    """Of its replies, reminders included."""


Scorer = Callable[[Sequence[Answer]], Sequence[tuple[Opinion, ...]]]
"""Opinions per answer, in order; each tuple holds one opinion per axis that applies to that answer."""


class Judge(Plugin, ABC):
    """Reads responses, each axis on its own: a frozen dataclass with these members."""

    kind: ClassVar[str] = "judge"
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of `JudgeContext` fields that must not be empty."""
    batch: ClassVar[int] = 512
    """Answers handed to its scorer at once: what a crash can cost."""
    accelerator: ClassVar[bool] = False
    """Whether it runs a model: an executor gives it a GPU where there is one."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What its verdicts call it."""

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

        A judge of a vocabulary of its own, which the general ones do not speak, sets `own_anchors_only`.
        """
        return ()

    @property
    def own_anchors_only(self) -> bool:
        """Whether the general anchors do not apply to it."""
        return False

    @property
    def model(self) -> str:
        """The language model or classifier that it reads with, as the design names it; empty for rules."""
        return ""

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
