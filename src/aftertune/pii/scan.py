"""Find the personal values of a file, row by row, so that files larger than memory can be read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, UsageError
from aftertune.pii import detect
from aftertune.pii.detect import Finding
from aftertune.pii.languages import language_of
from aftertune.pii.policy import PLACEHOLDERS

LONGEST = 20_000_000
"""Characters of a line; a longer one is not a row of text."""


@dataclass(frozen=True, slots=True)
class FileFinding:
    """A finding and its position in the file."""

    row: int
    """From 0; blank lines count in a plain text and not in a JSONL file."""
    message: int | None
    """Index of the message whose content the offsets count in; None where the row is one text."""
    finding: Finding
    value: str
    """The personal value itself: never printed unless the user asks."""

    def record(self, reveal: bool = False) -> dict[str, Any]:
        """Return the finding as a JSON object; with `reveal` the value too."""
        one = self.finding
        record: dict[str, Any] = {"row": self.row}
        if self.message is not None:
            record["message"] = self.message
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
        where = f"{self.row}" if self.message is None else f"{self.row}.{self.message}"
        shown = " ".join(self.value.split()) if reveal else PLACEHOLDERS[one.type]
        return f"{where}:{one.start}-{one.end}  {one.type:<15} {one.score:.2f}  {shown}  ({one.recogniser}: {one.why})"


def scan(
    path: Path,
    types: Collection[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    model: str | None = None,
    on_row: Callable[[], None] | None = None,
    outside: Counter[str] | None = None,
) -> Iterator[FileFinding]:
    """Yield the personal values of a file in order, one row in memory at a time.

    Args:
        path: JSONL whose objects have `text` or `messages` (`[{"role", "content"}]`), or plain text, a row a line.
        types: Only these; None is all.
        thresholds: Type -> least score.
        model: A named-entity model beside our recognisers, named as in `entity_models`.
        on_row: Called once per row.
        outside: Counts, as the rows are read, the texts that are not English, wholly or in part, by their language:
            there names are not looked for by their capitals (`languages.outside` says it in words).

    Raises:
        UsageError: No such file, an unknown type or model, a threshold that is no score.
        DataError: A line that cannot be read, named with file and line.
    """
    detect.check(types, thresholds)
    finder = detect.finder(model)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, not a file")
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    counts = Counter() if outside is None else outside
    return _scan(path, lambda text: finder(text, types, thresholds), on_row or (lambda: None), counts)


def _scan(
    path: Path, find: Callable[[str], list[Finding]], on_row: Callable[[], None], outside: Counter[str]
) -> Iterator[FileFinding]:
    for row, texts in enumerate(_rows(path)):
        on_row()
        for message, text in texts:
            if language := language_of(text):
                outside[language] += 1
            for finding in find(text):
                yield FileFinding(row, message, finding, text[finding.start : finding.end])


def _rows(path: Path) -> Iterator[list[tuple[int | None, str]]]:
    lines = _lines(path)
    before: list[tuple[int, str]] = []
    for number, line in lines:
        before.append((number, line))
        if line.strip():
            break
    if before and before[-1][1].lstrip().startswith("[{"):
        raise DataError(f"{path}:{before[-1][0]}: a JSON list; write one object a line (JSONL)")
    named = path.suffix.lower() in (".jsonl", ".ndjson") and bool(before and before[-1][1].strip())
    if named or (before and before[-1][1].lstrip().startswith("{")):
        for number, line in chain(before, lines):
            if line.strip():
                yield _texts(f"{path}:{number}", line)
        return
    for _, line in chain(before, lines):
        yield [(None, line)]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    with file:
        number = 0
        while line := file.readline(LONGEST):
            number += 1
            if len(line) == LONGEST and not line.endswith(b"\n"):
                raise DataError(f"{path}:{number}: a line of more than {LONGEST:,} bytes; split it into rows")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{path}:{number}: not UTF-8 at byte {error.start} of the line") from None
            yield number, text.removesuffix("\n").removesuffix("\r")


def _texts(where: str, line: str) -> list[tuple[int | None, str]]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not valid JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}")
    if isinstance(row.get("messages"), list):
        texts: list[tuple[int | None, str]] = []
        for index, message in enumerate(row["messages"]):
            content = message.get("content") if isinstance(message, dict) else None
            if not isinstance(content, str):
                raise DataError(f"{where}: messages[{index}]: expected an object with 'content', a text")
            texts.append((index, content))
        return [*([(None, row["text"])] if isinstance(row.get("text"), str) else []), *texts]
    if isinstance(row.get("text"), str):
        return [(None, row["text"])]
    raise DataError(f"{where}: expected 'text' (a text) or 'messages' (a list)")
