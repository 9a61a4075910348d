"""How long a run still takes, from the seconds that its jobs took so far and the order in which the others can run.

1. A waiting job takes the mean of the finished ones that are alike, without what loading took (`expected`); before one
   is finished, what a running one that is alike will have taken by the share of it that is done (`PartDone`).
2. The rest of the schedule is simulated with as many processes as have run at once so far (`remaining`).
3. A machine that others use too changes its pace. If the rest takes L seconds by 1 and 2, the jobs that ended in the
   last L seconds are compared with the mean of all that are alike, and the rest is expected to go at that pace
   (`pace`): a long rest is predicted from the whole run, a short one from the last few jobs.
4. Drifts, gate and report come after the last job: `REPORT` CPU seconds, stretched as much as the jobs that
   wait least (`stretch`).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aftertune.run.job_record import JobRecord

REPORT = (6.0, 0.005)
"""CPU seconds that drifts, gate and report take: once, and for each verdicts job. Measured: 7 s for 44 jobs, 16 s for
2,020 jobs of 100 verdicts; those of 2,500 verdicts each take 68 s."""

FAST = 0.2
"""Seconds of a judge that runs no model, relative to its `JobRecord.cost`, which only decides the order of work."""

CLOSING = 0.02
"""Share of a job's seconds that it still takes once all that it counts is done: it writes its tables."""


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """One finished job with its times."""

    job: JobRecord
    begin: float
    """Seconds on any clock, the same for all jobs."""
    end: float
    start_up: float = 0.0
    """Seconds in which the process loaded a model or a judge, once for all its jobs; part of `end - begin`."""
    cpu: float = 0.0
    """CPU seconds; 0 where unknown."""

    @property
    def seconds(self) -> float:
        """Seconds that another job like it would take."""
        return max(self.end - self.begin - self.start_up, 0.001)


@dataclass(frozen=True, slots=True)
class PartDone:
    """How far a running job is."""

    share: float
    """Of its seconds, without loading; above 0."""
    seconds: float
    """That the share took."""
    since: float = 0.0
    """Seconds ago that this was so."""

    @property
    def whole(self) -> float:
        """Seconds of the whole job, if the rest goes at the pace so far."""
        return self.seconds / self.share

    def rest(self, expected: float) -> float:
        """Return the seconds left: at its own pace as far as it is done, for the rest as `expected` of such jobs."""
        whole = self.share * self.whole + (1 - self.share) * expected
        left = max(1 - self.share, CLOSING) * whole
        return max(left - self.since, 0.1 * left)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs run at once."""

    accelerated: int
    """Of those that run a model."""
    others: int
    together: int


NOTHING: Mapping[str, PartDone] = MappingProxyType({})


def expected(
    jobs: Iterable[JobRecord], took: Sequence[FinishedJob], parts: Mapping[str, PartDone] = NOTHING
) -> dict[str, float]:
    """Return job id -> seconds that it is expected to take, for each of `jobs`.

    The mean over finished jobs that are alike (`JobRecord.alike`), without loading; where none is finished, over what
    running ones will have taken by their `parts`; else in proportion to `JobRecord.cost` from those of its kind, else
    from all. Empty before the first is finished or has said how far it is; where jobs run a model, the first of these:
    what needs none says nothing of them.
    """
    jobs = list(jobs)
    known = {(each.job.kind, each.job.alike) for each in took}
    by_id = {job.id: job for job in jobs}
    took = [*took] + [
        FinishedJob(by_id[id_], 0.0, part.whole)
        for id_, part in parts.items()
        if id_ in by_id and (by_id[id_].kind, by_id[id_].alike) not in known
    ]
    if any(job.accelerator for job in jobs) and not any(each.job.accelerator for each in took):
        return {}
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    kind: dict[str, list[tuple[float, float]]] = defaultdict(list)
    every: list[tuple[float, float]] = []
    for each in took:
        alike[each.job.kind, each.job.alike].append(each.seconds)
        kind[each.job.kind].append((each.seconds, _prior(each.job)))
        every.append((each.seconds, _prior(each.job)))
    if not every:
        return {}
    rate = {name: _rate(pairs) for name, pairs in kind.items()}
    # Composing says little about any other kind: it is used for the rest only while nothing else is finished.
    fallback = _rate([pair for name, pairs in kind.items() if name != "variants" for pair in pairs] or every)
    mean = {key: _typical(values) for key, values in alike.items()}
    seconds: dict[str, float] = {}
    for job in jobs:
        own = mean.get((job.kind, job.alike))
        seconds[job.id] = own if own is not None else _prior(job) * rate.get(job.kind, fallback)
    return seconds


def _prior(job: JobRecord) -> float:
    """Return the relative duration that is assumed for a job before any of its kind has been timed."""
    return job.cost * (FAST if job.kind == "verdicts" and not job.accelerator else 1.0)


def _rate(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(seconds for seconds, _ in pairs) / max(sum(cost for _, cost in pairs), 1e-9)


def _typical(values: Sequence[float]) -> float:
    """Return the mean without the longest of three or more: the first job of a process also loads its modules."""
    used = sorted(values)[:-1] if len(values) > 2 else values
    return sum(used) / len(used)


def pace(took: Sequence[FinishedJob], since: float) -> float:
    """Return how many times as long the jobs that ended after `since` took than the mean of those alike; 1: as long.

    Kinds with fewer than three finished jobs are left out, and fewer than three jobs in all give 1.
    """
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    for each in took:
        alike[each.job.kind, each.job.alike].append(each.seconds)
    mean = {key: sum(values) / len(values) for key, values in alike.items() if len(values) > 2}
    late = [each for each in took if each.end > since and (each.job.kind, each.job.alike) in mean]
    if len(late) < 3:
        return 1.0
    return sum(each.seconds for each in late) / sum(mean[each.job.kind, each.job.alike] for each in late)


def stretch(took: Sequence[FinishedJob]) -> float:
    """Return the wall-clock seconds per CPU second, 1 or more, of the jobs that wait least (for a server, a GPU)."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for each in took:
        if each.cpu > 0:
            both = sums[each.job.kind, each.job.alike]
            both[0] += each.end - each.begin
            both[1] += each.cpu
    return max(1.0, min((seconds / cpu for seconds, cpu in sums.values()), default=1.0))


def limits(took: Sequence[FinishedJob], running: Iterable[JobRecord], workers: int) -> Limits:
    """Return the most jobs that have run at once so far; `workers` for those of which none has run yet."""
    now = list(running)
    most = {
        accelerated: max(
            _overlap([each for each in took if each.job.accelerator == accelerated]),
            sum(job.accelerator == accelerated for job in now),
        )
        for accelerated in (True, False)
    }
    together = max(_overlap(took), len(now), workers, 1)
    return Limits(most[True] or together, max(most[False], min(workers, together)) or together, together)


def _overlap(took: Sequence[FinishedJob]) -> int:
    # A job that ends at the moment at which another begins does not overlap it.
    steps = sorted([(each.begin + 1e-6, 1) for each in took] + [(each.end, -1) for each in took])
    most = level = 0
    for _, step in steps:
        level += step
        most = max(most, level)
    return most


def remaining(
    jobs: Sequence[JobRecord],
    took: Sequence[FinishedJob],
    running: Mapping[str, float],
    workers: int = 1,
    deciding: float | None = None,
    parts: Mapping[str, PartDone] = NOTHING,
) -> float | None:
    """Return the seconds until a run is done, including its report; None while no job is finished or partly done.

    Args:
        jobs: All jobs of the run; those in neither `took` nor `running` wait.
        took: Finished jobs, of this session or of an earlier one that it continues.
        running: Job id -> seconds since it began.
        workers: Jobs that the executor runs at once.
        deciding: Seconds since the last job was done; None while jobs run.
        parts: Job id -> how far it is, for running jobs that have said so.

    The rest of the schedule is simulated: the most expensive first, each after the jobs it waits for, as many at once
    as have run at once so far.
    """
    seconds = expected(jobs, took, parts)
    if not seconds:
        return None
    after = (REPORT[0] + REPORT[1] * sum(job.kind == "verdicts" for job in jobs)) * stretch(took)
    if deciding is not None:
        return _rest(after, deciding)
    left = _simulated(jobs, took, running, workers, seconds, parts)
    now = pace(took, max((each.end for each in took), default=0.0) - left)
    at_pace = {id_: now * each for id_, each in seconds.items()}
    return _simulated(jobs, took, running, workers, at_pace, parts) + after


def _rest(expected: float, age: float) -> float:
    """Return the seconds left; a job that takes longer than expected is assumed to need a tenth of its time more."""
    return max(expected - age, 0.1 * age, 0.0)


def _simulated(
    jobs: Sequence[JobRecord],
    took: Sequence[FinishedJob],
    running: Mapping[str, float],
    workers: int,
    seconds: Mapping[str, float],
    parts: Mapping[str, PartDone],
) -> float:
    """Return the seconds until the last job is done, where each takes `seconds`."""
    finished = {each.job.id for each in took}
    open_ = {job.id: job for job in jobs if job.id not in finished}
    most = limits(took, (open_[id_] for id_ in running if id_ in open_), workers)
    free = {True: most.accelerated, False: most.others}
    together = most.together
    needs = {job.id: sum(need in open_ for need in job.after) for job in open_.values()}
    then: dict[str, list[JobRecord]] = defaultdict(list)
    for job in open_.values():
        for need in job.after:
            if need in open_:
                then[need].append(job)
    events: list[tuple[float, str]] = []
    ready: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    clock = 0.0
    for id_, age in running.items():
        if id_ in open_:
            rest = parts[id_].rest(seconds[id_]) if id_ in parts else _rest(seconds[id_], age)
            events.append((rest, id_))
            free[open_[id_].accelerator] -= 1
            together -= 1
    heapq.heapify(events)
    for job in open_.values():
        if not needs[job.id] and job.id not in running:
            heapq.heappush(ready[job.accelerator], (-job.cost, job.id))
    while events or ready[True] or ready[False]:
        for accelerated in (True, False):
            while ready[accelerated] and ((free[accelerated] > 0 and together > 0) or not events):
                id_ = heapq.heappop(ready[accelerated])[1]
                free[accelerated] -= 1
                together -= 1
                heapq.heappush(events, (clock + seconds[id_], id_))
        clock, id_ = heapq.heappop(events)
        free[open_[id_].accelerator] += 1
        together += 1
        for job in then[id_]:
            needs[job.id] -= 1
            if not needs[job.id]:
                heapq.heappush(ready[job.accelerator], (-job.cost, job.id))
    return clock


def in_words(seconds: float | None) -> str:
    """Return e.g. `40 s left`, `12 min left`, `3 h 20 min left`; no finer than it is known."""
    if seconds is None:
        return "time left not known yet"
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s left"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min left"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    if hours < 48:
        return f"{hours} h {rest} min left" if rest else f"{hours} h left"
    return f"{round(hours / 24)} days left"
