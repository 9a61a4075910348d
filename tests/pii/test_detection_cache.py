"""Texts of large files are read by other processes: the same findings, and a process that dies costs time only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aftertune.pii import _readers, reading
from aftertune.pii.ownership import Marker
from aftertune.records import Conversation, Message


def corpus(count: int) -> list[Conversation]:
    texts = [(f"I am Anna Smith, call +36 20 123 {n:04d} \ud83d", f"Thanks Anna, {n % 7} days.") for n in range(count)]
    return [Conversation(str(n), (Message("user", a), Message("assistant", b))) for n, (a, b) in enumerate(texts)]


def marked(chats: list[Conversation]) -> list[Conversation]:
    reading.forget()
    marker = Marker()
    with reading.remembered():
        return [marker.mark(chat) for chat in reading.ahead(chats)]


def test_processes_find_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = marked(corpus(60))
    seen: list[int] = []
    end = _readers.Readers.end

    def counted(self: _readers.Readers) -> dict[str, _readers.Places]:
        read = end(self)
        seen.append(len(read))
        return read

    monkeypatch.setattr(reading, "ALONE", 4)
    monkeypatch.setattr(reading, "CHUNK", (4, 1 << 20))
    monkeypatch.setattr(_readers.Readers, "end", counted)
    assert marked(corpus(60)) == alone
    assert sum(seen) >= 52, "most texts were not read by the others"


def test_one_that_dies_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = marked(corpus(24))
    begin = _readers.Readers.begin

    def shot(self: _readers.Readers, texts: list[str]) -> None:
        begin(self, texts)
        self._processes[0].kill()

    monkeypatch.setattr(reading, "ALONE", 2)
    monkeypatch.setattr(reading, "CHUNK", (4, 1 << 20))
    monkeypatch.setattr(_readers.Readers, "begin", shot)
    assert marked(corpus(24)) == alone


def test_they_end_with_a_parent_that_was_killed() -> None:
    code = (
        "from aftertune.pii.detection_workers import Readers; import time; r = Readers(1); r.begin(['Anna Smith']); r.end();"
        "print(r._processes[0].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while time.monotonic() < end and alive(child):
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
