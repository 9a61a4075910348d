"""Files that carry a checksum, and the checksums of a run's results: they show which file was damaged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aftertune.errors import StoreError
from aftertune.files import as_json, checksum, write

RESULTS = "results.json"
"""Beside the jobs' folders: result file -> its SHA-256; written after the results."""


def sum_of(fields: Mapping[str, object]) -> str:
    """Return the checksum of a JSON object, 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, ensure_ascii=True).encode()).hexdigest()[:12]


def seal(fields: Mapping[str, object]) -> bytes:
    """Return an object as the bytes of a JSON file that carries its own checksum, as `#`."""
    return as_json({**fields, "#": sum_of(fields)})


def unseal(data: bytes) -> dict[str, Any]:
    """Return the object of a file that `seal` made, or that an earlier version wrote without a checksum.

    Raises ValueError for one that was damaged.
    """
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("no object")
    check = fields.pop("#", None)
    if check is not None and check != sum_of(fields):
        raise ValueError("not what was written")
    return fields


_SEAL = b"# checksum "


def seal_text(text: str) -> bytes:
    """Return a text in which `#` begins a comment, with a last line that holds its checksum."""
    data = text.encode()
    return data + _SEAL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def unseal_text(data: bytes) -> str:
    """Return the text that `seal_text` was given. Raises ValueError for one that was damaged, or edited since."""
    text, seal, check = data.rpartition(_SEAL)
    if not seal or hashlib.sha256(text).hexdigest().encode() + b"\n" != check:
        raise ValueError("not what was written")
    return text.decode()


def record(root: Path, names: Iterable[str]) -> None:
    """Write the checksums of a run's result files. Raises StoreError."""
    write(root / RESULTS, seal({"files": {name: checksum(root / name) for name in sorted(names)}}))


def check(root: Path, name: str) -> Path:
    """Return the path of a result file that is unchanged, or whose checksum was not recorded.

    Raises StoreError where it is missing or differs, e.g. where a run was stopped between two of them.
    """
    path, record = root / name, root / RESULTS
    try:
        expected = unseal(record.read_bytes())["files"].get(name) if record.is_file() else None
        if expected is None or checksum(path) == expected:
            return path
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    raise StoreError(f"{path}: damaged, or stopped while it was made; `aftertune report {root}` makes it again")
