"""Turn a design into cells: what there is to do, in which order, under which ids. Nothing heavy is loaded here."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.asking import scoring as score
from aftertune.errors import ModelError, UsageError
from aftertune.judging import opinions as judging
from aftertune.models import identity as models
from aftertune.models import respond
from aftertune.plugins import PluginSpec
from aftertune.records import BASE_ARM, Arm, Recipe, digest
from aftertune.run.job import Cell
from aftertune.studies import parts, refusals
from aftertune.studies.design import Design, Given
from aftertune.tuning import tune
from aftertune.variants import compose

_CODE = {
    "compose": compose.VERSION,
    "tune": tune.VERSION,
    "respond": respond.VERSION,
    "judge": judging.VERSION,
    "score": score.VERSION,
}
"""Step -> version of its code: it goes into ids, so results of older code are not taken for today's."""


@dataclass(frozen=True)
class Base:
    """A base model of the design."""

    name: str
    model: models.ModelRef


@dataclass(frozen=True)
class Subject:
    """Somebody to ask: the base, or one checkpoint."""

    base: Base
    arm: str
    recipe: str
    train_seed: int | None
    epoch: int | None
    id: str
    path: str | None
    """Folder or hub name of the checkpoint, relative to the run where it was tuned here; None is the base itself."""
    tuned_by: str | None = None
    """Id of the tuning cell that makes it."""
    corpus: str | None = None
    """Name of the corpus that it was tuned on; None for the base, and where nobody knows."""


@dataclass(frozen=True)
class ComposeJob:
    """Make all data variants for one base (its tokenizer counts, its own answers may be the targets)."""

    base: Base


@dataclass(frozen=True)
class TuneJob:
    """Tune one base on one variant with one recipe and seed."""

    base: Base
    arm: Arm
    recipe: Recipe
    seed: int
    variants: str


@dataclass(frozen=True)
class RespondJob:
    """Ask one subject one benchmark."""

    subject: Subject
    benchmark: PluginSpec
    variants: str | None
    corpus: str | None
    """Whose prompts, where the benchmark needs data; else the subject's own."""


@dataclass(frozen=True)
class JudgeJob:
    """Judge one subject's responses to one benchmark."""

    responses: str
    asked: RespondJob
    base_responses: str
    judge: PluginSpec
    corpus: str | None
    """Whose people and conversations the judge is given; None gives it none."""


@dataclass(frozen=True)
class ScoreJob:
    """Tell how probable one checkpoint finds rows that it was tuned on, held-out rows, canaries and twins."""

    subject: Subject
    variants: str
    arm: str
    """Whose files: the arm's own, or `source` for a checkpoint that was given."""
    max_length: int
    """Tokens at which a text is cut, as in its tuning."""


Job = ComposeJob | TuneJob | RespondJob | JudgeJob | ScoreJob


@dataclass(frozen=True)
class Plan:
    """Every cell of a run, with what each has to do."""

    design: Design
    bases: tuple[Base, ...]
    subjects: tuple[Subject, ...]
    cells: tuple[Cell, ...]
    jobs: Mapping[str, Job]
    warnings: tuple[str, ...]

    def of(self, kind: str) -> list[Cell]:
        """Return the cells of one kind."""
        return [cell for cell in self.cells if cell.kind == kind]


def make(design: Design) -> Plan:
    """Plan a design.

    Raises UsageError or ModelError for anything that cannot be honoured, before any compute is spent.
    """
    bases = tuple(Base(name, parts.model(name, None, design.backend)) for name in design.bases)
    warnings: list[str] = []
    for base in bases:
        if base.model.kind == "adapter":
            raise ModelError(f"{base.name}: is an adapter; the base must be a full model")
        if base.model.kind == "served":
            warnings.append(_unknown(base.model))
    refusals.needs(design)
    warnings += refusals.only_generated(design)
    asked_models = {base.name: base.model for base in bases}
    cells: list[Cell] = []
    jobs: dict[str, Job] = {}
    subjects: list[Subject] = []

    def add(kind: str, job: Job, id_: str, after: tuple[str, ...], cost: float, label: str) -> str:
        cells.append(Cell(kind, id_, after, cost, label, _runs_a_model(job), _alike(job)))
        jobs[id_] = job
        return id_

    recipes = refusals.left_in(design, warnings)
    for base in bases:
        variants: str | None = None
        if design.sources:
            made = digest(
                "variants",
                _CODE["compose"],
                {name: parts.part_id("corpus", part) for name, part in design.sources.items()},
                [dataclasses.replace(arm, recipes=()) for arm in design.arms],
                design.match_tokens,
                design.data_seed,
                design.data,
                parts.content(design.data.non_members),
                parts.content(design.data.canary_file),
                base.model.identity,
                base.model.tokenizer_hash,
                _CODE["respond"] if any(arm.answers == "self_generated" for arm in design.arms) else None,
            )
            variants = add("variants", ComposeJob(base), made, (), 2.0, f"compose for {base.name}")
        asked = [Subject(base, BASE_ARM, "", None, None, digest("model", base.model.identity), None)]
        for arm, recipe, seed in itertools.product(design.arms, recipes, design.seeds):
            if recipe in design.recipes_of(arm):
                assert variants is not None
                data = dataclasses.replace(arm, recipes=())
                id_ = digest("tune", _CODE["tune"], base.model.identity, variants, data, recipe, seed)
                own = _checkpoints(design, base, arm, recipe, seed, id_)
                add("checkpoints", TuneJob(base, arm, recipe, seed, variants), id_, (variants,), 10.0,
                    f"tune {called(own[-1], design, epoch=False)}")  # fmt: skip
                asked += own
        for given in design.checkpoints:
            if (given.base or design.bases[0]) == base.name:
                found = parts.model(given.path, base.model, design.backend)
                asked_models[given.path] = found
                if found.kind == "served":
                    warnings.append(_unknown(found))
                warnings += [f"{given.path}: {warning}" for warning in found.warnings]
                asked.append(_given(design, base, given, found))
        _refuse_twins(asked)
        subjects += asked
        if variants is not None and not parts.unscored(design):
            _add_scores(design, asked[1:], variants, add)
        _add_questions(design, asked, variants, add)
    parts.tell_judges_apart(design, asked_models)
    return Plan(design, bases, tuple(subjects), tuple(cells), jobs, tuple(warnings))


def _checkpoints(design: Design, base: Base, arm: Arm, recipe: Recipe, seed: int, id_: str) -> list[Subject]:
    """Return the checkpoints of a tuning that are asked."""
    first = 1 if design.respond.epochs == "all" else recipe.epochs
    return [
        Subject(base, arm.name, recipe.name, seed, epoch, digest("checkpoint", id_, epoch),
                f"checkpoints/{id_}/epoch-{epoch}", id_, arm.corpus)
        for epoch in range(first, recipe.epochs + 1)
    ]  # fmt: skip


def _given(design: Design, base: Base, given: Given, found: models.ModelRef) -> Subject:
    id_ = digest("model", base.model.identity, found.identity)
    corpus = design.corpus_of(given)
    return Subject(
        base, given.arm or _arm_name(given), given.recipe, given.seed, given.epoch, id_, str(found.path),
        corpus=corpus if corpus in design.sources else None,
    )  # fmt: skip


def _refuse_twins(asked: list[Subject]) -> None:
    """Raise UsageError for a checkpoint that stands twice, or one seed of a recipe that has two checkpoints."""
    ids = Counter(subject.id for subject in asked)
    if max(ids.values()) > 1:
        names = ", ".join(s.path or s.base.name for s in asked if ids[s.id] > 1)
        raise UsageError(f"the same checkpoint is given twice: {names}")
    seeds = Counter((s.arm, s.recipe, s.train_seed, s.epoch) for s in asked if s.train_seed is not None)
    for (arm, recipe, seed, _), count in seeds.items():
        if count > 1:
            raise UsageError(
                f"arm '{arm}', recipe '{recipe}': two checkpoints have training seed {seed} at the same epoch; give "
                "independent trainings different seeds"
            )


def _add_questions(design: Design, asked: list[Subject], variants: str | None, add: Any) -> None:
    """Add what is asked and judged: of the base once, or once per corpus where the data decide the prompts or labels.

    The base of several corpora is held against each of them, so that every arm is compared with the base's answers
    under its own corpus.
    """
    backend_id = parts.part_id("backend", design.backend)
    for part in design.benchmarks:
        needs, asked_id = bool(parts.benchmark(part).needs), parts.part_id("benchmark", part)
        cells: dict[str | None, tuple[str, RespondJob]] = {}
        judged: list[tuple[str, RespondJob]] = []
        for subject in asked:
            for corpus in list(design.sources) if needs and subject.path is None else [subject.corpus]:
                own = variants if needs else None
                id_ = digest(
                    "responses",
                    _CODE["respond"],
                    subject.base.model.identity,
                    subject.id,
                    asked_id,
                    own,
                    corpus,
                    design.respond,
                    backend_id,
                )
                job = RespondJob(subject, part, own, corpus)
                after = tuple(need for need in (subject.tuned_by, own) if need)
                of = f" on {corpus}" if needs and corpus else ""
                add("responses", job, id_, after, 3.0, f"ask {called(subject, design)} {part.name}{of}")
                judged.append((id_, job))
                if subject.path is None:
                    cells[corpus] = (id_, job)
        for judge_part in design.judges:
            judge_id, reads = parts.part_id("judge", judge_part), bool(parts.judge(judge_part).needs & parts.DATA)
            for id_, job in judged:
                for corpus in _held_against(design, job, needs, reads):
                    before = cells[job.corpus if needs else None][0]
                    verdict = digest(
                        "verdicts", _CODE["judge"], id_, before, judge_id, variants, job.subject.arm, corpus
                    )
                    after = tuple(dict.fromkeys((id_, before, *((variants,) if variants else ()))))
                    of = f" on {corpus}" if corpus and job.subject.path is None else ""
                    label = f"judge {called(job.subject, design)} {parts.judge_name(judge_part)}{of}"
                    add("verdicts", JudgeJob(id_, job, before, judge_part, corpus), verdict, after, 1.0, label)


def _held_against(design: Design, job: RespondJob, needs: bool, reads: bool) -> list[str | None]:
    """Return the corpora under which a judge reads the answers of a cell."""
    if needs or job.subject.path is not None:
        return [job.corpus]
    if reads or len(design.sources) == 1:
        return list(design.sources)
    return [None]


def _add_scores(design: Design, subjects: list[Subject], variants: str, add: Any) -> None:
    arms = {arm.name: arm for arm in design.arms}
    lengths = {recipe.name: recipe.max_length for recipe in design.recipes or (design.recipe,)}
    for subject in subjects:
        arm = arms.get(subject.arm) if subject.tuned_by else None
        if arm is None and not (design.data.non_members or design.data.canary_file):
            continue
        length = lengths.get(subject.recipe, max(lengths.values()))
        file = parts.named("source", subject.corpus or "") if arm is None else arm.name
        job = ScoreJob(subject, variants, file, length)
        id_ = digest(
            "scores", _CODE["score"], subject.base.model.identity, subject.id, variants, job.arm,
            length, design.respond.template, parts.part_id("backend", design.backend),
        )  # fmt: skip
        add("scores", job, id_, (subject.tuned_by or variants, variants), 1.0, f"score {called(subject, design)}")


def _unknown(model: models.ModelRef) -> str:
    said = ", ".join(f"{key} '{value}'" for key, value in sorted(model.declared.items()) if key != "asked")
    return f"{model.name}: served model; weights unknown (the server declares: {said or 'nothing yet'})"


def called(subject: Subject, design: Design, *, epoch: bool = True) -> str:
    """Return a subject's name for people: its arm, seed and epoch; base and recipe where the design has several."""
    parts_ = [f"{subject.base.name}:"] if len(design.bases) > 1 else []
    parts_ += [subject.arm]
    if len(design.tuned_with(subject.arm)) > 1:
        parts_ += [subject.recipe]
    if subject.train_seed is not None:
        parts_ += [f"seed {subject.train_seed}"]
        parts_ += [f"epoch {subject.epoch}"] if subject.epoch and epoch else []
    return " ".join(parts_)


def _runs_a_model(job: Job) -> bool:
    """Return whether a cell loads a model; a judge that does says so with `accelerator`."""
    return not isinstance(job, JudgeJob) or bool(getattr(parts.judge(job.judge), "accelerator", False))


def _alike(job: Job) -> str:
    """Return what decides how long a cell takes, beside its kind."""
    if isinstance(job, ComposeJob):
        return job.base.name
    if isinstance(job, TuneJob):
        return f"{job.base.name}/{job.recipe.name}"
    if isinstance(job, ScoreJob):
        return job.subject.base.name
    asked = job.asked if isinstance(job, JudgeJob) else job
    judge = f"/{parts.judge_name(job.judge)}" if isinstance(job, JudgeJob) else ""
    return f"{asked.subject.base.name}/{parts.benchmark_name(asked.benchmark)}{judge}"


def _arm_name(given: Given) -> str:
    name = Path(given.path).name or given.path
    return "".join(char if char.isalnum() or char in "._+-" else "-" for char in name).lstrip(".-_+")[:80] or "tuned"
