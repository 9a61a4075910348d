"""The first finding of a run: which it is, what it waits for, and when it is shown."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from tests.conftest import ONE, small_design

from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.commands.first_finding import FirstFinding
from aftertune.judging.judge_job import JudgeJob
from aftertune.plugins import PluginSpec
from aftertune.run.progress import FollowingProgress, RunFollower
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.resolve import resolve
from aftertune.studies.study import Study
from aftertune.tuning.tune_job import TuneJob


class Screen(FollowingProgress):
    """Keeps what is shown, and how many jobs were done before."""

    def __init__(self) -> None:
        self.count = -1
        self.shown: list[tuple[int, str]] = []

    def __call__(self, done: str, count: int, total: int) -> None:
        self.count = count

    def follow(self, follower: RunFollower) -> None:
        pass

    def say(self, line: str) -> None:
        self.shown.append((self.count, line))


def first_of(study: Study) -> FirstFinding:
    first = FirstFinding.of(study)
    assert first is not None
    return first


@pytest.fixture(name="five")
def _five() -> Study:
    return resolve(small_design(seeds=(1, 2, 3, 4, 5)))


@pytest.fixture(name="run")
def _run(finished: results.Result, tmp_path: Path) -> Run:
    """A run of one's own: it is continued here."""
    return Run.open(Path(shutil.copytree(finished.root, tmp_path / "run")))


def test_it_is_the_first_metric_of_the_first_arm_from_three_seeds(five: Study) -> None:
    first = first_of(five)
    assert (first.metric.name, first.judge, first.name) == ("miniature/harmful/refusal=full", "world", "keep")
    assert (first.seeds, first.of_seeds) == (3, 5)
    assert sorted(job.subject.train_seed or 0 for job in first.verdicts) == [0, 1, 2, 3]


def test_it_waits_for_its_own_jobs_and_no_other_tuning(five: Study) -> None:
    first = first_of(five)
    tunings = {job.label for job in five.of(TuneJob) if job.id in first.needs}
    assert tunings == {"tune keep seed 1", "tune keep seed 2", "tune keep seed 3"}
    known = {job.id: job for job in five.jobs}
    assert all(set(known[id_].after) <= first.needs for id_ in first.needs), "closed under what is waited for"
    assert {job.judge.name for job in five.of(JudgeJob) if job.id in first.needs} == {"world"}


def test_of_one_seed_it_is_a_checkpoint() -> None:
    first = first_of(resolve(small_design(seeds=(7,))))
    assert (first.name, first.seeds, first.of_seeds) == ("keep seed 7, epoch 1", 1, 1)


def test_a_study_that_is_little_more_has_none() -> None:
    design = small_design(seeds=(7,), arms=small_design().arms[:1], contrasts=(), judges=(PluginSpec("world"),))
    assert FirstFinding.of(resolve(design)) is None


def test_where_nothing_is_tuned_there_is_none(five: Study) -> None:
    bases = tuple(subject for subject in five.subjects if subject.is_base)
    assert FirstFinding.of(dataclasses.replace(five, subjects=bases)) is None


def test_from_all_seeds_it_is_the_row_of_the_report(finished: results.Result) -> None:
    run = Run.open(finished.root)
    study = stored.read(run)
    row = first_of(study).row(run, study)
    assert row is not None
    (expected,) = [
        each
        for each in finished.gated
        if each.metric == row.metric and each.arm == "keep" and each.estimand == "recipe"
    ]
    assert (row.base, row.tuned, row.delta, row.low, row.high) == (
        expected.base,
        expected.tuned,
        expected.delta,
        expected.low,
        expected.high,
    )
    said = first_of(study).sentence(row)
    assert said.startswith("first finding: keep: harmful requests refused: ")
    assert said.endswith("(2 of 2 seeds, 22 prompts; the rest of the run refines it)")
    base = first_of(study).told_apart(run, study)
    assert base == finished.discrimination[0]
    more = first_of(study).sentence(row, base)
    assert (
        "22 prompts; the base: 100.0 % of harmful and 20.0 % of harmless prompts; d-prime 2.81 [1.40, 4.23], 0 whe"
        in more
    )


def test_it_is_shown_once_as_soon_as_its_last_job_is_done(run: Run) -> None:
    study = stored.read(run)
    first = first_of(study)
    others = [job for job in study.of(JudgeJob) if job.id not in first.needs]
    for job in (*first.verdicts[-1:], *others):
        shutil.rmtree(run.job(job).path)
    screen = Screen()
    running.run(study.design, run.root, executor=ONE, progress=screen)
    total = len(study.jobs)
    assert [count for count, _ in screen.shown] == [total - len(others)], "before all that it does not wait for"


def test_a_run_that_has_it_already_shows_it_at_once(run: Run) -> None:
    study = stored.read(run)
    other = next(job for job in study.of(JudgeJob) if job.id not in first_of(study).needs)
    shutil.rmtree(run.job(other).path)
    screen = Screen()
    running.run(study.design, run.root, executor=ONE, progress=screen)
    assert [count for count, _ in screen.shown] == [len(study.jobs) - 1]
    again = Screen()
    running.run(study.design, run.root, executor=ONE, progress=again)
    assert again.shown == [], "a finished run shows its decision"


def test_one_that_cannot_be_made_stops_nothing(
    finished: results.Result, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftertune.errors import DesignError

    def broken(*_: object) -> None:
        raise DesignError("too few prompts can be paired")

    monkeypatch.setattr(FirstFinding, "row", broken)
    study = stored.read(run)
    shutil.rmtree(run.job(first_of(study).verdicts[-1]).path)
    screen = Screen()
    again = running.run(study.design, run.root, executor=ONE, progress=screen)
    assert again.outcome == finished.outcome
    assert screen.shown == []
