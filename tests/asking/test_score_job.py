"""The job that scores: members, held-out rows, canaries and twins under the base and under the checkpoint."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Calls, Scripted

from aftertune.asking.base_score_job import BaseScoreJob
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


def jobs(backend: Scripted | None = None, **changes: Any) -> tuple[BaseScoreJob, ScoreJob]:
    tuned = dataclasses.replace(
        fakes.given("keep", "checkpoints/x/epoch-1"), tuned_by="x", model=None, corpus="", id="tuned"
    )
    fields: dict[str, Any] = {
        "subject": tuned, "variants": "data", "arm": "keep", "max_length": 33, "template": "base", "data_seed": 0,
        "backend": fakes.backend(backend), **changes,
    }  # fmt: skip
    subject = fields["subject"]
    shared = {key: value for key, value in fields.items() if key not in ("subject", "template")}
    base = BaseScoreJob.make("base on keep", base=subject.base, corpus=subject.corpus or "", **shared)
    return base, ScoreJob.make("keep seed 1", base_scores=base.id, **fields)


def scores(run: Run, both: tuple[BaseScoreJob, ScoreJob]) -> list[Score]:
    for each in both:
        fakes.do(run, each)
    return records(Score, run.job(both[1]).read("scores"))


def test_an_arm_is_scored_on_its_own_rows_a_users_canary_among_them(run: Run) -> None:
    calls = Calls()
    rows = scores(run, jobs(Scripted(calls=calls)))
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
    rows = scores(run, jobs(subject=fakes.given(corpus=""), arm=None))
    members = {row.group: {each.text_id for each in rows if each.group == row.group} for row in rows}
    assert members["member"] == {"s1", "s2", "s3"}
    assert members["non_member"] == {"g1", "g2"}


def test_without_rows_held_out_no_member_is_scored(run: Run) -> None:
    (run.folder("variants", "data").path / "held_out" / "keep.jsonl").unlink()
    assert {row.group for row in scores(run, jobs())} == {"canary", "twin"}


def test_a_row_that_was_planted_is_no_member(run: Run) -> None:
    path = run.folder("variants", "data").path / "keep.jsonl"
    path.write_text(path.read_text().replace('"id": "k2"', '"planted": true, "id": "k2"'))
    assert {row.text_id for row in scores(run, jobs()) if row.group == "member"} == {"k1", "canary-1"}


def test_the_base_scores_an_arms_texts_once_for_all_its_checkpoints(run: Run) -> None:
    calls = Calls()
    first = jobs(Scripted(calls=calls))
    subject = dataclasses.replace(first[1].subject, train_seed=2, path="checkpoints/y/epoch-1", id="other")
    second = jobs(Scripted(calls=calls), subject=subject)
    assert first[0].id == second[0].id
    assert first[1].id != second[1].id
    one = scores(run, first)
    fakes.do(run, second[1])
    assert records(Score, run.job(second[1]).read("scores")) == one
    assert [path for path, _, _ in calls.scored] == [None, *(run.root / f"checkpoints/{at}/epoch-1" for at in "xy")]
