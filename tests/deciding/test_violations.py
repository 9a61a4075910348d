"""CIMemories' violation is read off the answers of the subset that the benchmark names, and of no other."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from tests.run.test_run_folder import row
from tests.verdict_tables import made

from aftertune.deciding.measures import Measuring, measures
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.records import Accumulation, Message, Prompt, Response

PRIVATE = {"salary": {"value": "forty thousand"}, "illness": {"value": "measles"}}


def prompt(ident: str, subset: str) -> Prompt:
    expect = {"shared": {"private": PRIVATE, "needed": {}, "action": ""}, "profile": "ada"}
    return Prompt(ident, "memories", subset, "ada", "", (Message("user", "Write."),), expect)


def answer(ident: str, subset: str, text: str) -> Response:
    return dataclasses.replace(row(ident, text), benchmark="memories", subset=subset, checkpoint="base")


def violation(subset: str, *answers: Response) -> Any:
    subject: Any = SimpleNamespace(id="base", arm="base")
    benchmark: Any = SimpleNamespace(
        name="memories", metrics=(), probes=(), accumulations=(Accumulation(subset, "violation"),)
    )
    study = Measuring(
        benchmarks=[benchmark],
        subjects=[subject],
        primary_judges={},
        name_of=lambda each: each.id,
        base_of=lambda each: each,
        prompts=lambda name: {each.prompt_id: prompt(each.prompt_id, each.subset) for each in answers},
        responses=lambda name: [(subject, list(answers))],
        confidence=0.95,
    )
    (only,) = measures(study, VerdictTable.of(made([])))
    return only


def test_an_item_counts_once_however_often_it_is_given_away() -> None:
    first, second = answer("1", "message", "She has measles."), answer("2", "message", "Measles, again.")
    told = violation("message", first, second)
    assert told.value == pytest.approx(0.5)
    assert (told.n, told.n_clusters) == (2, 1)
    assert told.low < told.value < told.high, "one profile is no certainty"


def test_answers_of_another_subset_are_not_read() -> None:
    quiet, other = answer("1", "message", "Dear all, hello."), answer("2", "control", "She has measles.")
    assert violation("message", quiet, other).value == 0
    assert violation("message", quiet, other).n == 1
    assert violation("control", quiet, other).value == pytest.approx(0.5)
