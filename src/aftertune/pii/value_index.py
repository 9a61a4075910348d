"""Which personal values of a corpus a text mentions: in memory, or for many values in a temporary database.

Every pattern of `matcher` but a phone number begins and ends where words do, and a phone number ends where a group of
digits does. So a text has few positions to look at, and a filter of a few bits a pattern (Bloom, Communications of the
ACM 13 (1970) 422-426) spares the database most questions about patterns that it does not have.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol

from aftertune.pii.matcher import MIN_DIGITS, SHARED_DIGITS, Matcher, Rule, patterns
from aftertune.pii.normalisation import squeeze
from aftertune.pii.people import database
from aftertune.pii.registry import Registry
from aftertune.records import Person

IN_MEMORY = 20_000
"""People for whom an automaton in memory serves; it takes about two kilobytes a person."""
HEAD = 4
"""First bytes of a pattern, looked up before the whole."""
BITS = 32
"""Bits of the filter for each pattern."""
RECENT = 20_000
"""Answers of the database kept in memory."""
_RUN = re.compile(r"[^\W_]+")


class ValueIndex(Protocol):
    """The personal values of a corpus."""

    def types(self, text: str) -> list[str]:
        """Return the type of each value that a text mentions, each value once."""

    def __len__(self) -> int:
        """Return how many values there are."""


def index_of(people: Sequence[Person], in_memory: int = IN_MEMORY) -> ValueIndex:
    """Return the index of everybody's values, in memory where there are few people; both kinds find the same."""
    return MemoryIndex(Registry.of("source", people)) if len(people) <= in_memory else DiskIndex(people)


class MemoryIndex:
    """A registry as an index."""

    def __init__(self, registry: Registry) -> None:
        """Take the registry."""
        self._registry = registry

    def types(self, text: str) -> list[str]:
        """Return the type of each value that a text mentions, each value once."""
        return [hit.type for hit in self._registry.find(text)]

    def __len__(self) -> int:
        return len(self._registry)


class DiskIndex(Matcher):
    """Finds the mentions that a `Matcher` over the values of `people` finds, with a few bytes of memory a value."""

    def __init__(self, people: Iterable[Person]) -> None:
        """Store the patterns. Each (type, value) counts once."""
        super().__init__([])
        self._db = database(
            "value (n INTEGER PRIMARY KEY, type TEXT, value TEXT, UNIQUE (type, value))",
            "rule (pattern BLOB, kind TEXT, type TEXT, n INTEGER, key TEXT)",
        )
        put = self._db.execute
        for person in people:
            self._db.executemany("INSERT OR IGNORE INTO value (type, value) VALUES (?, ?)", person.values.items())
        self._count = int(put("SELECT count(*) FROM value").fetchone()[0])
        self._lengths = bytearray(1)
        """Whether there is a pattern of so many bytes."""
        for number, type_, value in put("SELECT n, type, value FROM value"):
            for pattern, kind, key in patterns(type_, value, greedy=False):
                if pattern:
                    put("INSERT INTO rule VALUES (?, ?, ?, ?, ?)", (pattern, kind, type_, number, key))
                    self._lengths.extend(bytes(max(0, len(pattern) + 1 - len(self._lengths))))
                    self._lengths[len(pattern)] = 1
        put("CREATE INDEX by_pattern ON rule (pattern)")
        wanted = int(put("SELECT count(*) FROM rule").fetchone()[0])
        self._short = any(self._lengths[:HEAD])
        self._filter = bytearray(1 << max(10, (wanted * BITS // 8).bit_length()))
        self._heads = bytearray(1 << max(10, (wanted * BITS // 32).bit_length()))
        for (pattern,) in put("SELECT pattern FROM rule"):
            _mark(self._filter, pattern)
            _mark(self._heads, pattern[:HEAD])
        self._recent: OrderedDict[bytes, list[Rule]] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def types(self, text: str) -> list[str]:
        """Return the type of each value that a text mentions, each value once."""
        ids = dict.fromkeys(mention.value for mention in self.find(text))
        ask = "SELECT type FROM value WHERE n = ?"
        return [str(self._db.execute(ask, (number,)).fetchone()[0]) for number in ids]

    def _matches(self, text: str) -> Sequence[tuple[Sequence[Rule], int, int]]:
        row, starts, ends = _squeezed(text)
        matches = []
        longest = len(self._lengths)
        for word, start in enumerate(starts):
            if not self._short and not _marked(self._heads, row[start : start + HEAD]):
                continue
            for end in ends[word:]:
                size = end - start
                if size >= longest:
                    break
                if self._lengths[size] and (rules := self._rules_of(row[start : start + size])):
                    matches.append((rules, start, end))
        for end in ends:
            for size in range(MIN_DIGITS, SHARED_DIGITS + 1):
                number = row[max(0, end - size) : end]
                if not number.isdigit() or len(number) < size:
                    break
                if rules := self._rules_of(number):
                    matches.append((rules, end - size, end))
        return matches

    def _rules_of(self, pattern: bytes) -> list[Rule]:
        if not _marked(self._filter, pattern):
            return []
        if pattern not in self._recent:
            ask = "SELECT kind, type, n, key FROM rule WHERE pattern = ?"
            self._recent[pattern] = [Rule(*row) for row in self._db.execute(ask, (pattern,))]
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)
        return self._recent[pattern]


def _squeezed(text: str) -> tuple[bytes, list[int], list[int]]:
    """Return `squeeze(text)` of a plain text, and where the words start and end in it."""
    words, starts, ends, length = [], [], [], 0
    for run in _RUN.findall(text):
        words.append(squeeze(run))
        starts.append(length)
        length += len(words[-1])
        ends.append(length)
    return b"".join(words), starts, ends


def _mark(bits: bytearray, key: bytes) -> None:
    for index, bit in _bits(len(bits), key):
        bits[index] |= bit


def _marked(bits: bytearray, key: bytes) -> bool:
    code, mask = hash(key), len(bits) - 1
    return bool(bits[(code >> 3) & mask] >> (code & 7) & 1 and bits[(code >> 35) & mask] >> ((code >> 32) & 7) & 1)


def _bits(size: int, key: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    code = hash(key)
    return ((code >> 3) & (size - 1), 1 << (code & 7)), ((code >> 35) & (size - 1), 1 << ((code >> 32) & 7))
