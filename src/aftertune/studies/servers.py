"""Models that servers hold: which backend asks one, and one process that keeps its limits."""

from __future__ import annotations

from collections.abc import Mapping

from aftertune import plugins
from aftertune.errors import UsageError
from aftertune.models.session import Backend, ServedBackend
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design


def served_by(part: PluginSpec) -> ServedBackend | None:
    """Return the backend if it asks a server, whose models' weights nobody here has seen; else None."""
    found: Backend = plugins.load("backend", part.name, part.parameters)
    return found if hasattr(found, "identify") else None  # type: ignore[return-value]


def judge_backend(part: PluginSpec) -> PluginSpec | None:
    """Return the backend that a judge names in its parameter `backend`, a name or a table; None for other judges."""
    given = part.parameters.get("backend")
    if isinstance(given, str):
        return PluginSpec(given)
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        return PluginSpec(given["name"], {key: value for key, value in given.items() if key != "name"})
    return None


def suited(design: Design, executor: PluginSpec) -> PluginSpec:
    """Return the executor for a design: one process where a server is asked, which keeps its ceiling and its budget.

    Raises UsageError for an executor of several processes.
    """
    own = [judge_backend(part) for part in design.judges]
    limited = [p for p in own if p and (p.parameters.get("budget_requests") or p.parameters.get("budget_tokens"))]
    if served_by(design.backend) is None and not limited:
        return executor
    if executor.name == "local" and executor.parameters.get("workers", 0) in (0, 1):
        return PluginSpec("local", {**executor.parameters, "workers": 1})
    raise UsageError(
        "a server's concurrency and budget are kept by one process: leave out --workers and --executor "
        "(requests go out many at a time all the same)"
    )
