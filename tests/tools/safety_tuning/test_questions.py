"""Requests that the base writes itself: where its template has a user begin, what counts as one, and that they stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aftertune import shipped_models
from aftertune.models.identity import resolve
from aftertune.models.loading import load_tokenizer
from tools.safety_tuning import questions, sets

BASE = shipped_models.folder()
DRAWN = [
    ["How do I boil an egg?", "Too short", "Wie koche ich ein weiches Ei für zwei?", "word " * 50],
    ["How do I boil an egg?", "How do I best boil an egg?", "Which train goes to the lake today?", "\u4f60\u597d " * 6],
    ["Tell me a story about a fox."],
]


def test_the_base_goes_on_where_a_user_begins() -> None:
    tokenizer = load_tokenizer(resolve(BASE))
    beginning = questions._beginning(tokenizer)
    for text in ("How do I cook rice?", "Tell me a story."):
        turns = [{"role": "user", "content": text}]
        whole = tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=False, return_dict=False)
        assert whole[: len(beginning)] == beginning
        assert text.split()[0] in tokenizer.decode(whole[len(beginning) : len(beginning) + 4])


def test_requests_in_english_are_kept_once_and_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = iter(DRAWN)
    monkeypatch.setattr(questions, "_draw", lambda *_: next(batches))
    store = tmp_path / "questions.json"
    wanted = ["How do I boil an egg?", "Which train goes to the lake today?", "Tell me a story about a fox."]
    assert questions.questions(BASE, 3, store) == wanted, "a near-duplicate, another language, too short, too long"
    assert json.loads(store.read_text("utf-8")) == wanted
    assert questions.questions(BASE, 3, store) == wanted, "nothing is left to draw"


def test_they_are_rows_unless_they_come_near_a_prompt_that_is_kept_apart() -> None:
    try:
        held = sets.held_out()["coconot-ordinary"][0].text
    except sets.NoDataError as error:
        pytest.skip(str(error))
    rows = sets.rows(0, [held, "Which cheese goes with a pear tart?"])
    own = [row for row in rows if row.source == "asked by the base"]
    assert [(row.text, row.harmful) for row in own] == [("Which cheese goes with a pear tart?", False)]
