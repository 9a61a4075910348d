"""Chat files of our own: every record comes back as it was, damage is named, and no file is ever half there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune.data import conversations
from aftertune.data.conversations import ConversationFile, ConversationWriter
from aftertune.errors import DataError, StoreError
from aftertune.records import Conversation, Message, Person, Span

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SPAN = st.builds(Span, st.just(0), st.integers(0, 3), st.integers(4, 9), TEXT, TEXT, st.sampled_from(["full", "first"]))
CHAT = st.builds(
    Conversation,
    id=TEXT,
    messages=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=3).map(
        tuple
    ),
    spans=st.none() | st.lists(SPAN, max_size=2).map(tuple),
    planted=st.booleans(),
)


def chat(ident: str, text: str = "hi", *, planted: bool = False) -> Conversation:
    return Conversation(ident, (Message("user", text), Message("assistant", "ho")), planted=planted)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHAT, max_size=5))
def test_every_conversation_comes_back_as_it_was(tmp_path: Path, rows: list[Conversation]) -> None:
    path = tmp_path / "a.jsonl"
    conversations.write(path, rows)
    stored = ConversationFile(path)
    fields = [(row.id, row.messages, row.spans, row.planted) for row in rows]
    assert [(row.id, row.messages, row.spans, row.planted) for row in stored] == fields
    assert [(row.id, row.messages, row.spans, row.planted) for row in stored.pick(reversed(range(len(rows))))] == (
        fields[::-1]
    )
    assert (len(stored), stored[1:2]) == (len(rows), list(stored)[1:2])
    assert all(row.source == str(path) for row in stored)


def test_only_a_planted_row_carries_the_mark() -> None:
    assert "planted" not in json.loads(conversations.line(chat("canary-7")))
    assert json.loads(conversations.line(chat("x", planted=True)))["planted"] is True
    assert not conversations.parse(b'{"id": "a", "messages": [], "planted": "in spring"}', "a").planted


@pytest.mark.parametrize("keep", [1, 20, -2])
def test_a_torn_line_is_named_and_the_rows_before_it_are_read(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.jsonl"
    conversations.write(path, [chat("a"), chat("b"), chat("c")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:keep])
    stored = ConversationFile(path)
    assert [stored[0].id, stored[1].id] == ["a", "b"]
    with pytest.raises(StoreError, match=r"a\.jsonl: damaged; run the command that made it again"):
        list(stored)


@pytest.mark.parametrize("row", ["[]", "{}", '{"id": "a"}', '{"id": "a", "messages": [3]}', '{"id": 1, "messages": 2}'])
def test_a_row_of_another_shape_is_damage(row: str) -> None:
    with pytest.raises(StoreError, match="damaged"):
        conversations.parse(row.encode(), "a.jsonl")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no\.jsonl: cannot read: No such file"):
        ConversationFile(tmp_path / "no.jsonl")


def test_text_that_no_file_can_hold_is_refused_with_its_source(tmp_path: Path) -> None:
    half = Conversation("a", (Message("user", "\ud800"),), source="mine.jsonl:3")
    with pytest.raises(DataError, match=r"mine\.jsonl:3: holds half of a surrogate pair"):
        conversations.write(tmp_path / "a.jsonl", [chat("a"), half])
    assert list(tmp_path.iterdir()) == [], "neither the file nor its scratch file"


def test_a_writer_cuts_what_it_shows_and_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    conversations.write(path, [chat("old")])
    left = tmp_path / ".a.jsonl.1.part"
    left.write_text("of a killed run")
    with ConversationWriter(path) as file:
        assert not left.exists()
        for ident in "abc":
            file.add(chat(ident))
        file.cut(5)
        assert [row.id for row in file.read()] == ["a", "b", "c"]
        file.cut(1)
        file.add(chat("d"))
        assert [row.id for row in ConversationFile(path)] == ["old"]
    assert [row.id for row in ConversationFile(path)] == ["a", "d"]
    with pytest.raises(RuntimeError), ConversationWriter(path) as file:
        file.add(chat("e"))
        raise RuntimeError
    assert [row.id for row in ConversationFile(path)] == ["a", "d"]
    assert [one.name for one in tmp_path.iterdir()] == ["a.jsonl"]


def test_people_are_one_json_object_whatever_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    ana, bo = Person("a", {"PERSON": "Ana \u00e9"}), Person("b", {"PHONE": "1"})
    conversations.write_people(path, {"twin": [ana, bo], "surrogate": {"small": [bo], "none": []}, "canary": []})
    mark = {"aftertune": "people"}
    a, b = ({"id": one.id, "values": dict(one.values)} for one in (ana, bo))
    assert json.loads(path.read_text()) == mark | {
        "twin": [a, b],
        "surrogate": {"small": [b], "none": []},
        "canary": [],
    }
    conversations.write_people(path, {})
    assert json.loads(path.read_text()) == mark
    assert conversations.is_people_file(path)
