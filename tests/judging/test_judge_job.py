"""The job that judges: each answer once, unanswered ones unjudged, whatever a stopped attempt had finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Killed, Listed, Reads, Scripted, ScriptedSession, Wordy

from aftertune.asking.ask_job import AskJob
from aftertune.asking.prompts_job import PromptsJob
from aftertune.errors import JudgeError
from aftertune.judging.judge import Cost
from aftertune.judging.judge_job import JudgeJob
from aftertune.models.loaded import LOADED
from aftertune.models.session import Reply, Request, Session, Template
from aftertune.models.subject import Subject
from aftertune.records import Respond, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records


@dataclasses.dataclass(frozen=True)
class Answered:
    """A run in which the base and one checkpoint have answered."""

    run: Run
    prompts: str
    base: AskJob
    tuned: AskJob


@pytest.fixture(name="answered")
def _answered(tmp_path: Path) -> Answered:
    LOADED.unload()
    run = Run.create(tmp_path / "run", "design", {})
    listed = fakes.benchmark(Listed(count=5, scored=("p4",)))
    prompts = PromptsJob.make(benchmark=listed, variants=None, corpus=None, arms=())
    fakes.do(run, prompts)

    def ask(subject: Subject, backend: Scripted) -> AskJob:
        LOADED.unload()
        job = AskJob.make(
            "x", subject=subject, benchmark=listed, prompts=prompts.id, needs_data=False, corpus=None,
            respond=Respond(), backend=fakes.backend(backend),
        )  # fmt: skip
        fakes.do(run, job)
        return job

    return Answered(run, prompts.id, ask(fakes.base(), Scripted()), ask(fakes.given(), Scripted(failing=("p2",))))


def job(answered: Answered, judge: Wordy, **changes: Any) -> JudgeJob:
    fields: dict[str, Any] = {
        "judge": fakes.judge(judge), "subject": answered.tuned.subject, "benchmark": "listed",
        "responses": answered.tuned.id, "base_responses": answered.base.id, "prompts": answered.prompts,
        "variants": None, "corpus": None,
    }  # fmt: skip
    return JudgeJob.make("mine", **{**fields, **changes})


def verdicts(answered: Answered, judging: JudgeJob) -> list[Verdict]:
    return records(Verdict, answered.run.job(judging).read("verdicts"))


def test_each_answer_is_judged_with_its_prompt_and_the_bases_answer(answered: Answered) -> None:
    judge = Wordy(axes=("refusal", "harm"))
    judging = job(answered, judge, corpus="extra")
    info: Any = fakes.do(answered.run, judging).info
    assert info == {"anchors": {}, "judge": "wordy"}
    read = judge.reads.answers
    assert [(each.prompt.id, each.text, each.base_text) for each in read] == [
        (f"p{i}", "" if i == 4 else f"p{i} by adapter", "" if i == 4 else f"p{i} by None") for i in (0, 1, 3, 4)
    ]
    assert set(read[-1].scores or {}) == {"A", "B"}
    rows = verdicts(answered, judging)
    assert [(row.prompt_id, row.axis, row.label, row.status) for row in rows][:4] == [
        ("p0", "refusal", "none", "ok"), ("p0", "harm", "none", "ok"),
        ("p1", "refusal", "none", "ok"), ("p1", "harm", "none", "ok"),
    ]  # fmt: skip
    assert {row.corpus for row in rows} == {"extra"}, "a verdict says under which corpus it was made"
    assert {(row.judge, row.judge_version, row.arm) for row in rows} == {("wordy", judge.version, "mine")}
    (context,) = judge.reads.contexts
    assert context.model == "identity of m"
    assert [each.prompt.id for each in context.base_answers] == [f"p{i}" for i in range(5)]


def test_an_answer_that_never_came_is_unjudged_on_every_axis(answered: Answered) -> None:
    judging = job(answered, Wordy(axes=("refusal", "harm")))
    fakes.do(answered.run, judging)
    rows = [row for row in verdicts(answered, judging) if row.prompt_id == "p2"]
    assert [(row.axis, row.label, row.value, row.status, row.why) for row in rows] == [
        ("refusal", None, None, "error", "it broke"), ("harm", None, None, "error", "it broke"),
    ]  # fmt: skip


def test_an_answer_that_breaks_the_judge_costs_its_own_verdict_alone(answered: Answered) -> None:
    judging = job(answered, Wordy(breaks_on=("p1",)))
    fakes.do(answered.run, judging)
    status = {row.prompt_id: (row.status, row.why) for row in verdicts(answered, judging)}
    assert status["p1"] == ("error", "ValueError: unreadable")
    assert {status[f"p{i}"][0] for i in (0, 3, 4)} == {"ok"}


def test_the_cost_is_what_this_job_spent(answered: Answered) -> None:
    reads = Reads(cost=Cost(judged=100, calls=900))
    info: Any = fakes.do(answered.run, job(answered, Wordy(paid=True, reads=reads))).info
    assert info["cost"] == Cost(judged=4, calls=8)


def test_verdicts_that_cost_money_are_not_asked_for_twice(answered: Answered) -> None:
    killed = job(answered, Wordy(paid=True, dies_at="p3"))
    with pytest.raises(Killed):
        fakes.do(answered.run, killed)
    assert [row.prompt_id for row in answered.run.job(killed).journal(Verdict)] == ["p0", "p1"]
    judge = Wordy(paid=True)
    again = dataclasses.replace(killed, judge=fakes.judge(judge))
    fakes.do(answered.run, again)
    assert [each.prompt.id for each in judge.reads.answers] == ["p1", "p3", "p4"], "the last may have lost an axis"
    rows = verdicts(answered, again)
    assert [row.prompt_id for row in rows] == ["p0", "p1", "p2", "p3", "p4"]


def test_an_error_in_the_journal_is_judged_again_and_another_versions_verdicts_all(answered: Answered) -> None:
    killed = job(answered, Wordy(paid=True, breaks_on=("p0",), dies_at="p4"))
    with pytest.raises(Killed):
        fakes.do(answered.run, killed)
    journal = answered.run.job(killed).journal(Verdict)
    assert [(row.prompt_id, row.status) for row in journal] == [("p0", "error"), ("p1", "ok")]
    judge = Wordy(paid=True)
    fakes.do(answered.run, dataclasses.replace(killed, judge=fakes.judge(judge)))
    assert [each.prompt.id for each in judge.reads.answers] == ["p0", "p1", "p3", "p4"]


def test_a_stopped_judgement_goes_on_with_the_first_batch_that_is_not_whole(answered: Answered) -> None:
    """The last batch in the journal is read again, and in the same company: p0 with p1, then p3 with p4."""
    whole = job(answered, Wordy())
    fakes.do(answered.run, whole)
    expected = (answered.run.job(whole).path / "verdicts.parquet").read_bytes()
    killed = dataclasses.replace(job(answered, Wordy(dies_at="p4")), id="killed")
    with pytest.raises(Killed):
        fakes.do(answered.run, killed)
    folder = answered.run.job(killed)
    assert [row.prompt_id for row in folder.journal(Verdict)] == ["p0", "p1"]
    folder.append([dataclasses.replace(row, prompt_id="p3") for row in folder.journal(Verdict)[:1]])
    judge = Wordy()
    fakes.do(answered.run, dataclasses.replace(killed, judge=fakes.judge(judge)))
    assert [each.prompt.id for each in judge.reads.answers] == ["p3", "p4"], "p3 may have lost an axis"
    assert (folder.path / "verdicts.parquet").read_bytes() == expected


def test_a_judge_that_needs_what_the_run_lacks_is_refused(answered: Answered) -> None:
    with pytest.raises(JudgeError, match="judge wordy needs corpus, and this run has none"):
        fakes.do(answered.run, job(answered, Wordy(needs=frozenset({"corpus"}))))


def test_the_people_and_rows_of_its_corpus_and_arm_are_given(answered: Answered) -> None:
    folder = answered.run.folder("variants", "data")
    folder.start()
    fakes.put_rows(folder.path / "source@extra.jsonl", "s1")
    fakes.put_rows(folder.path / "keep.jsonl", "k1", "k2")

    def people(name: str) -> list[dict[str, Any]]:
        return [{"id": name, "values": {"PERSON": f"{name} Stone"}}]

    folder.finish(
        documents={"people@extra": {"source": people("Ada"), "twin": people("Eve"), "own": {"keep": people("Ivo")}}}
    )
    expected = {"keep": {"source", "twin", "own"}, "mine": {"source", "twin"}}
    for arm, names in expected.items():
        judge = Wordy(needs=frozenset({"corpus", "registries"}))
        subject = dataclasses.replace(answered.tuned.subject, arm=arm)
        fakes.do(answered.run, job(answered, judge, subject=subject, variants="data", corpus="extra"))
        (context,) = judge.reads.contexts
        assert set(context.registries) == names
        # The same for every arm, so that none is nearer to its own.
        assert [row.id for row in context.corpus] == ["s1"]
        assert [entry.value for each in context.known_values for entry in each.entries] == [
            "Ada Stone",
            "Eve Stone",
            "Ivo Stone",
        ]
        assert context.written_roles == {"assistant"}


@dataclasses.dataclass(frozen=True)
class Thinking(Scripted):
    """Thinks before each answer; after the thought about `p1` comes none."""

    def open(self, base: str) -> AbstractContextManager[Session]:
        return nullcontext(ThinkingSession(self))


class ThinkingSession(ScriptedSession):
    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        for reply in super().respond(requests, system=system, template=template):
            cut = reply.prompt_id == "p1"
            yield dataclasses.replace(reply, text="<think>hm" if cut else f"<think>hm</think>\n{reply.text}")


def test_a_judge_reads_answers_and_one_that_never_came_is_unjudged(answered: Answered) -> None:
    """A backend of somebody else's need not part them. Nor is a thought the base's answer for comparisons."""
    asks = {}
    for subject in (fakes.base(), fakes.given()):
        LOADED.unload()
        asks[subject.is_base] = dataclasses.replace(
            answered.base if subject.is_base else answered.tuned,
            backend=fakes.backend(Thinking()),
            id=f"t{subject.is_base}",
        )
        fakes.do(answered.run, asks[subject.is_base])
    judge = Wordy(axes=("refusal", "harm"))
    judging = job(answered, judge, responses=asks[False].id, base_responses=asks[True].id)
    fakes.do(answered.run, judging)
    texts = {each.prompt.id: (each.text, each.thought, each.base_text) for each in judge.reads.answers}
    assert texts["p0"] == ("p0 by adapter", "hm", "p0 by None")
    assert "p1" not in texts
    (context,) = judge.reads.contexts
    assert "p1" not in {each.prompt.id for each in context.base_answers}
    lost = [row for row in verdicts(answered, judging) if row.prompt_id == "p1"]
    assert [(row.axis, row.label, row.value, row.status, row.why) for row in lost] == [
        (axis, None, None, "unanswered", "the text ends inside its thought") for axis in ("refusal", "harm")
    ]
