"""Progress of long work: a live table of a run's jobs on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from aftertune.cli.safe_output import safe
from aftertune.cli.stderr_capture import StderrCapture
from aftertune.run.progress import FollowingProgress, RunFollower, RunStatus
from aftertune.run.time_left import in_words
from aftertune.text import excerpt

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY = 20.0
"""Seconds between two lines."""
WIDE = 60
"""Width of a terminal in characters from which the seconds are shown too."""
SHOWN = 4
"""Number of running jobs that are named."""
WIDEST = 120
"""Characters of a running job's label with its counts."""


class Lines(FollowingProgress):
    """Prints a line now and then on standard error, also while one job takes its time."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._last = time.monotonic()
        self._follower: RunFollower | None = None
        self._done: tuple[str, int, int] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._now_and_then, name="lines", daemon=True)

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def follow(self, follower: RunFollower) -> None:
        """Show the time left, from now on."""
        self._follower = follower

    def say(self, line: str) -> None:
        """Print a line at once."""
        self._tell(line)

    def __call__(self, done: str, count: int, total: int) -> None:
        """Print the progress, if the last line is old enough or this is the end."""
        self._done = (done, count, total)
        if count == total or self._is_time():
            self._print()

    def _now_and_then(self) -> None:
        while not self._over.wait(EVERY / 4):
            if self._done is not None and self._is_time():
                self._print()

    def _is_time(self) -> bool:
        return time.monotonic() - self._last > EVERY

    def _print(self) -> None:
        assert self._done is not None
        self._last = time.monotonic()
        done, count, total = self._done
        left = now = ""
        if self._follower is not None:
            status = self._follower.status()
            left = f", {in_words(status.left)}"
            now = f"; now: {excerpt(status.running[0], WIDEST)}" if status.running else ""
        self._tell(f"{count} of {total} done{left}, last: {excerpt(done) or 'nothing yet'}{now}")


class Table(FollowingProgress):
    """A live table of jobs by kind, and a bar, on a terminal; gone when the work is done."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._follower: RunFollower | None = None
        self._capture = StderrCapture(self._print_above)
        self._console = Console(file=self._capture.terminal)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task("planning")
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=2,
            transient=True,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Table:
        self._capture.__enter__()
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._live.__exit__(kind, error, trace)
        finally:
            self._capture.__exit__(kind, error, trace)

    def follow(self, follower: RunFollower) -> None:
        """Show the table, from now on."""
        self._follower = follower

    def say(self, line: str) -> None:
        """Print a line above the table."""
        self._print_above(line)

    def __call__(self, done: str, count: int, total: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=count, total=total, description=excerpt(done))

    def _print_above(self, line: str) -> None:
        self._console.print(safe(line), markup=False, highlight=False, emoji=False)

    def _render(self) -> RenderableType:
        from rich.console import Group

        width, height = _size(self._capture.terminal)
        self._console.size = (width, height)
        if self._follower is None:
            return self._bar.get_renderable()
        now = self._follower.status()
        self._bar.update(self._task, description=in_words(now.left))
        # Rows beyond the height of the terminal could not be erased; the bar always fits.
        return Group(*jobs_table(now, width, height - 2), self._bar.get_renderable())


def _size(terminal: TextIO) -> tuple[int, int]:
    try:
        width, height = os.get_terminal_size(terminal.fileno())
    except OSError:
        width, height = 0, 0
    return width or 80, height or 24


class _TimeLeft:
    """Estimates the time that the rest of a task takes from the share done since the first report."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def __call__(self, share: float | None) -> float | None:
        now = time.monotonic()
        if share is None:
            return None
        if self._first is None:
            self._first = (now, share)
        began, before = self._first
        if share - before < 0.01 or now - began < 2:
            return None
        return (now - began) * (1 - share) / (share - before)


class ShareLines:
    """Prints a line now and then on the share done of one task."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._left = _TimeLeft()
        self._last = time.monotonic()

    def __call__(self, what: str, share: float | None) -> None:
        """Print the progress, if the last line is old enough."""
        left = self._left(share)
        if time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            part = "" if share is None else f"{share:.0%} done, "
            rest = "" if share is not None and share >= 1 else f"{in_words(left)}; "
            self._tell(f"{part}{rest}now: {excerpt(what)}")


class Bar:
    """A bar on a terminal that shows the share done of one task; gone when it is done."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("starting", total=None)
        self._left = _TimeLeft()

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, what: str, share: float | None) -> None:
        """Move the bar."""
        total = None if share is None else 1.0
        description = f"{in_words(self._left(share))}; {excerpt(what)}"
        self._bar.update(self._task, completed=share or 0.0, total=total, description=description)


def jobs_table(now: RunStatus, width: int, height: int) -> list[RenderableType]:
    """Return a table of the jobs by kind, and the labels of running ones; nothing if the table does not fit.

    `width` and `height` are in characters and lines.
    """
    from rich.table import Table as Grid
    from rich.text import Text

    room = height - len(now.rows) - 1
    if room < 0:
        return []
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("jobs", no_wrap=True)
    headings = ("done", "running", "waiting", "seconds")[: 4 if width >= WIDE else 3]
    for heading in headings:
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in now.rows:
        numbers = (f"{row.done:,}", f"{row.running:,}", f"{row.waiting:,}", f"{row.seconds:,.0f}")
        grid.add_row(Text(row.kind), *numbers[: len(headings)])
    labels = (Text(f"  {excerpt(label, 100)}", style="dim", no_wrap=True) for label in now.running[: min(SHOWN, room)])
    return [grid, *labels]


def status_lines(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the status of a run, from `commands.status`, as lines of text."""
    outcome = status["outcome"] or "not finished"
    process = status["process"]
    working = f"; process {excerpt(process)} works on it, {in_words(status['seconds_left'])}" if process else ""
    yield f"{status['kind']} '{excerpt(status['name'])}': {outcome}{working}"
    yield f"  {'jobs':<12} {'done':>7} {'running':>8} {'waiting':>8} {'seconds':>10} {'CPU s':>10}"
    for kind, row in status["jobs"].items():
        yield (
            f"  {kind:<12} {row['done']:>7,} {row['running']:>8,} {row['waiting']:>8,} "
            f"{row['seconds']:>10,.1f} {row['cpu_seconds']:>10,.1f}"
        )
    for label in status["running"][:SHOWN]:
        yield f"  running: {excerpt(label, WIDEST)}"
    failed = status["last_failure"]
    if failed:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(failed.get("time", 0.0))))
        label, error = str(failed.get("label", "")), str(failed.get("error", ""))
        yield f"  failed last, {when}: {excerpt(label, 100)}: {excerpt(error, 300)}"
