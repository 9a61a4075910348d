"""The run that this process works in, for what belongs beside its jobs' folders: the logs of servers that it starts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from aftertune.files import writing

LOGS = "logs"
"""Folder of a run. What a server says of a request that failed may quote a prompt, so it is its owner's only."""


class Place:
    """At most one run folder."""

    def __init__(self) -> None:
        """Begin outside of any run."""
        self.root: Path | None = None

    def log_file(self, name: str) -> Path:
        """Return a file for the log of something that this process starts: `logs/NAME-PROCESS.log` in its run.

        Outside of a run it is a temporary file. Raises StoreError where the folder cannot be written.
        """
        if self.root is None or not self.root.is_dir():
            descriptor, path = tempfile.mkstemp(prefix=f"aftertune-{name}-", suffix=".log")
            os.close(descriptor)
            return Path(path)
        folder = self.root / LOGS
        with writing(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{name}-{os.getpid()}.log"


PLACE = Place()
"""Of this process."""
