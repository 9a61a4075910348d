"""Runs jobs on this machine: one process per GPU where there are GPUs, and one per core for what needs none."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, ClassVar

from aftertune.errors import AftertuneError
from aftertune.hardware import cores
from aftertune.plugins import Card
from aftertune.run.executor import Executor, Work
from aftertune.run.executors._schedule import Schedule
from aftertune.run.job import Job

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
DEATHS = 2
"""Deaths of processes that a run survives; it ends at the next one."""
TO_END = 5.0
"""Seconds in which a process that was told to end may do so by itself."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Local(Executor):
    """Runs jobs on the cores and GPUs of this machine."""

    card: ClassVar[Card] = Card(
        about=(
            "The cores and GPUs of this machine, in processes. A small model runs fastest with one thread per process "
            "and several processes at once; a model that should have all cores takes `workers = 1`. Where there are "
            "GPUs, jobs that run a model go to one process per GPU, which sees that GPU only, and the rest run beside "
            "them on the cores. A process that dies is replaced, twice."
        ),
        source="Python's process pool",
        licence="part of aftertune",
        weaknesses="A model that needs several GPUs takes `gpus = 0` and sees them all.",
    )

    workers: int = 0
    """Processes at once on the cores; 0 takes one per core that this process may use."""
    gpus: int = -1
    """GPUs to use, one process each; -1 takes all that this process may use, 0 gives no process a GPU of its own."""
    version = "2"

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: give 0 for one per core, or a number above")
        if self.gpus < -1:
            raise ValueError(f"gpus = {self.gpus}: give -1 for all there are, or 0 and above")

    @property
    def at_once(self) -> int:
        """How many jobs run at once, where there are no GPUs."""
        return self.workers or cores()

    def run(self, jobs: Sequence[Job], work: Work, done: Callable[[Job], None]) -> None:
        """Run every job once those in its `after` are complete, the most expensive first.

        Raises the first error once all that could run has run; AftertuneError where worker processes died three times.
        """
        schedule = Schedule(jobs)
        devices = visible_gpus()
        devices = devices if self.gpus < 0 else devices[: self.gpus]
        workers = min(self.at_once, len(jobs))
        if workers <= 1 and len(devices) < 2:
            _in_order(schedule, work, done)
            return
        _Pools(workers, devices).run(schedule, work, done)


def visible_gpus() -> list[str]:
    """Return the ids of the NVIDIA GPUs that this process may use; the driver is asked, no library is loaded."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() and part.strip() != "-1"]
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in answer.stdout.splitlines() if line.startswith("GPU ")] if answer.returncode == 0 else []
    return [str(index) for index, _ in enumerate(lines)]


class _Pool:
    """Processes of one kind: each with a GPU of its own, or all without."""

    def __init__(self, size: int, threads: int, devices: Sequence[str] = ()) -> None:
        self.size = size
        self._threads, self._devices = threads, devices
        self.start()

    def start(self) -> None:
        """Begin with no process; each is started when it is first needed."""
        spawn = multiprocessing.get_context("spawn")
        queue = spawn.Queue() if self._devices else None
        for device in self._devices:  # the queue hands each process its GPU as it starts
            queue.put(device)  # type: ignore[union-attr]
        self._processes = ProcessPoolExecutor(self.size, spawn, _set_up, (self._threads, os.getpid(), queue))

    def submit(self, work: Work, job: Job) -> Future[None]:
        """Give a job to a process. Raises BrokenProcessPool where one has died since."""
        with _undisturbed():
            return self._processes.submit(work, job)

    def end(self, *, now: bool = False) -> None:
        """End the processes: when they are done, or at once."""
        if now:
            processes = list((self._processes._processes or {}).values())
            for process in processes:
                process.terminate()
            for process in processes:
                process.join(TO_END)
                process.kill()
        # Waited for in either case: where its thread still runs at the interpreter's end, that wakes it by a pipe which
        # the thread may be closing, and a stop ends in a traceback.
        self._processes.shutdown(cancel_futures=now)

    def again(self) -> None:
        """Continue with new processes after one has died, one fewer on the cores: memory is the likeliest reason."""
        self._processes.shutdown()  # the others have been ended by now
        self.size = self.size if self._devices else max(1, self.size - 1)
        self.start()


class _Pools:
    """Processes: some with a GPU of their own, some without."""

    def __init__(self, workers: int, devices: Sequence[str]) -> None:
        threads = max(1, cores() // max(workers, len(devices)))
        self._plain = _Pool(workers, threads)
        self._gpu = _Pool(len(devices), threads, devices) if devices else None
        self._deaths = 0

    def run(self, schedule: Schedule, work: Work, done: Callable[[Job], None]) -> None:
        failed: Exception | None = None
        running: dict[Future[None], Job] = {}
        pools = [pool for pool in (self._plain, self._gpu) if pool is not None]
        try:
            while len(schedule):
                self._submit(schedule, work, running)
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(finished, key=lambda one: isinstance(one.exception(), BrokenProcessPool)):
                    if future not in running:  # cancelled with a pool that another death broke
                        continue
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        self._died(self._pool(running[future]), schedule, running)
                        continue
                    job = running.pop(future)
                    if error is None:
                        schedule.end(job)
                        done(job)
                        continue
                    if not isinstance(error, Exception):
                        raise error
                    failed = failed or error
                    schedule.fail(job)
        except BaseException:
            # Ctrl-C or a dead worker: jobs in flight are lost and will be run again; what they flushed is kept.
            for pool in pools:
                pool.end(now=True)
            raise
        for pool in pools:
            pool.end()
        if failed is not None:
            raise failed

    def _died(self, pool: _Pool, schedule: Schedule, running: dict[Future[None], Job]) -> None:
        """Queue the jobs of a pool again when one of its processes died. Raises AftertuneError the third time."""
        lost = {future: job for future, job in running.items() if self._pool(job) is pool}
        names = ", ".join(f"'{job.label or job.id}'" for job in lost.values())
        self._deaths += 1
        if self._deaths > DEATHS:
            raise AftertuneError(
                f"a worker process died during {names}, the third time (out of memory?); run the same "
                "command again to continue, perhaps with fewer workers"
            )
        for future, job in lost.items():
            del running[future]
            schedule.again(job)
        pool.again()
        log.warning("a worker process died during %s (out of memory?): again, %d at once", names, pool.size)

    def _submit(self, schedule: Schedule, work: Work, running: dict[Future[None], Job]) -> None:
        """Give each free process a job, so that what comes to be ready meanwhile is not behind all the others."""
        free = {id(pool): pool.size for pool in (self._plain, self._gpu) if pool is not None}
        for job in running.values():
            free[id(self._pool(job))] -= 1
        for job in schedule.ready():
            pool = self._pool(job)
            if free[id(pool)] > 0:
                free[id(pool)] -= 1
                try:
                    future = pool.submit(work, job)
                except BrokenProcessPool:  # one of its jobs in flight will say so
                    free[id(pool)] = 0
                    continue
                schedule.begin(job)
                running[future] = job

    def _pool(self, job: Job) -> _Pool:
        return self._gpu if job.accelerator and self._gpu is not None else self._plain


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold signals back while a process may be started: it inherits that, and it is known once they arrive."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _set_up(threads: int, parent: int, devices: Any) -> None:
    if devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices.get()  # before torch is loaded, which reads it once
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    os.dup2(2, 1)  # what a library prints in a worker is no result of the command
    _lock_bars()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for name, value in (("OMP_NUM_THREADS", str(threads)), ("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
        os.environ[name] = value
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _lock_bars() -> None:
    """Give tqdm, which libraries show bars with, a lock in memory: a kill would leak its own, a system semaphore."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return  # then no library that shows bars is installed
    tqdm.set_lock(threading.RLock())


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: an orphan would go on writing where the next run writes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _in_order(schedule: Schedule, work: Work, done: Callable[[Job], None]) -> None:
    failed: AftertuneError | None = None
    while ready := schedule.ready():
        job = ready[0]
        schedule.begin(job)
        try:
            work(job)
        except AftertuneError as error:
            failed = failed or error
            schedule.fail(job)
        else:
            schedule.end(job)
            done(job)
    if failed is not None:
        raise failed


PLUGIN = Local
