"""Where a run stands: its log, who works on it, which cells run, and how long the rest takes."""

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
from aftertune.flow import eta
from aftertune.kinds import Cell
from aftertune.store.files import whoami, write
from aftertune.store.run import CellFolder

LOG, EARLIER = "log.jsonl", "log.1.jsonl"
"""One JSON object a line: `time`, `level`, `event`, mostly `cell` (kind/id), `label` and `seconds`; docs/performance.md
has every event. Names of arms stand in it; personal values, keys and the text of models and data sets do not. A session
that finds it beyond `LARGEST` begins a new one and keeps the one before."""
LARGEST = 16 * 2**20
"""Bytes; a session adds about 500 for each cell."""
FAILURE = "failure.json"
"""The last cell that failed, with its error: not in the log, since an error may quote from data."""
RUN_BEGUN, RUN_DONE, RUN_STOPPED = "run begun", "run done", "run stopped"
CELL_BEGUN, CELL_DONE, CELL_FAILED, DECIDING = "cell begun", "cell done", "cell failed", "deciding"


def note(root: Path, event: str, *, level: str = "info", **facts: object) -> None:
    """Add an event to a run's log. A log that cannot be written stops nothing: the results will say so themselves."""
    stamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": stamp, "level": level, "event": event, **facts}, ensure_ascii=True) + "\n"
    with contextlib.suppress(OSError):
        # One write of an appended line is whole, whoever else appends.
        place = os.open(root / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(place, line.encode())
        finally:
            os.close(place)


@dataclass(frozen=True)
class Logged:
    """Does cells and writes into the run's log when each begins, ends or fails; picklable as `work` is."""

    root: Path
    work: Callable[[Cell], None]

    def __call__(self, cell: Cell) -> None:
        """Do one cell."""
        about = {"cell": f"{cell.kind}/{cell.id}", "label": cell.label}
        began = time.monotonic()
        note(self.root, CELL_BEGUN, **about, process=whoami())
        try:
            self.work(cell)
        except Exception as error:
            took = round(time.monotonic() - began, 3)
            note(self.root, CELL_FAILED, level="error", **about, seconds=took, error=type(error).__name__)
            # What others raise may carry a prompt or a personal value: its type has to do.
            what = " ".join(str(error).split())[:2000] if isinstance(error, AftertuneError) else type(error).__name__
            failed = {"time": time.time(), **about, "error": what}
            with contextlib.suppress(StoreError):
                write(self.root / FAILURE, json.dumps(failed).encode())
            raise
        took = round(time.monotonic() - began, 3)
        facts: dict[str, object] = {**about, **spent(self.root, cell), "seconds": took}
        note(self.root, CELL_DONE, level="info", **facts)


def spent(root: Path, cell: Cell) -> dict[str, float]:
    """Return the seconds of a finished cell by its manifest, in all, for starting up and of CPU; 0 where unknown."""
    info: Mapping[str, Any] = {}
    with contextlib.suppress(StoreError):
        info = CellFolder(root / cell.kind / cell.id).info()
    return {name: float(info.get(name, 0.0)) for name in ("seconds", "start_seconds", "cpu_seconds")}


def failure(root: Path) -> Mapping[str, Any] | None:
    """Return `cell`, `label`, `error` and `time` of the last cell that failed; None where none did."""
    try:
        found = json.loads((root / FAILURE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


# ---------------------------------------------------------------------------------------------- standing


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one kind."""

    kind: str
    cells: int
    done: int
    running: int
    seconds: float
    """By the clock, of those that are done, summed."""
    cpu_seconds: float
    """Of the same."""

    @property
    def waiting(self) -> int:
        """Cells that have not begun."""
        return self.cells - self.done - self.running


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run stands now."""

    rows: tuple[Row, ...]
    running: tuple[str, ...]
    """Labels of the cells that run, the oldest first."""
    left: float | None
    """Seconds until it is done; None while that is not known."""


class Watch:
    """Follows the log of a run; safe to ask from several threads."""

    def __init__(self, root: Path, cells: Iterable[Cell], done: Iterable[str], workers: int = 1) -> None:
        """`done`: ids of the cells that are complete already; `workers`: how many the executor runs at once."""
        self._root, self._cells, self._workers = root, tuple(cells), workers
        self._by_name = {f"{cell.kind}/{cell.id}": cell for cell in self._cells}
        self._done = set(done)
        self._took: dict[str, eta.Took] = {}
        self._begun: dict[str, float] = {}
        self._offset = 0
        self._deciding: float | None = None
        self._guard = threading.Lock()
        self._last: tuple[float, Standing] | None = None

    def done(self, cell: Cell) -> None:
        """Note that a cell is complete."""
        with self._guard:
            self._done.add(cell.id)

    def standing(self, *, fresh: bool = False) -> Standing:
        """Return where the run stands; worked out once a second at most, unless `fresh`."""
        with self._guard:
            began = time.monotonic()
            if self._last is None or fresh or began > self._last[0]:
                found = self._now()
                self._last = (began + max(1.0, 20 * (time.monotonic() - began)), found)
            return self._last[1]

    def _now(self) -> Standing:
        self._follow()
        now = time.time()
        # What an earlier version made, or a log that was lost, is known by its manifest.
        for cell in self._cells:
            if cell.id in self._done and cell.id not in self._took:
                self._took[cell.id] = self._by_manifest(cell)
        took = [each for id_, each in self._took.items() if id_ in self._done]
        running = {id_: max(0.0, now - began) for id_, began in self._begun.items() if id_ not in self._done}
        rows: dict[str, list[float]] = {}
        for cell in self._cells:
            row = rows.setdefault(cell.kind, [0, 0, 0, 0.0, 0.0])
            row[0] += 1
            if cell.id in self._done:
                row[1] += 1
                row[3] += self._took[cell.id].end - self._took[cell.id].begin
                row[4] += self._took[cell.id].cpu
            row[2] += cell.id in running
        labels = {cell.id: cell.label for cell in self._cells}
        oldest = sorted(running, key=lambda id_: -running[id_])
        return Standing(
            tuple(Row(kind, int(a), int(b), int(c), d, e) for kind, (a, b, c, d, e) in rows.items()),
            tuple(labels[id_] for id_ in oldest) if self._deciding is None else ("drifts, gate and report",),
            eta.remaining(self._cells, took, running, self._workers, self._deciding and max(0.0, now - self._deciding)),
        )

    def _by_manifest(self, cell: Cell) -> eta.Took:
        info = spent(self._root, cell)
        end = -1e6 * (1 + len(self._took))  # beside no other: when it ran is known to the second only
        return eta.Took(cell, end - info["seconds"], end, info["start_seconds"], info["cpu_seconds"])

    def _follow(self) -> None:
        try:
            with (self._root / LOG).open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0  # a session has begun a new one
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
            self._workers = int(event.get("workers", self._workers))
            self._deciding = when if event["event"] == DECIDING else None
            return
        cell = self._by_name.get(event.get("cell", ""))
        if cell is None:
            return
        if event["event"] == CELL_BEGUN:
            self._begun[cell.id] = when
            return
        self._begun.pop(cell.id, None)
        if event["event"] == CELL_DONE:
            seconds = float(event["seconds"])
            start_up, cpu = (float(event.get(name, 0.0)) for name in ("start_seconds", "cpu_seconds"))
            self._took[cell.id] = eta.Took(cell, when - seconds, when, start_up, cpu)


class Watcher(ABC):
    """Progress that wants to know more than what is done: given to a run, it is handed the run's `Watch` first."""

    @abstractmethod
    def __call__(self, done: str, count: int, total: int) -> None:
        """Take in what has just been done (empty at the start), cells done, and cells in all."""

    @abstractmethod
    def watch(self, watch: Watch) -> None:
        """Take in what can be asked where the run stands."""


@dataclass
class Session:
    """One process's work on a run, as the log has it."""

    root: Path
    cells: int
    waiting: int
    workers: int
    _began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Session:
        with contextlib.suppress(OSError):
            if (self.root / LOG).stat().st_size > LARGEST:
                (self.root / LOG).replace(self.root / EARLIER)
        note(
            self.root, RUN_BEGUN, process=whoami(), workers=self.workers, cells=self.cells, waiting=self.waiting
        )  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        took = round(time.monotonic() - self._began, 3)
        if kind is None:
            note(self.root, RUN_DONE, seconds=took)
        else:
            note(self.root, RUN_STOPPED, level="error", seconds=took, error=kind.__name__)
