"""Policies change what is marked and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import UsageError
from aftertune.pii import policy
from aftertune.records import Conversation, Message, Person, Span

ANA = Person("ana", {"PERSON": "Ana Silva", "PHONE": "+34 600 111 222"})
EVA = Person("eva", {"PERSON": "Eva Rocha", "PHONE": "+34 600 999 888"})
POLICIES = ("placeholder", "surrogate", "novelty")
Pieces = st.lists(st.tuples(st.text(max_size=12), st.sampled_from(["", "PERSON", "PHONE"])), max_size=6)


def chat(*turns: list[tuple[str, str]]) -> Conversation:
    """Each turn: (plain text, type of the value that follows it, or nothing)."""
    messages, spans = [], []
    for index, pieces in enumerate(turns):
        text = ""
        for plain, type_ in pieces:
            text += plain
            if type_:
                value = ANA.values[type_]
                spans.append(Span(index, len(text), len(text) + len(value), type_, "ana"))
                text += value
        messages.append(Message("user" if index % 2 == 0 else "assistant", text))
    return Conversation("c", tuple(messages), tuple(spans))


def outside(conversation: Conversation, spans: tuple[Span, ...]) -> list[bytes]:
    """Return the text around the spans, message by message, as bytes."""
    found = []
    for index, message in enumerate(conversation.messages):
        cursor = 0
        for span in sorted((s for s in spans if s.message == index), key=lambda s: s.start):
            found.append(message.content[cursor : span.start].encode("utf-8", "surrogatepass"))
            cursor = span.end
        found.append(message.content[cursor:].encode("utf-8", "surrogatepass"))
    return found


@given(Pieces, Pieces, st.sampled_from(["surrogate", "novelty"]))
def test_text_that_is_not_personal_is_unchanged(
    asked: list[tuple[str, str]], said: list[tuple[str, str]], how: str
) -> None:
    before = chat(asked, said)
    after = policy.apply(before, how, {"ana": EVA})  # type: ignore[arg-type]
    assert outside(after, after.spans or ()) == outside(before, before.spans or ())
    for span in after.spans or ():
        assert after.messages[span.message].content[span.start : span.end] == EVA.values[span.type]
        assert span.owner == "eva"
    assert policy.apply(before, "keep", {}) is before


@given(Pieces, Pieces, st.booleans())
def test_placeholders_leave_the_rest(asked: list[tuple[str, str]], said: list[tuple[str, str]], numbered: bool) -> None:
    before = chat(asked, said)
    after = policy.apply(before, "placeholder", {}, numbered=numbered)
    texts = iter(outside(before, before.spans or ()))
    marks = {"PERSON": "[NAME_1]" if numbered else "[NAME]", "PHONE": "[PHONE_1]" if numbered else "[PHONE]"}
    for index, message in enumerate(after.messages):
        here = sorted((s for s in before.spans or () if s.message == index), key=lambda s: s.start)
        expected = next(texts)
        for span in here:
            expected += marks[span.type].encode() + next(texts)
        assert message.content.encode("utf-8", "surrogatepass") == expected


def test_numbers_keep_two_people_apart_and_one_together() -> None:
    spans = (Span(0, 0, 3, "PERSON", "p-a", "first"), Span(0, 8, 11, "PERSON", "p-b", "first"),
             Span(1, 0, 3, "PERSON", "p-a", "first"), Span(1, 4, 9, "EMAIL", "p-a.2"))  # fmt: skip
    two = Conversation("c", (Message("user", "Ana and Bob"), Message("assistant", "Ana a@b.c")), spans)
    after = policy.apply(two, "placeholder", {}, numbered=True)
    assert [m.content for m in after.messages] == ["[NAME_1] and [NAME_2]", "[NAME_1] [EMAIL_1]"]
    assert policy.apply(two, "placeholder", {}).messages[0].content == "[NAME] and [NAME]"


@given(
    st.lists(
        st.tuples(st.sampled_from(["Hello. ", "I am ", " here! ", "Line\n", "No"]), st.sampled_from(["", "PERSON"]))
    )
)
def test_drop_takes_the_sentences_that_hold_a_value_and_no_other(pieces: list[tuple[str, str]]) -> None:
    before = chat(pieces)
    after = policy.apply(before, "drop", {})
    text = before.messages[0].content
    kept = [
        text[a:b] for a, b in policy.sentences(text) if not any(s.start < b and a < s.end for s in before.spans or ())
    ]
    assert after.messages[0].content.rstrip() == "".join(kept).rstrip()
    assert "Silva" not in after.messages[0].content
    assert "".join(text[a:b] for a, b in policy.sentences(text)) == text, "sentences cover the text"
    if not before.spans:
        assert after.messages == before.messages


@pytest.mark.parametrize("how", [*POLICIES, "drop"])
def test_unmarked_text_is_refused_and_says_what_to_do(how: str) -> None:
    raw = Conversation("c", (Message("user", "hi"),), None, "f.jsonl:1")
    with pytest.raises(UsageError, match=r"f.jsonl:1.*use pii = 'keep'"):
        policy.apply(raw, how, {})  # type: ignore[arg-type]


def test_a_name_keeps_its_case() -> None:
    assert policy.in_case_of("ana silva", "Eva Rocha") == "eva rocha"
    assert policy.in_case_of("ANA SILVA", "Eva Rocha") == "EVA ROCHA"
    assert policy.in_case_of("Ana Silva", "Eva Rocha") == "Eva Rocha"
