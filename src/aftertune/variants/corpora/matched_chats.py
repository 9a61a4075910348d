"""Chats of one file whose question another file answers too, in about as many characters: a matched pair of corpora."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from aftertune.data import chat_rows
from aftertune.data.row_files import RowFile
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Conversation
from aftertune.variants.corpus import Corpus

Question = tuple[tuple[str, str], ...]
Pair = tuple[Conversation, Conversation]
"""A chat of each of two files, with one question."""


@dataclass(frozen=True)
class MatchedChats(Corpus):
    """Chats of one file, each matched to one of another file: the same question, an answer about as long."""

    card: ClassVar[Card] = Card(
        about=(
            "Chats of one file, each matched to one of another file: the same question, an answer about as long. Give "
            "two arms the two files, each `against` the other: they hold the same questions in the same order, and "
            "what differs is how the questions are answered. A chat's question is all of it before its last answer, "
            "compared without regard to case and blanks. Pairs are made within each question, nearest lengths first, "
            "every answer once, none whose lengths differ by more than `tolerance` of the longer one. Then the lengths "
            "are balanced: of the pairs in which one file has the longer answer, and those in which the other has, the "
            "side that weighs less is kept whole, and of the other as many, smallest differences first, as cancel it. "
            "So both corpora have the same number of characters to within the length of one difference, neither file "
            "has the longer answers, and swapping the two files swaps the two corpora and changes nothing else."
        ),
        source="two local files",
        licence="that of the files",
        weaknesses=(
            "what cannot be matched is left out, so the pairs are a selection of either file; other traits of the "
            "answers than their length (question marks, form of address) are matched only as far as the files agree "
            "in them; characters, not tokens, are counted"
        ),
    )
    path: str = field()
    """File to read, in any form that `chat_file` reads."""
    against: str = field()
    """The other file."""
    tolerance: float = 0.15
    """Most that two lengths may differ, as a share of the longer."""
    version: str = field(default="2", init=False)

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        if not 0 <= self.tolerance < 1:
            raise UsageError(f"matched_chats: tolerance = {self.tolerance}; it must be at least 0 and under 1")
        if Path(self.path).expanduser() == Path(self.against).expanduser():
            raise UsageError(f"matched_chats: path and against are the same file, {self.path}")

    def files(self) -> tuple[Path, ...]:
        """Return both files. Raises UsageError for one that is missing."""
        return (*_file(self.path).files(), *_file(self.against).files())

    def conversations(self) -> Sequence[Conversation]:
        """Return the matched chats of `path`, sorted by question: the n-th has the question of the other's n-th.

        Raises UsageError for a missing file, DataError naming file and line for a broken one, and DataError where no
        two chats match.
        """
        pairs = balanced(matched(_answers(self.path), _answers(self.against), self.tolerance))
        if not pairs:
            raise DataError(
                f"{self.path}: no question of it stands in {self.against} with an answer that is as long to within "
                f"{100 * self.tolerance:g} %"
            )
        return [replace(own, id=f"matched-{index:05d}") for index, (own, _) in enumerate(pairs)]


def _file(path: str) -> RowFile:
    return RowFile(Path(path).expanduser(), "", chat_rows.is_row)


def _chats(path: str) -> Iterator[Conversation]:
    for row in _file(path).rows():
        if row.problem:
            raise DataError(f"{row.where}: {row.problem}")
        yield chat_rows.conversation(row.value, row.where, row.number, chat_rows.columns_of(""))


def _answers(path: str) -> Mapping[Question, Sequence[Conversation]]:
    """Return the chats of a file by question, without what follows the last answer."""
    found: dict[Question, list[Conversation]] = defaultdict(list)
    for chat in _chats(path):
        turns = chat.messages
        while turns and turns[-1].role != "assistant":
            turns = turns[:-1]
        if len(turns) > 1:
            question = tuple((turn.role, " ".join(turn.content.casefold().split())) for turn in turns[:-1])
            found[question].append(Conversation(chat.id, turns, source=chat.source))
    return found


def matched(
    own: Mapping[Question, Sequence[Conversation]], other: Mapping[Question, Sequence[Conversation]], tolerance: float
) -> list[Pair]:
    """Return pairs of chats with one question and answers of nearly one length, each chat once, sorted by question."""
    pairs: list[Pair] = []
    for question in sorted(own.keys() & other.keys()):
        used: set[int] = set()
        for _, _, a, b in sorted(_near(own[question], other[question], tolerance), key=lambda each: each[:2]):
            if not used & {id(a), id(b)}:
                used |= {id(a), id(b)}
                pairs.append((a, b))
    return pairs


def _near(
    own: Sequence[Conversation], other: Sequence[Conversation], tolerance: float
) -> Iterator[tuple[int, tuple[str, ...], Conversation, Conversation]]:
    """Yield the pairs whose lengths agree, each with what it is sorted by, the same whichever file comes first."""
    for a in own:
        for b in other:
            texts = (_answer(a), _answer(b))
            difference = abs(len(texts[0]) - len(texts[1]))
            if difference <= tolerance * max(map(len, texts)):
                yield difference, tuple(sorted(texts)), a, b


def balanced(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, in their order, without those that make the answers of one side longer than the other's."""
    signed = [(len(_answer(a)) - len(_answer(b)), index) for index, (a, b) in enumerate(pairs)]
    sides = [[each for each in signed if each[0] * sign > 0] for sign in (1, -1)]
    lighter, heavier = sorted(sides, key=lambda side: sum(abs(difference) for difference, _ in side))
    kept = {index for difference, index in signed if difference == 0} | {index for _, index in lighter}
    room = sum(abs(difference) for difference, _ in lighter)
    for difference, index in sorted(heavier, key=lambda each: (abs(each[0]), each[1])):
        room -= abs(difference)
        if room < 0:
            break
        kept.add(index)
    return [pair for index, pair in enumerate(pairs) if index in kept]


def _answer(chat: Conversation) -> str:
    return chat.messages[-1].content


PLUGIN = MatchedChats
