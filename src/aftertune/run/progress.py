"""Progress of a run: its log, who works on it, which jobs are running, and how long the rest takes."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.errors import AftertuneError, StoreError
from aftertune.files import whoami, write
from aftertune.run import time_left
from aftertune.run.job import Job
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.job_record import JobRecord
from aftertune.text import excerpt

LOG, EARLIER = "log.jsonl", "log.1.jsonl"
"""One JSON object a line: `time`, `level`, `event`, mostly `job` (kind/id), `label` and `seconds`; docs/performance.md
has every event. Names of arms stand in it; personal values, keys and the text of models and data sets do not. A session
that finds it larger than `LARGEST` begins a new one and keeps the one before."""
LARGEST = 16 * 2**20
"""Bytes; a session adds about 500 for each job."""
FAILURE = "failure.json"
"""The last job that failed, with its error: not in the log, since an error may quote from data."""
RUN_BEGUN, RUN_DONE, RUN_STOPPED = "run begun", "run done", "run stopped"
JOB_BEGUN, JOB_DONE, JOB_FAILED, DECIDING = "job begun", "job done", "job failed", "deciding"
JOB_PROGRESS = "job progress"


def log_event(root: Path, event: str, *, level: str = "info", **facts: object) -> None:
    """Add an event to a run's log. A log that cannot be written stops nothing: writing results will fail by itself."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": stamp, "level": level, "event": event, **facts}, ensure_ascii=True) + "\n"
    with contextlib.suppress(OSError):
        # One write of an appended line is whole, whoever else appends.
        descriptor = os.open(root / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class LoggedWork:
    """Does jobs, and logs when each begins, ends or fails; picklable if `work` is."""

    root: Path
    work: Callable[[Job], None]

    def __call__(self, job: Job) -> None:
        """Do one job."""
        about = {"job": f"{job.kind}/{job.id}", "label": job.label}
        began = time.monotonic()
        log_event(self.root, JOB_BEGUN, **about, process=whoami())
        try:
            with PROGRESS.of_job(lambda facts: log_event(self.root, JOB_PROGRESS, **about, **facts)):
                self.work(job)
        except Exception as error:
            took = round(time.monotonic() - began, 3)
            log_event(self.root, JOB_FAILED, level="error", **about, seconds=took, error=type(error).__name__)
            # An error raised by another package may quote a prompt or a personal value: only its type is stored.
            what = " ".join(str(error).split())[:2000] if isinstance(error, AftertuneError) else type(error).__name__
            failed = {"time": time.time(), **about, "error": what}
            with contextlib.suppress(StoreError):
                write(self.root / FAILURE, json.dumps(failed).encode())
            raise
        took = round(time.monotonic() - began, 3)
        facts: dict[str, object] = {**about, **spent(self.root, job), "seconds": took}
        log_event(self.root, JOB_DONE, level="info", **facts)


def spent(root: Path, job: JobRecord) -> dict[str, float]:
    """Return the seconds of a finished job by its manifest, in all, for starting up and of CPU; 0 where unknown."""
    info: Mapping[str, Any] = {}
    with contextlib.suppress(StoreError):
        info = JobFolder(root / job.kind / job.id).info()
    return {name: float(info.get(name, 0.0)) for name in ("seconds", "start_seconds", "cpu_seconds")}


def failure(root: Path) -> Mapping[str, Any] | None:
    """Return `job`, `label`, `error` and `time` of the last job that failed; None where none did."""
    try:
        record = json.loads((root / FAILURE).read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


# ---------------------------------------------------------------------------------------------- status


@dataclass(frozen=True, slots=True)
class Row:
    """How far the jobs of one kind are."""

    kind: str
    jobs: int
    done: int
    running: int
    seconds: float
    """Wall-clock seconds of those that are done, summed."""
    cpu_seconds: float
    """CPU seconds of the same."""

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        return self.jobs - self.done - self.running


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a job that is running was when it last said so."""

    label: str
    done: int
    of: int
    unit: str
    """What is counted: answers, texts, verdicts, steps."""
    tokens: int
    """Written so far; 0 where none are counted."""
    share: float | None
    """Of the job's seconds; None before its first batch."""
    work_seconds: float
    """Seconds that the share took."""
    when: float
    """Seconds since the epoch."""

    def __str__(self) -> str:
        """Return e.g. `12 of 132 answers, 3,456 tokens`."""
        tokens = f", {self.tokens:,} tokens" if self.tokens else ""
        return f"{self.done:,} of {self.of:,} {self.unit}{tokens}"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How far a run is now."""

    rows: tuple[Row, ...]
    running: tuple[str, ...]
    """The jobs that are running, the oldest first: their labels, and how far each is where it has said so."""
    left: float | None
    """Seconds until the run is done; None while that is not known."""
    counts: tuple[Counts, ...] = ()
    """Of the running jobs that have said how far they are."""


class RunFollower:
    """Follows the log of a run; its status may be asked for from several threads."""

    def __init__(self, root: Path, jobs: Iterable[JobRecord], done: Iterable[str], workers: int = 1) -> None:
        """`done`: ids of the jobs that are complete already; `workers`: how many the executor runs at once."""
        self._root, self._jobs, self._workers = root, tuple(jobs), workers
        self._by_name = {f"{job.kind}/{job.id}": job for job in self._jobs}
        self._done = set(done)
        self._took: dict[str, time_left.FinishedJob] = {}
        self._begun: dict[str, float] = {}
        self._counts: dict[str, Counts] = {}
        self._offset = 0
        self._deciding: float | None = None
        self._guard = threading.Lock()
        self._last: tuple[float, RunStatus] | None = None

    def done(self, job: JobRecord) -> None:
        """Note that a job is complete."""
        with self._guard:
            self._done.add(job.id)

    def status(self, *, fresh: bool = False) -> RunStatus:
        """Return the status of the run; computed once a second at most, unless `fresh`."""
        with self._guard:
            began = time.monotonic()
            if self._last is None or fresh or began > self._last[0]:
                current = self._now()
                self._last = (began + max(1.0, 20 * (time.monotonic() - began)), current)
            return self._last[1]

    def _now(self) -> RunStatus:
        self._follow()
        now = time.time()
        # A job that the log does not hold, since the log was lost, is known by its manifest.
        for job in self._jobs:
            if job.id in self._done and job.id not in self._took:
                self._took[job.id] = self._by_manifest(job)
        took = [each for id_, each in self._took.items() if id_ in self._done]
        running = {id_: max(0.0, now - began) for id_, began in self._begun.items() if id_ not in self._done}
        rows: dict[str, list[float]] = {}
        for job in self._jobs:
            row = rows.setdefault(job.kind, [0, 0, 0, 0.0, 0.0])
            row[0] += 1
            if job.id in self._done:
                row[1] += 1
                row[3] += self._took[job.id].end - self._took[job.id].begin
                row[4] += self._took[job.id].cpu
            row[2] += job.id in running
        labels = {job.id: job.label for job in self._jobs}
        oldest = sorted(running, key=lambda id_: -running[id_])
        counts = {id_: self._counts[id_] for id_ in oldest if id_ in self._counts}
        parts = {
            id_: time_left.PartDone(each.share, each.work_seconds, max(0.0, now - each.when))
            for id_, each in counts.items()
            if each.share
        }
        texts = (f"{excerpt(labels[id_], 60)}: {counts[id_]}" if id_ in counts else labels[id_] for id_ in oldest)
        return RunStatus(
            tuple(Row(kind, int(a), int(b), int(c), d, e) for kind, (a, b, c, d, e) in rows.items()),
            tuple(texts) if self._deciding is None else ("drifts, gate and report",),
            time_left.remaining(
                self._jobs, took, running, self._workers, self._deciding and max(0.0, now - self._deciding), parts
            ),
            tuple(counts.values()),
        )

    def _by_manifest(self, job: JobRecord) -> time_left.FinishedJob:
        info = spent(self._root, job)
        end = -1e6 * (1 + len(self._took))  # overlaps no other: when it ran is known to the second only
        return time_left.FinishedJob(job, end - info["seconds"], end, info["start_seconds"], info["cpu_seconds"])

    def _follow(self) -> None:
        try:
            with (self._root / LOG).open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0  # a session began a new one
                file.seek(self._offset)
                text = file.read()
        except OSError:
            return
        whole = text.rfind(b"\n") + 1
        self._offset += whole
        for line in text[:whole].splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                self._take(json.loads(line))

    def _take(self, event: Mapping[str, Any]) -> None:
        when = datetime.datetime.fromisoformat(event["time"]).timestamp()
        if event["event"] in (RUN_BEGUN, RUN_DONE, RUN_STOPPED, DECIDING):
            self._begun.clear()
            self._counts.clear()
            self._workers = int(event.get("workers", self._workers))
            self._deciding = when if event["event"] == DECIDING else None
            return
        job = self._by_name.get(event.get("job", ""))
        if job is None:
            return
        if event["event"] == JOB_PROGRESS:
            self._counts[job.id] = counts_of(event, when)
            return
        self._counts.pop(job.id, None)
        if event["event"] == JOB_BEGUN:
            self._begun[job.id] = when
            return
        self._begun.pop(job.id, None)
        if event["event"] == JOB_DONE:
            seconds = float(event["seconds"])
            start_up, cpu = (float(event.get(name, 0.0)) for name in ("start_seconds", "cpu_seconds"))
            self._took[job.id] = time_left.FinishedJob(job, when - seconds, when, start_up, cpu)


def counts_of(event: Mapping[str, Any], when: float) -> Counts:
    """Return how far a job said it was. Raises KeyError, TypeError or ValueError for an event that is not whole."""
    share = event.get("share")
    return Counts(
        label=str(event["label"]),
        done=int(event["done"]),
        of=int(event["of"]),
        unit=str(event["unit"]),
        tokens=int(event["tokens"]),
        share=None if share is None else float(share),
        work_seconds=float(event.get("work_seconds", 0.0)),
        when=when,
    )


class FollowingProgress(ABC):
    """Progress that shows more than what is done: a run hands it its `RunFollower` first."""

    @abstractmethod
    def __call__(self, done: str, count: int, total: int) -> None:
        """Show progress: the label of the job just done (empty at the start), jobs done, and jobs in all."""

    @abstractmethod
    def follow(self, follower: RunFollower) -> None:
        """Take the follower from which the status of the run can be had."""

    @abstractmethod
    def say(self, line: str) -> None:
        """Show a line that is to stay on the screen."""


@dataclass
class LogSession:
    """One process's work on a run: logs its beginning and its end."""

    root: Path
    jobs: int
    waiting: int
    workers: int
    _began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> LogSession:
        with contextlib.suppress(OSError):
            if (self.root / LOG).stat().st_size > LARGEST:
                (self.root / LOG).replace(self.root / EARLIER)
        log_event(self.root, RUN_BEGUN, process=whoami(), workers=self.workers, jobs=self.jobs, waiting=self.waiting)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        took = round(time.monotonic() - self._began, 3)
        if kind is None:
            log_event(self.root, RUN_DONE, seconds=took)
        else:
            log_event(self.root, RUN_STOPPED, level="error", seconds=took, error=kind.__name__)
