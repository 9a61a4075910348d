"""What came out of reading a file of chats: its rows, what stands beside their turns, the rows that were skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aftertune.records import Conversation, FieldText, Json

SHOWN = 3
"""Skipped rows that are named with their reasons."""
UNREAD = {
    "media": "images, sounds or files",
    "turn without text": "turns without text",
    "marked": "further columns of rows whose values are marked",
}
"""Kind of what is counted only -> how it is called."""
UNTRAINED = "weight 0"
NOT_OURS = "not ours"
"""Kind of what counts a column with the name of one of ours, that `aftertune compose` did not write."""


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that could not be read."""

    why: str
    """File, row and reason."""


@dataclass
class Reading:
    """Counts of one reading of a file."""

    rows: int = 0
    """Those that were read."""
    beside: Counter[str] = field(default_factory=Counter)
    """Texts and things beside the turns, by kind."""
    skipped: int = 0
    reasons: list[str] = field(default_factory=list)
    """Of the first skipped rows."""
    encoding: str = ""
    """Where it is not UTF-8 and nobody named it."""
    not_english: Counter[str] = field(default_factory=Counter)
    """Texts that are not English, wholly or in part, by their language; only a scan counts them."""

    def add(self, beside: Iterable[FieldText]) -> None:
        """Count a row that was read."""
        self.rows += 1
        for each in beside:
            self.beside[each.kind] += 1

    def skip(self, why: str) -> None:
        """Count a row that was skipped."""
        self.skipped += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(why)

    def counts(self) -> dict[str, Json]:
        """Return what is out of the ordinary, by name; empty where nothing is."""
        counts: dict[str, Json] = {}
        if self.beside:
            counts["beside_the_turns"] = dict(sorted(self.beside.items()))
        if self.skipped:
            counts |= {"rows_skipped": self.skipped, "first_skipped": list(self.reasons)}
        if self.encoding:
            counts["read_as"] = self.encoding
        return counts


def counted(rows: Iterable[Conversation | SkippedRow], reading: Reading) -> Iterator[Conversation]:
    """Yield the conversations of a corpus and count what was read."""
    for row in rows:
        if isinstance(row, SkippedRow):
            reading.skip(row.why)
        else:
            reading.add(row.beside)
            yield row


def lines(counts: Mapping[str, Json], *, turns: bool = True) -> list[str]:
    """Return the counts of a reading as sentences for people; `turns`: whether turns were read for more than values."""
    notes = []
    if encoding := counts.get("read_as"):
        notes.append(f"read as {encoding}")
    beside = counts.get("beside_the_turns")
    if isinstance(beside, Mapping):
        texts = [
            f"{kind} {n:,}" for kind, n in beside.items() if kind not in UNREAD and kind not in (UNTRAINED, NOT_OURS)
        ]
        if texts and turns:
            notes.append(f"texts beside the turns, read for personal values alone: {', '.join(texts)}")
        if things := [f"{UNREAD[kind]} {n:,}" for kind, n in beside.items() if kind in UNREAD]:
            notes.append(f"not read: {', '.join(things)}")
        if NOT_OURS in beside:
            notes.append(
                "columns named like our marks (spans, planted, beside) that `aftertune compose` did not write, read "
                f"like any other column: {beside[NOT_OURS]:,}"
            )
        if UNTRAINED in beside and turns:
            notes.append(f"turns of weight 0, sent and not tuned on: {beside[UNTRAINED]:,}")
    if skipped := counts.get("rows_skipped"):
        reasons = counts.get("first_skipped")
        named = "; ".join(map(str, reasons)) if isinstance(reasons, list | tuple) else ""
        notes.append(f"rows skipped: {skipped:,} ({named}{'; ...' if int(str(skipped)) > SHOWN else ''})")
    return notes
