"""Text in the form in which personal values are compared: no accents, markup or invisible characters.

Every step works on each position of a text by itself, so that its characters can be traced back to the original.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

_SAME = {
    **dict.fromkeys("‘’‚‛ʼʹ′‵´‹›＇", "'"),
    **dict.fromkeys("“”„‟«»″‶＂「」『』", '"'),
    **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
    **{"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe"},
    **{"Œ": "OE", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ħ": "h", "Ħ": "H"},
}
"""Quotes and dashes as on a typewriter; letters that Unicode does not decompose, as people write them."""


class _Letters(dict[int, str]):
    """The replacement of each character, worked out on first use."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _plain_letter(chr(code))
        return plain


def _plain_letter(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    if char in _SAME:
        return _SAME[char]
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f" or char == "\u034f":
        return ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    parts = [c for c in unicodedata.normalize("NFKD", char) if not unicodedata.category(c).startswith("M")]
    return "".join(_SAME.get(part, part) for part in parts)


_LETTERS = _Letters()
Edit = tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]]
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_BEFORE: tuple[Edit, ...] = (
    ("&", _ENTITY, lambda match: html.unescape(match[0])),
    ("<", re.compile(r"</?[A-Za-z][^<>@]{0,200}>"), " "),
)
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_AFTER: tuple[Edit, ...] = (
    ("'", re.compile(r"(?<=\w)'s\b|'", re.I), ""),
    ("*", re.compile(r"\*+"), ""),
    ("[({", re.compile(r"[\[({]\s{0,4}at\s{0,4}[\])}]", re.I), "@"),
    ("[({", re.compile(r"[\[({]\s{0,4}(?:dot|\.)\s{0,4}[\])}]", re.I), "."),
)
"""Possessives, apostrophes and stars go, so that `O'Brien's` is `OBrien`; `[at]` and `[dot]` become `@` and `.`."""
_MARKED = re.compile("[" + re.escape("".join(marks for marks, _, _ in (*_BEFORE, *_AFTER))) + "]")
"""Any character that one of the edits above looks for."""
_UPPER, _LOWER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"
_TO_LOWER = bytes.maketrans(_UPPER, _LOWER)
_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())
_GAP = re.compile(r"[\W_]+")
_SPACE = re.compile(r"\s+")
_NO_DIGIT = re.compile(r"\D+")


def plain(text: str) -> str:
    """Return `text` without accents, markup, possessives, stars and invisible characters; case and spacing stay."""
    if text.isascii() and not _MARKED.search(text):
        return text
    for marks, pattern, new in _BEFORE:
        if marks in text:
            text = pattern.sub(new, text)
    if not text.isascii():
        text = text.translate(_LETTERS)
    for marks, pattern, new in _AFTER:
        if any(mark in text for mark in marks):
            text = pattern.sub(new, text)
    return text


def clean(text: str) -> str:
    """Return `plain(text)` with underscores as spaces, and runs of white space as one."""
    return _SPACE.sub(" ", plain(text).replace("_", " ")).strip()


def fold(text: str) -> str:
    """Return `clean(text)` in lower case."""
    return clean(text).casefold()


def digits(text: str) -> str:
    """Return the digits of `text`, those of other scripts as ASCII."""
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    return _NO_DIGIT.sub("", text)


def squeeze(text: str) -> bytes:
    """Return the letters and digits of a plain text in a row, in lower case, as UTF-8, for an automaton to search."""
    if text.isascii():
        return text.encode().translate(_TO_LOWER, _NO_WORD)
    return _GAP.sub("", text.casefold()).encode()


@dataclass(frozen=True)
class TracedText:
    """A plain text, and the original position of each of its characters."""

    text: str
    """As `plain` returns it."""
    origins: tuple[tuple[int, int], ...] | None
    """(Start, end) of each character in the original text; None where nothing moved."""

    @classmethod
    def of(cls, text: str) -> TracedText:
        """Return the plain form of a text."""
        origins: list[tuple[int, int]] | None = None
        for marks, pattern, new in (*_BEFORE, ("", _FOREIGN, lambda m: _LETTERS[ord(m[0])]), *_AFTER):
            if (not marks and not text.isascii()) or any(mark in text for mark in marks):
                text, origins = _edited(text, origins, pattern, new)
        return cls(text, None if origins is None else tuple(origins))

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of `text[start:end]` (not empty) in the original text."""
        if self.origins is None:
            return start, end
        return self.origins[start][0], self.origins[end - 1][1]

    @cached_property
    def letters(self) -> list[int]:
        """For each byte of `squeeze(text)`, the index in `text` of the character that it belongs to."""
        indices: list[int] = []
        if self.text.isascii():
            return [index for index, char in enumerate(self.text) if char.isalnum()]
        for index, char in enumerate(self.text):
            if kept := "".join(c for c in char.casefold() if c.isalnum()):
                indices += [index] * len(kept.encode())
        return indices


def _edited(
    text: str,
    origins: list[tuple[int, int]] | None,
    pattern: re.Pattern[str],
    new: str | Callable[[re.Match[str]], str],
) -> tuple[str, list[tuple[int, int]] | None]:
    pieces: list[str] = []
    kept: list[tuple[int, int]] = []
    cursor = 0
    for match in pattern.finditer(text):
        if origins is None:
            origins = [(index, index + 1) for index in range(len(text))]
        start, end = match.span()
        put = new if isinstance(new, str) else new(match)
        pieces += [text[cursor:start], put]
        kept += origins[cursor:start]
        kept += [(origins[start][0], origins[end - 1][1])] * len(put)
        cursor = end
    if origins is None:
        return text, None
    return "".join(pieces) + text[cursor:], kept + origins[cursor:]
