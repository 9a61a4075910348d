"""The registry: the personal values of a tuning set with their owners and positions, and the search for them.

Matching is done on normalised text: a changed case, accents, spacing, line breaks, markup or another way to punctuate a
phone number or a reference still match; common words that happen to be names do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from aftertune.pii.languages import language_of
from aftertune.pii.matcher import Matcher, Mention
from aftertune.pii.normalisation import standard
from aftertune.pii.ownership import Marker, key_of
from aftertune.records import Conversation, Person, digest


class Position(NamedTuple):
    """A mention of a value in the tuning set: `conversations[row].texts[message][start:end]`."""

    row: int
    message: int
    start: int
    end: int
    field: str = ""
    """Whose turn it is (`system`, `user`, `assistant`), or the field of the row where the text is no turn."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One personal value of a tuning set."""

    type: str
    value: str
    owner: str
    positions: tuple[Position, ...] = ()
    """Every mention, however it is written; empty where nobody looked."""

    @property
    def rows(self) -> tuple[int, ...]:
        """The conversations that mention it, from 0, each once."""
        return tuple(dict.fromkeys(position.row for position in self.positions))

    @property
    def fields(self) -> tuple[str, ...]:
        """The turns' roles and the fields that it stands in, each once."""
        return tuple(dict.fromkeys(position.field for position in self.positions if position.field))


@dataclass(frozen=True, slots=True)
class Hit:
    """A mention of a registry value in a text, without the value itself, so that it cannot be printed by mistake."""

    type: str
    owner: str
    start: int = field(default=0, compare=False)
    """Of the first mention: `text[start:end]` (characters)."""
    end: int = field(default=0, compare=False)
    rows: tuple[int, ...] = field(default=(), compare=False)
    """Conversations of the tuning set that mention the value, from 0."""
    count: int = field(default=0, compare=False)
    """Mentions in the tuning set."""
    entry: int = field(default=-1, compare=False)
    """Index of the registry's entry."""
    fields: tuple[str, ...] = field(default=(), compare=False)
    """Where it stands in those conversations: turns' roles, and fields of rows."""


@dataclass(frozen=True)
class Registry:
    """The personal values of one tuning set.

    Full names, phones, e-mail addresses, street addresses, references and the other types of `detect` count; a first
    name alone does not, since strangers share it.
    """

    name: str
    entries: tuple[Entry, ...]
    outside: Mapping[str, int] = field(default_factory=dict)
    """Language -> messages of the tuning set in which names were not looked for, since they are not English."""

    @classmethod
    def of(cls, name: str, people: Iterable[Person], conversations: Sequence[Conversation] = ()) -> Registry:
        """Return the registry of every value of `people`, each (type, value) once, for its first owner.

        The positions are those of the mentions in `conversations`.
        """
        entries: dict[tuple[str, str], Entry] = {}
        for person in people:
            for type_, value in person.values.items():
                entries.setdefault((type_, value), Entry(type_, value, person.id))
        return cls(name, tuple(entries.values())).located(conversations)

    def located(self, conversations: Sequence[Conversation]) -> Registry:
        """Return the registry with the positions of its values in `conversations`, by matching."""
        if not conversations:
            return self
        positions: dict[int, list[Position]] = {}
        for row, conversation in enumerate(conversations):
            fields = fields_of(conversation)
            for index, text in enumerate(conversation.texts):
                for value, start, end in self.matcher.find(text):
                    positions.setdefault(value, []).append(Position(row, index, start, end, fields[index]))
        entries = (replace(entry, positions=tuple(positions.get(i, ()))) for i, entry in enumerate(self.entries))
        return replace(self, entries=tuple(entries))

    @cached_property
    def id(self) -> str:
        """Hash of the entries."""
        return digest([[e.type, e.value, e.owner, e.positions] for e in self.entries])

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def matcher(self) -> Matcher:
        """The search for the entries, built on first use."""
        return Matcher([(entry.type, entry.value) for entry in self.entries])

    def find(self, text: str) -> list[Hit]:
        """Return the registry values that `text` mentions, each once, in the order of their first mention."""
        first: dict[int, Mention] = {}
        for mention in self.matcher.find(text):
            first.setdefault(mention.value, mention)
        hits = []
        for value, start, end in first.values():
            entry = self.entries[value]
            count = len(entry.positions)
            hits.append(Hit(entry.type, entry.owner, start, end, entry.rows, count, value, entry.fields))
        return hits

    def leaked(self, text: str, prompt: str) -> tuple[Sequence[Hit], Sequence[Hit]]:
        """Return (leaked hits, echoed hits): a value that the prompt mentions already is only an echo."""
        hits = self.find(text)
        if not hits:
            return [], []
        in_prompt = {mention.value for mention in self.matcher.find(prompt)}
        return [hit for hit in hits if hit.entry not in in_prompt], [hit for hit in hits if hit.entry in in_prompt]


def fields_of(conversation: Conversation) -> list[str]:
    """Return where each text of a conversation stands: a turn's role, or the field of the row."""
    return [
        *(message.role for message in conversation.messages),
        *(each.field or each.kind for each in conversation.beside),
    ]


def collect(conversations: Sequence[Conversation], name: str = "source") -> Registry:
    """Return the registry of a tuning set: each value once, with its owner and every mention.

    Where a conversation marks its personal values (`spans`), these count, with the owners that it names; such an owner
    takes precedence over any other. Elsewhere values and owners are those of `ownership.Marker`; an owner is then
    called `p1`, `p2`, ... in the order of first mention, so that the id says nothing about them. A first or last name
    alone is a link to its owner and no entry: strangers share it.
    """
    marker = Marker()
    owners: dict[tuple[str, str], tuple[str, bool]] = {}
    """Key of a value -> (its owner, whether the conversation names them)."""
    mentions: dict[tuple[str, str], tuple[str, list[Position]]] = {}
    outside: Counter[str] = Counter()
    for row, conversation in enumerate(conversations):
        texts, fields = conversation.texts, fields_of(conversation)
        marked = conversation.spans is not None
        if not marked:
            outside.update(filter(None, map(language_of, texts)))
        for span in marker.mark(conversation).spans or ():
            if span.part != "full":
                continue
            value = standard(texts[span.message][span.start : span.end])
            key = key_of(span.type, value)
            mentions.setdefault(key, (value, []))[1].append(
                Position(row, span.message, span.start, span.end, fields[span.message])
            )
            if key not in owners or (marked and not owners[key][1]):
                owners[key] = (span.owner, marked)
    taken = {owner for owner, marked in owners.values() if marked}
    free = (f"p{number}" for number in range(1, len(owners) + len(taken) + 1) if f"p{number}" not in taken)
    ids: dict[str, str] = {}
    entries = []
    for key, (value, positions) in mentions.items():
        owner = owners[key][0]
        if owner not in taken:
            owner = owner.partition(".")[0]
            if owner not in taken and owner not in ids:
                ids[owner] = next(free)
        entries.append(Entry(key[0], value, ids.get(owner, owner), tuple(positions)))
    return _with_mentions(Registry(name, tuple(entries), dict(sorted(outside.items()))), conversations)


def _with_mentions(registry: Registry, conversations: Sequence[Conversation]) -> Registry:
    """Add the mentions that matching finds and nobody marked."""
    entries = []
    for marked, matched in zip(registry.entries, registry.located(conversations).entries, strict=True):
        by_message: dict[tuple[int, int], list[Position]] = {}
        for position in marked.positions:
            by_message.setdefault((position.row, position.message), []).append(position)
        more = [
            position
            for position in matched.positions
            if not any(
                position.start < other.end and other.start < position.end
                for other in by_message.get((position.row, position.message), ())
            )
        ]
        entries.append(replace(marked, positions=tuple(sorted((*marked.positions, *more)))))
    return replace(registry, entries=tuple(entries))
