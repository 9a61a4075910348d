"""The job that writes the prompts of a benchmark into the run, once, for everything that asks or reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.parts import parts_of
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.data import prompts as stored
from aftertune.data.variant_files import VariantFiles, persons, read
from aftertune.records import Prompt, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.stats.group_sequential import PARTS


@dataclass(frozen=True, kw_only=True)
class PromptsJob(Job):
    """Write the prompts of a benchmark; those made from tuning data, once per base and corpus."""

    KIND: ClassVar[str] = "prompts"
    benchmark: ResolvedBenchmark
    variants: str | None
    """Id of the composed data that they are made from; None for a benchmark that needs none."""
    corpus: str | None
    """Which corpus of it; None where there is none, the empty name for that of `[corpus]`."""
    arms: tuple[str, ...]
    """Names of the arms of that corpus: what none of them trains on is held out."""
    part: int | None = None
    """Which part of the prompts alone, from 1; None for all of them."""

    @classmethod
    def make(cls, **fields: Any) -> PromptsJob:
        """Return the job with the id of what decides the prompts."""
        benchmark: ResolvedBenchmark = fields["benchmark"]
        variants, corpus, part = fields["variants"], fields["corpus"], fields.get("part")
        own = (PARTS, part) if part else ()
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, benchmark.id, variants, corpus, *own),
            after=(variants,) if variants else (),
            cost=0.5,
            label=f"prompts of {benchmark.name}"
            + (f" on {corpus}" if corpus else "")
            + (f", part {part} of {PARTS}" if part else ""),
            alike=benchmark.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Make the prompts."""
        del folder
        prompts = self.benchmark.get().prompts(self._context(run))
        if self.corpus:  # prompts of several corpora must not share an id or a cluster
            prompts = [replace(p, id=f"{self.corpus}/{p.id}", cluster=f"{self.corpus}/{p.cluster}") for p in prompts]
        total = len(prompts)
        if self.part:
            own = parts_of(prompts, PARTS)
            prompts = [prompt for prompt, part in zip(prompts, own, strict=True) if part == self.part]
        return Output(tables={stored.TABLE: stored.to_table(prompts)}, info={"prompts": len(prompts), "of": total})

    def _context(self, run: Run) -> BenchmarkContext:
        if self.variants is None or self.corpus is None:
            return BenchmarkContext()
        folder = run.folder("variants", self.variants)
        files = VariantFiles(folder.path)
        people = folder.document(files.people_document(self.corpus))
        return BenchmarkContext(
            training=read(files.source(self.corpus)),
            held_out=files.untouched_held_out(self.corpus, self.arms),
            people=tuple(persons(people["source"])),
            twins=tuple(persons(people["twin"])),
        )


def prompts_of(run: Run, id: str) -> Sequence[Prompt]:
    """Return the prompts that the job of an id wrote. Raises StoreError where it is damaged or not done."""
    return stored.read(run.folder(PromptsJob.KIND, id))
