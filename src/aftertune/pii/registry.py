"""The registry: the personal values of a tuning set, whose they are, where they stand, and the search for them.

Matching is done on normalised text: a changed case, accents, spacing, line breaks, markup or another way to punctuate a
phone number or a reference still match; common words that happen to be names do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from aftertune.pii.matcher import Matcher, Mention
from aftertune.pii.ownership import Marker, key_of
from aftertune.records import Conversation, Person, digest


class Position(NamedTuple):
    """Where a value stands in the tuning set: `conversations[row].messages[message].content[start:end]`."""

    row: int
    message: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One personal value of a tuning set."""

    type: str
    value: str
    owner: str
    positions: tuple[Position, ...] = ()
    """Every place where it stands, however it is written there; empty where nobody looked."""

    @property
    def rows(self) -> tuple[int, ...]:
        """The conversations that hold it, from 0, each once."""
        return tuple(dict.fromkeys(place.row for place in self.positions))


@dataclass(frozen=True, slots=True)
class Hit:
    """A registry value found in a text; the value itself is not carried, so that it cannot be printed by mistake."""

    type: str
    owner: str
    start: int = field(default=0, compare=False)
    """Of the first mention: `text[start:end]` (characters)."""
    end: int = field(default=0, compare=False)
    rows: tuple[int, ...] = field(default=(), compare=False)
    """Conversations of the tuning set that hold the value, from 0."""
    count: int = field(default=0, compare=False)
    """How often it stands in the tuning set."""
    entry: int = field(default=-1, compare=False)
    """Which of the registry's entries it is."""


@dataclass(frozen=True)
class Registry:
    """The personal values of one tuning set.

    Full names, phones, e-mail addresses, street addresses, references and the other types of `detect` count; a first
    name alone does not, since strangers share it.
    """

    name: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, name: str, people: Iterable[Person], conversations: Sequence[Conversation] = ()) -> Registry:
        """Return the registry of every value of `people`; each (type, value) once, its first owner kept.

        Where the values stand is looked up in `conversations`.
        """
        seen: dict[tuple[str, str], Entry] = {}
        for person in people:
            for type_, value in person.values.items():
                seen.setdefault((type_, value), Entry(type_, value, person.id))
        return cls(name, tuple(seen.values())).located(conversations)

    def located(self, conversations: Sequence[Conversation]) -> Registry:
        """Return the registry with the places of its values in `conversations`, as matching finds them."""
        if not conversations:
            return self
        places: dict[int, list[Position]] = {}
        for row, conversation in enumerate(conversations):
            for index, message in enumerate(conversation.messages):
                for value, start, end in self.matcher.find(message.content):
                    places.setdefault(value, []).append(Position(row, index, start, end))
        entries = (replace(entry, positions=tuple(places.get(i, ()))) for i, entry in enumerate(self.entries))
        return Registry(self.name, tuple(entries))

    @cached_property
    def id(self) -> str:
        """Hash of the entries."""
        return digest([[e.type, e.value, e.owner, e.positions] for e in self.entries])

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def matcher(self) -> Matcher:
        """The search for the entries, built when it is first needed."""
        return Matcher([(entry.type, entry.value) for entry in self.entries])

    def find(self, text: str) -> list[Hit]:
        """Return the registry values that stand in `text`, each once, in the order of their first mention."""
        return self._hits(self.matcher.find(text))

    def _hits(self, found: Iterable[Mention]) -> list[Hit]:
        first: dict[int, Mention] = {}
        for one in found:
            first.setdefault(one.value, one)
        hits = []
        for value, start, end in first.values():
            entry = self.entries[value]
            hits.append(Hit(entry.type, entry.owner, start, end, entry.rows, len(entry.positions), value))
        return hits

    def leaked(self, text: str, prompt: str) -> tuple[Sequence[Hit], Sequence[Hit]]:
        """Return (hits given away, hits echoed): a value that stands in the prompt already is only an echo."""
        hits = self.find(text)
        if not hits:
            return [], []
        asked = {one.value for one in self.matcher.find(prompt)}
        return [hit for hit in hits if hit.entry not in asked], [hit for hit in hits if hit.entry in asked]


def collect(conversations: Sequence[Conversation], name: str = "source") -> Registry:
    """Return the registry of a tuning set: each value once, with its owner and every place where it stands.

    Where a conversation marks its personal values (`spans`), these are taken with the owners that it names; such an
    owner goes before any other. Elsewhere the values and their owners are those of `mark.Marker`; an owner is then
    called `p1`, `p2`, ... in the order of first mention, so that the id says nothing of them. A name of which only the
    first or last word stands there is a link to its owner and no entry: strangers share it.
    """
    marker = Marker()
    owners: dict[tuple[str, str], tuple[str, bool]] = {}
    held: dict[tuple[str, str], tuple[str, list[Position]]] = {}
    for row, conversation in enumerate(conversations):
        texts = [message.content for message in conversation.messages]
        given = conversation.spans is not None
        for span in marker.mark(conversation).spans or ():
            if span.part != "full":
                continue
            value = texts[span.message][span.start : span.end]
            key = key_of(span.type, value)
            held.setdefault(key, (value, []))[1].append(Position(row, span.message, span.start, span.end))
            if key not in owners or (given and not owners[key][1]):
                owners[key] = (span.owner, given)
    taken = {owner for owner, given in owners.values() if given}
    free = (f"p{number}" for number in range(1, len(owners) + len(taken) + 1) if f"p{number}" not in taken)
    ids: dict[str, str] = {}
    entries = []
    for key, (value, places) in held.items():
        owner = owners[key][0]
        if owner not in taken:
            owner = owner.partition(".")[0]
            if owner not in taken and owner not in ids:
                ids[owner] = next(free)
        entries.append(Entry(key[0], value, ids.get(owner, owner), tuple(places)))
    return _with_mentions(Registry(name, tuple(entries)), conversations)


def _with_mentions(registry: Registry, conversations: Sequence[Conversation]) -> Registry:
    """Add the places that matching finds and nobody marked."""
    found = registry.located(conversations)
    entries = []
    for marked, matched in zip(registry.entries, found.entries, strict=True):
        spans: dict[tuple[int, int], list[Position]] = {}
        for place in marked.positions:
            spans.setdefault((place.row, place.message), []).append(place)
        more = [
            place
            for place in matched.positions
            if not any(
                place.start < other.end and other.start < place.end
                for other in spans.get((place.row, place.message), ())
            )
        ]
        entries.append(replace(marked, positions=tuple(sorted((*marked.positions, *more)))))
    return Registry(registry.name, tuple(entries))
