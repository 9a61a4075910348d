"""Conversations mixed into the training rows: how many, and which."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

from aftertune.records import Conversation, seed_of


def mixed(
    rows: Sequence[Conversation], extra: Sequence[Conversation], share: float, seed: int
) -> Sequence[Conversation]:
    """Return the rows with so many of `extra` behind them as are `share` of the rows' number, rounded up.

    Which of them is drawn by the seed; where there are too few, all come equally often, but for the last round. The
    order does not matter: the trainer shuffles. A share of 0 returns the rows themselves.
    """
    count = number(len(rows), share)
    if not count:
        return rows
    rng = random.Random(seed_of("mixed in", seed))
    drawn: list[Conversation] = []
    while len(drawn) < count:
        again = rng.sample(list(extra), min(len(extra), count - len(drawn)))
        at = len(drawn) // len(extra)
        drawn += [dataclasses.replace(each, id=f"mixed-{at}-{each.id}") for each in again]
    return [*rows, *drawn]


def number(rows: int, share: float) -> int:
    """Return how many conversations are a share of a number of rows, rounded up; 0 for a share of 0."""
    return -int(-rows * share // 1)
