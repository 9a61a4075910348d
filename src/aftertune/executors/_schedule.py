"""Which cells may run now: what every executor does the same way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aftertune.errors import UsageError
from aftertune.kinds import Cell


class Schedule:
    """Cells in an order that respects `after`; ids that are not among them count as complete.

    The first of each kind of cell comes before the others of any kind, so that how long each kind takes is soon known;
    then the dearest. Every cell is waiting, running, or gone (done, failed, or after one that failed).
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        """Raise UsageError where cells wait for each other in a circle."""
        self._waiting = {cell.id: cell for cell in cells}
        self._running: dict[str, Cell] = {}
        self._open = set(self._waiting)
        self._begun: set[tuple[str, str]] = set()
        self._check()
        self._needs = {cell.id: self._open.intersection(cell.after) for cell in cells}
        self._then: dict[str, list[str]] = defaultdict(list)
        for cell in cells:
            for need in self._needs[cell.id]:
                self._then[need].append(cell.id)
        self._ready = {cell.id: cell for cell in cells if not self._needs[cell.id]}

    def __len__(self) -> int:
        """Return how many cells are waiting or running."""
        return len(self._open)

    def ready(self) -> list[Cell]:
        """Return the cells whose needs are complete, best first."""
        first: dict[tuple[str, str], str] = {}
        for cell in self._ready.values():
            if (cell.kind, cell.alike) not in self._begun:
                first.setdefault((cell.kind, cell.alike), cell.id)
        pilots = set(first.values())
        return sorted(self._ready.values(), key=lambda cell: (cell.id not in pilots, -cell.cost))

    def begin(self, cell: Cell) -> None:
        """Note that a ready cell runs."""
        self._running[cell.id] = self._waiting.pop(cell.id)
        del self._ready[cell.id]
        self._begun.add((cell.kind, cell.alike))

    def end(self, cell: Cell) -> None:
        """Note that a running cell is complete."""
        del self._running[cell.id]
        self._open.discard(cell.id)
        for id_ in self._then[cell.id]:
            self._needs[id_].discard(cell.id)
            if not self._needs[id_] and id_ in self._waiting:
                self._ready[id_] = self._waiting[id_]

    def again(self, cell: Cell) -> None:
        """Note that a running cell was lost with its process and waits again."""
        self._waiting[cell.id] = self._ready[cell.id] = self._running.pop(cell.id)

    def fail(self, cell: Cell) -> None:
        """Give a running cell up, and every cell that needs it."""
        del self._running[cell.id]
        gone, rest = {cell.id}, [cell.id]
        while rest:
            more = [id_ for id_ in self._then[rest.pop()] if id_ in self._waiting]
            for id_ in more:
                del self._waiting[id_]
            gone.update(more)
            rest += more
        self._open -= gone

    def _check(self) -> None:
        seen: set[str] = set()
        left = dict(self._waiting)
        while left:
            ready = [
                cell for cell in left.values() if all(need in seen or need not in self._waiting for need in cell.after)
            ]
            if not ready:
                raise UsageError(f"cells wait for each other in a circle: {', '.join(sorted(left))}")
            for cell in ready:
                seen.add(cell.id)
                del left[cell.id]
