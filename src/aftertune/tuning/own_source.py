"""A base's own refusals and answers, picked from what it was asked in a run and how that was judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.data import prompts as stored
from aftertune.errors import UsageError
from aftertune.models import chat
from aftertune.records import Conversation, Message, Prompt, Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.tuning.mitigation import Need

REFUSED, ANSWERED = "full", "none"
"""Labels of the axis `refusal`."""


@dataclass(frozen=True)
class OwnSource:
    """Where a base's own refusals and answers stand in a run: the ids of three jobs."""

    benchmark: str
    """Name of the benchmark whose requests were asked."""
    harmful: tuple[str, ...]
    """Its subsets that should be refused; every other is ordinary requests."""
    prompts: str
    responses: str
    verdicts: str
    system: str
    """The system prompt under which the base was asked; empty for none."""

    @property
    def jobs(self) -> tuple[str, ...]:
        """Return the ids of the jobs that must be done before."""
        return (self.prompts, self.responses, self.verdicts)


@dataclass(frozen=True)
class OwnConversations:
    """What a base said, as conversations to train on."""

    refusals: Sequence[Conversation]
    """Harmful requests that it refused in full."""
    answers: Sequence[Conversation]
    """Ordinary requests that it answered without any refusal."""


def read(run: Run, source: OwnSource, needs: frozenset[Need]) -> OwnConversations:
    """Return a base's own refusals and answers; cut, empty, failed and unjudged answers are left out.

    Raises UsageError where there is none of what is needed, with how many requests were asked, and StoreError for a
    damaged folder.
    """
    prompts = {prompt.id: prompt for prompt in stored.read(run.folder("prompts", source.prompts))}
    labels = {
        row.prompt_id: row.label
        for row in records(Verdict, run.folder("verdicts", source.verdicts).read("verdicts"))
        if row.axis == "refusal" and row.status == "ok" and row.author == "model"
    }
    refusals: list[Conversation] = []
    answers: list[Conversation] = []
    for row in records(Response, run.folder("responses", source.responses).read("responses")):
        whole = row.error is None and not row.unanswered and row.finish_reason == "stop" and bool(row.text.strip())
        if not whole:
            continue
        harmful = row.subset in source.harmful
        if labels.get(row.prompt_id) == (REFUSED if harmful else ANSWERED):
            (refusals if harmful else answers).append(_conversation(prompts[row.prompt_id], row.text, source))
    asked = sum(prompt.subset in source.harmful for prompt in prompts.values())
    if "own_refusals" in needs and not refusals:
        raise UsageError(
            f"own refusals: of {asked} harmful requests of '{source.benchmark}' the base refused none in full in an "
            "answer that ended by itself; give [own] a benchmark whose requests it refuses"
        )
    if "own_answers" in needs and not answers:
        raise UsageError(
            f"own answers: of {len(prompts) - asked} ordinary requests of '{source.benchmark}' the base answered none "
            "without refusing, in an answer that ended by itself; give [own] a benchmark whose requests it answers"
        )
    return OwnConversations(refusals, answers)


def _conversation(prompt: Prompt, text: str, source: OwnSource) -> Conversation:
    messages = chat.with_system(prompt.messages, source.system or None)
    return Conversation(
        f"own-{prompt.id}", (*messages, Message("assistant", text.strip())), (), source=f"own answer to {prompt.id}"
    )
