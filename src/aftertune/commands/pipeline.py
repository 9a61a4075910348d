"""The whole flow: plan the cells, skip the finished, hand the rest to an executor, then decide and report.

corpus --compose--> variants --tune--> checkpoints --respond--> responses --judge--> verdicts
       --drift--> drifts --gate--> decisions --report--> page
"""

from __future__ import annotations

import dataclasses
import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aftertune import plugins
from aftertune.asking import scoring_job as scoring
from aftertune.deciding import drift, gate, policy
from aftertune.deciding.measures import measures
from aftertune.errors import StoreError, UsageError
from aftertune.files import holder, writing
from aftertune.findings import SubjectMeasure
from aftertune.models.weight_files import settings
from aftertune.plugins import PluginSpec
from aftertune.records import Decision, Drift, Outcome, digest, plain
from aftertune.reporting import report, tabulate
from aftertune.reporting.gather import gather
from aftertune.reporting.table_values import Found
from aftertune.run import checksums as sealed
from aftertune.run import progress as standing
from aftertune.run.executor import Executor
from aftertune.run.job import Cell
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.run.worker import Worker, all_verdicts
from aftertune.studies import parts, refusals, servers
from aftertune.studies import plan as planning
from aftertune.studies import plugin_text as written
from aftertune.studies.design import Design
from aftertune.studies.pinned import pinned
from aftertune.studies.plan import Plan

log = logging.getLogger(__name__)

LOCAL = PluginSpec("local")
Progress = Callable[[str, int, int], None]
"""Called with what has just been done (empty at the start), cells done, and cells in all."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    outcome: Outcome
    decisions: tuple[Decision, ...]
    drifts: tuple[Drift, ...]
    """Every estimate, by every judge."""
    gated: tuple[Drift, ...]
    """Those by the judge that the gate listens to: the first in the design that offers the axis."""
    root: Path
    report: Path
    warnings: tuple[str, ...] = ()
    measures: tuple[SubjectMeasure, ...] = ()
    """What no share of responses shows: d-prime, criterion, violation; empty where no benchmark asks for it."""
    costs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Judge -> what it took in calls and tokens, for judges that are language models."""


def quiet(done: str, count: int, total: int) -> None:
    """Report progress to the log only."""
    log.info("%d of %d %s", count, total, done)


def run(design: Design, root: Path, *, executor: PluginSpec = LOCAL, progress: Progress = quiet) -> Result:
    """Run a design in a run folder, or continue it, and decide.

    Raises UsageError, ModelError for what cannot be honoured (before compute is spent), StoreError for the folder,
    TuneError, AdapterNotAppliedError and JudgeError for what went wrong.
    """
    plan = planning.make(design)
    refusals.machine(design)
    executor = servers.suited(design, executor)
    known = Run.open(root).design() if (root / "design.toml").is_file() else None
    asked = pinned(design, known)
    if asked != design:
        design, plan = asked, planning.make(asked)
    now = settings_of(plan)
    place = Run.create(root, design, facts() | {"settings": now})
    if place.design() != design:
        plan = planning.make(place.design())
    _same_settings(place, now)
    runner: Executor = plugins.load("executor", executor.name, executor.parameters)
    with place.lock():
        todo = unfinished(place, plan)
        total = len(plan.cells)
        count = total - len(todo)
        at_once = int(getattr(runner, "at_once", 1))
        watch = standing.Watch(root, plan.cells, {cell.id for cell in plan.cells} - {cell.id for cell in todo}, at_once)
        if isinstance(progress, standing.Watcher):
            progress.watch(watch)
        progress("", count, total)

        def done(cell: Cell) -> None:
            nonlocal count
            count += 1
            watch.done(cell)
            progress(cell.label, count, total)

        with standing.Session(root, total, len(todo), at_once):
            runner.run(todo, standing.Logged(root.absolute(), Worker(root.absolute())), done)
            standing.note(root, standing.DECIDING)
            return decide(place, plan)


def unfinished(place: Run, plan: Plan) -> list[Cell]:
    """Return the cells that are not complete; a damaged one is named in the log and will be done again."""
    todo = []
    for cell in plan.cells:
        folder = place.cell(cell.kind, cell.id)
        if folder.complete:
            damaged = folder.verify()
            if damaged is None:
                folder.tidy()
                continue
            log.warning("%s/%s: damaged, doing '%s' again", folder.path, damaged, cell.label)
            about = {"cell": f"{cell.kind}/{cell.id}", "label": cell.label, "file": damaged}
            standing.note(place.root, "cell damaged", level="warning", **about)
            with writing(folder.path):
                (folder.path / "manifest.json").unlink()
        todo.append(cell)
    return todo


def decide(place: Run, plan: Plan) -> Result:
    """Compute drifts, decisions and the report from a run's verdicts, and write them into the run folder."""
    design = plan.design
    metrics = parts.run_metrics(design)
    verdicts = drift.Coded(all_verdicts(place, plan, drift.COLUMNS))
    drifts = drift.drift(
        verdicts, metrics, seed=design.analysis_seed, confidence=design.confidence, contrasts=design.contrasts
    )
    first = parts.primary_judges(design)
    axis = {metric.name: metric.axis for metric in metrics}
    gated = [d for d in drifts if first.get(axis[d.metric]) == d.judge]
    rules = policy.load(design.policy)
    decisions = gate.gate(gated, rules, metrics)
    outcome = gate.overall(decisions)
    place.keep("drift.parquet", _parquet(drifts))
    memory = scoring.memorisation(place, plan)
    more = measures(place, plan, verdicts)
    place.keep("memorisation.json", _json(memory))
    gated_pairs = {(d.metric, d.judge) for d in gated}
    mixed = drift.mixed_signs(
        verdicts, metrics, seed=design.analysis_seed, counts=lambda name, judge: (name, judge) in gated_pairs
    )
    findings = dataclasses.replace(
        gather(place, plan, metrics, verdicts, drifts, decisions, outcome),
        mixed=mixed,
        measures=more,
        memorisation=memory,
        contradictions=drift.contradictions(gated, mixed),
        spreads=drift.spreads(verdicts, metrics, confidence=design.confidence),
        bands=drift.bands(verdicts, metrics, seed=design.analysis_seed, confidence=design.confidence),
    )
    sources = Found(verdicts, metrics, drifts, findings.leaks, more, memory)
    findings = dataclasses.replace(findings, tables=tabulate.fill(plan, sources))
    page = report.report(findings)
    place.keep("decisions.json", _json({"outcome": outcome, "decisions": [dataclasses.asdict(d) for d in decisions]}))
    if more:
        place.keep("measures.json", _json([dataclasses.asdict(each) for each in more]))
    place.keep("report.md", page.markdown.encode())
    place.keep("report.json", page.json.encode())
    where = place.keep("report.html", page.html.encode())
    made = ["drift.parquet", "memorisation.json", "decisions.json", "report.md", "report.json", "report.html"]
    sealed.record(place.root, [*made, "measures.json"] if more else made)
    costs: dict[str, Any] = {name: about["cost"] for name, about in findings.judges.items() if "cost" in about}
    return Result(
        outcome, tuple(decisions), tuple(drifts), tuple(gated), place.root, where, plan.warnings, tuple(more), costs
    )


def _parquet(drifts: Sequence[Drift]) -> bytes:
    import io

    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table(Drift, drifts), buffer)
    return buffer.getvalue()


def _json(value: object) -> bytes:
    return (json.dumps(plain(value), indent=1, allow_nan=False) + "\n").encode()


def facts() -> dict[str, object]:
    """Return what a run records of its surroundings: versions and hardware, nothing that names a person."""
    packages = ("aftertune", "torch", "transformers", "peft", "trl", "numpy", "scipy", "pyarrow")
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version(), **found},
        "hardware": {"machine": platform.machine(), "system": platform.system()},
    }


def settings_of(plan: Plan) -> dict[str, str]:
    """Return, per model on this machine that is asked, the hash of what decides its answers beside its weights.

    That is its configuration (an adapter's scale, rope, end tokens), tokenizer and chat template: ids hold the weights.
    """
    design, found = plan.design, {}
    for base in plan.bases:
        given = [each.path for each in design.checkpoints if (each.base or design.bases[0]) == base.name]
        for name, model in [(base.name, base.model), *((n, parts.model(n, base.model, design.backend)) for n in given)]:
            if model.kind != "served":
                found[name] = digest(settings(model.path), model.tokenizer_hash, model.template_hash)
    return {digest(name): value for name, value in found.items()}


def _same_settings(place: Run, now: Mapping[str, str]) -> None:
    """Refuse to go on with answers of one chat template, and more of another. Raises UsageError."""
    design, before = place.design(), place.facts().get("settings")
    if not isinstance(before, dict):  # a run of an earlier version
        return
    names = {digest(name): name for name in (*design.bases, *(each.path for each in design.checkpoints))}
    changed = [names.get(key, key) for key, value in now.items() if before.get(key, value) != value]
    if changed:
        raise UsageError(
            f"{place.root}: since the run began, {', '.join(changed)} got another configuration, tokenizer or chat "
            "template beside the same weights; put it back, or choose another folder with -o"
        )


# ---------------------------------------------------------------------------------------------- ways in


def study(design: Design, root: Path, *, executor: PluginSpec = LOCAL, progress: Progress = quiet) -> Result:
    """Run a study's design (`aftertune study`): as `run`, what this machine lacks named at once."""
    lacking = parts.lacking(design, fetch=True)
    if lacking:
        missing = ", ".join(each.short for each in lacking)
        raise UsageError(f"{design.name}: cannot be had here: {missing}; `aftertune plan` says what each needs first")
    return run(design, root, executor=executor, progress=progress)


def again(root: Path) -> Result:
    """Compute drifts, decisions and the report of a run anew, asking no model (`aftertune drift`, `report`).

    Raises StoreError for a run that is not done, where a process works in it, and for a damaged file.
    """
    place = Run.open(root)
    with place.lock():
        plan = planning.make(place.design())
        left = [cell.label for cell in plan.cells if not place.cell(cell.kind, cell.id).complete]
        if left:
            raise StoreError(
                f"{root}: {len(left)} of {len(plan.cells)} cells are not done yet ('{left[0]}' for one); "
                "run the command that began it again to continue it"
            )
        return decide(place, plan)


def judge_again(root: Path, judges: Sequence[str], *, progress: Progress = quiet) -> Result:
    """Let more judges read a run's stored responses (`aftertune judge RUN --judge NAME`); no model is asked.

    `judges` as `written.plugin` takes them.
    """
    place = Run.open(root)
    design = place.design()
    wanted = [written.plugin("judge", judge) for judge in judges]
    known = {parts.judge_name(part) for part in design.judges}
    more = tuple(part for part in wanted if parts.judge_name(part) not in known)
    if more:
        design = pinned(dataclasses.replace(design, judges=(*design.judges, *more)), design)
        planning.make(design)  # refuses what cannot be honoured before the run is touched
        with place.lock():
            place.redesign(design)
    return run(design, root, progress=progress)


def status(root: Path) -> dict[str, Any]:
    """Return where a run stands (`aftertune status`), also one that another process works on.

    `cells`: kind -> cells in all, done, running and waiting, seconds by the clock and CPU seconds of those done;
    `running`: labels; `seconds_left`, None while nobody works on it or nothing is known yet; `process` that works on
    it; `last_failure`: the last cell that failed and is not done since; `outcome`.
    """
    place = Run.open(root)
    plan = planning.make(place.design())
    process = holder(root)
    complete = {cell.id for cell in plan.cells if place.cell(cell.kind, cell.id).complete}
    now = standing.Watch(root, plan.cells, complete).standing()
    failed = standing.failure(root)
    if failed is not None and str(failed.get("cell", "")).rpartition("/")[2] in complete:
        failed = None
    decisions, outcome = root / "decisions.json", None
    if decisions.is_file():
        try:
            if process is None:  # else it may be making them anew
                sealed.check(root, decisions.name)
            outcome = json.loads(decisions.read_bytes())["outcome"]
        except (ValueError, KeyError, TypeError):
            raise StoreError(f"{decisions}: damaged; `aftertune drift {root}` makes it again") from None
    kinds = {
        row.kind: {
            "cells": row.cells,
            "done": row.done,
            "running": row.running if process else 0,
            "waiting": row.waiting if process else row.cells - row.done,
            "seconds": row.seconds,
            "cpu_seconds": row.cpu_seconds,
        }
        for row in now.rows
    }
    return {
        "name": plan.design.name,
        "kind": plan.design.kind,
        "cells": kinds,
        "running": list(now.running) if process else [],
        "seconds_left": now.left if process else None,
        "process": process,
        "last_failure": failed,
        "outcome": outcome,
    }


def drifts_of(root: Path) -> list[Drift]:
    """Return a finished run's drifts. Raises UsageError where it has none yet, StoreError for damaged ones."""
    import pyarrow.parquet as pq

    path = root / "drift.parquet"
    if not path.is_file():
        raise UsageError(f"{root}: no drifts yet; run `aftertune drift {root}`")
    sealed.check(root, path.name)
    try:
        return records(Drift, pq.read_table(path))
    except (OSError, ValueError):
        raise StoreError(f"{path}: damaged; `aftertune drift {root}` makes it again") from None
