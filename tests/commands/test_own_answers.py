"""Answers that the base gives while data is composed: journalled, continued, never asked for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aftertune import shipped_models as embedded
from aftertune.commands import compose as variants
from aftertune.errors import DataError
from aftertune.models.chat import message_hash
from aftertune.models.loaded import LOADED
from aftertune.models.session import Reply, Request
from aftertune.run.job_folder import JobFolder
from aftertune.variants import own_answers
from aftertune.variants.own_answers import OwnAnswer

pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")


class Parrot:
    """A base that says how often it was asked, and may fall over."""

    def __init__(self, ends: int | None = None) -> None:
        self.asked: list[str] = []
        self.ends = ends

    def use(self, checkpoint: object) -> None:
        assert checkpoint is None

    def respond(self, requests: Sequence[Request], **_: Any) -> Iterator[Reply]:
        for request in requests:
            if self.ends is not None and len(self.asked) >= self.ends:
                raise KeyboardInterrupt
            self.asked.append(request.prompt.id)
            text = f"I was asked: {request.prompt.messages[-1].content} \ud83d"
            yield Reply(request.prompt.id, 0.0, 0, text, "stop", 1, request.prompt.id, None)


def chats(path: Path, count: int) -> str:
    rows = [{"prompt": f"Is {n} a number? Call +36 20 123 {n:04d}.", "response": "Yes."} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def files(out: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in out.iterdir() if item.name != ".lock"}


def test_what_was_flushed_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = chats(tmp_path / "a.jsonl", 200)

    def made(out: str, base: Parrot) -> dict[str, bytes]:
        monkeypatch.setattr(LOADED, "session", lambda *_: base)
        variants.compose(data, tmp_path / out, self_generated=True, match=False)
        return files(tmp_path / out)

    whole = made("whole", Parrot())
    assert b"I was asked: Is 7 a number? Call +36 20 123 0007. \xef\xbf\xbd" in whole["self-generated.jsonl"]
    stopped, rest = Parrot(ends=150), Parrot()
    with pytest.raises(KeyboardInterrupt):
        made("out", stopped)
    flushed = JobFolder(tmp_path / "out").journal(OwnAnswer)
    assert len(flushed) == 150, "what was finished"
    assert made("out", rest) == whole
    assert len(rest.asked) == 200 - len(flushed)
    assert not {row.message_hash for row in flushed} & set(rest.asked)
    assert "journal" not in whole


def test_another_base_is_asked_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if len(embedded.names()) < 2:
        pytest.skip("only one embedded model is built")
    data = chats(tmp_path / "a.jsonl", 80)
    first, other = Parrot(ends=70), Parrot()
    monkeypatch.setattr(LOADED, "session", lambda *_: first)
    with pytest.raises(KeyboardInterrupt):
        variants.compose(data, tmp_path / "out", self_generated=True, base=f"embedded:{embedded.names()[0]}")
    monkeypatch.setattr(LOADED, "session", lambda *_: other)
    variants.compose(data, tmp_path / "out", self_generated=True, base=f"embedded:{embedded.names()[1]}")
    assert len(other.asked) == 80


def ours(number: int) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "a"}]
    return {"aftertune": "conversation", "id": "x", "messages": turns}


def test_two_conversations_of_one_id_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(ours(n)) + "\n" for n in range(2)))
    monkeypatch.setattr(LOADED, "session", lambda *_: Parrot())
    with pytest.raises(DataError, match="two conversations have the id 'x'"):
        variants.compose(str(path), tmp_path / "out", self_generated=True)
    assert not (tmp_path / "out").exists()


def test_a_damaged_line_is_asked_again(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.append([OwnAnswer("a", message_hash((), str(n)), f"text {n}") for n in range(3)])
    journal = tmp_path / "journal"
    journal.write_bytes(journal.read_bytes().replace(b"text 1", b"text 9") + b'{"asker": "a", "text')
    assert [row.text for row in folder.journal(OwnAnswer)] == ["text 0", "text 2"]


@pytest.mark.slow
def test_a_kill_in_the_middle_costs_what_was_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = chats(tmp_path / "a.jsonl", 150), tmp_path / "out"
    command = [sys.executable, "-m", "aftertune", "compose", data, "--self-generated", "--quiet", "-o", str(out)]
    journal = out / "journal"
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end and not (journal.is_file() and journal.stat().st_size):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    flushed = {row.message_hash for row in JobFolder(out).journal(OwnAnswer)}
    assert 0 < len(flushed) < 150
    asked: list[str] = []
    ask = own_answers.OwnAnswers._ask

    def counted(self: own_answers.OwnAnswers, wanted: dict[str, Any], known: dict[str, str]) -> None:
        asked.extend(wanted)
        ask(self, wanted, known)

    monkeypatch.setattr(own_answers.OwnAnswers, "_ask", counted)
    variants.compose(data, out, self_generated=True)
    assert not flushed & set(asked)
    assert len(flushed) + len(asked) == 150
    variants.compose(data, tmp_path / "whole", self_generated=True)
    assert files(out) == files(tmp_path / "whole")
