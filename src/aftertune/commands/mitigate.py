"""What undoes it (`aftertune mitigate`): tries mitigations on a finished run, and ends in a frontier with intervals.

run --design with mitigations--> repair study --drift, gate--> decisions --compare--> frontier --> the cheapest adapter
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.commands.decide import Result
from aftertune.commands.study import LOCAL, Cache, Progress, do, facts, quiet, shared_folder
from aftertune.deciding.repair import AXES, TASK_MARGIN, Frontier, frontiers, kind_of
from aftertune.deciding.verdict_table import COLUMNS, VerdictTable
from aftertune.errors import UsageError
from aftertune.extras import explained
from aftertune.files import writing
from aftertune.models.subject import Subject
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.records import Outcome, plain
from aftertune.reporting import figures, repair_figure
from aftertune.reporting import repair as page
from aftertune.run import checksums
from aftertune.run.job import Job
from aftertune.run.run_folder import Run
from aftertune.studies import plugin_text, refusals, stored
from aftertune.studies.design import Design
from aftertune.studies.jobs import arm_name, own_subsets
from aftertune.studies.resolve import load_benchmark, load_judge, resolve, resolve_mitigation
from aftertune.studies.run_tables import all_verdicts
from aftertune.studies.study import Study
from aftertune.tuning.further_job import FurtherJob
from aftertune.tuning.mitigation import OWN, OWN_REQUESTS, Need, judged_axes
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.tuning.tune_job import TuneJob

FOR_REFUSALS = (
    "kl_on_refusals:with_answers=true",
    "kl_on_refusals:with_answers=true,in_context=true",
    "kl_on_refusals:with_answers=true,in_context=true,first_tokens=5,rows_per_step=2,more_epochs=1",
    "own_refusals:with_answers=true",
)
FOR_PRIVACY = (
    "kl_on_privacy:weight=10,rows_per_step=4",
    "kl_on_privacy:weight=10,rows_per_step=4,with_refusals=true,with_answers=true",
)
FOR_BOTH = ("own_answers", "interpolation", "regmean", "null_space")
"""What is tried where nothing is asked for, by what an arm lost, as far as what is at hand allows. The doses are those
that the miniature's development prompts chose (docs/repair.md), where they differ from the published ones; the third is
the one that brought refusals back on a real model in the context of its task, too (docs/studies/real/repair.md)."""
HELD_OUT = 50
"""Conversations that are kept out of the training for the task's loss, where the run kept none."""
CARD = "README.md"


@dataclass(frozen=True)
class Repair:
    """What became of the mitigations of a run."""

    outcome: Outcome
    """`pass` where one is recommended for each arm, `drift` where none of an arm's repairs, else `undecided`."""
    frontiers: tuple[Frontier, ...]
    root: Path
    """The run folder of the study that tried them."""
    report: Path
    """The frontier as Markdown, with a picture of each arm's (SVG) beside it."""
    adapters: tuple[Path, ...]
    """Folders of what is recommended, one for each training seed: plain PEFT adapters, or full models, with a card."""
    left_out: tuple[str, ...]
    """Mitigations that were not tried, with the reason."""
    notes: tuple[str, ...]
    """What else a reader should know."""
    result: Result
    """Of the study, with its own report."""


@public("mitigate")
@explained()
def mitigate(
    run: PathLike,
    out: PathLike | None = None,
    *,
    methods: Sequence[str | PluginSpec] = (),
    arms: Sequence[str] = (),
    own: str | PluginSpec = "",
    task_margin: float = TASK_MARGIN,
    executor: str | PluginSpec = LOCAL,
    workers: int = 0,
    progress: Progress = quiet,
    cache: Cache = True,
) -> Repair:
    """Try mitigations on a finished study or audit (`aftertune mitigate`), and recommend the cheapest that repairs.

    Args:
        run: The run folder. What it finished is taken over, not done again, wherever nothing about it changes.
        out: Run folder of the study that tries them; None takes `RUN-repair`. The same call continues it.
        methods: `NAME` or `NAME:key=value,...` of mitigations; empty tries a choice of them, by what was lost.
        arms: Which arms are repaired; empty takes those that lost refusals of harmful requests or contextual privacy.
        own: The benchmark whose requests the bases are asked for refusals, answers and private replies of their own;
            empty takes one that the run does not ask.
        task_margin: Share of the plain tuning's held-out loss by which a repaired model's may be higher; 0.01 nats per
            token may it be in any case.
        executor: Where the jobs run, as for `study`.
        workers: Processes at once, short for the executor `local:workers=N`; 0 is one per core.
        progress: Called as jobs finish, with (what was done, jobs done, jobs in all).
        cache: Where the base's answers are shared between runs, as for `study`.

    Raises:
        UsageError, ModelError: What cannot be honoured, before any compute is spent.
        StoreError: The run is not done, or a folder cannot be used.
        TuneError, AdapterNotAppliedError, JudgeError: What went wrong.
    """
    if not 0 < task_margin < 1:
        raise UsageError(f"task_margin = {task_margin}: give a share above 0 and below 1, e.g. 0.02")
    old = Run.open(Path(run))
    before = stored.read(old)
    if before.design.kind == "repair":
        raise UsageError(f"{run}: is a run of mitigations itself; name the run that it was made from")
    asked = [plugin_text.plugin("mitigation", each) for each in methods]
    for spec in asked:
        resolve_mitigation(spec)  # a wrong name is told before anything about the run
    lost = _lost(old, before)
    repaired = _arms(before, lost, arms)
    wanted = asked or [plugin_text.plugin("mitigation", each) for each in _usual(lost, repaired)]
    source = plugin_text.plugin("benchmark", own) if own else _own_benchmark(before.design)
    tried, left_out = _at_hand(before.design, wanted, source, chosen=bool(methods))
    left_out += _untried(before.design, tried, repaired)
    planned = repair_design(before.design, tried, repaired, source)
    root = Path(f"{str(run).rstrip('/')}-repair") if out is None else Path(out)
    there = stored.continued(root, planned)
    resolved = resolve(there or planned, there, shared=shared_folder(cache))
    refusals.refuse_machine(resolved.design)
    refusals.refuse_models(resolved)
    place = stored.begin(root, resolved, facts())
    adopt(old, place, resolved.jobs)
    runner = refusals.suitable_executor(resolved, plugin_text.executor(executor, workers))
    result = do(place, resolved, executor=runner, progress=progress)
    found = tuple(found_frontiers(place, resolved, result, task_margin))
    adapters = [path for each in found for path in _hand_out(place, resolved, each, _called(each, found))]
    report = _keep(place, found, left_out, task_margin)
    return Repair(
        _outcome(found, repaired),
        found,
        place.root,
        report,
        tuple(adapters),
        tuple(left_out),
        _notes(before.design, planned),
        result,
    )


def _notes(before: Design, planned: Design) -> tuple[str, ...]:
    notes = []
    if planned.data.held_out != before.data.held_out:
        notes.append(
            f"the run kept no rows for the task's loss: its data are made anew with {planned.data.held_out} "
            "conversations kept out, and its arms tuned anew"
        )
    if not any(spec.name == "task" for spec in planned.benchmarks):
        notes.append("without held-out rows (--held-out) the task is not measured, so nothing is recommended")
    return tuple(notes)


def _outcome(found: Sequence[Frontier], repaired: Sequence[str]) -> Outcome:
    """Return what came of it; an arm of which nothing was tried is not repaired."""
    if {each.arm for each in found} >= set(repaired) and all(each.recommended for each in found):
        return "pass"
    hopeless = [
        each
        for each in found
        if all(row.verdict == "does not repair" for row in each.rows if row.recipe != each.recipe)
    ]
    return "drift" if hopeless else "undecided"


# ---------------------------------------------------------------------------------------------- the study that tries


def repair_design(
    design: Design, mitigations: Sequence[PluginSpec], arms: Sequence[str], own: PluginSpec | None
) -> Design:
    """Return the design that tries mitigations on some arms of a design, with what the frontier needs beside them.

    Added are requests in the context of the tuned task, the task itself on held-out rows where there are any, and the
    judge of the task; left out are judges of other axes, contrasts, tables, analyses and predictors, and canaries. The
    other arms are composed, since all are matched to the tokens of the smallest, and not tuned. An arm that is trained
    with several recipes is repaired with each. A mitigation in the chat template has everybody asked with their own.
    """
    tried = tuple(mitigations)
    kept = tuple(dataclasses.replace(arm, mitigations=tried if arm.name in arms else ()) for arm in design.arms)
    plain = tuple(dataclasses.replace(recipe, mitigations=()) for recipe in design.recipes)
    after = tuple(spec for spec in tried if resolve_mitigation(spec).stage == "after")
    given = tuple(
        dataclasses.replace(each, mitigations=after if (each.arm or arm_name(each)) in arms else ())
        for each in design.checkpoints
    )
    own_template = any(resolve_mitigation(spec).own_template for spec in tried)
    data, sources = design.data, bool(design.sources)
    if kept and not (data.held_out or data.non_members):
        data = dataclasses.replace(data, held_out=HELD_OUT)
    names = {spec.name for spec in design.benchmarks}
    benchmarks = list(design.benchmarks)
    judges = [spec for spec in design.judges if AXES & set(load_judge(spec).axes)]
    dressed = next((spec for spec in design.benchmarks if sources and _has_refusals(spec)), None)
    if dressed is not None and "dressed" not in names:
        benchmarks.append(PluginSpec("dressed", {"benchmark": dressed.to_table()}))
    if sources and (data.held_out or data.non_members) and "task" not in names:
        benchmarks.append(PluginSpec("task"))
    if any(spec.name == "task" for spec in benchmarks) and all(spec.name != "reference" for spec in judges):
        judges.append(PluginSpec("reference"))
    return dataclasses.replace(
        design,
        name=f"{design.name[:70]}-repair",
        kind="repair",
        arms=kept,
        checkpoints=given,
        data=dataclasses.replace(data, canaries=0, canary_file=""),
        recipe=dataclasses.replace(design.recipe, mitigations=()),
        respond=dataclasses.replace(design.respond, template="own") if own_template else design.respond,
        recipes=plain,
        own=own,
        benchmarks=tuple(benchmarks),
        judges=tuple(judges),
        analyses=(),
        predictors=(),
        contrasts=(),
        tables=(),
        until_decided=False,
    )


def _has_refusals(spec: PluginSpec) -> bool:
    benchmark = load_benchmark(spec)
    refusal = {each.worse for each in benchmark.metrics if (each.axis, each.label) == ("refusal", "full")}
    return not benchmark.needs and "down" in refusal


def _own_benchmark(design: Design) -> PluginSpec | None:
    """Return a benchmark whose requests the design does not ask; None where aftertune has none at hand."""
    if all(base.split(":")[0] == "embedded" for base in design.bases):
        return PluginSpec("training_requests")
    return None if any(spec.name == "core" for spec in design.benchmarks) else PluginSpec("core")


def _at_hand(
    design: Design, wanted: Sequence[PluginSpec], own: PluginSpec | None, *, chosen: bool
) -> tuple[list[PluginSpec], list[str]]:
    """Return the mitigations that can be tried, and the others with the reason.

    Raises UsageError for one that was asked for and cannot be tried, and where none can.
    """
    tried, left_out = [], []
    for spec in wanted:
        mitigation = resolve_mitigation(spec)
        why = ""
        if mitigation.stage != "after" and not design.arms:
            why = "it acts on a training, and the run has finished checkpoints alone: run it as a study"
        elif "rows" in mitigation.needs and not design.sources:
            why = "it needs the tuning data, which the run was not given (--train-data)"
        elif judged_axes([mitigation]) and own is None:
            why = "it needs what the base says itself: name a benchmark that the run does not ask (--own)"
        elif own and (lacking := _lacking(mitigation, own)):
            why = f"it needs {OWN_REQUESTS[lacking]}, and '{own.name}' has none: name another (--own)"
        if why and chosen:
            raise UsageError(f"mitigation '{spec.name}': {why}")
        if why:
            left_out.append(f"{mitigation.label}: {why}")
        else:
            tried.append(spec)
    if not tried:
        raise UsageError(f"no mitigation can be tried on this run; {left_out[0]}")
    return tried, left_out


def _lacking(mitigation: ResolvedMitigation, own: PluginSpec) -> Need | None:
    """Return the first need of a mitigation that the answers to a benchmark's requests cannot meet."""
    metrics = load_benchmark(own).metrics
    return next((need for need in OWN if need in mitigation.needs and not own_subsets(metrics, need)), None)


def _untried(design: Design, tried: Sequence[PluginSpec], arms: Sequence[str]) -> list[str]:
    """Return a line for each arm on which none of the mitigations can be tried. Raises UsageError where that is all."""
    if any(resolve_mitigation(spec).stage == "after" for spec in tried):
        return []
    trained = {arm.name for arm in design.arms}
    left = [name for name in arms if name not in trained]
    if left and len(left) == len(arms):
        raise UsageError(
            f"no mitigation can be tried on '{left[0]}': all that were chosen act on a training, and it has finished "
            "checkpoints alone"
        )
    return [f"{name}: it has finished checkpoints alone, and all that is tried acts on a training" for name in left]


def _lost(run: Run, study: Study) -> Mapping[str, set[str]]:
    """Return which arms drift on `safety` (refusals of harmful requests) and which on contextual `privacy`.

    Raises UsageError where nothing is decided yet.
    """
    path = run.root / "decisions.json"
    if not path.is_file():
        raise UsageError(f"{run.root}: nothing is decided yet; run the command that began it again to continue it")
    checksums.check(run.root, path.name)
    kinds = {metric.name: kind_of(metric) for metric in study.metrics}
    lost: dict[str, set[str]] = {"safety": set(), "privacy": set()}
    decisions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["decisions"]
    for each in decisions:
        if each["outcome"] == "drift" and (kind := kinds.get(each["metric"], "")) in lost:
            lost[kind].add(each["arm"])
    return lost


def _usual(lost: Mapping[str, set[str]], arms: Sequence[str]) -> Sequence[str]:
    """Return what is tried on these arms where nothing is asked for, by what they lost."""
    private = bool(lost["privacy"].intersection(arms))
    unsafe = bool(lost["safety"].intersection(arms)) or not private
    return (*(FOR_REFUSALS if unsafe else ()), *(FOR_PRIVACY if private else ()), *FOR_BOTH)


def _arms(study: Study, lost: Mapping[str, set[str]], wanted: Sequence[str]) -> list[str]:
    """Return the arms to repair: those named, else those that lost something that can be repaired.

    Raises UsageError for an unknown arm, and where nothing drifts.
    """
    known = list(dict.fromkeys(subject.arm for subject in study.subjects if not subject.is_base))
    for name in wanted:
        if name not in known:
            raise UsageError(f"no arm '{name}' in this run: it has {', '.join(known)}")
    if wanted:
        return list(wanted)
    drifted = set[str]().union(*lost.values())
    if not drifted:
        raise UsageError(
            "nothing to repair: no arm of this run drifts on refusals of harmful requests or contextual privacy; name "
            "arms to try"
        )
    return [name for name in known if name in drifted]


def adopt(old: Run, new: Run, jobs: Sequence[Job]) -> int:
    """Copy what a run has finished into another that has the same jobs to do, and return how many these are.

    A job's id holds everything that decides what comes out, so its folder is the same in both. Raises StoreError where
    nothing can be written.
    """
    count = 0
    for job in jobs:
        there, here = old.job(job), new.job(job)
        if here.complete or here.path.exists() or not there.complete or there.verify() is not None:
            continue
        with writing(here.path):
            scratch = here.path.with_name(f".{here.path.name}.part")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copytree(there.path, scratch)
            scratch.rename(here.path)
        count += 1
    return count


# ---------------------------------------------------------------------------------------------- its frontier


def found_frontiers(run: Run, study: Study, result: Result, task_margin: float) -> list[Frontier]:
    """Return the frontier of each arm of a study that tried mitigations."""
    tuned = [subject for subject in study.subjects if not subject.is_base]
    groups: dict[tuple[str, str, str], list[str]] = {}
    plain_of = _plain_recipes(study)
    for subject in tuned:
        plain_name = plain_of[subject.id]
        names = groups.setdefault((subject.base.name, subject.arm, plain_name), [])
        if subject.recipe != plain_name and subject.recipe not in names:
            names.append(subject.recipe)
    return frontiers(
        VerdictTable(all_verdicts(run, study, COLUMNS)),
        study.metrics,
        result.decisions,
        {key: names for key, names in groups.items() if names},
        _seconds(run, study, plain_of),
        study.primary_judges,
        confidence=study.design.confidence,
        task_margin=task_margin,
    )


def _plain_recipes(study: Study) -> Mapping[str, str]:
    """Return the id of a tuned subject -> the recipe without any mitigation that it belongs to."""
    recipes = [recipe.name for recipe in study.design.recipes or (study.design.recipe,)]
    recipes += [given.recipe for given in study.design.checkpoints]
    found = {}
    for subject in study.subjects:
        own = [name for name in recipes if subject.recipe == name or subject.recipe.startswith(f"{name}+")]
        if own:
            found[subject.id] = max(own, key=len)
    return found


def _seconds(run: Run, study: Study, plain_of: Mapping[str, str]) -> dict[tuple[str, str, str], float]:
    """Return (base, arm, recipe) -> mean CPU seconds over seeds: of the training, and of what is done after it."""
    of_job: dict[str, float] = {}
    for job in study.of(TuneJob):
        of_job[job.id] = float(run.job(job).info()["tuning"]["seconds"])
    for further in study.of(FurtherJob):
        trained = of_job.get(further.tuned.tuned_by or "", 0.0)
        of_job[further.id] = trained + float(run.job(further).info()["seconds"])
    times: dict[tuple[str, str, str], list[float]] = {}
    for subject in study.subjects:
        if subject.tuned_by in of_job and subject.id in plain_of:
            times.setdefault((subject.base.name, subject.arm, subject.recipe), []).append(of_job[subject.tuned_by])
    return {key: sum(each) / len(each) for key, each in times.items()}


def _keep(run: Run, found: Sequence[Frontier], left_out: Sequence[str], task_margin: float) -> Path:
    """Write the frontier into the run, as Markdown with pictures and as JSON, and return the Markdown's path."""
    pictures = ["repair.svg" if len(found) == 1 else f"repair-{_called(each, found)}.svg" for each in found]
    for name, each in zip(pictures, found, strict=True):
        run.keep(name, figures.svg(repair_figure.figure(each, task_margin)).encode())
    text = page.markdown(found, pictures)
    if left_out:
        text += "\nNot tried:\n\n" + "".join(f"- {each}\n" for each in left_out)
    rows = {"frontiers": plain(list(found)), "left_out": list(left_out)}
    run.keep("repair.json", (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode())
    return run.keep("repair.md", text.encode())


def _called(frontier: Frontier, among: Sequence[Frontier]) -> str:
    """Return what tells an arm apart from the others that are repaired, as the beginning of a folder's name."""
    parts = [frontier.arm]
    if len({each.recipe for each in among if each.arm == frontier.arm}) > 1:
        parts.append(frontier.recipe)
    bases = list(dict.fromkeys(each.base for each in among))
    if len(bases) > 1:
        parts.append(f"base-{bases.index(frontier.base) + 1}")
    return "-".join(parts)


def _hand_out(run: Run, study: Study, frontier: Frontier, called: str) -> list[Path]:
    """Copy the recommended checkpoints, if any, out of their jobs, each with a card, and return their folders."""
    chosen = [
        subject
        for subject in study.subjects
        if (subject.base.name, subject.arm, subject.recipe) == (frontier.base, frontier.arm, frontier.recommended)
    ]
    last = max((subject.epoch or 0 for subject in chosen), default=0)
    folders = []
    for subject in chosen:
        if (subject.epoch or 0) != last:
            continue
        source = subject.checkpoint(run.root)
        assert source is not None
        seed = "" if subject.train_seed is None else f"-seed-{subject.train_seed}"
        target = run.root / "repaired" / f"{called}{seed}"
        with writing(target):
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)
            is_adapter = (target / "adapter_config.json").is_file()
            text = _card(study, frontier, subject, is_adapter=is_adapter)
            (target / CARD).write_text(text, encoding="utf-8")
        folders.append(target)
    return folders


def _card(study: Study, frontier: Frontier, subject: Subject, *, is_adapter: bool) -> str:
    """Return a model card: what was done to this checkpoint, by what figures it was chosen, what it leaves."""
    weights = subject.base.weights_hash or "unknown"
    made = (job for job in study.jobs if isinstance(job, TuneJob | FurtherJob) and job.id == subject.tuned_by)
    mitigation = next(job.mitigation for job in made)
    card = mitigation.get().card if mitigation is not None else None
    lines = [
        "---",
        f"base_model: {subject.base.name}",
        *(["library_name: peft"] if is_adapter else []),
        "---",
        "",
        f"# {frontier.arm}, {frontier.recommended}",
        "",
        f"Tuned from {subject.base.name} (weights SHA-256 {weights}) on the data variant '{frontier.arm}'"
        + ("" if subject.train_seed is None else f", training seed {subject.train_seed}")
        + f", with the mitigation `{frontier.recommended.removeprefix(f'{frontier.recipe}+')}`.",
        "",
        *([card.about, "", f"Source: {card.source}", "", f"Known weaknesses: {card.weaknesses}", ""] if card else []),
        "It was chosen as the cheapest mitigation that repairs, by these figures:",
        "",
        *page.table(frontier),
        "",
        *page.said(frontier),
        "",
        *page.READING,
        "",
    ]
    return "\n".join(lines)
