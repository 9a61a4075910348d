"""The journal of a job while it runs: one record a line, each with a checksum of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from aftertune.files import write
from aftertune.records import Json, plain
from aftertune.run.checksums import sum_of

Row = TypeVar("Row")
SHORT = 64
"""Characters below which equal texts of a journal become one object: most columns hold few different ones."""


def lines(rows: Sequence[object]) -> bytes:
    """Return records as lines of a journal."""
    text = []
    for row in rows:
        fields: dict[str, Json] = plain(row)
        text.append(json.dumps({**fields, "#": sum_of(fields)}, ensure_ascii=True, allow_nan=False) + "\n")
    return "".join(text).encode()


def read(path: Path, cls: type[Row]) -> list[Row]:
    """Return the records of a journal, none where there is no such file.

    A line that a crash cut off or that was damaged is dropped, from the file too. Raises StoreError where it cannot be
    written.
    """
    if not path.is_file():
        return []
    names = {field.name for field in dataclasses.fields(cast(Any, cls))}
    once: dict[str, str] = {}
    with path.open("rb") as file:
        rows = [_record(cls, line, names, once) for line in file]
    if None in rows:
        with path.open("rb") as file:
            whole = [line for line, row in zip(file, rows, strict=True) if row is not None]
        write(path, b"".join(whole))
    return [row for row in rows if row is not None]


def _record(cls: type[Row], line: bytes, names: set[str], once: dict[str, str]) -> Row | None:
    try:
        row = json.loads(line)
        check = row.pop("#")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    if not line.endswith(b"\n") or set(row) != names or check != sum_of(row):
        return None
    return cls(**{k: once.setdefault(v, v) if isinstance(v, str) and len(v) < SHORT else v for k, v in row.items()})
