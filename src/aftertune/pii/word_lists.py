"""The lists of names, places and words in `pii/data`, read once; folded: lower case, no accents."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib import resources

_STROKES = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ß": "ss", "þ": "th", "ð": "d"})


def fold(word: str) -> str:
    """Return `word` in lower case, without accents and strokes."""
    if word.isascii():
        return word.lower()
    # Taken apart first: a letter with a stroke may carry an accent besides (Ǽ, Ǿ).
    parts = unicodedata.normalize("NFKD", word).lower()
    return "".join(char for char in parts if not unicodedata.combining(char)).translate(_STROKES)


@cache
def names(file: str) -> frozenset[str]:
    """Return the entries of a data file; `places` is separated by commas and lines, the others by spaces."""
    text = (resources.files("aftertune.pii") / "data" / f"{file}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    if file == "places":
        return frozenset(entry for line in lines for piece in line.split(",") if (entry := fold(piece.strip())))
    return frozenset(fold(entry) for line in lines for entry in line.split())


def words(text: str) -> frozenset[str]:
    """Return the words of `text` as a set."""
    return frozenset(text.split())
