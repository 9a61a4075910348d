"""Why it happened (`aftertune explain`): readouts, directions and interventions on the models of a finished run.

base --sample, judge--> openings --read out--> readouts; pairs of prompts --activations--> directions --> interventions

The same is done for privacy, whose readout needs no openings: its prompts say what an answer that passes something on
begins with.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from aftertune.asking.ask_job import AskJob
from aftertune.commands.study import LOCAL, Progress, quiet, unfinished
from aftertune.data import prompts as stored_prompts
from aftertune.deciding.discrimination import RefusalPair, pairs
from aftertune.errors import DataError, UsageError
from aftertune.extras import explained
from aftertune.inside import read_job, readout_job
from aftertune.inside.analysis import Activations
from aftertune.inside.concepts import (
    ABOUT,
    BENCHMARK,
    FIRST,
    FORBIDDEN,
    PRIVACY,
    REFUSAL,
    VERSION,
    ConceptPairs,
    refusal_pairs,
    written,
)
from aftertune.inside.conditions import Conditions
from aftertune.inside.direction_changes import DirectionChange, direction_changes
from aftertune.inside.effects import Key, effects
from aftertune.inside.explanation import (
    MAY,
    MAY_NOT,
    ArmDirections,
    Effect,
    Explanation,
    ReadAndJudged,
    ReadoutChange,
    SeedsApart,
    Twin,
    part_name,
    readout_change,
    told_apart,
    twin_of,
)
from aftertune.inside.intervene_job import (
    ANSWERS,
    READOUTS,
    UNSHUFFLED,
    AnsweredSo,
    Intervened,
    InterveneJob,
    held_clusters,
)
from aftertune.inside.read_job import ReadJob
from aftertune.inside.readout import Openings, learn_openings
from aftertune.inside.readout_job import ReadoutJob
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.inside.sample_job import TABLE, Sampled, SampleJob
from aftertune.judging import opinions
from aftertune.judging.judge import Answer, Judge, JudgeContext
from aftertune.judging.judge_job import JudgeJob
from aftertune.models.identity import resolve as resolve_model
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord, Subject
from aftertune.naming import Names, Unit
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Prompt, Response, digest, plain, seed_of
from aftertune.reporting import explanation as page
from aftertune.run import progress as following
from aftertune.run.job import Job
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.run.worker import Worker
from aftertune.studies import plugin_text, stored
from aftertune.studies.resolve import load_backend, load_executor, load_judge
from aftertune.studies.study import Study

log = logging.getLogger(__name__)

SMALL = 10_000_000
"""Parameters up to which everything is done in full where nothing else is asked."""
NEEDED = frozenset({"activations", "beginnings", "interventions"})
REFUSED = "full"
WORLD = "miniature"
"""The benchmark of the models that ship, which know no other words than its own."""


Do = Callable[[Sequence[Job]], None]
"""Runs jobs and returns when they are done."""


@dataclass(frozen=True)
class Effort:
    """How much is computed."""

    pairs: int
    """Pairs of prompts for each concept, of privacy cases of several pairs; 0 takes all."""
    prompts: int
    """Prompts of each kind that are read out, of privacy by whole cases; an intervention is read out on half as many.
    """
    draws: int
    """Random directions beside each direction, and shuffled updates beside each block of layers: as many, since beside
    fewer than 19 neither would show anything."""
    samples: int
    """Sampled answers of the base to each of as many prompts, for its openings."""
    asked: int
    """Prompts that are answered under each direction that is taken out or added."""


FULL = Effort(pairs=44, prompts=88, draws=19, samples=2, asked=22)
BRIEF = Effort(pairs=16, prompts=24, draws=19, samples=1, asked=0)


@dataclass(frozen=True)
class Explained:
    """What `explain` found."""

    explanation: Explanation
    sentences: tuple[str, ...]
    """What a reader should take from it, the first one first."""
    report: Path
    """The page; beside it the same as Markdown and JSON."""


@public("explain")
@explained()
def explain(
    run: PathLike,
    *,
    arms: Sequence[str] = (),
    pairs: int | None = None,
    prompts: int | None = None,
    draws: int | None = None,
    executor: str | PluginSpec = LOCAL,
    workers: int = 0,
    progress: Progress = quiet,
) -> Explained:
    """Say why a finished study's or audit's models answer differently (`aftertune explain`), as far as that is seen.

    The base and each checkpoint are loaded again. What is computed stands in the run folder, so that a second call
    reads it; the run's own results stay as they are.

    Args:
        run: The run folder, whose base and checkpoints must still be where they were.
        arms: Arms in which is intervened; empty takes up to two that lost the most.
        pairs: Pairs of prompts for each concept's direction, of privacy cases of two or four pairs, 0 for all; None
            takes 44 of a base of up to ten million parameters, else 16.
        prompts: Prompts of each kind that are read out, about privacy by whole cases; None takes 88 or 24.
            Interventions are read out on half as many, of clusters that the direction is not estimated from.
        draws: Random directions beside each direction, and shuffled updates beside each block of layers; None takes 19,
            and with fewer nothing is called a mechanism, and no layers are said to carry the change.
        executor: Where the jobs run, as for `study`.
        workers: Processes at once, short for the executor `local:workers=N`; 0 is one per core.
        progress: Called as jobs finish, with (what was done, jobs done, jobs in all).

    Raises:
        UsageError: The run has no benchmark with harmful and harmless requests, is not finished, or its base is gone.
        ModelError, StoreError: A model cannot be loaded, or a folder cannot be used.
    """
    place = Run.open(Path(run))
    study = stored.read(place)
    for name, value in (("pairs", pairs), ("prompts", prompts), ("draws", draws)):
        if value is not None and value < (0 if name == "pairs" else 1):
            raise UsageError(f"{name} = {value}: give a whole number of them")
    explaining = Explaining(place, study, {"pairs": pairs, "prompts": prompts, "draws": draws}, tuple(arms))
    runner = plugin_text.executor(executor, workers)
    with place.lock():
        found = explaining.explanation(lambda jobs: _do(place, jobs, runner, progress))
    sentences = page.sentences(found)
    place.keep("explanation.json", json.dumps(plain(page.as_json(found)), indent=1).encode())
    place.keep("explanation.md", page.markdown(found).encode())
    report = place.keep("explanation.html", page.html(found).encode())
    return Explained(found, tuple(sentences), report)


def _do(place: Run, jobs: Sequence[Job], executor: PluginSpec, progress: Progress) -> None:
    """Run those of some jobs that are not complete."""
    runner = load_executor(executor)
    root = place.root.absolute()
    todo = [job for job in jobs if not place.job(job).complete]
    follower = following.RunFollower(root, jobs, {job.id for job in jobs} - {job.id for job in todo}, runner.at_once)
    if isinstance(progress, following.FollowingProgress):
        progress.follow(follower)
    count = len(jobs) - len(todo)
    progress("", count, len(jobs))

    def done(job: Job) -> None:
        nonlocal count
        count += 1
        follower.done(job)
        progress(job.label, count, len(jobs))

    with following.LogSession(root, len(jobs), len(todo), runner.at_once):
        runner.run(todo, following.LoggedWork(root, Worker(root)), done)


@dataclass(frozen=True)
class Arm:
    """The models of one recipe on one arm, one for each training seed."""

    base: str
    name: str
    """For people."""
    arm: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True)
class _Read:
    """What is read of a base and its arms before refusals and privacy part."""

    base: ModelRecord
    own: AskJob
    """What the base was asked in the run."""
    arms: Sequence[Arm]
    effort: Effort
    concepts: str
    """Id of the concepts' prompts."""
    reading: ReadJob
    """Of the base."""
    activations: Mapping[str, Activations]

    @property
    def everybody(self) -> list[Subject]:
        """The base, and every model."""
        return [self.own.subject, *(subject for arm in self.arms for subject in arm.subjects)]


@dataclass(frozen=True)
class Explaining:
    """A run that is explained."""

    run: Run
    study: Study
    asked_for: Mapping[str, int | None]
    arms: tuple[str, ...]

    @cached_property
    def pair(self) -> RefusalPair:
        """The first benchmark that asks harmful requests and harmless ones."""
        found = pairs([metric for each in self.study.benchmarks for metric in each.metrics])
        if not found:
            raise UsageError(
                f"{self.run.root}: no benchmark of the run asks both harmful and harmless requests, which the refusal "
                "direction and its readout need; audit with --suite core"
            )
        return found[0]

    @cached_property
    def conditions(self) -> Conditions:
        """How the run asked, with its backend."""
        spec = self.study.backend.spec
        backend = ResolvedBackend.of(spec, load_backend(spec))
        lacking = sorted(NEEDED - backend.capabilities)
        if lacking:
            raise UsageError(f"backend '{spec.name}' shows nothing of the inside of a model (no {', '.join(lacking)})")
        respond = self.study.design.respond
        return Conditions(backend, respond.system, respond.template, respond.template_arguments)

    def explanation(self, do: Do) -> Explanation:
        """Compute everything, base by base; `do` runs jobs."""
        self._check()
        parts = [self._of_base(base, do) for base in self.study.bases]
        return Explanation(
            title=self.study.design.name,
            confidence=self.study.design.confidence,
            openings={name: value for each in parts for name, value in each.openings.items()},
            readouts=tuple(row for each in parts for row in each.readouts),
            twins=tuple(row for each in parts for row in each.twins),
            directions=tuple(row for each in parts for row in each.directions),
            effects=tuple(row for each in parts for row in each.effects),
            privacy=tuple(row for each in parts for row in each.privacy),
            told_apart=tuple(row for each in parts for row in each.told_apart),
            between_seeds=tuple(row for each in parts for row in each.between_seeds),
            notes=tuple(note for each in parts for note in each.notes),
            settings={key: value for each in parts for key, value in each.settings.items()},
        )

    def _check(self) -> None:
        """Refuse a run that is not finished, or whose bases are gone, before anything is computed."""
        if unfinished(self.run, self.study):
            raise UsageError(f"{self.run.root}: not finished; run the command that began it again first")
        if self.study.parts:
            raise UsageError(
                f"{self.run.root}: was asked in parts until it was decided; explain a run that asks all prompts at once"
            )
        for base in self.study.bases:
            if base.served:
                raise UsageError(f"{base.name}: a server holds it, so nothing of its inside can be seen")
            if resolve_model(base.path).identity != base.identity:
                raise UsageError(f"{base.path}: is not the model that the run was made with; put that one back")
        _ = self.conditions, self.pair
        known = {subject.arm for subject in self.study.subjects}
        for arm in self.arms:
            if arm not in known:
                raise UsageError(f"no arm '{arm}' in the run (known: {', '.join(sorted(known))})")

    # ------------------------------------------------------------------------------------------ one base

    def _of_base(self, base: ModelRecord, do: Do) -> Explanation:
        asked = [job for job in self.study.asked(self.pair.harmful.benchmark) if job.subject.base.name == base.name]
        own = next(job for job in asked if job.subject.is_base)
        arms = self._arms(asked)
        effort = self._effort(base)
        prompts = stored_prompts.read(self.run.folder("prompts", own.prompts))
        concepts = self._write_concepts(prompts, effort, world=self.pair.harmful.benchmark == WORLD)
        analysis = ResolvedAnalysis.of(PluginSpec("concept_pairs"), ConceptPairs())
        everybody = [own.subject, *(subject for arm in arms for subject in arm.subjects)]
        reading = {subject.id: self._reading(subject, analysis, concepts) for subject in everybody}
        do(list(reading.values()))
        activations = {id: read_job.read(self.run.job(job)) for id, job in reading.items()}
        read = _Read(base, own, arms, effort, concepts, reading[own.subject.id], activations)
        directions = tuple(
            ArmDirections(
                base=base.name,
                arm=arm.name,
                changes=tuple(self._directions(activations, own.subject, arm.subjects, tuple(ABOUT))),
            )
            for arm in arms
        )
        empty = Explanation(
            title="", confidence=self.study.design.confidence, openings={}, readouts=(), twins=(),
            directions=directions, effects=(), settings={base.name: dataclasses.asdict(effort)},
        )  # fmt: skip
        refusals = self._of_refusals(read, prompts, asked, empty, do)
        privacy = self._of_privacy(read, empty, do)
        return dataclasses.replace(
            refusals,
            privacy=privacy.privacy,
            told_apart=privacy.told_apart,
            effects=refusals.effects + privacy.effects,
            notes=refusals.notes + privacy.notes,
        )

    def _of_refusals(
        self, read: _Read, prompts: Sequence[Prompt], asked: Sequence[AskJob], empty: Explanation, do: Do
    ) -> Explanation:
        """Return readouts of refusals and what interventions do to them; `asked`: who was asked in the run."""
        base, own, arms, effort = read.base, read.own, read.arms, read.effort
        every = [prompt for prompt in prompts if prompt.subset == self.pair.harmful.subset]
        harmful = _spread(every, effort.prompts)
        harmless = _spread(
            [prompt for prompt in prompts if prompt.subset == self.pair.harmless[0].subset], effort.prompts
        )
        chosen = tuple(prompt.id for prompt in (*harmful, *harmless))
        sampling = SampleJob.make(
            own.subject, own.prompts, chosen, effort.samples, self.study.design.analysis_seed, self.conditions
        )
        do([sampling])
        try:
            openings = self._openings(own, sampling, prompts)
        except DataError as error:
            return dataclasses.replace(empty, notes=(f"{base.name}: no readout: {error}",))

        values, _ = self._read_out(read.everybody, own.prompts, chosen, openings.texts, do)
        readouts = tuple(self._readouts(base, own.subject, arms, values, harmful, harmless))
        found = dataclasses.replace(
            empty,
            openings={base.name: openings},
            readouts=readouts,
            twins=(self._twin(base, read.everybody, values, asked),),
            between_seeds=tuple(self._between_seeds(base, arms, values, read.activations, harmful)),
        )
        held = held_clusters(read.activations[own.subject.id], REFUSAL)
        if len(held) < 2:
            why = f"{base.name}: no interventions: harmful requests with look-alikes in too few clusters"
            return dataclasses.replace(found, notes=(why,))
        chosen_arms = self._to_intervene(arms, [row for row in readouts if row.subset == self.pair.harmful.subset])
        notes = []
        if not chosen_arms:
            notes.append(
                f"{base.name}: no arm's refusals are seen to open less often, so none was intervened in but the base"
            )
        # Half of the prompts, as half of the clusters; were they taken of those that are read out, few could be held.
        tried = _spread([prompt for prompt in every if prompt.cluster in held], -(-effort.prompts // 2))
        texts = openings.texts if self._small(base) else openings.texts[:2]
        made, more = self._intervened(read, REFUSAL, chosen_arms, tried, tried[: effort.asked], texts, do)
        return dataclasses.replace(found, effects=made, notes=(*notes, *more))

    def _of_privacy(self, read: _Read, empty: Explanation, do: Do) -> Explanation:
        """Return readouts of privacy and what interventions do to them, of a base that has a judgement to lose."""
        base, own = read.base, read.own.subject
        every = [
            prompt
            for prompt in stored_prompts.read(self.run.folder("prompts", read.concepts))
            if prompt.subset == PRIVACY
        ]
        prompts = _whole_clusters(every, read.effort.prompts)
        chosen = tuple(prompt.id for prompt in prompts)
        confidence = self.study.design.confidence
        values, given = self._read_out([own], read.concepts, chosen, None, do)
        try:
            told = [told_apart((base.name, ""), [values[own.id]], prompts, given[own.id], confidence=confidence)]
        except ValueError as error:
            return dataclasses.replace(empty, notes=(f"{base.name}: no readout of privacy: {error}",))
        if not told[0].able:
            return dataclasses.replace(empty, told_apart=tuple(told))

        values, _ = self._read_out(read.everybody, read.concepts, chosen, None, do)
        sides = {
            subset: {prompt.id: prompt.cluster for prompt in prompts if (prompt.expect["side"] == FIRST) == may}
            for subset, may in ((MAY_NOT, False), (MAY, True))
        }
        rows: list[ReadoutChange] = []
        notes: list[str] = []
        for arm in read.arms:
            tuned = [values[subject.id] for subject in arm.subjects]
            for subset, cluster_of in sides.items():
                names = (base.name, arm.name, subset)
                row = readout_change(names, values[own.id], tuned, cluster_of, confidence=confidence)
                rows += [row] if row is not None else []
            try:
                told.append(told_apart((base.name, arm.name), tuned, prompts, given[own.id], confidence=confidence))
            except ValueError as error:  # logits that are not numbers, say
                notes.append(f"{arm.name}: what may be passed on cannot be told from what may not: {error}")
        found = dataclasses.replace(empty, privacy=tuple(rows), told_apart=tuple(told), notes=tuple(notes))
        arms = self._to_intervene(read.arms, [row for row in rows if row.subset == MAY_NOT])
        if not arms:
            why = f"{base.name}: no arm is seen to keep less private, so no cause of that was looked for"
            return dataclasses.replace(found, notes=(*notes, why))
        held = held_clusters(read.activations[own.id], PRIVACY)
        if len(held) < 2:
            why = f"{base.name}: no interventions on privacy: its prompts are in too few clusters"
            return dataclasses.replace(found, notes=(*notes, why))
        tried = _whole_clusters([prompt for prompt in every if prompt.cluster in held], -(-read.effort.prompts // 2))
        asked = _spread([prompt for prompt in tried if prompt.expect["side"] != FIRST], read.effort.asked)
        made, more = self._intervened(read, PRIVACY, arms, tried, asked, (), do)
        return dataclasses.replace(found, effects=made, notes=(*notes, *more))

    def _read_out(
        self,
        subjects: Sequence[Subject],
        prompts: str,
        chosen: tuple[str, ...],
        openings: tuple[str, ...] | None,
        do: Do,
    ) -> tuple[dict[str, Mapping[str, float]], dict[str, float]]:
        """Return (subject -> prompt -> readout), and subject -> share of the probability that the readout is about."""
        jobs = {
            subject.id: ReadoutJob.make(
                self.study.name_of(subject), subject, prompts, chosen, openings, self.conditions
            )
            for subject in subjects
        }
        do(list(jobs.values()))
        values = {id: readout_job.read(self.run.job(job)) for id, job in jobs.items()}
        return values, {id: float(self.run.job(job).info()[readout_job.GIVEN]) for id, job in jobs.items()}

    def _small(self, base: ModelRecord) -> bool:
        return base.parameters <= SMALL

    def _effort(self, base: ModelRecord) -> Effort:
        effort = FULL if self._small(base) else BRIEF
        return dataclasses.replace(effort, **{key: value for key, value in self.asked_for.items() if value is not None})

    def _arms(self, asked: Iterable[AskJob]) -> list[Arm]:
        """Return the arms, each with the last epoch of every training seed."""
        last: dict[tuple[str, str, int | None, str], Subject] = {}
        for job in asked:
            subject = job.subject
            if subject.is_base:
                continue
            seed = subject.train_seed
            key = (subject.arm, subject.recipe, seed, subject.id if seed is None else "")
            if key not in last or (last[key].epoch or 0) < (subject.epoch or 0):
                last[key] = subject
        grouped: dict[tuple[str, str], list[Subject]] = defaultdict(list)
        for (arm, recipe, _, _), subject in last.items():
            grouped[arm, recipe].append(subject)
        units = {key: Unit(base=own[0].base.name, arm=key[0], recipe=key[1]) for key, own in grouped.items()}
        names = Names(units.values())
        return [Arm(own[0].base.name, names(units[key]), key[0], tuple(own)) for key, own in grouped.items()]

    def _write_concepts(self, prompts: Sequence[Prompt], effort: Effort, *, world: bool) -> str:
        """Write the pairs of all concepts into the run, and return the id of their folder."""
        own = [
            *refusal_pairs(prompts, self.pair.harmful.subset, self.pair.harmless[0].subset, effort.pairs),
            *written(world=world, limit=effort.pairs),
        ]
        id = digest(BENCHMARK, VERSION, own)
        folder = self.run.folder("prompts", id)
        if not folder.complete:
            folder.start()
            tables = {stored_prompts.TABLE: stored_prompts.to_table(own)}
            folder.finish(tables=tables, info={"label": "prompts of concepts", "prompts": len(own)})
        return id

    def _reading(self, subject: Subject, analysis: ResolvedAnalysis, prompts: str) -> ReadJob:
        own = self.conditions
        return ReadJob.make(
            self.study.name_of(subject),
            subject=subject,
            analysis=analysis,
            benchmark=BENCHMARK,
            prompts=prompts,
            system=own.system,
            template=own.template,
            template_arguments=own.template_arguments,
            backend=own.backend,
        )

    def _directions(
        self, activations: Mapping[str, Activations], base: Subject, subjects: Sequence[Subject], names: Sequence[str]
    ) -> Iterable[DirectionChange]:
        tuned = [activations[subject.id] for subject in subjects]
        layers = activations[base.id].values.shape[1] - 1
        for concept in names:
            rng = np.random.default_rng(seed_of("explain", concept, self.study.design.analysis_seed))
            yield from direction_changes(
                activations[base.id],
                tuned,
                concept,
                rng,
                confidence=self.study.design.confidence,
                shuffles=max(999, 50 * layers),
            )

    # ------------------------------------------------------------------------------------------ the readout

    def _judge(self) -> Judge:
        """Return the run's judge of refusals, or that of aftertune where it asks a model or needs to know the data."""
        name = self.study.primary_judges.get("refusal", "")
        known = next((judge for judge in self.study.judges if judge.name == name), None)
        if known is not None:
            judge = load_judge(known.spec)
            if judge.cost is None and not judge.needs:
                return judge
        return load_judge(PluginSpec("refusal"))

    def _refused(self, answers: Sequence[Answer], base: ModelRecord) -> list[bool | None]:
        """Return whether each answer is a full refusal; None where that is not judged."""
        found: list[bool | None] = []
        for said in opinions.opinions(self._judge(), answers, JudgeContext(model=base.identity)):
            own = [each for each in said if each.axis == "refusal" and each.status == "ok"]
            found.append(own[0].label == REFUSED if own else None)
        return found

    def _openings(self, own: AskJob, sampling: SampleJob, prompts: Sequence[Prompt]) -> Openings:
        """Learn how a base opens refusals, from its answers in the run and from those that were sampled."""
        by_id = {prompt.id: prompt for prompt in prompts}
        responses = records(Response, self.run.job(own).read("responses"))
        read = [row for row in responses if not row.error and not row.unanswered]
        said: list[tuple[str, str, str]] = [(row.prompt_id, row.text, row.finish_reason) for row in read]
        sampled = records(Sampled, self.run.job(sampling).read(TABLE))
        said += [(row.prompt_id, row.text, row.finish_reason) for row in sampled]
        answers = [Answer(by_id[id], text, finish) for id, text, finish in said if id in by_id]
        refused = self._refused(answers, own.subject.base)
        both = list(zip(answers, refused, strict=True))
        return learn_openings(
            [answer.text for answer, is_refusal in both if is_refusal],
            [answer.text for answer, is_refusal in both if is_refusal is False],
        )

    def _readouts(
        self,
        base: ModelRecord,
        own: Subject,
        arms: Sequence[Arm],
        values: Mapping[str, Mapping[str, float]],
        harmful: Sequence[Prompt],
        harmless: Sequence[Prompt],
    ) -> Iterable[ReadoutChange]:
        for arm, prompts in itertools.product(arms, (harmful, harmless)):
            found = readout_change(
                (base.name, arm.name, prompts[0].subset),
                values[own.id],
                [values[subject.id] for subject in arm.subjects],
                {prompt.id: prompt.cluster for prompt in prompts},
                confidence=self.study.design.confidence,
            )
            if found is not None:
                yield found

    def _between_seeds(
        self,
        base: ModelRecord,
        arms: Sequence[Arm],
        values: Mapping[str, Mapping[str, float]],
        activations: Mapping[str, Activations],
        harmful: Sequence[Prompt],
    ) -> Iterable[SeedsApart]:
        """Return the first two seeds of each arm against each other."""
        for arm in arms:
            if len(arm.subjects) < 2:
                continue
            one, other = arm.subjects[:2]
            readout = readout_change(
                (base.name, arm.name, self.pair.harmful.subset),
                values[one.id],
                [values[other.id]],
                {prompt.id: prompt.cluster for prompt in harmful},
                confidence=self.study.design.confidence,
            )
            if readout is not None:
                changes = tuple(self._directions(activations, one, [other], (REFUSAL, PRIVACY)))
                yield SeedsApart(base=base.name, arm=arm.name, readout=readout, directions=changes)

    def _twin(
        self,
        base: ModelRecord,
        everybody: Sequence[Subject],
        values: Mapping[str, Mapping[str, float]],
        asked: Sequence[AskJob],
    ) -> Twin:
        """Return how the readout agrees with the refusals that the run's judge found."""
        judge = self.study.primary_judges.get("refusal", "")
        job_of = {
            job.responses: job
            for job in self.study.of(JudgeJob)
            if job.judge.name == judge and job.benchmark == self.pair.harmful.benchmark
        }
        responses = {job.subject.id: job.id for job in asked}
        models: list[ReadAndJudged] = []
        for subject in everybody:
            job = job_of.get(responses[subject.id])
            if job is None:
                continue
            refused: dict[str, list[bool]] = defaultdict(list)
            cluster_of: dict[str, str] = {}
            columns = ["prompt_id", "cluster", "subset", "axis", "label", "status"]
            for row in self.run.job(job).read("verdicts", columns).to_pylist():
                if row["axis"] == "refusal" and row["status"] == "ok" and row["subset"] == self.pair.harmful.subset:
                    refused[row["prompt_id"]].append(row["label"] == REFUSED)
                    cluster_of[row["prompt_id"]] = row["cluster"]
            shared = [id for id in refused if id in values[subject.id]]
            if shared:
                read = np.array([values[subject.id][id] for id in shared])
                share = np.array([np.mean(refused[id]) for id in shared])
                recipe = digest(subject.arm, subject.recipe)
                models.append(ReadAndJudged(recipe, read, share, tuple(cluster_of[id] for id in shared)))
        return twin_of(base.name, models, self.study.design.confidence)

    # ------------------------------------------------------------------------------------------ interventions

    def _to_intervene(self, arms: Sequence[Arm], rows: Sequence[ReadoutChange]) -> list[Arm]:
        """Return the arms asked for, else up to two that lost the most by some readouts."""
        if self.arms:
            return [arm for arm in arms if arm.arm in self.arms]
        lost = {row.arm: row.log_odds.value if row.by_log_odds else row.share.value for row in rows if row.lost}
        most = 2 if arms and self._small(arms[0].subjects[0].base) else 1
        return sorted((arm for arm in arms if arm.name in lost), key=lambda arm: lost[arm.name])[:most]

    def _intervened(
        self,
        read: _Read,
        about: str,
        arms: Sequence[Arm],
        tried: Sequence[Prompt],
        asked: Sequence[Prompt],
        openings: tuple[str, ...],
        do: Do,
    ) -> tuple[tuple[Effect, ...], tuple[str, ...]]:
        """Intervene in the base and in one checkpoint of each arm; return what that did, and what could not be done."""
        base = read.own.subject
        layers = read.activations[base.id].values.shape[1] - 1
        small = self._small(read.base)
        places = (0.25, 0.5, 0.75) if small else (0.5,)
        parts = np.array_split(np.arange(1, layers + 1), min(layers, 8 if small else 5))
        jobs = {
            read.base.name if subject.is_base else self.study.name_of(subject): InterveneJob.make(
                self.study.name_of(subject),
                subject,
                about,
                read.reading.id,
                read.own.prompts if about == REFUSAL else read.concepts,
                read=tuple(prompt.id for prompt in tried),
                asked=tuple(prompt.id for prompt in asked),
                openings=openings,
                single=tuple(sorted({max(1, round(layers * part)) for part in places})),
                blocks=tuple(tuple(int(layer) for layer in part) for part in parts),
                draws=read.effort.draws,
                seed=self.study.design.analysis_seed,
                conditions=self.conditions,
            )
            for subject in (base, *(arm.subjects[0] for arm in arms))
        }
        do(list(jobs.values()))
        by_id = {prompt.id: prompt for prompt in tried}
        made = {name: tuple(self._effects(name, job, by_id)) for name, job in jobs.items()}
        notes = [f"{name}: no intervention could be read out on {about}" for name, found in made.items() if not found]
        notes += [
            f"{name}: no shuffled update of {part_name(part)}: {why}"
            for name, job in jobs.items()
            for part, why in self.run.job(job).info()[UNSHUFFLED].items()
        ]
        return tuple(effect for found in made.values() for effect in found), tuple(notes)

    def _effects(self, name: str, job: InterveneJob, prompts: Mapping[str, Prompt]) -> Iterable[Effect]:
        """Return what the interventions in one subject did, beside their nulls."""
        rows = records(Intervened, self.run.job(job).read(READOUTS))
        kept = self._kept(job, prompts)
        return effects((name, job.about), rows, kept, prompts, self.study.design.confidence)

    def _kept(self, job: InterveneJob, prompts: Mapping[str, Prompt]) -> Mapping[Key, Mapping[str, bool]]:
        """Return which answers refuse, or keep private what may not be passed on, under each intervention."""
        rows = records(AnsweredSo, self.run.job(job).read(ANSWERS))
        answers = [Answer(prompts[row.prompt_id], row.text, row.finish_reason) for row in rows]
        judged = self._refused if job.about == REFUSAL else self._kept_private
        found: dict[Key, dict[str, bool]] = defaultdict(dict)
        for row, kept in zip(rows, judged(answers, job.subject.base) if answers else [], strict=True):
            if kept is not None:
                found[row.how, row.direction, row.layers][row.prompt_id] = kept
        return found

    def _kept_private(self, answers: Sequence[Answer], base: ModelRecord) -> list[bool | None]:
        """Return whether each answer keeps back what may not be passed on; None where that is not judged.

        By the letter where there are letters. In the shipped models' world it must be a message that they might write,
        without the thing.
        """
        by_letter = FORBIDDEN not in answers[0].prompt.expect
        judge = load_judge(PluginSpec("choice" if by_letter else "world"))
        found: list[bool | None] = []
        for said in opinions.opinions(judge, answers, JudgeContext(model=base.identity)):
            labels = {each.axis: each.label for each in said if each.status == "ok"}
            if by_letter:
                found.append(labels["accuracy"] == "correct" if "accuracy" in labels else None)
            else:
                found.append(labels["privacy"] != "revealed" and labels["coherence"] == "coherent")
        return found


def _whole_clusters(prompts: Sequence[Prompt], pairs: int) -> list[Prompt]:
    """Return all prompts of the first clusters that hold so many pairs: what is in one balances each other."""
    kept: list[Prompt] = []
    for cluster in dict.fromkeys(prompt.cluster for prompt in prompts):
        if len(kept) >= 2 * pairs:
            break
        kept += [prompt for prompt in prompts if prompt.cluster == cluster]
    return kept


def _spread(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """Return up to `limit` prompts, the first of each cluster before the second of any."""
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for position, prompt in enumerate(prompts):
        ranked.append((seen[prompt.cluster], position))
        seen[prompt.cluster] += 1
    return [prompts[position] for _, position in sorted(ranked)[:limit]]
