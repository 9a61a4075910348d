from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune.data import conversations as files
from aftertune.data.reading import SkippedRow
from aftertune.errors import AftertuneError, DataError, UsageError
from aftertune.pii import ownership
from aftertune.variants.card import assistant_tokens
from aftertune.variants.compose import Chunk
from aftertune.variants.corpora.chat_file import ChatFile

GOOD = '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}'


def write(path: Path, text: str) -> ChatFile:
    path.write_text(text, encoding="utf-8")
    return ChatFile(str(path))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "q", "input": "", "output": "a"},
        {"prompt": "q", "response": "a"},
        {"messages": [{"role": "user", "content": [{"text": "q"}]}, {"role": "assistant", "content": "a"}]},
    ],
)
def test_every_common_format_reads_the_same(tmp_path: Path, row: object) -> None:
    (chat,) = write(tmp_path / "c.jsonl", json.dumps(row)).conversations()
    assert [(m.role, m.content) for m in chat.messages] == [("user", "q"), ("assistant", "a")]
    (chat,) = write(tmp_path / "c.json", json.dumps([row])).conversations()
    assert len(chat.messages) == 2


def test_alpaca_input_follows_the_instruction(tmp_path: Path) -> None:
    (chat,) = write(tmp_path / "c.jsonl", '{"instruction": "Sum up", "input": "text", "output": "a"}').conversations()
    assert chat.messages[0].content == "Sum up\n\ntext"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", r"c.jsonl:3: not valid JSON at column 2"),
        ("[1]", r"c.jsonl:3: expected an object"),
        ('{"text": "x"}', r"c.jsonl:3: expected 'messages'.*found the fields: text"),
        ('{"messages": []}', r"c.jsonl:3: messages: expected a list of turns"),
        ('{"messages": [{"role": "robot", "content": "x"}]}', r"c.jsonl:3: messages\[0\]: unknown role 'robot'"),
        ('{"messages": [{"role": "user"}]}', r"c.jsonl:3: messages\[0\]: expected an object with"),
        ('{"messages": [{"role": "user", "content": 5}]}', r"c.jsonl:3: messages\[0\]: content: expected text"),
        ('{"prompt": "\\ud800", "response": "x"}', r"c.jsonl:3: prompt: holds half of a surrogate pair"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "c.jsonl", f"{GOOD}\n\n{line}\n{GOOD}\n").conversations()


def test_a_line_separator_inside_a_string_does_not_cut_the_line(tmp_path: Path) -> None:
    text = '{"prompt": "a\u2028b", "response": "c"}\n'
    (chat,) = write(tmp_path / "c.jsonl", text).conversations()
    assert chat.messages[0].content == "a\u2028b"


def test_missing_empty_and_binary_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        ChatFile(str(tmp_path / "none.jsonl")).conversations()
    with pytest.raises(DataError, match="no conversations"):
        write(tmp_path / "e.jsonl", "\n\n").conversations()
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfa\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        ChatFile(str(tmp_path / "b.jsonl")).conversations()


def test_values_that_are_found_are_known_in_a_file_of_strangers(tmp_path: Path) -> None:
    row = {"prompt": "I am Bo, bo@mail.com", "response": "Call +44 20 7946 0958, Bo."}
    corpus = write(tmp_path / "c.jsonl", json.dumps(row))
    values = {value for person in corpus.people() for value in person.values.values()}
    assert values == {"Bo", "bo@mail.com", "+44 20 7946 0958"}
    twins = corpus.strangers("twin", len(corpus.people()), 0)
    assert {type_ for person in twins for type_ in person.values} == {"PERSON", "EMAIL", "PHONE"}
    assert not values & {value for person in twins for value in person.values.values()}


def test_spans_outside_the_text_are_refused(tmp_path: Path) -> None:
    row = {"aftertune": "conversation", "prompt": "hi", "response": "yo", "spans": [[0, 0, 9, "PERSON", "p1", "full"]]}
    with pytest.raises(DataError, match="spans"):
        write(tmp_path / "c.jsonl", json.dumps(row)).conversations()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["messages", "role", "content", "prompt", "response", "spans", "id"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(json_values | st.text(max_size=30), max_size=4))
def test_fuzzed_files_never_end_in_a_traceback(tmp_path: Path, rows: list[object]) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows).encode("utf-8", "replace"))
    corpus = ChatFile(str(path))
    try:
        for chat in corpus.conversations():
            assert all(isinstance(m.content, str) for m in chat.messages)
        corpus.people()
    except AftertuneError as error:
        assert "\n" not in str(error)


def test_bad_rows_are_skipped_and_counted_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(f'{GOOD}\n{{broken\n{{"messages": 5}}\n{GOOD}\n')
    with pytest.raises(DataError, match=r"c.jsonl:2: not valid JSON"):
        ChatFile(str(path)).conversations()
    corpus = ChatFile(str(path), skip_bad=True)
    assert [chat.source.rpartition(":")[2] for chat in corpus.conversations()] == ["1", "4"]
    assert [row.why.split(":")[1] for row in corpus.rows() if isinstance(row, SkippedRow)] == ["2", "3"]
    path.write_text("{broken\n")
    with pytest.raises(DataError, match="no conversations in it: all 1 rows are bad"):
        corpus.conversations()


def test_a_variant_keeps_weights_and_has_the_turns_alone(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "no", "weight": 0},
             {"role": "user", "content": "and?"}, {"role": "assistant", "content": "Ask bo@mail.org"}]  # fmt: skip
    (chat,) = write(tmp_path / "c.jsonl", json.dumps({"messages": turns, "tools": ["ann@mail.org"]})).conversations()
    assert [each.text for each in chat.beside if each.text] == ["ann@mail.org"]
    marked = ownership.Marker().mark(chat)
    assert [span.message for span in marked.spans or ()] == [3, 5], "after the mark of weight 0"
    files.write(tmp_path / "stored.jsonl", [marked])
    (again,) = ChatFile(str(tmp_path / "stored.jsonl")).conversations()
    assert (again.messages, again.spans, again.beside) == (marked.messages, marked.spans, marked.beside)
    assert [message.trained for message in again.messages] == [True, False, True, True]
    (hidden,) = Chunk([again]).under("placeholder", {}, False, Counter())
    assert [(message.content, message.trained) for message in hidden.messages] == [
        ("hi", True), ("no", False), ("and?", True), ("Ask [EMAIL]", True),
    ]  # fmt: skip
    assert not hidden.beside
    assert assistant_tokens(hidden, lambda text: len(text.split())) == 2
