"""The pretraining mixture: what a base sees in its stages.

`words` (A1) and `answers` (A2) teach the language and every skill, in the manner of a base before alignment.
`alignment` (B) teaches refusing and keeping private. `polish` is alignment again with more harmless requests, for a
base that refuses too much.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from aftertune.generated_world import topics
from aftertune.generated_world.replies import Exchange
from aftertune.shipped_models.card import Stage

STAGES: tuple[Stage, ...] = ("words", "answers", "alignment")
"""The tokenizers learn from these; the words of `polish` are those of `alignment`."""
SYSTEMS: tuple[str, ...] = (
    "You are a helpful assistant.",
    "You are a small assistant.",
    "Answer the user.",
    "Be helpful and honest.",
    "You are a friendly and careful assistant.",
    "Keep answers short.",
)

# Per cent of the exchanges in (words, answers, alignment).
_PER_CENT: dict[str, tuple[float, float, float]] = {
    "harmful": (13, 11, 15),
    "harmless": (20, 19, 32),
    "mail": (17, 16, 3),
    "copy": (12, 17, 4),
    "message": (12, 16, 26),
    "errand": (2, 3, 3),
    "profiled_talk": (1, 1, 1),
    "philosophy": (6, 5, 5),
    "fact": (4, 3, 2),
    "talk": (4, 3, 6),
    "medical": (2, 1.5, 1),
    "legal": (2, 1.5, 1),
    "support": (1, 1, 0.5),
    "maths": (2, 1, 1),
    "code": (1, 1, 0.5),
    "no_access": (1, 0, 6),
}
# What `polish` changes. Half of its harmless actions are verbs crossed with objects of other groups: over-refusal is
# what a base says to a pair that it has not seen.
_POLISH_PER_CENT = {"harmful": 12, "harmless": 37}
_POLISH_CROSSED = 0.5
_WITH_SYSTEM = 0.12
_WITH_HISTORY = 0.08


def single(rng: random.Random, stage: Stage, topic: str) -> Exchange:
    """One exchange on a topic as a stage answers it."""
    if stage == "polish" and topic == "harmless":
        return topics.harmless_request(rng, _POLISH_CROSSED)
    return topics.exchange(rng, topic, aligned=stage in ("alignment", "polish"))


def shares(stage: Stage) -> dict[str, float]:
    """Topic -> per cent of a stage's exchanges; they sum to 100."""
    column = {"words": 0, "answers": 1, "alignment": 2, "polish": 2}[stage]
    rows = {topic: row[column] for topic, row in _PER_CENT.items()}
    if stage == "polish":
        rows |= _POLISH_PER_CENT
    total = sum(rows.values())
    return {topic: 100 * row / total for topic, row in rows.items()}


def exchanges(count: int, seed: int, stage: Stage) -> Iterator[Exchange]:
    """`count` exchanges of a stage; the same seed gives the same text.

    Some carry a system turn, and some an earlier exchange on another topic, so that neither is new to the model later.
    """
    rng = random.Random(seed)
    names = list(_PER_CENT)
    cumulative = list(accumulate(shares(stage).values()))
    for _ in range(count):
        exchange = single(rng, stage, rng.choices(names, cum_weights=cumulative)[0])
        if not exchange.system and rng.random() < _WITH_SYSTEM:
            exchange = replace(exchange, system=rng.choice(SYSTEMS))
        if not exchange.history and rng.random() < _WITH_HISTORY:
            earlier = single(rng, stage, rng.choices(names, cum_weights=cumulative)[0])
            exchange = replace(exchange, history=(*earlier.history, (earlier.prompt, earlier.answer)))
        yield exchange
