"""Nothing that is printed for a person is wider than the window."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from aftertune.cli.app import folded

COMMANDS = [
    "-h",
    "audit -h",
    "drift -h",
    "compose -h",
    "pii scan -h",
    "drift --demo",
    "show judge refusal",
    "list",
    "embedded card",
    "fetch",
]


def printed(command: str, width: int) -> list[str]:
    """Return the lines that a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen([sys.executable, "-m", "aftertune", *command.split()], stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert process.wait() == 0
    return text.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(
    ("command", "width"),
    [(command, width) for command in COMMANDS for width in (100, 60, 40) if width > 40 or not command.endswith("-h")],
)
def test_no_line_is_wider_than_the_window(command: str, width: int) -> None:
    wide = [line for line in printed(command, width) if len(line) > width and len(line.split()) > 1]
    assert not wide


def test_a_long_line_is_folded_between_words_and_keeps_its_indentation() -> None:
    line = "    " + "word " * 12
    lines = folded([line, "short"], 40)
    assert lines[-1] == "short"
    assert all(len(one) <= 40 for one in lines)
    assert lines[0].startswith("    word")
    assert lines[1].startswith("      word")
    assert " ".join(" ".join(lines[:-1]).split()) == line.strip()


def test_nothing_is_folded_where_there_is_no_window() -> None:
    assert folded(["x " * 400], None) == ["x " * 400]


def test_a_path_is_never_broken() -> None:
    assert folded(["report: " + "/long" * 20], 40)[-1].strip() == "/long" * 20
