"""Jobs that do nothing by themselves, for tests of what runs jobs: the work given to an executor does something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run


@dataclass(frozen=True, kw_only=True)
class Piece(Job):
    KIND: ClassVar[str] = "k"

    def run(self, run: Run, folder: JobFolder) -> Output:
        return Output()


def piece(id_: str, *after: str, kind: str = "k", label: str = "", accelerator: bool = False) -> Piece:
    return Piece(kind=kind, id=id_, after=after, label=label, accelerator=accelerator)


JOBS = [piece("d", "b", "c"), piece("b", "a"), piece("c", "a"), piece("a"), piece("e")]
