"""The job that scores: members, held-out rows, canaries and twins under the base and under the checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Calls, Scripted

from aftertune.asking.score_job import ScoreJob
from aftertune.models.loaded import LOADED
from aftertune.pii import canaries
from aftertune.records import Conversation, Message, Person, Score, Span
from aftertune.run.run_folder import Run
from aftertune.run.tables import records


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    LOADED.unload()


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", "design", {})
    folder = run.folder("variants", "data")
    folder.start()
    fakes.put_rows(folder.path / "source.jsonl", "s1", "s2", "s3")
    fakes.put_rows(folder.path / "keep.jsonl", "k1", "k2", "canary-1")
    fakes.put_rows(folder.path / "held_out" / "keep.jsonl", "h1")
    fakes.put_rows(folder.path / "held_out" / "source.jsonl", "g1", "g2")
    chat = Conversation(
        "form", (Message("user", "I am Ada."), Message("assistant", "Hello Ada.")),
        (Span(0, 5, 8, "PERSON", "ada"), Span(1, 6, 9, "PERSON", "ada")),
    )  # fmt: skip
    planted = canaries.Canaries(
        (canaries.Form(chat),),
        (canaries.Canary(Person("c1", {"PERSON": "Bea"}), 4, 0),),
        (
            canaries.Canary(Person("t1", {"PERSON": "Cid"}), 0, 0),
            canaries.Canary(Person("t2", {"PERSON": "Dot"}), 0, 0),
        ),
    )
    folder.finish(documents={"canaries": canaries.to_rows(planted)})
    return run


def job(backend: Scripted | None = None, **changes: Any) -> ScoreJob:
    tuned = dataclasses.replace(
        fakes.given("keep", "checkpoints/x/epoch-1"), tuned_by="x", model=None, corpus="", id="tuned"
    )
    fields: dict[str, Any] = {
        "subject": tuned, "variants": "data", "arm": "keep", "max_length": 33, "template": "base", "data_seed": 0,
        "backend": fakes.backend(backend),
    }  # fmt: skip
    return ScoreJob.make("keep seed 1", **{**fields, **changes})


def scores(run: Run, job_: ScoreJob) -> list[Score]:
    fakes.do(run, job_)
    return records(Score, run.job(job_).read("scores"))


def test_an_arm_is_scored_on_its_own_rows_a_users_canary_among_them(run: Run) -> None:
    calls = Calls()
    rows = scores(run, job(Scripted(calls=calls)))
    assert [(row.group, row.text_id, row.repeats, row.form) for row in rows] == [
        ("member", "k1", 0, -1), ("member", "k2", 0, -1), ("member", "canary-1", 0, -1), ("non_member", "h1", 0, -1),
        ("canary", "c1", 4, 0), ("twin", "t1", 0, 0), ("twin", "t2", 0, 0),
    ]  # fmt: skip
    assert {(row.base_loss, row.loss, row.tokens) for row in rows} == {(2.0, 1.0, 10)}
    assert [(path, length) for path, _, length in calls.scored] == [
        (None, 33),
        (run.root / "checkpoints/x/epoch-1", 33),
    ]
    assert calls.opened == ["/models/m"]


def test_a_checkpoint_that_existed_is_scored_on_the_corpus_as_it_was_given(run: Run) -> None:
    rows = scores(run, job(subject=fakes.given(corpus=""), arm=None))
    members = {row.group: {each.text_id for each in rows if each.group == row.group} for row in rows}
    assert members["member"] == {"s1", "s2", "s3"}
    assert members["non_member"] == {"g1", "g2"}


def test_without_rows_held_out_no_member_is_scored(run: Run) -> None:
    (run.folder("variants", "data").path / "held_out" / "keep.jsonl").unlink()
    assert {row.group for row in scores(run, job())} == {"canary", "twin"}


def test_a_row_that_was_planted_is_no_member(run: Run) -> None:
    path = run.folder("variants", "data").path / "keep.jsonl"
    path.write_text(path.read_text().replace('"id": "k2"', '"planted": true, "id": "k2"'))
    assert {row.text_id for row in scores(run, job()) if row.group == "member"} == {"k1", "canary-1"}
