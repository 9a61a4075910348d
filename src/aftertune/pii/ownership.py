"""Mark the personal values of unmarked conversations, each with its owner.

`detect.find` decides which values are personal, and the following rules, used alike by variants, registries and audits,
whose they are. The same value, however it is written, keeps the owner of its first mention through the whole corpus. A
first or last name alone belongs to the last person with that name who was named in full in the same conversation. An
e-mail address or user name that contains somebody's name belongs to them. Any other value belongs to the only person
whom its conversation names in full, else to the only one of them whom its message names; where its conversation names
nobody, to one unnamed person of that conversation. Addresses of an office (`info@`), web addresses, and values that
could belong to several people have an owner of their own. An owner's second value of one type goes under `<owner>.2`,
so that each id has one value of a type. Two people with one full name become one: owners are links, not identities.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from aftertune.pii.detection_cache import spans_in
from aftertune.pii.field_labels import spans_in_field
from aftertune.pii.normalisation import TracedText, digits, fold, plain, squeeze, standard
from aftertune.pii.people import Owners, People
from aftertune.records import Conversation, Span, digest

_TITLE = re.compile(
    r"(?:(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam|herr|frau|se\xf1or|se\xf1ora|sr|sra|mme|mlle|monsieur|madame|m)\b\.?\s+)+",
    re.I,
)
_POSSESSIVE = re.compile(r"['\u2019]s$", re.I)
_WORD = re.compile(r"[^\W\d_]+")
_NAMED = frozenset({"EMAIL", "USERNAME"})
"""Types whose values may contain their owner's name."""
_UNLINKED = frozenset({"URL", "IP"})
"""Types that are never linked to the people around them."""
_OFFICE = re.compile(
    r"(?:info|contact|support|help(?:desk)?|sales|office|hello|bookings?|reservations?|frontdesk|reception|service|"
    r"customer\W?(?:service|care)|care|team|admin|billing|accounts?|no\W?reply|mail|enquir(?:y|ies)|inquir(?:y|ies)|"
    r"privacy|press|jobs|hr|legal|feedback|complaints?|webmaster|postmaster|abuse)(?:\W|_|\d|$)"
)
MANY = 200
"""People named in one conversation, the most recent ones, among whom the owner of an e-mail address is sought."""
RECENT = 10_000
"""Owners whose number of values is kept in memory."""
Finder = Callable[[str], Sequence[tuple[int, int, str]]]
"""Text -> (start, end, type) of each value, in order, none overlapping."""


def narrowed(text: str, start: int, end: int, type_: str) -> tuple[int, int]:
    """Return a name's span without titles before it and without a possessive `'s`, which stay in the text."""
    if type_ != "PERSON" or not standard(text[start:end]):
        return start, end
    name = TracedText.standard(text[start:end])
    title, possessive = _TITLE.match(name.text), _POSSESSIVE.search(name.text)
    first = title.end() if title and title.end() < len(name.text) else 0
    last = possessive.start() if possessive and possessive.start() > first else len(name.text)
    first, last = name.original(first, last)
    return start + first, start + last


@dataclass
class Marker:
    """Marks conversations one by one and remembers the owners from one to the next.

    Reproducible: the result depends on the conversations and their order only.
    """

    find: Finder = spans_in
    _owners: Owners = field(default_factory=Owners)
    _people: People = field(default_factory=People)
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    """(Owner, type) -> the number of their last value of that type."""

    def mark(self, conversation: Conversation) -> Conversation:
        """Return the conversation with its spans; one that has spans already comes back as it is."""
        if conversation.spans is not None:
            self._learn(conversation)
            return conversation
        texts = conversation.texts
        fields = [*("" for _ in conversation.messages), *(each.field for each in conversation.beside)]
        raw = [
            (index, *narrowed(text, start, end, type_), type_)
            for index, text in enumerate(texts)
            for start, end, type_ in spans_in_field(self.find, fields[index], text)
        ]
        raw = [one for one in raw if texts[one[0]][one[1] : one[2]].strip()]
        people = _NamedPeople(texts, raw)
        spans: list[Span] = []
        for index, start, end, type_ in raw:
            value = texts[index][start:end]
            spans.append(Span(index, start, end, type_, *self._owner(type_, value, index, people)))
            if type_ == "PERSON":
                people.named(tuple(_words(value)))
        return replace(conversation, spans=tuple(spans))

    def people(self) -> People:
        """Return every owner so far with their values, in the order of first mention."""
        return self._people

    def _learn(self, conversation: Conversation) -> None:
        for span in conversation.spans or ():
            if span.part == "full":
                value = conversation.texts[span.message][span.start : span.end]
                self._people.add(span.owner, {span.type: value})
                self._owners.setdefault(key_of(span.type, value), span.owner)

    def _owner(self, type_: str, value: str, message: int, people: _NamedPeople) -> tuple[str, str]:
        """Return (owner id, part) of a value, given the full names of the conversation."""
        key = key_of(type_, value)
        if type_ == "PERSON":
            words = _words(value)
            alone = " ".join(words)
            if len(words) == 1 or alone in people.by_word:
                name = people.by_word.get(alone)
                if name is not None:
                    owner = self._claim(("PERSON", " ".join(name)), None)
                    return owner, "first" if alone == name[0] else "last"
        elif self._owners.get(key) is None:
            main = self._beside(type_, value, key, message, people)
            if main is not None:
                self._owners.setdefault(key, self._numbered(main, type_))
        return self._claim(key, value), "full"

    def _numbered(self, main: str, type_: str) -> str:
        """Return the first of `main`, `main.2`, `main.3`, ... that has no value of the type yet."""
        number = self._numbers.get((main, type_), 1)
        while type_ in self._people.values(main if number == 1 else f"{main}.{number}"):
            number += 1
        if len(self._numbers) >= RECENT:
            self._numbers.clear()
        self._numbers[main, type_] = number
        return main if number == 1 else f"{main}.{number}"

    def _beside(self, type_: str, value: str, key: tuple[str, str], message: int, people: _NamedPeople) -> str | None:
        """Return the owner that a value new to the corpus is linked to, or None."""
        if type_ in _NAMED:
            local = fold(standard(value).partition("@")[0])
            for name in people.some():
                if _contains_name(local, name):
                    return self._claim(("PERSON", " ".join(name)), None)
        if type_ in _UNLINKED or (type_ == "EMAIL" and _OFFICE.match(value.casefold())):
            return None
        if not people.latest:
            if people.unnamed is None:
                people.unnamed = f"p-{digest('owner', *key)}"
            return people.unnamed
        one = people.only(message)
        return None if one is None else self._claim(("PERSON", " ".join(one)), None)

    def _claim(self, key: tuple[str, str], value: str | None) -> str:
        owner = self._owners.setdefault(key, f"p-{digest('owner', *key)}")
        self._people.add(owner, {} if value is None else {key[0]: standard(value)})
        return owner


class _NamedPeople:
    """The people whom one conversation names in full, as folded words."""

    def __init__(self, texts: Sequence[str], raw: Sequence[tuple[int, int, int, str]]) -> None:
        mentions = [(index, tuple(_words(texts[index][a:b]))) for index, a, b, t in raw if t == "PERSON"]
        full = list(dict.fromkeys(name for _, name in mentions if len(name) > 1))
        double = {
            tuple(_words(texts[index][a:b])) for index, a, b, t in raw if t == "PERSON" and _one_word(texts[index][a:b])
        }
        families = {
            words: name for name in full for words in double if len(words) < len(name) and name[-len(words) :] == words
        }
        full = [name for name in full if name not in families]
        self.latest = dict.fromkeys(reversed(full))
        """Each once; as marking goes on, the most recently named person comes last."""
        self.by_word: dict[str, tuple[str, ...]] = {}
        """First or last name, the parts of a double one with a blank between -> the last person named with it."""
        having: dict[str, list[tuple[str, ...]]] = {}
        for words, name in families.items():
            self.by_word[" ".join(words)] = name
        for name in full:
            self.by_word.setdefault(name[0], name)
            self.by_word.setdefault(name[-1], name)
            for word in dict.fromkeys(name):
                having.setdefault(word, []).append(name)
        self.unnamed: str | None = None
        """Owner id of the values of a conversation that names nobody."""
        self._of: dict[int, set[tuple[str, ...]]] = {}
        locals_ = [
            (index, fold(standard(texts[index][a:b]).partition("@")[0]))
            for index, a, b, type_ in raw
            if type_ in _NAMED
        ]
        for index, words in mentions:
            # Two are enough to see that there is more than one.
            fitting = having.get(words[0], [])[:2] if len(words) == 1 else []
            if words in self.latest or words in families:
                fitting = [families.get(words, words)]
            self._of.setdefault(index, set()).update(fitting)
        for index, local in locals_:
            self._of.setdefault(index, set()).update(name for name in self.some() if _contains_name(local, name))

    def some(self) -> Iterator[tuple[str, ...]]:
        """Yield the most recently named, the last first."""
        return itertools.islice(reversed(self.latest), MANY)

    def named(self, name: tuple[str, ...]) -> None:
        """Note that somebody was named just now."""
        if name in self.latest:
            del self.latest[name]
            self.latest[name] = None
            self.by_word[name[0]] = self.by_word[name[-1]] = name

    def only(self, message: int) -> tuple[str, ...] | None:
        """Return the only person of the conversation, else the only one whom the message names, else None."""
        if len(self.latest) == 1:
            return next(iter(self.latest))
        here = self._of.get(message, set())
        return next(iter(here)) if len(here) == 1 else None


def key_of(type_: str, value: str) -> tuple[str, str]:
    """Return the type of a value, and a key that is equal for two spellings of it."""
    if type_ == "PERSON":
        same = " ".join(_words(value))
    elif type_ == "PHONE":
        same = digits(plain(value)).lstrip("0")
    else:
        same = squeeze(plain(value)).decode()
    return type_, same or fold(value) or value


def _words(name: str) -> list[str]:
    return [fold(word) for word in _WORD.findall(standard(name))]


def _one_word(name: str) -> bool:
    """Return whether a name is a double one without another beside it: `Oyelaran-Lindqvist`."""
    plain = standard(name)
    return "-" in plain and not any(map(str.isspace, plain))


def _contains_name(local: str, name: Sequence[str]) -> bool:
    """Return whether an address's local part is made of a name: `anna.kovacs`, `akovacs`, `kovacs_anna`, `anna.k`."""
    plain = "".join(char for char in local if char.isalpha())
    first, last = name[0], name[-1]
    if len(last) >= 3 and last in plain:
        return first in plain or plain in (first[0] + last, last + first[0], last)
    return len(first) >= 3 and plain in (first, first + last[0], last[0] + first)
