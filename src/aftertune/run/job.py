"""A piece of work with one output folder and one writer: what an executor runs, and what a run folder holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aftertune.run.job_folder import JobFolder
from aftertune.run.job_record import JobRecord
from aftertune.run.run_folder import Run


@dataclass(frozen=True)
class Output:
    """What a job came to: everything goes into its folder, the manifest last."""

    tables: Mapping[str, Any] = field(default_factory=dict)
    """Name -> Arrow table."""
    documents: Mapping[str, object] = field(default_factory=dict)
    """Name -> JSON value or record."""
    info: Mapping[str, object] = field(default_factory=dict)
    """Of the manifest: what is worth knowing without opening a table."""


@dataclass(frozen=True, kw_only=True)
class Job(JobRecord, ABC):
    """A kind of work is one subclass, in one file of its stage: a frozen record that an executor can send elsewhere."""

    KIND: ClassVar[str]

    @abstractmethod
    def run(self, run: Run, folder: JobFolder) -> Output:
        """Do the work: read what the jobs before it left in `run`, and return what comes out.

        `folder` is this job's own and begun; its journal holds what an interrupted attempt had finished. Raises
        AftertuneError for what went wrong on purpose.
        """

    @property
    def record(self) -> JobRecord:
        """What is known of it without doing it."""
        return JobRecord(
            kind=self.kind,
            id=self.id,
            after=self.after,
            cost=self.cost,
            label=self.label,
            accelerator=self.accelerator,
            alike=self.alike,
            loads=self.loads,
        )
