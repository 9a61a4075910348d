"""Chat files that mean harm or were broken on the way: `compose` gives a right result, or one line with file and line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune import shipped_models
from aftertune.commands import compose as variants
from aftertune.data import conversations as jsonl
from aftertune.errors import AftertuneError, DataError
from aftertune.records import Conversation, Message
from aftertune.variants.corpora.chat_file import ChatFile

pytestmark = pytest.mark.skipif(not shipped_models.names(), reason="no embedded model is built")
QUIET = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD = ("\x00", "a\x00b", "\x1b[31mred\x1b[0m", "\u202eevil\u202c", "\u2028", "\ufeff", "\U0001f600", "a\r\nb", "\x85", "\x7f",
       "Anna Smith", "+36 20 123 4567", "\u0130stanbul 5", "\ufdd0")  # fmt: skip
TEXT = st.lists(
    st.one_of(st.sampled_from(ODD), st.text(max_size=8).filter(lambda t: t.encode("utf-8", "ignore").decode() == t)),
    min_size=1,
    max_size=5,
).map(" ".join)


def pair(asked: str, said: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}


def composed(path: Path, out: Path, **options: Any) -> list[Conversation]:
    variants.compose(str(path), out, allow_residual=True, **options)
    for file in (files := list(out.glob("*.jsonl"))):
        lines = file.read_bytes().split(b"\n")[:-1]
        assert lines, file.name
        assert all(json.loads(line) for line in lines)
    assert files
    return list(ChatFile(str(out / "keep.jsonl")).conversations())


@QUIET
@given(
    texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
    ascii_=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_odd_characters_come_out_as_they_went_in(
    texts: list[tuple[str, str]], ascii_: bool, end: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    texts = [("Hello", "Good day"), *texts]
    lines = [json.dumps(pair(*both), ensure_ascii=ascii_) for both in texts]
    path.write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
    chats = composed(path, tmp_path / "out", pii=("keep", "placeholder", "surrogate", "drop"), match=False)
    assert sorted(tuple(m.content for m in chat.messages) for chat in chats) == sorted(texts)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (json.dumps(pair("a \ud83d", "b")), r"messages\[0\]: content: holds half of a surrogate pair"),
        (
            json.dumps(pair("a", "b") | {"aftertune": "conversation", "id": "\udc00"}),
            "id: holds half of a surrogate pair",
        ),
        (
            json.dumps(pair("a", "b") | {"aftertune": "conversation", "spans": [[0, 0, 1, "\ud800", "p"]]}),
            "spans: expected",
        ),
        (
            json.dumps(pair("a", "b") | {"aftertune": "conversation", "spans": [[-1, 0, 1, "PERSON", "p"]]}),
            "spans: expected",
        ),
        (
            json.dumps(pair("a", "b") | {"aftertune": "conversation", "spans": [[0, 0.0, 1, "PERSON", "p"]]}),
            "spans: expected",
        ),
        (
            json.dumps(pair("a", "b") | {"aftertune": "conversation", "spans": [[0, 0, 1, ["PERSON"], "p"]]}),
            "spans: expected",
        ),
        (json.dumps(pair("a", "b"))[:-9], "not valid JSON at column"),
        (f'{{"prompt": "a", "response": "b", "n": {"9" * 5000}}}', "a number of thousands of digits"),
        ('{"prompt": ' + "[" * 100_000, "nested too deeply"),
        (json.dumps(pair("a", "b")).replace("user", "\x1b[2J"), "not valid JSON"),
        (json.dumps({"messages": [{"role": "\x1b[2Jroot", "content": "x"}]}), "unknown role"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_left(tmp_path: Path, row: str, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(pair("Hi Anna Smith", "Hello")) + "\n" + row, encoding="utf-8", newline="")
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{why}"):
        variants.compose(str(path), tmp_path / "out", pii=("keep", "surrogate"))
    assert not (tmp_path / "out").exists()


def test_what_no_file_can_hold_is_never_half_written(tmp_path: Path) -> None:
    whole = Conversation("a", (Message("user", "x"), Message("assistant", "y")), None, "here:1")
    broken = Conversation("b", (Message("user", "x \ud83d"), Message("assistant", "y")), None, "here:2")
    with pytest.raises(DataError, match="here:2: holds half of a surrogate pair"):
        jsonl.write(tmp_path / "a.jsonl", [whole, broken])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.json", "a.txt"])
@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\xff\xfe{\x00", b"[", b"[1]", b'"a"', b"PAR1", b"\x00" * 9, b"a,b\n1,2,3\n"]
)
def test_any_file_ends_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(AftertuneError, match=r"a\.\w+") as caught:
        variants.compose(str(path), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_megabyte_on_one_line(tmp_path: Path) -> None:
    asked = "Call Anna Smith on +36 20 123 4567 about the kettle. " * 10_000 + "x" * 500_000
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(pair(asked, "\u202e" * 1000 + " yes")) + "\n")
    (chat,) = composed(path, tmp_path / "out", pii=("keep", "placeholder"), match=False)
    assert chat.messages[0].content == asked
    (hidden,) = ChatFile(str(tmp_path / "out" / "placeholder.jsonl")).conversations()
    assert "Anna" not in hidden.messages[0].content
    assert hidden.messages[0].content.endswith("x" * 500_000)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("share.jsonl", '{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}'),
        ("share.json", '[{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}]'),
        ("openai.jsonl", '{"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, '
                         '{"role": "assistant", "content": "A"}]}'),
        ("pairs.jsonl", '{"prompt": "Q", "completion": "A"}'),
        ("trl.jsonl", '{"prompt": [{"role": "user", "content": "Q"}], '
                      '"completion": [{"role": "assistant", "content": "A"}]}'),
        ("alpaca.json", '[{"instruction": "Q", "input": "", "output": "A"}]'),
        ("table.csv", "prompt,response\r\nQ,A\r\n"),
        ("table.CSV", "\ufeffinstruction,input,output\nQ,,A\n"),
    ],
)  # fmt: skip
def test_every_usual_format_is_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    (chat,) = composed(path, tmp_path / "out")
    assert [(m.role, m.content) for m in chat.messages] == [("user", "Q"), ("assistant", "A")]


def test_the_command_line_shows_no_escape_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "\x1b[2Jroot", "content": "x"}]}) + "\n")
    ran = subprocess.run(
        [sys.executable, "-m", "aftertune", "compose", str(path), "-o", str(tmp_path / "out")],
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 2
    assert b"\x1b" not in ran.stderr
    assert ran.stderr.count(b"\n") == 1
    assert b"a.jsonl:1" in ran.stderr
