"""The schedule of jobs, which all executors share: which may run now, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aftertune.errors import UsageError
from aftertune.run.job import Job


class Schedule:
    """Jobs in an order that respects `after`; ids that are not among them count as complete.

    What the first finding waits for comes first; then the first of each kind of job, so that how long each kind takes
    is soon known; then the most expensive, and of those what asks the model that was loaded last. Every job is waiting,
    running, or gone (done, failed, or after one that failed).
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        """Raise UsageError where jobs wait for each other in a circle."""
        self._waiting = {job.id: job for job in jobs}
        self._running: dict[str, Job] = {}
        self._open = set(self._waiting)
        self._begun: set[tuple[str, str]] = set()
        self._loaded = ""
        self._check()
        self._needs = {job.id: self._open.intersection(job.after) for job in jobs}
        self._then: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            for need in self._needs[job.id]:
                self._then[need].append(job.id)
        self._ready = {job.id: job for job in jobs if not self._needs[job.id]}

    def __len__(self) -> int:
        """Return how many jobs are waiting or running."""
        return len(self._open)

    def ready(self) -> list[Job]:
        """Return the jobs whose predecessors are complete, best first."""
        first: dict[tuple[str, str], str] = {}
        for job in self._ready.values():
            if (job.kind, job.alike) not in self._begun:
                first.setdefault((job.kind, job.alike), job.id)
        pilots = set(first.values())

        def order(job: Job) -> tuple[bool, bool, float, bool]:
            return not job.early, job.id not in pilots, -job.cost, job.loads != self._loaded

        return sorted(self._ready.values(), key=order)

    def begin(self, job: Job) -> None:
        """Note that a ready job runs."""
        self._running[job.id] = self._waiting.pop(job.id)
        del self._ready[job.id]
        self._begun.add((job.kind, job.alike))
        self._loaded = job.loads or self._loaded

    def end(self, job: Job) -> None:
        """Note that a running job is complete."""
        del self._running[job.id]
        self._open.discard(job.id)
        for id_ in self._then[job.id]:
            self._needs[id_].discard(job.id)
            if not self._needs[id_] and id_ in self._waiting:
                self._ready[id_] = self._waiting[id_]

    def again(self, job: Job) -> None:
        """Note that a running job was lost with its process and waits again."""
        self._waiting[job.id] = self._ready[job.id] = self._running.pop(job.id)

    def fail(self, job: Job) -> None:
        """Give up a running job, and every job that needs it."""
        del self._running[job.id]
        gone, rest = {job.id}, [job.id]
        while rest:
            more = [id_ for id_ in self._then[rest.pop()] if id_ in self._waiting]
            for id_ in more:
                del self._waiting[id_]
            gone.update(more)
            rest += more
        self._open -= gone

    def _check(self) -> None:
        ordered: set[str] = set()
        rest = dict(self._waiting)
        while rest:
            ready = [
                job for job in rest.values() if all(need in ordered or need not in self._waiting for need in job.after)
            ]
            if not ready:
                raise UsageError(f"jobs wait for each other in a circle: {', '.join(sorted(rest))}")
            for job in ready:
                ordered.add(job.id)
                del rest[job.id]
