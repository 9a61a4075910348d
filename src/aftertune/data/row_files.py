"""Rows of a data file, one at a time: JSONL, JSON, CSV, TSV, Parquet, Arrow, and folders that `datasets` saved.

A text file may be compressed (gzip, bzip2, xz, zstd) and in any encoding; what a file is, its content says, and its
ending only where content cannot. A row that cannot be read comes with the reason, so that a reader may go on.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aftertune.data.table_files import (
    COMPRESSED,
    NO_TEXT,
    RepeatedKeyError,
    csv_reader,
    is_plain_key,
    shown_fields,
    unguarded,
    unique,
    utf_16_by_zeros,
)
from aftertune.errors import DataError, UsageError, first_line

HEAD = 1 << 16
"""Bytes of the start of a file from which its form is told."""
LONGEST = 20_000_000
"""Characters of a line of plain text; a longer one is not a row of text."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_BATCH = 512
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file."""

    number: int
    """Its line, or where lines are no rows its number, from 1."""
    where: str
    """File and row, for messages."""
    value: Any
    problem: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True)
class RowFile:
    """A file or a folder of rows.

    Raises UsageError for one that is not there or an unknown encoding.
    """

    path: Path
    encoding: str = ""
    """Of its text; empty takes UTF-8, or what a byte order mark or the zeros of UTF-16 say."""
    is_row: Callable[[Mapping[str, Any]], bool] = lambda _: False
    """Whether an object is a row; one that is not may hold the rows."""
    plain: bool = False
    """Whether a file that is nothing else is plain text, each line a row."""

    def __post_init__(self) -> None:
        """Check path and encoding."""
        if not self.path.exists():
            raise UsageError(f"{self.path}: no such file")
        if not self.path.is_file() and not self.path.is_dir():
            raise UsageError(f"{self.path}: no regular file; write it to one")
        if self.encoding:
            try:
                "".encode(self.encoding)
                codecs.lookup(self.encoding).incrementaldecoder  # noqa: B018
            except (LookupError, ValueError):
                raise UsageError(
                    f"encoding '{self.encoding}': unknown; e.g. utf-8, utf-16, windows-1252, iso-8859-2"
                ) from None

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read: the path itself, or those of a folder that `datasets` saved."""
        return (self.path,) if self.path.is_file() else _saved(self.path)

    def is_lines(self) -> bool:
        """Return whether it is uncompressed and each line is a row, so that lines can be counted."""
        return self.path.is_file() and self._compression() == "" and self._form() in ("jsonl", "plain")

    def read_as(self) -> str:
        """Return the encoding that a text is read in where it is not UTF-8, and nobody named it; else nothing."""
        if not self.path.is_file() or self.encoding or self._form() == "arrow":
            return ""
        found = self._encoding()
        return "" if found in ("utf-8", "utf-8-sig") else found.upper()

    def rows(self) -> Iterator[Row]:
        """Yield the rows. Raises DataError (file) for a file that is not what it seems or is cut off."""
        count = 0
        for file in self.files():
            with _named_errors(file):
                for row in RowFile(file, self.encoding, self.is_row, self.plain)._rows(count):
                    yield row
                    count += 1

    # ------------------------------------------------------------------------------------------ what it is

    def _compression(self) -> str:
        try:
            with self.path.open("rb") as file:
                start = file.read(8)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be read: {error.strerror}") from None
        return next((name for magic, name in COMPRESSED.items() if start.startswith(magic)), "")

    def _open(self) -> IO[bytes]:
        kind = self._compression()
        if kind == "gzip":
            return io.BufferedReader(gzip.GzipFile(self.path, "rb"), HEAD)
        if kind == "bzip2":
            return bz2.open(self.path, "rb")
        if kind == "xz":
            return lzma.open(self.path, "rb")
        if kind == "zstd":
            import pyarrow as pa

            return io.BufferedReader(pa.input_stream(str(self.path), compression="zstd"), HEAD)
        return self.path.open("rb")

    def _head(self) -> bytes:
        with _named_errors(self.path):
            with self._open() as file:
                try:
                    return file.read(HEAD)
                except EOFError:
                    pass
            with self._open() as file:  # shorter than that, and cut off: what there is
                return file.read(1)

    def _suffix(self) -> str:
        name = self.path.name.lower()
        while any(name.endswith(end) for end in _SUFFIXES):
            name = name.rpartition(".")[0]
        return Path(name).suffix

    def _encoding(self) -> str:
        head = self._head()
        for mark, name in _BOMS:
            if head.startswith(mark) and (not self.encoding or name == "utf-8-sig"):
                return name
        if self.encoding:
            return self.encoding
        return utf_16_by_zeros(head) or "utf-8"

    def _form(self) -> str:
        head, suffix = self._head(), self._suffix()
        if head.startswith((b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")):
            return "arrow"
        if suffix in (".parquet", ".arrow", ".feather", ".ipc"):
            raise DataError(f"{self.path}: not a readable {suffix[1:].capitalize()} file")
        for magic, what in NO_TEXT.items():
            if head.startswith(magic):
                raise DataError(f"{self.path}: {what}")
        if any(head.startswith(magic) for magic in COMPRESSED):
            raise DataError(f"{self.path}: compressed twice: unpack it")
        if head[257:262] == b"ustar":
            raise DataError(f"{self.path}: a tar archive: unpack it")
        try:
            text = codecs.getincrementaldecoder(self._encoding())().decode(head)
        except UnicodeDecodeError:
            text = head.decode("latin-1")  # named with its line when it is read
        if "\x00" in text and suffix not in (".jsonl", ".ndjson", ".json", ".csv", ".tsv"):
            raise DataError(f"{self.path}: not text: it holds zero bytes")
        start = text.removeprefix("\ufeff").lstrip(_SPACE)
        if suffix in (".csv", ".tsv"):
            return "table"
        named = suffix in (".jsonl", ".ndjson", ".json")
        if self.plain and not named and not start.startswith("{") and not _opens_list(start):
            return "plain"
        if start.startswith("["):
            return "values"
        return "values" if start.startswith("{") and self._indented() else "jsonl"

    def _indented(self) -> bool:
        """Return whether the first line is the beginning of an object that goes on in the next."""
        with self._open() as binary, io.TextIOWrapper(binary, self._encoding(), "replace", newline="\n") as file:
            lines = (line.removeprefix("\ufeff") for line in file)
            first = next((line.rstrip(_SPACE) for line in lines if line.strip(_SPACE)), "")
            try:
                json.loads(first)
            except json.JSONDecodeError as error:
                second = next((line.lstrip(_SPACE) for line in lines if line.strip(_SPACE)), "")
                # An object that is broken off is followed by the next row, one that is indented is not.
                return error.pos >= len(first) and bool(second) and not second.startswith("{")
            except (ValueError, RecursionError):
                return False
        return False

    # ------------------------------------------------------------------------------------------ its rows

    def _rows(self, before: int) -> Iterator[Row]:
        form = self._form()
        if form == "arrow":
            return self._arrow(before)
        if form == "table":
            return self._table()
        if form == "plain":
            return self._plain()
        return self._unwrapped(self._values() if form == "values" else self._lines())

    def _unwrapped(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows; those that stand in the file's only object in its place."""
        first, second = next(rows, None), next(rows, None)
        if first is not None and second is None and isinstance(first.value, Mapping):
            held = None if self.is_row(first.value) else _held(first.value, self.path, self.is_row)
            if held is not None:
                for number, value in enumerate(held, start=1):
                    yield Row(number, f"{self.path}: row {number}", value)
                return
        yield from (row for row in (first, second) if row is not None)
        yield from rows

    def _text(self, newline: str) -> io.TextIOWrapper:
        return io.TextIOWrapper(self._open(), self._encoding(), newline=newline)

    def _numbered_lines(self) -> Iterator[tuple[int, str | None, str]]:
        """Yield (number, line, why it is no text); lines end at \\n only: JSON allows other line ends in strings."""
        encoding = self._encoding()
        if encoding not in ("utf-8", "utf-8-sig"):
            number = 0
            with self._text("\n") as file:
                try:
                    for number, line in enumerate(file, start=1):
                        yield number, line.removeprefix("\ufeff"), ""
                except UnicodeError as error:
                    # UTF-16 that breaks off has no line to go on with.
                    raise DataError(f"{self.path}:{number + 1}: not {encoding}: {first_line(error)[:120]}") from None
            return
        with self._open() as binary:
            offset = 0
            for number, raw in enumerate(binary, start=1):
                try:
                    yield number, raw.decode("utf-8").removeprefix("\ufeff" if number == 1 else ""), ""
                except UnicodeDecodeError as error:
                    why = f"not UTF-8 at byte {offset + error.start}: save it as UTF-8, or name its encoding, e.g. "
                    yield number, None, f"{why}windows-1252"
                offset += len(raw)

    def _lines(self) -> Iterator[Row]:
        for number, line, why in self._numbered_lines():
            where = f"{self.path}:{number}"
            if line is None:
                yield Row(number, where, None, why)
            elif line.strip():
                try:
                    yield Row(number, where, json.loads(line.rstrip("\r\n"), object_pairs_hook=unique))
                except json.JSONDecodeError as error:
                    yield Row(number, where, None, f"not valid JSON at column {error.colno}: {error.msg}")
                except RepeatedKeyError as error:
                    yield Row(number, where, None, str(error))
                except ValueError:  # json's limit on the digits of a number
                    yield Row(number, where, None, "holds a number of thousands of digits")
                except RecursionError:
                    yield Row(number, where, None, "nested too deeply")

    def _plain(self) -> Iterator[Row]:
        for number, line, why in self._numbered_lines():
            where = f"{self.path}:{number}"
            if line is not None and len(line) >= LONGEST:
                raise DataError(f"{where}: a line of more than {LONGEST:,} characters; split it into rows")
            yield Row(number, where, None if line is None else line.removesuffix("\n").removesuffix("\r"), why)

    def _values(self) -> Iterator[Row]:
        """Yield the elements of a JSON list, or JSON values one after the other, however they are laid out."""
        with self._text("") as file:
            try:
                for number, value in enumerate(_decoded(file, str(self.path)), start=1):
                    yield Row(number, f"{self.path}: row {number}", value)
            except UnicodeError as error:
                raise DataError(f"{self.path}: not {self._encoding()}: {first_line(error)[:120]}") from None

    def _table(self) -> Iterator[Row]:
        with self._text("") as file:
            try:
                start = file.readline().removeprefix("\ufeff")
                reader = csv_reader(self.path, start, _from(start, file))
                names = [*(reader.fieldnames or ())]
                for name in names:
                    if names.count(name) > 1:
                        raise DataError(f"{self.path}: {_same(name, names)}; rename one")
                for row in reader:
                    where = f"{self.path}:{reader.line_num}"
                    if None in row:
                        yield Row(reader.line_num, where, None, "more values than columns")
                    else:
                        value = {key: unguarded(each) for key, each in row.items()}
                        yield Row(reader.line_num, where, value)
            except UnicodeDecodeError as error:
                if self._encoding().startswith("utf-8"):
                    raise DataError(
                        f"{self.path}: not UTF-8: save it as UTF-8, or name its encoding, e.g. windows-1252"
                    ) from None
                raise DataError(f"{self.path}: not {self._encoding()}: {first_line(error)[:120]}") from None
            except csv.Error as error:
                raise DataError(f"{self.path}: not valid CSV: {error}") from None

    def _arrow(self, before: int) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._open() as file:
            start = file.read(8)
            if self._compression():
                source: Any = io.BytesIO(start + file.read())
            else:
                source = str(self.path)
        number = before
        try:
            if start.startswith(b"PAR1"):
                batches: Iterable[Any] = pq.ParquetFile(source).iter_batches(batch_size=_BATCH)
            elif start.startswith(b"ARROW1"):
                whole = pa.ipc.open_file(source)
                batches = (whole.get_batch(index) for index in range(whole.num_record_batches))
            else:
                batches = pa.ipc.open_stream(pa.OSFile(source) if isinstance(source, str) else source)
            for batch in batches:
                for offset in range(0, batch.num_rows, _BATCH):
                    for value in batch.slice(offset, _BATCH).to_pylist():
                        number += 1
                        yield Row(number, f"{self.path}: row {number}", value)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            kind = "Parquet" if start.startswith(b"PAR1") else "Arrow"
            why = f"not a readable {kind} file: {first_line(error)[:120]}"
            raise DataError(f"{self.path}: {why}" + (f" (after row {number})" if number else "")) from None


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged archive raises into one line."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cut off or damaged: {first_line(error)[:120]}") from None
    except OSError as error:
        # Arrow and bzip2 raise a bare OSError for damage.
        why = f"cannot be read: {error.strerror}" if error.errno else f"cut off or damaged: {first_line(error)[:120]}"
        raise DataError(f"{path}: {why}") from None


def _opens_list(start: str) -> bool:
    """Return whether a text begins as a JSON list of rows does, and not as `[12:03] Hello`."""
    return start.startswith("[") and start[1:].lstrip(_SPACE)[:1] in ("{", "[", '"', "]", "")


def _from(start: str, file: Iterable[str]) -> Iterator[str]:
    if start:
        yield start
    yield from file


def _held(value: Mapping[str, Any], path: Path, is_row: Callable[[Mapping[str, Any]], bool]) -> list[Any] | None:
    """Return the rows that a file's only object holds: its only list of objects, or its values. None where none.

    What else stands in the object is the field `file` of the first row.
    """
    lists = {
        str(key): each
        for key, each in value.items()
        if isinstance(each, list) and each and all(isinstance(row, Mapping) for row in each)
    }
    rows = {key: each for key, each in lists.items() if all(is_row(row) for row in each)}
    if len(rows or lists) > 1:
        names = shown_fields(rows or lists, 8)
        raise DataError(f"{path}: holds several lists of rows ({names}); put the one to be read in its own file")
    if rows or lists:
        ((name, held),) = (rows or lists).items()
        rest = {key: each for key, each in value.items() if key != name}
        # What stands outside the rows is lost to nobody: the first has it.
        return [{**held[0], _free("file", held[0]): rest}, *held[1:]] if rest else held
    if value and all(isinstance(each, Mapping) and is_row(each) for each in value.values()):
        return [{"id": key, **each} for key, each in value.items()]
    return None


def _same(name: str, names: Sequence[str]) -> str:
    """Return what says that two columns have one name; not the name where it may be a value: see `shown_fields`."""
    if all(map(is_plain_key, filter(None, names))):
        return f"two columns are called '{name}'"
    numbers = [str(number) for number, each in enumerate(names, 1) if each == name]
    return f"columns {' and '.join(numbers)} have the same name"


def _free(name: str, row: Mapping[str, Any]) -> str:
    while name in row:
        name += "_"
    return name


def _decoded(file: io.TextIOWrapper, path: str) -> Iterator[Any]:
    """Yield JSON values one after the other, or the elements of one list, with a buffer as large as the largest."""
    buffer, line, ended = "", 1, False
    decoder = json.JSONDecoder(object_pairs_hook=unique)
    size = HEAD

    def more() -> None:
        nonlocal buffer, ended
        text = file.read(size)
        ended = not text
        buffer += text

    def skip(marks: str) -> str:
        """Drop blanks and these marks; return the next character, nothing at the end."""
        nonlocal buffer, line
        while True:
            rest = buffer.lstrip(_SPACE + marks)
            line += buffer.count("\n", 0, len(buffer) - len(rest))
            buffer = rest
            if buffer or ended:
                return buffer[:1]
            more()

    more()
    buffer = buffer.removeprefix("\ufeff")
    listed = skip("") == "["
    if listed:
        buffer = buffer[1:]
    while mark := skip(""):
        if listed and mark == "]":
            buffer = buffer[1:]
            if skip(""):
                raise DataError(f"{path}:{line}: something stands after the end of the list")
            return
        size = HEAD
        while True:
            try:
                value, end = decoder.raw_decode(buffer)
                # A number may go on in what is not read yet.
                if end < len(buffer) or ended:
                    break
            except json.JSONDecodeError as error:
                if ended:
                    at = line + error.lineno - 1
                    raise DataError(f"{path}:{at}: not valid JSON at column {error.colno}: {error.msg}") from None
            except RepeatedKeyError as error:
                raise DataError(f"{path}:{line}: {error}") from None
            except ValueError:
                raise DataError(f"{path}:{line}: holds a number of thousands of digits") from None
            except RecursionError:
                raise DataError(f"{path}:{line}: nested too deeply") from None
            more()
            size *= 2
        line += buffer.count("\n", 0, end)
        buffer = buffer[end:]
        yield value
        if listed:
            mark = skip("")
            if mark == ",":
                buffer = buffer[1:]
            elif mark != "]":
                why = "the list breaks off" if not mark else "expected ',' or ']' between the rows"
                raise DataError(f"{path}:{line}: not valid JSON: {why}")
    if listed:
        raise DataError(f"{path}:{line}: not valid JSON: the list breaks off")


def _saved(folder: Path) -> tuple[Path, ...]:
    """Return the Arrow files of a folder that `datasets` saved. Raises UsageError for another folder."""

    def of(name: str) -> Any:
        try:
            return json.loads((folder / name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None

    splits = of("dataset_dict.json")
    if isinstance(splits, Mapping) and isinstance(splits.get("splits"), list):
        names = [str(name) for name in splits["splits"]]
        if len(names) == 1:
            return _saved(folder / names[0])
        raise UsageError(f"{folder}: holds the splits {', '.join(names)[:200]}; give one, e.g. {folder / names[0]}"
                         if names else f"{folder}: holds no split")  # fmt: skip
    state = of("state.json")
    if not isinstance(state, Mapping) or not isinstance(state.get("_data_files"), list):
        raise UsageError(f"{folder}: is a folder, and none that `datasets` saved; give a file in it")
    if state.get("_indices_data_files"):
        raise UsageError(f"{folder}: its rows are picked from a larger table; save it again with a current `datasets`")
    try:
        files = tuple(folder / str(each["filename"]) for each in state["_data_files"])
    except (TypeError, KeyError):
        raise DataError(f"{folder / 'state.json'}: damaged") from None
    for file in files:
        if not file.is_file() or file.parent != folder:
            raise DataError(f"{file}: not there, though {folder / 'state.json'} names it")
    return files
