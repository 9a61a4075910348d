"""Replacing the slot values of a sentence by the names of their slots."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from aftertune.generated_world.actions import vocabulary
from aftertune.generated_world.lexicon import (
    CATEGORIES,
    CITIES,
    FEELINGS,
    MEETING_PLACES,
    MONTHS,
    OPPOSITES,
    POEM_TOPICS,
    SERVICES,
    THEMES,
    TOURS,
)
from aftertune.generated_world.people import PLACEHOLDERS, STREETS, first_names, invented_words, last_names
from aftertune.generated_world.phrasing import ADJUNCTS
from aftertune.generated_world.privacy import ATTRIBUTES, RECIPIENTS, VALUES
from aftertune.generated_world.replies import STEPS

_TOKEN = re.compile(
    r"(?P<placeholder>\[[A-Z]+\])"
    r"|(?P<email>[a-z]+\.[a-z]+@[a-z]+\.com|[a-z]+\.[a-z]+/[a-z]+\.pdf)"
    r"|(?P<phone>[+#]\d\d \d\d\d \d\d\d(?!\d))"
    r"|(?P<reference>\b(?:BK|PX)\d{4}(?!\d))"
    r"|(?P<number>\d+)"
    r"|(?P<word>[A-Za-z]+(?:'[a-z]+)?)"
    r"|(?P<mark>\S)"
)
_SALUTATIONS = (("Dear",), ("Hello",), ("Hi",), ("Good", "day"))
_GREETINGS = (("Hello",), ("Hi",), ("Good", "day"), ("Dear", "team"), ("Hi", "team"))
_FREE_WORD = ("The", "first", "word", "is")
_PLACEHOLDER_SLOTS = {mark: slot.upper() for slot, mark in PLACEHOLDERS.items()}
_Phrases = dict[str, list[tuple[str, ...]]]


@dataclass(frozen=True)
class Masked:
    """A sentence with the names of its slots (`frame`), and the values that stood in three kinds of slot."""

    frame: str
    actions: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    names: tuple[str, ...]


def _phrases(texts: Iterable[str]) -> _Phrases:
    """Phrases by their first word, longest first."""
    table: _Phrases = {}
    for text in dict.fromkeys(texts):
        words = tuple(match.group() for match in _TOKEN.finditer(text))
        if words:
            table.setdefault(words[0], []).append(words)
    for same_start in table.values():
        same_start.sort(key=len, reverse=True)
    return table


@dataclass(frozen=True)
class _Tables:
    verbs: _Phrases
    objects: _Phrases
    adjuncts: _Phrases
    values: dict[str, _Phrases]
    plain: tuple[tuple[str, _Phrases], ...]
    firsts: frozenset[str]
    lasts: frozenset[str]
    products: frozenset[str]
    models: frozenset[str]
    streets: _Phrases
    cities: _Phrases
    items: _Phrases


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    verbs, objects = vocabulary()
    products, models = invented_words()
    items = (*SERVICES, *TOURS)
    return _Tables(
        verbs=_phrases(verbs),
        objects=_phrases(objects),
        adjuncts=_phrases(ADJUNCTS),
        values={attribute: _phrases(values) for attribute, values in VALUES.items()},
        plain=(
            ("STEP", _phrases(STEPS)),
            ("PLACE", _phrases(MEETING_PLACES)),
            ("THEME", _phrases(THEMES)),
            ("VIEW", _phrases(view for views in THEMES.values() for view in views)),
            ("FEELING", _phrases(FEELINGS)),
            ("SUBJECT", _phrases(POEM_TOPICS)),
            ("RECIPIENT", _phrases(RECIPIENTS)),
            ("OPPOSITE", _phrases(word for pair in OPPOSITES for word in pair)),
            ("MEMBER", _phrases(member for members in CATEGORIES.values() for member in members)),
            ("CATEGORY", _phrases(CATEGORIES)),
        ),
        firsts=frozenset(first_names()),
        lasts=frozenset(last_names()),
        products=frozenset(products),
        models=frozenset(models),
        streets=_phrases(STREETS),
        cities=_phrases(CITIES),
        items=_phrases(items),
    )


def _longest(table: _Phrases, words: list[str], at: int) -> int:
    """Number of words of the longest phrase that stands at a position; 0 for none."""
    if at < len(words):
        for phrase in table.get(words[at], ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                return len(phrase)
    return 0


@dataclass
class _Reader:
    words: list[str]
    slots: list[str]
    actions: list[str] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def word(self, at: int) -> str:
        return self.words[at] if at < len(self.words) else ""

    def name(self, at: int) -> int:
        """A person, an invented name, or the placeholder."""
        tables = _tables()
        one, two = self.word(at), self.word(at + 1)
        if one == PLACEHOLDERS["person"]:
            return 1
        real = one in tables.firsts and two in tables.lasts
        invented = one in tables.products and two in tables.models
        return 2 if real or invented else 0

    def note(self, at: int) -> int:
        """`attribute: value` pairs, separated by semicolons."""
        start = at
        while self.word(at) in VALUES and self.word(at + 1) == ":":
            length = _longest(_tables().values[self.word(at)], self.words, at + 2)
            if not length:
                break
            self.notes.append((self.word(at), " ".join(self.words[at + 2 : at + 2 + length])))
            at += 2 + length
            if not (self.word(at) == ";" and self.word(at + 1) in VALUES):
                break
            at += 1
        return at - start

    def labels(self, at: int) -> int:
        """Attribute names joined by "and"."""
        if self.word(at) not in ATTRIBUTES:
            return 0
        length = 1
        while self.word(at + length) == "and" and self.word(at + length + 1) in ATTRIBUTES:
            length += 2
        return length

    def action(self, at: int) -> int:
        """A verb, its object, and perhaps an adjunct."""
        tables = _tables()
        for phrase in tables.verbs.get(self.word(at), ()):
            if tuple(self.words[at : at + len(phrase)]) == phrase:
                after = at + len(phrase)
                obj = _longest(tables.objects, self.words, after)
                if obj:
                    self.actions.append(" ".join(self.words[at : after + obj]))
                    return len(phrase) + obj + _longest(tables.adjuncts, self.words, after + obj)
        return 0

    def address(self, at: int) -> int:
        """Number, street and city, or an invented route and town."""
        tables = _tables()
        if self.slots[at] != "number":
            return 0
        street = _longest(tables.streets, self.words, at + 1)
        if street and self.word(at + 1 + street) == ",":
            city = _longest(tables.cities, self.words, at + 2 + street)
            return 2 + street + city if city else 0
        invented = self.word(at + 1) in tables.models and self.word(at + 2) == "Route" and self.word(at + 3) == ","
        return 5 if invented and self.word(at + 4) in tables.products else 0

    def item(self, at: int) -> int:
        """A service or tour, with or without its city in front."""
        tables = _tables()
        city = _longest(tables.cities, self.words, at)
        item = _longest(tables.items, self.words, at + city)
        return city + item if item else 0

    def salutation(self, at: int) -> int:
        """A greeting with a name and a comma."""
        for words in _SALUTATIONS:
            if at == 0 and tuple(self.words[: len(words)]) == words:
                length = self.name(len(words))
                if length and self.word(len(words) + length) == ",":
                    self.names.append(" ".join(self.words[len(words) : len(words) + length]))
                    return len(words) + length + 1
        return 0

    def greeting(self, at: int) -> int:
        """A greeting of a team, with its comma."""
        for words in _GREETINGS:
            if at == 0 and tuple(self.words[: len(words)]) == words and self.word(len(words)) == ",":
                return len(words) + 1
        return 0

    def slot(self, at: int) -> tuple[str, int]:
        """Name of the slot at a position and its number of words."""
        if at == len(_FREE_WORD) and tuple(self.words[:at]) == _FREE_WORD:
            return "WORD", 1
        for name, match in (
            ("SALUTATION", self.salutation),
            ("GREETING", self.greeting),
            ("NOTES", self.note),
            ("ACTION", self.action),
        ):
            if length := match(at):
                return name, length
        if length := self.name(at):
            self.names.append(" ".join(self.words[at : at + length]))
            return "PERSON", length
        if self.word(at) in _PLACEHOLDER_SLOTS:
            return _PLACEHOLDER_SLOTS[self.word(at)], 1
        if self.slots[at] in ("email", "phone", "reference"):
            return self.slots[at].upper(), 1
        for name, match in (("ADDRESS", self.address), ("ITEM", self.item), ("LABELS", self.labels)):
            if length := match(at):
                return name, length
        tables = _tables()
        if self.word(at) in MONTHS and self.slots[at + 1 : at + 2] == ["number"]:
            return "DATE", 2
        for name, table in (*tables.plain, ("CITY", tables.cities)):
            if length := _longest(table, self.words, at):
                return name, length
        if self.word(at) in tables.firsts:
            return "FIRST", 1
        return ("NUMBER", 1) if self.slots[at] == "number" else (self.word(at), 1)


@lru_cache(maxsize=20_000)
def mask(sentence: str) -> Masked:
    """A sentence with its slots named; spacing is dropped, every other character counts."""
    matches = list(_TOKEN.finditer(sentence))
    reader = _Reader([match.group() for match in matches], [match.lastgroup or "" for match in matches])
    parts: list[str] = []
    at = 0
    while at < len(reader.words):
        name, length = reader.slot(at)
        parts.append(name)
        at += length
    return Masked(" ".join(parts), tuple(reader.actions), tuple(reader.notes), tuple(reader.names))
