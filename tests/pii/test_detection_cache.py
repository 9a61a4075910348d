"""Texts of large files are read by other processes: the same findings, and a process that dies costs time only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aftertune.pii import detection_cache, detection_workers
from aftertune.pii.ownership import Marker
from aftertune.records import Conversation, Message


def corpus(count: int) -> list[Conversation]:
    texts = [(f"I am Anna Smith, call +36 20 123 {n:04d} \ud83d", f"Thanks Anna, {n % 7} days.") for n in range(count)]
    return [Conversation(str(n), (Message("user", a), Message("assistant", b))) for n, (a, b) in enumerate(texts)]


def marked(chats: list[Conversation]) -> list[Conversation]:
    detection_cache.clear()
    marker = Marker()
    with detection_cache.caching():
        return [marker.mark(chat) for chat in detection_cache.read_ahead(chats)]


def test_processes_find_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = marked(corpus(60))
    seen: list[int] = []
    end = detection_workers.DetectionWorkers.end

    def counted(self: detection_workers.DetectionWorkers) -> dict[str, detection_workers.Spans]:
        read = end(self)
        seen.append(len(read))
        return read

    monkeypatch.setattr(detection_cache, "ALONE", 4)
    monkeypatch.setattr(detection_cache, "CHUNK", (4, 1 << 20))
    monkeypatch.setattr(detection_workers.DetectionWorkers, "end", counted)
    assert marked(corpus(60)) == alone
    assert sum(seen) >= 52, "most texts were not read by the others"


def test_one_that_dies_costs_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = marked(corpus(24))
    begin = detection_workers.DetectionWorkers.begin

    def shot(self: detection_workers.DetectionWorkers, texts: list[str]) -> None:
        begin(self, texts)
        self._processes[0].kill()

    monkeypatch.setattr(detection_cache, "ALONE", 2)
    monkeypatch.setattr(detection_cache, "CHUNK", (4, 1 << 20))
    monkeypatch.setattr(detection_workers.DetectionWorkers, "begin", shot)
    assert marked(corpus(24)) == alone


def test_they_end_with_a_parent_that_was_killed() -> None:
    code = (
        "from aftertune.pii.detection_workers import DetectionWorkers; import time; r = DetectionWorkers(1); r.begin(['Anna Smith']); r.end();"
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
