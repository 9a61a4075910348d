"""A terminal: a command runs in a pty, and a small emulator tells what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CODES = re.compile(rb"\x1b(?:\[([0-9;?]*)([A-Za-z])|.)", re.S)
HARMLESS = {b"m", b"A", b"K", b"J", b"h", b"l"}
"""Colours, cursor up, wipe, show or hide the cursor: what a live table needs."""


@dataclass
class Screen:
    """Rows of text, those that scrolled off among them; raises for a code that no table of ours needs."""

    width: int
    height: int
    rows: list[list[str]] = field(default_factory=lambda: [[]])
    row: int = 0
    column: int = 0
    hidden: bool = False
    _left: bytes = b""

    def feed(self, data: bytes) -> None:
        data = self._left + data
        cut = data.rfind(b"\x1b")
        if cut >= 0 and not CODES.match(data, cut):
            data, self._left = data[:cut], data[cut:]
        else:
            self._left = b""
        at = 0
        for code in CODES.finditer(data):
            self._text(data[at : code.start()].decode("utf-8", "replace"))
            self._code(code)
            at = code.end()
        self._text(data[at:].decode("utf-8", "replace"))

    def _code(self, code: re.Match[bytes]) -> None:
        number, letter = code.groups()
        assert letter in HARMLESS, f"a code that acts on the terminal: {code.group()!r}"
        if letter == b"A":
            self.row = max(self.row - int(number or 1), len(self.rows) - self.height, 0)
        elif letter == b"K":
            self.rows[self.row] = [] if number == b"2" else self.rows[self.row][: self.column]
        elif letter == b"J":
            del self.rows[self.row + 1 :]
            del self.rows[self.row][self.column :]
        elif number == b"?25":
            self.hidden = letter == b"l"
        else:
            assert letter == b"m", code.group()

    def _text(self, text: str) -> None:
        for char in text:
            if char == "\r":
                self.column = 0
            elif char == "\n":
                self._down()
            else:
                assert char == "\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"), repr(char)
                wide = 1 + (unicodedata.east_asian_width(char) in "WF")
                if self.column + wide > self.width:
                    self._down()
                    self.column = 0
                row = self.rows[self.row]
                row += [" "] * (self.column + wide - len(row))
                row[self.column : self.column + wide] = [char, *[""] * (wide - 1)]
                self.column += wide

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.rows).strip("\n")


def run(
    command: Sequence[str], width: int, height: int, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[Screen, list[str], int]:
    """Run a command to its end; returns the screen, what it showed about every half second, and the exit status."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, *command], stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, cwd=cwd,
        env={**clean, "TERM": "xterm-256color", **(env or {})},
    )  # fmt: skip
    os.close(theirs)
    screen, snapshots, last = Screen(width, height), [], time.monotonic()
    try:
        while True:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    data = os.read(ours, 1 << 16)
                except OSError:
                    break
                if not data:
                    break
                screen.feed(data)
            if time.monotonic() - last > 0.4:
                snapshots.append(screen.text)
                last = time.monotonic()
        return screen, snapshots, process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
