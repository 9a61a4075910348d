"""How far the job of this process is: counted where the work is done, told every few seconds to whoever follows a run.

The share done is that of the job's seconds, so that the rest can be told from the first batch on. Reading prompts and
writing answers are extrapolated apart, since a batch is read before its first token is written:

    total = reading seconds x prompts / prompts read + other seconds / f,
    f = max(answers finished / answers, tokens written / (answers x token limit)).

With no limit in reach, tokens over answers finished estimates the length of an answer though the long ones are still
being written (the exponential distribution's maximum-likelihood estimate under censoring), which leaves the first term
of f; the second one bounds it while little is finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EVERY = 2.0
"""Seconds between two reports at first."""
GROWTH = 0.01
"""Of a job's age: the least time between two reports, so that the log of a long job stays short."""


@dataclass
class _Work:
    """What a job has to do, and how far it is."""

    of: int
    unit: str
    before: int
    """Of those, done by an earlier attempt."""
    most_tokens: int
    done: int
    tokens: int = 0
    prompts_read: int = 0
    reading_seconds: float = 0.0
    began: float = field(default_factory=time.monotonic)

    def facts(self) -> dict[str, Any]:
        """Return `done`, `of`, `unit`, `tokens`, and once they are known `share` and `work_seconds`."""
        seconds = time.monotonic() - self.began
        share = self.share(seconds)
        known = {} if share is None else {"share": round(share, 6), "work_seconds": round(seconds, 3)}
        return {"done": self.done, "of": self.of, "unit": self.unit, "tokens": self.tokens, **known}

    def share(self, seconds: float) -> float | None:
        """Return the share of its seconds that is over; None before anything is finished or written."""
        todo = self.of - self.before
        if todo <= 0:
            return None
        written = (self.done - self.before) / todo
        if self.most_tokens:
            written = max(written, self.tokens / self.most_tokens)
        if written <= 0:
            return None
        reading = min(self.reading_seconds, seconds)
        all_reading = reading * max(1.0, todo / self.prompts_read) if self.prompts_read else 0.0
        return min(1.0, max(seconds, 1e-6) / max(all_reading + (seconds - reading) / min(written, 1.0), 1e-6))


class JobProgress:
    """Counts of the job that this process does; outside of a job they go nowhere."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._work: _Work | None = None

    @contextmanager
    def of_job(self, tell: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """Report what happens inside, every few seconds while it changes: `tell` is called from another thread."""
        self._work = None
        over = threading.Event()
        reporter = threading.Thread(target=self._report, args=(tell, over), name="progress", daemon=True)
        reporter.start()
        try:
            yield
        finally:
            over.set()
            reporter.join()
            self._work = None

    def _report(self, tell: Callable[[dict[str, Any]], None], over: threading.Event) -> None:
        began, last, wait = time.monotonic(), (0, 0, 0), EVERY
        while not over.wait(wait):
            work = self._work
            if work is not None and (now := (work.done, work.tokens, work.prompts_read)) != last:
                tell(work.facts())
                last = now
            wait = max(EVERY, GROWTH * (time.monotonic() - began))

    def expect(self, of: int, *, unit: str, done: int = 0, most_tokens: int = 0) -> None:
        """State how much there is to do in all, how much of it was done before, and the most tokens of the rest."""
        self._work = _Work(of, unit, done, most_tokens, done)

    def advance(self, count: int = 1) -> None:
        """Count what is finished."""
        if self._work is not None:
            self._work.done += count

    def wrote(self, tokens: int) -> None:
        """Count tokens that were written, of answers that are finished or not."""
        if self._work is not None:
            self._work.tokens += tokens

    @contextmanager
    def reading(self, prompts: int) -> Iterator[None]:
        """Time what happens inside, which reads so many prompts."""
        began = time.monotonic()
        try:
            yield
        finally:
            if self._work is not None:
                self._work.reading_seconds += time.monotonic() - began
                self._work.prompts_read += prompts


PROGRESS = JobProgress()
"""Of this process."""
