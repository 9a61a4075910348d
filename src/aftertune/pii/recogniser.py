"""What every recogniser shares: the text prepared once, the candidates it yields, and the search for a context word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple

WIDTH = 48
"""Characters before a value that are searched for a context word."""


UUID = re.compile(r"(?<![\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])", re.I)
"""A number that a machine drew. Its groups look like cards, phones and identity numbers."""
TRACE = re.compile(
    r"(?<![\w-])(?:[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|1-[0-9a-f]{8}-[0-9a-f]{24}|"
    r"[0-9a-f]{32}-[0-9a-f]{16}(?:-[01d](?:-[0-9a-f]{16})?)?)(?![\w-])",
    re.I,
)
"""The number of a request in a log: W3C's `traceparent`, AWS X-Ray's and Zipkin's B3."""


class Candidate(NamedTuple):
    """A possible finding: `text[start:end]` (characters), its type, how sure the recogniser is, and why."""

    start: int
    end: int
    type: str
    score: float
    """Between 0 and 1."""
    why: str
    """Pattern or list, and the context word; never the value."""


class Recogniser(NamedTuple):
    """One family: its name, the types it can yield, and the function that reads a text."""

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
_CODE = re.compile(r"(?<![\w-])[0-9A-Za-z]{4,12}(?:-[0-9A-Za-z]{4,12}){2,7}(?![\w-])")
_MIXED = re.compile(r"\d[A-Za-z]|[A-Za-z]\d")
_TOKEN = re.compile(r"\w+")


class View:
    """A text and the parts of it that several recognisers need, each made at most once."""

    __slots__ = ("__dict__", "text")

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def lower(self) -> str:
        """The text in lower case, character by character, so that positions in it are positions in the text."""
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
        new = tuple.__new__  # as Word() does, without the call in between: there are millions
        return [new(Word, (match.group(), match.start(), match.end())) for match in _WORD.finditer(self.text)]

    @cached_property
    def tokens(self) -> frozenset[str]:
        """The runs of letters, digits and underscores, in lower case."""
        return frozenset(_TOKEN.findall(self.lower))

    def may_hold(self, tokens: frozenset[str]) -> bool:
        """Whether the text has one of these tokens, or a foreign letter that a pattern may take for an English one
        (`re.IGNORECASE` reads the Kelvin sign as a k): if not, a pattern that needs a token cannot match."""
        return not self.text.isascii() or not self.tokens.isdisjoint(tokens)

    @cached_property
    def codes(self) -> list[tuple[int, int]]:
        """Where letters and digits in groups make one code, a UUID or a product key, of which no part is a number."""
        if "-" not in self.text:
            return []
        return [
            match.span()
            for match in _CODE.finditer(self.text)
            if _MIXED.search(match.group()) or UUID.fullmatch(match.group())
        ] + [match.span() for match in TRACE.finditer(self.text)]

    def cue(self, pattern: re.Pattern[str], start: int, width: int = WIDTH) -> str | None:
        """Return the last match of `pattern` (lower case) in the `width` characters before `start`, or None."""
        last = None
        for last in pattern.finditer(self.lower, max(0, start - width), start):  # noqa: B007
            pass
        return " ".join(last.group().split()) if last else None

    def near(self, pattern: re.Pattern[str], start: int, end: int, width: int = WIDTH) -> str | None:
        """As `cue`; without a match before, return the first one in the `width // 2` characters after `end`."""
        before = self.cue(pattern, start, width)
        if before is not None:
            return before
        after = pattern.search(self.lower, end, end + width // 2)
        return " ".join(after.group().split()) if after else None


def explain(what: str, cue: str | None = None, *, before: str = "context") -> str:
    """Return the `why` of a candidate: the pattern or list, and the context word."""
    return f"{what}; {before} '{cue}'" if cue else what


def only_digits(text: str) -> str:
    """Return the ASCII digits of `text`."""
    return "".join(char for char in text if "0" <= char <= "9")
