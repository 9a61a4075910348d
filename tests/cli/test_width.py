"""Nothing that is printed for a person is wider than the window."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.forked_commands import Forks, forks

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


@pytest.fixture(scope="module", name="forked")
def _forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("said")) as forked:
        yield forked


def printed(forked: Forks, command: str, width: int) -> list[str]:
    """Return the lines that a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    forked.start(*command.split(), cwd=Path.cwd(), files=[Path(os.ttyname(theirs))] * 2)
    text = b""
    ready: list[int] = []
    while forked.over not in ready or ours in ready:
        if ours in ready:
            text += os.read(ours, 1 << 16)
        ready, _, _ = select.select([ours, forked.over], [], [])
    os.close(theirs)
    os.close(ours)
    assert forked.wait() == 0
    return text.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize(
    ("command", "width"),
    [(command, width) for command in COMMANDS for width in (100, 60, 40) if width > 40 or not command.endswith("-h")],
)
def test_no_line_is_wider_than_the_window(forked: Forks, command: str, width: int) -> None:
    lines = printed(forked, command, width)
    assert lines
    wide = [line for line in lines if len(line) > width and len(line.split()) > 1]
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


def test_the_list_of_commands_cuts_no_sentence_and_begins_with_what_makes_runs(forked: Forks) -> None:
    lines = printed(forked, "-h", 100)
    listed = lines[lines.index("Commands:") + 1 : lines.index("", lines.index("Commands:"))]
    assert [line.split()[0] for line in listed[:2]] == ["audit", "demo"]
    assert [line for line in listed if line.endswith("...")] == []
    for group in ("pii", "embedded"):
        assert [line for line in printed(forked, f"{group} -h", 100)[1:] if line.endswith("...")] == []
