"""What is known of a piece of work without doing it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job without its work: enough to schedule it, to find its folder, and to show its progress."""

    kind: str
    """Name of the folder in the run that holds the jobs of this kind, e.g. `responses`."""
    id: str
    """Hash of everything that decides what comes out."""
    after: tuple[str, ...] = ()
    """Ids of the jobs that must be complete first."""
    cost: float = 1.0
    """Relative, for the order of work and the time left."""
    label: str = ""
    """For people: e.g. `tune keep seed 3`."""
    accelerator: bool = False
    """Whether it runs a model: an executor gives it a GPU where there is one."""
    alike: str = ""
    """Jobs of a kind that share it take about the same time: e.g. the judge's name."""
    loads: str = ""
    """What must be loaded for it, where that takes time: jobs of the same follow each other."""
    early: bool = False
    """Whether the first finding of the run waits for it: it is done before the others."""
