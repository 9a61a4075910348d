"""Every candidate of every recogniser in a text of any length; `detect` chooses among them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from aftertune.pii.recogniser import Candidate, Recogniser, View
from aftertune.pii.recognisers import (
    address,
    booking,
    card,
    documents,
    email,
    iban,
    national_id,
    network,
    person,
    phone,
)

ALL: tuple[Recogniser, ...] = tuple(
    module.RECOGNISER
    for module in (email, card, iban, national_id, phone, documents, booking, network, address, person)
)

PIECE = 8_000
"""Characters read at once; a longer text is read in pieces, since the time of a few patterns grows faster than it."""
AROUND = 400
"""Characters on either side of a piece that are read with it, so that a value that crosses its border is whole."""


def candidates(text: str, types: Collection[str]) -> list[tuple[Candidate, str]]:
    """Return every candidate of `types` with the name of its recogniser, overlapping ones included.

    The time grows with the length of the text: one of more than `PIECE` characters is read in pieces.
    """
    if len(text) <= PIECE + 2 * AROUND:
        return _in_piece(text, types)
    every = []
    for start, end in pieces(text):
        before = max(0, start - AROUND)
        for one, recogniser in _in_piece(text[before : end + AROUND], types):
            if start <= one.start + before < end:
                every.append((one._replace(start=one.start + before, end=one.end + before), recogniser))
    return every


_BORDERS = (re.compile(r"\n+"), re.compile(r"[.!?][\"')\]]{0,3}\s+"), re.compile(r"\s+"))
"""Where a text is best cut, best first."""


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of pieces that cover a text, each of at most `PIECE`, cut where lines or sentences end."""
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        for border in _BORDERS:
            cuts = [match.end() for match in border.finditer(text, end - PIECE // 4, end)]
            if cuts:
                end = cuts[-1]
                break
        yield start, end
        start = end
    yield start, len(text)


def _in_piece(text: str, types: Collection[str]) -> list[tuple[Candidate, str]]:
    view = View(text)
    every: dict[tuple[int, int, str, float], tuple[Candidate, str]] = {}
    for recogniser in ALL:
        for one in () if recogniser.types.isdisjoint(types) else recogniser.scan(view):
            if one.type in types and one.end > one.start and one.score > 0:
                if one.type in _GROUPED and _of_code(view, one):
                    continue
                every.setdefault((one.start, one.end, one.type, one.score), (one, recogniser.name))
    return _outermost(list(every.values())) if len(every) > 1 else list(every.values())


_GROUPED = frozenset({"CREDIT_CARD", "PHONE", "NATIONAL_ID", "REFERENCE"})
"""Types whose values look like some groups of a longer code."""


def _of_code(view: View, one: Candidate) -> bool:
    """Return whether a candidate is a part of a UUID or of another code of several groups."""
    return any(start <= one.start and one.end <= end and one.end - one.start < end - start for start, end in view.codes)


def _outermost(every: list[tuple[Candidate, str]]) -> list[tuple[Candidate, str]]:
    """Return the candidates, best score first, without those inside another of their type that scores no less."""
    every.sort(key=lambda pair: (pair[0].type, pair[0].start, -pair[0].end, -pair[0].score))
    kept: list[tuple[Candidate, str]] = []
    open_: list[Candidate] = []
    for pair in every:
        one = pair[0]
        open_ = [other for other in open_ if other.type == one.type and other.end > one.start]
        if not any(one.end <= other.end and one.score <= other.score for other in open_):
            kept.append(pair)
            open_.append(one)
    return sorted(kept, key=lambda pair: (-pair[0].score, pair[0].start, pair[0].start - pair[0].end))
