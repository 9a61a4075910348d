"""Values that are broken over two lines: a card number, a phone number or a name where a line was wrapped.

A line's end is also where one value ends and the next begins, in lists and tables. So only a break between two pieces
that look alike is read as a blank, and what then crosses it counts under stricter rules than a value on one line.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from aftertune.pii.candidates import candidates
from aftertune.pii.normalisation import TracedText, standard
from aftertune.pii.recogniser import Candidate, only_digits

AROUND = 100
"""Characters on either side of a break that are read with it."""
_BREAK = re.compile(r" {0,4}\n(?:>{1,4} )? {0,4}")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_PIECES = re.compile(
    r"[0-9()+/.-]\n[-/.(]?[0-9]|\b[A-Z]{1,4}\n[0-9]|\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{1,4}){0,8}\n[A-Z0-9]{1,4}\b|"
    r"[0-9] ?[0-9]{2}-?\n[A-Z]\b|"
    r"@\n\w|\w\n@\w|@[\w-]{1,24}\n\.\w|@[\w.-]{1,24}[.-]\n\w|"
    rf"(?i:\b{_MONTH}\.?,?\n(?:19|20)\d\d\b)|(?i:\d\n{_MONTH}\b)"
)
"""Ends and beginnings of two lines between which a number or an e-mail address may go on."""
_NAMES = re.compile(r"[^\W\d_A-Z] [^\W\d_a-z][^\W\d_]{0,24}(?:-[^\W\d_]{1,24})?-?\n[^\W\d_a-z][^\W\d_]")
"""The same for a name."""
_SIDE = 28
"""Characters of a line's end and of the next one's beginning that are looked at."""
_CHECKED = frozenset({"CREDIT_CARD", "IBAN", "NATIONAL_ID"})
"""Types with check digits, or a word beside them."""
_NAMED = frozenset({"PASSPORT", "DRIVER_LICENCE", "DATE_OF_BIRTH", "EMAIL"})
_NUMBERS = _CHECKED | _NAMED | {"PHONE", "REFERENCE"}
_WHOLE = 9
"""Digits of a phone number that is complete."""
_SHORT = 7
"""Digits of the shortest numbers that are."""
_TOWN = re.compile(r",? [^\W\d_a-z]")


def joined(reading: TracedText) -> tuple[TracedText, list[tuple[Candidate, str]]]:
    """Return the text without such breaks, and the candidates in it, with their recognisers, that cross one.

    A break is a blank, but nothing after a hyphen and about an `@`.
    """
    text = reading.text
    edits: list[tuple[int, int, str]] = []
    types: frozenset[str] = frozenset()
    positions, moved = [], 0
    for match in _BREAK.finditer(text):
        start, end = match.span()
        if start > 0 and end < len(text) and (kind := _kind(text, start, end)):
            types |= kind
            new = "" if text[start - 1] in "-@./(+" or text[end] in "-@./)" else " "
            edits.append((start, end, new))
            positions.append(start - moved)
            moved += end - start - len(new)
    if not edits:
        return reading, []
    whole = reading.replaced(edits)
    every = []
    for begin, end in _windows(positions, len(whole.text)):
        inside = [position - begin for position in positions if begin <= position < end]
        for one, recogniser in candidates(whole.text[begin:end], types):
            if any(one.start < position < one.end for position in inside):
                every.append((one._replace(start=one.start + begin, end=one.end + begin), recogniser))
    return whole, every


def _kind(text: str, start: int, end: int) -> frozenset[str]:
    """Return the types of the values that may go on over the break `text[start:end]`."""
    lines = text[max(0, start - _SIDE) : start] + "\n" + text[end : end + _SIDE]
    if _NAMES.search(lines):
        return frozenset({"PERSON"})
    return _NUMBERS if _PIECES.search(lines) else frozenset()


def _windows(positions: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    begin = end = 0
    for position in positions:
        if end and position - AROUND > end:
            yield begin, end
            end = 0
        begin = begin if end else max(0, position - AROUND)
        end = min(length, position + AROUND)
    yield begin, end


def accepted(
    crossing: Collection[tuple[Candidate, str]], others: Collection[tuple[Candidate, str]], text: str
) -> Iterator[tuple[Candidate, str]]:
    """Yield those of `crossing`, each over the end of a line of `text`, that are one value and not two."""
    for one, recogniser in crossing:
        beside = [other for other, _ in others if other.start < one.end and one.start < other.end]
        value = standard(text[one.start : one.end])
        pieces = value.split("\n")
        same = [other for other in beside if other.type == one.type]
        if one.type in _CHECKED:
            groups = re.findall(r"\w+", value)
            good = one.score >= 0.7 and (one.score == 1.0 or (len(pieces) == 2 and len(groups) > 2))
        elif one.type == "PHONE":
            # What begins with a + is not complete after a country code; any other piece is with nine digits.
            whole = any(len(only_digits(piece)) >= _WHOLE for piece in pieces[: 1 if value[0] == "+" else None])
            whole = whole or (len(only_digits(pieces[0])) >= _SHORT and not _sentence(one, text))
            # A number on the second line alone goes with the first only where that begins like a phone number.
            whole = whole or (value[0] not in "+(0" and any(other.start > one.start for other in same))
            good = one.score >= 0.65 and len(pieces) == 2 and not whole and len(same) < 2
            good = good and all(other in same or other.score < one.score for other in beside)
        elif one.type == "PERSON":
            good = one.score >= 0.7 and len(pieces) == 2 and _wrapped(one, text)
            good = good and not any(" " in standard(text[other.start : other.end]) for other in same)
        else:
            good = one.type in _NAMED and not same
        if good:
            yield one, recogniser


def _sentence(one: Candidate, text: str) -> bool:
    """Return whether words stand before a number and no town after it: in addresses a postcode follows a phone."""
    before = standard(text[max(0, one.start - AROUND) : one.start]).rpartition("\n")[2].strip()
    return before != "" and before[-1] != ":" and not _TOWN.match(standard(text[one.end : one.end + _SIDE]))


def _wrapped(one: Candidate, text: str) -> bool:
    """Return whether the line before the break and the one after it hold more than a name: a list has no such lines."""
    before = standard(text[max(0, one.start - AROUND) : one.start]).rpartition("\n")[2]
    after = standard(text[one.end : one.end + AROUND]).partition("\n")[0]
    return len(before.split()) > 1 and bool(after.strip())
