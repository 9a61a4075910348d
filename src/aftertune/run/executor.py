"""The contract of executors: an executor runs jobs, and knows nothing of what they do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from aftertune.plugins import Plugin
from aftertune.run.job import Job

Work = Callable[[Job], None]


class Executor(Plugin, ABC):
    """Runs jobs in an order that respects `after`: a frozen dataclass whose fields are its parameters."""

    kind: ClassVar[str] = "executor"

    @property
    def at_once(self) -> int:
        """How many jobs run at once, as far as that is known beforehand; 1 where it is not."""
        return 1

    @abstractmethod
    def run(self, jobs: Sequence[Job], work: Work, done: Callable[[Job], None]) -> None:
        """Run `work` on every job (a picklable callable), calling `done` in this process as each one finishes.

        A job that raises stops the jobs after it, not the others; the first error is raised at the end.
        """
