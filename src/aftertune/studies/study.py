"""A study: a design resolved once. Everything in it has been looked up and identified, and is not looked up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from aftertune.asking.ask_job import AskJob
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.deciding.policy import Policy
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.headline import BY_NO_JUDGE
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Backend
from aftertune.models.subject import ModelRecord, Subject
from aftertune.naming import Names, Unit
from aftertune.records import Metric
from aftertune.run.job import Job
from aftertune.stats.group_sequential import PARTS, Look
from aftertune.studies.design import Design
from aftertune.variants.resolved import ResolvedCorpus

J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Study:
    """What a design came to on the machine that began its run; read back from the run it lacks the plugins alone."""

    design: Design
    """With what was chosen as the run began: how a backend answers here, what servers declare."""
    bases: tuple[ModelRecord, ...]
    subjects: tuple[Subject, ...]
    """Everybody that is asked: each base, then its checkpoints."""
    corpora: tuple[ResolvedCorpus, ...]
    non_members: ResolvedCorpus | None
    """Held-out rows that were given (`[data] non_members`)."""
    benchmarks: tuple[ResolvedBenchmark, ...]
    judges: tuple[ResolvedJudge, ...]
    backend: ResolvedBackend
    policy: Policy
    analyses: tuple[ResolvedAnalysis, ...]
    predictors: tuple[ResolvedPredictor, ...]
    jobs: tuple[Job, ...]
    own: tuple[str, ...] = ()
    """Ids of the jobs in which bases give refusals and answers of their own, for mitigations to train on."""
    warnings: tuple[str, ...] = ()
    parts: int = 0
    """Parts of the prompts that are asked so far, where they are asked until it is decided; 0 where all are at once."""

    @property
    def look(self) -> Look | None:
        """Which look at the answers this is, where they are asked until it is decided."""
        if not self.parts:
            return None
        return Look((1 - self.design.confidence) / 2, tuple(part / PARTS for part in range(1, self.parts + 1)))

    @property
    def confidence(self) -> float:
        """Of intervals: the design's, or where it was decided after every part, what keeps the design's over all."""
        return self.design.confidence if (look := self.look) is None else look.confidence

    def of(self, kind: type[J]) -> list[J]:
        """Return the jobs of one kind; those that make a base's own answers measure nothing and are left out."""
        return [job for job in self.jobs if isinstance(job, kind) and job.id not in self.own]

    @cached_property
    def primary_judges(self) -> Mapping[str, str]:
        """Axis -> the judge whose verdict is gated: the first in the design that offers the axis."""
        chosen: dict[str, str] = {}
        for judge in self.judges:
            for axis in judge.axes:
                chosen.setdefault(axis, judge.name)
        return chosen

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of its benchmarks that one of its judges has the axis for."""
        return tuple(m for each in self.benchmarks for m in each.metrics if m.axis in self.primary_judges)

    def shown_only(self, judges: Mapping[str, str]) -> dict[str, str]:
        """Return the metrics that are read by a judge by which nothing is decided -> why (`Judge.shown_only`).

        `judges`: axis -> the judge whose verdicts count. A metric that the policy names itself is not among them.
        """
        known = {judge.name: judge.shown_only for judge in self.judges}
        reasons = {metric: known[judges[metric.axis]].get(metric.axis, "") for metric in self.metrics}
        return {
            metric.name: f"{BY_NO_JUDGE} {judges[metric.axis]}: {why}"
            for metric, why in reasons.items()
            if why and self.policy.rule(metric.name, metric.worse, shown_only=True) is None
        }

    @property
    def models(self) -> tuple[ModelRecord, ...]:
        """Every model that existed before the study: its bases, and the checkpoints that were given."""
        return (*self.bases, *(subject.model for subject in self.subjects if subject.model is not None))

    def base_of(self, subject: Subject) -> Subject:
        """Return the base that a subject was tuned from, as a subject."""
        return next(each for each in self.subjects if each.is_base and each.base.name == subject.base.name)

    def asked(self, benchmark: str) -> list[AskJob]:
        """Return the jobs that ask a benchmark."""
        return [job for job in self.of(AskJob) if job.benchmark.name == benchmark]

    @property
    def unscored(self) -> str:
        """Why no text is scored in this study; empty where some are."""
        return unscored(self.design, self.backend)

    @property
    def units(self) -> list[Unit]:
        """Every base and checkpoint, as what is named and what numbers are about."""
        return [unit_of(subject) for subject in self.subjects]

    @cached_property
    def names(self) -> Names:
        """What bases and checkpoints are called."""
        return Names(self.units)

    def name_of(self, subject: Subject) -> str:
        """Return a subject's name for people."""
        return self.names(unit_of(subject))


def unit_of(subject: Subject) -> Unit:
    """Return a base or checkpoint as the unit that numbers are about."""
    return Unit(
        base=subject.base.name,
        arm=subject.arm,
        recipe=subject.recipe,
        train_seed=subject.train_seed,
        epoch=subject.epoch,
        checkpoint=subject.id,
    )


def unscored(design: Design, backend: ResolvedBackend | Backend) -> str:
    """Return why no text is scored in this design; empty where some are."""
    if not design.sources:
        return "no tuning data was given"
    if design.kind == "repair":
        return "mitigations are compared by what models say and by the task's loss"
    data = design.data
    if not (data.canaries or data.canary_file or data.held_out or data.non_members):
        return "no held-out rows and no canaries were given ([data] held_out and canaries, or --held-out)"
    if "scores" not in backend.capabilities:
        return f"backend '{design.backend.name}' cannot tell how probable a text is (it has no scores)"
    return ""
