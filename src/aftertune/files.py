"""Files that are whole or absent, and folders for their owner only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aftertune.errors import StoreError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_ADVICE = {
    errno.ENOENT: "make the folder that it is in",
    errno.ENOTDIR: "give a path in a folder",
    errno.EEXIST: "give a path where nothing is yet",
    errno.EISDIR: "give the path of a file",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "give a path without that link",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "allow larger files",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}


def why_not(path: Path | str, what: str, error: OSError) -> str:
    """Return the line that says what could not be done, where, why, and what to do."""
    why = error.strerror or str(error)
    return f"{path}: {what}: {why}; {_ADVICE.get(error.errno or 0, 'fix that')} and run the same command again"


@contextlib.contextmanager
def writing(path: Path, what: str = "cannot write") -> Iterator[None]:
    """Raise StoreError, in one line, for what the system refuses inside: a full disk, a read-only folder."""
    try:
        yield
    except OSError as error:
        raise StoreError(why_not(path, what, error)) from None


def no_file(path: Path) -> UsageError:
    """Return the error that says what is at a path where a file is wanted, and none is."""
    if path.is_dir():
        kind = "a run folder" if (path / "design.toml").is_file() else "a folder"
        return UsageError(f"{path}: {kind}, where a file is wanted: give a file in it")
    if path.exists():
        return UsageError(f"{path}: a device or pipe, where a file is wanted: save what comes from it as a file")
    return UsageError(f"{path}: {'a link to nothing' if path.is_symlink() else 'no such file'}")


def output(path: Path, *, endings: Sequence[str] = (), inputs: Sequence[Path] = ()) -> Path:
    """Return where a file goes that a user named, to be called before the work whose result it is to hold.

    A link is followed, so that it stays a link. Raises UsageError where no file can be: an empty path, a folder, a
    device, a pipe, a folder that is missing; for another ending than one of `endings`; and for one of `inputs`, which
    would be lost.
    """
    if not path.name:
        raise UsageError(f"'{path}': no name of a file to write")
    if endings and path.suffix.lower() not in endings:
        raise UsageError(f"{path}: unknown ending '{path.suffix}'; give one of {', '.join(endings)}")
    try:
        target = path.resolve()
        if target.exists():
            if not target.is_file():
                what = "a folder" if target.is_dir() else "a device or pipe"
                raise UsageError(f"{path}: {what}, where a file is to be written: give another path")
            if any(each.exists() and each.samefile(target) for each in inputs):
                raise UsageError(f"{path}: this file is what is read, and would be lost: give another path")
        elif not target.parent.is_dir():
            raise UsageError(f"{path}: no folder {target.parent} to write it in: make it, or give another path")
    except (OSError, RuntimeError) as error:  # a name too long, or links in a circle
        why = error.strerror if isinstance(error, OSError) else "links in a circle"
        raise UsageError(f"{path}: cannot write: {why}; give another path") from None
    return target


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, and on disk when this returns. Raises StoreError.

    A link at this path is replaced, as a file is. A device or a pipe is not.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise StoreError(f"{path}: cannot write: a device or pipe, not a file; give another path")
        try:
            with scratch.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise


def read_text(path: Path) -> str:
    """Return the text of a user's file. Raises UsageError where it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from None


def checksum(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_json(value: object) -> bytes:
    """Return a value as the bytes of a JSON file, in ASCII, one value a line."""
    return (json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1) + "\n").encode()


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only. Raises StoreError."""
    with writing(folder, "cannot make this folder"):
        for missing in reversed([folder, *(parent for parent in folder.parents if not parent.exists())]):
            missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would make the ones above readable for all


def whoami() -> str:
    """Return this process as it is known to others on the same file system: host and process id."""
    return f"{socket.gethostname()} {os.getpid()}"


_PATIENCE = 1.0
"""Seconds for which a lock is tried: whoever only looks whether a folder is held has it for a moment."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, and clear what one that was killed left half written.

    Raises StoreError where another process holds it, with its id, or reads it by `reading`.
    """
    with writing(folder, "cannot write here"):
        file = (folder / ".lock").open("ab+", buffering=0)
    with file:
        until = time.monotonic() + _PATIENCE
        while True:
            with writing(folder, "cannot lock this folder"):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise StoreError(_held(folder, _holder(folder))) from None
            time.sleep(0.05)
        with writing(folder, "cannot lock this folder"):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            for left in folder.glob(".*.part"):
                left.unlink(missing_ok=True)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)


def holder(folder: Path) -> str | None:
    """Return the id of the process that holds a folder; None where nobody does."""
    with _looking(folder) as free:
        return None if free else _holder(folder)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep a folder as it is while it is read: nobody holds it meanwhile. Raises StoreError where somebody does."""
    with _looking(folder) as free:
        if not free:
            raise StoreError(_held(folder, _holder(folder)))
        yield


@contextlib.contextmanager
def _looking(folder: Path) -> Iterator[bool]:
    """Give whether nobody holds a folder; if so, nobody can as long as this lasts."""
    try:
        file = (folder / ".lock").open("rb", buffering=0)
    except OSError:  # nobody ever held it
        yield True
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _holder(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / ".lock").read_text(errors="replace").strip() or "unknown"
    return "unknown"


def _held(folder: Path, who: str) -> str:
    by = "another process" if who == "unknown" else f"process {who}"
    return f"{folder}: {by} works in this run; wait for it, or use another folder"


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a Parquet file's table, or some of its columns.

    `pyarrow.parquet.read_table` would load Arrow's data sets first, and with them pandas where it is installed: a third
    of the time that a command takes to start. Raises pyarrow.ArrowException and OSError.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(None if columns is None else list(columns))
