"""How well a run's estimate of its own end holds: `python perf/eta.py [RUN...]`.

Replays the log of a finished run: at each tenth of its time the estimate is made from what the log held by then, and
compared with what was really left. The target is an error of 20 % of the time left from the first tenth on. Without an
argument the quick demo is run first.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from aftertune.run import progress as standing
from aftertune.run import time_left as eta
from aftertune.run.run_folder import Run
from aftertune.studies import plan


def replay(root: Path) -> list[tuple[float, float, float | None]]:
    """Return (share of the run's time, seconds left, seconds estimated) at each tenth of the last whole session.

    Raises SystemExit where the log has no session from the first cell to the end.
    """
    cells = {f"{cell.kind}/{cell.id}": cell for cell in plan.make(Run.open(root).design()).cells}
    session = _session(root, len(cells))
    start, end = _when(session[0]), _when(session[-1])
    found = []
    for tenth in range(1, 10):
        now = start + (end - start) * tenth / 10
        took: list[eta.Took] = []
        running: dict[str, float] = {}
        deciding = None
        for event in session:
            if _when(event) > now:
                break
            if event["event"] == standing.DECIDING:
                deciding = now - _when(event)
            cell = cells.get(event.get("cell", ""))
            if cell is None:
                continue
            if event["event"] == standing.CELL_BEGUN:
                running[cell.id] = now - _when(event)
            elif event["event"] == standing.CELL_DONE:
                del running[cell.id]
                last = _when(event)
                cpu = event.get("cpu_seconds") or standing.spent(root, cell)["cpu_seconds"]
                took.append(eta.Took(cell, last - event["seconds"], last, event["start_seconds"], cpu))
        left = eta.remaining(list(cells.values()), took, running, session[0]["workers"], deciding)
        found.append((tenth / 10, end - now, left))
    return found


def _session(root: Path, cells: int) -> list[dict[str, Any]]:
    """Return the events of the last session that did every cell and came to its end."""
    sessions: list[list[dict[str, Any]]] = []
    for line in (root / standing.LOG).read_text().splitlines():
        event = json.loads(line)
        if event["event"] == standing.RUN_BEGUN:
            sessions.append([])
        sessions[-1].append(event)
    for session in reversed(sessions):
        done = sum(event["event"] == standing.CELL_DONE for event in session)
        if (session[0]["waiting"], done) == (cells, cells) and session[-1]["event"] == standing.RUN_DONE:
            return list(session)
    raise SystemExit(f"{root}: its log holds no session from the first cell to the end")


def _when(event: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def show(root: Path) -> None:
    """Print a run's table."""
    print(f"{root.name}\n  time   left s  estimated s   error")
    for share, left, estimate in replay(root):
        error = "      " if estimate is None else f"{100 * (estimate - left) / left:+5.0f} %"
        print(f"  {share:4.0%} {left:8.1f} {'unknown' if estimate is None else f'{estimate:8.1f}':>12}  {error}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            show(Path(name))
    else:
        from aftertune.commands import demo

        with tempfile.TemporaryDirectory() as folder:
            demo.demo(Path(folder) / "demo", quick=True)
            show(Path(folder) / "demo")
