"""How fast a server is asked: limits, what has been spent, how many at once, and the pause that it asks for."""

from __future__ import annotations

import email.utils
import math
from collections import Counter
from dataclasses import dataclass, field, replace

START = 4.0
"""Requests at once, to begin with."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How a server may be asked; the fields are those of the backend `endpoint`."""

    concurrency: int
    timeout_s: float
    retries: int
    backoff_s: float
    budget_requests: int
    budget_tokens: int


@dataclass
class Ledger:
    """What has been spent, and how it went."""

    requests: int = 0
    """Sent, repeats included."""
    answered: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    reserved: int = 0
    """Tokens that the requests in flight may still cost."""
    again: Counter[str] = field(default_factory=Counter)
    """Reason -> how often a request was tried again for it."""
    most_at_once: int = 0
    begun: int = 0
    """How many runs began or went on: what was found out about models holds for one."""

    def begin(self) -> None:
        """Count anew."""
        for name, value in vars(Ledger(begun=self.begun + 1)).items():
            setattr(self, name, value)

    def copy(self) -> Ledger:
        """Return the same counts, which stand still."""
        return replace(self, again=Counter(self.again))

    def since(self, then: Ledger) -> Ledger:
        """Return what came to it since `then`, an earlier copy."""
        names = ("requests", "answered", "failed", "prompt_tokens", "new_tokens")
        more = {name: getattr(self, name) - getattr(then, name) for name in names}
        return replace(self, again=self.again - then.again, **more)

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.prompt_tokens + self.new_tokens


class Pace:
    """How many requests may be in flight: additive increase, multiplicative decrease (Chiu and Jain 1989).

    Up by one per answer until the first trouble (which doubles it each round trip), by one per round trip after it.
    Halved by trouble, once for all requests that were sent before the last halving.
    """

    def __init__(self, ceiling: int) -> None:
        """Start low, with `ceiling` never passed."""
        self.ceiling = ceiling
        self.limit = min(START, float(ceiling))
        self._troubled = False
        self._cut = -math.inf

    def good(self) -> None:
        """An answer came."""
        self.limit = min(float(self.ceiling), self.limit + (1 / self.limit if self._troubled else 1.0))

    def trouble(self, sent: float, now: float) -> None:
        """A request that was sent at `sent` (seconds) met a 429, a 5xx, a time-out or a broken connection."""
        if sent >= self._cut:
            self.limit, self._cut, self._troubled = max(1.0, self.limit / 2), now, True


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a Retry-After header asks for (a number or an HTTP date); None for none.

    Source: RFC 9110, section 10.2.3. `now` is seconds since the epoch.
    """
    if value is None:
        return None
    try:
        wait = float(value)
    except ValueError:
        try:
            wait = email.utils.parsedate_to_datetime(value).timestamp() - now
        except (TypeError, ValueError, OverflowError, OSError):
            return None
    return max(0.0, wait) if math.isfinite(wait) else None
