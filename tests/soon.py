"""A limit for what would hang: a regular expression that backtracks, or a quadratic loop over a hostile text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

LIMIT = 20.0
"""Seconds of the processor: many times what a linear text tool needs on a busy machine, and little of the minutes or
hours that a hanging one takes. It is no target of speed; those are measured in `perf/`."""


@contextmanager
def soon() -> Iterator[None]:
    """Fail where the block took longer than the limit in this process."""
    began = time.process_time()
    yield
    took = time.process_time() - began
    assert took < LIMIT, f"{took:.0f} s"
