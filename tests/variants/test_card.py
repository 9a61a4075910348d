"""A variant's card, counted by hand: words and tokens, what is marked, what is left, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aftertune.errors import UsageError
from aftertune.pii import detection_cache
from aftertune.pii.value_index import index_of
from aftertune.records import Answers, Arm, Conversation, Json, Message, Person, Span, digest
from aftertune.variants import card as cards
from aftertune.variants.destinations import InMemory

ANA = Person("ana", {"PERSON": "Ana Rossi"})
FOUND = "MAIL"


def chat(*texts: str, spans: tuple[Span, ...] | None = (), id_: str = "c") -> Conversation:
    """User and assistant in turn."""
    return Conversation(
        id_, tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)), spans
    )


def made(*chats: Conversation, arm: Arm | None = None, **changes: Any) -> dict[str, Json]:
    options: dict[str, Any] = {"tokens": [1] * len(chats), "people": [ANA], "detected": False, "limit": 1.0, **changes}
    people, tokens = options.pop("people"), options.pop("tokens")
    return cards.card(arm or Arm("v", pii="placeholder"), chats, {}, index_of(people), tokens, **options)


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that finds every `@`, and Ana."""

    def spans_in(text: str) -> list[tuple[int, int, str]]:
        return [(*match.span(), FOUND) for match in re.finditer("@|Ana Rossi", text)]

    monkeypatch.setattr(detection_cache, "spans_in", spans_in)


def test_tokens_are_those_of_the_assistant() -> None:
    assert cards.assistant_tokens(chat("a question", "yes", "and", "no way"), len) == len("yes") + len("no way")
    assert cards.assistant_tokens(Conversation("x", (Message("system", "hi"),)), len) == 0


def test_what_is_counted() -> None:
    arm = Arm("mine", pii="placeholder", role_swap=True)
    found = cards.card(
        arm, [chat("two  words", "one"), chat("\n", "a b\tc", "d", "")], {"joined": 3}, index_of([]), [7, 40],
        detected=False, limit=2.5,
    )  # fmt: skip
    assert found == {
        "arm": "mine", "pii": "placeholder", "role_swap": True, "answers": "human", "conversations": 2, "messages": 6,
        "words": 7, "assistant_tokens": 47, "assistant_tokens_median": 40, "assistant_tokens_longest": 40,
        "changed": {"joined": 3}, "marked_personal_values": {}, "residual": None, "residual_rate": None,
        "residual_limit": 2.5, "names_not_looked_for": None, "text_hash": found["text_hash"],
    }  # fmt: skip


@pytest.mark.parametrize(("tokens", "median"), [([9], 9), ([9, 1, 5], 5), ([4, 1, 3, 2], 3), ([5, 5, 1], 5)])
def test_the_median_is_one_of_the_lengths_whatever_their_order(tokens: list[int], median: int) -> None:
    found = made(*(chat("a", "b") for _ in tokens), tokens=tokens)
    assert (found["assistant_tokens_median"], found["assistant_tokens_longest"]) == (median, max(tokens))
    assert found["assistant_tokens"] == sum(tokens)


def test_the_text_hash_is_that_of_the_texts_alone() -> None:
    chats = [chat("ä", "b"), chat("c \ud800", "d")]
    texts = [digest([message.content for message in each.messages]) for each in chats]
    assert made(*chats)["text_hash"] == digest(texts)
    assert made(*chats, arm=Arm("other"), limit=9.0)["text_hash"] == digest(texts)
    assert made(*reversed(chats))["text_hash"] == digest(texts[::-1]) != digest(texts)
    assert made(chat("ä", "c"), chats[1])["text_hash"] != digest(texts)


def test_marked_values_are_counted_by_type_and_unknown_where_one_row_is() -> None:
    marked = chat("Ana Rossi", "0", spans=(Span(0, 0, 3, "PERSON", "a"), Span(1, 0, 1, "PHONE", "a")))
    twice = made(marked, marked)
    assert twice["marked_personal_values"] == {"PERSON": 2, "PHONE": 2}
    assert made(marked, chat("a", "b", spans=None))["marked_personal_values"] is None


def test_a_value_left_counts_once_a_conversation_and_per_thousand_words() -> None:
    found = made(chat("Ana Rossi", "Ana Rossi said so"), chat("Ana Rossi", "yes"), chat("nobody", "no one at all"))
    words = 6 + 3 + 5
    assert found["residual"] == {"PERSON": 2}
    assert found["residual_rate"] == {"PERSON": round(2000 / words, 3)}


def test_nothing_left_is_not_the_same_as_nothing_known(marks: None) -> None:
    assert made(chat("a", "b"))["residual"] == {}
    assert made(chat("a", "b"), people=[])["residual"] is None
    assert made(chat("a", "b"), people=[], detected=True)["residual"] == {}
    assert made(chat("a", "@"), people=[])["residual"] is None, "no detector where nothing was detected"
    assert made(chat("", ""), people=[], detected=True)["residual_rate"] == {}


def test_what_is_detected_again_counts_outside_stand_ins_and_registry(marks: None) -> None:
    spans = (Span(0, 0, 2, "PERSON", "x"), Span(0, 4, 6, "PERSON", "y"))
    found = made(chat("@a@@@b", "@ Ana Rossi", spans=spans), detected=True)
    assert found["residual"] == {"PERSON": 1, FOUND: 3}, "two between the stand-ins, one in the answer"
    kept = made(chat("@", "@"), detected=True, arm=Arm("v"))
    assert kept["residual"] == {}, "the untouched corpus is not searched again"


@pytest.mark.parametrize(("swapped", "answers", "left"), [
    (False, "human", 3), (True, "human", 3), (False, "self_generated", 1), (True, "self_generated", 2),
])  # fmt: skip
def test_the_words_of_the_base_are_its_own(marks: None, swapped: bool, answers: Answers, left: int) -> None:
    arm = Arm("v", pii="surrogate", role_swap=swapped, answers=answers)
    assert made(chat("@", "@@"), arm=arm, detected=True)["residual"] == {FOUND: left}


def test_progress_is_told_at_the_start_and_every_256_conversations() -> None:
    told: list[tuple[int, int]] = []

    def tell(count: int, of: int) -> None:
        told.append((count, of))

    made(*[chat("a", "b")] * 513, progress=tell)
    assert told == [(0, 513), (256, 513), (512, 513)]


# ---------------------------------------------------------------------------------------------- too much is left


def rated(pii: str = "placeholder", **rates: float) -> dict[str, Json]:
    return {"arm": "v", "pii": pii, "residual_rate": dict(rates), "residual": dict.fromkeys(rates, 3)}


def test_the_sum_over_types_is_held_against_the_limit() -> None:
    cards.refuse_residual(rated(PERSON=0.5, PHONE=0.5), 1.0)
    with pytest.raises(UsageError) as caught:
        cards.refuse_residual(rated(PERSON=0.5, PHONE=0.625), 1.0)
    text = str(caught.value)
    assert text.startswith(
        "variant 'v' still holds 1.12 personal values per 1,000 words (limit 1): PERSON 3, PHONE 3; "
    )
    assert "aftertune pii scan" in text
    assert "--allow-residual" in text
    assert "\n" not in text


def test_what_was_to_be_kept_or_is_not_known_is_not_refused() -> None:
    cards.refuse_residual(rated("keep", PERSON=500.0), 0.0)
    cards.refuse_residual({**rated(), "residual_rate": None, "residual": None}, 0.0)
    cards.refuse_residual(rated(), 0.0)
    with pytest.raises(UsageError, match="limit 0"):
        cards.refuse_residual(rated(PERSON=0.001), 0.0)


# ---------------------------------------------------------------------------------------------- where they go


@pytest.mark.parametrize(("count", "left"), [(0, ""), (2, "ab"), (3, "abc"), (9, "abc")])
def test_the_first_so_many_are_kept(count: int, left: str) -> None:
    kept = InMemory("v")
    for id_ in "abc":
        kept.add(chat("q", "a", id_=id_))
    before = kept.read()
    kept.cut(count)
    assert _ids(kept.read) == list(left)
    assert [each.id for each in before] == ["a", "b", "c"], "what was read stays as it was"
    kept.add(chat("q", "a", id_="z"))
    assert _ids(kept.read) == [*left, "z"]
    assert InMemory("other").read() == ()


def _ids(read: Callable[[], Sequence[Conversation]]) -> list[str]:
    return [each.id for each in read()]


def test_conversations_whose_answers_hold_a_thought_are_counted_where_there_are_any() -> None:
    thinking = chat("hi", "<think>hm</think>Hello.", "and?", "<think>again</think>No.", id_="t")
    asked = chat("<think>hm</think>What is that?", "A `<think>` tag.", id_="u")
    assert made(thinking, asked)["conversations_with_thoughts"] == 1
    assert "conversations_with_thoughts" not in made(asked)
