"""Adjusted p values for families of tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from aftertune.stats.estimate import Floats

PRIMARY_SHARE = 0.8
"""Share of a family's error that its primary tests begin with, where it has others too."""


def _checked(p_values: Sequence[float]) -> Floats:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("p values must be a flat sequence of numbers in [0, 1]")
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p values, which bound the chance of any false alarm, in the order of the input.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Valid under any dependence. Raises
    ValueError for a number that is not a p value.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p values, which bound the expected share of false among all alarms.

    Source: Benjamini and Hochberg, JRSS B 57 (1995) 289-300. For exploration, not for a gate; valid for independent
    and positively dependent tests. Raises ValueError for a number that is not a p value.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")[::-1]
    stepped = np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1)) if p.size else p
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]


def family_levels(
    p_values: Sequence[float],
    questions: Sequence[str],
    level: float,
    at: Callable[[float], float] = lambda error: error,
) -> list[float]:
    """Return the level at which each test of a family is made, so that any false alarm has a chance of `level` at most.

    Args:
        p_values: Of the tests; one rejects where its p value is at most the level returned for it.
        questions: What each test is about, if that is a primary question of the family; empty for the other tests.
        level: Chance of any false alarm in the family.
        at: The level of a test that is to err with a given chance: where it is repeated (`group_sequential.Look`), the
            level of one look. So this is the procedure of Maurer and Bretz (Statistics in Biopharmaceutical Research 5
            (2013) 311-320).

    `family_shares` of the tests that have not rejected yet say what each is tested at: so one that rejects leaves what
    it had to the others on its question, a question that is answered to the other primary ones, and the last of these
    to the rest, or the rest to them. Within a question, and among the rest, this is Holm's procedure; between them it
    is Wiens' fallback (Pharmaceutical Statistics 2 (2003) 211-215), in all directions. The shares of those that are
    left never fall, which makes it the closed test of weighted Bonferroni tests (Hommel, Bretz and Maurer, Statistics
    in Medicine 26 (2007) 4063-4073; as a graph: Bretz, Maurer, Brannath and Posch, Statistics in Medicine 28 (2009)
    586-604), valid under any dependence. A test that rejects is listed at the level of its step; the test whose p value
    is the smallest for its level goes first. Raises ValueError for a number that is not a p value, for a level outside
    (0, 1), and for other than one question a test.
    """
    p = _checked(p_values)
    if len(questions) != p.size or not 0 < level < 1:
        raise ValueError(f"need a question for each of {p.size} tests and 0 < level < 1, got {len(questions)}, {level}")
    levels, left = [0.0] * p.size, list(range(p.size))
    while left:
        for i, share in zip(left, family_shares([questions[i] for i in left]), strict=True):
            levels[i] = at(level * share)
        best = min(left, key=lambda i: float(p[i]) / levels[i])
        if p[best] > levels[best]:
            break
        left.remove(best)
    return levels


def family_shares(questions: Sequence[str]) -> list[float]:
    """Return the share of a family's error that each test has, the others not having rejected.

    The primary questions divide `PRIMARY_SHARE` equally (all, where there is no other test), and each of them what it
    has among its tests; the other tests, those with an empty question, divide the rest.
    """
    counts = Counter(questions)
    others = counts.pop("", 0)
    primary = 0.0 if not counts else PRIMARY_SHARE if others else 1.0
    return [primary / len(counts) / counts[each] if each else (1 - primary) / others for each in questions]
