"""International bank account numbers: the country's structure, and the check digits modulo 97 (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from stdnum import iban, numdb

from aftertune.pii.recogniser import Candidate, Recogniser, View

_PARTS = re.compile(r"(\d+)!")


@cache
def length(country: str) -> int | None:
    """Return how many characters the numbers of a country have, by the SWIFT registry; None where it has none."""
    structure = numdb.get("iban").info(country)[0][1].get("bban")
    return 4 + sum(map(int, _PARTS.findall(structure))) if structure else None


_GOES_ON = re.compile(r"\d|[^\W\d_]{1,2}(?![^\W_])|[^\W\d_]+\d")
"""More of the same number; a word may stick to it, where line breaks or blanks were lost."""
_START = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=\biban)|(?<=\bIBAN))([A-Za-z]{2}|[A-Z] [A-Z])[ -]?\d[ ]?\d")


def scan(view: View) -> Iterator[Candidate]:
    """Yield IBANs, in groups or not, in either case."""
    if not view.has_digit:
        return
    text = view.text
    for match in _START.finditer(text):
        size = length(match.group(1).replace(" ", "").upper())
        if size is None:
            continue
        value, end = "", match.start()
        limit = min(len(text), match.start() + 2 * size)
        while end < limit and len(value) < size:
            char = text[end]
            if char.isascii() and char.isalnum():
                value += char
            elif char not in " -.":
                break
            end += 1
        if len(value) == size and not _GOES_ON.match(text, end) and iban.is_valid(value, check_country=False):
            yield Candidate(match.start(), end, "IBAN", 1.0, f"IBAN of {value[:2].upper()}, check digits modulo 97")


RECOGNISER = Recogniser("iban", frozenset({"IBAN"}), scan)
