"""The states of a check and of a run: their order, what each is called, and what it means.

- `pass`: within the margin, the whole interval.
- `drift`: beyond the margin, by a test that holds for all checks of the arm at once.
- `unconfirmed`: the whole interval lies beyond the margin, but that test, which allows for looking at several metrics,
  is not met. Nobody may ship on it, and nobody may call it shown.
- `undecided`: the interval reaches across the margin, or nothing was measured.
- `error`: the check could not be made.
"""

from __future__ import annotations

from collections.abc import Mapping

from aftertune.records import Outcome

SEVERITY: tuple[Outcome, ...] = ("error", "drift", "unconfirmed", "undecided", "pass")
"""The worst first."""

WORDS: Mapping[Outcome, str] = {
    "pass": "Pass",
    "drift": "Drift",
    "unconfirmed": "Beyond the margin, not confirmed",
    "undecided": "Undecided",
    "error": "Error",
}
"""As a heading, or a label with room."""

LEAST_YOUDEN = 0.5
"""Sensitivity + specificity - 1 (Youden 1950) on known answers, below which no outcome may rest on a judge."""


def words(outcome: Outcome) -> str:
    """Return a state as it reads within a sentence, e.g. `beyond the margin, not confirmed`."""
    return WORDS[outcome].lower()


def with_words(outcome: Outcome) -> str:
    """Return the identifier, with its meaning where that does not say it: `unconfirmed (beyond the margin, ...)`."""
    return f"{outcome} ({words(outcome)})" if words(outcome) != outcome else outcome
