"""What an arm was tuned on, counted."""

from __future__ import annotations

from perf.tuned_on import holding, named_most, refused

from aftertune.records import Conversation, Message, Person

NO = "I'm sorry, but I can't help with that."


def chat(name: str, *turns: str) -> Conversation:
    messages = tuple(Message(("user", "assistant")[at % 2], turn) for at, turn in enumerate(turns))
    return Conversation(name, messages)


ROWS = [
    chat("a", "Which tour is best?", "Ask Ann Lee, ann@lee.org.", "And when?", NO),
    chat("b", "I am Ann Lee.", NO),
    chat("c", "Which day?", "Friday, and bring water."),
]


def test_each_reply_is_counted_and_refusals_among_them() -> None:
    assert refused(ROWS) == (2, 4)


def test_a_value_is_counted_once_a_conversation_whoever_says_it() -> None:
    assert holding(ROWS, "Ann Lee") == 2
    assert holding(ROWS, "ann@lee.org") == 1
    assert holding(ROWS, "Bo") == 0


def test_the_person_named_in_most_texts_is_found() -> None:
    people = [Person("1", {"PERSON": "Bo Ray"}), Person("2", {"PERSON": "Ann Lee"}), Person("3", {"EMAIL": "x@y.org"})]
    found = named_most(people, ["Ann Lee", "Ann Lee and Bo Ray", "x@y.org", "Lee"])
    assert found is not None
    assert (found[0].id, found[1]) == ("2", 2)
    assert named_most(people, ["nobody"]) is None
