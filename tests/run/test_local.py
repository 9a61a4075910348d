from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.small_jobs import JOBS, piece

from aftertune.errors import AftertuneError, TuneError, UsageError
from aftertune.hardware import cores
from aftertune.run.executors import local
from aftertune.run.executors.local import Local, visible_gpus
from aftertune.run.job import Job


@dataclass(frozen=True)
class Touch:
    """Writes one file per job with the jobs that were complete when it began; picklable."""

    root: Path
    fail: str = ""
    die: str = ""

    def __call__(self, job: Job) -> None:
        if job.id == self.fail:
            raise TuneError(f"job {job.id} went wrong")
        if job.id == self.die:
            os._exit(9)
        seen = sorted(item.name for item in self.root.iterdir())
        time.sleep(0.01)
        (self.root / job.id).write_text(" ".join(seen))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_runs_once_after_what_it_needs(tmp_path: Path, workers: int) -> None:
    finished: list[str] = []
    Local(workers).run(JOBS, Touch(tmp_path), lambda job: finished.append(job.id))
    assert sorted(finished) == ["a", "b", "c", "d", "e"]
    for job in JOBS:
        assert set(job.after) <= set((tmp_path / job.id).read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path: Path, workers: int) -> None:
    with pytest.raises(TuneError, match="job b went wrong"):
        Local(workers).run(JOBS, Touch(tmp_path, fail="b"), lambda job: None)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a", "c", "e"]


def test_a_worker_that_always_dies_is_named(tmp_path: Path) -> None:
    jobs = [piece("a", label="tune keep"), piece("b")]
    done: list[str] = []
    with pytest.raises(AftertuneError, match="a worker process died during 'tune keep'"):
        Local(2).run(jobs, Touch(tmp_path, die="a"), lambda job: done.append(job.id))


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As the system does where memory ends: what was in flight is done again, and each job is done once."""
    jobs = [piece(f"{at}", *(("0",) if at else ()), label=f"job {at}") for at in range(6)]
    done: list[str] = []
    with caplog.at_level(logging.WARNING, "aftertune"):
        Local(2).run(jobs, KillOnce(tmp_path), lambda job: done.append(job.id))
    assert sorted(done) == [job.id for job in jobs]
    tries = {job.id: len(list(tmp_path.glob(f"{job.id}.*"))) for job in jobs}
    assert tries["3"] == 2
    assert max(tries.values()) == 2
    assert "a worker process died during" in caplog.text
    assert "1 at once" in caplog.text


class KillOnce:
    """Kills its process the first time that it does job 3."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, job: Job) -> None:
        first = not list(self.folder.glob(f"{job.id}.*"))
        (self.folder / f"{job.id}.{os.getpid()}").touch()
        if job.id == "3" and first:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)


SLOW = """
import os, sys, time
from pathlib import Path
from aftertune.run.executors.local import Local, visible_gpus
from tests.run.test_local import note_and_wait
from tests.small_jobs import piece
if __name__ == "__main__":
    os.environ["NOTE"] = sys.argv[1]
    Local(2).run([piece("a"), piece("b")], note_and_wait, lambda job: None)
"""


def note_and_wait(job: Job) -> None:
    (Path(os.environ["NOTE"]) / job.id).write_text(str(os.getpid()))
    time.sleep(60)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(SLOW)
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    until = time.monotonic() + 60
    while not ((tmp_path / "a").is_file() and (tmp_path / "b").is_file() and (tmp_path / "b").read_text()):
        assert time.monotonic() < until
        time.sleep(0.2)
    parent.kill()
    parent.wait()
    workers = [int((tmp_path / name).read_text()) for name in ("a", "b")]
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until, "a worker outlived its parent"
        time.sleep(0.2)


def test_a_circle_is_refused() -> None:
    jobs = [piece("a", "b"), piece("b", "a")]
    with pytest.raises(UsageError, match="in a circle"):
        Local(1).run(jobs, print, lambda job: None)


def note_device(job: Job) -> None:
    time.sleep(0.1)
    (Path(os.environ["NOTE"]) / job.id).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


def test_each_gpu_has_one_process_and_what_runs_no_model_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTE", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("aftertune.run.executors.local.visible_gpus", lambda: ["3", "5"])
    jobs = [piece(f"m{index}", accelerator=True) for index in range(4)] + [piece("judge")]
    Local(2).run(jobs, note_device, lambda job: None)
    assert (tmp_path / "judge").read_text() == "none"
    assert {(tmp_path / f"m{index}").read_text() for index in range(4)} == {"3", "5"}


def test_a_system_that_does_not_tell_which_cores_are_ours_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(local, "cores", cores)
    assert Local().at_once == 7
    assert Local(3).at_once == 3


def test_gpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-ab12")
    assert visible_gpus() == ["2", "GPU-ab12"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert visible_gpus() == [], "no driver, no GPUs"
