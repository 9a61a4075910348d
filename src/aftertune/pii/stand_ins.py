"""Who and what stands in for the people of a stranger's file: surrogates, made-up things, and never-trained twins.

Every value is made from a seed and its owner's id, so the same file gives the same stand-ins whatever the order. A
value that the file itself holds is never given out, nor one value to two owners of a type as long as there are enough.
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
"""Attempts after which a value is made that fewer can have."""
PROGRESS_EVERY = 256
"""People between two words on how far things are."""
POOL = 200_000
"""Values of a pool, at most, that are gone through to see whether all of them are given out."""
_WORD = re.compile(r"[^\W\d_]+")
CANARY_SHAPE = {"PERSON": "Anna Smith", "PHONE": "+44 20 7946 0000", "EMAIL": "anna.smith@gmail.com",
                "REFERENCE": "RX48213", "ADDRESS": "12 Church Street, Norwich"}  # fmt: skip
"""What a canary of a file without personal values looks like."""


@lru_cache(maxsize=1)
def _listed() -> dict[str, tuple[str, int]]:
    """Folded name -> (culture, column: 0 women's, 1 men's, 2 last)."""
    found: dict[str, tuple[str, int]] = {}
    for culture, columns in NAMES.items():
        for column, names in enumerate(columns):
            for name in names.split():
                found.setdefault(fold(name), (culture, column))
    return found


def culture_of(name: str) -> str:
    """Return the culture that a name looks like: by the lists, last name first, then by its letters and endings."""
    words = [fold(word) for word in _WORD.findall(name)]
    for word in reversed(words):
        if word in _listed():
            return _listed()[word][0]
    return next((culture for hint, culture in HINTS if re.search(hint, name.lower())), "english")


class _Form(NamedTuple):
    """What a stand-in for a name is made of: for a woman's first name and for a man's, the choices for each word."""

    coined: bool
    """Whether it is left to chance whose first name it is."""
    man: bool
    words: tuple[tuple[tuple[Sequence[str], str], ...], tuple[tuple[Sequence[str], str], ...]]
    """For a woman and for a man: per word the names to choose from, and what of the old word follows the first letter
    of an initial; no names: the old word stays."""
    last: Sequence[str]
    key: object
    """Equal for two forms that are equal."""

    def drawn(self, rng: random.Random, crowded: int) -> str:
        """Return a name.

        `crowded`: how many more family names the last one is made of, in one word: after a hyphen, `Ana Smith` would
        still stand in `Ana Smith-Jones`.
        """
        chance = rng.randrange(2)
        made = []
        for names, rest in self.words[chance if self.coined else self.man]:
            if not names:
                made.append(rest)
            elif rest:
                made.append(rng.choice(names)[0] + rest[1:])
            else:
                made.append(rng.choice(names))
        for _ in range(crowded):
            made[-1] += fold(rng.choice(self.last))
        return " ".join(made)

    def every(self) -> Iterator[str]:
        """Yield every name that may be drawn with one more family name."""
        for words in self.words if self.coined else self.words[self.man : self.man + 1]:
            choices = [
                [rest] if not names else [name[0] + rest[1:] for name in names] if rest else names
                for names, rest in words
            ]
            for made in itertools.product(*choices):
                yield from (" ".join(made) + fold(more) for more in self.last)


@lru_cache(maxsize=1024)
def _form(original: str) -> _Form:
    """Return the form of a name of the same culture with as many words, first and last names in the same places."""
    words = original.split()
    culture = culture_of(original)
    women, men, last = (column.split() for column in NAMES[culture])
    known = [_listed().get(fold(word)) for word in words]
    gendered = next((hit[1] for hit in known if hit is not None and hit[1] < 2), None)
    if known[0] is None and fold(words[0]).endswith("a"):
        gendered = 0
    made: tuple[list[tuple[Sequence[str], str]], list[tuple[Sequence[str], str]]] = ([], [])
    for place, word in enumerate(words):
        alone = len(words) == 1
        family = place > 0 or (alone and known[0] is not None and known[0][1] == 2)
        for form, first in zip(made, (women, men), strict=True):
            if re.fullmatch(r"[^\W\d_]\.?", word):  # an initial
                form.append((last if family else first, word))
            elif word.islower() and len(word) <= 3 and 0 < place < len(words) - 1:
                form.append(((), word))  # von, de, bin
            else:
                form.append((_alike(word, last if family else first), ""))
    shape = tuple((rest, len(word)) for (_, rest), word in zip(made[0], words, strict=True))
    key = (culture, gendered, family, shape)
    return _Form(gendered is None, gendered == 1, (tuple(made[0]), tuple(made[1])), last, key)


def _alike(word: str, names: Sequence[str]) -> Sequence[str]:
    """Return the names of about the length of `word` (two letters either way) where there are a few, else all."""
    near = [name for name in names if abs(len(name) - len(word)) <= 2]
    return near if len(near) >= 6 else names


def _pool_key(type_: str, old: str) -> object:
    """Return what two values share whose stand-ins come from one pool of a size that can be gone through, or None."""
    if type_ == "PHONE":
        return type_ if values.fictional(old) else None
    if type_ != "PERSON":
        return None
    form = _form(old)
    size = len(form.last) * max(math.prod(len(names) or 1 for names, _ in words) for words in form.words)
    return form.key if size <= POOL else None


def _seeds(*parts: str | int) -> Callable[[int], int]:
    """Return a function n -> `seed_of(*parts, n)` that hashes the parts once: there are millions of attempts."""
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    begun = hashlib.sha256(f"{text[:-1]},".encode("utf-8", "surrogatepass"))

    def seed(number: int) -> int:
        whole = begun.copy()
        whole.update(f"{number}]".encode())
        return int(whole.hexdigest()[:16], 16) >> 1

    return seed


class _Pool:
    """Values of which one after the other is given out; those given out stay so."""

    def __init__(self, values: Iterator[str]) -> None:
        self._values = values
        self._next = next(values, None)

    def spent(self, type_: str, taken: TakenValues) -> bool:
        """Tell whether all are given out. Each value is looked up once until it is."""
        while self._next is not None and taken.has(type_, self._next):
            self._next = next(self._values, None)
        return self._next is None


class Maker:
    """Makes stand-ins for the owners of one file.

    Args:
        people: Everybody whose values stand in the file, so that none of them is given out.
        seed: Fixes all stand-ins.
    """

    def __init__(self, people: Iterable[Person], seed: int) -> None:
        """Take note of every value that may not be given out."""
        self._seed = seed
        self._taken = TakenValues(people)
        self._names = People()
        self._pools: dict[object, _Pool] = {}
        """What the attempts between the two of `CROWDED` choose from, known once somebody has tried them in vain."""

    def stand_in(self, person: Person, kind: Kind) -> Person:
        """Return the stand-in of an owner; a second value of theirs (`<owner>.2`) follows the first one's new name."""
        root = person.id.partition(".")[0]
        order = sorted(person.values, key=lambda type_: (type_ != "PERSON", type_))
        made: dict[str, str] = {}
        for type_ in order:
            names = self._names.values(f"{kind} {root}") if type_ != "PERSON" else {}
            made[type_] = self._value(person, type_, kind, (names["old"], names["new"]) if names else None)
            if type_ == "PERSON" and person.id == root:
                self._names.add(f"{kind} {root}", {"old": person.values[type_], "new": made[type_]})
        return Person(f"{kind}-{person.id}", {type_: made[type_] for type_ in person.values})

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
        """Yield the numbers of the attempts that may succeed: where a pool is spent, those from it are left out."""
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

    `progress` is progress now and then how many are done, and of how many.
    """
    maker = Maker(people, seed)

    def made() -> Iterator[Person]:
        for place, person in enumerate(people):
            if place % PROGRESS_EVERY == 0:
                progress(place, len(people))
            yield maker.stand_in(person, kind)

    return StandIns(people, People(made()))


def invented(count: int, kind: Kind, seed: int, avoid: Iterable[Person] = ()) -> list[Person]:
    """Return `count` people who stand in no file: names of all cultures, with phone, e-mail, reference and address."""
    maker = Maker(avoid, seed)
    rng = random.Random(seed_of("invented", kind, seed))
    cultures = [culture for culture in NAMES if culture not in ("cyrillic", "han")]
    made = []
    for index in range(count):
        women, men, last = (column.split() for column in NAMES[rng.choice(cultures)])
        name = f"{rng.choice(women + men)} {rng.choice(last)}"
        local = ".".join(fold(word) for word in name.split())
        shape = {**CANARY_SHAPE, "PERSON": name, "EMAIL": f"{local}@gmail.com"}
        made.append(maker.stand_in(Person(f"{index:04d}", shape), kind))
    return made
