"""The run folder: the only file that writes or reads one.

A cell (a variant, a tuning, the responses of a checkpoint, a judge's verdicts) has one folder. While it grows it holds
a journal, one JSON row a line, flushed to disk; when it is done its tables are Parquet, and its manifest, with a
checksum per file, is written last: a manifest means complete. Personal data lives here, so folders are for their owner
only.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import re
import shutil
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aftertune.design import study as designs
from aftertune.design.study import Design
from aftertune.errors import StoreError, UsageError
from aftertune.records import plain
from aftertune.store import journal
from aftertune.store.files import as_json, checksum, hold, make_folder, whoami, write, writing
from aftertune.store.sealed import seal, seal_text, unseal, whole_text

if TYPE_CHECKING:
    import pyarrow as pa

Row = TypeVar("Row")
FORMAT = 1
"""Of the run folder; a run of another format is refused."""
MARKER = "export.json"
"""Stands in a copy that was made to be shared, which is no run folder."""
_WRITER = "writer"
"""Stands in a cell's folder while it grows, with the process that may write there."""
_WHILE_IT_GROWS = ("journal.jsonl", _WRITER)


# ---------------------------------------------------------------------------------------------- tables


def schema(cls: type[Any]) -> pa.Schema:
    """Return the Arrow schema of a record's table: its fields in order, nullable where None may be."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    columns = []
    for name, hint in typing.get_type_hints(cls).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        nullable = type(None) in options
        kept = next(option for option in options if option is not type(None))
        kind = str if typing.get_origin(kept) is typing.Literal else kept
        columns.append(pa.field(name, kinds[kind], nullable=nullable))
    return pa.schema(columns)


def table(cls: type[Any], rows: Sequence[Any]) -> pa.Table:
    """Return records of class `cls` as an Arrow table (rows x fields)."""
    import pyarrow as pa

    shape = schema(cls)
    return pa.table(
        [_column([getattr(row, name) for row in rows], shape.field(name).type) for name in shape.names], shape
    )


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:  # lone surrogates, which UTF-8 cannot hold: each becomes U+FFFD
        return pa.array(
            [re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", v) if v else v for v in values], type=kind
        )


def records(cls: type[Row], rows: pa.Table) -> list[Row]:
    """Return a table's rows as records of class `cls`; a column of a later version keeps its default."""
    later = {f.name for f in dataclasses.fields(cast(Any, cls)) if f.default is not dataclasses.MISSING}
    names = [name for name in schema(cls).names if name in rows.column_names or name not in later]
    columns = [_shared(rows.column(name)) for name in names]
    return [cls(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _shared(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values; equal texts are one object, since most columns of a cell hold few."""
    if column.type != "string":
        return list(column.to_pylist())
    coded = column.combine_chunks().dictionary_encode()
    values = [*coded.dictionary.to_pylist(), None]
    return [values[-1 if code is None else code] for code in coded.indices.to_pylist()]


# ---------------------------------------------------------------------------------------------- cells


@dataclasses.dataclass(frozen=True)
class CellFolder:
    """The folder of one cell."""

    path: Path

    @property
    def complete(self) -> bool:
        """Whether the manifest is there."""
        return (self.path / "manifest.json").is_file()

    def start(self, *, keep_journal: bool = True) -> None:
        """Make the folder ready for writing: whatever an interrupted attempt left is cleared, but for its journal."""
        make_folder(self.path)
        with writing(self.path, "cannot clear what an interrupted attempt left"):
            for item in self.path.iterdir():
                if item.is_dir():
                    shutil.rmtree(item)
                elif not (keep_journal and item.name == "journal.jsonl"):
                    item.unlink()
        write(self.path / _WRITER, whoami().encode())

    def _own(self) -> None:
        """Refuse to write where another process has begun anew, as on a cluster after a node was given up as lost."""
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
        with writing(self.path, "cannot write the journal"), (self.path / "journal.jsonl").open("ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def journal(self, cls: type[Row]) -> list[Row]:
        """Return the journal's records. A line that a crash tore or that was damaged is left out, to be made again."""
        return journal.read(self.path / "journal.jsonl", cls)

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
        self.tidy()  # the journal goes last: without a manifest it is all that there is

    def tidy(self) -> None:
        """Remove from a finished cell what was needed while it grew."""
        with writing(self.path, "cannot tidy"):
            for name in _WHILE_IT_GROWS:
                (self.path / name).unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        """Return what `finish` was told about the cell. Raises StoreError for a damaged manifest."""
        found = self._manifest()["info"]
        assert isinstance(found, dict)
        return found

    def _manifest(self) -> dict[str, Any]:
        path = self.path / "manifest.json"
        try:
            found = unseal(path.read_bytes())
            if isinstance(found["info"], dict) and isinstance(found["files"], dict):
                return found
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
        """Return a finished cell's table, or those of `columns` that it has; `coded` keeps texts as dictionaries.

        It is checked first. Raises StoreError where it is damaged.
        """
        import pyarrow.parquet as pq

        path = self._checked(f"{name}.parquet")
        fields = [field for field in pq.read_schema(path) if columns is None or field.name in columns]
        texts = [field.name for field in fields if coded and field.type == "string"]
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            return file.read([field.name for field in fields])

    def document(self, name: str) -> Any:
        """Return a document of a finished cell, after checking it. Raises StoreError where it is damaged."""
        return json.loads(self._checked(f"{name}.json").read_bytes())

    def _checked(self, name: str) -> Path:
        path = self.path / name
        expected = self._manifest()["files"].get(name)
        if expected is None or not path.is_file() or checksum(path) != expected:
            raise StoreError(f"{path}: damaged or missing; delete {self.path} and run the same command again")
        return path


# ---------------------------------------------------------------------------------------------- runs


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder."""

    root: Path

    @classmethod
    def create(cls, root: Path, design: Design, facts: Mapping[str, object]) -> Run:
        """Make a run folder, or open the one that is there to continue it.

        A run to which `aftertune judge` added judges since is still the same run: its own design holds them.

        Raises UsageError where the folder holds a run of another design or something else, StoreError where it cannot
        be written.
        """
        marker = root / "design.toml"
        if marker.is_file():
            there = cls.open(root).design()
            added = there.judges[: len(design.judges)] == design.judges
            if there.id != (dataclasses.replace(design, judges=there.judges).id if added else design.id):
                changed = [
                    f.name for f in dataclasses.fields(Design) if getattr(there, f.name) != getattr(design, f.name)
                ]
                raise UsageError(
                    f"{root}: holds a run of another design (different: {', '.join(changed)}); "
                    "choose another folder with -o"
                )
            shown = dataclasses.replace(there, tables=design.tables, cost=design.cost)
            if shown != there:  # what is only printed may change at any time
                cls(root).redesign(shown)
            return cls(root)
        if root.exists() and not (root.is_dir() and _begun(root, design)):
            raise UsageError(f"{root}: exists and is not a run folder; choose another with -o")
        make_folder(root)
        with writing(root):
            root.chmod(0o700)
        write(root / "run.json", seal({"format": FORMAT, "design": design.id, **plain(facts)}))
        cls(root).redesign(design)
        return cls(root)

    @classmethod
    def open(cls, root: Path) -> Run:
        """Open a run folder. Raises UsageError where there is none, StoreError where it is of another format."""
        if (root / MARKER).is_file():
            raise UsageError(
                f"{root}: a copy for reading that `aftertune export` made: open its report.html; what else there is, "
                f"{MARKER} says. Use the run that it was made from for anything more"
            )
        if not (root / "design.toml").is_file():
            raise UsageError(f"{root}: not a run folder (no design.toml in it)")
        run = cls(root)
        found = run.facts().get("format")
        if found != FORMAT:
            raise StoreError(f"{root}: a run folder of format {found}, and this version reads {FORMAT}")
        return run

    def design(self) -> Design:
        """Return the run's design. Raises UsageError or StoreError where the file was damaged."""
        path = self.root / "design.toml"
        found = designs.read(path)
        if not whole_text(path.read_bytes()):
            raise StoreError(f"{path}: not as the run wrote it; put a copy back, or use another folder")
        return found

    def redesign(self, design: Design) -> None:
        """Write the run's design. Raises StoreError."""
        write(self.root / "design.toml", seal_text(designs.dump(design)))

    def facts(self) -> dict[str, Any]:
        """Return what the run recorded of its surroundings. Raises StoreError for a damaged file."""
        try:
            return unseal((self.root / "run.json").read_bytes())
        except (OSError, ValueError):
            why = "damaged or missing; put a copy back, or use another folder"
            raise StoreError(f"{self.root / 'run.json'}: {why}") from None

    def cell(self, kind: str, id: str) -> CellFolder:
        """Return the folder of a cell, which need not exist yet."""
        return CellFolder(self.root / kind / id)

    def keep(self, name: str, data: bytes) -> Path:
        """Write a result file (a report, the drifts) beside the cells and return its path."""
        path = self.root / name
        write(path, data)
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises StoreError where another process works in it."""
        with hold(self.root):
            yield


def _begun(root: Path, design: Design) -> bool:
    """Return whether a folder without a design is empty, or holds what a process left that was killed at its start."""
    names = {item.name for item in root.iterdir() if not item.match(".*.part")}
    known = f'"design": "{design.id}"'.encode()
    return not names or (names == {"run.json"} and known in (root / "run.json").read_bytes())
