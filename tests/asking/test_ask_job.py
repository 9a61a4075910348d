"""The job that asks: each answer once, errors again, whatever a stopped attempt had finished."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Calls, Killed, Listed, Scripted

from aftertune.asking.ask_job import AskJob
from aftertune.asking.prompts_job import PromptsJob
from aftertune.models.loaded import LOADED
from aftertune.models.subject import Subject
from aftertune.records import Respond, Response, digest
from aftertune.run.run_folder import Run
from aftertune.run.tables import records


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    LOADED.unload()


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "design", {})


def job(run: Run, backend: Scripted, *, subject: Subject | None = None, **changes: Any) -> AskJob:
    """Return the job, its prompts written."""
    listed = fakes.benchmark(changes.pop("benchmark", Listed(count=5)))
    prompts = PromptsJob.make(benchmark=listed, variants=None, corpus=None, arms=())
    if not run.job(prompts).complete:
        fakes.do(run, prompts)
    fields: dict[str, Any] = {
        "subject": subject or fakes.given(), "benchmark": listed, "prompts": prompts.id, "needs_data": False,
        "corpus": None, "respond": Respond(), "backend": fakes.backend(backend),
    }  # fmt: skip
    return AskJob.make("mine", **{**fields, **changes})


def rows(run: Run, asked: AskJob) -> list[Response]:
    return records(Response, run.job(asked).read("responses"))


def test_each_prompt_is_answered_by_the_checkpoint_with_its_proof(run: Run) -> None:
    calls = Calls()
    asked = job(run, Scripted(calls=calls), corpus="extra", respond=Respond(system="Be kind.", template="own"))
    output = fakes.do(run, asked)
    assert calls.opened == ["/models/m"]
    assert set(calls.used) == {Path("/models/adapter")}
    assert calls.settings == [("Be kind.", "own")]
    answers = rows(run, asked)
    assert [(row.prompt_id, row.text) for row in answers] == [(f"p{i}", f"p{i} by adapter") for i in range(5)]
    first = answers[0]
    assert (first.base, first.arm, first.recipe, first.train_seed, first.epoch) == ("m", "mine", "given", 1, None)
    assert (first.checkpoint, first.benchmark, first.subset) == ("id of mine", "listed", "harmful")
    assert (first.category, first.cluster, first.corpus) == ("c", "cluster-p0", "extra")
    assert (first.system, first.template, first.finish_reason) == (digest("Be kind."), "own", "stop")
    assert output.info["proof"].max_logit_change == 0.5  # type: ignore[attr-defined]
    assert output.info["asked"] == 5
    assert "served" not in output.info
    assert "again" not in output.info


@pytest.mark.parametrize(("limit", "own", "asked"), [(None, 17, 17), (5, 17, 5), (40, 17, 17), (17, 17, 17), (1, 3, 1)])
def test_an_answer_takes_the_benchmarks_tokens_or_fewer(run: Run, limit: int | None, own: int, asked: int) -> None:
    """The base is asked some answers again: under the same limit."""
    for subject in (fakes.given(), fakes.base()):
        LOADED.unload()
        calls = Calls()
        settings = Respond(answer_tokens=limit)
        listed = Listed(count=3, max_new_tokens=own)
        one = job(run, Scripted(calls=calls), subject=subject, benchmark=listed, respond=settings)
        fakes.do(run, one)
        assert {request.max_new_tokens for request in calls.requests} == {asked}
        assert (one.id == job(run, Scripted(), subject=subject, benchmark=listed).id) == (limit is None)


def test_a_checkpoint_that_was_tuned_here_lies_in_the_run(run: Run) -> None:
    calls = Calls()
    tuned = dataclasses.replace(fakes.given(path="checkpoints/x/epoch-1"), tuned_by="x", model=None)
    asked = job(run, Scripted(calls=calls), subject=tuned)
    fakes.do(run, asked)
    assert set(calls.used) == {run.root / "checkpoints/x/epoch-1"}
    assert "x" in asked.after


def test_temperatures_and_samples_are_asked_in_a_fixed_order(run: Run) -> None:
    asked = job(run, Scripted(), respond=Respond(temperatures=(0.7, 0.0), samples=2))
    fakes.do(run, asked)
    assert [(row.prompt_id, row.temperature, row.sample) for row in rows(run, asked)][:4] == [
        ("p0", 0.0, 0), ("p0", 0.7, 0), ("p0", 0.7, 1), ("p1", 0.0, 0),
    ]  # fmt: skip
    assert len(rows(run, asked)) == 15


def test_an_attempt_that_was_killed_is_continued_where_it_stopped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aftertune.asking.ask_job.FLUSH", 2)
    whole = job(run, Scripted())
    fakes.do(run, whole)
    expected = rows(run, whole)
    LOADED.unload()
    first = Calls()
    killed = job(run, Scripted(dies_at="p3", calls=first))
    with pytest.raises(Killed):
        fakes.do(run, killed)
    folder = run.job(killed)
    assert [row.prompt_id for row in folder.journal(Response)] == ["p0", "p1", "p2"], "what was finished"
    LOADED.unload()
    second = Calls()
    again = dataclasses.replace(killed, backend=fakes.backend(Scripted(calls=second)))
    fakes.do(run, again)
    assert [request.prompt.id for request in second.requests] == ["p3", "p4"]
    assert rows(run, again) == expected
    assert not (folder.path / "journal").exists()


def test_what_ended_in_an_error_is_asked_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aftertune.asking.ask_job.FLUSH", 1)
    broken = job(run, Scripted(failing=("p1",), dies_at="p3"))
    with pytest.raises(Killed):
        fakes.do(run, broken)
    journal = run.job(broken).journal(Response)
    assert [(row.prompt_id, row.error) for row in journal] == [("p0", None), ("p1", "it broke"), ("p2", None)]
    LOADED.unload()
    calls = Calls()
    again = dataclasses.replace(broken, backend=fakes.backend(Scripted(calls=calls)))
    fakes.do(run, again)
    assert [request.prompt.id for request in calls.requests] == ["p1", "p3", "p4"]
    assert all(row.error is None and row.text for row in rows(run, again))


def test_an_error_is_a_row_with_its_reason(run: Run) -> None:
    asked = job(run, Scripted(failing=("p1",)))
    fakes.do(run, asked)
    row = rows(run, asked)[1]
    assert (row.prompt_id, row.error, row.finish_reason, row.text) == ("p1", "it broke", "error", "")


def test_a_journal_of_other_prompts_is_left_out(run: Run) -> None:
    asked = job(run, Scripted())
    other = job(run, Scripted(), benchmark=Listed(count=7))
    with pytest.raises(Killed):
        fakes.do(run, dataclasses.replace(other, id=asked.id, backend=fakes.backend(Scripted(dies_at="p6"))))
    fakes.do(run, asked)
    assert [row.prompt_id for row in rows(run, asked)] == [f"p{index}" for index in range(5)]


def served(record: str = "m") -> Subject:
    model = fakes.model(record, kind="served", declared={"asked": "m"}, weights_hash=None)
    return fakes.base(model)


def test_each_answer_of_a_server_is_flushed_as_it_comes(run: Run) -> None:
    asked = job(run, Scripted(dies_at="p3"), subject=served())
    with pytest.raises(Killed):
        fakes.do(run, asked)
    assert [row.prompt_id for row in run.job(asked).journal(Response)] == ["p0", "p1", "p2"]
    LOADED.unload()
    again = dataclasses.replace(asked, backend=fakes.backend())
    info: Any = fakes.do(run, again).info
    assert info["served"] == {"warnings": ["slow"], "requests": 2}


def test_an_answer_that_may_depend_on_its_batch_is_asked_again_of_the_base(run: Run) -> None:
    calls = Calls()
    asked = job(run, Scripted(inexact=True, calls=calls), subject=fakes.base())
    info: Any = fakes.do(run, asked).info
    assert info["again"] == {"asked": 5, "same": 5}
    assert len(calls.requests) == 10
    LOADED.unload()
    assert "again" not in fakes.do(run, job(run, Scripted(inexact=True))).info, "of the base only"


def test_options_are_scored_and_a_prompt_that_needs_no_answer_gets_none(run: Run) -> None:
    calls = Calls()
    asked = job(run, Scripted(calls=calls), benchmark=Listed(count=3, scored=("p1",)))
    fakes.do(run, asked)
    scored = {row.prompt_id: row.scores for row in rows(run, asked)}
    assert [request.prompt.id for request in calls.requests] == ["p0", "p2"]
    assert scored["p0"] is None
    assert set(json.loads(scored["p1"] or "")) == {"A", "B"}
    assert [row.text for row in rows(run, asked)] == ["p0 by adapter", "", "p2 by adapter"]
