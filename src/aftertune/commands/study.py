"""Run a design (`aftertune study`): resolve it, skip the finished jobs, hand the rest to an executor, then decide.

corpus --compose--> variants --tune--> checkpoints --ask--> responses --judge--> verdicts
       --drift--> drifts --gate--> decisions --report--> page
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aftertune.commands.decide import Result, decide
from aftertune.errors import UsageError
from aftertune.extras import explained
from aftertune.files import writing
from aftertune.plugins import PluginSpec
from aftertune.run import progress as following
from aftertune.run.job import Job
from aftertune.run.run_folder import Run
from aftertune.run.worker import Worker
from aftertune.studies import refusals, stored
from aftertune.studies.design import Design
from aftertune.studies.missing import missing
from aftertune.studies.resolve import load_executor, resolve
from aftertune.studies.study import Study

log = logging.getLogger(__name__)

LOCAL = PluginSpec("local")
Progress = Callable[[str, int, int], None]
"""Called with what has just been done (empty at the start), jobs done, and jobs in all."""


def quiet(done: str, count: int, total: int) -> None:
    """Report progress to the log only."""
    log.info("%d of %d %s", count, total, done)


@explained()
def study(design: Design, root: Path, *, executor: PluginSpec = LOCAL, progress: Progress = quiet) -> Result:
    """Run a study's design (`aftertune study`): as `run`, what this machine lacks named at once."""
    if lacking := missing(design, fetch=True):
        names = ", ".join(each.short for each in lacking)
        raise UsageError(f"{design.name}: cannot be had here: {names}; `aftertune plan` says what each needs first")
    return run(design, root, executor=executor, progress=progress)


@explained()
def run(design: Design, root: Path, *, executor: PluginSpec = LOCAL, progress: Progress = quiet) -> Result:
    """Run a design in a run folder, or continue it, and decide.

    Raises UsageError, ModelError for what cannot be honoured (before compute is spent), StoreError for the folder,
    TuneError, AdapterNotAppliedError and JudgeError for what went wrong.
    """
    before = stored.continued(root, design)
    resolved = resolve(before or design, before)
    refusals.refuse_machine(resolved.design)
    executor = refusals.suitable_executor(resolved, executor)
    return do(stored.begin(root, resolved, facts()), resolved, executor=executor, progress=progress)


def do(place: Run, resolved: Study, *, executor: PluginSpec, progress: Progress) -> Result:
    """Do the jobs of a study that are not finished in its run, and decide. Raises what the jobs raise."""
    runner = load_executor(executor)
    root = place.root.absolute()
    with place.lock():
        todo = unfinished(place, resolved)
        total = len(resolved.jobs)
        count = total - len(todo)
        finished = {job.id for job in resolved.jobs} - {job.id for job in todo}
        watch = following.Watch(root, resolved.jobs, finished, runner.at_once)
        if isinstance(progress, following.Watcher):
            progress.watch(watch)
        progress("", count, total)

        def done(job: Job) -> None:
            nonlocal count
            count += 1
            watch.done(job)
            progress(job.label, count, total)

        with following.Session(root, total, len(todo), runner.at_once):
            runner.run(todo, following.Logged(root, Worker(root)), done)
            following.note(root, following.DECIDING)
            return decide(place, resolved)


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
            following.note(place.root, "job damaged", level="warning", **about)
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
