"""The command `vllm` for tests: the stand-in, made executable, with what it was given and asked."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aftertune import plugins


@dataclass
class Command:
    """The stand-in in a folder `bin`, and the folder in which it notes things."""

    path: Path
    seen: Path
    patch: pytest.MonkeyPatch

    def behave(self, **how: Any) -> None:
        """Say how servers behave that are started from now on."""
        self.patch.setenv("STAND_IN", json.dumps(how))

    def noted(self, name: str) -> list[Any]:
        """Return what it noted under a name, in order."""
        file = self.seen / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []

    @property
    def processes(self) -> list[int]:
        """Every process of every server so far."""
        return [each["pid"] for each in self.noted("started")] + self.noted("children")

    def backend(self, **parameters: Any) -> Any:
        """Return the backend with this command."""
        return plugins.load("backend", "vllm", {"executable": str(self.path), "lora_rank": 8, **parameters})


def install(folder: Path, patch: pytest.MonkeyPatch) -> Command:
    """Put the stand-in first on PATH, and say where it notes what it is given."""
    path = folder / "bin" / "vllm"
    path.parent.mkdir(parents=True)
    script = Path(__file__).with_name("stand_in_vllm.py").read_text()
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)
    seen = folder / "seen"
    seen.mkdir()
    patch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("STAND_IN_SEEN", str(seen))
    patch.delenv("STAND_IN", raising=False)
    patch.setattr(tempfile, "tempdir", str(folder))  # logs of servers that failed outside of a run stay
    return Command(path, seen, patch)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def soon(seconds: float = 30.0) -> Iterator[Callable[[], None]]:
    """Yield what is called between two looks at something that comes in time; it raises once it is late."""
    deadline = time.monotonic() + seconds

    def wait() -> None:
        assert time.monotonic() < deadline, "too late"
        time.sleep(0.05)

    yield wait
