"""The run folder: the only file that writes or reads what stands beside the jobs' folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.errors import StoreError, UsageError
from aftertune.files import hold, make_folder, write, writing
from aftertune.records import plain
from aftertune.run.checksums import seal, seal_text, unseal, unseal_text
from aftertune.run.job_folder import FORMAT, JobFolder
from aftertune.run.job_record import JobRecord

MARKER = "export.json"
"""Stands in a copy that was made to be shared, which is no run folder."""
DESIGN, STUDY, FACTS = "design.toml", "study.json", "run.json"
"""What a person asked for; what it was resolved to; versions, hardware and time of the start."""


@dataclass(frozen=True)
class Run:
    """A run folder. It stands alone: nothing outside it is needed to read it."""

    root: Path

    @classmethod
    def create(cls, root: Path, design_id: str, facts: Mapping[str, object]) -> Run:
        """Make a new run folder for a design.

        Raises UsageError where something else is there, StoreError where it cannot be written.
        """
        if root.exists() and not (root.is_dir() and _is_fresh(root, design_id)):
            raise UsageError(f"{root}: exists and is not a run folder; choose another with -o")
        make_folder(root)
        with writing(root):
            root.chmod(0o700)
        write(root / FACTS, seal({"format": FORMAT, "design": design_id, **plain(facts)}))
        return cls(root)

    @classmethod
    def exists(cls, root: Path) -> bool:
        """Return whether there is a run folder, of whatever format and state."""
        return (root / DESIGN).is_file()

    @classmethod
    def open(cls, root: Path) -> Run:
        """Open a run folder. Raises UsageError where there is none, StoreError where it is of another format."""
        if (root / MARKER).is_file():
            raise UsageError(
                f"{root}: a copy for reading that `aftertune export` made: open its report.html; what else there is, "
                f"{MARKER} says. Use the run that it was made from for anything more"
            )
        if not cls.exists(root):
            raise UsageError(f"{root}: not a run folder (no {DESIGN} in it)")
        run = cls(root)
        version = run.facts().get("format")
        if version != FORMAT:
            raise StoreError(f"{root}: a run folder of format {version}, and this version reads {FORMAT}")
        return run

    def design_text(self) -> str:
        """Return the design as TOML. Raises StoreError where the file is not as the run wrote it."""
        path = self.root / DESIGN
        try:
            return unseal_text(path.read_bytes())
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
        except ValueError:
            raise StoreError(f"{path}: not as the run wrote it; put a copy back, or use another folder") from None

    def write_design(self, text: str) -> None:
        """Write the design. Raises StoreError."""
        write(self.root / DESIGN, seal_text(text))

    def study_fields(self) -> dict[str, Any]:
        """Return the resolved study as it was written. Raises StoreError for a damaged file."""
        return self._sealed(STUDY)

    def write_study(self, fields: Mapping[str, object]) -> None:
        """Write the resolved study. Raises StoreError."""
        write(self.root / STUDY, seal(fields))

    def facts(self) -> dict[str, Any]:
        """Return what the run recorded of its surroundings. Raises StoreError for a damaged file."""
        return self._sealed(FACTS)

    def _sealed(self, name: str) -> dict[str, Any]:
        try:
            return unseal((self.root / name).read_bytes())
        except (OSError, ValueError):
            why = "damaged or missing; put a copy back, or use another folder"
            raise StoreError(f"{self.root / name}: {why}") from None

    def job(self, job: JobRecord) -> JobFolder:
        """Return the folder of a job, which need not exist yet."""
        return self.folder(job.kind, job.id)

    def folder(self, kind: str, id: str) -> JobFolder:
        """Return the folder of the job of a kind and id, which need not exist yet."""
        return JobFolder(self.root / kind / id)

    def keep(self, name: str, data: bytes) -> Path:
        """Write a result file (a report, the drifts) beside the jobs' folders and return its path."""
        path = self.root / name
        write(path, data)
        return path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises StoreError where another process works in it."""
        with hold(self.root):
            yield


def _is_fresh(root: Path, design_id: str) -> bool:
    """Return whether a folder without a design is empty, or holds what a process left that was killed at its start."""
    names = {item.name for item in root.iterdir() if not item.match(".*.part")}
    if not names:
        return True
    return names <= {FACTS, STUDY, ".lock"} and FACTS in names and design_id.encode() in (root / FACTS).read_bytes()
