"""The base's own answers for arms with `answers = self_generated`: journalled, so that none is asked for twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.models import chat, respond
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Session
from aftertune.models.subject import ModelRecord
from aftertune.records import THOUGHT_TOKENS, Conversation, Json, Message, Prompt, digest
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS

FLUSH = 64
"""Most answers that wait to be written to the journal; they wait for `JournalWriter`'s seconds at most."""
MAX_NEW_TOKENS = 128


@dataclass(frozen=True)
class OwnAnswer:
    """One answer in the journal."""

    asker: str
    """Hash of who was asked and how: a folder outside a run may hold the journal of another attempt."""
    message_hash: str
    """Of the chat as it was sent."""
    text: str


class OwnAnswers:
    """Answers every assistant turn with the base at temperature 0: the control of Fraser et al. (arXiv 2506.17209).

    What the folder's journal holds is not asked again, and a chat that stands in several arms is asked once.
    """

    VERSION: ClassVar[str] = respond.VERSION
    """Goes into ids: changed whenever the same chat would be answered differently."""

    def __init__(
        self,
        base: ModelRecord,
        backend: ResolvedBackend,
        system: str,
        folder: JobFolder,
        session: Callable[[], Session],
        *,
        thought_tokens: int = THOUGHT_TOKENS,
        template_arguments: Mapping[str, Json] = chat.NO_ARGUMENTS,
    ) -> None:
        """Nothing is read or loaded before the first answer is wanted; the base is asked as in the study."""
        self._folder, self._session, self._base = folder, session, base
        self._system = system or None
        self._thought_tokens, self._arguments = thought_tokens, template_arguments
        limits = (MAX_NEW_TOKENS, thought_tokens)
        self._asker = digest(
            "own answers", self.VERSION, base.identity, backend.id, self._system, *limits, template_arguments
        )
        self._known: dict[str, str] | None = None

    def __call__(self, conversations: Sequence[Conversation]) -> dict[tuple[str, int], str]:
        """Return (conversation id, turn index) -> answer, of every assistant turn.

        One that failed, or that ended inside its thought, is left out; thoughts are no part of an answer.
        """
        if self._known is None:
            journal = self._folder.journal(OwnAnswer)
            self._known = {row.message_hash: row.text for row in journal if row.asker == self._asker}
        turns: dict[tuple[str, int], str] = {}
        wanted: dict[str, tuple[Message, ...]] = {}
        for conversation in conversations:
            for index, message in enumerate(conversation.messages):
                if message.role == "assistant":
                    asked = conversation.messages[:index]
                    sent = chat.message_hash(asked, self._system)
                    if turns.setdefault((conversation.id, index), sent) != sent:
                        raise DataError(
                            f"two conversations have the id '{conversation.id[:40]}', so their answers could not be "
                            "told apart; give each its own, or none"
                        )
                    if sent not in self._known:
                        wanted.setdefault(sent, asked)
        if wanted:
            self._ask(wanted, self._known)
        return {turn: self._known[sent] for turn, sent in turns.items() if sent in self._known}

    def _ask(self, wanted: dict[str, tuple[Message, ...]], known: dict[str, str]) -> None:
        session = self._session()
        session.use(None)
        replies = respond.respond(
            session,
            [Prompt(sent, "", "", "", "", messages) for sent, messages in wanted.items()],
            checkpoint=None,
            checkpoint_id=self._base.identity,
            temperatures=(0.0,),
            samples=1,
            max_new_tokens=MAX_NEW_TOKENS,
            seed=0,
            system=self._system,
            template="base",
            thought_tokens=self._thought_tokens,
            template_arguments=self._arguments,
        )
        PROGRESS.expect(len(wanted), unit="answers", most_tokens=len(wanted) * MAX_NEW_TOKENS)
        # An answer of a server may have cost money: each is written as it comes.
        with self._folder.writer(most=1 if self._base.served else FLUSH) as journal:
            for reply in replies:
                if reply.error is None and not reply.unanswered and reply.finish_reason not in ("filter", "filter_cut"):
                    text = rows.whole(reply.text)  # a server's answer may hold half of a surrogate pair
                    journal.add(OwnAnswer(self._asker, reply.prompt_id, text))
                    known[reply.prompt_id] = text
                PROGRESS.advance()
            journal.flush()
