"""Answers of bases that runs share: what a base says to a benchmark depends on nothing that anybody tuned.

An entry is a folder named by the hash of everything that decides the answers: the base's identity, the benchmark's
prompts, how they are asked, the backend, and the machine and libraries that answer (`Backend.environment`). It holds
the answers, and a manifest with their checksum that is written last. Nothing made from tuning data is ever put here.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aftertune.errors import StoreError
from aftertune.files import checksum, make_folder, read_parquet, write, writing
from aftertune.run.checksums import seal, unseal

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
SWITCH = "AFTERTUNE_SHARE"
"""Environment variable; `off` shares nothing."""


@dataclass(frozen=True)
class Entry:
    """The answers of one base to one benchmark."""

    responses: pa.Table
    """Columns of `records.Response`; `base` is what the run that asked called it."""
    info: Mapping[str, Any]
    """What the job that asked told its manifest."""
    since: str
    """When they were given, ISO 8601."""


@dataclass(frozen=True)
class SharedAnswers:
    """A folder of entries, safe for several processes on one file system."""

    root: Path

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        """Hold an entry: whoever comes second waits until the first has asked, and then finds the answers.

        A process that is killed lets go; the next one asks. Raises StoreError where the folder cannot be written.
        """
        make_folder(self.root)
        with writing(self.root, "cannot write the shared answers (--no-cache does without)"):
            file = (self.root / f"{key}.lock").open("ab")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def read(self, key: str) -> Entry | None:
        """Return an entry; None where there is none, or where it is damaged and must be made again."""
        import pyarrow as pa

        folder = self.root / key
        try:
            manifest = unseal((folder / "manifest.json").read_bytes())
            table = folder / "responses.parquet"
            if manifest["format"] != FORMAT or checksum(table) != manifest["sha256"]:
                return None
            return Entry(read_parquet(table), manifest["info"], manifest["since"])
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None

    def write(self, key: str, responses: pa.Table, info: Mapping[str, Any]) -> None:
        """Write an entry, whole or not at all. Raises StoreError, e.g. for a full disk."""
        import pyarrow.parquet as pq

        folder = self.root / key
        make_folder(folder)
        path, scratch = folder / "responses.parquet", folder / f".responses.{os.getpid()}.part"
        with writing(folder):
            (folder / "manifest.json").unlink(missing_ok=True)
            pq.write_table(responses, scratch, compression="zstd")
            scratch.replace(path)
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        fields = {"format": FORMAT, "since": since, "sha256": checksum(path), "info": info}
        write(folder / "manifest.json", seal(fields))


def shared_answers(folder: str) -> SharedAnswers | None:
    """Return the shared answers in a folder; None where it is empty, or where the environment switches them off."""
    if not folder or os.environ.get(SWITCH, "").lower() == "off":
        return None
    path = Path(folder).expanduser()
    if path.exists() and not path.is_dir():
        raise StoreError(f"{folder}: is not a folder; give another to --cache, or --no-cache")
    return SharedAnswers(path)
