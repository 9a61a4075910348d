"""The run folder: the only file that writes or reads what stands beside the jobs' folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aftertune.errors import StoreError, UsageError
from aftertune.files import hold, make_folder, write, writing
from aftertune.records import plain
from aftertune.run.checksums import seal, seal_text, unseal, whole_text
from aftertune.run.job_folder import FORMAT, JobFolder
from aftertune.studies import design as designs
from aftertune.studies.design import Design

MARKER = "export.json"
"""Stands in a copy that was made to be shared, which is no run folder."""


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

    def job(self, kind: str, id: str) -> JobFolder:
        """Return the folder of a job, which need not exist yet."""
        return JobFolder(self.root / kind / id)

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
