"""Rows of a table file (CSV, TSV, JSON, JSONL or Parquet) as mappings, with errors that name file and line."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, UsageError
from aftertune.files import no_file, read_parquet
from aftertune.files import write as write_whole

ENDINGS = (".csv", ".jsonl", ".parquet")
"""Endings of tables that are read and written; a `.tsv` file, and a `.json` file that holds one list of objects, are
read too."""

UTF_8 = "utf-8-sig"
COMPRESSED: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""How a compressed file begins, and with what it was compressed."""
NO_TEXT: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive or an office document: unpack it, or save it as JSONL, CSV or text",
    b"%PDF": "a PDF: save its text",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it",
    b"\x04\x22\x4d\x18": "compressed with LZ4: unpack it",
    b"FEA1": "a Feather file of version 1: save it as version 2 or as Parquet",
    b"SQLite format 3": "an SQLite database: export its table as CSV or JSONL",
}
"""How other files begin, what they are and what to do."""
_HEAD = 400
"""Bytes of the start of a file from which its encoding is told."""
_FOR_EXCEL = re.compile(r"sep=.\s*", re.I)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_LONE = re.compile("[\ud800-\udfff]")


def read(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Return (line number, row) for every row; Parquet and JSON lists count rows from 1.

    Raises UsageError for a missing file or unknown ending, DataError (file, line, field) for broken content or a
    missing column.
    """
    rows = list(iterate(path))
    if not rows:
        raise DataError(f"{path}: no rows in it")
    for line, row in rows:
        for name in required:
            if name not in row:
                there = shown_fields(row, 12)
                raise DataError(f"{location(path, line)}: no column '{name}' (there: {there})")
    return rows


def is_plain_key(key: object) -> bool:
    """Return whether a key is written as names of fields are: any other may be a text."""
    return isinstance(key, str) and _PLAIN_KEY.fullmatch(key) is not None


def shown_fields(names: Iterable[object], most: int) -> str:
    """Return names of fields for an error message, `column 3` for one that may be a value.

    A table without a heading has its first row there. So any name that is not written as those of fields are is not
    shown, nor, beside such a name, any with a capital or a digit.
    """
    names = list(names)
    odd = not all(map(is_plain_key, names))
    plain = re.compile("[a-z_]+" if odd else ".+", re.S)
    shown = [
        str(name) if is_plain_key(name) and plain.fullmatch(str(name)) else f"column {number}"
        for number, name in enumerate(names, 1)
    ]
    more = ", ..." if len(shown) > most else ""
    return ", ".join(shown[:most]) + more or "none"


def refuse_twice(path: Path, names: Iterable[str]) -> None:
    """Raise DataError for two columns of one name, of which a mapping would keep one in silence."""
    names = [name for name in names if name.strip()]  # a spreadsheet leaves columns without a name at the end
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}: the column '{shown_fields([name], 1)}' stands twice; rename one")


def location(path: Path, line: int) -> str:
    """Return where a row that `read` numbers stands, for error messages: `file:line`, or `file: item 3` of a list."""
    return f"{path}: item {line}" if path.suffix.lower() == ".json" else f"{path}:{line}"


def check(path: Path) -> None:
    """Raise UsageError for a missing file or unknown ending, DataError for a file that is compressed or no table."""
    if not path.is_file():
        raise no_file(path)
    head = _head(path)
    for magic, what in NO_TEXT.items():
        if head.startswith(magic):
            raise DataError(f"{path}: {what}")
    for magic, what in COMPRESSED.items():
        if head.startswith(magic):
            raise DataError(f"{path}: compressed ({what}): unpack it")
    if path.suffix.lower() not in _PARSERS:
        raise UsageError(f"{path}: unknown ending '{path.suffix}'; give one of {', '.join(_PARSERS)}")


def iterate(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) as `read` returns them, one at a time. Raises as `read` does."""
    check(path)
    yield from _PARSERS[path.suffix.lower()](path)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def encoding(path: Path) -> str:
    """Return the encoding of a text file: UTF-16 (as Excel's "Unicode text", and PowerShell, write it) or UTF-32 by its
    byte order mark or by the zeros of UTF-16, else UTF-8."""
    head = _head(path)
    if head[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        return "utf-32"
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    return utf_16_by_zeros(head) or UTF_8


def utf_16_by_zeros(head: bytes) -> str:
    """Return which UTF-16 the start of a file without a byte order mark is in, by its zeros; empty for none."""
    even, odd = head[0:_HEAD:2].count(0), head[1:_HEAD:2].count(0)
    half = len(head[:_HEAD]) // 2
    if half > 3 and max(even, odd) > 0.4 * half and min(even, odd) < 0.1 * half:
        return "utf-16-be" if even > odd else "utf-16-le"
    return ""


def delimiter(path: Path, head: str) -> str:
    """Return what parts the columns of a CSV or TSV file, from its first line.

    Spreadsheets write semicolons where the comma is the decimal sign, and tabs as "Unicode text". Raises DataError for
    a line that only Excel reads.
    """
    if _FOR_EXCEL.fullmatch(head):
        raise DataError(f"{path}:1: says to Excel what parts the columns ('sep='), and names none: remove this line")
    tabs = any(suffix.lower() == ".tsv" for suffix in path.suffixes)
    if tabs or ("\t" in head and "," not in head):
        return "\t"
    return ";" if ";" in head and "," not in head else ","


def csv_reader(path: Path, head: str, lines: Iterable[str]) -> csv.DictReader[str]:
    """Return a reader of the rows of a CSV or TSV file from all its lines, of which `head` is the first.

    Where a blank follows every comma in the first line, none is part of a value. Names of columns are trimmed. Raises
    DataError as `delimiter`; the reader raises csv.Error.
    """
    csv.field_size_limit(2**31 - 1)  # the default refuses answers over 128 kB
    mark = delimiter(path, head)
    blanks = 0 < head.count(mark) == head.count(f"{mark} ")
    reader = csv.DictReader(lines, strict=True, delimiter=mark, skipinitialspace=blanks)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    return reader


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    known = encoding(path)
    try:
        with path.open(encoding=known, newline="") as file:
            head = file.readline()
            file.seek(0)
            reader = csv_reader(path, head, file)
            refuse_twice(path, reader.fieldnames or ())
            for row in reader:
                if None in row:
                    raise DataError(f"{path}:{reader.line_num}: more values than columns")
                yield reader.line_num, {key: unguarded(value) for key, value in row.items()}
    except UnicodeDecodeError as error:
        raise _not_in(path, known, error) from None
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from None


def _not_in(path: Path, known: str, error: UnicodeDecodeError) -> DataError:
    """Return the error for a text file that is not in the encoding which it seems to have."""
    return DataError(f"{path}: not {known.removesuffix('-sig').upper()} at byte {error.start}: save it as UTF-8")


_FORMULA = re.compile("'*[=+\\-@\t\r]")


def _guarded(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe in front of what could be one."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(value: Any) -> Any:
    """Undo `_guarded`."""
    guarded = isinstance(value, str) and value.startswith("'") and _FORMULA.match(value)
    return value[1:] if guarded else value


def whole(value: Any) -> Any:
    """Return text, or what holds texts, without lone surrogates, which no UTF-8 file can hold: each becomes U+FFFD."""
    if isinstance(value, str):
        return _LONE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {whole(key): whole(each) for key, each in value.items()}
    return [whole(each) for each in value] if isinstance(value, list) else value


class RepeatedKeyError(ValueError):
    """A JSON object has a field twice, of which a mapping would keep one in silence."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a mapping, as an `object_pairs_hook`. Raises RepeatedKeyError."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise RepeatedKeyError(f"the field '{shown_fields([name], 1)}' stands there twice")
    return row


def _loaded(text: str) -> Any:
    value = json.loads(text)
    # Nearly no file spells surrogates, and those that do hold pairs mostly.
    return whole(value) if "\\ud" in text or "\\uD" in text else value


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    known = encoding(path)
    try:
        lines = path.open("rb") if known == UTF_8 else io.BytesIO(path.read_text(known).encode())
    except UnicodeDecodeError as error:
        raise _not_in(path, known, error) from None
    with lines as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = _loaded(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: not valid JSON: {str(error)[:120]}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: expected an object, found {type(row).__name__}")
            yield number, row


def _json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = document(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of objects, found {type(rows).__name__}")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{location(path, number)}: expected an object, found {type(row).__name__}")
        yield number, row


def document(path: Path) -> Any:
    """Return what a JSON file holds. Raises DataError for one that is not valid JSON in UTF-8."""
    try:
        return _loaded(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _not_in(path, UTF_8, error) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {str(error)[:120]}") from None


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa

    try:
        table = read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error)[:120]}") from None
    yield from enumerate(table.to_pylist(), start=1)


_PARSERS = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".json": _json, ".parquet": _parquet}


def replaceable(path: Path, columns: Sequence[str]) -> None:
    """Raise UsageError for a file that is there already and is no table with these columns: it is something else."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        row: Mapping[str, Any] = next(iterate(path), (0, {}))[1]
    except DataError:
        row = {}
    if not row.keys() >= set(columns):
        raise UsageError(
            f"{path}: is there already and is no table with the columns {', '.join(columns)}; give another path"
        )


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV, JSONL or Parquet file, whole or not at all. Raises UsageError."""
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path}: unknown ending '{path.suffix}'; give one of {', '.join(ENDINGS)}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if path.suffix == ".jsonl":
        data = "".join(json.dumps(row, ensure_ascii=True, default=str) + "\n" for row in rows).encode()
    elif path.suffix == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows({key: _guarded(value) for key, value in row.items()} for row in rows)
        data = text.getvalue().encode("utf-8", "backslashreplace")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(
            pa.Table.from_pylist([{key: whole(value) for key, value in row.items()} for row in rows]), buffer
        )
        data = buffer.getvalue()
    write_whole(path, data)
