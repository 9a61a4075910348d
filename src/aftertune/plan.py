"""Turn a design into cells: what there is to do, in which order, under which ids. Nothing heavy is loaded here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune import models, parts, policy
from aftertune.design import Design, Given, Part
from aftertune.errors import ModelError, UsageError
from aftertune.kinds import BenchmarkContext, Cell
from aftertune.records import BASE_ARM, Arm, digest
from aftertune.steps import compose, respond, score, tune
from aftertune.steps import judge as judging

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


@dataclass(frozen=True)
class ComposeJob:
    """Make all data variants for one base (its tokenizer counts, its own answers may be the targets)."""

    base: Base


@dataclass(frozen=True)
class TuneJob:
    """Tune one base on one variant with one seed."""

    base: Base
    arm: Arm
    seed: int
    variants: str


@dataclass(frozen=True)
class RespondJob:
    """Ask one subject one benchmark."""

    subject: Subject
    benchmark: Part
    variants: str | None


@dataclass(frozen=True)
class JudgeJob:
    """Judge one subject's responses to one benchmark."""

    responses: str
    asked: RespondJob
    base_responses: str
    judge: Part


@dataclass(frozen=True)
class ScoreJob:
    """Tell how probable one checkpoint finds rows that it was tuned on, held-out rows, canaries and twins."""

    subject: Subject
    variants: str
    arm: str
    """Whose files: the arm's own, or `source` for a checkpoint that was given."""
    role_swap: bool


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
    _meet_needs(design)
    cells: list[Cell] = []
    jobs: dict[str, Job] = {}
    subjects: list[Subject] = []

    def add(kind: str, job: Job, id_: str, after: tuple[str, ...], cost: float, label: str) -> str:
        cells.append(Cell(kind, id_, after, cost, label))
        jobs[id_] = job
        return id_

    for base in bases:
        variants: str | None = None
        if design.corpus is not None:
            made = digest(
                "variants",
                _CODE["compose"],
                parts.part_id("corpus", design.corpus),
                design.arms,
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
        for arm in design.arms:
            for seed in design.seeds:
                assert variants is not None
                id_ = digest("tune", _CODE["tune"], base.model.identity, variants, arm, design.recipe, seed)
                add(
                    "checkpoints",
                    TuneJob(base, arm, seed, variants),
                    id_,
                    (variants,),
                    10.0,
                    f"tune {arm.name} seed {seed}",
                )
                last = design.recipe.epochs
                for epoch in range(1 if design.respond.epochs == "all" else last, last + 1):
                    path = f"checkpoints/{id_}/epoch-{epoch}"
                    own = digest("checkpoint", id_, epoch)
                    asked.append(Subject(base, arm.name, design.recipe.name, seed, epoch, own, path, id_))
        for given in design.checkpoints:
            found = parts.model(given.path, base.model, design.backend)
            if found.kind == "served":
                warnings.append(_unknown(found))
                _judged_by_itself(design, found.names | base.model.names)
            warnings += [f"{given.path}: {warning}" for warning in found.warnings]
            asked.append(
                Subject(
                    base,
                    given.arm or _arm_name(given),
                    given.recipe,
                    given.seed,
                    given.epoch,
                    digest("model", base.model.identity, found.identity, found.tokenizer_hash),
                    str(found.path),
                )
            )
        twice = {s.id for s in asked if [other.id for other in asked].count(s.id) > 1}
        if twice:
            names = ", ".join(s.path or s.base.name for s in asked if s.id in twice)
            raise UsageError(f"the same checkpoint is given twice: {names}")
        subjects += asked
        if variants is not None and not parts.unscored(design):
            _add_scores(design, asked[1:], variants, add)
        _add_questions(design, asked, variants, add)
    return Plan(design, bases, tuple(subjects), tuple(cells), jobs, tuple(warnings))


def _add_questions(design: Design, asked: list[Subject], variants: str | None, add: Any) -> None:
    backend_id = parts.part_id("backend", design.backend)
    for part in design.benchmarks:
        ids: list[tuple[str, RespondJob]] = []
        needs, asked_id = parts.benchmark(part).needs, parts.part_id("benchmark", part)
        for subject in asked:
            id_ = digest(
                "responses",
                _CODE["respond"],
                subject.base.model.identity,
                subject.id,
                asked_id,
                variants if needs else None,
                design.respond,
                backend_id,
            )
            job = RespondJob(subject, part, variants if needs else None)
            after = tuple(need for need in (subject.tuned_by, job.variants) if need)
            ids.append((add("responses", job, id_, after, 3.0, f"ask {called(subject)} {part.name}"), job))
        for judge_part in design.judges:
            judge_id = parts.part_id("judge", judge_part)
            for id_, job in ids:
                judged = digest("verdicts", _CODE["judge"], id_, ids[0][0], judge_id, variants, job.subject.arm)
                after = tuple(dict.fromkeys((id_, ids[0][0], *((variants,) if variants else ()))))
                label = f"judge {called(job.subject)} {judge_part.name}"
                add("verdicts", JudgeJob(id_, job, ids[0][0], judge_part), judged, after, 1.0, label)


def _add_scores(design: Design, subjects: list[Subject], variants: str, add: Any) -> None:
    arms = {arm.name: arm for arm in design.arms}
    for subject in subjects:
        arm = arms.get(subject.arm) if subject.tuned_by else None
        if arm is None and not (design.data.non_members or design.data.canary_file):
            continue
        job = ScoreJob(subject, variants, "source" if arm is None else arm.name, arm is not None and arm.role_swap)
        id_ = digest(
            "scores", _CODE["score"], subject.base.model.identity, subject.id, variants, job.arm,
            design.recipe.max_length, design.respond.template, parts.part_id("backend", design.backend),
        )  # fmt: skip
        add("scores", job, id_, (subject.tuned_by or variants, variants), 1.0, f"score {called(subject)}")


def _unknown(model: models.ModelRef) -> str:
    said = ", ".join(f"{key} '{value}'" for key, value in sorted(model.declared.items()) if key != "asked")
    return f"{model.name}: served model; weights unknown (the server declares: {said or 'nothing yet'})"


def _judged_by_itself(design: Design, served: frozenset[str]) -> None:
    for part in design.judges:
        may_judge = getattr(parts.judge(part), "may_judge", None)
        if served and may_judge is not None:
            may_judge(served)


def called(subject: Subject) -> str:
    """Return a subject's name for people: its arm, seed and epoch."""
    if subject.train_seed is None:
        return subject.arm
    return f"{subject.arm} seed {subject.train_seed}" + (f" epoch {subject.epoch}" if subject.epoch else "")


def _arm_name(given: Given) -> str:
    name = Path(given.path).name or given.path
    return "".join(char if char.isalnum() or char in "._+-" else "-" for char in name).lstrip(".-_+")[:80] or "tuned"


def _meet_needs(design: Design) -> None:
    """Refuse by name what this design cannot give, before compute is spent."""
    if not design.benchmarks or not design.judges:
        raise UsageError("a design needs at least one [[benchmarks]] and one [[judges]]")
    if design.corpus is not None:
        parts.corpus(design.corpus)
        for path in (design.data.non_members, design.data.canary_file):
            if path and not Path(path).is_file():
                raise UsageError(f"{path}: no such file")
        if (design.data.canaries or design.data.held_out) and parts.unscored(design):
            raise UsageError(f"[data] canaries and held_out are for scoring texts: {parts.unscored(design)}")
    policy.load(design.policy)
    for part in design.benchmarks:
        missing = parts.benchmark(part).needs if design.corpus is None else frozenset()
        if missing:
            raise UsageError(
                f"benchmark '{part.name}' needs {', '.join(sorted(missing))}: give a [corpus] (--train-data)"
            )
        if hasattr(parts.benchmark(part), "files"):
            # A broken file is refused now, not after a model is loaded.
            parts.benchmark(part).prompts(BenchmarkContext())
    for part in design.judges:
        needs = parts.judge(part).needs
        if design.corpus is None and needs & {"registries", "training"}:
            raise UsageError(
                f"judge '{part.name}' needs {', '.join(sorted(needs))}: give a [corpus] (--train-data), or leave it out"
            )
    if parts.served_by(design.backend) is not None:
        if design.arms:
            raise UsageError(f"backend '{design.backend.name}' asks a server, which cannot tune: give [[checkpoints]]")
        if design.respond.template != "base":
            raise UsageError("template 'own': the server writes the chat template, so it cannot be chosen")
