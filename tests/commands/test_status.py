"""The log of a run, where it stands, and how long the rest is said to take."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.small_jobs import Piece

from aftertune.cli.app import tell as line
from aftertune.cli.progress import Lines, jobs_table, status_lines
from aftertune.commands import decide as results
from aftertune.commands.status import status
from aftertune.errors import TuneError
from aftertune.files import holder
from aftertune.run import progress, time_left
from aftertune.run.executors._schedule import Schedule
from aftertune.run.job import Job


def job(kind: str, id_: str, cost: float, *after: str, **more: Any) -> Piece:
    return Piece(kind=kind, id=id_, after=after, cost=cost, **more)


JOBS = [
    job("variants", "v", 2.0),
    *(job("checkpoints", f"t{n}", 10.0, "v", label=f"tune {n}", accelerator=True, alike="lora") for n in range(20)),
    *(job("responses", f"r{n}", 3.0, f"t{n}", label=f"ask {n}", accelerator=True, alike="mini") for n in range(20)),
    *(job("verdicts", f"j{n}{name}", 1.0, f"r{n}", label=f"judge {n}", alike=name) for n in range(20) for name in "ab"),
    job("responses", "rb", 3.0, label="ask base", accelerator=True, alike="mini"),
    *(job("verdicts", f"jb{name}", 1.0, "rb", label="judge base", alike=name) for name in "ab"),
]
TRUE = {"variants": 8.0, "checkpoints": 14.0, "responses": 4.0, "verdicts": 0.4}


def played(workers: int) -> list[time_left.FinishedJob]:
    """A run as it would go, by the order that executors take."""
    schedule, clock, took = Schedule(JOBS), 0.0, []
    running: list[tuple[float, float, Job]] = []
    while len(schedule):
        for each in schedule.ready()[: workers - len(running)]:
            schedule.begin(each)
            running.append((clock + TRUE[each.kind], clock, each))
        running.sort(key=lambda row: row[0])
        clock, began, ended = running.pop(0)
        schedule.end(ended)
        took.append(time_left.FinishedJob(ended, began, clock))
    return took


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_estimate_holds_from_the_first_tenth_on(workers: int) -> None:
    run = played(workers)
    end = (
        max(each.end for each in run)
        + time_left.REPORT[0]
        + time_left.REPORT[1] * sum(c.kind == "verdicts" for c in JOBS)
    )
    for tenth in range(1, 9):
        now = end * tenth / 10
        done = [each for each in run if each.end <= now]
        running = {each.job.id: now - each.begin for each in run if each.begin <= now < each.end}
        left = time_left.remaining(JOBS, done, running, workers)
        assert left is not None
        assert abs(left - (end - now)) < 0.2 * (end - now), tenth


def test_a_machine_that_has_become_slower_is_expected_to_stay_so() -> None:
    run = [time_left.FinishedJob(each, 10.0 * n, 10.0 * n + 9) for n, each in enumerate(JOBS[1:9])]
    run += [time_left.FinishedJob(each, 80 + 30.0 * n, 80 + 30.0 * n + 27) for n, each in enumerate(JOBS[9:12])]
    mean = (8 * 9 + 3 * 27) / 11
    assert time_left.pace(run, 0.0) == pytest.approx(1.0)
    assert time_left.pace(run, 80.0) == pytest.approx(27 / mean)
    assert time_left.pace(run, 150.0) == 1.0  # one job is no pace
    assert time_left.pace(run[:2], 0.0) == 1.0


def test_the_report_is_stretched_as_the_jobs_are_that_wait_least() -> None:
    asked = time_left.FinishedJob(JOBS[1], 0.0, 100.0, cpu=1.0)  # waits for a server
    tuned = time_left.FinishedJob(JOBS[2], 0.0, 10.0, cpu=5.0)
    judged = time_left.FinishedJob(JOBS[-1], 0.0, 3.0, cpu=1.0)
    assert time_left.stretch([]) == 1.0
    assert time_left.stretch([asked]) == 100.0
    assert time_left.stretch([asked, tuned, judged]) == pytest.approx(3.0)
    assert time_left.stretch([time_left.FinishedJob(JOBS[1], 0.0, 1.0, cpu=4.0)]) == 1.0
    last = [JOBS[-1]]
    whole = time_left.remaining(last, [judged], {}, 1, 0.0)
    assert whole == pytest.approx(3 * (time_left.REPORT[0] + time_left.REPORT[1]))
    later = time_left.remaining(last, [judged], {}, 1, 1000.0)
    assert later == pytest.approx(100.0)


def test_nothing_is_said_before_anything_is_known() -> None:
    assert time_left.remaining(JOBS, [], {}, 2) is None
    assert time_left.in_words(None) == "time left not known yet"
    assert [time_left.in_words(s) for s in (1, 61, 600, 7200, 3e5)] == [
        "5 s left", "60 s left", "10 min left", "2 h left", "3 days left"]  # fmt: skip


def test_what_loading_took_is_not_expected_of_the_others() -> None:
    cold = time_left.FinishedJob(JOBS[1], 0.0, 60.0, 50.0)
    assert time_left.expected([JOBS[2]], [cold]) == {"t1": 10.0}


def test_the_first_of_each_kind_goes_first() -> None:
    schedule = Schedule(JOBS)
    assert {each.id for each in schedule.ready()} == {"v", "rb"}
    for id_ in ("v", "rb"):
        first = next(each for each in schedule.ready() if each.id == id_)
        schedule.begin(first)
        schedule.end(first)
    assert {each.kind for each in schedule.ready()[:3]} == {"checkpoints", "verdicts"}
    assert [each.kind for each in schedule.ready()].index("checkpoints") == 0


@dataclass(frozen=True)
class Work:
    fail: str = ""

    def __call__(self, job: Job) -> None:
        if job.id == self.fail:
            raise TuneError("Anna Kowalska\x1b[31m is in the data")


def test_the_log_names_jobs_and_no_data(tmp_path: Path) -> None:
    with pytest.raises(TuneError), progress.LogSession(tmp_path, 2, 2, 1):
        work = progress.LoggedWork(tmp_path, Work("t1"))
        work(JOBS[1])
        work(JOBS[2])
    text = (tmp_path / progress.LOG).read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == [
        "run begun", "job begun", "job done", "job begun", "job failed", "run stopped"]  # fmt: skip
    assert all(event["time"] and event["level"] for event in events)
    assert "Anna" not in text
    failed = progress.failure(tmp_path)
    assert failed is not None
    assert failed["label"] == "tune 1"
    with (tmp_path / progress.LOG).open("a") as file:
        file.write("{broken\n")
    now = progress.RunFollower(tmp_path, JOBS, {"t0"}).status()
    assert {row.kind: row.done for row in now.rows}["checkpoints"] == 1
    assert now.running == ()


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LARGEST", 2000)
    follower = progress.RunFollower(tmp_path, JOBS, set())
    for _ in range(30):
        with progress.LogSession(tmp_path, 2, 2, 1):
            progress.LoggedWork(tmp_path, Work())(JOBS[1])
            assert follower.status(fresh=True).left is None  # nobody has said that the job is complete
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    assert set(sizes) == {progress.LOG, progress.EARLIER}
    assert max(sizes.values()) < 4000


def test_the_report_is_a_phase_of_its_own(tmp_path: Path) -> None:
    with progress.LogSession(tmp_path, 2, 2, 1):
        progress.LoggedWork(tmp_path, Work())(JOBS[1])
        progress.log_event(tmp_path, progress.DECIDING)
        now = progress.RunFollower(tmp_path, JOBS[:2], {"t0", "v"}).status()
        assert now.running == ("drifts, gate and report",)
        assert now.left == pytest.approx(time_left.REPORT[0], rel=0.1)
    assert progress.RunFollower(tmp_path, JOBS[:2], {"t0", "v"}).status().running == ()


def test_who_works_on_a_run_is_seen_from_elsewhere(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'a+'); fcntl.flock(f, fcntl.LOCK_EX); f.write('4711');"
        "f.flush(); print('held', flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / ".lock"], stdout=subprocess.PIPE) as held:
        assert held.stdout is not None
        held.stdout.readline()
        assert holder(tmp_path) == "4711"
        held.kill()
    assert holder(tmp_path) is None


def test_a_finished_run_says_where_it_stands(finished: results.Result, capsys: pytest.CaptureFixture[str]) -> None:
    shown = status(finished.root)
    assert shown["process"] is None
    assert shown["seconds_left"] is None
    assert shown["last_failure"] is None
    assert shown["jobs"]["checkpoints"]["done"] == shown["jobs"]["checkpoints"]["jobs"] > 0
    assert shown["jobs"]["checkpoints"]["seconds"] > 0
    events = [json.loads(line)["event"] for line in (finished.root / progress.LOG).read_text().splitlines()]
    jobs = sum(row["jobs"] for row in shown["jobs"].values())
    assert (events[0], events[-1], events.count("job done")) == ("run begun", "run done", jobs)
    hostile = {"label": "a\x1b[31m", "error": "b\n\x00c", "time": 0.0}
    lines = list(status_lines({**shown, "last_failure": hostile, "running": ["x\x1b]0;t\x07"]}))
    assert not any("\x1b" in line or "\x00" in line or "\n" in line for line in lines)


def test_lines_say_how_long_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell = Lines(line)
    with progress.LogSession(tmp_path, len(JOBS), len(JOBS), 1):
        progress.LoggedWork(tmp_path, Work())(JOBS[1])
    tell.follow(progress.RunFollower(tmp_path, JOBS, {"v", "t0"}))
    tell("tune", len(JOBS), len(JOBS))
    assert " s left, last: tune" in capsys.readouterr().err


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    now = progress.RunStatus(
        (progress.Row("checkpoints", 20, 3, 2, 1234.5, 1000.0),), ("tune [bold]x\x1b[2J", "y" * 500), 60.0
    )
    out = io.StringIO()
    Console(file=out, width=60).print(*jobs_table(now, 60, 20))
    assert "3" in out.getvalue()
    assert "15" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 60
