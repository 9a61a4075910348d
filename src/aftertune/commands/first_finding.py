"""The first finding of a run that is still at work: one tuned arm against its base, from some of its seeds.

It is shown and not kept: the decision is made once, on everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from aftertune.deciding import drift
from aftertune.deciding.discrimination import bases, discrimination, numbers, pairs
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.findings import Discrimination
from aftertune.headline import headline
from aftertune.judging.judge_job import JudgeJob
from aftertune.models.subject import Subject
from aftertune.numbers import TEXT, count, scale_of
from aftertune.records import Drift, Metric
from aftertune.run.run_folder import Run
from aftertune.studies.study import Study, unit_of

SEEDS = 3
"""Training seeds that are waited for: over two, an interval is about as wide as the scale."""


@dataclass(frozen=True)
class FirstFinding:
    """What a run can say first, and the jobs that it takes."""

    metric: Metric
    judge: str
    name: str
    """What the arm is called."""
    seeds: int
    """Training seeds that it is made of."""
    of_seeds: int
    """Training seeds of the arm in all."""
    verdicts: tuple[JudgeJob, ...]
    needs: frozenset[str]
    """Ids of the jobs that must be complete."""

    @classmethod
    def of(cls, study: Study) -> FirstFinding | None:
        """Return what a study can say first: its first metric, of the first arm that is tuned.

        None where nothing is tuned, or where it would take more than half of the jobs.
        """
        metric = next((each for each in study.metrics if each.label is not None), None)
        tuned = [subject for subject in study.subjects if subject.tuned_by]
        if metric is None or not tuned:
            return None
        arm = _checkpoints(tuned)
        chosen = arm[:SEEDS]
        asked = {study.base_of(chosen[0]).id, *(subject.id for subject in chosen)}
        judge = study.primary_judges[metric.axis]
        verdicts = tuple(
            job
            for job in study.of(JudgeJob)
            if job.judge.name == judge
            and job.benchmark == metric.benchmark
            and job.subject.id in asked
            and job.corpus in (None, chosen[0].corpus)
        )
        needs = _needed(study, verdicts)
        if not verdicts or len(needs) > len(study.jobs) / 2:
            return None
        unit = unit_of(chosen[0])
        if len(arm) > 1:
            unit = dataclasses.replace(unit, train_seed=None, checkpoint=None)
        return cls(metric, judge, study.names(unit), len(chosen), len(arm), verdicts, needs)

    def row(self, run: Run, study: Study) -> Drift | None:
        """Return the drift once its jobs are complete; None where it cannot be estimated.

        Raises StoreError for a damaged table, DesignError where too few prompts can be paired.
        """
        rows = drift.drift(
            self._verdicts(run),
            [self.metric],
            seed=study.design.analysis_seed,
            confidence=study.design.confidence,
        )
        return next((row for row in headline(rows) if row.delta is not None), None)

    def told_apart(self, run: Run, study: Study) -> Discrimination | None:
        """Return how far the base's refusals tell harmful requests from harmless ones; None where it is not of these.

        Raises StoreError for a damaged table.
        """
        wanted = [pair for pair in pairs(study.metrics) if pair.harmful == self.metric]
        if not wanted:
            return None
        rows = discrimination(
            self._verdicts(run),
            wanted,
            confidence=study.design.confidence,
            counts=lambda _metric, judge: judge == self.judge,
        )
        return next(iter(bases(rows)), None)

    def _verdicts(self, run: Run) -> VerdictTable:
        import pyarrow as pa

        return VerdictTable(
            pa.concat_tables([run.job(job).read("verdicts", COLUMNS, coded=True) for job in self.verdicts])
        )

    def sentence(self, row: Drift, base: Discrimination | None = None) -> str:
        """Return the finding for people, on one line; `base`: what its refusals tell of harm."""
        scale = scale_of(row)
        behind = f"{self.seeds} of {count(self.of_seeds, 'seed')}, {count(row.n_prompts, 'prompt')}"
        what = self.metric.about or self.metric.name
        beside = (
            f"; the base: {numbers(base, TEXT)}, 0 where both are refused alike"
            if base and base.d_prime is not None
            else ""
        )
        return (
            f"first finding: {self.name}: {what}: {TEXT.levels(row, scale)}, {TEXT.change(row, scale)} "
            f"({behind}{beside}; the rest of the run refines it)"
        )


def _checkpoints(tuned: Sequence[Subject]) -> list[Subject]:
    """Return the checkpoints of the first arm and recipe, each training's last one, in the order of their seeds."""
    first = tuned[0]
    arm = [each for each in tuned if (each.base, each.arm, each.recipe) == (first.base, first.arm, first.recipe)]
    last = {subject.train_seed: subject for subject in arm}  # epochs come in their order
    return list(last.values())


def _needed(study: Study, jobs: Sequence[JudgeJob]) -> frozenset[str]:
    """Return the ids of the jobs and of all that they wait for."""
    known = {job.id: job for job in study.jobs}
    needed: set[str] = set()
    rest = [job.id for job in jobs]
    while rest:
        id_ = rest.pop()
        if id_ in known and id_ not in needed:
            needed.add(id_)
            rest += known[id_].after
    return frozenset(needed)
