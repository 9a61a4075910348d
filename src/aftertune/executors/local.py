"""Runs cells on this machine: as many processes as there are cores, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from aftertune.errors import AftertuneError, UsageError
from aftertune.kinds import Cell


@dataclass(frozen=True)
class Local:
    """The cores of this machine.

    Source: Python's process pool. A small model runs fastest with one thread per process, several processes at once;
    a model that wants all cores for itself takes `workers = 1`. Known weakness: no GPU scheduling yet.
    """

    workers: int = 0
    """Processes at once; 0 takes one per core that this process may use."""
    version: str = field(default="1", init=False)

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers = {self.workers}: give 0 for one per core, or a number above")

    def run(self, cells: Sequence[Cell], work: Callable[[Cell], None], done: Callable[[Cell], None]) -> None:
        """Run every cell once those in its `after` are complete, the dearest first.

        Raises the first error once all that could run has run; AftertuneError where a worker process died.
        """
        waiting = {cell.id: cell for cell in cells}
        _check(waiting)
        workers = min(self.workers or len(os.sched_getaffinity(0)), len(cells))
        if workers <= 1:
            _in_order(waiting, work, done)
            return
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _set_up, (threads, os.getpid()))
        failed: Exception | None = None
        running: dict[Future[None], Cell] = {}
        try:
            while waiting or running:
                for cell in _ready(waiting, {c.id for c in running.values()}):
                    running[pool.submit(work, waiting.pop(cell.id))] = cell
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    cell = running.pop(future)
                    error = future.exception()
                    if error is None:
                        done(cell)
                        continue
                    if isinstance(error, BrokenProcessPool):
                        raise AftertuneError(
                            f"a worker process died during '{cell.label or cell.id}' (out of memory?); run the same "
                            "command again to continue, perhaps with fewer workers"
                        )
                    if not isinstance(error, Exception):
                        raise error
                    failed = failed or error
                    _drop(waiting, cell.id)
        except BaseException:
            # Ctrl-C or a dead worker: what is in flight is lost and will be done again; what was flushed is kept.
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        if failed is not None:
            raise failed


def _set_up(threads: int, parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    for name, value in (("OMP_NUM_THREADS", str(threads)), ("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "0")):
        os.environ[name] = value
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _end_with(parent: int) -> None:
    """End this worker when its parent is gone: an orphan would go on writing where the next run writes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _check(cells: dict[str, Cell]) -> None:
    seen: set[str] = set()
    left = dict(cells)
    while left:
        ready = [cell for cell in left.values() if all(need in seen or need not in cells for need in cell.after)]
        if not ready:
            raise UsageError(f"cells wait for each other in a circle: {', '.join(sorted(left))}")
        for cell in ready:
            seen.add(cell.id)
            del left[cell.id]


def _ready(waiting: dict[str, Cell], running: set[str]) -> list[Cell]:
    open_ids = waiting.keys() | running
    ready = [cell for cell in waiting.values() if not open_ids & set(cell.after)]
    return sorted(ready, key=lambda cell: -cell.cost)


def _drop(waiting: dict[str, Cell], failed: str) -> None:
    gone = {failed}
    while more := {cell.id for cell in waiting.values() if gone & set(cell.after)}:
        for id_ in more:
            del waiting[id_]
        gone |= more


def _in_order(waiting: dict[str, Cell], work: Callable[[Cell], None], done: Callable[[Cell], None]) -> None:
    failed: AftertuneError | None = None
    while ready := _ready(waiting, set()):
        cell = waiting.pop(ready[0].id)
        try:
            work(cell)
        except AftertuneError as error:
            failed = failed or error
            _drop(waiting, cell.id)
        else:
            done(cell)
    if failed is not None:
        raise failed


PLUGIN = Local
