"""Progress of long work: a line now and then, a table that fits, and standard error kept apart from what is drawn."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import pytest

from aftertune.cli import progress
from aftertune.cli.progress import Lines, ShareLines, jobs_table, status_lines
from aftertune.cli.stderr_capture import LONGEST, StderrCapture
from aftertune.run.progress import Row, RunStatus


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@dataclass
class Follower:
    left: float | None
    running: tuple[str, ...] = ()

    def status(self) -> RunStatus:
        return RunStatus((), self.running, self.left)


# ---------------------------------------------------------------------------------------------- lines


def test_a_line_comes_after_twenty_seconds_and_at_the_end(clock: Clock) -> None:
    told: list[str] = []
    lines = Lines(told.append)
    lines("one", 1, 9)
    clock.now += 20
    lines("two", 2, 9)
    assert told == []
    clock.now += 0.5
    lines("three", 3, 9)
    lines("four", 4, 9)
    assert told == ["3 of 9 done, last: three"]
    lines("nine", 9, 9)
    assert told[1:] == ["9 of 9 done, last: nine"], "the end is told however early it comes"


def test_a_line_has_the_time_left_once_it_is_known_whom_to_follow(clock: Clock) -> None:
    told: list[str] = []
    lines = Lines(told.append)
    for left in (None, 40.0, 12_000.0):
        lines.follow(Follower(left))  # type: ignore[arg-type]
        lines("", 1, 1)
    assert told == [
        "1 of 1 done, time left not known yet, last: nothing yet",
        "1 of 1 done, 40 s left, last: nothing yet",
        "1 of 1 done, 3 h 20 min left, last: nothing yet",
    ]


def test_lines_come_while_one_job_takes_its_time_and_say_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.05)
    told: list[str] = []
    with Lines(told.append) as lines:
        lines.follow(Follower(2400.0, ("ask a: 12 of 132 answers, 3,456 tokens", "ask b")))  # type: ignore[arg-type]
        time.sleep(0.2)
        assert told == [], "nothing has begun"
        lines("", 0, 6)
        end = time.monotonic() + 5
        while len(told) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    expected = "0 of 6 done, 40 min left, last: nothing yet; now: ask a: 12 of 132 answers, 3,456 tokens"
    assert told[:2] == [expected, expected]
    count = len(told)
    time.sleep(0.2)
    assert len(told) == count, "the work is over"


def test_what_was_done_last_is_one_short_line(clock: Clock) -> None:
    told: list[str] = []
    Lines(told.append)("a\x1b[31m\nb" + "x" * 500, 1, 1)
    assert "\n" not in told[0]
    assert "\x1b" not in told[0]
    assert len(told[0]) < 130


def test_the_rest_of_a_task_takes_as_long_as_its_pace_so_far_says(clock: Clock) -> None:
    told: list[str] = []
    lines = ShareLines(told.append)
    lines("begin", 0.2)
    clock.now += 30
    lines("on", 0.5)
    assert told == ["50% done, 50 s left; now: on"], "30 s for 0.3, so 50 s for the other 0.5"
    clock.now += 21
    lines("who knows", None)
    assert told[1:] == ["time left not known yet; now: who knows"]


def test_the_time_left_is_not_guessed_from_too_little(clock: Clock) -> None:
    told: list[str] = []
    lines = ShareLines(told.append)
    lines("begin", 0.2)
    clock.now += 100
    lines("stuck", 0.205)
    assert told == ["20% done, time left not known yet; now: stuck"]


# ---------------------------------------------------------------------------------------------- the table


def status(running: int = 3) -> RunStatus:
    rows = (Row("tune", 4, 1, 1, 1234.6, 9.0), Row("ask", 2000, 1500, 0, 2.0, 1.0))
    return RunStatus(rows, tuple(f"label {index}" for index in range(running)), 60.0)


def drawn(width: int, height: int, running: int = 3) -> list[str]:
    from rich.console import Console, Group

    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(Group(*jobs_table(status(running), width, height)))
    return [line.rstrip() for line in capture.get().splitlines() if line.strip()]


def test_a_row_counts_jobs_done_running_and_waiting() -> None:
    head, tune, ask, *labels = drawn(80, 24)
    assert head.split() == ["jobs", "done", "running", "waiting", "seconds"]
    assert tune.split() == ["tune", "1", "1", "2", "1,235"]
    assert ask.split() == ["ask", "1,500", "0", "500", "2"]
    assert labels == ["  label 0", "  label 1", "  label 2"]


def test_a_narrow_terminal_has_no_seconds() -> None:
    assert drawn(60, 24)[0].split()[-1] == "seconds"
    assert drawn(59, 24)[0].split() == ["jobs", "done", "running", "waiting"]


@pytest.mark.parametrize(("height", "lines"), [(2, 0), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (24, 7)])
def test_a_table_never_exceeds_the_height(height: int, lines: int) -> None:
    """A head and two rows, then four labels at most; what does not fit is left out, the table as a whole."""
    assert len(drawn(80, height, running=9)) == lines


# ---------------------------------------------------------------------------------------------- where a run stands


def standing(**changes: Any) -> dict[str, Any]:
    row = {"done": 1500, "running": 1, "waiting": 2, "seconds": 12.34, "cpu_seconds": 5.0}
    fields: dict[str, Any] = {
        "name": "d\x1b[2J", "kind": "study", "jobs": {"ask": row}, "running": [], "seconds_left": None, "process": None,
        "last_failure": None, "outcome": None,
    }  # fmt: skip
    return {**fields, **changes}


def test_a_run_that_nobody_works_on_is_not_finished() -> None:
    first, _, row = status_lines(standing())
    assert first.startswith("study 'd")
    assert first.endswith("': not finished")
    assert "\x1b" not in first
    assert row.split() == ["ask", "1,500", "1", "2", "12.3", "5.0"]


def test_a_run_that_a_process_works_on_names_it_and_what_runs() -> None:
    running = [f"cell {index}" for index in range(9)]
    lines = list(status_lines(standing(process="7 on host", seconds_left=40.0, running=running, jobs={})))
    assert lines[0].endswith("not finished; process 7 on host works on it, 40 s left")
    assert lines[2:] == [f"  running: cell {index}" for index in range(4)]


def test_the_last_failure_stands_on_one_line() -> None:
    failure = {"time": 0.0, "label": "ask m", "error": "it\nbroke " + "x" * 900}
    *_, last = status_lines(standing(jobs={}, last_failure=failure))
    assert ": ask m: it broke xxx" in last
    assert len(last) < 400
    assert len(list(status_lines(standing(jobs={}, last_failure={"label": None})))) == 3, "a damaged log is no crash"


# ---------------------------------------------------------------------------------------------- standard error


def captured(*writes: bytes) -> list[str]:
    shown: list[str] = []
    with StderrCapture(shown.append):
        for data in writes:
            os.write(2, data)
    return shown


@pytest.mark.parametrize(
    ("writes", "shown"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\n"), ["one"]),
        ((b"10%\r50%\r100%\n",), ["100%"]),
        ((b"dos\r\n",), ["dos"]),
        ((b"\n  \n\t\n",), []),
        ((b"half a line",), ["half a line"]),
        ((b"\xff\xc3\xa4\n",), ["\ufffd\u00e4"]),
        ((b"x" * (LONGEST + 5) + b"\n",), ["x" * LONGEST]),
        ((), []),
    ],
)  # fmt: skip
def test_standard_error_is_shown_line_by_line(writes: tuple[bytes, ...], shown: list[str]) -> None:
    assert captured(*writes) == shown


def test_standard_error_is_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    with StderrCapture(shown.append) as capture:
        os.write(2, b"library\n")
        capture.terminal.write("table\n")
    os.write(2, b"after\n")
    assert shown == ["library"]
    assert capfd.readouterr().err == "table\nafter\n"


def test_standard_error_is_given_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    with pytest.raises(ZeroDivisionError), StderrCapture(shown.append):
        os.write(2, b"before\n")
        raise ZeroDivisionError
    os.write(2, b"after\n")
    assert (shown, capfd.readouterr().err) == (["before"], "after\n")


def test_a_process_that_is_about_to_exit_writes_past_what_is_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    from aftertune.cli.stderr_capture import write_last_line

    shown: list[str] = []
    write_last_line("plain\n")
    with StderrCapture(shown.append):
        write_last_line("stopped\n")
    assert shown == []
    assert capfd.readouterr().err == "plain\n\r\x1b[J\x1b[?25hstopped\n", "the cursor is shown again"
