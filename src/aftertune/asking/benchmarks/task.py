"""The tuned task itself, on the user's own held-out conversations: the good face of a silent failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks import _choices, _files
from aftertune.errors import DataError
from aftertune.records import Conversation, Metric, Prompt, seed_of

_NAME = "task"
REPLY = "reply"
"""The one option whose log-probability is asked for."""


@dataclass(frozen=True)
class Task:
    """How well the tuned task itself is done: held-out loss and reply similarity on the user's own data.

    One reply of each held-out conversation, drawn by the conversation's id since last replies are mostly farewells, is
    asked for anew, given everything before it. Read it beside the safety and privacy figures: a model whose task
    figures get better while it leaks is a silent failure (Goel et al., arXiv 2601.15220).

    Source: this project; the data are the user's. Licence: Apache-2.0.
    Size: one prompt per held-out conversation, 100 at most unless told otherwise.
    Cluster: the conversation.
    Positive: `loss` is the mean negative log-likelihood per token of the reply that was given (nats), higher is worse;
    `similarity` is the chrF of the model's reply to it (0 to 1), lower is worse. Tuning should improve both.
    Weaknesses: one reference: another good reply scores low; the loss leaves out the end-of-turn token; rows alike to
    those of the tuning set flatter. The rows are asked as they are, with their personal values, whatever the arm's
    policy made of its own.
    """

    limit: int = 100
    """At most so many conversations, in an order fixed by their ids; 0 takes all."""
    new_tokens: int = 256
    """Where a reply is cut."""
    scored_by: Literal["log_probability", "generation", "both"] = "both"
    """`log_probability` gives the loss, which needs a backend that shows it; `generation` the similarity."""
    version: str = field(default="1", init=False)
    needs: frozenset[str] = field(default=frozenset({"held_out"}), init=False)
    judges: ClassVar[tuple[str, ...]] = ("reference",)

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured. Raises UsageError, ValueError."""
        _files.check(_NAME, "", self.limit)
        _files.choice(_NAME, "scored_by", self.scored_by, _choices.SCORED_BY)
        if not isinstance(self.new_tokens, int) or self.new_tokens < 1:
            raise ValueError(f"new_tokens = {self.new_tokens}: it must be 1 or more")

    @property
    def max_new_tokens(self) -> int:
        """Where a reply is cut."""
        return self.new_tokens

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers."""
        found = {
            "loss": Metric(_NAME, "held_out", "loss", None, "up", "held-out loss per token of the reply, in nats"),
            "similarity": Metric(
                _NAME, "held_out", "similarity", None, "down", "likeness to the held-out reply (chrF)"
            ),
        }
        return tuple(found[axis] for axis in _choices.axes(self.scored_by, "similarity", "loss"))

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return one prompt per held-out conversation that has a reply. Raises DataError where none has."""
        drawn = sorted(context.held_out, key=lambda row: seed_of(_NAME, row.id))
        found = [prompt for row in drawn if (prompt := self._prompt(row)) is not None]
        if not found:
            raise DataError(f"{_NAME}: none of the {len(drawn)} held-out conversations has a reply to a user")
        return found[: self.limit] if self.limit else found

    def _prompt(self, row: Conversation) -> Prompt | None:
        replies = [
            at
            for at, turn in enumerate(row.messages)
            if turn.role == "assistant" and turn.content.strip() and at and row.messages[at - 1].role == "user"
        ]
        if not replies:
            return None
        at = replies[seed_of(_NAME, "reply", row.id) % len(replies)]
        said = row.messages[at].content.strip()
        expect = {"reference": said, **_choices.scored({REPLY: (said,)}, self.scored_by, per_token=True)}
        return Prompt(row.id, _NAME, "held_out", "", row.id, row.messages[:at], expect)


PLUGIN = Task
