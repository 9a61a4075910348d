"""Find the personal values of a file, row by row, so that files larger than memory can be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aftertune.data import chat_rows
from aftertune.data.chat_rows import ChatRow
from aftertune.data.encoded import encoded, without_encoded
from aftertune.data.reading import Reading
from aftertune.data.row_files import Row, RowFile
from aftertune.data.table_files import is_plain_key
from aftertune.errors import DataError
from aftertune.pii import detect
from aftertune.pii.detect import Finding
from aftertune.pii.field_labels import spans_in_field
from aftertune.pii.languages import language_of
from aftertune.pii.policy import PLACEHOLDERS
from aftertune.records import FieldText


@dataclass(frozen=True, slots=True)
class FileFinding:
    """A finding and its position in the file."""

    row: int
    """From 0; blank lines count in a plain text and not in a JSONL file."""
    message: int | None
    """Index of the turn in the row's list of turns; None where it stands in none."""
    finding: Finding
    value: str
    """The personal value itself: never printed unless the user asks."""
    field: str = ""
    """Where the text stands in whose characters the offsets count, e.g. `messages[1].content` or `system`; empty for a
    row that is one text."""

    def record(self, reveal: bool = False) -> dict[str, Any]:
        """Return the finding as a JSON object; with `reveal` the value too."""
        one = self.finding
        record: dict[str, Any] = {"row": self.row}
        if self.message is not None:
            record["message"] = self.message
        if self.field:
            record["field"] = self.field
        record |= {
            "start": one.start,
            "end": one.end,
            "type": one.type,
            "score": one.score,
            "recogniser": one.recogniser,
            "why": one.why,
        }
        return record | ({"value": self.value} if reveal else {})

    def line(self, reveal: bool = False) -> str:
        """Return the finding as a line for people; the value only with `reveal`."""
        one = self.finding
        where = f"{self.row}" if not self.field else f"{self.row} {self.field}"
        shown = " ".join(self.value.split()) if reveal else PLACEHOLDERS[one.type]
        return f"{where}:{one.start}-{one.end}  {one.type:<15} {one.score:.2f}  {shown}  ({one.recogniser}: {one.why})"


def scan(
    path: Path,
    types: Collection[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    model: str | None = None,
    on_row: Callable[[], None] | None = None,
    *,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
) -> Iterator[FileFinding]:
    """Yield the personal values of a file in order, one row in memory at a time.

    Args:
        path: Any file of rows that `data.row_files` reads, or plain text, a row a line. Every text of a row is read.
        types: Only these; None is all.
        thresholds: Type -> least score.
        model: A named-entity model beside our recognisers, named as in `entity_models`.
        on_row: Called once per row.
        columns: Which columns hold the turns, as in the corpus `chat_file`; all others are read too.
        encoding: Of a text file; empty is UTF-8, or what a byte order mark says.
        skip_bad: Whether rows that cannot be read are skipped; else the first one raises DataError.
        reading: Counts the rows that are read, what stands beside their turns, those that are skipped, and the texts
            that are not English (`languages.outside` says it in words).

    Raises:
        UsageError: No such file, an unknown type or model, a threshold that is no score.
        DataError: A row that cannot be read, named with file and line; no rows at all.
    """
    detect.check(types, thresholds)
    finder = detect.finder(model)
    named = chat_rows.columns_of(columns)
    file = RowFile(path, encoding, chat_rows.is_row, plain=True)
    counts = Reading() if reading is None else reading
    file.files()  # a folder that is none of `datasets` is refused now

    def find(field: str, text: str) -> list[Finding]:
        if language := language_of(text):
            counts.not_english[language] += 1
        spans = spans_in_field(lambda said: [(f.start, f.end, f) for f in finder(said, types, thresholds)], field, text)
        return [replace(finding, start=start, end=end) for start, end, finding in spans]

    return _scan(file, find, on_row or (lambda: None), named, skip_bad, counts)


def _scan(
    file: RowFile,
    find: Callable[[str, str], list[Finding]],
    on_row: Callable[[], None],
    columns: Mapping[str, str],
    skip_bad: bool,
    reading: Reading,
) -> Iterator[FileFinding]:
    reading.encoding = file.read_as()
    empty = True
    for row, each in enumerate(file.rows()):
        try:
            if each.problem:
                raise DataError(f"{each.where}: {each.problem}")
            each, headings = _without_personal_headings(each, find, columns)
            read = _texts(each, columns)
        except DataError as error:
            if not skip_bad:
                raise
            reading.skip(str(error))
        else:
            on_row()
            reading.add(each for each in read.beside if each.field)  # a line of plain text is beside nothing
            for heading, text in headings if not row else ():
                for finding in find("", text):
                    yield FileFinding(row, None, finding, text[finding.start : finding.end], heading)
            for name, message, text in _in_order(each.value, read):
                empty = empty and not without_encoded(text).strip(" \t\r\n\ufffc")
                for finding in find(name, text):
                    yield FileFinding(row, message, finding, text[finding.start : finding.end], name)
    if empty:
        skipped = f": all {reading.skipped:,} rows are bad" if reading.skipped and not reading.rows else ""
        raise DataError(f"{file.path}: no text in it{skipped}")


def _without_personal_headings(
    row: Row, find: Callable[[str, str], list[Finding]], columns: Mapping[str, str]
) -> tuple[Row, list[tuple[str, str]]]:
    """Return a row with `column 1` for a column whose name is personal, and (that, the name) of each such column.

    A CSV file without a heading has its first row there: the values in it count, and no field shows them.
    """
    if not isinstance(row.value, Mapping) or all(map(is_plain_key, row.value)):
        return row, []
    new = {
        key: f"column {number}"
        for number, key in enumerate(map(str, row.value), 1)
        if key not in columns.values() and not is_plain_key(key) and find("", key)
    }
    renamed = {new.get(str(key), key): value for key, value in row.value.items()}
    return replace(row, value=renamed) if new else row, [(heading, key) for key, heading in new.items()]


def _texts(row: Row, columns: Mapping[str, str]) -> ChatRow:
    """Return the texts of a row: a chat's, an object's, or the text that the row is."""
    if isinstance(row.value, str):
        things = (FieldText("text", "", "media") for _ in encoded(row.value))
        return ChatRow((), (FieldText("", row.value, "text"), *things))
    if not isinstance(row.value, Mapping):
        raise DataError(f"{row.where}: expected an object, found {type(row.value).__name__}")
    try:
        read = chat_rows.parse(row.value, row.where, columns, chat=False)
    except DataError:
        if columns:
            raise
        read = chat_rows.all_texts(
            row.value, row.where
        )  # no chat that anybody could be tuned on, and texts all the same
    if not read.turns and not read.beside:
        raise DataError(f"{row.where}: no text in it")
    return read


def _in_order(row: Any, read: ChatRow) -> Iterator[tuple[str, int | None, str]]:
    """Yield (field, number of the turn, text) of the texts as the row has them."""
    texts = [(name, turn.index, text) for turn in read.turns for name, text in turn.pieces]
    texts += [(each.field, chat_rows.turn_of(each.field), each.text) for each in read.beside]
    order = {key: number for number, key in enumerate(row)} if isinstance(row, Mapping) else {}
    yield from sorted(
        texts, key=lambda each: (order.get(chat_rows.top(each[0]), -1), -1 if each[1] is None else each[1])
    )
