"""The log of a run, where it stands, and how long the rest is said to take."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from aftertune.cli.app import tell as line
from aftertune.cli.progress import Lines, cells_table, status_lines
from aftertune.commands import decide as results
from aftertune.commands import status as standing
from aftertune.errors import TuneError
from aftertune.files import holder
from aftertune.run import progress as standing
from aftertune.run import time_left as eta
from aftertune.run.executors._schedule import Schedule
from aftertune.run.job import Cell

CELLS = [
    Cell("variants", "v", (), 2.0),
    *(Cell("checkpoints", f"t{n}", ("v",), 10.0, f"tune {n}", True, "lora") for n in range(20)),
    *(Cell("responses", f"r{n}", (f"t{n}",), 3.0, f"ask {n}", True, "mini") for n in range(20)),
    *(Cell("verdicts", f"j{n}{name}", (f"r{n}",), 1.0, f"judge {n}", False, name) for n in range(20) for name in "ab"),
    Cell("responses", "rb", (), 3.0, "ask base", True, "mini"),
    *(Cell("verdicts", f"jb{name}", ("rb",), 1.0, "judge base", False, name) for name in "ab"),
]
TRUE = {"variants": 8.0, "checkpoints": 14.0, "responses": 4.0, "verdicts": 0.4}


def played(workers: int) -> list[eta.Took]:
    """A run as it would go, by the order that executors take."""
    schedule, clock, found = Schedule(CELLS), 0.0, []
    running: list[tuple[float, float, Cell]] = []
    while len(schedule):
        for cell in schedule.ready()[: workers - len(running)]:
            schedule.begin(cell)
            running.append((clock + TRUE[cell.kind], clock, cell))
        running.sort(key=lambda each: each[0])
        clock, began, cell = running.pop(0)
        schedule.end(cell)
        found.append(eta.Took(cell, began, clock))
    return found


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_estimate_holds_from_the_first_tenth_on(workers: int) -> None:
    run = played(workers)
    end = max(each.end for each in run) + eta.REPORT[0] + eta.REPORT[1] * sum(c.kind == "verdicts" for c in CELLS)
    for tenth in range(1, 9):
        now = end * tenth / 10
        done = [each for each in run if each.end <= now]
        running = {each.cell.id: now - each.begin for each in run if each.begin <= now < each.end}
        left = eta.remaining(CELLS, done, running, workers)
        assert left is not None
        assert abs(left - (end - now)) < 0.2 * (end - now), tenth


def test_a_machine_that_has_become_slower_is_expected_to_stay_so() -> None:
    run = [eta.Took(cell, 10.0 * n, 10.0 * n + 9) for n, cell in enumerate(CELLS[1:9])]
    run += [eta.Took(cell, 80 + 30.0 * n, 80 + 30.0 * n + 27) for n, cell in enumerate(CELLS[9:12])]
    mean = (8 * 9 + 3 * 27) / 11
    assert eta.pace(run, 0.0) == pytest.approx(1.0)
    assert eta.pace(run, 80.0) == pytest.approx(27 / mean)
    assert eta.pace(run, 150.0) == 1.0  # one cell is no pace
    assert eta.pace(run[:2], 0.0) == 1.0


def test_the_report_is_stretched_as_the_cells_are_that_wait_least() -> None:
    asked = eta.Took(CELLS[1], 0.0, 100.0, cpu=1.0)  # waits for a server
    tuned = eta.Took(CELLS[2], 0.0, 10.0, cpu=5.0)
    judged = eta.Took(CELLS[-1], 0.0, 3.0, cpu=1.0)
    assert eta.stretch([]) == 1.0
    assert eta.stretch([asked]) == 100.0
    assert eta.stretch([asked, tuned, judged]) == pytest.approx(3.0)
    assert eta.stretch([eta.Took(CELLS[1], 0.0, 1.0, cpu=4.0)]) == 1.0
    cells = [CELLS[-1]]
    whole = eta.remaining(cells, [judged], {}, 1, 0.0)
    assert whole == pytest.approx(3 * (eta.REPORT[0] + eta.REPORT[1]))
    later = eta.remaining(cells, [judged], {}, 1, 1000.0)
    assert later == pytest.approx(100.0)


def test_nothing_is_said_before_anything_is_known() -> None:
    assert eta.remaining(CELLS, [], {}, 2) is None
    assert eta.spoken(None) == "time left not known yet"
    assert [eta.spoken(s) for s in (1, 61, 600, 7200, 3e5)] == [
        "5 s left", "60 s left", "10 min left", "2 h left", "3 days left"]  # fmt: skip


def test_what_loading_took_is_not_expected_of_the_others() -> None:
    cold = eta.Took(CELLS[1], 0.0, 60.0, 50.0)
    assert eta.expected([CELLS[2]], [cold]) == {"t1": 10.0}


def test_the_first_of_each_kind_goes_first() -> None:
    schedule = Schedule(CELLS)
    assert {cell.id for cell in schedule.ready()} == {"v", "rb"}
    for id_ in ("v", "rb"):
        cell = next(each for each in schedule.ready() if each.id == id_)
        schedule.begin(cell)
        schedule.end(cell)
    assert {cell.kind for cell in schedule.ready()[:3]} == {"checkpoints", "verdicts"}
    assert [cell.kind for cell in schedule.ready()].index("checkpoints") == 0


@dataclass(frozen=True)
class Work:
    fail: str = ""

    def __call__(self, cell: Cell) -> None:
        if cell.id == self.fail:
            raise TuneError("Anna Kowalska\x1b[31m is in the data")


def test_the_log_names_cells_and_no_data(tmp_path: Path) -> None:
    with pytest.raises(TuneError), standing.Session(tmp_path, 2, 2, 1):
        work = standing.Logged(tmp_path, Work("t1"))
        work(CELLS[1])
        work(CELLS[2])
    text = (tmp_path / standing.LOG).read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == [
        "run begun", "cell begun", "cell done", "cell begun", "cell failed", "run stopped"]  # fmt: skip
    assert all(event["time"] and event["level"] for event in events)
    assert "Anna" not in text
    failed = standing.failure(tmp_path)
    assert failed is not None
    assert failed["label"] == "tune 1"
    with (tmp_path / standing.LOG).open("a") as file:
        file.write("{broken\n")
    now = standing.Watch(tmp_path, CELLS, {"t0"}).standing()
    assert {row.kind: row.done for row in now.rows}["checkpoints"] == 1
    assert now.running == ()


def test_the_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "LARGEST", 2000)
    watch = standing.Watch(tmp_path, CELLS, set())
    for _ in range(30):
        with standing.Session(tmp_path, 2, 2, 1):
            standing.Logged(tmp_path, Work())(CELLS[1])
            assert watch.standing(fresh=True).left is None  # nobody has said that the cell is complete
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("log*")}
    assert set(sizes) == {standing.LOG, standing.EARLIER}
    assert max(sizes.values()) < 4000


def test_the_report_is_a_phase_of_its_own(tmp_path: Path) -> None:
    with standing.Session(tmp_path, 2, 2, 1):
        standing.Logged(tmp_path, Work())(CELLS[1])
        standing.note(tmp_path, standing.DECIDING)
        now = standing.Watch(tmp_path, CELLS[:2], {"t0", "v"}).standing()
        assert now.running == ("drifts, gate and report",)
        assert now.left == pytest.approx(eta.REPORT[0], rel=0.1)
    assert standing.Watch(tmp_path, CELLS[:2], {"t0", "v"}).standing().running == ()


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
    found = standing.status(finished.root)
    assert found["process"] is None
    assert found["seconds_left"] is None
    assert found["last_failure"] is None
    assert found["cells"]["checkpoints"]["done"] == found["cells"]["checkpoints"]["cells"] > 0
    assert found["cells"]["checkpoints"]["seconds"] > 0
    events = [json.loads(line)["event"] for line in (finished.root / standing.LOG).read_text().splitlines()]
    cells = sum(row["cells"] for row in found["cells"].values())
    assert (events[0], events[-1], events.count("cell done")) == ("run begun", "run done", cells)
    hostile = {"label": "a\x1b[31m", "error": "b\n\x00c", "time": 0.0}
    lines = list(status_lines({**found, "last_failure": hostile, "running": ["x\x1b]0;t\x07"]}))
    assert not any("\x1b" in line or "\x00" in line or "\n" in line for line in lines)


def test_lines_say_how_long_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell = Lines(line)
    with standing.Session(tmp_path, len(CELLS), len(CELLS), 1):
        standing.Logged(tmp_path, Work())(CELLS[0])
    tell.watch(standing.Watch(tmp_path, CELLS, {"v"}))
    tell("compose", len(CELLS), len(CELLS))
    assert " s left, last: compose" in capsys.readouterr().err


def test_the_table_fits_a_terminal(tmp_path: Path) -> None:
    import io

    from rich.console import Console

    now = standing.Standing(
        (standing.Row("checkpoints", 20, 3, 2, 1234.5, 1000.0),), ("tune [bold]x\x1b[2J", "y" * 500), 60.0
    )
    out = io.StringIO()
    Console(file=out, width=60).print(*cells_table(now, 60, 20))
    assert "3" in out.getvalue()
    assert "15" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 60
