"""Which way a metric is worse: as a sign, in words, and of a difference with its interval."""

from __future__ import annotations

from typing import Literal

from aftertune.records import Worse

Verdict = Literal["worse", "better", ""]
"""Empty where neither is shown."""


def sign(worse: Worse) -> int:
    """Return the factor that makes a difference positive where it is for the worse."""
    return 1 if worse == "up" else -1


def words(worse: Worse) -> str:
    """Return `higher is worse` or `lower is worse`."""
    return "higher is worse" if worse == "up" else "lower is worse"


def sentence(worse: Worse) -> str:
    """Return `Higher is worse.` or `Lower is worse.`"""
    return f"{words(worse).capitalize()}."


def opposite(worse: Worse) -> Worse:
    """Return the other direction."""
    return "down" if worse == "up" else "up"


def loss(delta: float | None, worse: Worse) -> float:
    """Return a difference (tuned - base) with its sign such that positive is worse; 0 where it is not known."""
    return sign(worse) * (delta or 0.0)


def good_end(low: float | None, high: float | None, worse: Worse) -> float | None:
    """Return the better end of an interval as a loss, positive where even that is worse than the base."""
    if low is None or high is None:
        return None
    return low if worse == "up" else -high


def of_interval(low: float, high: float, worse: Worse) -> Verdict:
    """Return which way a difference went, or empty where its interval holds zero."""
    if low <= 0 <= high:
        return ""
    return "worse" if (low > 0) == (worse == "up") else "better"


def of_label(before: bool, after: bool, worse: Worse) -> Verdict:
    """Return which way a response went that had (`before`) or has (`after`) the label that a metric counts."""
    if before == after:
        return ""
    return "worse" if after == (worse == "up") else "better"
