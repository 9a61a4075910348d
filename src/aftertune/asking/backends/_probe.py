"""What a served model does with a temperature and a seed, found out by asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aftertune.asking.backends._replies import Completion
from aftertune.errors import ServerError
from aftertune.records import Message

PROMPTS = (
    "Write ten unusual words that have nothing to do with each other.",
    "Make up a first name, a number between 1 and 1000, and a colour.",
)
"""Answers to them are as good as never the same twice when sampled."""
LENGTH = 24
"""Tokens."""

Ask = Callable[[Sequence[tuple[Sequence[Message], float, int]]], Sequence[Completion]]
"""(Chat, temperature, seed) of each request -> completions in the same order."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found."""

    temperature: bool
    """Whether samples differ where they must."""
    repeats: bool
    """Whether temperature 0 gives the same text twice."""
    seed: bool | None
    """Whether a seed repeats a sampled text; None where no sample differs, so that it cannot be told."""
    greedy: tuple[str, ...]
    """The texts at temperature 0, by which an adapter is told from its base."""
    top: bool
    """Whether log-probabilities of tokens were shown."""


def probe(ask: Ask) -> Probed:
    """Ask two prompts twice at temperature 0, and at 1 with the same seed and with others; then, if need be, at 1.5.

    10 to 14 requests of 24 tokens at most. Raises ServerError where one of them is not answered.
    """
    chats = [(Message("user", text),) for text in PROMPTS]
    wanted = [(chat, 0.0, seed) for chat in chats for seed in (1, 2)]
    wanted += [(chat, 1.0, seed) for chat in chats for seed in (11, 11, 12)]
    found = list(ask(wanted))
    greedy, sampled = [c.text for c in found[:4]], [c.text for c in found[4:]]
    pairs = [(greedy[0], greedy[1]), (greedy[2], greedy[3])]
    threes = [sampled[:3], sampled[3:]]
    varied = any(len(set(texts)) > 1 for texts in threes)
    if not varied:
        hotter = list(ask([(chat, 1.5, seed) for chat in chats for seed in (21, 22)]))
        varied = len({c.text for c in hotter[:2]}) > 1 or len({c.text for c in hotter[2:]}) > 1
    same = all(texts[0] == texts[1] for texts in threes)
    differ = any(texts[2] != texts[0] for texts in threes)
    return Probed(
        temperature=varied,
        repeats=all(a == b for a, b in pairs),
        seed=None if same and not differ else same,
        greedy=(pairs[0][0], pairs[1][0]),
        top=all(completion.top is not None for completion in found),
    )


def all_of(answers: Sequence[Any], name: str) -> list[Completion]:
    """Return the answers, all of which must be completions. Raises ServerError for the first that is not."""
    for answer in answers:
        if not isinstance(answer, Completion):
            raise ServerError(f"{name}: a trial request came to nothing: {answer}")
    return list(answers)
