"""Files that are whole or absent, and folders for their owner only."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from pathlib import Path

from aftertune.errors import StoreError


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, and on disk when this returns. Raises StoreError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot write: {error.strerror}; mend that and run the same command again") from None


def checksum(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_json(value: object) -> bytes:
    """Return a value as the bytes of a JSON file, in ASCII, one value a line."""
    return (json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1) + "\n").encode()


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only. Raises StoreError."""
    try:
        for missing in reversed([folder, *(parent for parent in folder.parents if not parent.exists())]):
            missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would make the ones above readable for all
    except OSError as error:
        raise StoreError(f"{folder}: cannot make this folder: {error.strerror}") from None


def whoami() -> str:
    """Return this process as it is known to others on the same file system: host and process id."""
    return f"{socket.gethostname()} {os.getpid()}"
