"""The two forms in which text is searched for personal values, each traced back to the original.

The `standard` form is what recognisers and models read: ordinary blanks, hyphens, digits and letters, nothing
invisible; accents, markup and punctuation stay. The `plain` form is what values are compared in: no accents or markup
either. Every step replaces a few neighbouring characters, so that each character can be traced back.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from aftertune.data.encoded import encoded

_HYPHENS = "\u05be\u1806\u2010\u2011\u2043\u02d7\u2212\ufe63\uff0d\u30fc\uff70"
"""Hyphens and minus signs; the last two, which lengthen a vowel of Japanese, between digits only."""
_DASHES = "\u2012\u2013\u2014\u2015\ufe58"
"""Dashes: hyphens beside a digit or a blank; between two letters they may part two sentences."""
_DOTS = "\u00b7\u2022\u2027\u2219\u22c5\u30fb"
"""Dots at half height: full stops between two digits."""
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that are blank."""
_UNSEEN = frozenset("\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f")
"""Marks without a shape, besides those of the category Cf and the variation selectors."""
_VARIANTS = frozenset(("<wide>", "<narrow>", "<small>", "<font>"))
"""Compatibility decompositions into the same letter in other dress; superscripts and fractions mean something."""
_ENCLOSED = frozenset(("<circle>", "<square>"))
"""Decompositions of letters and digits in a ring or a box."""
_SMALL = {
    **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾", "0123456789+-()", strict=True)),
    **dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎", "0123456789+-()", strict=True)),
}
_SMALL_NUMBER = re.compile(
    r"(?:[⁺⁽]|(?<![⁰¹²³⁴-⁹₀-₉]))(?=(?:[ ()./⁺⁻⁽⁾₊₋₍₎-]{0,2}[⁰¹²³⁴-⁹₀-₉]){6})[⁰¹²³⁴-⁹₀-₉⁺⁻⁽⁾₊₋₍₎]"
    r"(?:[ ()./-]{0,2}[⁰¹²³⁴-⁹₀-₉⁺⁻⁽⁾₊₋₍₎])*"
)
"""A number of six digits or more that is raised or lowered: no exponent, no footnote."""
_SAME = {
    **dict.fromkeys("‘’‚‛ʼʹ′‵´‹›＇", "'"),
    **dict.fromkeys("“”„‟«»″‶＂「」『』", '"'),
    **dict.fromkeys(_HYPHENS[:-2] + _DASHES, "-"),
    **dict.fromkeys(_DOTS, "."),
    **{"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe"},
    **{"Œ": "OE", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ħ": "h", "Ħ": "H"},
}
"""Quotes and dashes as on a typewriter; letters that Unicode does not decompose, as people write them."""


class _StandardLetters(dict[int, str]):
    """The standard form of each character, worked out on first use; dashes stay."""

    def __missing__(self, code: int) -> str:
        self[code] = standard = _standard_letter(chr(code))
        return standard


def _standard_letter(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    if category == "Cf" or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef" or char in _UNSEEN:
        return ""
    if char in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029":
        return "\n"
    if category == "Zs" or char in _FILLERS or char in "\t\x1f":
        return " "
    if char in _HYPHENS[:-2]:
        return "-"
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if (kind := unicodedata.decomposition(char).partition(" ")[0]) in _ENCLOSED:
        inside = unicodedata.normalize("NFKC", char)
        return inside if len(inside) == 1 and inside.isascii() and inside.isalnum() else char
    if "\u2776" <= char <= "\u2793" or "\u24f5" <= char <= "\u24fd" or char == "\u24ff":  # discs, double rings
        return str(unicodedata.digit(char, char))
    variant = kind in _VARIANTS or "\ufb00" <= char <= "\ufb06"
    if char == "\uff70" or char in _DASHES:
        return char
    return "." if char == "\u2024" else unicodedata.normalize("NFKC" if variant else "NFC", char)


class _Letters(dict[int, str]):
    """The replacement of each character, worked out on first use."""

    def __missing__(self, code: int) -> str:
        self[code] = plain = _plain_letter(chr(code))
        return plain


def _plain_letter(char: str) -> str:
    if char.isascii() or char in _SAME:
        return _SAME.get(char, char)
    standard = _STANDARD[ord(char)]
    parts = [c for c in unicodedata.normalize("NFKD", standard) if not unicodedata.category(c).startswith("M")]
    return "".join(_SAME.get(part, part) for part in parts)


_STANDARD = _StandardLetters()
_LETTERS = _Letters()
Edit = tuple[str, re.Pattern[str], str | Callable[[re.Match[str]], str]]
_ENTITY = re.compile(
    r"&(?:amp;){0,3}(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};|(?:nbsp|shy)(?![A-Za-z=;]))"
)


def _unescaped(match: re.Match[str]) -> str:
    text = match[0]
    for _ in range(text.count("&amp;") + 1):
        text = html.unescape(text)
    return text


_BEFORE: tuple[Edit, ...] = (
    ("&", _ENTITY, _unescaped),
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
_ODD = r"[^\x00-\x7f]|[\t\x0b\x0c\x1c-\x1f]"
_ACCENTS = "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_ACCENT = re.compile(f"[{_ACCENTS}]+")
_BLANKS = r"(?<=\S) {2,4}(?=\S)"
"""More than four blanks part columns."""
_LETTER = r"[^\W\d_]"
_RETURN = re.compile(r"\r\n?")
_STANDARD_EDITS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(rf"(?s)[^{_ACCENTS}]?[{_ACCENTS}]+"), lambda match: _composed(match[0])),
    (re.compile(rf"(?<!{_LETTER})[{_DASHES}]|[{_DASHES}](?!{_LETTER})|(?<=\d)[\u30fc\uff70](?=\d)"), "-"),
    (re.compile(r"(?<=[A-Za-z0-9])[\u3002\uff61](?=[A-Za-z0-9])"), "."),
    (re.compile(rf"(?<=\d)[{_DOTS}](?=\d)"), "."),
)
"""After the letters, in texts that are not ASCII: accents join their letter, dashes and full stops become English."""
_TAG = r"</?(?:w?br ?/?|b|i|u|em|strong|span|font|mark|code|small|big|nobr|tt)>"
_ESCAPE = re.compile(
    r"(?<=\w)\\(?=[-_.@+]\w)|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|(?<=\w)%40(?=\w)|(?<=\w)[\[(]\.[\])](?=\w)|"
    rf"(?<=[\w.,;:!?)\"'])\\(?-i:[nrt](?=[A-Z0-9+(]))|{_TAG}",
    re.I,
)
"""What markup, JSON and URLs write for a character."""
_ESCAPED = re.compile(r"[\\%<\[(]")
Reading = Literal["standard", "hyphenated", "parted"]
"""`hyphenated`: soft hyphens and dashes between letters are hyphens. `parted`: letters of a script without blanks are
blanks where they touch a number or an address."""
_ODD_LETTER = re.compile(_ODD)
_RUNS = re.compile(_BLANKS)
_UNUSUAL = re.compile(rf"{_ODD}|[&\r]|{_BLANKS}|\\|%40|[\[(]\.[\])]|{_TAG}", re.I)
_EAST = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\u0e00-\u0e7f"
"""Scripts that are written without blanks, or with endings at any word."""
_NO_BLANK = re.compile(rf"[{_EAST}](?=[0-9A-Za-z+(@])|(?<=[0-9A-Za-z)])[{_EAST}]")
_EDITED = re.compile(f"[{_ACCENTS}{_DASHES}{_DOTS}\u30fc\uff70\u3002\uff61]")
"""What one of those edits needs."""
_ANY_DASH = re.compile(f"[{_DASHES}]")
_UPPER, _LOWER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"
_TO_LOWER = bytes.maketrans(_UPPER, _LOWER)
_NO_WORD = bytes(code for code in range(128) if not chr(code).isalnum())
_GAP = re.compile(r"[\W_]+")
_SPACE = re.compile(r"\s+")
_NO_DIGIT = re.compile(r"\D+")


def _composed(text: str) -> str:
    """Return a letter and the accents after it as one character, without those that do not combine with it."""
    return _ACCENT.sub("", unicodedata.normalize("NFC", text))


def _unwritten(match: re.Match[str]) -> str:
    text = match[0].casefold()
    if text.startswith(("\\u", "\\x")):
        return chr(int(text[2:], 16))
    if text.startswith("<"):
        return "\n" if text.strip("</ >") == "br" else ""
    return {"\\": "", "%40": "@", "\\t": " ", "\\n": "\n", "\\r": "\n"}.get(text, ".")


def standard(text: str) -> str:
    """Return `text` in its standard form: what recognisers read."""
    return TracedText.standard(text).text


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
    """As `plain` or `standard` returns it."""
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

    @classmethod
    def standard(cls, text: str, *, hyphenated: bool = False) -> TracedText:
        """Return the standard form of a text; `hyphenated`: soft hyphens and all dashes are hyphens.

        A file that stands in it as letters, such as an image in base64, is one sign.
        """
        origins: list[tuple[int, int]] | None = None
        if files := encoded(text):
            whole = cls(text, None).replaced([(start, end, "\ufffc") for start, end in files])
            text, origins = whole.text, list(whole.origins or ())
        elif not _UNUSUAL.search(text):
            return cls(text, None)
        if "\r" in text:
            text, origins = _edited(text, origins, _RETURN, "\n")
        if "&" in text:
            text, origins = _edited(text, origins, _ENTITY, _unescaped)
        if _ESCAPED.search(text):
            text, origins = _edited(text, origins, _ESCAPE, _unwritten)
        if _SMALL_NUMBER.search(text):
            text, origins = _edited(text, origins, _SMALL_NUMBER, lambda m: "".join(_SMALL.get(c, c) for c in m[0]))
        if hyphenated:
            text = text.replace("\xad", "\u2014")
        if text.translate(_STANDARD) != text:
            text, origins = _edited(text, origins, _ODD_LETTER, lambda match: _STANDARD[ord(match[0])])
        if _EDITED.search(text):
            for pattern, new in _STANDARD_EDITS:
                text, origins = _edited(text, origins, pattern, new)
            if hyphenated:
                text, origins = _edited(text, origins, _ANY_DASH, "-")
        if "  " in text:
            text, origins = _edited(text, origins, _RUNS, " ")
        return cls(text, None if origins is None else tuple(origins))

    @classmethod
    def readings(cls, text: str) -> Iterator[tuple[TracedText, Reading]]:
        """Yield the standard forms of a text: more than one where a character may be one of two."""
        first = cls.standard(text)
        yield first, "standard"
        if first.origins is None and first.text.isascii():
            return
        written = "&" in text or "\\" in text
        if written or "\xad" in text or _ANY_DASH.search(first.text):
            second = cls.standard(text, hyphenated=True)
            if second.text != first.text:
                yield second, "hyphenated"
        if _NO_BLANK.search(first.text):
            yield cls(_NO_BLANK.sub(" ", first.text), first.origins), "parted"

    def replaced(self, edits: Sequence[tuple[int, int, str]]) -> TracedText:
        """Return the text after these edits: (start, end) of a span, not empty, in order, and what takes its place."""
        origins = list(self.origins or [(index, index + 1) for index in range(len(self.text))])
        pieces: list[str] = []
        kept: list[tuple[int, int]] = []
        cursor = 0
        for start, end, new in edits:
            pieces += [self.text[cursor:start], new]
            kept += origins[cursor:start]
            kept += [(origins[start][0], origins[end - 1][1])] * len(new)
            cursor = end
        return TracedText("".join(pieces) + self.text[cursor:], (*kept, *origins[cursor:]))

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
        start, end = match.span()
        put = new if isinstance(new, str) else new(match)
        if put == match[0]:
            continue
        if origins is None:
            origins = [(index, index + 1) for index in range(len(text))]
        pieces += [text[cursor:start], put]
        kept += origins[cursor:start]
        kept += [(origins[start][0], origins[end - 1][1])] * len(put)
        cursor = end
    if origins is None:
        return text, None
    return "".join(pieces) + text[cursor:], kept + origins[cursor:]
