"""Owners and their values in a temporary database, so that a corpus of any size is marked and changed in little memory.

SQLite keeps the first megabytes in memory and the rest in a file without a name on disk, which is gone when the process
ends, however it ends.
"""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from aftertune.pii.matcher import DIGIT_TYPES, MIN_DIGITS, SHARED_DIGITS
from aftertune.pii.normalisation import digits, fold, plain
from aftertune.records import Person

CACHE = 16
"""MiB of a database that stay in memory."""
RECENT = 2_000
"""People kept in memory."""


class _Temporary(sqlite3.Connection):
    """A connection that closes when nothing refers to it, as Python 3.13 wants it said."""

    def __del__(self) -> None:
        self.close()


def database(*tables: str) -> sqlite3.Connection:
    """Return a temporary database with these tables; nothing of it outlives the process."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False, factory=_Temporary)
    for line in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE * 1024}", "temp_store = FILE"):
        connection.execute(f"PRAGMA {line}")
    for table in tables:
        connection.execute(f"CREATE TABLE {table}")
    connection.execute("BEGIN")
    return connection


class People(Sequence[Person]):
    """People in the order in which they were added; each id once, each value in the order of its addition."""

    def __init__(self, people: Iterable[Person] = ()) -> None:
        """Begin with these."""
        self._db = database("person (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, vals TEXT NOT NULL)")
        self._count = 0
        self._recent: OrderedDict[str, tuple[int, dict[str, str]]] = OrderedDict()
        for person in people:
            self.add(person.id, person.values)

    def add(self, ident: str, values: Mapping[str, str]) -> None:
        """Add a person, or to a known one the values of types that they lack."""
        entry = self._entry(ident)
        if entry is None:
            self._db.execute("INSERT INTO person VALUES (?, ?, ?)", (self._count, ident, _dump(values)))
            self._keep(ident, (self._count, dict(values)))
            self._count += 1
            return
        position, known = entry
        if more := {type_: value for type_, value in values.items() if type_ not in known}:
            known.update(more)
            self._db.execute("UPDATE person SET vals = ? WHERE n = ?", (_dump(known), position))

    def values(self, ident: str) -> Mapping[str, str]:
        """Return a person's values, none of somebody unknown."""
        entry = self._entry(ident)
        return {} if entry is None else entry[1]

    def position(self, ident: str) -> int:
        """Return how many people were added before this one. Raises KeyError for somebody unknown."""
        entry = self._entry(ident)
        if entry is None:
            raise KeyError(ident)
        return entry[0]

    def _entry(self, ident: str) -> tuple[int, dict[str, str]] | None:
        if ident in self._recent:
            self._recent.move_to_end(ident)
            return self._recent[ident]
        row = self._db.execute("SELECT n, vals FROM person WHERE id = ?", (ident,)).fetchone()
        if row is None:
            return None
        self._keep(ident, (row[0], json.loads(row[1])))
        return self._recent[ident]

    def _keep(self, ident: str, entry: tuple[int, dict[str, str]]) -> None:
        self._recent[ident] = entry
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Person]:
        for ident, values in self._db.execute("SELECT id, vals FROM person ORDER BY n"):
            yield Person(ident, json.loads(values))

    @overload
    def __getitem__(self, index: int) -> Person: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Person]: ...

    def __getitem__(self, index: int | slice) -> Person | Sequence[Person]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        row = self._db.execute(
            "SELECT id, vals FROM person WHERE n = ?", (index + len(self) if index < 0 else index,)
        ).fetchone()
        if row is None:
            raise IndexError(index)
        return Person(row[0], json.loads(row[1]))


class Owners:
    """(Type, key of a value) -> the id of its owner, the first that was set."""

    def __init__(self) -> None:
        """Begin empty."""
        self._db = database("owner (type TEXT, key TEXT, id TEXT, PRIMARY KEY (type, key)) WITHOUT ROWID")

    def get(self, key: tuple[str, str]) -> str | None:
        """Return the owner of a value, None for a new one."""
        row = self._db.execute("SELECT id FROM owner WHERE type = ? AND key = ?", key).fetchone()
        return None if row is None else str(row[0])

    def setdefault(self, key: tuple[str, str], owner: str) -> str:
        """Return the owner of a value: `owner` where it is new."""
        known = self.get(key)
        if known is None:
            self._db.execute("INSERT INTO owner VALUES (?, ?, ?)", (*key, owner))
        return owner if known is None else known


class TakenValues:
    """Values that no stand-in may get, compared as text; phones by the digits in which two of them must differ."""

    def __init__(self, people: Iterable[Person]) -> None:
        """Begin with everybody's values."""
        self._db = database("taken (type TEXT, value TEXT, PRIMARY KEY (type, value)) WITHOUT ROWID")
        self._count = 0
        self._add(_compared(*item) for person in people for item in person.values.items())

    def _add(self, keys: Iterable[tuple[str, str]]) -> None:
        self._count += self._db.executemany("INSERT OR IGNORE INTO taken VALUES (?, ?)", keys).rowcount

    def add(self, type_: str, value: str) -> None:
        """Add one more."""
        self._add([_compared(type_, value)])

    def has(self, type_: str, value: str) -> bool:
        """Return whether a value is among them."""
        ask = "SELECT 1 FROM taken WHERE type = ? AND value = ?"
        return self._db.execute(ask, _compared(type_, value)).fetchone() is not None

    def __len__(self) -> int:
        return self._count


class StandIns(Mapping[str, Person]):
    """Owner id -> their stand-in: the n-th of `strangers` for the n-th of `people`, read on demand."""

    def __init__(self, people: Sequence[Person], strangers: Sequence[Person]) -> None:
        """Pair them; there are as many strangers as people, or more."""
        self.strangers = strangers
        self._people = people if isinstance(people, People) else People(people)
        self._recent: OrderedDict[str, Person] = OrderedDict()

    def __getitem__(self, owner: str) -> Person:
        if owner not in self._recent:
            self._recent[owner] = self.strangers[self._people.position(owner)]
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        return self._recent[owner]

    def __iter__(self) -> Iterator[str]:
        return (person.id for person in self._people)

    def __len__(self) -> int:
        return len(self._people)


def _compared(type_: str, value: str) -> tuple[str, str]:
    number = digits(plain(value))[-SHARED_DIGITS:] if type_ in DIGIT_TYPES else ""
    return type_, number if len(number) >= MIN_DIGITS else fold(value)


def _dump(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), separators=(",", ":"))
