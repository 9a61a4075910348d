"""The folder of one job: a journal while it grows, tables and a manifest when it is done.

While a folder grows it holds a journal, one JSON row a line, flushed to disk; when it is done its tables are Parquet,
and its manifest, with a checksum per file, is written last: a manifest means complete. Personal data lives here, so
folders are for their owner only.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aftertune.errors import StoreError
from aftertune.files import as_json, checksum, make_folder, whoami, write, writing
from aftertune.records import plain
from aftertune.run import journal
from aftertune.run.checksums import seal, unseal
from aftertune.run.journal_writer import SECONDS, JournalWriter

if TYPE_CHECKING:
    import pyarrow as pa

Row = TypeVar("Row")
FORMAT = 2
"""Of the run folder; a run of another format is refused."""
_WRITER = "writer"
"""File in a job's folder while the job runs, with the process that may write there."""
_JOURNAL = "journal"
"""Without a suffix, as the writer's: a file of data has one, whatever an arm is called."""
_WHILE_IT_GROWS = (_JOURNAL, _WRITER)


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """The folder of one job."""

    path: Path

    @property
    def complete(self) -> bool:
        """Whether the manifest is there."""
        return (self.path / "manifest.json").is_file()

    def start(self, *, keep_journal: bool = True) -> None:
        """Prepare the folder for writing: delete everything that an interrupted attempt left, except its journal."""
        make_folder(self.path)
        with writing(self.path, "cannot clear what an interrupted attempt left"):
            for item in self.path.iterdir():
                if item.is_dir():
                    shutil.rmtree(item)
                elif not (keep_journal and item.name == _JOURNAL):
                    item.unlink()
        write(self.path / _WRITER, whoami().encode())

    def _own(self) -> None:
        """Refuse to write where another process has started over, as on a cluster after a node was declared lost."""
        if self.complete:
            raise StoreError(f"{self.path}: finished by another process meanwhile")
        try:
            who = (self.path / _WRITER).read_text()
        except OSError:
            return
        if who != whoami():
            raise StoreError(f"{self.path}: process {who} has taken this over; this one stops")

    def append(self, rows: Sequence[object]) -> None:
        """Add records to the journal, flushed to disk. Raises StoreError, e.g. for a full disk."""
        self._own()
        lines = journal.lines(rows)
        with writing(self.path, "cannot write the journal"), (self.path / _JOURNAL).open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def writer(self, *, seconds: float = SECONDS, most: int = 0) -> JournalWriter:
        """Return a writer that adds records within `seconds` of their being finished; see `JournalWriter`."""
        return JournalWriter(self.append, seconds=seconds, most=most)

    def journal(self, cls: type[Row]) -> list[Row]:
        """Return the journal's records. A line that was cut off by a crash, or damaged, is left out."""
        return journal.read(self.path / _JOURNAL, cls)

    def finish(
        self,
        *,
        tables: Mapping[str, pa.Table] | None = None,
        documents: Mapping[str, object] | None = None,
        info: Mapping[str, object] | None = None,
    ) -> None:
        """Write tables (Parquet) and documents (JSON), then the manifest with a checksum of every file."""
        import pyarrow.parquet as pq

        self._own()
        for name, data in (tables or {}).items():
            scratch = self.path / f".{name}.part"
            with writing(self.path, f"cannot write {name}"):
                with scratch.open("wb") as file:
                    pq.write_table(data, file, compression="zstd")
                    file.flush()
                    os.fsync(file.fileno())
                scratch.replace(self.path / f"{name}.parquet")
        for name, document in (documents or {}).items():
            write(self.path / f"{name}.json", as_json(plain(document)))
        files = sorted(item for item in self.path.rglob("*") if item.is_file() and item.name not in _WHILE_IT_GROWS)
        with writing(self.path, "cannot finish"):
            sums = {str(item.relative_to(self.path)): checksum(item) for item in files}
        stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        manifest = {"format": FORMAT, "finished": stamp, "info": plain(info or {}), "files": sums}
        write(self.path / "manifest.json", seal(manifest))
        self.tidy()  # the journal goes last: until there is a manifest, it is all that there is

    def tidy(self) -> None:
        """Delete from the folder of a finished job what was needed while it ran."""
        with writing(self.path, "cannot tidy"):
            for name in _WHILE_IT_GROWS:
                (self.path / name).unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        """Return the `info` that `finish` stored. Raises StoreError for a damaged manifest."""
        info = self._manifest()["info"]
        assert isinstance(info, dict)
        return info

    def _manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        try:
            manifest = unseal(path.read_bytes())
            if isinstance(manifest["info"], dict) and isinstance(manifest["files"], dict):
                return manifest
        except FileNotFoundError:
            raise StoreError(f"{self.path}: not done yet; run the same command again") from None
        except (OSError, ValueError, KeyError):
            pass
        raise StoreError(f"{path}: damaged; delete {self.path} and run the same command again")

    def verify(self) -> str | None:
        """Return the name of the first file that is missing or differs from its checksum, or None."""
        try:
            sums = self._manifest()["files"]
        except StoreError:
            return "manifest.json"
        for name, expected in sums.items():
            path = self.path / name
            if not path.is_file() or checksum(path) != expected:
                return str(name)
        return None

    def read(self, name: str, columns: Sequence[str] | None = None, *, coded: bool = False) -> pa.Table:
        """Return a table of a finished job, or those of `columns` that it has; `coded` keeps texts as dictionaries.

        Its checksum is checked first. Raises StoreError where it is damaged.
        """
        import pyarrow.parquet as pq

        path = self._checked(f"{name}.parquet")
        fields = [field for field in pq.read_schema(path) if columns is None or field.name in columns]
        texts = [field.name for field in fields if coded and field.type == "string"]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            return file.read([field.name for field in fields])

    def document(self, name: str) -> Any:
        """Return a document of a finished job, after checking it. Raises StoreError where it is damaged."""
        return json.loads(self._checked(f"{name}.json").read_bytes())

    def _checked(self, name: str) -> Path:
        path = self.path / name
        expected = self._manifest()["files"].get(name)
        if expected is None or not path.is_file() or checksum(path) != expected:
            raise StoreError(f"{path}: damaged or missing; delete {self.path} and run the same command again")
        return path
