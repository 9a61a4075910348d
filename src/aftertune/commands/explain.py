"""Why it happened (`aftertune explain`): readouts, directions and interventions on the models of a finished run.

base --sample, judge--> openings --read out--> readouts; pairs of prompts --activations--> directions --> interventions
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
from aftertune.inside.concepts import ABOUT, BENCHMARK, PRIVACY, REFUSAL, VERSION, ConceptPairs, refusal_pairs, written
from aftertune.inside.conditions import Conditions
from aftertune.inside.direction_changes import DirectionChange, direction_changes
from aftertune.inside.explanation import (
    ALL,
    ArmDirections,
    Effect,
    Explanation,
    ReadAndJudged,
    ReadoutChange,
    SeedsApart,
    Twin,
    mean,
    part_name,
    readout_change,
    twin_of,
)
from aftertune.inside.intervene_job import (
    ANSWERS,
    NONE,
    NOTHING,
    READOUTS,
    TUNED,
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
DRAWN = ("random ", "shuffled ")
"""How the directions of nulls begin."""
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
    """Prompts of each kind that are read out; an intervention is read out on half as many."""
    draws: int
    """Random directions beside each direction, and shuffled updates beside each block of layers: as many, since beside
    fewer than 19 neither would show anything."""
    samples: int
    """Sampled answers of the base to each of as many prompts, for its openings."""
    asked: int
    """Prompts that are answered under an intervention."""


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
        prompts: Prompts of each kind that are read out; None takes 88 or 24. Interventions are read out on half as many
            harmful ones, of clusters that the direction is not estimated from.
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
        harmful = [prompt for prompt in prompts if prompt.subset == self.pair.harmful.subset]
        harmless = [prompt for prompt in prompts if prompt.subset == self.pair.harmless[0].subset]
        concepts = self._write_concepts(prompts, effort, world=self.pair.harmful.benchmark == WORLD)

        analysis = ResolvedAnalysis.of(PluginSpec("concept_pairs"), ConceptPairs())
        everybody = [own.subject, *(subject for arm in arms for subject in arm.subjects)]
        reading = {subject.id: self._reading(subject, analysis, concepts) for subject in everybody}
        every = harmful
        harmful, harmless = (_spread(each, effort.prompts) for each in (harmful, harmless))
        chosen = tuple(prompt.id for prompt in (*harmful, *harmless))
        sampling = SampleJob.make(
            own.subject, own.prompts, chosen, effort.samples, self.study.design.analysis_seed, self.conditions
        )
        do([*reading.values(), sampling])

        notes: list[str] = []
        activations = {id: read_job.read(self.run.job(job)) for id, job in reading.items()}
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
        try:
            openings = self._openings(own, sampling, prompts)
        except DataError as error:
            return dataclasses.replace(empty, notes=(f"{base.name}: no readout: {error}",))

        reading_out = {
            subject.id: ReadoutJob.make(
                self.study.name_of(subject), subject, own.prompts, chosen, openings.texts, self.conditions
            )
            for subject in everybody
        }
        do(list(reading_out.values()))
        values = {id: readout_job.read(self.run.job(job)) for id, job in reading_out.items()}
        readouts = tuple(self._readouts(base, own.subject, arms, values, harmful, harmless))
        twin = self._twin(base, everybody, values, asked)
        apart = tuple(self._between_seeds(base, arms, values, activations, harmful))

        if len(held_clusters(activations[own.subject.id])) < 2:
            why = f"{base.name}: no interventions: harmful requests with look-alikes in too few clusters"
            return dataclasses.replace(
                empty,
                openings={base.name: openings},
                readouts=readouts,
                twins=(twin,),
                between_seeds=apart,
                notes=(why,),
            )
        chosen_arms = self._to_intervene(arms, readouts)
        if not chosen_arms:
            notes.append(
                f"{base.name}: no arm's refusals are seen to open less often, so none was intervened in but the base"
            )
        job_of = self._interventions(own, chosen_arms, reading[own.subject.id], openings, every, effort)
        do([job for _, job in job_of])
        by_id = {prompt.id: prompt for prompt in every}
        effects_of = [(name, tuple(self._effects(name, job, by_id))) for name, job in job_of]
        notes += [f"{name}: no intervention could be read out on any prompt" for name, found in effects_of if not found]
        notes += [
            f"{name}: no shuffled update of {part_name(part)}: {why}"
            for name, job in job_of
            for part, why in self.run.job(job).info()[UNSHUFFLED].items()
        ]
        return dataclasses.replace(
            empty,
            openings={base.name: openings},
            readouts=readouts,
            twins=(twin,),
            effects=tuple(effect for _, found in effects_of for effect in found),
            between_seeds=apart,
            notes=tuple(notes),
        )

    def _effort(self, base: ModelRecord) -> Effort:
        effort = FULL if base.parameters <= SMALL else BRIEF
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

    def _to_intervene(self, arms: Sequence[Arm], readouts: Sequence[ReadoutChange]) -> list[Arm]:
        """Return the arms asked for, else up to two that lost the most."""
        if self.arms:
            return [arm for arm in arms if arm.arm in self.arms]
        lost = {
            row.arm: row.log_odds.value if row.by_log_odds else row.share.value
            for row in readouts
            if row.subset == self.pair.harmful.subset and row.lost
        }
        most = 2 if arms and arms[0].subjects[0].base.parameters <= SMALL else 1
        return sorted((arm for arm in arms if arm.name in lost), key=lambda arm: lost[arm.name])[:most]

    def _interventions(
        self,
        own: AskJob,
        arms: Sequence[Arm],
        reading: ReadJob,
        openings: Openings,
        harmful: Sequence[Prompt],
        effort: Effort,
    ) -> list[tuple[str, InterveneJob]]:
        base = read_job.read(self.run.job(reading))
        layers = base.values.shape[1] - 1
        held = held_clusters(base)
        # Half of the prompts, as half of the clusters; were they taken of those that are read out, few could be held.
        apart = [prompt for prompt in harmful if prompt.cluster in held]
        read = tuple(prompt.id for prompt in _spread(apart, -(-effort.prompts // 2)))
        small = own.subject.base.parameters <= SMALL
        places = (0.25, 0.5, 0.75) if small else (0.5,)
        single = tuple(sorted({max(1, round(layers * part)) for part in places}))
        parts = np.array_split(np.arange(1, layers + 1), min(layers, 8 if small else 5))
        blocks = tuple(tuple(int(layer) for layer in part) for part in parts)
        subjects = [(own.subject.base.name, own.subject), *((arm.name, arm.subjects[0]) for arm in arms)]
        return [
            (
                self.study.name_of(subject) if not subject.is_base else name,
                InterveneJob.make(
                    self.study.name_of(subject),
                    subject,
                    reading.id,
                    own.prompts,
                    read=read,
                    asked=read[: effort.asked],
                    openings=openings.texts if small else openings.texts[:2],
                    single=single,
                    blocks=blocks,
                    draws=effort.draws,
                    seed=self.study.design.analysis_seed,
                    conditions=self.conditions,
                ),
            )
            for name, subject in subjects
        ]

    def _effects(self, name: str, job: InterveneJob, prompts: Mapping[str, Prompt]) -> Iterable[Effect]:
        """Return what the interventions in one subject did, beside random directions or shuffled updates as nulls."""
        readouts: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
        for row in records(Intervened, self.run.job(job).read(READOUTS)):
            if row.value is not None:
                readouts[row.how, row.direction, row.layers][row.prompt_id] = row.value
        refusals = self._refusals(job, prompts)
        before = readouts.pop((NOTHING, "", ""), {})
        none = readouts.pop((TUNED, "", NONE), None)
        if none is not None:
            readouts[TUNED, "", ALL] = before
        nulls: dict[tuple[str, str], list[float]] = defaultdict(list)
        for (how, direction, layers), values in readouts.items():
            start = none if how == TUNED and none is not None else before
            shared = [id for id in start if id in values]
            if direction.startswith(DRAWN) and shared:
                nulls[how, layers].append(float(np.mean([values[id] - start[id] for id in shared])))
        for (how, direction, layers), values in readouts.items():
            if direction.startswith(DRAWN):
                continue
            start = none if how == TUNED and none is not None else before
            shared = [id for id in start if id in values]
            if not shared:
                continue  # logits that are not numbers, say
            _, codes = np.unique([prompts[id].cluster for id in shared], return_inverse=True)
            change = np.array([[values[id] - start[id] for id in shared]])
            null = nulls.get((how, layers), [])
            answered = refusals.get((how, direction, layers))
            bare = refusals.get((NOTHING, "", ""))
            yield Effect(
                subject=name,
                how=how,
                direction=direction,
                layers=layers,
                before=float(np.mean([start[id] for id in shared])),
                change=mean(change, codes, self.study.design.confidence),
                null_low=min(null, default=None),
                null_high=max(null, default=None),
                n_null=len(null),
                refused=None if answered is None or bare is None else (bare[0], answered[0], answered[1]),
            )

    def _refusals(
        self, job: InterveneJob, prompts: Mapping[str, Prompt]
    ) -> Mapping[tuple[str, str, str], tuple[int, int]]:
        """Return (refusals, answers judged) under each intervention under which prompts were answered."""
        rows = records(AnsweredSo, self.run.job(job).read(ANSWERS))
        answers = [Answer(prompts[row.prompt_id], row.text, row.finish_reason) for row in rows]
        counts: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
        for row, refused in zip(rows, self._refused(answers, job.subject.base) if answers else [], strict=True):
            if refused is not None:
                counts[row.how, row.direction, row.layers].append(refused)
        return {key: (sum(own), len(own)) for key, own in counts.items()}


def _spread(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """Return up to `limit` prompts, the first of each cluster before the second of any."""
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for position, prompt in enumerate(prompts):
        ranked.append((seen[prompt.cluster], position))
        seen[prompt.cluster] += 1
    return [prompts[position] for _, position in sorted(ranked)[:limit]]
