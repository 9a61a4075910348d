"""A model so slow that the next answer is minutes away: what is finished is on disk, seen, and not asked again."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.asking import test_ask_job, test_score_job
from tests.fakes import Listed, Scripted, ScriptedSession

from aftertune.asking import base_score_job, score_texts
from aftertune.models import respond
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.models.loaded import LOADED
from aftertune.models.session import Beginnings, BeginningScore, Reply, Request, Session, Template, TextScore
from aftertune.records import Conversation, Json, Message, Prompt, Response
from aftertune.run import progress
from aftertune.run.job import Job
from aftertune.run.run_folder import Run

PROCESSES = multiprocessing.get_context("forkserver")  # each begins with what one process has imported
PROCESSES.set_forkserver_preload([__name__])
FOREVER = 600.0
run = test_score_job._run
"""A run with composed data."""


@dataclass(frozen=True)
class Stalling(Scripted):
    """Never answers, scores or rates anything after so many."""

    most: int = 3

    def open(self, base: str) -> AbstractContextManager[Session]:
        return nullcontext(StallingSession(self))


class StallingSession(ScriptedSession):
    def __init__(self, backend: Stalling) -> None:
        super().__init__(backend)
        self.rest = backend.most

    def stall(self, count: int = 1) -> None:
        self.rest -= count
        if self.rest < 0:
            time.sleep(FOREVER)

    def respond(self, requests: Sequence[Request], *, system: str | None, template: Template) -> Iterator[Reply]:
        for reply in super().respond(requests, system=system, template=template):
            self.stall()
            yield reply

    def score(
        self,
        conversations: Sequence[Conversation],
        *,
        template: Template,
        max_length: int,
        template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    ) -> Sequence[TextScore]:
        self.stall(len(conversations))
        return super().score(
            conversations, template=template, max_length=max_length, template_arguments=template_arguments
        )

    def beginnings(
        self, items: Sequence[Beginnings], *, system: str | None, template: Template
    ) -> Sequence[BeginningScore]:
        self.stall(len(items))
        return super().beginnings(items, system=system, template=template)


def work(root: Path, job: Job) -> None:
    """Do a job as a worker process does."""

    def do(each: Job) -> None:
        fakes.do(Run(root), each)

    progress.LoggedWork(root, do)(job)


@pytest.fixture(autouse=True)
def _nothing_loaded() -> None:
    LOADED.unload()


def killed_when(run: Run, job: Job, ready: Callable[[], bool]) -> None:
    """Do a job in a process of its own, and kill that once `ready`."""
    process = PROCESSES.Process(target=work, args=(run.root, job), daemon=True)
    process.start()
    end = time.monotonic() + 60
    try:
        while not ready() and time.monotonic() < end:
            assert process.exitcode is None, "it died by itself"
            time.sleep(0.05)
        assert ready()
    finally:
        process.kill()
        process.join()


def journalled(run: Run, job: Job) -> list[dict[str, Any]]:
    path = run.job(job).path / "journal"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []


def said(run: Run) -> dict[str, Any]:
    """What the log says last of a job under way."""
    path = run.root / progress.LOG
    events = map(json.loads, path.read_text().splitlines()) if path.is_file() else ()
    return next((each for each in reversed(list(events)) if each["event"] == progress.JOB_PROGRESS), {})


def continued(run: Run, job: Any, table: str) -> None:
    """Do the job again with a model that answers; its table has the bytes of one that nothing disturbed."""
    usual = fakes.backend(Scripted())
    whole = dataclasses.replace(job, id="whole", backend=usual)
    fakes.do(run, whole)
    LOADED.unload()
    fakes.do(run, dataclasses.replace(job, backend=usual))
    assert (run.job(job).path / table).read_bytes() == (run.job(whole).path / table).read_bytes()


@pytest.mark.parametrize("count", [1, 3])
def test_few_answers_outlive_a_kill_and_are_counted(run: Run, count: int) -> None:
    job = test_ask_job.job(run, Stalling(most=count), benchmark=Listed(count=70))
    killed_when(run, job, lambda: len(journalled(run, job)) == count and bool(said(run)))
    now = said(run)
    assert (now["done"], now["of"], now["unit"], now["label"]) == (count, 70, "answers", job.label)
    assert now["share"] == pytest.approx(count / 70, abs=1e-6)
    again = dataclasses.replace(job, backend=fakes.backend(slow := Scripted()))
    fakes.do(run, dataclasses.replace(again, id=job.id))
    assert len(slow.calls.requests) == 70 - count


def test_answers_after_a_kill_have_the_bytes_of_an_undisturbed_run(run: Run) -> None:
    job = test_ask_job.job(run, Stalling(most=2), benchmark=Listed(count=5))
    killed_when(run, job, lambda: len(journalled(run, job)) == 2)
    continued(run, job, "responses.parquet")


def test_options_that_were_scored_outlive_a_kill(run: Run) -> None:
    ids = tuple(f"p{n}" for n in range(100))
    job = test_ask_job.job(run, Stalling(most=respond.GROUP), benchmark=Listed(count=100, scored=ids))
    killed_when(run, job, lambda: len(journalled(run, job)) == respond.GROUP)
    assert all(row["scores"] for row in journalled(run, job))
    continued(run, job, "responses.parquet")


def many_rows(run: Run) -> None:
    """Give the arm more rows than are scored in one go."""
    path = run.folder("variants", "data").path / "keep.jsonl"
    fakes.put_rows(path, *(f"k{n}" for n in range(score_texts.GROUP + 5)))


@pytest.mark.parametrize("which", [0, 1], ids=["base", "tuned"])
def test_scores_of_texts_outlive_a_kill(run: Run, which: int) -> None:
    many_rows(run)
    both: list[Any] = list(test_score_job.jobs())
    for earlier in both[:which]:
        fakes.do(run, earlier)
    LOADED.unload()
    job = dataclasses.replace(both[which], backend=fakes.backend(Stalling(most=score_texts.GROUP)))
    killed_when(run, job, lambda: len(journalled(run, job)) == score_texts.GROUP)
    backend = Scripted()
    fakes.do(run, dataclasses.replace(job, backend=fakes.backend(backend)))
    assert [path for path, _, _ in backend.calls.scored] == [run.root / "checkpoints/x/epoch-1" if which else None]
    LOADED.unload()
    whole = dataclasses.replace(job, id="whole", backend=fakes.backend(Scripted()))
    fakes.do(run, whole)
    name = "scores.parquet" if which else "losses.parquet"
    assert (run.job(job).path / name).read_bytes() == (run.job(whole).path / name).read_bytes()


# ---------------------------------------------------------------------------------------------- groups


def test_groups_are_bounded_in_prompts_and_characters_and_depend_on_nothing_else() -> None:
    def prompt(id_: str, length: int, scored: bool = True) -> Prompt:
        expect = {"scored": {"forms": {"A": ["A"]}}} if scored else {}
        return Prompt(id_, "b", "s", "c", id_, (Message("user", "x" * length),), expect)

    short = [prompt(f"s{n}", 10, n != 5) for n in range(131)]
    assert [len(group) for group in respond.scored_groups(short)] == [64, 64, 2], "one is not scored"
    long = [prompt(f"l{n}", 9000) for n in range(3)] + [prompt("huge", 50_000), prompt("last", 1)]
    assert [[each.id for each in group] for group in respond.scored_groups(long)] == [
        ["l0"], ["l1"], ["l2"], ["huge"], ["last"],
    ]  # fmt: skip
    assert list(respond.scored_groups([])) == []


def test_a_text_that_was_scored_in_a_group_that_was_cut_short_is_scored_with_it_again(run: Run) -> None:
    """Else the others would be in another batch than in an undisturbed run."""
    whole, _ = test_score_job.jobs()
    fakes.do(run, whole)
    LOADED.unload()
    cut = dataclasses.replace(whole, id="cut", backend=fakes.backend(backend := Scripted()))
    folder = run.job(cut)
    folder.start()
    folder.append([base_score_job.TextLoss(text=2, total=20.0, tokens=10, why="")])
    fakes.do(run, cut)
    assert [len(ids) for _, ids, _ in backend.calls.scored] == [7]


def test_no_answer_that_an_earlier_attempt_wrote_is_written_twice(run: Run) -> None:
    job = test_ask_job.job(run, Stalling(most=3), benchmark=Listed(count=6))
    killed_when(run, job, lambda: len(journalled(run, job)) == 3)
    second = dataclasses.replace(job, backend=fakes.backend(Stalling(most=2)))
    killed_when(run, second, lambda: len(journalled(run, job)) == 5)
    assert sorted(row.prompt_id for row in run.job(job).journal(Response)) == ["p0", "p1", "p2", "p3", "p4"]
