"""The columns of a table of verdicts as integer codes, read by Arrow and checked, with errors that name the line."""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.ingest import logs

Ints = NDArray[np.int64]

REQUIRED = ("checkpoint", "prompt", "metric", "value")
OPTIONAL = ("cluster", "seed", "repeat", "judge", "worse", "message_hash")
COLUMNS = (*REQUIRED, *OPTIONAL)

Given = str | Path | Sequence[str | Path]
"""A table or log, or several; `NAME=PATH` calls what one of them holds by another name."""


class Source:
    """The columns of a table as codes into their values, and where each row stands in its file."""

    def __init__(self, given: Given) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.codes: dict[str, Ints] = {}
        self._values: dict[str, list[Any]] = {}
        self.warnings: list[str] = []
        self._parts: list[tuple[Path, int]] = []
        columns = self._read([given] if isinstance(given, (str, Path)) else given)
        for name, column in columns.items():
            if pa.types.is_floating(column.type) and name not in ("value", "seed"):
                column = _whole(column)
            if pa.types.is_dictionary(column.type) and any(chunk.dictionary.null_count for chunk in column.chunks):
                column = column.cast(column.type.value_type)
            if not pa.types.is_dictionary(column.type):
                column = column.dictionary_encode()
            column = column.unify_dictionaries().combine_chunks()
            values = column.dictionary.to_pylist()
            codes = pc.fill_null(pc.cast(column.indices, "int64"), len(values)).to_numpy(zero_copy_only=False)
            if name not in ("value", "seed"):
                values = [None if value in (None, "") else str(value) for value in values]
            self.codes[name], self._values[name] = codes, [*values, None]
        self.rows: Ints = np.arange(len(self.codes["value"]))
        for name in OPTIONAL:
            if name not in self.codes:
                self.codes[name], self._values[name] = np.zeros(self.rows.size, dtype=np.int64), [None]
        for name in COLUMNS:
            self._distinct(name)

    @property
    def path(self) -> str:
        """What was read, for messages."""
        return shown([path for path, _ in self._parts])

    def _read(self, given: Sequence[str | Path]) -> dict[str, Any]:
        """Return the columns of everything that was given, one below the other."""
        import pyarrow as pa

        tables = []
        for each in given:
            name, path = named(each)
            columns, warnings = _columns(path)
            self.warnings += warnings
            if name:
                columns = _called(path, columns, name)
            tables.append(columns)
            self._parts.append((path, len(columns["value"])))
        if len(tables) == 1:
            return tables[0]
        found = {}
        for name in COLUMNS:
            if any(name in columns for columns in tables):
                parts = [
                    _text(columns[name]) if name in columns else pa.chunked_array([pa.nulls(count, pa.string())])
                    for columns, (_, count) in zip(tables, self._parts, strict=True)
                ]
                found[name] = pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string())
        return found

    def _distinct(self, name: str) -> None:
        """Give equal values one code: a dictionary may hold a value twice, and two nulls are one."""
        places: dict[Any, int] = {}
        # 1 and true are one number, but no column should have to rely on it.
        code = [places.setdefault((type(value), value), len(places)) for value in self._values[name]]
        self.codes[name] = np.asarray(code, dtype=np.int64)[self.codes[name]]
        self._values[name] = [value for _, value in places]

    def values(self, name: str) -> list[Any]:
        """Return the values that the codes of a column point to."""
        return self._values[name]

    def present(self, name: str) -> list[Any]:
        """Return the values that occur in the rows kept, sorted."""
        return sorted(self._values[name][code] for code in np.unique(self.codes[name]))

    def keep(self, mask: NDArray[np.bool_]) -> None:
        """Keep some rows."""
        self.rows = self.rows[mask]
        self.codes = {name: codes[mask] for name, codes in self.codes.items()}

    def where(self, row: int) -> str:
        """Return file and line (Parquet and logs: row) of one of the rows kept."""
        ends = np.cumsum([count for _, count in self._parts])
        part = int(np.searchsorted(ends, self.rows[row], side="right"))
        path, count = self._parts[part]
        number = int(self.rows[row]) - (int(ends[part]) - count)
        if path.suffix == ".parquet" or logs.is_log(path):
            return f"{path}: row {number + 1:,}"
        line = next(itertools.islice(rows.iterate(path), number, None), (number + 2, {}))[0]
        return f"{path}:{line}"

    def refuse(self, name: str, bad: Callable[[Any], bool], why: str) -> None:
        """Raise DataError for the first row whose value in a column is bad."""
        codes = [code for code, value in enumerate(self._values[name]) if bad(value)]
        found = np.flatnonzero(np.isin(self.codes[name], codes)) if codes else np.empty(0)
        if found.size:
            value = self._values[name][self.codes[name][found[0]]]
            shown = "" if value in (None, "") else f" = '{str(value)[:40]}'"
            raise DataError(f"{self.where(int(found[0]))}: {name}{shown} {why}")

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, NaN where it is empty. Raises DataError for anything else."""
        self.refuse(name, lambda value: number_of(value) is None, "is not a number; give 0, 1 or a number, or leave it "
                    "empty where nothing could be judged")  # fmt: skip
        found = [number_of(value) for value in self._values[name]]
        return np.array([np.nan if number is None else number for number in found])[self.codes[name]]

    def joint(self, names: Sequence[str], *more: tuple[Ints, int]) -> Ints:
        """Return one code per row for the combination of columns (and of further codes with their number)."""
        code = np.zeros(self.rows.size, dtype=np.int64)
        size = 1
        for other, count in [*((self.codes[name], len(self._values[name])) for name in names), *more]:
            if size > 2**62 // max(count, 1):
                _, code = np.unique(code, return_inverse=True)
                size = int(code.max()) + 1
            code, size = code * count + other, size * count
        return code


def number_of(value: Any) -> float | None:
    """Return a value as a number, NaN where it is empty, None where it is no (finite) number."""
    if value is None:
        return np.nan
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in ("", "nan"):
            return np.nan
        if text.lower() in ("true", "false"):
            return float(text.lower() == "true")
        # Python reads "1_000" and the digits of all scripts as numbers; here that is a slip.
        if not re.fullmatch(r"[-+0-9.eE]+", text):
            return None
        value = text
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if abs(number) == np.inf else number


def _whole(column: Any) -> Any:
    """Return 3.0 as 3: a column of whole numbers with gaps is often written as one of floats."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(pc.if_else(pc.is_nan(column), None, column), pa.int64())
    except pa.ArrowException:
        return column


# ---------------------------------------------------------------------------------------------- files


def shown(given: Given) -> str:
    """Return what is read, for messages: the first of several."""
    first, *more = [given] if isinstance(given, (str, Path)) else given
    return f"{named(first)[1]}{f' and {len(more):,} more' if more else ''}"


def named(given: str | Path) -> tuple[str, Path]:
    """Return name and path of `NAME=PATH`; the name is empty where a file is called just so."""
    name, sign, path = str(given).partition("=")
    if isinstance(given, Path) or not sign or Path(given).exists():
        return "", Path(given)
    return name, Path(path)


def _called(path: Path, columns: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the columns with one name in `checkpoint`."""
    import pyarrow as pa

    if len(found := columns["checkpoint"].unique().drop_null()) > 1:
        raise UsageError(f"{path}: holds {len(found):,} checkpoints ({found[0]}, {found[1]}, ...): '{name}=' names one")
    return {**columns, "checkpoint": pa.chunked_array([pa.array([name] * len(columns["value"]), pa.string())])}


def _text(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        column = _whole(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())


def _columns(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the columns that are used, as Arrow columns, and warnings."""
    log = logs.open_log(path)
    if log is not None:
        found = logs.arrow(logs.verdict_columns(log))
        return found, log.warnings
    found, unused = _table(path)
    return found, [f"{path}: columns not used: {', '.join(unused)}"[:300]] if unused else []


def _table(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of a table that are used, and the names of the others."""
    import pyarrow as pa

    rows.check(path)
    try:
        found, names = _READERS[path.suffix](path) if path.suffix in _READERS else _row_by_row(path, "")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # Row by row: it names the line, or it can read what Arrow cannot (ids that are numbers here and text there).
        found, names = _row_by_row(path, str(error))
    for name in REQUIRED:
        if name not in found:
            there = ", ".join(map(str, names))[:200] or "none"
            raise DataError(f"{path}: no column '{name}' (there: {there}); it needs {', '.join(REQUIRED)}")
    twice = next((name for name in COLUMNS if names.count(name) > 1), None)
    if twice:
        raise DataError(f"{path}: the column '{twice}' stands twice; rename one")
    if len(found["value"]) == 0:
        raise DataError(f"{path}: no rows in it")
    return found, [name for name in names if name not in COLUMNS]


def _csv(path: Path) -> tuple[dict[str, Any], list[str]]:
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(newlines_in_values=True)
    with csv.open_csv(path, parse_options=parse) as reader:
        names = list(reader.schema.names)
    used = [name for name in COLUMNS if name in names]
    # Dictionaries of 32 bit codes: a prompt's id is stored once.
    types = {name: pa.dictionary(pa.int32(), pa.string()) for name in used}
    options = csv.ConvertOptions(include_columns=used, column_types=types, strings_can_be_null=False)
    if not used:
        return {}, names
    table = csv.read_csv(path, parse_options=parse, convert_options=options)
    return {name: table.column(name) for name in used}, names


def _parquet(path: Path) -> tuple[dict[str, Any], list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(pq.read_schema(path).names)
    used = [name for name in COLUMNS if name in names]
    if any(names.count(name) > 1 for name in used):
        return dict.fromkeys(used, ()), names
    table = pq.read_table(path, columns=used)
    for name in used:
        kind = table.schema.field(name).type
        if pa.types.is_nested(kind):
            raise DataError(f"{path}: the column '{name}' holds {kind}, not texts or numbers")
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            table = table.set_column(table.schema.get_field_index(name), name, table.column(name).cast(pa.string()))
    return {name: table.column(name) for name in used}, names


_READERS = {".csv": _csv, ".parquet": _parquet}
"""Arrow's reader of JSON is not among them: there are files that end its process."""


def _row_by_row(path: Path, why: str) -> tuple[dict[str, Any], list[str]]:

    if path.suffix == ".parquet":
        raise DataError(f"{path}: not a readable Parquet file: {why[:120]}")
    names: dict[str, None] = {}
    # Codes of 32 bits: a value that stands in many rows is held once.
    codes: dict[str, array[int]] = {name: array("i") for name in COLUMNS}
    known: dict[str, dict[str, int]] = {name: {} for name in COLUMNS}
    for line, row in rows.iterate(path):
        if not row.keys() <= names.keys():
            names |= dict.fromkeys(row)
        for name in COLUMNS:
            value = row.get(name)
            if value is None:
                if path.suffix == ".csv" and name in row:
                    raise DataError(f"{path}:{line}: fewer values than columns: no {name}")
                codes[name].append(-1)
                continue
            if isinstance(value, (list, dict)):
                raise DataError(f"{path}:{line}: {name} is a {type(value).__name__}, not a text or a number")
            if isinstance(value, float) and value.is_integer() and name != "value":
                value = int(value)
            codes[name].append(known[name].setdefault(rows.whole(str(value)), len(known[name])))
    return {name: _coded(codes[name], list(known[name])) for name in names if name in COLUMNS}, [*names]


def _coded(codes: array[int], values: list[str]) -> Any:
    import pyarrow as pa

    found = np.frombuffer(codes, dtype=np.int32) if codes else np.empty(0, dtype=np.int32)
    indices = pa.array(found, mask=found < 0)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(indices, pa.array(values, pa.string()))])
