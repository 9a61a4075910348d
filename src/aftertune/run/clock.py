"""How long this process has spent on getting ready, so that the time left is not reckoned from it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds spent so far on loading models, imports and trials of judges: once per process, not once per job."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count some more."""
        self.seconds += seconds

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Count what happens inside."""
        began = time.time()
        try:
            yield
        finally:
            self.seconds += time.time() - began


START = Clock()
"""Of this process."""
