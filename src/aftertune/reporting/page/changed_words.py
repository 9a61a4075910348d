"""Which words of a tuned model's answer the base's answer does not have, for marking them in an example."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_PIECES = re.compile(r"\S+|\s+")
MOST = 400
"""Words of a text that are compared; longer ones are compared up to there."""
ALIKE = 0.2
"""Share of words in common below which nothing is marked: all of it changed."""

Piece = tuple[bool, str]
"""(whether it is marked, text)"""


def changed_words(before: str, after: str) -> tuple[list[Piece], list[Piece], str]:
    """Return both texts in pieces, each with whether the other lacks it, and a sentence where nothing is in common.

    The pieces joined are the texts again.
    """
    first, second = (_PIECES.findall(text) for text in (before, after))
    words = [[piece for piece in pieces if not piece.isspace()][:MOST] for pieces in (first, second)]
    matcher = SequenceMatcher(None, words[0], words[1], autojunk=False)
    if not words[0] or not words[1] or matcher.ratio() < ALIKE:
        return [(False, before)], [(False, after)], "The answers have hardly a word in common, so none is marked."
    kept: tuple[set[int], set[int]] = (set(), set())
    for block in matcher.get_matching_blocks():
        kept[0].update(range(block.a, block.a + block.size))
        kept[1].update(range(block.b, block.b + block.size))
    return _pieces(first, kept[0], len(words[0])), _pieces(second, kept[1], len(words[1])), ""


def _pieces(parts: list[str], kept: set[int], compared: int) -> list[Piece]:
    pieces: list[Piece] = []
    number = 0
    for position, part in enumerate(parts):
        if part.isspace():
            between = bool(pieces) and pieces[-1][0] and _next_changed(parts, position, number, kept, compared)
            marked = between
        else:
            marked = number < compared and number not in kept
            number += 1
        if pieces and pieces[-1][0] == marked:
            pieces[-1] = (marked, pieces[-1][1] + part)
        else:
            pieces.append((marked, part))
    return pieces


def _next_changed(parts: list[str], position: int, number: int, kept: set[int], compared: int) -> bool:
    return position + 1 < len(parts) and number < compared and number not in kept
