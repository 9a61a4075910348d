"""What every recogniser shares: the text prepared once, the match it returns, and the search for a context word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

WIDTH = 48
"""Characters before a value that are searched for a context word."""


class Candidate(NamedTuple):
    """A candidate: `text[start:end]` (characters), its type, how sure the recogniser is, and what made it."""

    start: int
    end: int
    type: str
    score: float
    """Between 0 and 1."""
    why: str
    """Pattern or list, and the context word; never the value."""


class Recogniser(NamedTuple):
    """One family: its name, the types it can return, and the function that reads a text."""

    name: str
    types: frozenset[str]
    scan: Callable[[View], Iterator[Candidate]]


class Word(NamedTuple):
    """A run of letters, inner apostrophes and hyphens included."""

    text: str
    start: int
    end: int


_WORD = re.compile(r"[^\W\d_]{1,64}(?:['’`\-][^\W\d_]{1,64}){0,4}")
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"\w+")


class View:
    """A text with what several recognisers need of it, each made at most once."""

    __slots__ = ("__dict__", "text")

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def lower(self) -> str:
        """The text in lower case, character by character, so that places in it are places in the text."""
        low = self.text.lower()
        if len(low) == len(self.text):
            return low
        return "".join(char.lower() if len(char.lower()) == 1 else char for char in self.text)

    @cached_property
    def has_digit(self) -> bool:
        """Whether there is any digit."""
        return _DIGIT.search(self.text) is not None

    @cached_property
    def words(self) -> list[Word]:
        """The words, in order."""
        new = tuple.__new__  # what Word() calls, without the call in between: there are millions
        return [new(Word, (match.group(), match.start(), match.end())) for match in _WORD.finditer(self.text)]

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The runs of letters, digits and underscores, in lower case."""
        return frozenset(_TOKEN.findall(self.lower))

    def may_hold(self, tokens: frozenset[str]) -> bool:
        """Whether one of these tokens stands in the text, or a foreign letter that a pattern may take for an English
        one (`re.IGNORECASE` reads the Kelvin sign as a k): if not, a pattern that needs one cannot match."""
        return not self.text.isascii() or not self.tokens.isdisjoint(tokens)

    def cue(self, pattern: re.Pattern[str], start: int, width: int = WIDTH) -> str | None:
        """Return the last match of `pattern` (lower case) in the `width` characters before `start`, or None."""
        found = None
        for found in pattern.finditer(self.lower, max(0, start - width), start):  # noqa: B007
            pass
        return " ".join(found.group().split()) if found else None

    def near(self, pattern: re.Pattern[str], start: int, end: int, width: int = WIDTH) -> str | None:
        """As `cue`, and where nothing stands before, the first match in half of `width` after `end`."""
        before = self.cue(pattern, start, width)
        if before is not None:
            return before
        found = pattern.search(self.lower, end, end + width // 2)
        return " ".join(found.group().split()) if found else None


def explain(what: str, cue: str | None = None, *, before: str = "context") -> str:
    """Return the `why` of a match: what made it, and the context word."""
    return f"{what}; {before} '{cue}'" if cue else what


def only_digits(text: str) -> str:
    """Return the ASCII digits of `text`."""
    return "".join(char for char in text if "0" <= char <= "9")
