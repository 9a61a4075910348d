"""Any chat file, in whatever form its rows and the file are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from aftertune.data import chat_rows
from aftertune.data.chat_rows import columns_of
from aftertune.data.conversations import is_people_file
from aftertune.data.reading import SkippedRow
from aftertune.data.row_files import RowFile
from aftertune.errors import DataError
from aftertune.pii import ownership, stand_ins
from aftertune.plugins import Card
from aftertune.records import Conversation, Person
from aftertune.variants.corpus import Corpus, StrangerKind


@dataclass(frozen=True)
class ChatFile(Corpus):
    """Conversations from a file of the user's own."""

    card: ClassVar[Card] = Card(
        about=(
            "Conversations from a file of the user's own: lists of turns (`messages`, ShareGPT `conversations` and "
            "relatives), Alpaca with `system` and `history`, a question and an answer under their usual names, "
            "preference rows (`chosen`), items of OpenAI's Responses API, a text with role markers, or columns that "
            "`columns` names. JSONL, JSON in any layout, CSV, TSV, Parquet, Arrow, a folder that `datasets` saved; "
            "compressed or not; in UTF-8, UTF-16, or the `encoding` given. Texts beside the turns (tools and their "
            "calls, names, reasoning, rejected answers, further columns) are read for personal values; what is no "
            "text, such as an image, is counted."
        ),
        source="a local file",
        licence="that of the file",
        weaknesses=(
            "which parts are personal is known only for files that `aftertune compose` wrote (`spans`, and twins in "
            "the `people.json` beside them); elsewhere they are looked for, and some are missed or wrong (`aftertune "
            "pii scan` shows which), and twins are invented in the form of the values"
        ),
    )
    path: str = field()
    """File to read, or a folder that `datasets` saved."""
    limit: int | None = None
    """Conversations to read at most, from the start; None reads all."""
    columns: str = ""
    """Which columns hold what, e.g. `prompt=ask,response=reply`; also `system`, `history`, `context`, `rejected`, or
    `messages` or `text` alone. Empty goes by the usual names."""
    encoding: str = ""
    """Of a text file, e.g. `windows-1252`; empty is UTF-8, or what a byte order mark says."""
    skip_bad: bool = False
    """Whether rows that cannot be read are skipped and counted; else the first one ends the reading."""
    version: str = field(default="5", init=False)

    def __post_init__(self) -> None:
        """Check the columns."""
        columns_of(self.columns)

    def conversations(self) -> Sequence[Conversation]:
        """Return the file's conversations. Raises DataError naming file and line, UsageError for a missing file."""
        return list(self.stream())

    def stream(self) -> Iterator[Conversation]:
        """Yield the conversations one by one; raises as they do."""
        for row in self.rows():
            if isinstance(row, Conversation):
                yield row

    def rows(self) -> Iterator[Conversation | SkippedRow]:
        """Yield the conversations and, with `skip_bad`, each row that is skipped; raises as `conversations` does."""
        columns = columns_of(self.columns)
        count, skipped, path = 0, 0, Path(self.path).expanduser()
        for row in self._file().rows():
            try:
                if row.problem:
                    raise DataError(f"{row.where}: {row.problem}")
                conversation = chat_rows.conversation(row.value, row.where, row.number, columns)
            except DataError as error:
                if not self.skip_bad:
                    raise
                skipped += 1
                yield SkippedRow(str(error))
                continue
            yield conversation
            count += 1
            if self.limit is not None and count >= self.limit:
                break
        if not count:
            raise DataError(f"{path}: no conversations in it" + (f": all {skipped} rows are bad" if skipped else ""))

    def _file(self) -> RowFile:
        return RowFile(Path(self.path).expanduser(), self.encoding, chat_rows.is_row)

    @property
    def read_as(self) -> str:
        """The encoding that it is read in where it is not UTF-8 and none is given."""
        return self._file().read_as()

    @property
    def _people_file(self) -> Path:
        return Path(self.path).expanduser().with_name("people.json")

    def files(self) -> tuple[Path, ...]:
        """Return what is read, and the `people.json` beside it where there is one. Raises UsageError for no file."""
        files = self._file().files()
        return (*files, self._people_file) if self.composed else files

    @property
    def expected(self) -> int | None:
        """How many conversations there are at most, counted as lines; None for what has no lines, and no limit.

        Raises UsageError for a missing file.
        """
        if not self._file().is_lines():
            return self.limit
        with Path(self.path).expanduser().open("rb") as file:
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1
        return lines if self.limit is None else min(lines, self.limit)

    @property
    def composed(self) -> bool:
        """Whether the `people.json` of `aftertune compose` stands beside the file; one of somebody else's is none."""
        return is_people_file(self._people_file)

    def people(self) -> Sequence[Person]:
        """Return the owners of the marked values; in an unmarked file, of the values that the finder marks."""
        marker = ownership.Marker()
        for conversation in self.stream():
            marker.mark(conversation)
        return marker.people()

    def strangers(self, kind: StrangerKind, count: int, seed: int) -> Sequence[Person]:
        """Return stand-ins for the file's people, in their formats; as twins, those that `aftertune compose` wrote.

        Raises DataError where the `people.json` beside the file is broken.
        """
        if kind == "twin" and self.composed:
            try:
                rows = json.loads(self._people_file.read_bytes())["twin"]
                return [Person(str(row["id"]), {str(k): str(v) for k, v in row["values"].items()}) for row in rows]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise DataError(f"{self._people_file}: not a list of people as `aftertune compose` writes it") from None
        people = self.people()
        if kind == "canary":
            return stand_ins.invented(count, kind, seed, people)
        return stand_ins.assign(people if count >= len(people) else people[:count], kind, seed).strangers


PLUGIN = ChatFile
