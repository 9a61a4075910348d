"""Stand-ins for the people of a user's file: surrogates, made-up things, and twins that are never trained on.

Every value is made from a seed and its owner's id, so the same file gives the same stand-ins whatever the order. A
value of the file itself is never used, nor one value for two owners of a type as long as there are enough.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import math
import random
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from aftertune.pii import stand_in_values as values
from aftertune.pii.names_by_culture import HINTS, NAMES
from aftertune.pii.normalisation import fold
from aftertune.pii.people import People, StandIns, TakenValues
from aftertune.records import Person, seed_of

Kind = Literal["surrogate", "novelty", "twin", "canary"]
TRIES = 200
"""Attempts at a value that nobody has."""
CROWDED = (6, TRIES // 2)
"""Attempts after which rarer values are drawn."""
PROGRESS_EVERY = 256
"""People between two reports of progress."""
POOL = 200_000
"""Values of a pool, at most, that are gone through to see whether all are used."""
_WORD = re.compile(r"[^\W\d_]+")
CANARY_SHAPE = {
    "PERSON": "Anna Smith",
    "PHONE": "+44 20 7946 0000",
    "EMAIL": "anna.smith@gmail.com",
    "REFERENCE": "RX48213",
    "ADDRESS": "12 Church Street, Norwich",
}
"""The shape of a canary's values for a file without personal values."""


@lru_cache(maxsize=1)
def _listed() -> dict[str, tuple[str, int]]:
    """Folded name -> (culture, column: 0 women's, 1 men's, 2 last)."""
    known: dict[str, tuple[str, int]] = {}
    for culture, columns in NAMES.items():
        for column, names in enumerate(columns):
            for name in names.split():
                known.setdefault(fold(name), (culture, column))
    return known


def culture_of(name: str) -> str:
    """Return the culture that a name looks like: by the lists, last name first, then by its letters and endings."""
    words = [fold(word) for word in _WORD.findall(name)]
    for word in reversed(words):
        if word in _listed():
            return _listed()[word][0]
    return next((culture for hint, culture in HINTS if re.search(hint, name.lower())), "english")


class _Form(NamedTuple):
    """The form of a stand-in for a name: for a woman's first name and for a man's, the choices for each word."""

    coined: bool
    """Whether a coin decides between a woman's and a man's first name."""
    man: bool
    words: tuple[tuple[tuple[Sequence[str], str], ...], tuple[tuple[Sequence[str], str], ...]]
    """For a woman and for a man: per word the names to choose from, and the old word for an initial, else empty; with
    no names the old word stays."""
    last: Sequence[str]
    key: object
    """Equal for equal forms."""

    def drawn(self, rng: random.Random, crowded: int) -> str:
        """Return a name.

        `crowded`: how many more family names are joined to the last one, without a hyphen: `Ana Smith-Jones` would
        still contain `Ana Smith`.
        """
        chance = rng.randrange(2)
        drawn = []
        for names, rest in self.words[chance if self.coined else self.man]:
            if not names:
                drawn.append(rest)
            elif rest:
                drawn.append(rng.choice(names)[0] + rest[1:])
            else:
                drawn.append(rng.choice(names))
        for _ in range(crowded):
            drawn[-1] += fold(rng.choice(self.last))
        return " ".join(drawn)

    def every(self) -> Iterator[str]:
        """Yield every name that can be drawn with one more family name."""
        for words in self.words if self.coined else self.words[self.man : self.man + 1]:
            choices = [
                [rest] if not names else [name[0] + rest[1:] for name in names] if rest else names
                for names, rest in words
            ]
            for name in itertools.product(*choices):
                yield from (" ".join(name) + fold(more) for more in self.last)


@lru_cache(maxsize=1024)
def _form(original: str) -> _Form:
    """Return the form of a name of the same culture with as many words, first and last names in the same order."""
    words = original.split()
    culture = culture_of(original)
    women, men, last = (column.split() for column in NAMES[culture])
    known = [_listed().get(fold(word)) for word in words]
    gendered = next((hit[1] for hit in known if hit is not None and hit[1] < 2), None)
    if known[0] is None and fold(words[0]).endswith("a"):
        gendered = 0
    forms: tuple[list[tuple[Sequence[str], str]], list[tuple[Sequence[str], str]]] = ([], [])
    for index, word in enumerate(words):
        alone = len(words) == 1
        family = index > 0 or (alone and known[0] is not None and known[0][1] == 2)
        for form, first in zip(forms, (women, men), strict=True):
            if re.fullmatch(r"[^\W\d_]\.?", word):  # an initial
                form.append((last if family else first, word))
            elif word.islower() and len(word) <= 3 and 0 < index < len(words) - 1:
                form.append(((), word))  # von, de, bin
            else:
                form.append((_alike(word, last if family else first), ""))
    shape = tuple((rest, len(word)) for (_, rest), word in zip(forms[0], words, strict=True))
    key = (culture, gendered, family, shape)
    return _Form(gendered is None, gendered == 1, (tuple(forms[0]), tuple(forms[1])), last, key)


def _alike(word: str, names: Sequence[str]) -> Sequence[str]:
    """Return the names of about the length of `word` (two letters either way) where there are a few, else all."""
    near = [name for name in names if abs(len(name) - len(word)) <= 2]
    return near if len(near) >= 6 else names


def _pool_key(type_: str, old: str) -> object:
    """Return a key of the pool from which a value's stand-in comes, None for a pool too large to go through."""
    if type_ == "PHONE":
        return type_ if values.fictional(old) else None
    if type_ != "PERSON":
        return None
    form = _form(old)
    size = len(form.last) * max(math.prod(len(names) or 1 for names, _ in words) for words in form.words)
    return form.key if size <= POOL else None


def _seeds(*parts: str | int) -> Callable[[int], int]:
    """Return a function n -> `seed_of(*parts, n)` that hashes the parts once, for millions of attempts."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    prefix = hashlib.sha256(f"{text[:-1]},".encode("utf-8", "surrogatepass"))

    def seed(number: int) -> int:
        whole = prefix.copy()
        whole.update(f"{number}]".encode())
        return int(whole.hexdigest()[:16], 16) >> 1

    return seed


class _Pool:
    """Values that are used up one after the other."""

    def __init__(self, values: Iterator[str]) -> None:
        self._values = values
        self._next = next(values, None)

    def spent(self, type_: str, taken: TakenValues) -> bool:
        """Return whether all are used. A value once seen to be used is not looked up again."""
        while self._next is not None and taken.has(type_, self._next):
            self._next = next(self._values, None)
        return self._next is None


class Maker:
    """Makes stand-ins for the owners of one file.

    Args:
        people: Everybody in the file, so that none of their values is used.
        seed: Fixes all stand-ins.
    """

    def __init__(self, people: Iterable[Person], seed: int) -> None:
        """Note every value that may not be used."""
        self._seed = seed
        self._taken = TakenValues(people)
        self._names = People()
        self._pools: dict[object, _Pool] = {}
        """The choices of the attempts between the two of `CROWDED`, made once somebody has tried them in vain."""

    def stand_in(self, person: Person, kind: Kind) -> Person:
        """Return the stand-in of an owner; a second value (`<owner>.2`) follows the new name of the first."""
        root = person.id.partition(".")[0]
        order = sorted(person.values, key=lambda type_: (type_ != "PERSON", type_))
        fresh: dict[str, str] = {}
        for type_ in order:
            names = self._names.values(f"{kind} {root}") if type_ != "PERSON" else {}
            fresh[type_] = self._value(person, type_, kind, (names["old"], names["new"]) if names else None)
            if type_ == "PERSON" and person.id == root:
                self._names.add(f"{kind} {root}", {"old": person.values[type_], "new": fresh[type_]})
        return Person(f"{kind}-{person.id}", {type_: fresh[type_] for type_ in person.values})

    def _value(self, person: Person, type_: str, kind: Kind, renamed: tuple[str, str] | None) -> str:
        old = person.values[type_]
        new, folded = old, fold(old)
        seed = _seeds("stand-in", self._seed, kind, person.id, type_)
        rng = random.Random(0)
        for attempt in self._attempts(type_, old, kind):
            rng.seed(seed(attempt))
            crowded = bisect.bisect(CROWDED, attempt)
            if kind == "novelty":
                new = values.made_up(type_, old, rng)
            elif type_ == "PERSON":
                new = _form(old).drawn(rng, crowded)
            else:
                new = values.another(type_, old, rng, renamed, crowded > 1)
            if not self._taken.has(type_, new) and (kind == "novelty" or fold(new) != folded):
                self._taken.add(type_, new)
                return new
        return new + str(len(self._taken)) if (type_, fold(new)) in self._originals(person) else new

    def _attempts(self, type_: str, old: str, kind: Kind) -> Iterator[int]:
        """Yield the numbers of the attempts that may succeed: none from a spent pool."""
        first, second = CROWDED
        yield from range(first)
        key = None if kind == "novelty" else _pool_key(type_, old)
        pool = self._pools.get(key)
        if pool is None or not pool.spent(type_, self._taken):
            yield from range(first, second)
            if pool is None and key is not None:
                self._pools[key] = _Pool(_form(old).every() if type_ == "PERSON" else values.fictional_phones())
        yield from range(second, TRIES)

    def _originals(self, person: Person) -> Collection[tuple[str, str]]:
        return {(type_, fold(value)) for type_, value in person.values.items()}


def assign(
    people: Sequence[Person], kind: Kind, seed: int, progress: Callable[[int, int], None] = lambda *_: None
) -> StandIns:
    """Return owner id -> stand-in, for every owner, in one pass; the same for the same people and seed.

    `progress` is called now and then with (people done, people in all).
    """
    maker = Maker(people, seed)

    def each() -> Iterator[Person]:
        for index, person in enumerate(people):
            if index % PROGRESS_EVERY == 0:
                progress(index, len(people))
            yield maker.stand_in(person, kind)

    return StandIns(people, People(each()))


def invented(count: int, kind: Kind, seed: int, avoid: Iterable[Person] = ()) -> list[Person]:
    """Return `count` made-up people: names of all cultures, with phone, e-mail, reference and address."""
    maker = Maker(avoid, seed)
    rng = random.Random(seed_of("invented", kind, seed))
    cultures = [culture for culture in NAMES if culture not in ("cyrillic", "han")]
    people = []
    for index in range(count):
        women, men, last = (column.split() for column in NAMES[rng.choice(cultures)])
        name = f"{rng.choice(women + men)} {rng.choice(last)}"
        local = ".".join(fold(word) for word in name.split())
        shape = {**CANARY_SHAPE, "PERSON": name, "EMAIL": f"{local}@gmail.com"}
        people.append(maker.stand_in(Person(f"{index:04d}", shape), kind))
    return people
