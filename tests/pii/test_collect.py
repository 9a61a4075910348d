"""A registry knows whose a value is, where it stands, and survives its file."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aftertune.errors import DataError, UsageError
from aftertune.pii import detect, detection_cache, registry_file
from aftertune.pii.leaks import leaks_in
from aftertune.pii.registry import Position, Registry, collect
from aftertune.records import Conversation, Message, Person, Span


def chat(id_: str, *texts: str, spans: tuple[Span, ...] | None = None) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(id_, tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)), spans)  # type: ignore[arg-type]


NAMES = ("Anna Kowalska", "Omar Haddad", "Dr. Anna Kowalska", "Anna")


@pytest.fixture(name="_names")
def _with_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Detection by a list of names, so that these tests do not hang on how well a detector knows names."""
    shapes = detect.find

    def find(text: str, *args: object, **more: object) -> list[Any]:
        from types import SimpleNamespace

        found: list[Any] = [f for f in shapes(text) if f.type in ("PHONE", "EMAIL", "REFERENCE")]
        taken: set[int] = set()
        for name in sorted(NAMES, key=len, reverse=True):
            start = text.find(name)
            while start >= 0:
                if start not in taken and text[start - 4 : start] != "Dr. ":
                    taken.update(range(start, start + len(name)))
                    found.append(SimpleNamespace(start=start, end=start + len(name), type="PERSON", why="list"))
                start = text.find(name, start + 1)
        return sorted(found, key=lambda f: int(f.start))

    monkeypatch.setattr(detect, "find", find)
    detection_cache.clear()
    yield
    detection_cache.clear()


def owners(registry: Registry) -> dict[str, str]:
    return {entry.value: entry.owner for entry in registry.entries}


def test_marked_values_keep_the_owners_that_the_corpus_names() -> None:
    text = "I am Anna Kowalska, call 482 107 555"
    spans = (Span(0, 5, 18, "PERSON", "a7"), Span(0, 5, 9, "PERSON", "a7", "first"), Span(0, 25, 36, "PHONE", "a7"))
    registry = collect([chat("1", text, spans=spans), chat("2", "ring 482-107-555, for ANNA KOWALSKA", spans=())])
    assert owners(registry) == {"Anna Kowalska": "a7", "482 107 555": "a7"}
    name, phone = registry.entries
    assert name.positions == (Position(0, 0, 5, 18, "user"), Position(1, 0, 22, 35, "user"))
    assert phone.positions == (Position(0, 0, 25, 36, "user"), Position(1, 0, 5, 16, "user"))
    assert phone.rows == (0, 1)


@pytest.mark.usefixtures("_names")
def test_values_are_linked_to_the_people_of_their_conversation() -> None:
    registry = collect([
        chat("1", "I am Dr. Anna Kowalska", "Thanks Anna, is +48 482 107 555 yours?"),
        chat("2", "Anna Kowalska and Omar Haddad", "Write to o.haddad@mail.example.com or +33 611 222 333"),
        chat("3", "call +44 7700 900123, ref QX12345"),
        chat("4", "again +48 (482) 107-555, from Omar Haddad"),
    ])  # fmt: skip
    held = owners(registry)
    anna, omar = held["Anna Kowalska"], held["Omar Haddad"]
    assert anna != omar
    assert "Anna" not in held, "a first name belongs to the full name beside it, and is no entry: strangers share it"
    assert held["+48 482 107 555"] == anna, "the only person there, in another format too"
    assert held["o.haddad@mail.example.com"] == omar, "the address holds the name"
    assert held["+33 611 222 333"] == omar, "the only person whom its message names"
    assert held["+44 7700 900123"] == held["QX12345"], "nobody named: one unnamed person"
    assert held["QX12345"] not in (anna, omar)
    phone = next(entry for entry in registry.entries if entry.value == "+48 482 107 555")
    assert phone.rows == (0, 3)
    assert not any(word in owner.lower() for owner in held.values() for word in ("anna", "omar", "482"))


def test_a_match_says_whose_from_where_and_how_often() -> None:
    corpus = [
        chat("1", "mail anna@mail.example.com", "anna@mail.example.com it is"),
        chat("2", "ANNA@mail.example.com"),
    ]
    registry = collect(corpus)
    found = leaks_in(registry, "She is at Anna [at] mail.example.com; or x@y.example.org", "Who?")
    assert (found.label, found.owners) == ("registry", ("p1",))
    (hit,) = found.leaked
    assert (hit.rows, hit.count) == ((0, 1), 3)
    assert "anna" not in repr(found).lower()
    assert leaks_in(registry, "anna@mail.example.com", "mail ANNA@mail.example.com").label == "echoed"
    assert leaks_in(registry, "x@y.example.org").label == "invented"
    assert leaks_in(registry, "x@y.example.org", "X@Y.example.org?").label == "none"
    twin = Registry.of("twin", [Person("t", {"EMAIL": "x@y.example.org"})])
    assert leaks_in(registry, "x@y.example.org", others=[twin]).label == "none"


def test_two_values_of_one_owner_and_type_are_told_apart() -> None:
    registry = collect([chat("1", "+48 482 107 555 and +33 611 222 333, a@mail.example.com")])
    given, echoed = registry.leaked("482 107 555 or 611 222 333", "is it 482 107 555?")
    assert len({entry.owner for entry in registry.entries}) == 1
    assert [registry.entries[hit.entry].value for hit in given] == ["+33 611 222 333"]
    assert [registry.entries[hit.entry].value for hit in echoed] == ["+48 482 107 555"]


# ---------------------------------------------------------------------------------------------- the file


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> tuple[Registry, Path]:
    registry = collect([chat("1", "mail anna@mail.example.com or +48 482 107 555"), chat("2", "Łódź, x@y.example.org")])
    source = tmp_path / "chat.jsonl"
    source.write_text("the file it was made from")
    registry_file.save(registry, tmp_path / "reg.jsonl", source)
    return registry, tmp_path / "reg.jsonl"


def test_a_registry_comes_back_whole_and_private(made: tuple[Registry, Path]) -> None:
    registry, path = made
    assert registry_file.load(path) == registry
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header = json.loads(path.read_text().splitlines()[0])
    assert (header["id"], header["entries"], len(header["source"])) == (registry.id, 3, 64)
    assert [item.name for item in path.parent.iterdir() if item.name.endswith(".part")] == []


def test_its_id_is_its_content() -> None:
    a, b = (collect([chat("1", text)]) for text in ("a@mail.example.com", "see a@mail.example.com"))
    assert a.id != b.id, "the same value at another place"
    assert a.id == collect([chat("other", "a@mail.example.com")]).id


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: [], "empty"),
        (lambda lines: lines[1:], "not a registry"),
        (lambda lines: lines[:-1], "2 of 3 entries"),
        (lambda lines: [lines[0], lines[1].replace("anna", "anne"), *lines[2:]], "does not match its hash"),
        (lambda lines: [lines[0], lines[1][:20], *lines[2:]], ":2: damaged"),
        (lambda lines: [lines[0], '{"type": "EMAIL"}', *lines[2:]], ":2: damaged"),
        (lambda lines: [lines[0].replace('"version": 2', '"version": 9'), *lines[1:]], "version 9"),
    ],
)
def test_damage_is_named_and_shows_no_value(made: tuple[Registry, Path], damage, says: str) -> None:  # type: ignore[no-untyped-def]
    _, path = made
    path.write_text("\n".join(damage(path.read_text().splitlines())))
    with pytest.raises(DataError) as caught:
        registry_file.load(path)
    assert says in str(caught.value)
    assert path.name in str(caught.value)
    assert "anna" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        registry_file.load(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        registry_file.load(tmp_path / "bytes")
