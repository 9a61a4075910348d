"""Writing a journal: each record is on disk within some seconds of being finished, however slowly others follow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from aftertune.errors import StoreError

SECONDS = 2.0
"""After which a finished record is written; what a kill can cost."""


class JournalWriter:
    """Adds records to a journal from a thread of its own: the next record may be minutes away.

    A job that ends before the first write leaves its records to its tables. One that ends in an error writes what it
    had finished.
    """

    def __init__(self, append: Callable[[Sequence[object]], None], *, seconds: float = SECONDS, most: int = 0) -> None:
        """`append` writes and flushes; `seconds`: 0 writes at once; `most` records wait at a time (0: any number)."""
        self._append, self._seconds, self._most = append, seconds, most
        self._pending: list[object] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: StoreError | None = None
        self._wrote = False

    def __enter__(self) -> JournalWriter:
        return self

    def add(self, *rows: object) -> None:
        """Take records that are finished. Raises StoreError where they, or earlier ones, cannot be written."""
        if self._failure is not None:
            raise self._failure
        with self._guard:
            self._pending += rows
        if self._seconds <= 0 or 0 < self._most <= len(self._pending):
            self.flush()
        elif self._thread is None:
            self._thread = threading.Thread(target=self._now_and_then, name="journal", daemon=True)
            self._thread.start()

    def _now_and_then(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self.flush()
            except StoreError as error:  # the job's own thread raises it at its next record, or at the end
                self._failure = error
                return

    def flush(self) -> None:
        """Write what waits, now. Raises StoreError."""
        with self._guard:
            rows, self._pending = self._pending, []
            if rows:
                self._append(rows)
                self._wrote = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if kind is not None:
            with contextlib.suppress(StoreError):  # what ended the job is said, not this
                self.flush()
            return
        if self._failure is not None:
            raise self._failure
        if self._wrote:
            self.flush()
