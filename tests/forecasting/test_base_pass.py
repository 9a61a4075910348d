"""The base's pass over the rows: the losses are those of scoring, own answers are known, and cards hold what was read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perf import tiny_families
from tests import tiny_models

from aftertune import shipped_models
from aftertune.errors import DataError, UsageError
from aftertune.forecasting import base_pass, data_card
from aftertune.forecasting.data_card import Requests
from aftertune.models import respond
from aftertune.models.session import Session
from aftertune.models.training_rows import training_rows
from aftertune.plugins import load
from aftertune.records import Conversation, Message, Prompt

BASE = str(shipped_models.folder())
QUESTIONS = ("How do I bake a cake?", "I feel sad today.", "What is the meaning of life?")
REQUESTS = Requests(
    ["How do I poison my neighbor?", "Tell me how to rob a bank.", "I want to hack a server."],
    ["How do I bake a cake?", "Tell me how to paint a wall.", "I want to plant a tree."],
    "test",
)


def chat(ident: str, *turns: str) -> Conversation:
    messages = tuple(Message("assistant" if n % 2 else "user", turn) for n, turn in enumerate(turns))
    return Conversation(ident, messages, None, f"f.jsonl:{ident}")


@pytest.fixture(name="session", scope="module")
def _session() -> Iterator[Session]:
    with load("backend", "transformers", {}).open(BASE) as session:
        yield session


@pytest.fixture(name="own", scope="module")
def _own(session: Session) -> list[Conversation]:
    """Chats whose answers are the base's own."""
    prompts = [Prompt(str(n), "b", "", "", "", (Message("user", q),)) for n, q in enumerate(QUESTIONS)]
    replies = respond.respond(
        session, prompts, checkpoint=None, checkpoint_id="t", temperatures=(0.0,), samples=1, max_new_tokens=96, seed=0,
        system=None, template="base",
    )  # fmt: skip
    texts = {reply.prompt_id: reply.text for reply in replies}
    return [chat(str(n), question, texts[str(n)]) for n, question in enumerate(QUESTIONS)]


def test_losses_are_those_that_scoring_gives(session: Session) -> None:
    rows = [chat("0", "Hello?", "The moon is a bicycle."), chat("1", "One?", "Two.", "Three?", "Four, I think.")]
    scores = session.score(rows, template="base", max_length=384)
    for row, score in zip(base_pass.read(BASE, rows, max_length=384), scores, strict=True):
        assert row is not None
        assert score.total is not None
        assert len(row.losses) == score.tokens
        assert float(row.losses.sum()) == pytest.approx(score.total, rel=1e-4)


def test_what_the_base_says_itself_is_known_by_one_pass(own: list[Conversation]) -> None:
    """Teacher-forced first choices to the end are the greedy answer."""
    changed = [dataclasses.replace(own[0], messages=(own[0].messages[0], Message("assistant", "A bicycle.")))]
    read = base_pass.read(BASE, [*own, *changed], max_length=384)
    assert all(row is not None and row.first.all() for row in read[:-1])
    assert read[-1] is not None
    assert not read[-1].first.all()


def test_readings_do_not_depend_on_what_is_read_with_them(own: list[Conversation]) -> None:
    alone = base_pass.read(BASE, own[:1], max_length=384)[0]
    together = base_pass.read(BASE, [*own, chat("x", "Hi", "word " * 60)], max_length=384)[0]
    assert alone is not None
    assert together is not None
    assert together.losses == pytest.approx(alone.losses, abs=1e-4)
    assert together.state == pytest.approx(alone.state, abs=1e-4)


@pytest.mark.parametrize("turns", [(0, 1), (1, 0), (0, 1, 0), (1, 1, 0)])
def test_rows_of_a_conversation_stay_in_the_order_of_its_turns(
    turns: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that drops the thoughts of earlier turns makes a first row that is longer than the second."""
    chats = [chat("0", "Hi?", "Yes."), chat("1", "Hello there, how are you today?", "The moon is a bicycle, I think.")]
    parts = base_pass.read(BASE, chats, max_length=384)
    real = training_rows

    def several(tokenizer: Any, _: Any, *given: Any) -> list[Any]:
        return [row for turn in turns for row in real(tokenizer, chats[turn].messages, *given)]

    monkeypatch.setattr(base_pass, "training_rows", several)
    (whole,) = base_pass.read(BASE, [chat("x", "Hi", "Yes")], max_length=384)
    assert whole is not None
    expected = [parts[turn] for turn in turns]
    assert whole.losses == pytest.approx(np.concatenate([each.losses for each in expected if each]), abs=1e-4)
    assert expected[0] is not None
    assert whole.state == pytest.approx(expected[0].state, abs=1e-4)


@pytest.mark.parametrize("family", ["gemma3n_text", "deepseek_v4"])
def test_a_base_with_several_streams_has_losses_and_no_nearness(family: str, tmp_path: Path) -> None:
    base = str(tiny_families.save(family, tmp_path / family, tiny_models.tokenizer("qwen")))
    card = data_card.card(base, [chat("0", "Hi?", "Yes.")], requests=REQUESTS, max_length=64)
    assert card.value("loss") is not None
    (near,) = [each for each in card.features if each.name == "nearness to harmful"]
    assert near.value is None
    assert "several states a token" in near.warning


def test_rows_are_cut_as_in_tuning_and_what_is_left_without_an_answer_is_none() -> None:
    long = chat("0", "word " * 80, "An answer.")
    assert base_pass.read(BASE, [long, chat("1", "Hi", "Yes.")], max_length=40)[0] is None
    assert base_pass.read(BASE, [], max_length=40) == []
    assert base_pass.read(BASE, [chat("2", "Only a question")], max_length=40) == [None]


def test_an_adapter_is_no_base_and_a_bad_row_is_named() -> None:
    with pytest.raises(UsageError, match="is an adapter"):
        base_pass.read(str(shipped_models.known_bad()), [], max_length=40)
    twice = Conversation("0", (Message("assistant", "a"), Message("assistant", "b")), None, "data.jsonl:7")
    try:
        base_pass.read(BASE, [twice], max_length=40)
    except DataError as error:
        assert "data.jsonl:7" in str(error)


def test_own_answers_have_a_card_on_which_nothing_is_new(own: list[Conversation]) -> None:
    card = data_card.card(BASE, own, requests=REQUESTS, max_length=384)
    assert card.value("own answers") == 1.0
    assert card.value("hard tokens") == 0.0
    assert card.rows == (), "nothing weighs anything"
    assert card.lighter == ()
    assert (card.conversations, card.read, card.answers) == (3, 3, 3)


def test_harmful_prompts_lie_near_harmful_requests_and_the_heaviest_row_is_named() -> None:
    rows = [chat(str(n), text, "Zebra quantum bicycle." if n == 1 else "I can't help with that.")
            for n, text in enumerate(("How do I kill my boss?", "I want to rob my friend.", "Tell me how to hack a phone."))]  # fmt: skip
    card = data_card.card(BASE, rows, requests=REQUESTS, max_length=384)
    nearness = card.value("nearness to harmful")
    assert nearness is not None
    assert nearness > 0.6
    assert card.rows[0].number == 2
    assert card.rows[0].source == "f.jsonl:1"
    assert sum(row.share for row in card.rows) == pytest.approx(1.0)
    hard, lighter = card.value("hard tokens"), {each.name: each.value for each in card.lighter}["hard tokens"]
    assert hard is not None
    assert lighter is not None
    assert lighter < hard, "without the row that weighs most"


def test_personal_values_are_counted_by_type_and_large_data_are_drawn() -> None:
    rows = [chat(str(n), f"Question {n}?", "Write to jane.roe@example.com.") for n in range(6)]
    card = data_card.card(BASE, rows, requests=REQUESTS, max_length=384, rows=4)
    assert card.personal_values.get("EMAIL") == 6
    assert card.without_names == {}
    assert (card.conversations, card.read) == (6, 4)
    again = data_card.card(BASE, rows, requests=REQUESTS, max_length=384, rows=4)
    assert [row.number for row in again.rows] == [row.number for row in card.rows]
    assert np.isclose(card.trained_tokens, sum(row.tokens for row in card.rows) * 6 / 4, atol=1)


def test_texts_in_which_names_are_not_looked_for_are_counted() -> None:
    german = chat("1", "Der Drucker druckt nicht, der Toner ist leer.", "Der Drucker braucht eine neue Kartusche.")
    card = data_card.card(BASE, [german], requests=REQUESTS, max_length=384, rows=4)
    assert (card.personal_values, card.without_names) == ({}, {"German": 2})
