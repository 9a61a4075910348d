"""What a paper found, as a rule on an interval of ours: whether the finding shows is computed, never said by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from aftertune.errors import UsageError

Kind = Literal["down", "up", "under", "over", "within", "beyond chance"]
Shown = Literal["shows", "does not show", "open", "cannot be asked", "not measured"]
FORMS = "`down`, `up`, `under N`, `over N`, `within N` or `beyond chance`"
_RULE = re.compile(r"(down|up|beyond chance)|(under(?= )|over(?= )|within(?= \d)) (-?\d+(?:\.\d+)?)")

_NO_CHANGE = frozenset({
    "spread", "d_prime", "criterion", "auroc", "violation", "harmful_leaking", "off_topic_leaking", "safe_off_topic",
    "membership_auc", "membership_tpr",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expectation:
    """A rule on a number with its interval."""

    kind: Kind
    bound: float = 0.0
    """In the unit that the table shows: per cent or points for shares."""

    def shown(self, low: float, high: float) -> Shown:
        """Return whether an interval shows what the rule says, its contrary, or neither.

        A rule on a mixed-sign rate is given the rate twice, less the upper end of what label swaps give.
        """
        yes, no = {
            "down": (high < 0, low > 0),
            "up": (low > 0, high < 0),
            "under": (high < self.bound, low >= self.bound),
            "over": (low > self.bound, high <= self.bound),
            "within": (-self.bound <= low and high <= self.bound, low > self.bound or high < -self.bound),
            "beyond chance": (low > 0, high <= 0),
        }[self.kind]
        return "shows" if yes else "does not show" if no else "open"


def read(text: object, at: str) -> Expectation:
    """Return the rule that a text says; `at` names it in errors. Raises UsageError for any other text."""
    match = _RULE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise UsageError(f"{at}: {text!r} is no rule: give {FORMS}")
    word, other, bound = match.groups()
    kind: Kind = next(each for each in get_args(Kind) if each == (word or other))
    return Expectation(kind, float(bound or 0))


def refuse(rule: Expectation, what: str, arm: str, at: str) -> None:
    """Raise UsageError for a rule that cannot be told from the numbers of a column."""
    if (rule.kind == "beyond chance") != (what == "mixed_sign"):
        raise UsageError(f"{at}: `beyond chance` belongs to columns with what = 'mixed_sign', and they take no other")
    if rule.kind in ("down", "up") and what in _NO_CHANGE:
        raise UsageError(f"{at}: what = '{what}' is no change: give `under N` or `over N`")
    if rule.kind in ("down", "up") and arm == "base":
        raise UsageError(f"{at}: the base does not move: give `under N` or `over N`")
