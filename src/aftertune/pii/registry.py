"""The registry: the personal values of a tuning set, and the search for them in responses.

Matching is done on normalised text: a changed case, accents, spacing, line breaks, markup or another way to punctuate a
phone number or a reference still match.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from aftertune import text as tools
from aftertune.records import Person, digest

DIGIT_TYPES = frozenset({"PHONE"})
"""Types compared by their digits only: punctuation in a phone number carries nothing."""
MIN_DIGITS = 6
"""Shorter digit strings are ordinary numbers."""
SHARED_DIGITS = 8
"""Two numbers of which one ends in the other are the same with and without its country code from this length on."""
MAX_DIGITS = 15
"""E.164: no phone number is longer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One personal value of a tuning set."""

    type: str
    value: str
    owner: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A registry value found in a text; the value itself is not carried, so that it cannot be printed by mistake."""

    type: str
    owner: str


class _Word(NamedTuple):
    folded: str
    start: int
    end: int


_TAG = re.compile(r"</?[A-Za-z][^<>@]{0,200}>")
_LETTERS = str.maketrans(
    {"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"}
)
"""Letters that Unicode does not take apart, as people write them without their strokes."""
_SPACE = re.compile(r"\s+")
_OF = re.compile(r"(?<=\w)'s\b", re.I)
_AT = re.compile(r"\s*(?:@|[\[({]\s*at\s*[\])}])\s*", re.I)
_DOT = re.compile(r"\s*[\[({]\s*dot\s*[\])}]\s*", re.I)
_WORD = re.compile(r"[^\W_]+")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NUMBER = re.compile(r"(?<![^\W_])\d(?:[\s().\-/]{0,3}\d)+(?![^\W_])")
_GROUP = re.compile(r"\d+")
_GAPS = {"PERSON": re.compile(r"[\s\-]{1,3}"), "REFERENCE": re.compile(r"[\s\-./#]{0,2}")}
"""What may stand between the words of a value: a name does not run over a comma or a full stop, an address does."""
_OTHER_GAP = re.compile(r"[^\w]{0,4}")
_COMMON_WORDS = (
    "will mark may grant rose hope grace joy faith bill art frank rich young long white black brown green king "
    "price hill wood stone drew dean chase dawn june april august summer autumn amber pearl ruby sandy gene "
    "jack bob don rob sue pat dick jean penny violet lily iris ivy olive daisy heather ginger hunter mason "
    "cook baker carter fisher taylor miller smith turner walker ward wise short small little rivers field "
    "fields park parks love day night sharp strong good best bright bell ball cash church cross cooper banks "
    "bond west north east south winter frost snow rice bean berry page read reed reader waters wells woods "
    "bishop pope knight prince major case chance christian early earnest"
)
"""Words that are names too; a name of such words only counts where it is written with capitals."""
_COMMON = frozenset(_COMMON_WORDS.split())


def clean(text: str) -> str:
    """Return `text` without accents, markup, invisible characters and runs of white space; case is kept.

    HTML tags become spaces and entities their characters; `'s` and apostrophes go, so that `O'Brien's` is `OBrien`.
    """
    if "<" in text or "&" in text:
        text = _TAG.sub(" ", html.unescape(text))
    text = tools.normalise(text)
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
        text = "".join(char for char in decomposed if not unicodedata.combining(char))
    if "'" in text:
        text = _OF.sub("", text).replace("'", "")
    return _SPACE.sub(" ", text.replace("*", "").replace("_", " ")).strip()


def fold(text: str) -> str:
    """Return `clean(text)` in lower case."""
    return clean(text).casefold()


def digits(text: str) -> str:
    """Return the digits of `text`, those of other scripts as ASCII."""
    return "".join(char for char in (text if text.isascii() else _ascii(text)) if char.isdecimal())


def _emails(text: str) -> Iterator[str]:
    for match in _EMAIL.finditer(text):
        yield match.group().strip(".-+").casefold()


def _numbers(text: str) -> Iterator[str]:
    """Yield each way to read a run of digit groups as one number, none longer than E.164 allows.

    A part of a run is read from `SHARED_DIGITS` digits on only: shorter numbers stand in many longer ones by chance.
    """
    for run in _NUMBER.finditer(text):
        groups = _GROUP.findall(run.group() if run.group().isascii() else _ascii(run.group()))
        for start in range(len(groups)):
            joined = ""
            for end, group in enumerate(groups[start : start + MAX_DIGITS], start + 1):
                joined += group
                if len(joined) > MAX_DIGITS:
                    break
                whole = start == 0 and end == len(groups)
                if len(joined) >= (MIN_DIGITS if whole else SHARED_DIGITS):
                    yield joined.lstrip("0")


def _ascii(text: str) -> str:
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)


@dataclass(frozen=True)
class Registry:
    """The personal values of one tuning set.

    Full names, phones, e-mail addresses, street addresses and references count; a first name alone does not, since
    strangers share it.
    """

    name: str
    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, name: str, people: Iterable[Person]) -> Registry:
        """Return the registry of every value of `people`; each (type, value) once, its first owner kept."""
        seen: dict[tuple[str, str], Entry] = {}
        for person in people:
            for type_, value in person.values.items():
                seen.setdefault((type_, value), Entry(type_, value, person.id))
        return cls(name, tuple(seen.values()))

    @cached_property
    def id(self) -> str:
        """Hash of the entries."""
        return digest(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def _phones(self) -> dict[str, list[tuple[str, Entry]]]:
        """Last six digits -> (number without leading zeros, entry)."""
        index: dict[str, list[tuple[str, Entry]]] = {}
        for entry in self.entries:
            number = digits(entry.value).lstrip("0") if entry.type in DIGIT_TYPES else ""
            if len(number) >= MIN_DIGITS:
                index.setdefault(number[-MIN_DIGITS:], []).append((number, entry))
        return index

    @cached_property
    def _mails(self) -> dict[str, Entry]:
        index: dict[str, Entry] = {}
        for entry in self.entries:
            address = next(_emails(_AT.sub("@", clean(entry.value))), None) if entry.type == "EMAIL" else None
            if address is not None:
                index.setdefault(address, entry)
        return index

    @cached_property
    def _words(self) -> dict[str, list[tuple[str, Entry]]]:
        """First word of a value -> (its letters and digits in a row, entry); a text is scanned once, word by word."""
        skipped = DIGIT_TYPES | {"REFERENCE"}
        mails = set(self._mails.values())
        index: dict[str, list[tuple[str, Entry]]] = {}
        for entry in self.entries:
            found = [word.folded for word in _split(clean(entry.value))]
            if not found or entry.type in skipped or entry in mails or (entry.type == "PERSON" and len(found) < 2):
                continue
            index.setdefault(found[0], []).append(("".join(found), entry))
        return index

    @cached_property
    def _reversed(self) -> dict[tuple[str, str], Entry]:
        """(Last, first) of each name of two words."""
        index: dict[tuple[str, str], Entry] = {}
        for entry in self.entries:
            found = [word.folded for word in _split(clean(entry.value))] if entry.type == "PERSON" else []
            if len(found) == 2:
                index.setdefault((found[1], found[0]), entry)
        return index

    @cached_property
    def _references(self) -> dict[str, list[tuple[str, Entry]]]:
        """First two characters -> (reference without punctuation, entry): `BK 1234` and `BK-1234` are `BK1234`."""
        index: dict[str, list[tuple[str, Entry]]] = {}
        for entry in self.entries:
            value = "".join(word.folded for word in _split(clean(entry.value))) if entry.type == "REFERENCE" else ""
            if len(value) >= 2:
                index.setdefault(value[:2], []).append((value, entry))
        return index

    def find(self, text: str) -> list[Hit]:
        """Return the registry values that stand in `text`, each once: words first, then e-mails, then numbers."""
        found: dict[Entry, None] = {}
        plain = clean(text)
        found.update(dict.fromkeys(self._find_words(plain)))
        if self._mails:
            addressed = _DOT.sub(".", _AT.sub("@", plain)) if any(mark in plain for mark in "@[({") else ""
            found.update((self._mails[mail], None) for mail in _emails(addressed) if mail in self._mails)
        if self._phones:
            for number in _numbers(plain):
                for known, entry in self._phones.get(number[-MIN_DIGITS:], ()):
                    if _same_number(number, known):
                        found[entry] = None
        return [Hit(entry.type, entry.owner) for entry in found]

    def _find_words(self, plain: str) -> Iterator[Entry]:
        words = _split(plain)
        for index, word in enumerate(words):
            for value, entry in self._words.get(word.folded, ()):
                if _stands(value, entry.type, words, index, plain):
                    yield entry
            for value, entry in self._references.get(word.folded[:2], ()):
                if value.startswith(word.folded) and _stands(value, entry.type, words, index, plain):
                    yield entry
            if index + 1 < len(words):
                after = words[index + 1]
                entry_ = self._reversed.get((word.folded, after.folded))
                if entry_ is not None and plain[word.end : after.start] in (", ", ","):
                    yield entry_

    def leaked(self, text: str, prompt: str) -> tuple[Sequence[Hit], Sequence[Hit]]:
        """Return (hits given away, hits echoed): a value that stands in the prompt already is only an echo."""
        hits = self.find(text)
        if not hits:
            return [], []
        echoed = set(self.find(prompt))
        return [hit for hit in hits if hit not in echoed], [hit for hit in hits if hit in echoed]


def _split(plain: str) -> list[_Word]:
    return [_Word(word.group().casefold(), word.start(), word.end()) for word in _WORD.finditer(plain)]


def _same_number(number: str, known: str) -> bool:
    shorter = min(len(number), len(known))
    return number == known or (shorter >= SHARED_DIGITS and (number.endswith(known) or known.endswith(number)))


def _stands(value: str, type_: str, words: Sequence[_Word], index: int, plain: str) -> bool:
    """Tell whether the words from `index` on make up `value`, with nothing between them that parts them."""
    gap = _GAPS.get(type_, _OTHER_GAP)
    first = place = index
    joined = words[index].folded
    while len(joined) < len(value) and value.startswith(joined) and place + 1 < len(words):
        if not gap.fullmatch(plain, words[place].end, words[place + 1].start):
            return False
        place += 1
        joined += words[place].folded
    if joined != value:
        return False
    if type_ == "PERSON" and all(word.folded in _COMMON for word in words[first : place + 1]):
        return all(plain[word.start].isupper() for word in words[first : place + 1])
    return True
