"""Values that stand for a missing one: empty cells and their spellings, and marks such as -1 or 999 among rates."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

WORDS = frozenset(("", "nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null"))
"""What tools write for an empty cell, in small letters."""
_NINES = re.compile(r"-9+|99+")
_FAR = 9.0
"""Times the largest other value from which a 99 or 999 is no value of the same scale."""


def marks(values: NDArray[np.float64]) -> list[float]:
    """Return the values of one metric that stand for "missing", in ascending order; NaN is left aside.

    These are -1, -9, -99, ... where nothing else is negative, and 99, 999, ... where everything else is a ninth of it
    at most: the marks of statistics packages and of parsers that found no verdict. Among rates, where all others lie
    from 0 to 1, it is every whole number under 0 or from 9 on. A metric that holds nothing but one such mark has no
    value either, a 99 excepted, which a scale of 0 to 100 may hold.
    """
    distinct = np.unique(values[np.isfinite(values)])
    beyond = distinct[(distinct < 0) | (distinct > 1)]
    if distinct.size >= beyond.size + 2 and np.all((beyond == np.floor(beyond)) & ((beyond < 0) | (beyond >= _FAR))):
        return [float(each) for each in beyond]
    marked = [float(each) for each in distinct if each == -1 or (each == int(each) and _NINES.fullmatch(f"{each:.0f}"))]
    others = distinct[~np.isin(distinct, marked)]
    if not others.size:
        return [each for each in marked if each < 0 or each > 99] if len(marked) == 1 else []
    lowest, highest = float(others.min()), float(others.max())
    return [each for each in marked if (lowest >= 0 if each < 0 else each >= max(_FAR * highest, 99))]


def or_grades(values: NDArray[np.float64]) -> str:
    """Return what is to be said besides where the values are -1, 0 and 1, which may be three grades; else nothing."""
    three = np.array_equal(np.unique(values[np.isfinite(values)]), [-1.0, 0.0, 1.0])
    return "; if -1, 0 and 1 are three grades, give them as 0, 0.5 and 1" if three else ""


def beside_shares(values: NDArray[np.float64]) -> str:
    """Return in words what stands among values of 0 and 1 and is neither, nor between them; empty where nothing does.

    That is the case where more than half of the values are 0 or 1, both occur, and all others are whole numbers: a
    third label, or a count, which turns a share of answers into a mean of a scale. NaN is left aside.
    """
    known = values[np.isfinite(values)]
    binary = (known == 0) | (known == 1)
    others = np.unique(known[~binary])
    mixed = others.size > 0 and np.unique(known[binary]).size == 2 and 2 * int(binary.sum()) > known.size
    if not mixed or np.any(others != np.floor(others)):
        return ""
    shown = ", ".join(f"{each:g}" for each in others[:4]) + (", ..." if others.size > 4 else "")
    return f"{int(binary.sum()):,} of {known.size:,} values are 0 or 1, and {int((~binary).sum()):,} are {shown}"


def no_share(metric: str, seen: str, *, refused: bool = True) -> str:
    """Return a sentence about such values."""
    if refused:
        return (
            f"{metric}: {seen}: an answer is right or not, or in between; leave the cell empty where nothing could be "
            "judged, give grades from 0 to 1, or give a scale another name"
        )
    return (
        f"{metric}: {seen}: read as a scale, of which means are compared and no shares of answers; if they are no "
        "values, leave their cells empty"
    )


def written(values: list[float]) -> str:
    """Return marks for a message, e.g. `-1 and 999`."""
    return " and ".join(f"{value:.0f}" for value in values)
