"""A registry as a file: JSON lines after a header that names its kind and its hash.

First line: `{"aftertune": "registry", "version": 2, "name", "id", "entries", "source", "names_not_looked_for"}`, where
`source` is the SHA-256 of the file that it was made from, or null for a folder, and `names_not_looked_for` counts its
messages that are not English by their language. Each further line is one entry: `type, value, owner, count`, and
`positions` as `[row, message, start, end, field]`. The file holds personal values and is written for its owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, StoreError, UsageError
from aftertune.files import no_file
from aftertune.pii.registry import Entry, Position, Registry

VERSION = 2
_KIND = "registry"


def save(registry: Registry, path: Path, source: Path | None = None) -> None:
    """Write a registry, whole or not at all, readable by its owner only. Raises StoreError."""
    header = {
        "aftertune": _KIND,
        "version": VERSION,
        "name": registry.name,
        "id": registry.id,
        "entries": len(registry),
        "source": None if source is None else _sha256(source),
        "names_not_looked_for": dict(registry.outside),
    }
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(json.dumps(header) + "\n")
            for entry in registry.entries:
                row = {"type": entry.type, "value": entry.value, "owner": entry.owner, "count": len(entry.positions)}
                file.write(json.dumps({**row, "positions": entry.positions}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot write: {error.strerror}; mend that and run the same command again") from None
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def load(path: Path) -> Registry:
    """Return the registry that `save` wrote.

    Raises UsageError for a missing file, DataError (file, line) for one that is no registry, of another version or
    damaged; no message shows a value.
    """
    if not path.is_file():
        raise no_file(path)
    entries: list[Entry] = []
    header: dict[str, Any] | None = None
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if header is None:
                    header = _header(line, path)
                else:
                    entries.append(_entry(line, f"{path}:{number}"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}: damaged; make it again") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
    if header is None:
        raise DataError(f"{path}: empty; make it with `aftertune pii registry FILE -o {path.name}`")
    if len(entries) != header.get("entries"):
        raise DataError(f"{path}: damaged: it holds {len(entries)} of {header.get('entries')} entries; make it again")
    registry = Registry(str(header.get("name", "source")), tuple(entries), _counts(header, path))
    if registry.id != header.get("id"):
        raise DataError(f"{path}: damaged: its content does not match its hash {header.get('id')}; make it again")
    return registry


def _header(line: str, path: Path) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("aftertune") != _KIND:
        raise DataError(f"{path}:1: not a registry; make one with `aftertune pii registry FILE -o REG`")
    if header.get("version") != VERSION:
        raise DataError(f"{path}:1: a registry of version {header.get('version')}; this program reads {VERSION}")
    return header


def _counts(header: Mapping[str, Any], path: Path) -> dict[str, int]:
    counts = header.get("names_not_looked_for", {})
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        raise DataError(f"{path}:1: damaged: names_not_looked_for holds no counts; make it again")
    return counts


def _entry(line: str, where: str) -> Entry:
    try:
        row = json.loads(line)
        texts = (row["type"], row["value"], row["owner"])
        positions = tuple(Position(*position) for position in row["positions"])
        if not all(isinstance(text, str) for text in texts) or len(positions) != row["count"]:
            raise ValueError
        if not all(isinstance(number, int) and number >= 0 for position in positions for number in position[:4]):
            raise ValueError
        if not all(isinstance(position.field, str) for position in positions):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{where}: damaged: not an entry of a registry; make it again") from None
    return Entry(texts[0], texts[1], texts[2], positions)


def _sha256(path: Path) -> str | None:
    if path.is_dir():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
