"""Who and what stands in for the people of a stranger's file: surrogates, made-up things, and never-trained twins.

Every value is made from a seed and its owner's id, so the same file gives the same stand-ins whatever the order. A
value that the file itself holds is never given out, nor one value to two owners of a type as long as there are enough.
"""

from __future__ import annotations

import bisect
import random
import re
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Literal

from aftertune.pii import _stand_in_values as values
from aftertune.pii._stand_in_names import HINTS, NAMES
from aftertune.pii.normal import fold
from aftertune.pii.people import People, StandIns, Taken
from aftertune.records import Person, seed_of

Kind = Literal["surrogate", "novelty", "twin", "canary"]
TRIES = 200
"""Attempts at a value that nobody has."""
CROWDED = (6, TRIES // 2)
"""Attempts after which a value is made that fewer can have."""
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


def _name(original: str, rng: random.Random, crowded: int) -> str:
    """Return a name of the same culture with as many words, first and last names in the same places.

    `crowded`: how many more family names the last one is made of, in one word: after a hyphen, `Ana Smith` would still
    stand in `Ana Smith-Jones`.
    """
    words = original.split()
    women, men, last = (column.split() for column in NAMES[culture_of(original)])
    known = [_listed().get(fold(word)) for word in words]
    gendered = next((hit[1] for hit in known if hit is not None and hit[1] < 2), rng.randrange(2))
    if known[0] is None and fold(words[0]).endswith("a"):
        gendered = 0
    first = men if gendered else women
    made = []
    for place, word in enumerate(words):
        alone = len(words) == 1
        family = place > 0 or (alone and known[0] is not None and known[0][1] == 2)
        if re.fullmatch(r"[^\W\d_]\.?", word):  # an initial
            made.append(rng.choice(last if family else first)[0] + word[1:])
        elif word.islower() and len(word) <= 3 and 0 < place < len(words) - 1:
            made.append(word)  # von, de, bin
        else:
            made.append(_alike(word, last if family else first, rng))
    for _ in range(crowded):
        made[-1] += fold(rng.choice(last))
    return " ".join(made)


def _alike(word: str, names: Sequence[str], rng: random.Random) -> str:
    """Return one of the names, of about the length of `word` (two letters either way) where there are a few."""
    near = [name for name in names if abs(len(name) - len(word)) <= 2]
    return rng.choice(near if len(near) >= 6 else names)


class Maker:
    """Makes stand-ins for the owners of one file.

    Args:
        people: Everybody whose values stand in the file, so that none of them is given out.
        seed: Fixes all stand-ins.
    """

    def __init__(self, people: Iterable[Person], seed: int) -> None:
        """Take note of every value that may not be given out."""
        self._seed = seed
        self._taken = Taken(people)
        self._names = People()

    def stand_in(self, person: Person, kind: Kind) -> Person:
        """Return the stand-in of an owner; a second value of theirs (`<owner>.2`) follows the first one's new name."""
        root = person.id.partition(".")[0]
        order = sorted(person.values, key=lambda type_: (type_ != "PERSON", type_))
        made: dict[str, str] = {}
        for type_ in order:
            names = self._names.values(f"{kind} {root}") if type_ != "PERSON" else {}
            made[type_] = self._value(person, type_, kind, (names["old"], names["new"]) if names else None)
            if type_ == "PERSON" and person.id == root:
                self._names.hold(f"{kind} {root}", {"old": person.values[type_], "new": made[type_]})
        return Person(f"{kind}-{person.id}", {type_: made[type_] for type_ in person.values})

    def _value(self, person: Person, type_: str, kind: Kind, renamed: tuple[str, str] | None) -> str:
        old = person.values[type_]
        new = old
        for attempt in range(TRIES):
            rng = random.Random(seed_of("stand-in", self._seed, kind, person.id, type_, attempt))
            crowded = bisect.bisect(CROWDED, attempt)
            if kind == "novelty":
                new = values.made_up(type_, old, rng)
            elif type_ == "PERSON":
                new = _name(old, rng, crowded)
            else:
                new = values.another(type_, old, rng, renamed, crowded > 1)
            if not self._taken.has(type_, new) and (kind == "novelty" or fold(new) != fold(old)):
                self._taken.add(type_, new)
                return new
        return new + str(len(self._taken)) if (type_, fold(new)) in self._originals(person) else new

    def _originals(self, person: Person) -> Collection[tuple[str, str]]:
        return {(type_, fold(value)) for type_, value in person.values.items()}


def assign(people: Sequence[Person], kind: Kind, seed: int) -> StandIns:
    """Return owner id -> stand-in, for every owner, in one pass; the same for the same people and seed."""
    maker = Maker(people, seed)
    return StandIns(people, People(maker.stand_in(person, kind) for person in people))


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
