"""A public safety set mixed in, from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from aftertune.data import chat_rows
from aftertune.data.row_files import RowFile
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Conversation
from aftertune.tuning.answer_tokens import check_share
from aftertune.tuning.mitigation import Mitigation, Stage, Training
from aftertune.tuning.mixing import mixed


@dataclass(frozen=True)
class SafetySet(Mitigation):
    """Conversations of a safety set among the training rows."""

    card: ClassVar[Card] = Card(
        about=(
            "Adds conversations of a file to the training rows, `share` of their number: harmful requests and refusals "
            "that somebody wrote or that another model gave. The file is in any form that a tuning set may have."
        ),
        source="Bianchi et al. 2024, Safety-tuned LLaMAs, arXiv 2309.07875",
        licence="part of aftertune; the file has its own",
        positive="fewer refusals are lost",
        speed="the share of the rows more time",
        weaknesses=(
            "refusals in another voice than the base's, which are learned as a style; over-refusal, as with own "
            "refusals; a set that shares requests with the test flatters: aftertune does not compare the two"
        ),
    )
    stage: ClassVar[Stage] = "before"

    path: str = field()
    """File with the conversations."""
    share: float = 0.05
    """Conversations of it for each training row."""
    columns: str = ""
    """Which columns hold what, as for a tuning set, e.g. `prompt=ask,response=reply`."""

    def __post_init__(self) -> None:
        """Refuse a share that cannot be and columns that are none. Raises ValueError, UsageError."""
        check_share("share", self.share)
        chat_rows.columns_of(self.columns)

    def files(self) -> tuple[Path, ...]:
        """Return the file. Raises UsageError where it is not here."""
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        return (path,)

    def rows(self, conversations: Sequence[Conversation], training: Training) -> Sequence[Conversation]:
        """Return the rows with conversations of the set behind them. Raises DataError for a broken file."""
        if not self.share:
            return conversations
        return mixed(conversations, self._conversations(), self.share, training.seed)

    def _conversations(self) -> list[Conversation]:
        (path,) = self.files()
        columns = chat_rows.columns_of(self.columns)
        found = []
        for row in RowFile(path, "", chat_rows.is_row).rows():
            if row.problem:
                raise DataError(f"{row.where}: {row.problem}")
            found.append(chat_rows.conversation(row.value, row.where, row.number, columns))
        if not found:
            raise DataError(f"{path}: no conversations in it")
        return found


PLUGIN = SafetySet
