"""Base answers that runs share: asked once, whole or not there, never of anything tuned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from aftertune.asking.shared_answers import SharedAnswers, shared_answers
from aftertune.errors import StoreError

ANSWERS = pa.table({"prompt_id": ["1", "2"], "text": ["a", "b"]})


def test_what_is_written_is_read_and_what_is_damaged_is_not(tmp_path: Path) -> None:
    share = SharedAnswers(tmp_path / "answers")
    assert share.read("key") is None
    share.write("key", ANSWERS, {"asked": 2})
    entry = share.read("key")
    assert entry is not None
    assert entry.responses == ANSWERS
    assert entry.info == {"asked": 2}
    for name in ("responses.parquet", "manifest.json"):
        path = tmp_path / "answers" / "key" / name
        whole = path.read_bytes()
        for broken in (whole[:-3], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b""):
            path.write_bytes(broken)
            assert share.read("key") is None, f"{name}, {len(broken)} bytes"
        path.write_bytes(whole)
    assert share.read("key") is not None
    assert (tmp_path / "answers").stat().st_mode & 0o077 == 0


def test_of_eight_at_once_one_asks_and_the_others_find_its_answers(tmp_path: Path) -> None:
    asked: list[int] = []
    read: list[pa.Table] = []

    def work(number: int) -> None:
        share = SharedAnswers(tmp_path / "answers")
        with share.hold("key"):
            entry = share.read("key")
            if entry is None:
                asked.append(number)
                time.sleep(0.2)
                share.write("key", ANSWERS, {})
            else:
                read.append(entry.responses)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 1
    assert read == [ANSWERS] * 7


KILLED = """
import sys, time
from pathlib import Path
from aftertune.asking.shared_answers import SharedAnswers
share = SharedAnswers(Path(sys.argv[1]))
with share.hold("key"):
    folder = Path(sys.argv[1]) / "key"
    folder.mkdir()
    (folder / "responses.parquet").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_is_killed_lets_go_and_what_it_left_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    share = SharedAnswers(folder)
    with share.hold("key"):
        assert share.read("key") is None
        share.write("key", ANSWERS, {})
        assert share.read("key") is not None


def test_where_nothing_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERTUNE_SHARE", "on")
    assert shared_answers("") is None
    assert shared_answers(str(tmp_path)) is not None
    monkeypatch.setenv("AFTERTUNE_SHARE", "off")
    assert shared_answers(str(tmp_path)) is None
    monkeypatch.setenv("AFTERTUNE_SHARE", "on")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="not a folder"):
        shared_answers(str(tmp_path / "file"))
