"""A piece of work with one output folder and one writer: what an executor runs, and what a run folder holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from aftertune.run.job_folder import JobFolder
    from aftertune.run.run_folder import Run


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What is known of a job without doing it: enough to schedule it, to find its folder, and to show where it stands."""

    kind: str
    """Name of the folder in the run that holds the jobs of this kind, e.g. `responses`."""
    id: str
    """Hash of everything that decides what comes out."""
    after: tuple[str, ...] = ()
    """Ids of the jobs that must be complete first."""
    cost: float = 1.0
    """Relative, for the order of work and the time left."""
    label: str = ""
    """For people: e.g. `tune keep seed 3`."""
    accelerator: bool = False
    """Whether it runs a model: an executor gives it a GPU where there is one."""
    alike: str = ""
    """Jobs of a kind that share it take about the same time: e.g. the judge's name."""


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
        )
