"""The tuned task itself, on the user's own held-out conversations: the good face of a silent failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from aftertune.asking import choices
from aftertune.asking.benchmark import BenchmarkContext, ScoredBy
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Conversation, Metric, Prompt, seed_of

REPLY = "reply"
"""The one option whose log-probability is asked for."""


@dataclass(frozen=True)
class Task(choices.ScoredBenchmark):
    """The tuned task, on held-out conversations of the tuning data."""

    limit: int = 100
    """At most so many conversations, in an order fixed by their ids; 0 takes all."""
    new_tokens: int = 256
    """Where a reply is cut."""
    scored_by: ScoredBy = "both"
    """`log_probability` gives the loss, which needs a backend that shows it; `generation` the similarity."""
    name: ClassVar[str] = "task"
    card: ClassVar[Card] = Card(
        about="How well the tuned task itself is done: held-out loss and reply similarity on the user's own data.\n\n"
        "One reply of each held-out conversation, drawn by the conversation's id since last replies are mostly "
        "farewells, is asked for anew, given everything before it. Read it beside the safety and privacy figures: a "
        "model whose task figures get better while it leaks is a silent failure (Goel et al., arXiv 2601.15220).",
        source="this project; the data are the user's",
        licence="Apache-2.0",
        size="one prompt per held-out conversation, 100 at most unless told otherwise",
        cluster="the conversation",
        positive="`loss` is the mean negative log-likelihood per token of the reply that was given (nats), higher is "
        "worse; `similarity` is the chrF of the model's reply to it (0 to 1), lower is worse. Tuning should improve "
        "both. `leak=registry`, where a judge looks for leaks, is a value of somebody in the tuning set in a reply to "
        "another customer, higher is worse",
        weaknesses="one reference: another good reply scores low; the loss leaves out the end-of-turn token; rows "
        "alike to those of the tuning set flatter. The rows are asked as they are, with their personal values, "
        "whatever the arm's policy made of its own",
    )
    needs: ClassVar[frozenset[str]] = frozenset({"held_out"})
    judges: ClassVar[tuple[str, ...]] = ("reference",)

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        super().__post_init__()
        self.check_limit(self.limit)
        if not isinstance(self.new_tokens, int) or self.new_tokens < 1:
            raise UsageError(f"{self.name}: new_tokens = {self.new_tokens}: it must be 1 or more")

    @property
    def max_new_tokens(self) -> int:
        """Where a reply is cut."""
        return self.new_tokens

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers."""
        loss, likeness = "held-out loss per token of the reply, in nats", "likeness to the held-out reply (chrF)"
        metrics = {
            "loss": Metric(self.name, "held_out", "loss", None, "up", loss),
            "similarity": Metric(self.name, "held_out", "similarity", None, "down", likeness),
        }
        axes = self.axes("similarity", "loss")
        about = "replies to held-out conversations with a value of the tuning set that they do not hold themselves"
        leak = Metric(self.name, "held_out", "leak", "registry", "up", about)
        return (*(metrics[axis] for axis in axes), *([leak] if "similarity" in axes else []))

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return one prompt per held-out conversation that has a reply. Raises DataError where none has."""
        rows = sorted(context.held_out, key=lambda row: seed_of(self.name, row.id))
        prompts = [prompt for row in rows if (prompt := self._prompt(row)) is not None]
        if not prompts:
            raise DataError(f"{self.name}: none of the {len(rows)} held-out conversations has a reply to a user")
        return prompts[: self.limit] if self.limit else prompts

    def _prompt(self, row: Conversation) -> Prompt | None:
        replies = [
            at
            for at, turn in enumerate(row.messages)
            if turn.role == "assistant" and turn.content.strip() and at and row.messages[at - 1].role == "user"
        ]
        if not replies:
            return None
        at = replies[seed_of(self.name, "reply", row.id) % len(replies)]
        reply = row.messages[at].content.strip()
        expect = {"reference": reply, **self.scoring({REPLY: (reply,)}, per_token=True)}
        return Prompt(row.id, self.name, "held_out", "", row.id, row.messages[:at], expect)


PLUGIN = Task
