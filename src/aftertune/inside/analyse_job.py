"""The job that analyses: the stored activations of a base and of one checkpoint in, rows of a report out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aftertune.findings import InsideRow
from aftertune.inside import read_job
from aftertune.inside.read_job import ReadJob
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.models.subject import Subject
from aftertune.records import digest, seed_of
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

TABLE = "rows"


@dataclass(frozen=True, kw_only=True)
class AnalyseJob(Job):
    """Compare one checkpoint with its base by one analysis."""

    KIND: ClassVar[str] = "analyses"
    analysis: ResolvedAnalysis
    subject: Subject
    benchmark: str
    """Name of the benchmark whose prompts were read."""
    base_activations: str
    """Id of the job that read the base."""
    activations: str
    """Id of the job that read the checkpoint."""
    confidence: float
    seed: int
    """Fixes random draws: with the same seed, all subjects share them."""

    @classmethod
    def make(cls, label: str, *, base: ReadJob, tuned: ReadJob, confidence: float, seed: int) -> AnalyseJob:
        """Return the job that compares two readings of one analysis; `label` is the subject's name for people."""
        analysis = tuned.analysis
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, analysis.id, base.id, tuned.id, confidence, seed),
            after=(base.id, tuned.id),
            cost=0.2,
            label=f"analyse {label} by {analysis.name} on {tuned.benchmark}",
            alike=f"{analysis.name}/{tuned.benchmark}",
            analysis=analysis,
            subject=tuned.subject,
            benchmark=tuned.benchmark,
            base_activations=base.id,
            activations=tuned.id,
            confidence=confidence,
            seed=seed,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Compute the rows."""
        del folder
        base, tuned = (read_job.read(run.folder(ReadJob.KIND, id)) for id in (self.base_activations, self.activations))
        rng = np.random.default_rng(seed_of(self.KIND, self.analysis.name, self.benchmark, self.seed))
        quantities = self.analysis.get().compare(base, tuned, rng, confidence=self.confidence)
        subject = self.subject
        rows = [
            InsideRow(
                analysis=self.analysis.name,
                benchmark=self.benchmark,
                base_model=subject.base.name,
                arm=subject.arm,
                recipe=subject.recipe,
                checkpoint=subject.id,
                train_seed=subject.train_seed,
                epoch=subject.epoch,
                confidence=self.confidence,
                quantity=quantity.name,
                **{f.name: getattr(quantity, f.name) for f in dataclasses.fields(quantity) if f.name != "name"},
            )
            for quantity in quantities
        ]
        return Output(tables={TABLE: table(InsideRow, rows)}, info={"rows": len(rows)})


def rows_of(run: Run, jobs: Iterable[AnalyseJob]) -> list[InsideRow]:
    """Return the rows of finished jobs, in their order. Raises StoreError where one is damaged or not done."""
    return [row for job in jobs for row in records(InsideRow, run.job(job).read(TABLE))]
