"""How conversations begin, so that a request can be put behind the opening of another one."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aftertune.records import Conversation, Message, seed_of

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_LONGEST = 400
"""Characters of an opening."""


@dataclass(frozen=True)
class Opening:
    """What a conversation says before it asks for anything."""

    system: tuple[Message, ...]
    """Its system turn, if it has one."""
    text: str
    """The sentences with which its first user turn begins, up to two and before its first question."""

    def before(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return the messages of a request with this opening in its last turn; its own system turn is left out."""
        *earlier, last = messages
        request = Message(last.role, f"{self.text} {last.content}")
        return (*self.system, *(each for each in earlier if each.role != "system"), request)


def openings_of(conversations: Iterable[Conversation]) -> list[Opening]:
    """Return the openings of conversations; one without a user's turn has none."""
    return [found for each in conversations if (found := _opening(each)) is not None]


def behind_openings(
    conversations: Iterable[Conversation], rows: Iterable[Conversation], seed: int
) -> list[Conversation]:
    """Return conversations with each request behind the opening of a row, drawn by `seed`.

    The last turn of each is its answer and stays as it is. There are none where no row has a user's turn.
    """
    openings = openings_of(rows)
    if not openings:
        return []
    rng = random.Random(seed_of("openings", seed))
    return [
        replace(each, id=f"{each.id}-in-context", messages=(*rng.choice(openings).before(asked), answer))
        for each in conversations
        for *asked, answer in [each.messages]
    ]


def _opening(row: Conversation) -> Opening | None:
    system = tuple(each for each in row.messages[:1] if each.role == "system")
    turn = next((each for each in row.messages if each.role == "user" and each.content.strip()), None)
    if turn is None:
        return None
    sentences = [each.strip() for each in _SENTENCE.split(turn.content.strip()) if each.strip()]
    plain = []
    for sentence in sentences:
        if sentence.endswith("?"):
            break
        plain.append(sentence)
    text = " ".join(plain[:2] or sentences[:1])[:_LONGEST].strip()
    return Opening(system, text if text[-1:] in ".!?" else f"{text}.")
