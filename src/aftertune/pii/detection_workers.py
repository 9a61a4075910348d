"""Worker processes that search texts for personal values, one per core, for large files: starting them takes time.

They are started as `python -m aftertune.pii.detection_workers`, so that the calling program is not run a second time.
A worker reads one line of JSON (a list of texts), answers with one (the spans in each), and ends when its input does:
a parent that is killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from aftertune.hardware import cores

MOST = 8
"""Processes at most: each takes some 40 MiB."""
Spans = tuple[tuple[int, int, str], ...]
"""(Start, end, type) of each value of a text, in order, none overlapping."""


def find_spans(text: str) -> Spans:
    """Return the findings of `detect.find` as spans."""
    from aftertune.pii import detect

    return tuple((one.start, one.end, one.type) for one in detect.find(text))


class DetectionWorkers:
    """As many processes as this one may use cores. `begin` takes texts, `end` returns their spans."""

    def __init__(self, count: int | None = None) -> None:
        """Start them."""
        self._parts: list[list[str]] = []
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "aftertune.pii.detection_workers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
            for _ in range(min(count or cores(), MOST))
        ]

    def begin(self, texts: Sequence[str]) -> None:
        """Hand the texts out. Raises OSError where a process has died."""
        count = len(self._processes)
        self._parts = [list(texts[first::count]) for first in range(count)]
        for process, part in zip(self._processes, self._parts, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(part).encode() + b"\n")
            process.stdin.flush()

    @property
    def busy(self) -> bool:
        """Whether texts are out."""
        return bool(self._parts)

    def end(self) -> dict[str, Spans]:
        """Return text -> its spans, once all are searched. Raises OSError where a process has died."""
        spans: dict[str, Spans] = {}
        for process, part in zip(self._processes, self._parts, strict=True):
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.endswith(b"\n"):
                raise BrokenPipeError(f"process {process.pid}, which was searching texts, has died")
            rows = json.loads(line)
            spans.update(zip(part, (tuple((a, b, type_) for a, b, type_ in row) for row in rows), strict=True))
        self._parts = []
        return spans

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):
                    pipe.close()
            process.wait()


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, and this process ends with it
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints gets between the answers
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin.buffer:
            out.write(json.dumps([find_spans(text) for text in json.loads(line)], separators=(",", ":")).encode())
            out.write(b"\n")
            out.flush()


if __name__ == "__main__":
    _serve()
    os._exit(0)
