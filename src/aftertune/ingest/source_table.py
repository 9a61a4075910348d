"""A table of verdicts from a user's files: columns as integer codes, with errors that name file and line."""

from __future__ import annotations

import itertools
import os
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError, first_line
from aftertune.files import read_parquet
from aftertune.ingest import log_formats, logs, missing_values
from aftertune.ingest.log_records import Log
from aftertune.pii.masking import shown

Ints = NDArray[np.int64]

REQUIRED = ("checkpoint", "prompt", "metric", "value")
OPTIONAL = ("cluster", "seed", "repeat", "judge", "worse", "message_hash", "answered_by")
COLUMNS = (*REQUIRED, *OPTIONAL)
JUDGED = ("axis", "label", "score", "status", "why")
"""What `aftertune judge` says of a response beside the metric and its value."""

FRAME = "the data frame"
"""What a table in memory is called in messages."""


@runtime_checkable
class DataFrame(Protocol):
    """A table in memory that shares its columns with Arrow: of pandas, polars, pyarrow and others."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as a stream of Arrow (the PyCapsule interface)."""


Source = str | os.PathLike[str] | DataFrame
Sources = Source | Sequence[Source]
"""A table or log, or several; `NAME=PATH` gives the checkpoint of a file another name."""


class SourceTable:
    """The columns of a table as codes into their values, and the file and line of each row.

    A table of a million rows is read by Arrow, never row by row; only if that fails is a file read again row by row, to
    name the line.
    """

    def __init__(self, sources: Sources) -> None:
        """Read the files, one below the other. Raises UsageError and DataError (file, line or row, column)."""
        import pyarrow as pa

        self.codes: dict[str, Ints] = {}
        self._values: dict[str, list[Any]] = {}
        self.warnings: list[str] = []
        self._files: list[tuple[Path | str, int]] = []
        """Each file, or the name of a data frame, and its number of rows."""
        columns = self._read(_as_list(sources))
        for name, column in columns.items():
            if pa.types.is_floating(column.type) and name not in ("value", "seed"):
                column = _whole(column)
            if pa.types.is_dictionary(column.type) and any(chunk.dictionary.null_count for chunk in column.chunks):
                column = column.cast(column.type.value_type)
            if not pa.types.is_dictionary(column.type):
                column = column.dictionary_encode()
            column = column.unify_dictionaries().combine_chunks()
            values = column.dictionary.to_pylist()
            codes = column.indices.to_numpy(zero_copy_only=False)
            codes = np.where(np.isnan(codes), len(values), codes).astype(np.int64)  # no code is no value
            if name not in ("value", "seed"):
                values = [None if value in (None, "") else trimmed(str(value)) or None for value in values]
            self.codes[name], self._values[name] = codes, [*values, None]
        self._rows: Ints = np.arange(len(self.codes["value"]))
        for name in OPTIONAL:
            if name not in self.codes:
                self.codes[name], self._values[name] = np.zeros(self._rows.size, dtype=np.int64), [None]
        for name in COLUMNS:
            self._deduplicate(name)

    @property
    def path(self) -> str:
        """The first of the files and the number of others, for messages."""
        return names_of([path for path, _ in self._files])

    def _read(self, sources: Sequence[Source]) -> dict[str, Any]:
        """Return the columns of all files, one below the other."""
        import pyarrow as pa

        tables = []
        files = [logs.split_name(source) for source in sources if not isinstance(source, DataFrame)]
        opened, kept, said = logs.open_logs(files)
        log_of = iter(opened)
        self.warnings += said
        for source in sources:
            path: Path | str
            if isinstance(source, DataFrame):
                path = FRAME if len(sources) == 1 else f"{FRAME} {len(self._files) + 1}"
                columns, unused = _frame(path, source)
                warnings = _unused(path, unused)
            else:
                name, path = logs.split_name(source)
                log = next(log_of)
                if not any(log is each for each in kept) and logs.is_log(path):
                    continue  # left out
                columns, warnings = _columns(path, log, name)
            self.warnings += warnings
            tables.append(columns)
            self._files.append((path, len(columns["value"])))
        if len(tables) == 1:
            return tables[0]
        joined = {}
        for name in COLUMNS:
            if any(name in columns for columns in tables):
                parts = [
                    _as_text(columns[name]) if name in columns else pa.chunked_array([pa.nulls(count, pa.string())])
                    for columns, (_, count) in zip(tables, self._files, strict=True)
                ]
                joined[name] = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        return joined

    def _deduplicate(self, name: str) -> None:
        """Give equal values one code: an Arrow dictionary may hold a value, or null, more than once."""
        distinct: dict[Any, int] = {}
        # In Python 1 == True, but here they are different values.
        recode = [distinct.setdefault((type(value), value), len(distinct)) for value in self._values[name]]
        self.codes[name] = np.asarray(recode, dtype=np.int64)[self.codes[name]]
        self._values[name] = [value for _, value in distinct]

    def values(self, name: str) -> list[Any]:
        """Return the values that the codes of a column point to."""
        return self._values[name]

    def present(self, name: str) -> list[Any]:
        """Return the values of a column that occur in the remaining rows, sorted."""
        return sorted(self._values[name][code] for code in np.unique(self.codes[name]))

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Drop all rows but those of a mask."""
        self._rows = self._rows[mask]
        self.codes = {name: codes[mask] for name, codes in self.codes.items()}

    def where(self, row: int) -> str:
        """Return the file and line (for Parquet and logs: the row) of one of the remaining rows."""
        ends = np.cumsum([count for _, count in self._files])
        file = int(np.searchsorted(ends, self._rows[row], side="right"))
        path, count = self._files[file]
        number = int(self._rows[row]) - (int(ends[file]) - count)
        if isinstance(path, str) or path.suffix == ".parquet" or logs.is_log(path):
            return f"{path}: row {number + 1:,}"
        line = next(itertools.islice(rows.iterate(path), number, None), (number + 2, {}))[0]
        return f"{path}:{line}"

    def refuse(self, name: str, bad: Callable[[Any], bool], why: str) -> None:
        """Raise DataError for the first row whose value in a column is bad."""
        codes = [code for code, value in enumerate(self._values[name]) if bad(value)]
        rows_ = np.flatnonzero(np.isin(self.codes[name], codes)) if codes else np.empty(0)
        if rows_.size:
            value = self._values[name][self.codes[name][rows_[0]]]
            quoted = "" if value in (None, "") else f" = '{shown(value)}'"
            raise DataError(f"{self.where(int(rows_[0]))}: {name}{quoted} {why}")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, NaN where it is empty. Raises DataError for anything else."""
        why = "is not a number; give 0, 1 or a number, or leave it empty where nothing could be judged"
        self.refuse(name, lambda value: number_of(value) is None, why)
        numbers = [number_of(value) for value in self._values[name]]
        return np.array([np.nan if number is None else number for number in numbers])[self.codes[name]]

    def joint(self, names: Sequence[str], *more: tuple[Ints, int]) -> Ints:
        """Return a code for each row's combination of columns, and of further (codes, number of codes)."""
        code = np.zeros(self._rows.size, dtype=np.int64)
        size = 1
        for other, count in [*((self.codes[name], len(self._values[name])) for name in names), *more]:
            if size > 2**62 // max(count, 1):
                _, code = np.unique(code, return_inverse=True)
                size = int(code.max()) + 1
            code, size = code * count + other, size * count
        return code


def number_of(value: Any) -> float | None:
    """Return a value as a number, NaN if it is empty, None if it is not a finite number."""
    if value is None:
        return np.nan
    if isinstance(value, str):
        text = trimmed(value)
        if text.lower() in missing_values.WORDS:
            return np.nan
        if text.lower() in ("true", "false"):
            return float(text.lower() == "true")
        # Python also reads "1_000" and the digits of other scripts as numbers; in a table that is a typing error.
        if not re.fullmatch(r"[-+0-9.eE]+", text):
            return None
        value = text
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if abs(number) == np.inf else number


def trimmed(text: str) -> str:
    """Return a cell or the name of a column without blanks around it, and without quotes that a blank put inside it.

    Tools that write `b, "p 1", 0` mean `b,"p 1",0`.
    """
    text, blank = text.strip(), text[:1].isspace()
    quoted = blank and len(text) > 1 and text.startswith('"') and text.endswith('"')
    return text[1:-1].replace('""', '"') if quoted else text


def _whole(column: Any) -> Any:
    """Return 3.0 as 3: many tools write a column of whole numbers with gaps as floats."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(pc.if_else(pc.is_nan(column), None, column), pa.int64())
    except pa.ArrowException:
        return column


# ---------------------------------------------------------------------------------------------- files


def _as_list(sources: Sources | Sequence[Path | str]) -> Sequence[Source]:
    return [sources] if isinstance(sources, str | os.PathLike | DataFrame) else sources


def names_of(sources: Sources | Sequence[Path | str]) -> str:
    """Return the path of the first source and the number of others, for messages."""
    first, *more = _as_list(sources)
    name = FRAME if isinstance(first, DataFrame) else logs.split_name(first)[1]
    return f"{name}{f' and {len(more):,} more' if more else ''}"


def _with_checkpoint(path: Path, columns: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the columns with `checkpoint` replaced by one name. Raises UsageError for several checkpoints."""
    import pyarrow as pa

    names = columns["checkpoint"].unique().drop_null() if "checkpoint" in columns else []
    if len(names) > 1:
        raise UsageError(f"{path}: holds {len(names):,} checkpoints ({names[0]}, {names[1]}, ...): '{name}=' names one")
    return {**columns, "checkpoint": pa.chunked_array([pa.array([name] * len(columns["value"]), pa.string())])}


def _as_text(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        column = _whole(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _columns(path: Path, log: Log | None, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the used columns of a table or an open log as Arrow columns, and warnings.

    A table that is given a name is of that one checkpoint, whatever it calls it, or if it has no such column.
    """
    if log is not None:
        columns = logs.arrow(logs.verdict_columns(log))
        return columns, log.warnings
    if log_formats.is_object(path):
        raise log_formats.unknown(path)
    columns, unused = _table(path, name)
    return _with_checkpoint(path, columns, name) if name else columns, _unused(path, unused)


def _unused(where: Path | str, names: Sequence[str]) -> list[str]:
    named = [str(name) or "(one without a name)" for name in names]
    return [f"{where}: columns not used: {', '.join(named)}"[:300]] if names else []


def _table(path: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the used columns of a table, and the names of the others."""
    import pyarrow as pa

    rows.check(path)
    try:
        columns, names = _READERS[path.suffix](path) if path.suffix in _READERS else _row_by_row(path, "")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Row by row names the line of an error, and reads some files that Arrow cannot (ids of mixed types).
        columns, names = _row_by_row(path, str(error))
    if name and "checkpoint" not in names:
        return columns, _others(path, columns, names, REQUIRED[1:])
    return columns, _others(path, columns, names)


def _others(
    where: Path | str, columns: Mapping[str, Any], names: Sequence[str], required: Sequence[str] = REQUIRED
) -> list[str]:
    """Return the names of a table's columns that are not used; those that `aftertune judge` adds are no matter.

    Raises DataError for a missing or repeated column, and for one whose name shows that it is meant to be read.
    """
    for name in required:
        if name not in columns:
            listed = ", ".join(map(str, names))[:200] or "none"
            own = log_formats.nearest(names, required)
            named = name == "checkpoint" and isinstance(where, Path)
            one = f"; NAME={where} names the model of all rows" if named else ""
            raise DataError(f"{where}: no column '{name}' (there: {listed}); it needs {', '.join(required)}{own}{one}")
    repeated = next((name for name in COLUMNS if names.count(name) > 1), None)
    if repeated:
        raise DataError(f"{where}: the column '{repeated}' stands twice; rename one")
    if len(columns["value"]) == 0:
        raise DataError(f"{where}: no rows in it")
    for name in names:
        letters = _letters(str(name))
        meant = (
            "worse" if letters in _DIRECTIONS else next((each for each in COLUMNS if _letters(each) == letters), None)
        )
        if meant and meant not in names:
            raise DataError(
                f"{where}: the column '{name}' is not read; "
                + (f"call it '{meant}'" if letters not in _DIRECTIONS else "say it in a column 'worse' (up or down)")
            )
    known = (*COLUMNS, *(JUDGED if {*JUDGED} <= {*names} else ()))
    return [name for name in names if name not in known]


_DIRECTIONS = frozenset(("higherisbetter", "lowerisbetter", "higherisworse", "lowerisworse", "better", "direction"))
"""Letters of the names under which other tables say which way is better."""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _frame(where: str, frame: DataFrame) -> tuple[dict[str, Any], list[str]]:
    """Return the used columns of a table in memory, and the names of the others."""
    import pyarrow as pa

    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"{where}: cannot be read as an Arrow table: {first_line(error)[:200]}") from None
    written = [name for name in table.column_names if not re.fullmatch(r"__index_level_\d+__", name)]  # of pandas
    names = [trimmed(name) for name in written]
    used = {name: written[names.index(name)] for name in COLUMNS if name in names}
    columns: dict[str, Any] = dict.fromkeys(used, ())
    if not any(names.count(name) > 1 for name in used):
        columns = _plain_columns(where, table.select([*used.values()]).rename_columns([*used]))
    return columns, _others(where, columns, names)


def _csv(path: Path) -> tuple[dict[str, Any], list[str]]:
    import pyarrow as pa
    from pyarrow import csv

    encoding = rows.encoding(path)

    def file() -> Any:
        # Arrow reads UTF-8.
        return path if encoding == rows.UTF_8 else pa.py_buffer(path.read_text(encoding).encode())

    with path.open(encoding=encoding, newline="") as text:
        mark = rows.delimiter(path, text.readline())
    parse = csv.ParseOptions(newlines_in_values=True, delimiter=mark)
    with csv.open_csv(file(), parse_options=parse) as reader:
        written = list(reader.schema.names)
    names = [trimmed(name) for name in written]
    used = {name: written[names.index(name)] for name in COLUMNS if name in names}
    if not used or any(names.count(name) > 1 for name in used):
        return dict.fromkeys(used, ()), names
    # As dictionaries with 32-bit codes each prompt id is stored once.
    types = {name: pa.dictionary(pa.int32(), pa.string()) for name in used.values()}
    options = csv.ConvertOptions(include_columns=[*used.values()], column_types=types, strings_can_be_null=False)
    table = csv.read_csv(file(), parse_options=parse, convert_options=options)
    return {name: table.column(column) for name, column in used.items()}, names


def _parquet(path: Path) -> tuple[dict[str, Any], list[str]]:
    import pyarrow.parquet as pq

    written = list(pq.read_schema(path).names)
    names = [trimmed(name) for name in written]
    used = {name: written[names.index(name)] for name in COLUMNS if name in names}
    if any(names.count(name) > 1 for name in used):
        return dict.fromkeys(used, ()), names
    table = read_parquet(path, [*used.values()])
    return _plain_columns(path, table.select([*used.values()]).rename_columns([*used])), names


def _plain_columns(where: Path | str, table: Any) -> dict[str, Any]:
    """Return the columns of an Arrow table, those of bytes or of other texts as texts. Raises DataError for lists."""
    import pyarrow as pa

    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_nested(kind):
            raise DataError(f"{where}: the column '{name}' holds {kind}, not texts or numbers")
        texts = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_large_string, pa.types.is_string_view)
        columns[name] = column.cast(pa.string()) if any(is_text(kind) for is_text in texts) else column
    return columns


_READERS = {".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
"""JSONL is read row by row: some files crash Arrow's JSON reader, and the process with it."""


def _row_by_row(path: Path, why: str) -> tuple[dict[str, Any], list[str]]:
    """Return the used columns and the names of all; `why` says why Arrow could not read the file."""
    if path.suffix == ".parquet":
        raise DataError(f"{path}: not a readable Parquet file: {why[:120]}")
    names: dict[str, None] = {}
    # Codes of 32 bits, so that a value that occurs in many rows is in memory once.
    codes: dict[str, array[int]] = {name: array("i") for name in COLUMNS}
    known: dict[str, dict[str, int]] = {name: {} for name in COLUMNS}
    column_of: dict[str, str] = {}
    for line, row in rows.iterate(path):
        if not row.keys() <= names.keys():
            names |= dict.fromkeys(row)
            column_of = {trimmed(name): name for name in reversed(names)}
        for name in COLUMNS:
            column = column_of.get(name, name)
            value = row.get(column)
            if value is None:
                if path.suffix in (".csv", ".tsv") and column in row:
                    raise DataError(f"{path}:{line}: fewer values than columns: no {name}")
                codes[name].append(-1)
                continue
            if isinstance(value, (list, dict)):
                raise DataError(f"{path}:{line}: {name} is a {type(value).__name__}, not a text or a number")
            if isinstance(value, float) and value.is_integer() and name != "value":
                value = int(value)
            codes[name].append(known[name].setdefault(rows.whole(str(value)), len(known[name])))
    used = [name for name in COLUMNS if name in column_of]
    return {name: _dictionary(codes[name], list(known[name])) for name in used}, list(map(trimmed, names))


def _dictionary(codes: array[int], values: list[str]) -> Any:
    import pyarrow as pa

    numbers = np.frombuffer(codes, dtype=np.int32) if codes else np.empty(0, dtype=np.int32)
    indices = pa.array(numbers, mask=numbers < 0)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))])
