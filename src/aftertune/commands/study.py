"""Run a design (`aftertune study`): resolve it, skip the finished jobs, hand the rest to an executor, then decide.

corpus --compose--> variants --tune--> checkpoints --ask--> responses --judge--> verdicts
       --drift--> drifts --gate--> decisions --report--> page
"""

from __future__ import annotations

import dataclasses
import logging
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from aftertune.commands.decide import Result, decide, undecided
from aftertune.commands.first_finding import FirstFinding
from aftertune.data import datasets
from aftertune.errors import AftertuneError, UsageError
from aftertune.extras import explained
from aftertune.files import writing
from aftertune.models.loaded import LOADED
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike, public
from aftertune.run import progress as following
from aftertune.run.job import Job
from aftertune.run.run_folder import Run
from aftertune.run.worker import Worker
from aftertune.stats.group_sequential import PARTS
from aftertune.studies import design as designs
from aftertune.studies import plugin_text, refusals, stored
from aftertune.studies.design import Design
from aftertune.studies.missing import missing
from aftertune.studies.resolve import load_executor, resolve
from aftertune.studies.study import Study

log = logging.getLogger(__name__)

T = TypeVar("T")

LOCAL = PluginSpec("local")
Progress = Callable[[str, int, int], None]
"""Called with what has just been done (empty at the start), jobs done, and jobs in all."""


def quiet(done: str, count: int, total: int) -> None:
    """Report progress to the log only."""
    log.info("%d of %d %s", count, total, done)


Cache = str | Path | bool
"""Where base answers are shared between runs: a folder, True for the user's cache folder, False for nowhere."""


@public("study")
def study(
    design: PathLike | Design,
    out: PathLike | None = None,
    *,
    executor: str | PluginSpec = LOCAL,
    workers: int = 0,
    progress: Progress = quiet,
    cache: Cache = True,
    until_decided: bool = False,
) -> Result:
    """Run a study's design (`aftertune study`), or continue it, and decide.

    Args:
        design: A `Design`, or a TOML file with one.
        out: Run folder; None takes `aftertune-NAME` with the design's name. The same call continues it.
        executor: Where the jobs run: `NAME`, `NAME:key=value,...`, e.g. `ray:gpus=1,cpus=4`, or a `PluginSpec`.
        workers: Processes at once, short for the executor `local:workers=N`; 0 is one per core.
        progress: Called as jobs finish, with (what was done, jobs done, jobs in all).
        cache: Where the base's answers are shared between runs: a folder, True for the user's cache folder, False for
            nowhere.
        until_decided: Whether prompts are asked in parts until every arm is decided, as the design's own
            `until_decided` says.

    Raises:
        UsageError, ModelError: What cannot be honoured, and what this machine lacks, before any compute is spent.
        StoreError: The folder cannot be used.
        TuneError, AdapterNotAppliedError, JudgeError, ServerError: What went wrong.
    """
    planned = design if isinstance(design, Design) else designs.read(Path(design))
    planned = dataclasses.replace(planned, until_decided=planned.until_decided or until_decided)
    runner = plugin_text.executor(executor, workers)
    if lacking := missing(planned, fetch=True):
        names = ", ".join(each.short for each in lacking)
        raise UsageError(f"{planned.name}: cannot be had here: {names}; `aftertune plan` says what each needs first")
    root = Path(f"aftertune-{planned.name}") if out is None else Path(out)
    return run(planned, root, executor=runner, progress=progress, cache=cache)


@explained()
def run(
    design: Design, root: Path, *, executor: PluginSpec = LOCAL, progress: Progress = quiet, cache: Cache = True
) -> Result:
    """Run a design in a run folder, or continue it, and decide.

    A base that has answered a benchmark before, in whatever run, is not asked again (`cache`): what it says depends on
    nothing that is tuned.

    A design that asks until it is decided is resolved with the first part of its prompts, or those that the run has
    already, and with one part more as long as an arm is undecided.

    Raises UsageError, ModelError for what cannot be honoured (before compute is spent), StoreError for the folder,
    TuneError, AdapterNotAppliedError and JudgeError for what went wrong.
    """
    before = stored.continued(root, design)
    parts = stored.parts(root) or 1
    while True:
        resolved = resolve(before or design, before, shared=shared_folder(cache), parts=parts)
        refusals.refuse_machine(resolved.design)
        if before is None:
            refusals.refuse_models(resolved)
        runner = refusals.suitable_executor(resolved, executor)
        place = stored.begin(root, resolved, facts())
        decides = not 0 < resolved.parts < PARTS
        if decides or not work(place, resolved, undecided, executor=runner, progress=progress):
            return do(place, resolved, executor=runner, progress=progress)
        before, parts = resolved.design, parts + 1


def do(
    place: Run,
    resolved: Study,
    *,
    executor: PluginSpec,
    progress: Progress,
    finished: Callable[[], None] = lambda: None,
) -> Result:
    """Do the jobs of a study that are not finished in its run, and decide. Raises what the jobs raise.

    `finished` is called when all of them are, before anything is decided.
    """
    return work(place, resolved, decide, executor=executor, progress=progress, finished=finished)


def work(
    place: Run,
    resolved: Study,
    then: Callable[[Run, Study], T],
    *,
    executor: PluginSpec,
    progress: Progress,
    finished: Callable[[], None] = lambda: None,
) -> T:
    """Do the jobs of a study that are not finished in its run, and what comes after them. Raises what they raise."""
    runner = load_executor(executor)
    root = place.root.absolute()
    with place.lock():
        todo = unfinished(place, resolved)
        total = len(resolved.jobs)
        count = total - len(todo)
        complete = {job.id for job in resolved.jobs} - {job.id for job in todo}
        follower = following.RunFollower(root, resolved.jobs, complete, runner.at_once)
        if isinstance(progress, following.FollowingProgress):
            progress.follow(follower)
        progress("", count, total)
        first = FirstFinding.of(resolved)
        waits = set(first.needs) - complete if first is not None else set()
        todo = [dataclasses.replace(job, early=True) if job.id in waits else job for job in todo]
        if first is not None and todo and not waits:
            show(first, place, resolved, progress)

        def done(job: Job) -> None:
            nonlocal count
            count += 1
            follower.done(job)
            progress(job.label, count, total)
            if first is not None and job.id in waits:
                waits.discard(job.id)
                if not waits:
                    show(first, place, resolved, progress)

        with following.LogSession(root, total, len(todo), runner.at_once):
            try:
                runner.run(todo, following.LoggedWork(root, Worker(root)), done)
            finally:
                LOADED.end_server()
            finished()
            following.log_event(root, following.DECIDING)
            return then(place, resolved)


def show(first: FirstFinding, place: Run, resolved: Study, progress: Progress) -> None:
    """Show a run's first finding where somebody follows the run; one that cannot be made stops nothing."""
    if not isinstance(progress, following.FollowingProgress):
        return
    try:
        row, base = first.row(place, resolved), first.told_apart(place, resolved)
    except AftertuneError as error:
        log.info("no first finding: %s", error)
        return
    if row is not None:
        progress.say(first.sentence(row, base))


def shared_folder(cache: Cache) -> str:
    """Return the absolute folder that `cache` means; empty for nowhere."""
    if isinstance(cache, bool):
        return str(datasets.answers().absolute()) if cache else ""
    folder = Path(cache).expanduser().absolute()
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        raise UsageError(f"--cache {cache}: {there} is no folder; give another, or --no-cache")
    return str(folder)


def unfinished(place: Run, resolved: Study) -> list[Job]:
    """Return the jobs that are not complete; a damaged one is named in the log and will be done again."""
    todo = []
    for job in resolved.jobs:
        folder = place.job(job)
        if folder.complete:
            damaged = folder.verify()
            if damaged is None:
                folder.tidy()
                continue
            log.warning("%s/%s: damaged, doing '%s' again", folder.path, damaged, job.label)
            about = {"job": f"{job.kind}/{job.id}", "label": job.label, "file": damaged}
            following.log_event(place.root, "job damaged", level="warning", **about)
            with writing(folder.path):
                (folder.path / "manifest.json").unlink()
        todo.append(job)
    return todo


def facts() -> dict[str, object]:
    """Return what a run records of its surroundings: versions and hardware, nothing that names a person."""
    packages = ("aftertune", "torch", "transformers", "peft", "trl", "numpy", "scipy", "pyarrow")
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"python": platform.python_version(), **versions},
        "hardware": {"machine": platform.machine(), "system": platform.system()},
    }
