"""Which cells may run now: what every executor does the same way."""

from __future__ import annotations

from collections.abc import Sequence

from aftertune.errors import UsageError
from aftertune.kinds import Cell


class Schedule:
    """Cells in an order that respects `after`, the dearest first; ids that are not among them count as complete.

    Every cell is waiting, running, or gone (done, failed, or after one that failed).
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        """Raise UsageError where cells wait for each other in a circle."""
        self._waiting = {cell.id: cell for cell in cells}
        self._running: dict[str, Cell] = {}
        self._open = set(self._waiting)
        self._check()

    def __len__(self) -> int:
        """Return how many cells are waiting or running."""
        return len(self._open)

    def ready(self) -> list[Cell]:
        """Return the cells whose needs are complete, the dearest first."""
        ready = [cell for cell in self._waiting.values() if self._open.isdisjoint(cell.after)]
        return sorted(ready, key=lambda cell: -cell.cost)

    def begin(self, cell: Cell) -> None:
        """Note that a ready cell runs."""
        self._running[cell.id] = self._waiting.pop(cell.id)

    def end(self, cell: Cell) -> None:
        """Note that a running cell is complete."""
        del self._running[cell.id]
        self._open.discard(cell.id)

    def again(self, cell: Cell) -> None:
        """Note that a running cell was lost with its process and waits again."""
        self._waiting[cell.id] = self._running.pop(cell.id)

    def fail(self, cell: Cell) -> None:
        """Give a running cell up, and every cell that needs it."""
        del self._running[cell.id]
        gone = {cell.id}
        while more := {other.id for other in self._waiting.values() if not gone.isdisjoint(other.after)}:
            for id_ in more:
                del self._waiting[id_]
            gone |= more
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
