"""More judges over a stored run: what they add to the study, and what they are refused for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import fakes
from tests.fakes import Wordy

from aftertune.commands.judge import with_judges
from aftertune.errors import JudgeError, StoreError, UsageError
from aftertune.judging.judge_job import JudgeJob
from aftertune.plugins import PluginSpec
from aftertune.run.run_folder import Run
from aftertune.studies import stored


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    return fakes.done(tmp_path / "run", fakes.given_study())


def test_a_judge_gets_a_job_for_each_answered_benchmark_beside_those_there(run: Run) -> None:
    before = stored.read(run)
    after = with_judges(run, before, [PluginSpec("coherence")])
    assert after.jobs[: len(before.jobs)] == before.jobs
    new = [job for job in after.of(JudgeJob) if job.judge.name == "coherence"]
    assert [(job.subject.arm, job.benchmark) for job in new] == [("base", "listed"), ("mine", "listed")]
    assert {job.responses for job in new} == {job.responses for job in before.of(JudgeJob)}
    assert {job.base_responses for job in new} == {job.base_responses for job in before.of(JudgeJob)}
    assert after.design.judges == (*before.design.judges, PluginSpec("coherence"))
    assert [judge.name for judge in after.judges] == ["wordy", "coherence"]
    assert new[0].judge.get().name == "coherence"
    with pytest.raises(StoreError):
        after.judges[0].get()
    assert after.primary_judges == {"refusal": "wordy", "coherence": "coherence"}


def test_a_judge_that_is_there_already_adds_nothing(run: Run) -> None:
    study = with_judges(run, stored.read(run), [PluginSpec("coherence"), PluginSpec("coherence")])
    assert len(study.of(JudgeJob)) == 4
    again = with_judges(run, study, [PluginSpec("coherence")])
    assert again.jobs == study.jobs
    assert again.design == study.design


def test_a_judge_of_a_known_name_with_other_settings_is_refused_and_not_left_out(run: Run) -> None:
    study = with_judges(run, stored.read(run), [PluginSpec("toxicity", {"encoder": ""})])
    with pytest.raises(UsageError, match=r"verdicts of it with encoder = '' .*, and you ask for threshold = 0.7 "):
        with_judges(run, study, [PluginSpec("toxicity", {"threshold": 0.7})])
    both = [PluginSpec("toxicity"), PluginSpec("toxicity", {"threshold": 0.7})]
    with pytest.raises(UsageError, match="its defaults .* could not be told apart"):
        with_judges(run, stored.read(run), both)
    same = with_judges(run, study, [PluginSpec("toxicity", {"threshold": 0.5})])
    assert same.jobs == study.jobs, "a default that is written out is the same judge"


def test_an_unfinished_judge_gets_its_plugin_back(run: Run) -> None:
    study = with_judges(run, stored.read(run), [PluginSpec("coherence")])
    stored.write(run, study)
    back = with_judges(run, stored.read(run), [PluginSpec("toxicity")])
    ready = {job.judge.name: job.judge.plugin is not None for job in back.of(JudgeJob)}
    assert ready == {"wordy": False, "coherence": True, "toxicity": True}


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (PluginSpec("coherenc"), UsageError, "did you mean 'coherence'"),
        (PluginSpec("leak"), UsageError, r"judge 'leak' needs registries: give a \[corpus\]"),
        (PluginSpec("constant"), JudgeError, "judge constant cannot tell"),
    ],
)
def test_a_judge_that_cannot_judge_here_is_refused_and_the_run_is_as_it_was(
    run: Run, spec: PluginSpec, kind: type[Exception], message: str
) -> None:
    written = (run.root / "study.json").read_bytes()
    with pytest.raises(kind, match=message):
        with_judges(run, stored.read(run), [spec])
    assert (run.root / "study.json").read_bytes() == written


def test_the_new_jobs_read_the_answers_of_the_run(run: Run) -> None:
    study = with_judges(run, stored.read(run), [PluginSpec("coherence")])
    for job in study.of(JudgeJob):
        if job.judge.plugin is not None:
            fakes.do(run, job)
    rows = [row for job in study.of(JudgeJob) for row in run.job(job).read("verdicts").to_pylist()]
    assert {(row["judge"], row["prompt_id"]) for row in rows} == {
        (name, f"p{index}") for name in ("wordy", "coherence") for index in range(3)
    }
    assert isinstance(fakes.judge(Wordy()).get(), Wordy)
