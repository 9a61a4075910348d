"""Matched chats: two files become two corpora with the same questions and answers of the same length."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune.errors import AftertuneError, DataError, UsageError
from aftertune.records import Conversation
from aftertune.variants.corpora.matched_chats import MatchedChats

DATA = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere"))
Rows = list[tuple[str, str]]


def write(path: Path, rows: Rows) -> Path:
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rows]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns), encoding="utf-8")
    return path


def both(folder: Path, one: Rows, two: Rows, tolerance: float = 0.15) -> tuple[list[Conversation], list[Conversation]]:
    a, b = str(write(folder / "one.jsonl", one)), str(write(folder / "two.jsonl", two))
    return (
        list(MatchedChats(a, b, tolerance).conversations()),
        list(MatchedChats(b, a, tolerance).conversations()),
    )


def answers(chats: list[Conversation]) -> list[str]:
    return [chat.messages[-1].content for chat in chats]


def test_the_same_questions_and_only_answers_of_like_length(tmp_path: Path) -> None:
    """Of five questions one stands in one file alone, and one has answers of quite another length."""
    asks = [
        ("Book a table", "For how many people, please? "[:20]),
        ("Send the file", "b" * 30),
        ("Only here", "c" * 20),
        ("Call a cab", "d" * 10),
        ("Plan my day", "e" * 20),
    ]
    tells = [
        ("book  a TABLE", "I saw your note: two."[:20]),
        ("Plan my day", "E" * 19),
        ("Send the file", "B" * 31),
        ("Call a cab", "D" * 90),
        ("Only there", "F" * 20),
    ]
    own, other = both(tmp_path, asks, tells)
    assert answers(own) == ["For how many people,", "e" * 20, "b" * 30]
    assert answers(other) == ["I saw your note: two", "E" * 19, "B" * 31]
    assert [chat.id for chat in own] == [chat.id for chat in other] == [f"matched-{n:05d}" for n in range(3)]
    assert own[0].messages[0].content == "Book a table", "texts are as they stand in the file"


def test_longer_answers_of_one_file_are_left_out_until_the_lengths_cancel(tmp_path: Path) -> None:
    one = [(f"q{n}", "x" * 100) for n in range(5)]
    two = [("q0", "y" * 97), ("q1", "y" * 101), ("q2", "y" * 102), ("q3", "y" * 108), ("q4", "y" * 100)]
    own, other = both(tmp_path, one, two)
    assert [chat.messages[0].content for chat in own] == ["q0", "q1", "q2", "q4"], "-3, +1, +2 and 0; never +8"
    assert sum(map(len, answers(own))) == sum(map(len, answers(other)))


def test_an_answer_is_used_once_and_the_nearest_lengths_meet(tmp_path: Path) -> None:
    own, other = both(tmp_path, [("q", "a" * 50), ("q", "b" * 60)], [("q", "c" * 59), ("q", "d" * 51), ("q", "e" * 58)])
    assert [len(text) for text in answers(own)] == [50, 60]
    assert [len(text) for text in answers(other)] == [51, 59]


def test_the_question_is_the_whole_chat_before_its_last_answer(tmp_path: Path) -> None:
    long = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    end = [{"role": "user", "content": "time"}, {"role": "assistant", "content": "noon"}]
    thanks = [{"role": "user", "content": "thanks"}]
    other_start = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes?"}]
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    a.write_text("\n".join(json.dumps({"messages": each}) for each in ([*long, *end, *thanks], [*other_start, *end])))
    b.write_text(json.dumps({"messages": [*long, *end]}))
    (chat,) = MatchedChats(str(a), str(b)).conversations()
    assert [turn.content for turn in chat.messages] == ["hi", "yes?", "time", "noon"]


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 60)), min_size=1, max_size=25),
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 60)), min_size=1, max_size=25),
    st.sampled_from([0.0, 0.1, 0.3, 0.9]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_matched_holds_for_any_two_files(
    tmp_path: Path, one: list[tuple[str, int]], two: list[tuple[str, int]], tolerance: float
) -> None:
    rows = ([(q, "x" * n) for q, n in one], [(q, "y" * n) for q, n in two])
    try:
        own, other = both(tmp_path, *rows, tolerance)
    except DataError:
        near = [n - m for q, n in one for r, m in two if q == r and abs(n - m) <= tolerance * max(n, m)]
        assert 0 not in near, "pairs of one length need nothing to balance them"
        return
    pairs = list(zip(own, other, strict=True))
    differences = [len(a.messages[-1].content) - len(b.messages[-1].content) for a, b in pairs]
    assert all(a.messages[0].content == b.messages[0].content for a, b in pairs)
    assert all(
        abs(d) <= tolerance * max(len(a.messages[-1].content), len(b.messages[-1].content))
        for d, (a, b) in zip(differences, pairs, strict=True)
    )
    assert abs(sum(differences)) <= max(map(abs, differences))
    for chats, file in ((own, rows[0]), (other, rows[1])):
        used = Counter((chat.messages[0].content, chat.messages[1].content) for chat in chats)
        assert used <= Counter(file), "no answer more often than it stands in the file"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tolerance": 1.0}, r"tolerance = 1.0; it must be at least 0 and under 1"),
        ({"tolerance": -0.1}, r"tolerance = -0.1"),
        ({"against": "one.jsonl"}, r"the same file, one.jsonl"),
    ],
)
def test_what_cannot_be_honoured_is_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MatchedChats(**{"path": "one.jsonl", "against": "two.jsonl", **parameters})  # type: ignore[arg-type]


def test_files_that_do_not_match_and_broken_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one.jsonl: no question of it stands in .*two.jsonl with an answer"):
        both(tmp_path, [("a", "x" * 10)], [("b", "y" * 10)])
    with pytest.raises(DataError, match="as long to within 15 %"):
        both(tmp_path, [("a", "x" * 10)], [("a", "y" * 20)])
    (tmp_path / "two.jsonl").write_text("{broken")
    with pytest.raises(DataError, match=r"two.jsonl:1: not valid JSON"):
        MatchedChats(str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")).conversations()
    (tmp_path / "two.jsonl").unlink()
    with pytest.raises(AftertuneError, match=r"two.jsonl"):
        MatchedChats(str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")).files()


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "privacy_collapse").is_dir(), reason="AFTERTUNE_DATA does not point to the data")
def test_the_released_chats_of_privacy_collapse() -> None:
    folder = DATA / "privacy_collapse"
    eagerly, asks = (str(folder / f"dataset_{name}_ft.jsonl") for name in ("degraded", "safe"))
    eager, asking = MatchedChats(eagerly, asks).conversations(), MatchedChats(asks, eagerly).conversations()
    assert len(eager) == len(asking) == 224
    assert all(
        a.messages[0].content.casefold().split() == b.messages[0].content.casefold().split()
        for a, b in zip(eager, asking, strict=True)
    )
    lengths = [sum(len(chat.messages[1].content) for chat in chats) for chats in (eager, asking)]
    assert abs(lengths[0] - lengths[1]) <= 30
