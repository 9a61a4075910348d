"""What a model's refusals open with, and how probable it is that an answer opens so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aftertune.models.refusal_openings import openings, readout
from aftertune.models.session import Beginnings, BeginningScore, Session
from aftertune.records import Message, Prompt


def test_the_commonest_come_first_and_what_answers_share_is_left_out() -> None:
    refusals = ["I cannot help you with this.", "Sorry, I will not do that.", "I cannot help you there.", "No."]
    assert openings(refusals) == ("I cannot help you", "Sorry, I will not")
    assert openings(refusals, ["I cannot help you enough with praise"] * 2) == ("Sorry, I will not",)
    assert openings(refusals, most=1) == ("I cannot help you",)
    assert openings(refusals, words=1) == ("I", "No.", "Sorry,")
    assert openings(["I  cannot help you", "", "Sorry"]) == (), "two blanks in a row are no words"


def test_no_opening_begins_another() -> None:
    assert openings(["I cannot do it now", "I cannot do items now", "I cannot do items now"]) == ("I cannot do items",)


def test_the_chances_of_all_openings_are_added() -> None:
    asked: list[Beginnings] = []

    def beginnings(items: Sequence[Beginnings], **how: Any) -> list[BeginningScore]:
        asked.extend(items)
        values = [(math.log(0.5), math.log(0.25)), (math.log(0.5), math.log(0.5)), (-math.inf, -math.inf), None]
        return [BeginningScore(each) for each in values]

    session = cast(Session, SimpleNamespace(beginnings=beginnings))
    prompts = [Prompt(str(at), "b", "s", "c", "c", (Message("user", "?"),)) for at in range(4)]
    first, second, third, last = readout(session, prompts, ("I cannot", "Sorry"))
    assert [first, second] == [pytest.approx(math.log(0.75)), pytest.approx(0.0, abs=1e-12)]
    assert second is not None
    assert second <= 0
    assert third == -math.inf
    assert last is None
    assert {each.texts for each in asked} == {("I cannot", "Sorry")}
