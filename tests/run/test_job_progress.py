"""How far a running job is, and the time left that is told from its first batch on."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.small_jobs import Piece

from aftertune.errors import TuneError
from aftertune.run import job_progress, progress, time_left
from aftertune.run.job import Job
from aftertune.run.job_progress import JobProgress, _Work
from aftertune.run.time_left import FinishedJob, PartDone


def work(**changes: Any) -> _Work:
    fields: dict[str, Any] = {"of": 100, "unit": "answers", "before": 0, "most_tokens": 0, "done": 0}
    return _Work(**{**fields, **changes})


# ---------------------------------------------------------------------------------------------- the share


def test_the_share_is_of_answers_where_some_are_finished() -> None:
    assert work(done=25).share(10.0) == pytest.approx(0.25)
    assert work(done=60, before=20).share(10.0) == pytest.approx(0.5), (
        "what an earlier attempt did took no time of this"
    )
    assert work().share(10.0) is None
    assert work(of=20, before=20, done=20).share(10.0) is None, "nothing is left to do"


def test_before_an_answer_is_finished_the_share_is_of_the_tokens_that_all_may_have() -> None:
    """64 answers at once, 16 tokens each so far, of 100 answers of 256 at most."""
    assert work(most_tokens=25_600, tokens=1024).share(8.0) == pytest.approx(0.04)
    assert work(most_tokens=25_600, tokens=1024, done=10).share(8.0) == pytest.approx(0.1), "short answers end early"


def test_reading_the_prompts_of_the_first_batch_is_not_taken_for_writing() -> None:
    """64 of 128 prompts were read in 60 s, and 1 of 100 tokens took 1 s: 2 x 60 s and 2 x 100 s in all."""
    begun = work(of=128, most_tokens=12_800, tokens=64, prompts_read=64, reading_seconds=60.0)
    assert begun.share(61.0) == pytest.approx(61 / (2 * 60 + 2 * 100))


@given(
    of=st.integers(1, 5000), done=st.integers(0, 5000), before=st.integers(0, 5000), tokens=st.integers(0, 10**7),
    limit=st.integers(0, 2048), read=st.integers(0, 5000), reading=st.floats(0, 1e4), seconds=st.floats(0, 1e5),
)  # fmt: skip
def test_a_share_is_a_share(
    of: int, done: int, before: int, tokens: int, limit: int, read: int, reading: float, seconds: float
) -> None:
    made = work(
        of=of, before=min(before, of), done=min(before, of) + min(done, of), tokens=tokens, most_tokens=of * limit,
        prompts_read=read, reading_seconds=reading,
    )  # fmt: skip
    share = made.share(seconds)
    assert share is None or (0 < share <= 1 and math.isfinite(seconds / share))


# ---------------------------------------------------------------------------------------------- reports


def test_reports_come_while_something_changes_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_progress, "EVERY", 0.02)
    told: list[dict[str, Any]] = []
    counted = JobProgress()
    with counted.of_job(told.append):
        time.sleep(0.1)
        assert told == [], "nothing is known yet"
        counted.expect(8, unit="answers", done=2, most_tokens=60)
        with counted.reading(6):
            pass
        counted.wrote(12)
        counted.advance()
        time.sleep(0.2)
        assert len(told) in (1, 2)
        last = told[-1]
        assert {key: last[key] for key in ("done", "of", "unit", "tokens")} == {
            "done": 3, "of": 8, "unit": "answers", "tokens": 12,
        }  # fmt: skip
        assert 0 < last["share"] < 1
    count = len(told)
    counted.advance()
    time.sleep(0.1)
    assert len(told) == count, "the job is over"


class Slow:
    """A job that answers one of four prompts, then waits for what the test asks."""

    def __init__(self, look: Any) -> None:
        self.look = look

    def __call__(self, job: Job) -> None:
        job_progress.PROGRESS.expect(4, unit="answers", most_tokens=400)
        job_progress.PROGRESS.wrote(90)
        job_progress.PROGRESS.advance()
        self.look()
        raise TuneError("enough")


def test_a_running_job_is_seen_from_elsewhere_and_so_is_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_progress, "EVERY", 0.02)
    jobs = [Piece(kind="responses", id=f"r{n}", label=f"ask seed {n}", alike="a") for n in range(3)]
    seen: list[progress.RunStatus] = []

    def look() -> None:
        follower, end = progress.RunFollower(tmp_path, jobs, set()), time.monotonic() + 5
        while not (now := follower.status(fresh=True)).counts and time.monotonic() < end:
            time.sleep(0.02)
        seen.append(now)

    with pytest.raises(TuneError), progress.LogSession(tmp_path, 3, 3, 1):
        progress.LoggedWork(tmp_path, Slow(look))(jobs[1])
    assert seen[0].running == ("ask seed 1: 1 of 4 answers, 90 tokens",)
    assert seen[0].left is not None, "no job is finished yet"
    event = next(e for line in (tmp_path / progress.LOG).read_text().splitlines() if "share" in (e := json.loads(line)))
    assert (event["event"], event["job"], event["share"]) == ("job progress", "responses/r1", 0.25)
    after = progress.RunFollower(tmp_path, jobs, set()).status()
    assert (after.running, after.counts) == ((), ()), "it ended"


def test_a_damaged_report_is_passed_over(tmp_path: Path) -> None:
    job = Piece(kind="responses", id="r", label="ask")
    with progress.LogSession(tmp_path, 1, 1, 1):
        progress.log_event(tmp_path, progress.JOB_BEGUN, job="responses/r", label="ask")
        progress.log_event(tmp_path, progress.JOB_PROGRESS, job="responses/r", label="ask", done="many", of=3)
        progress.log_event(tmp_path, progress.JOB_PROGRESS, job="responses/unknown", label="ask", done=1, of=3)
        assert progress.RunFollower(tmp_path, [job], set()).status().running == ("ask",)


# ---------------------------------------------------------------------------------------------- the time left


def asking(count: int) -> list[Piece]:
    return [Piece(kind="responses", id=f"r{n}", cost=3.0, alike="a") for n in range(count)]


def test_the_first_job_under_way_says_how_long_all_take() -> None:
    """A tenth took 30 s: 270 s more, and 5 jobs of 300 s; two at once."""
    jobs = asking(6)
    left = time_left.remaining(jobs, [], {"r0": 35.0}, 2, None, {"r0": PartDone(0.1, 30.0)})
    assert left == pytest.approx(900 + time_left.REPORT[0])
    assert time_left.remaining(jobs, [], {"r0": 35.0}, 2, None, {}) is None


def test_jobs_that_were_finished_are_believed_until_the_running_one_has_shown_its_own_pace() -> None:
    part = PartDone(0.1, 30.0)
    assert part.rest(300.0) == pytest.approx(270.0)
    assert part.rest(100.0) == pytest.approx(0.9 * (0.1 * 300 + 0.9 * 100))
    assert PartDone(0.9, 270.0).rest(100.0) == pytest.approx(0.1 * (0.9 * 300 + 0.1 * 100))
    assert PartDone(0.1, 30.0, since=20.0).rest(300.0) == pytest.approx(250.0)
    assert PartDone(0.1, 30.0, since=2000.0).rest(300.0) == pytest.approx(27.0), "never 0 while it runs"


def test_a_list_of_prompts_says_nothing_of_a_model() -> None:
    """It was written in 2 s; a model that takes 40 minutes was said to take half of one."""
    written = Piece(kind="prompts", id="p")
    jobs = [written, *(dataclasses.replace(each, accelerator=True) for each in asking(2))]
    took = [FinishedJob(written, 0.0, 2.0)]
    assert time_left.remaining(jobs, took, {"r0": 60.0}, 1) is None
    left = time_left.remaining(jobs, took, {"r0": 60.0}, 1, None, {"r0": PartDone(0.1, 60.0)})
    assert left == pytest.approx(540 + 600 + time_left.REPORT[0])


def test_a_finished_job_that_is_alike_outweighs_one_under_way() -> None:
    jobs = asking(3)
    took = [FinishedJob(jobs[0], 0.0, 100.0)]
    assert time_left.expected(jobs, took, {"r1": PartDone(0.01, 30.0)}) == {"r0": 100.0, "r1": 100.0, "r2": 100.0}


@given(share=st.floats(1e-6, 1), seconds=st.floats(1e-3, 1e6), since=st.floats(0, 1e6), usual=st.floats(1e-3, 1e6))
def test_a_rest_is_never_negative_and_shrinks_with_the_share(
    share: float, seconds: float, since: float, usual: float
) -> None:
    rest = PartDone(share, seconds, since).rest(usual)
    assert 0 <= rest < math.inf
    assert rest <= PartDone(share, seconds).rest(usual)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_with_parts_the_estimate_holds_from_the_first_tenth_of_the_first_job_on(workers: int) -> None:
    """Nine jobs of 200 s, the first `workers` of which begin together: at 20 s, 60 s and 150 s nothing is finished."""
    jobs = asking(9)
    end = 200.0 * math.ceil(9 / workers) + time_left.REPORT[0]
    for now in (20.0, 60.0, 150.0):
        running = {f"r{n}": now for n in range(workers)}
        left = time_left.remaining(jobs, [], running, workers, None, {id_: PartDone(now / 200, now) for id_ in running})
        assert left == pytest.approx(end - now, rel=0.01), now
