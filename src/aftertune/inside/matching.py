"""Harmful prompts and their harmless look-alikes, matched one to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from aftertune.records import Prompt
from aftertune.text import words

PAIR = "pair"
"""Key of `Prompt.expect` under which a benchmark names a prompt's look-alike."""


def matched_pairs(first: Sequence[Prompt], second: Sequence[Prompt]) -> list[tuple[Prompt, Prompt]]:
    """Return pairs of prompts, one of `first` with one of `second`, each in one pair at most, in the order of `first`.

    Where prompts name their look-alike (`expect["pair"]`), those pairs and no others. Otherwise the assignment with the
    most shared words: 2 |A and B| / (|A| + |B|) of the prompts' words as multisets (Dice, Ecology 26 (1945) 297-302),
    summed over pairs and made as large as it can be (optimal matching: Rosenbaum, JASA 84 (1989) 1024-1032). Prompts of
    the longer list that fit worst are left out.
    """
    by_id = {prompt.id: prompt for prompt in second}
    named = [(prompt, by_id[other]) for prompt in first if (other := prompt.expect.get(PAIR)) in by_id]
    if named or not first or not second:
        return named
    columns = [_words(prompt) for prompt in second]
    likeness = np.array([[_dice(row, column) for column in columns] for row in map(_words, first)])
    rows, chosen = linear_sum_assignment(likeness, maximize=True)
    return [(first[row], second[column]) for row, column in zip(rows.tolist(), chosen.tolist(), strict=True)]


def _words(prompt: Prompt) -> Counter[str]:
    return Counter(words(" ".join(message.content for message in prompt.messages)))


def _dice(one: Counter[str], other: Counter[str]) -> float:
    return 2 * (one & other).total() / max(one.total() + other.total(), 1)
