"""Runs jobs on a Ray cluster: the same jobs, one run folder on a file system that every node sees."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from aftertune.errors import AftertuneError, UsageError
from aftertune.plugins import Card
from aftertune.run.executor import Executor, Work
from aftertune.run.executors._schedule import Schedule
from aftertune.run.job import Job

log = logging.getLogger(__name__)

_MUST_AGREE = ("aftertune", "torch", "transformers", "peft", "numpy")
"""Packages that decide a job's result: a node with other versions would mix two programs in one run."""
_PATIENCE = 30.0
"""Seconds without a free node before a warning."""
_POLL = 5.0
"""Seconds between two looks at the cluster while nothing ends."""


@dataclass(frozen=True)
class Ray(Executor):
    """Runs jobs on a Ray cluster."""

    card: ClassVar[Card] = Card(
        about=(
            "A Ray cluster. Jobs go to long-lived actors, so that a base stays loaded from one job to the next; an "
            "actor that runs models has GPUs of its own where the cluster has any. Losing a node costs what was in "
            "flight there: its jobs go to others and continue from their journals. Nodes that join later are used. The "
            "run folder must have the same path on every node, and aftertune and the packages that decide its results "
            "the same versions; both are checked."
        ),
        source="Ray, https://docs.ray.io",
        licence="Apache-2.0",
        weaknesses=(
            "A node that is cut off but alive continues its job until it notices; its writes are refused once the job "
            "has begun anew elsewhere."
        ),
    )

    address: str = ""
    """Of the cluster, as `ray.init` takes it; empty takes RAY_ADDRESS, else the cluster that this node belongs to, else
    starts one on this machine."""
    cpus: float = 1.0
    """CPUs for each actor."""
    gpus: float = 1.0
    """GPUs for each actor that runs models, where the cluster has any; a fraction lets several share one."""
    memory_gib: float = 0.0
    """Memory to reserve for each actor, GiB; 0 reserves none."""
    actors: int = 0
    """Actors at once; 0 takes what the cluster has room for."""
    retries: int = 3
    """How often a job begins again after its node or process was lost."""

    def __post_init__(self) -> None:
        for name in ("gpus", "memory_gib", "actors", "retries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)}: must be 0 or more")
        if self.cpus <= 0:
            raise ValueError(f"cpus = {self.cpus}: must be above 0")

    def run(self, jobs: Sequence[Job], work: Work, done: Callable[[Job], None]) -> None:
        """Run every job once those in its `after` are complete, the most expensive first.

        Raises the first error once all that could run has run; UsageError where no cluster answers or a node has
        other versions; AftertuneError where a job lost its node more than `retries` times.
        """
        schedule = Schedule(jobs)
        if not len(schedule):
            return
        with _connected(self.address) as ray:
            _Crew(self, ray, work).run(schedule, done)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yield the `ray` module, connected; a connection that is made here is closed afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    ours = not ray.is_initialized()
    if ours:
        _check_reachable(address or os.environ.get("RAY_ADDRESS", ""))
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address=address or None, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(f"no Ray cluster could be joined or started: {_line(error)}") from None
    try:
        # Ray prints what happens to nodes; standard output is for results.
        with contextlib.redirect_stdout(sys.stderr):
            yield ray
    finally:
        if ours:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise UsageError where nobody listens: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {error.strerror or error}; start one with `ray start --head` on its "
            "head node, or leave the address out"
        ) from None


def _versions() -> dict[str, str]:
    versions = {}
    for name in _MUST_AGREE:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


class _Actor:
    """Lives on a node and runs one job after another."""

    def __init__(self, work: Work) -> None:
        # As in `run/executors/local.py`: many small processes, each with a pool of threads.
        for name, value in (
            ("OMP_WAIT_POLICY", "PASSIVE"),
            ("GOMP_SPINCOUNT", "0"),
            ("TOKENIZERS_PARALLELISM", "false"),
        ):
            os.environ[name] = value
        self._work = work

    def hello(self) -> dict[str, str]:
        """Return the versions on this node."""
        return _versions()

    def do(self, job: Job) -> None:
        """Run a job."""
        self._work(job)


@dataclass
class _Member:
    """An actor as the driver sees it."""

    handle: Any
    accelerated: bool
    hello: Any
    """Reference to its versions: until they arrive it has no node yet."""
    job: Job | None = None
    ready: bool = False


class _Crew:
    """The actors of one run and their jobs."""

    def __init__(self, options: Ray, ray: Any, work: Work) -> None:
        self._options, self._ray, self._work = options, ray, work
        self._members: list[_Member] = []
        self._lost: dict[str, int] = {}
        self._failed: Exception | None = None
        self._idle_since = time.monotonic()

    def run(self, schedule: Schedule, done: Callable[[Job], None]) -> None:
        try:
            while len(schedule):
                self._hire(schedule)
                self._assign(schedule)
                self._wait(schedule, done)
        finally:
            for member in self._members:
                self._ray.kill(member.handle)
        if self._failed is not None:
            raise self._failed

    def _room(self) -> tuple[int, int]:
        """Return how many actors with and without a GPU the cluster has room for."""
        resources: Mapping[str, float] = self._ray.cluster_resources()
        options = self._options
        with_gpu = int(resources.get("GPU", 0.0) / options.gpus) if options.gpus else 0
        with_gpu = min(with_gpu, int(resources.get("CPU", 0.0) / options.cpus))
        without = int(resources.get("CPU", 0.0) / options.cpus) - with_gpu
        limit = options.actors or with_gpu + without
        return min(with_gpu, limit), max(0, min(without, limit - with_gpu))

    def _hire(self, schedule: Schedule) -> None:
        with_gpu, without = self._room()
        ready = schedule.ready()
        for accelerated, limit in ((True, with_gpu), (False, without)):
            # Where actors with GPUs take every CPU, they run the jobs that need no GPU as well.
            useful = sum(1 for job in ready if (self._accelerated(job, with_gpu) or not without) == accelerated)
            have = [member for member in self._members if member.accelerated == accelerated]
            free = sum(1 for member in have if member.job is None)
            for _ in range(min(limit - len(have), useful - free)):
                self._members.append(self._start(accelerated))

    def _start(self, accelerated: bool) -> _Member:
        options = self._options
        resources: dict[str, Any] = {"num_cpus": options.cpus, "max_restarts": 0}
        if accelerated:
            resources["num_gpus"] = options.gpus
        if options.memory_gib:
            resources["memory"] = int(options.memory_gib * 2**30)
        handle = self._ray.remote(**resources)(_Actor).remote(self._work)
        return _Member(handle, accelerated, handle.hello.remote())

    def _accelerated(self, job: Job, with_gpu: int) -> bool:
        return job.accelerator and with_gpu > 0

    def _assign(self, schedule: Schedule) -> None:
        with_gpu = sum(1 for member in self._members if member.accelerated)
        alone = not any(member.ready and not member.accelerated for member in self._members)
        for job in schedule.ready():
            gpu = self._accelerated(job, with_gpu)
            free = [m for m in self._members if m.ready and m.job is None and (m.accelerated == gpu or alone)]
            if free:
                schedule.begin(job)
                free[0].job = job
                free[0].hello = free[0].handle.do.remote(job)

    def _wait(self, schedule: Schedule, done: Callable[[Job], None]) -> None:
        """Handle the jobs that have ended, or wait a moment."""
        pending = {m.hello: m for m in self._members if m.job is not None or not m.ready}
        if pending:
            finished, _ = self._ray.wait(list(pending), num_returns=1, timeout=_POLL)
        else:
            finished = []
            time.sleep(_POLL)  # no node has room for one actor: one may join
        if finished or any(member.job is not None for member in self._members):
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > _PATIENCE:
            has = self._ray.cluster_resources()
            log.warning(
                "no node has room for an actor of %g CPUs (the cluster has %g CPUs and %g GPUs in all, others may hold "
                "them): waiting for one; Ctrl-C and smaller cpus, gpus or memory_gib go on in the same run folder",
                self._options.cpus,
                has.get("CPU", 0.0),
                has.get("GPU", 0.0),
            )
            self._idle_since = time.monotonic()
        for reference in finished:
            self._take(pending[reference], reference, schedule, done)

    def _take(self, member: _Member, reference: Any, schedule: Schedule, done: Callable[[Job], None]) -> None:
        job = member.job
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # The job's own error, as raised there; one that cannot be pickled comes as text.
            cause = error.cause if isinstance(getattr(error, "cause", None), Exception) else None
            member.job = None
            if job is None:
                raise AftertuneError(f"a node cannot run aftertune: {_line(error)}") from None
            schedule.fail(job)
            self._failed = self._failed or cause or AftertuneError(f"'{job.label or job.id}': {_line(error)}")
            return
        except self._ray.exceptions.RayError as error:
            self._members.remove(member)
            if job is None:
                log.warning("a node was lost before it began: %s", _line(error))
                return
            self._again(job, schedule, error)
            return
        if job is None:
            self._welcome(member, answer)
            return
        member.job = None
        schedule.end(job)
        done(job)

    def _welcome(self, member: _Member, theirs: Mapping[str, str]) -> None:
        ours = _versions()
        other = [f"{name} {theirs[name]} (here {ours[name]})" for name in ours if theirs[name] != ours[name]]
        if other:
            raise UsageError(
                f"a node of the cluster has other versions: {', '.join(other)}; install the same everywhere"
            )
        member.ready = True

    def _again(self, job: Job, schedule: Schedule, error: Exception) -> None:
        self._lost[job.id] = self._lost.get(job.id, 0) + 1
        what = job.label or job.id
        if self._lost[job.id] > self._options.retries:
            schedule.fail(job)
            self._failed = self._failed or AftertuneError(
                f"'{what}' lost its node or process {self._lost[job.id]} times (out of memory?): {_line(error)}; run "
                "the same command again to continue"
            )
            return
        log.warning("'%s' lost its node or process (%s): it begins again elsewhere", what, _line(error))
        schedule.again(job)


def _line(error: Exception) -> str:
    """Return an error's first line that is not blank, cut to 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


PLUGIN = Ray
