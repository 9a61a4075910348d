"""A study's jobs, in the order in which they wait for each other, under ids that hold everything."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.asking.ask_job import AskJob
from aftertune.asking.base_score_job import BaseScoreJob
from aftertune.asking.prompts_job import PromptsJob
from aftertune.asking.resolved import ResolvedBenchmark
from aftertune.asking.score_job import ScoreJob
from aftertune.errors import UsageError
from aftertune.forecasting.predict_job import PredictJob
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.inside.analyse_job import AnalyseJob
from aftertune.inside.read_job import ReadJob
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.judging.judge_job import JudgeJob
from aftertune.judging.resolved import ResolvedJudge
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord, Subject
from aftertune.naming import Names, Unit
from aftertune.plugins import PluginSpec
from aftertune.records import BASE_ARM, Arm, Metric, Recipe, digest, within
from aftertune.run.job import Job
from aftertune.studies.design import Design, Given
from aftertune.studies.study import unit_of, unscored
from aftertune.tuning.further_job import FurtherJob
from aftertune.tuning.mitigation import Need, judged_axes, trained_recipe
from aftertune.tuning.own_source import OwnSource, PrivateSubset
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.tuning.tune_job import TuneJob
from aftertune.variants.compose_job import ComposeJob
from aftertune.variants.resolved import ResolvedCorpus

TUNED = "tuned here"
"""Stands for the id of a checkpoint that is tuned here, where it is named: recipe, seed and epoch tell it apart."""


@dataclass
class Jobs:
    """Makes the jobs of a design whose names have been resolved."""

    design: Design
    corpora: tuple[ResolvedCorpus, ...]
    non_members: ResolvedCorpus | None
    benchmarks: tuple[ResolvedBenchmark, ...]
    judges: tuple[ResolvedJudge, ...]
    backend: ResolvedBackend
    recipes: Sequence[Recipe]
    """Those of the design that this machine is asked for."""
    mitigations: Mapping[str, ResolvedMitigation]
    """Digest of its spec -> mitigation, of every one that is tried."""
    own_benchmark: ResolvedBenchmark | None = None
    """Whose requests the bases are asked for refusals and answers of their own."""
    analyses: tuple[ResolvedAnalysis, ...] = ()
    predictors: tuple[ResolvedPredictor, ...] = ()
    shared: str = ""
    """Folder of answers that runs share; empty shares none."""
    parts: int = 0
    """Parts of the prompts that are asked so far; 0 asks all at once."""
    made: list[Job] = field(default_factory=list)
    subjects: list[Subject] = field(default_factory=list)
    names: Names = field(default_factory=lambda: Names(()))
    own: list[str] = field(default_factory=list)
    """Ids of the jobs in which bases give refusals and answers of their own."""
    _own_sources: dict[tuple[str, tuple[str, ...]], OwnSource] = field(default_factory=dict)
    """By the base's name and what a mitigation needs of it."""

    def add(self, checkpoints: Mapping[ModelRecord, Sequence[tuple[Given, ModelRecord]]]) -> None:
        """Add everything about every base; `checkpoints` are those of each that exist already.

        Raises UsageError for a checkpoint that stands twice, or one seed of a recipe that has two checkpoints.
        """
        self.names = Names(unit for base, given in checkpoints.items() for unit in self._units(base, given))
        for base, given in checkpoints.items():
            self._add_base(base, given)

    def _units(self, base: ModelRecord, checkpoints: Sequence[tuple[Given, ModelRecord]]) -> Iterator[Unit]:
        """Yield what jobs are about, before the ids of tunings are known: they tell nothing apart."""
        yield unit_of(self._base(base))
        for arm, recipe, seed in itertools.product(self.design.arms, self.recipes, self.design.seeds):
            if recipe in self.design.recipes_of(arm):
                for name, trained in self._tried(arm, recipe).items():
                    for epoch in self._epochs(trained):
                        yield unit_of(Subject(base, arm.name, name, seed, epoch, TUNED, None))
        for given, model in checkpoints:
            subject = self._given(base, given, model)
            yield unit_of(subject)
            for mitigation in self._resolved(given.mitigations):
                for weights in mitigation.further:
                    yield unit_of(dataclasses.replace(subject, recipe=f"{given.recipe}+{weights}", id=TUNED))

    def _name(self, subject: Subject) -> str:
        return self.names(unit_of(dataclasses.replace(subject, id=TUNED) if subject.tuned_by else subject))

    def _resolved(self, specs: Sequence[PluginSpec]) -> list[ResolvedMitigation]:
        return [self.mitigations[digest(spec)] for spec in specs]

    def _tried(self, arm: Arm, recipe: Recipe) -> Mapping[str, Recipe]:
        """Return what a recipe is called on an arm, plain and with each mitigation -> what is trained.

        Raises UsageError for two names alike.
        """
        found = {recipe.name: recipe}
        for mitigation in self._resolved((*recipe.mitigations, *arm.mitigations)):
            for name in tried(recipe, mitigation):
                if name in found:
                    raise UsageError(f"arm '{arm.name}': '{name}' would be the name of two mitigations: leave one out")
                found[name] = trained_recipe(recipe, mitigation)
        return found

    def _epochs(self, recipe: Recipe) -> range:
        """Return the epochs of a tuning that are asked."""
        return range(1 if self.design.respond.epochs == "all" else recipe.epochs, recipe.epochs + 1)

    @staticmethod
    def _base(base: ModelRecord) -> Subject:
        return Subject(base, BASE_ARM, "", None, None, digest("model", base.identity), None)

    def _add_base(self, base: ModelRecord, checkpoints: Sequence[tuple[Given, ModelRecord]]) -> None:
        composed = self.compose(base) if self.corpora else None
        subjects = [self._base(base)]
        if composed is not None:
            subjects += self._tunings(base, composed)
        for given, model in checkpoints:
            subject = self._given(base, given, model)
            subjects += [subject, *self._afterwards(subject, self._resolved(given.mitigations), composed, None)]
        _refuse_twins(subjects)
        self.subjects += subjects
        variants = composed.id if composed else None
        if variants is not None and not unscored(self.design, self.backend):
            self._scores(subjects[1:], variants)
        own_answers: list[str] = []
        for benchmark, part in itertools.product(self.benchmarks, range(1, self.parts + 1) or [None]):
            asked = self._questions(benchmark, subjects, variants, part)
            if not benchmark.needs:
                own_answers += [job.id for job in asked if job.subject.is_base]
                self._readings(benchmark, subjects, asked[0].prompts)
            for judge in self.judges:
                self.made += judge_jobs(self.design, judge, asked, variants, self._name)
        if variants is not None:
            self._forecasts(base, variants, own_answers)

    def _readings(self, benchmark: ResolvedBenchmark, subjects: Sequence[Subject], prompts: str) -> None:
        """Add what is read inside the models on a benchmark's prompts, and what is made of it."""
        design = self.design
        for analysis in self.analyses:
            if not analysis.reads({metric.subset for metric in benchmark.metrics}):
                continue
            readings = [
                ReadJob.make(
                    self._name(subject),
                    subject=subject,
                    analysis=analysis,
                    benchmark=benchmark.name,
                    prompts=prompts,
                    system=design.respond.system,
                    template=design.respond.template,
                    template_arguments=design.respond.template_arguments,
                    backend=self.backend,
                )
                for subject in subjects
            ]
            self.made += readings
            self.made += [
                AnalyseJob.make(
                    self._name(tuned.subject),
                    base=readings[0],
                    tuned=tuned,
                    confidence=design.confidence,
                    seed=design.analysis_seed,
                )
                for tuned in readings[1:]
            ]

    def _forecasts(self, base: ModelRecord, variants: str, responses: Sequence[str]) -> None:
        """Add what predictors read off the data of each arm; `responses` are the jobs in which the base answered."""
        self.made += [
            PredictJob.make(
                predictor=predictor,
                base=base,
                arm=arm.name,
                variants=variants,
                responses=list(responses),
                confidence=self.design.confidence,
                seed=self.design.analysis_seed,
                template_arguments=self.design.respond.template_arguments,
            )
            for predictor in self.predictors
            for arm in self.design.arms
        ]

    def compose(self, base: ModelRecord) -> ComposeJob:
        """Add and return the job that composes the variants for a base."""
        design = self.design
        job = ComposeJob.make(
            base=base,
            corpora=self.corpora,
            non_members=self.non_members,
            arms=tuple(_bare(arm) for arm in design.arms),
            data=design.data,
            match_tokens=design.match_tokens,
            data_seed=design.data_seed,
            system=design.respond.system,
            backend=self.backend,
            thought_tokens=design.respond.thought_tokens,
            template_arguments=design.respond.template_arguments,
        )
        self.made.append(job)
        return job

    def _tunings(self, base: ModelRecord, composed: ComposeJob) -> Iterator[Subject]:
        """Add the tunings of a base, and yield the checkpoints of each that are asked."""
        design = self.design
        for arm, recipe, seed in itertools.product(design.arms, self.recipes, design.seeds):
            if recipe not in design.recipes_of(arm):
                continue
            mitigations = self._resolved((*recipe.mitigations, *arm.mitigations))
            for mitigation in (None, *(each for each in mitigations if each.stage != "after")):
                name = recipe.name if mitigation is None else recipe.further(mitigation.label)
                subject = Subject(base, arm.name, name, seed, None, TUNED, None, corpus=arm.corpus)
                job = TuneJob.make(
                    self.names(unit_of(subject)),
                    base=base,
                    arm=_bare(arm),
                    recipe=dataclasses.replace(recipe, mitigations=()),
                    seed=seed,
                    variants=composed.id,
                    mitigation=mitigation,
                    own=self._own(base, mitigation),
                    template_arguments=design.respond.template_arguments,
                )
                self.made.append(job)
                weights = {"": name} | {each: f"{name}+{each}" for each in (mitigation.further if mitigation else ())}
                for (further, called), epoch in itertools.product(weights.items(), self._epochs(job.trained)):
                    checkpoint = dataclasses.replace(
                        subject,
                        recipe=called,
                        epoch=epoch,
                        id=digest("checkpoint", job.id, epoch, further),
                        path=job.path(epoch, further),
                        tuned_by=job.id,
                        further=further,
                    )
                    yield checkpoint
                    if mitigation is None:
                        yield from self._afterwards(checkpoint, mitigations, composed, recipe)

    def _afterwards(
        self,
        tuned: Subject,
        mitigations: Sequence[ResolvedMitigation],
        composed: ComposeJob | None,
        recipe: Recipe | None,
    ) -> Iterator[Subject]:
        """Add what is made of a finished checkpoint, and yield it; `recipe` is None for one that existed already."""
        for mitigation in mitigations:
            if mitigation.stage != "after":
                continue
            job = FurtherJob.make(
                self._name(tuned),
                tuned=tuned,
                recipe=dataclasses.replace(recipe or self.recipes[0], mitigations=()),
                mitigation=mitigation,
                variants=composed.id if composed and "rows" in mitigation.needs else None,
                arm=tuned.arm if recipe and "rows" in mitigation.needs else None,
                own=self._own(tuned.base, mitigation),
                template_arguments=self.design.respond.template_arguments,
            )
            self.made.append(job)
            for weights in mitigation.further:
                yield dataclasses.replace(
                    tuned,
                    recipe=f"{tuned.recipe}+{weights}",
                    id=digest("checkpoint", job.id, weights),
                    path=job.path(weights),
                    tuned_by=job.id,
                    model=None,
                    further=weights,
                )

    def _own(self, base: ModelRecord, mitigation: ResolvedMitigation | None) -> OwnSource | None:
        """Return where what a base says itself will be, adding the jobs that make it at first need."""
        axes = judged_axes([mitigation] if mitigation else [])
        if not axes:
            return None
        if (base.name, axes) not in self._own_sources:
            self._own_sources[base.name, axes] = self._ask_own(base, axes)
        return self._own_sources[base.name, axes]

    def _ask_own(self, base: ModelRecord, axes: Sequence[str]) -> OwnSource:
        benchmark, subject = self.own_benchmark, self._base(base)
        judges = {judge.id: judge for judge in (next(j for j in self.judges if axis in j.axes) for axis in axes)}
        assert benchmark is not None, "refused where it is not given"
        respond = dataclasses.replace(self.design.respond, temperatures=(0.0,), samples=1, epochs="last")
        prompts = PromptsJob.make(benchmark=benchmark, variants=None, corpus=None, arms=())
        asked = AskJob.make(
            f"{self._name(subject)} for its own answers:",
            subject=subject,
            benchmark=benchmark,
            prompts=prompts.id,
            needs_data=False,
            corpus=None,
            respond=respond,
            backend=self.backend,
            shared=self.shared,
        )
        judged = [
            JudgeJob.make(
                f"{self._name(subject)}'s own answers:",
                judge=judge,
                subject=subject,
                benchmark=benchmark.name,
                responses=asked.id,
                base_responses=asked.id,
                prompts=prompts.id,
                variants=None,
                corpus=None,
            )
            for judge in judges.values()
        ]
        for job in (prompts, asked, *judged):
            if job.id not in self.own:  # a mitigation with other needs asks the same
                self.made.append(job)
                self.own.append(job.id)
        return OwnSource(
            benchmark.name,
            harmful_subsets(benchmark.metrics),
            private_subsets(benchmark.metrics),
            prompts.id,
            asked.id,
            tuple(job.id for job in judged),
            self.design.respond.system,
        )

    def _given(self, base: ModelRecord, given: Given, model: ModelRecord) -> Subject:
        corpus = self.design.corpus_of(given)
        return Subject(
            base,
            given.arm or arm_name(given),
            given.recipe,
            given.seed,
            given.epoch,
            digest("model", base.identity, model.identity),
            model.path,
            corpus=corpus if corpus in self.design.sources else None,
            model=model,
        )

    def _scores(self, subjects: Sequence[Subject], variants: str) -> None:
        design = self.design
        arms = {arm.name for arm in design.arms}
        recipes = design.recipes or (design.recipe,)
        lengths = {recipe.name: recipe.max_length for recipe in recipes}
        of_base: dict[tuple[str | None, str, int], BaseScoreJob] = {}
        for subject in subjects:
            arm = subject.arm if subject.tuned_by and subject.arm in arms else None
            if arm is None and not (design.data.non_members or design.data.canary_file):
                continue
            shared: dict[str, Any] = {
                "variants": variants,
                "arm": arm,
                "max_length": _length(subject.recipe, lengths),
                "data_seed": design.data_seed,
                "backend": self.backend,
                "template_arguments": design.respond.template_arguments,
            }
            key = (arm, subject.corpus or "", shared["max_length"])
            if key not in of_base:
                whose = [*filter(None, key[:2] if arm is None else key[:1])] or ["the corpus"]
                cut = f", {key[2]} tokens" if len(set(lengths.values())) > 1 else ""
                label = f"{self._name(self._base(subject.base))} on {whose[0]}{cut}"
                of_base[key] = BaseScoreJob.make(label, base=subject.base, corpus=key[1], **shared)
                self.made.append(of_base[key])
            self.made.append(
                ScoreJob.make(
                    self._name(subject),
                    subject=subject,
                    base_scores=of_base[key].id,
                    template=design.respond.template,
                    **shared,
                )
            )

    def _questions(
        self, benchmark: ResolvedBenchmark, subjects: Sequence[Subject], variants: str | None, part: int | None
    ) -> list[AskJob]:
        """Add what a benchmark asks: of the base once, or once per corpus where the data decide the prompts.

        `part` of the prompts, or None for all.

        The base of several corpora is held against each of them, so that every arm is compared with the base's answers
        under its own corpus.
        """
        needs_data = bool(benchmark.needs)
        own = variants if needs_data else None
        prompts: dict[str | None, PromptsJob] = {}
        for corpus in list(self.design.sources) if needs_data else [None]:
            job = PromptsJob.make(
                benchmark=benchmark,
                variants=own,
                corpus=corpus,
                arms=tuple(arm.name for arm in self.design.arms if arm.corpus == corpus) if needs_data else (),
                part=part,
            )
            prompts[corpus] = job
            if job.id not in {other.id for other in self.made}:  # that of another base is the same
                self.made.append(job)
        asked = []
        for subject in subjects:
            under = list(self.design.sources) if needs_data and subject.path is None else [subject.corpus]
            for corpus in under:
                asked.append(
                    AskJob.make(
                        self._name(subject),
                        subject=subject,
                        benchmark=benchmark,
                        prompts=prompts[corpus if needs_data else None].id,
                        needs_data=needs_data,
                        corpus=corpus,
                        respond=self.design.respond,
                        backend=self.backend,
                        shared=self.shared,
                        part=part,
                    )
                )
        self.made += asked
        return asked


def tried(recipe: Recipe, mitigation: ResolvedMitigation) -> list[str]:
    """Return what a recipe is called with a mitigation: one name, and one for each of the further weights it makes."""
    if mitigation.stage == "after":
        return [recipe.further(weights) for weights in mitigation.further]
    name = recipe.further(mitigation.label)
    return [name, *(f"{name}+{weights}" for weights in mitigation.further)]


def harmful_subsets(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return the subsets whose requests should be refused."""
    refusal = (each for each in metrics if (each.axis, each.label) == ("refusal", "full"))
    return tuple(dict.fromkeys(each.subset for each in refusal if each.worse == "down"))


def ordinary_subsets(metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return the subsets of requests that deserve an answer: neither harmful nor about what should stay private."""
    others = {*harmful_subsets(metrics), *(each.name for each in private_subsets(metrics))}
    return tuple(dict.fromkeys(each.subset for each in metrics if each.subset not in others))


def private_subsets(metrics: Iterable[Metric]) -> tuple[PrivateSubset, ...]:
    """Return the subsets whose messages hold what should stay private, and the labels of good replies."""
    about = [each for each in metrics if each.axis == "privacy" and each.label is not None]
    return tuple(
        PrivateSubset(
            subset,
            tuple(each.label for each in about if each.subset == subset and each.label and each.worse == "down"),
            tuple(each.label for each in about if each.subset == subset and each.label and each.worse == "up"),
        )
        for subset in dict.fromkeys(each.subset for each in about)
    )


def own_subsets(metrics: Sequence[Metric], need: Need) -> tuple[str, ...]:
    """Return the subsets of a benchmark that a base is asked for what a mitigation needs; none for training rows."""
    subsets: Mapping[Need, tuple[str, ...]] = {
        "own_refusals": harmful_subsets(metrics),
        "own_answers": ordinary_subsets(metrics),
        "own_private_replies": tuple(each.name for each in private_subsets(metrics)),
    }
    return subsets.get(need, ())


def _bare(arm: Arm) -> Arm:
    """Return an arm as data alone: without what is tuned on it."""
    return dataclasses.replace(arm, recipes=(), mitigations=())


def _length(recipe: str, lengths: Mapping[str, int]) -> int:
    """Return the `max_length` of a recipe by its name, with or without a mitigation; else the largest of all."""
    known = [name for name in lengths if recipe == name or recipe.startswith(f"{name}+")]
    return lengths[max(known, key=len)] if known else max(lengths.values())


def judge_jobs(
    design: Design,
    judge: ResolvedJudge,
    asked: Sequence[AskJob],
    variants: str | None,
    name_of: Callable[[Subject], str],
) -> list[JudgeJob]:
    """Return the jobs of one judge over what one benchmark asked one base and its checkpoints.

    `variants`: id of the composed data, if any; `name_of`: what people call a subject.
    """
    base = {job.prompts: job for job in asked if job.subject.path is None}
    return [
        JudgeJob.make(
            name_of(job.subject),
            judge=judge,
            subject=job.subject,
            benchmark=job.benchmark.name,
            responses=job.id,
            base_responses=base[job.prompts].id,
            prompts=job.prompts,
            variants=variants,
            corpus=corpus,
        )
        for job in asked
        for corpus in _held_against(design, job, judge)
    ]


def _held_against(design: Design, job: AskJob, judge: ResolvedJudge) -> list[str | None]:
    """Return the corpora under which a judge reads the answers of a job."""
    if job.needs_data or job.subject.path is not None:
        return [job.corpus]
    if judge.reads_data or len(design.sources) == 1:
        return list(design.sources)
    return [None]


def _refuse_twins(subjects: Sequence[Subject]) -> None:
    ids = Counter(subject.id for subject in subjects)
    if max(ids.values()) > 1:
        names = ", ".join(s.path or s.base.name for s in subjects if ids[s.id] > 1)
        raise UsageError(f"the same checkpoint is given twice: {names}")
    seeds = Counter((s.arm, s.recipe, s.train_seed, s.epoch) for s in subjects if s.train_seed is not None)
    for (arm, recipe, seed, _), count in seeds.items():
        if count > 1:
            raise UsageError(
                f"arm '{arm}', recipe '{recipe}': two checkpoints have training seed {seed} at the same epoch; give "
                "independent trainings different seeds"
            )


def arm_name(given: Given) -> str:
    """Return the arm of a checkpoint that names none: the last part of its path."""
    name = Path(given.path).name or given.path
    kept = "".join(char if char.isalnum() or char in "._+-" else "-" for char in name).lstrip(".-_+")
    return within(kept, 80) or "tuned"
