"""Standard error while a live table is drawn: lines of libraries and worker processes are shown above it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from aftertune.cli.safe_output import safe

LONGEST = 4_000
"""Characters of one line."""
_SHOW_CURSOR = b"\r\x1b[J\x1b[?25h"
_terminal: int | None = None
"""Descriptor of the terminal while standard error is a pipe."""


class StderrCapture:
    """Replaces standard error by a pipe and reads it line by line; `terminal` is the terminal itself, for the table.

    A line that something else writes to the terminal would push a live table up and leave half of it behind, and its
    escapes would act on the terminal. Worker processes inherit the pipe and may outlive the table, so it is read to the
    end.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        """Prepare the capture; `show` is called with each line, in another thread, until the `with` block ends."""
        self._show = show
        self._original = os.dup(2)
        self._read_end, self._write_end = os.pipe()
        self._end_mark = f"\0{os.urandom(8).hex()}\0"
        self._ended = threading.Event()
        self.terminal: TextIO = os.fdopen(
            os.dup(self._original), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1
        )

    def __enter__(self) -> StderrCapture:
        global _terminal
        sys.stderr.flush()
        _terminal = self._original
        os.dup2(self._write_end, 2)
        threading.Thread(target=self._pump, daemon=True, name="aftertune-stderr").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _terminal
        sys.stderr.flush()
        os.write(self._write_end, f"{self._end_mark}\n".encode())
        self._ended.wait(2)
        os.dup2(self._original, 2)
        _terminal = None
        os.close(self._write_end)
        self.terminal.close()

    def _pump(self) -> None:
        rest = b""
        while data := os.read(self._read_end, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._line(line)
            if len(rest) > LONGEST and b"\r" not in rest[-LONGEST:]:
                self._line(rest)
                rest = b""
        self._line(rest)

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip("\r")
        before, end_mark, _ = text.partition(self._end_mark)
        text = before.rpartition("\r")[2][:LONGEST]  # the last state of a bar that was redrawn in place
        if text.strip():
            if self._ended.is_set():
                os.write(self._original, f"{safe(text)}\n".encode())
            else:
                self._show(text)
        if end_mark:
            self._ended.set()


def write_last_line(text: str) -> None:
    """Write on the terminal, whatever is drawn there: for a process that is about to exit."""
    if _terminal is not None:
        os.write(_terminal, _SHOW_CURSOR)
    os.write(2 if _terminal is None else _terminal, text.encode())
