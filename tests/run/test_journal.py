"""A journal line by line: what comes back, what is dropped, and what the file holds afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.run import journal
from aftertune.run.clock import Clock


@dataclass(frozen=True)
class Note:
    id: str
    score: float | None = None
    tags: list[str] = field(default_factory=list)
    more: Mapping[str, str] = field(default_factory=dict)


NOTES = st.builds(
    Note,
    id=st.text(st.characters(), max_size=80),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    tags=st.lists(st.text(max_size=3), max_size=3),
    more=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)


def stored(path: Path, *notes: Note) -> Path:
    path.write_bytes(journal.lines(notes))
    return path


def sealed(**fields: object) -> bytes:
    """A line as any program could write it: the sum is that of the sorted fields in ASCII."""
    text = json.dumps(fields, sort_keys=True)
    return json.dumps({**fields, "#": hashlib.sha256(text.encode()).hexdigest()[:12]}).encode() + b"\n"


@given(notes=st.lists(NOTES, max_size=5))
@settings(deadline=None)
def test_records_come_back_in_order_and_the_file_is_left_alone(
    tmp_path_factory: pytest.TempPathFactory, notes: list[Note]
) -> None:
    path = stored(tmp_path_factory.mktemp("journal") / "journal", *notes)
    before = path.read_bytes()
    assert journal.read(path, Note) == notes
    assert path.read_bytes() == before
    assert before.count(b"\n") == len(notes)
    assert before.isascii()


def test_a_line_is_its_fields_and_their_sum() -> None:
    note = Note("né\n\u2028", 0.5, ["x"], {"k": "v"})
    assert journal.lines([note]) == sealed(id="né\n\u2028", score=0.5, tags=["x"], more={"k": "v"})
    assert journal.lines([]) == b""


def test_no_file_is_no_record_and_stays_absent(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "absent", Note) == []
    assert journal.read(tmp_path, Note) == [], "a folder is no journal"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant|Out of range"):
        journal.lines([Note("a", number)])


@pytest.mark.parametrize(
    "line",
    [
        sealed(id="a", score=None, tags=[]),
        sealed(id="a", score=None, tags=[], more={}, later=1),
        sealed(id="a", score=None, tags=[], more={})[:-1],
        sealed(id="a", score=None, tags=[], more={}).replace(b'"a"', b'"b"'),
        json.dumps({"id": "a", "score": None, "tags": [], "more": {}}).encode() + b"\n",
        json.dumps({"id": "a", "score": None, "tags": [], "more": {}, "#": None}).encode() + b"\n",
        b"\n",
    ],
    ids=["field missing", "field more", "no end", "changed", "no sum", "null sum", "empty"],
)
def test_a_line_that_is_not_whole_is_dropped_from_the_file_too(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    good = journal.lines([Note("first"), Note("first")])
    path.write_bytes(good + line)
    assert journal.read(path, Note) == [Note("first"), Note("first")]
    assert path.read_bytes() == good


def test_fields_in_any_order_and_spacing_are_the_same_record(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fields = json.loads(journal.lines([Note("a", 1.5)]))
    path.write_text(json.dumps(dict(reversed(fields.items())), separators=(" ,", " :")) + "\n")
    assert journal.read(path, Note) == [Note("a", 1.5)]


@given(cut=st.integers(0), notes=st.lists(NOTES, min_size=1, max_size=4))
@settings(deadline=None)
def test_a_crash_at_any_byte_leaves_the_lines_before_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, notes: list[Note]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal"
    whole = journal.lines(notes)
    cut %= len(whole) + 1
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    assert journal.read(path, Note) == notes[:complete]
    assert path.read_bytes() == journal.lines(notes[:complete])


def test_equal_short_texts_become_one_object(tmp_path: Path) -> None:
    first, second = journal.read(stored(tmp_path / "journal", Note("same " * 3), Note("same " * 3)), Note)
    assert first.id is second.id


# ---------------------------------------------------------------------------------------------- the clock of starting


def test_a_clock_counts_what_happens_inside_and_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 107.5, 200.0, 201.0])
    monkeypatch.setattr("aftertune.run.clock.time.time", lambda: next(now))
    clock = Clock()
    assert clock.seconds == 0.0
    with clock.starting():
        assert clock.seconds == 0.0, "counted at the end"
    clock.add(2.0)
    assert clock.seconds == 9.5
    with pytest.raises(KeyError), clock.starting():
        raise KeyError("a failed start took its time, too")
    assert clock.seconds == 10.5
    assert Clock().seconds == 0.0
