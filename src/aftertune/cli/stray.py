"""What libraries and worker processes write on standard error while a live table is on: caught, and shown above it."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
LONGEST = 4_000
"""Characters of one line."""
_SHOW_CURSOR = b"\r\x1b[J\x1b[?25h"
_terminal: int | None = None
"""The terminal's descriptor while standard error is a pipe."""


class Stray:
    """Standard error as a pipe, read line by line; the terminal itself is `terminal`, for whoever draws on it.

    A line that somebody else writes there would push a live table up and leave half of it behind, and nobody looks at
    what escapes stand in it. Worker processes inherit the pipe, and may outlive the table: it is read to the end.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        """`show` is given each line, in a thread of its own, until the `with` block ends."""
        self._show = show
        self._kept = os.dup(2)
        self._reads, self._writes = os.pipe()
        self._end = f"\0{os.urandom(8).hex()}\0"
        self._ended = threading.Event()
        self.terminal: TextIO = os.fdopen(
            os.dup(self._kept), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1
        )

    def __enter__(self) -> Stray:
        global _terminal
        sys.stderr.flush()
        _terminal = self._kept
        os.dup2(self._writes, 2)
        threading.Thread(target=self._pump, daemon=True, name="aftertune-stray").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _terminal
        sys.stderr.flush()
        os.write(self._writes, f"{self._end}\n".encode())
        self._ended.wait(2)
        os.dup2(self._kept, 2)
        _terminal = None
        os.close(self._writes)
        self.terminal.close()

    def _pump(self) -> None:
        left = b""
        while piece := os.read(self._reads, 1 << 16):
            *lines, left = (left + piece).split(b"\n")
            for line in lines:
                self._line(line)
            if len(left) > LONGEST and b"\r" not in left[-LONGEST:]:
                self._line(left)
                left = b""
        self._line(left)

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        before, end, _ = text.partition(self._end)
        text = before.rpartition("\r")[2][:LONGEST]  # a bar that was drawn over and over: as it last stood
        if text.strip():
            if self._ended.is_set():
                os.write(self._kept, f"{safe(text)}\n".encode())
            else:
                self._show(text)
        if end:
            self._ended.set()


def last_words(text: str) -> None:
    """Write on the terminal, whatever is drawn there: for a process that ends this moment."""
    if _terminal is not None:
        os.write(_terminal, _SHOW_CURSOR)
    os.write(2 if _terminal is None else _terminal, text.encode())


def safe(text: str) -> str:
    """Return text that cannot act on a terminal."""
    if text.isascii() and (text.isprintable() or not _ACTS.search(text)):
        return text
    from aftertune.reporting.cleaning import clean

    return clean(text)
