"""Conversations in a JSONL file: written whole or not at all, read one by one, so a file may be larger than memory.

One object a line: `aftertune`, which says whose row it is, `id`, `messages` (`"weight": 0` where the loss is not taken
on one), `spans` where somebody knows what is personal, `beside` where a row said more than its turns, and
`"planted": true` where it is a canary's.
"""

from __future__ import annotations

import contextlib
import json
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, overload

from aftertune.data.reading import NOT_OURS
from aftertune.errors import DataError, StoreError
from aftertune.files import writing
from aftertune.records import Conversation, FieldText, Message, Person, Span

MARK, OWN_ROW = "aftertune", "conversation"
"""Key and value in every row that is ours: without them `spans`, `planted`, `beside` and `id` are columns like any
other, of whoever made the file."""
_PEOPLE_START = b'{\n"aftertune": "people"'
"""How a file of people begins."""


def line(conversation: Conversation) -> bytes:
    """Return a conversation as one line. Raises DataError for text that no UTF-8 file can hold."""
    row: dict[str, object] = {
        MARK: OWN_ROW,
        "id": conversation.id,
        "messages": [
            {"role": m.role, "content": m.content} | ({} if m.trained else {"weight": 0}) for m in conversation.messages
        ],
    }
    if conversation.spans is not None:
        row["spans"] = [[s.message, s.start, s.end, s.type, s.owner, s.part] for s in conversation.spans]
    if conversation.planted:
        row["planted"] = True
    if beside := [each for each in conversation.beside if each.kind != NOT_OURS]:
        row["beside"] = [[each.field, each.text, each.kind] for each in beside]
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        where = conversation.source or "a conversation"
        raise DataError(f"{where}: holds half of a surrogate pair, which is not text") from None


def parse(text: bytes, source: str) -> Conversation:
    """Return the conversation of a line written by `line`. Raises StoreError for a damaged one."""
    try:
        row = json.loads(text)
        messages = tuple(Message(m["role"], m["content"], m.get("weight") != 0) for m in row["messages"])
        spans = tuple(Span(*span) for span in row["spans"]) if "spans" in row else None
        beside = tuple(FieldText(*each) for each in row.get("beside", ()))
        return Conversation(row["id"], messages, spans, source, row.get("planted", False) is True, beside)
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{source}: damaged; run the command that made it again") from None


class ConversationFile(Sequence[Conversation]):
    """The conversations of a file, read on demand; memory holds 8 bytes for each, the offset of its line.

    A row that is written later is not seen. Raises StoreError for a file that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """Index the lines."""
        self.path = path
        self._starts = array("Q")
        try:
            with path.open("rb") as file:
                offset = 0
                for text in file:
                    self._starts.append(offset)
                    offset += len(text)
        except OSError as error:
            raise StoreError(f"{path}: cannot read: {error.strerror}") from None

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Conversation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Conversation]: ...

    def __getitem__(self, index: int | slice) -> Conversation | Sequence[Conversation]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return next(self.pick([index]))

    def __iter__(self) -> Iterator[Conversation]:
        with self.path.open("rb") as file:
            for text in file:
                yield parse(text, str(self.path))

    def pick(self, order: Iterable[int]) -> Iterator[Conversation]:
        """Yield the conversations of these indices, in this order."""
        with self.path.open("rb") as file:
            for index in order:
                file.seek(self._starts[index])
                yield parse(file.readline(), str(self.path))


class ConversationWriter:
    """A file that appears under its name only when whole: `with ConversationWriter(path) as file: file.add(...)`.

    Until then it has another name; one that a killed run leaves behind is removed by the next. Raises StoreError, e.g.
    for a full disk.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written before the `with` block."""
        self.path = path
        self._scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._starts = array("Q")

    def __enter__(self) -> ConversationWriter:
        with writing(self.path):
            for left in self.path.parent.glob(f".{self.path.name}.*.part"):
                left.unlink(missing_ok=True)
            self._file: BinaryIO = self._scratch.open("wb")
        return self

    def add(self, conversation: Conversation) -> None:
        """Write one more."""
        self._starts.append(self._file.tell())
        with writing(self.path):
            self._file.write(line(conversation))

    def cut(self, count: int) -> None:
        """Keep the first `count` conversations only."""
        if count < len(self._starts):
            with writing(self.path):
                self._file.flush()
                self._file.truncate(self._starts[count])
                self._file.seek(self._starts[count])
            del self._starts[count:]

    def read(self) -> ConversationFile:
        """Return the conversations written so far."""
        with writing(self.path):
            self._file.flush()
        return ConversationFile(self._scratch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with writing(self.path):
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._scratch.replace(self.path)
        finally:
            with contextlib.suppress(OSError):  # on a full disk closing fails too; the first error counts
                self._file.close()
            with contextlib.suppress(OSError):
                self._scratch.unlink(missing_ok=True)


def write(path: Path, conversations: Iterable[Conversation]) -> None:
    """Write a whole file. Raises StoreError."""
    with ConversationWriter(path) as file:
        for conversation in conversations:
            file.add(conversation)


def is_people_file(path: Path) -> bool:
    """Return whether a file was begun by `write_people`."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_PEOPLE_START))
    except OSError:
        return False
    return start == _PEOPLE_START


def write_people(path: Path, groups: Mapping[str, Sequence[Person] | Mapping[str, Sequence[Person]]]) -> None:
    """Write groups of people as one JSON object, a person a line, whole or not at all; a group may have groups.

    Its first key says whose file it is.

    Raises StoreError.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            with scratch.open("w", encoding="utf-8") as file:
                file.write(_PEOPLE_START.decode())
                file.writelines(_grouped(groups, ",\n"))
                file.write("}\n")
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _grouped(groups: Mapping[str, Sequence[Person] | Mapping[str, Sequence[Person]]], between: str) -> Iterator[str]:
    for name, group in groups.items():
        yield f"{between}{json.dumps(name)}: "
        between = ",\n"
        if isinstance(group, Mapping):
            yield "{"
            yield from _grouped(group, "\n")
            yield "}"
            continue
        comma = "["
        for person in group:
            yield f"{comma}\n{json.dumps({'id': person.id, 'values': dict(person.values)}, ensure_ascii=False)}"
            comma = ","
        yield "]" if comma == "," else "[]"
