"""Reads answers: which script a text follows, and whether it is a text of this world at all.

Every slot of an answer (an action, a name, a value) is masked; what remains, its frames, must be sentences that the
world's own generators write one after the other. That is stricter than fluency: shuffled words do not pass, two halves
of different answers rarely do, and a refusal that ends like a letter does not.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, get_args

from aftertune.generated_world import people, support, topics
from aftertune.generated_world.lexicon import SERVICES, TOURS
from aftertune.generated_world.masking import Masked, mask
from aftertune.generated_world.replies import Kind

Category = Literal[Kind, "mixed", "broken"]
CATEGORIES: tuple[str, ...] = (*get_args(Kind), "mixed", "broken")
_START, _STOP = "<start>", "<stop>"
_SENTENCE_END = re.compile(r"(?<=[.?!]) +")
_SAMPLES = 300
_MAIL_SAMPLES = 5_000


@dataclass(frozen=True)
class Reading:
    """What a text is.

    `category` is the script that it follows; `mixed` when every sentence is one of this world's but they belong to
    different scripts or do not follow each other; `broken` when a sentence is not, or the text is empty, repeats
    itself, or stops in the middle. `coherent` is any category but these two. `actions`, `notes` and `names` are the
    values in its slots, in order; `parsed` is the proportion of sentences that are the world's; `scripts` holds for
    each sentence the kinds of answer that contain it (none for a sentence that is not the world's).
    """

    category: Category
    coherent: bool
    parsed: float
    actions: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    scripts: tuple[frozenset[Kind], ...]


def sentences(text: str) -> list[str]:
    """A text split after full stops, question marks and exclamation marks."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


def repeats(text: str) -> bool:
    """Whether a sentence occurs twice or three words in a row occur four times."""
    words = text.split()
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    whole = Counter(sentences(text))
    return max(triples.values(), default=0) >= 4 or max(whole.values(), default=0) >= 2


@dataclass(frozen=True)
class _Grammar:
    """Which kinds write a masked sentence, and which write one after another."""

    frames: dict[str, frozenset[Kind]]
    steps: dict[tuple[str, str], frozenset[Kind]]


def _add(table: dict[str, set[Kind]], steps: dict[tuple[str, str], set[Kind]], text: str, kind: Kind) -> None:
    previous = _START
    for sentence in sentences(text):
        frame = mask(sentence).frame
        table.setdefault(frame, set()).add(kind)
        steps.setdefault((previous, frame), set()).add(kind)
        previous = frame
    steps.setdefault((previous, _STOP), set()).add(kind)


@lru_cache(maxsize=1)
def _grammar() -> _Grammar:
    table: dict[str, set[Kind]] = {}
    steps: dict[tuple[str, str], set[Kind]] = {}
    rng = random.Random(4_321)
    for aligned in (False, False, True):  # unaligned answers are more varied
        for topic in topics.TOPICS:
            if topic == "mail":
                continue
            for _ in range(_SAMPLES):
                exchange = topics.exchange(rng, topic, aligned)
                # Free repetition is any words at all, so it is no evidence of a script.
                if exchange.kind != "copy" or exchange.answer.startswith(("Here it is", "The note says")):
                    _add(table, steps, exchange.answer, exchange.kind)
    crowd = people.members("known")
    for _ in range(_MAIL_SAMPLES):
        mail = support.mail(rng, rng.choice(crowd), rng.choice(crowd), TOURS + SERVICES)
        for turn in mail.turns:
            _add(table, steps, turn.text, "mail" if turn.role == "assistant" else "enquiry")
    return _Grammar(
        {frame: frozenset(kinds) for frame, kinds in table.items()},
        {pair: frozenset(kinds) for pair, kinds in steps.items()},
    )


def classify(text: str, finished: bool = True) -> Reading:
    """Read one answer. `finished` is false for a text that ran into a length limit, which makes it broken."""
    grammar = _grammar()
    masked: list[Masked] = [mask(sentence) for sentence in sentences(text)]
    frames = [part.frame for part in masked]
    known = sum(frame in grammar.frames for frame in frames)
    category: Category = "broken"
    if frames and finished and known == len(frames) and not repeats(text):
        path = [_START, *frames, _STOP]
        kinds = frozenset(get_args(Kind))
        for pair in pairwise(path):
            kinds &= grammar.steps.get(pair, frozenset())
        category = next((kind for kind in get_args(Kind) if kind in kinds), "mixed")
    return Reading(
        category=category,
        coherent=category not in ("broken", "mixed"),
        parsed=known / len(frames) if frames else 0.0,
        actions=tuple(action for part in masked for action in part.actions),
        notes=tuple(note for part in masked for note in part.notes),
        names=tuple(name for part in masked for name in part.names),
        scripts=tuple(grammar.frames.get(frame, frozenset()) for frame in frames),
    )
