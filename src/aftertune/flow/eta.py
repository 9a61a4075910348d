"""How long a run still takes: the seconds that its cells took so far, and the order in which the others can run."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aftertune.kinds import Cell

REPORT = 0.1
"""Seconds that drifts and the report take for each verdicts cell; on the demo 11 s for 104 cells of 400 verdicts."""

FAST = 0.2
"""How much faster a judge that runs no model is than its `Cell.cost` says, which is for the order of work."""


@dataclass(frozen=True, slots=True)
class Took:
    """One finished cell, as the clock saw it."""

    cell: Cell
    begin: float
    """Seconds on any clock that all cells share."""
    end: float
    start_up: float = 0.0
    """Seconds of these that a process spent on loading a model, once for all its cells."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many cells run at once."""

    accelerated: int
    """Of those that run a model."""
    others: int
    together: int


def expected(cells: Iterable[Cell], took: Sequence[Took]) -> dict[str, float]:
    """Return cell id -> seconds that it is expected to take, for each of `cells`.

    The mean over finished cells that are alike (`Cell.alike`), what loading took left out; where none is finished, in
    proportion to `Cell.cost` from those of its kind, else from all. Empty before the first is finished.
    """
    alike: dict[tuple[str, str], list[float]] = defaultdict(list)
    kind: dict[str, list[tuple[float, float]]] = defaultdict(list)
    every: list[tuple[float, float]] = []
    for each in took:
        seconds = max(each.end - each.begin - each.start_up, 0.001)
        alike[each.cell.kind, each.cell.alike].append(seconds)
        kind[each.cell.kind].append((seconds, _prior(each.cell)))
        every.append((seconds, _prior(each.cell)))
    if not every:
        return {}
    rate = {name: _rate(pairs) for name, pairs in kind.items()}
    # What composing takes says little about anything else: it stands for the rest only while it is all there is.
    fallback = _rate([pair for name, pairs in kind.items() if name != "variants" for pair in pairs] or every)
    mean = {key: _typical(values) for key, values in alike.items()}
    found: dict[str, float] = {}
    for cell in cells:
        own = mean.get((cell.kind, cell.alike))
        found[cell.id] = own if own is not None else _prior(cell) * rate.get(cell.kind, fallback)
    return found


def _prior(cell: Cell) -> float:
    """Return what a cell is thought to take beside others before any of its kind is measured."""
    return cell.cost * (FAST if cell.kind == "verdicts" and not cell.accelerator else 1.0)


def _rate(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(seconds for seconds, _ in pairs) / max(sum(cost for _, cost in pairs), 1e-9)


def _typical(values: Sequence[float]) -> float:
    """Return the mean without the dearest of three or more: the first cell of a process also loads its modules."""
    kept = sorted(values)[:-1] if len(values) > 2 else values
    return sum(kept) / len(kept)


def limits(took: Sequence[Took], running: Iterable[Cell], workers: int) -> Limits:
    """Return how many cells ran at once at most so far; `workers` for what has not run yet."""
    now = list(running)
    seen = {
        accelerated: max(
            _overlap([each for each in took if each.cell.accelerator == accelerated]),
            sum(cell.accelerator == accelerated for cell in now),
        )
        for accelerated in (True, False)
    }
    together = max(_overlap(took), len(now), workers, 1)
    return Limits(seen[True] or together, max(seen[False], min(workers, together)) or together, together)


def _overlap(took: Sequence[Took]) -> int:
    # What ends in the moment in which another begins is not beside it.
    steps = sorted([(each.begin + 1e-6, 1) for each in took] + [(each.end, -1) for each in took])
    most = level = 0
    for _, step in steps:
        level += step
        most = max(most, level)
    return most


def remaining(
    cells: Sequence[Cell], took: Sequence[Took], running: Mapping[str, float], workers: int = 1
) -> float | None:
    """Return the seconds until a run is done, its report included; None while no cell is finished.

    Args:
        cells: All of the run; those that are in neither `took` nor `running` wait.
        took: What is finished, in this run or an earlier one that it continues.
        running: Cell id -> seconds since it began.
        workers: Cells at once that the executor promised.

    The rest of the schedule is played through: the dearest first, each after what it needs, as many at once as were
    seen to run at once.
    """
    finished = {each.cell.id for each in took}
    seconds = expected(cells, took)
    if not seconds:
        return None
    open_ = {cell.id: cell for cell in cells if cell.id not in finished}
    most = limits(took, (open_[id_] for id_ in running if id_ in open_), workers)
    free = {True: most.accelerated, False: most.others}
    together = most.together
    needs = {cell.id: sum(need in open_ for need in cell.after) for cell in open_.values()}
    then: dict[str, list[Cell]] = defaultdict(list)
    for cell in open_.values():
        for need in cell.after:
            if need in open_:
                then[need].append(cell)
    events: list[tuple[float, str]] = []
    ready: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    clock = 0.0
    for id_, age in running.items():
        if id_ in open_:
            # A cell that takes longer than expected is taken to need a tenth of its time more.
            events.append((max(seconds[id_] - age, 0.1 * age, 0.0), id_))
            free[open_[id_].accelerator] -= 1
            together -= 1
    heapq.heapify(events)
    for cell in open_.values():
        if not needs[cell.id] and cell.id not in running:
            heapq.heappush(ready[cell.accelerator], (-cell.cost, cell.id))
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
        for cell in then[id_]:
            needs[cell.id] -= 1
            if not needs[cell.id]:
                heapq.heappush(ready[cell.accelerator], (-cell.cost, cell.id))
    return clock + REPORT * sum(cell.kind == "verdicts" for cell in cells)


def spoken(seconds: float | None) -> str:
    """Return e.g. `40 s left`, `12 min left`, `3 h 20 min left`; what is known no better is not said finer."""
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
