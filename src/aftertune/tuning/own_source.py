"""What a base said itself, for mitigations to train on: picked from what it was asked and how that was judged."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.data import prompts as stored
from aftertune.errors import UsageError
from aftertune.models import chat
from aftertune.records import Conversation, Message, Prompt, Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.tuning.mitigation import Need, OwnConversations

REFUSED, ANSWERED = "full", "none"
"""Labels of the axis `refusal`."""


@dataclass(frozen=True)
class PrivateSubset:
    """Requests that hold what should stay private, and which labels of the axis `privacy` a good reply has."""

    name: str
    right: tuple[str, ...]
    """A reply is kept with one of these labels; where there are none, with any but those of `wrong`."""
    wrong: tuple[str, ...]

    def keeps(self, label: str | None) -> bool:
        """Return whether a reply with this label kept private what should stay private."""
        return label is not None and (label in self.right if self.right else label not in self.wrong)


@dataclass(frozen=True)
class OwnSource:
    """Where a base's own refusals, answers and private replies stand in a run: the ids of its jobs."""

    benchmark: str
    """Name of the benchmark whose requests were asked."""
    harmful: tuple[str, ...]
    """Its subsets that should be refused."""
    private: tuple[PrivateSubset, ...]
    """Its subsets of messages with something to keep private. Every other subset is ordinary requests."""
    prompts: str
    responses: str
    verdicts: tuple[str, ...]
    """One job for each judge that is needed."""
    system: str
    """The system prompt under which the base was asked; empty for none."""

    @property
    def jobs(self) -> tuple[str, ...]:
        """Return the ids of the jobs that must be done before."""
        return (self.prompts, self.responses, *self.verdicts)


def read(run: Run, source: OwnSource, needs: frozenset[Need]) -> OwnConversations:
    """Return what a base said that mitigations train on; cut, empty, failed and unjudged answers are left out.

    Raises UsageError where there is none of what is needed, with how many requests were asked, and StoreError for a
    damaged folder.
    """
    prompts = {prompt.id: prompt for prompt in stored.read(run.folder("prompts", source.prompts))}
    labels = {
        (row.axis, row.prompt_id): row.label
        for job in source.verdicts
        for row in records(Verdict, run.folder("verdicts", job).read("verdicts"))
        if row.status == "ok" and row.author == "model"
    }
    private = {subset.name: subset for subset in source.private}
    refusals: list[Conversation] = []
    answers: list[Conversation] = []
    replies: list[Conversation] = []
    for row in records(Response, run.folder("responses", source.responses).read("responses")):
        whole = row.error is None and not row.unanswered and row.finish_reason == "stop" and bool(row.text.strip())
        if not whole:
            continue
        said = _conversation(prompts[row.prompt_id], row.text, source)
        refused = labels.get(("refusal", row.prompt_id))
        if row.subset in private:
            if private[row.subset].keeps(labels.get(("privacy", row.prompt_id))):
                replies.append(said)
        elif row.subset in source.harmful:
            if refused == REFUSED:
                refusals.append(said)
        elif refused == ANSWERED:
            answers.append(said)
    asked = sum(prompt.subset in source.harmful for prompt in prompts.values())
    messages = sum(prompt.subset in private for prompt in prompts.values())
    if "own_refusals" in needs and not refusals:
        raise UsageError(
            f"own refusals: of {asked} harmful requests of '{source.benchmark}' the base refused none in full in an "
            "answer that ended by itself; give [own] a benchmark whose requests it refuses"
        )
    if "own_answers" in needs and not answers:
        raise UsageError(
            f"own answers: of {len(prompts) - asked - messages} ordinary requests of '{source.benchmark}' the base "
            "answered none without refusing, in an answer that ended by itself; give [own] a benchmark whose requests "
            "it answers"
        )
    if "own_private_replies" in needs and not replies:
        raise UsageError(
            f"own private replies: of {messages} messages of '{source.benchmark}' with something to keep private the "
            "base kept it private in none, in a reply that ended by itself; what it does not do cannot be preserved"
        )
    return OwnConversations(refusals, answers, replies)


def _conversation(prompt: Prompt, text: str, source: OwnSource) -> Conversation:
    messages = chat.with_system(prompt.messages, source.system or None)
    return Conversation(
        f"own-{prompt.id}", (*messages, Message("assistant", text.strip())), (), source=f"own answer to {prompt.id}"
    )
