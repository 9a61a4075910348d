"""Models that servers hold: which backend asks one, what it declares, and one process that keeps its limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from aftertune import plugins
from aftertune.design.study import Design, Part
from aftertune.errors import UsageError
from aftertune.kinds import Backend, ServedBackend


def served_by(part: Part) -> ServedBackend | None:
    """Return the backend if it asks a server, whose models' weights nobody here has seen; else None."""
    found: Backend = plugins.load("backend", part.name, part.parameters)
    return found if hasattr(found, "identify") else None  # type: ignore[return-value]


def judge_backend(part: Part) -> Part | None:
    """Return the backend that a judge names in its parameter `backend`, a name or a table; None for other judges."""
    given = part.parameters.get("backend")
    if isinstance(given, str):
        return Part(given)
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        return Part(given["name"], {key: value for key, value in given.items() if key != "name"})
    return None


def pinned(design: Design, before: Design | None = None) -> Design:
    """Return the design with what servers say of its models written into it, so that ids hold it.

    What stands in `before`, the design of the run that is continued, is taken from there; the rest is asked. A run
    begins or goes on here: budgets count anew. Raises UsageError, ServerError.
    """
    names = [*design.bases, *(each.path for each in design.checkpoints)]
    judges = []
    for index, part in enumerate(design.judges):
        own = judge_backend(part)
        if own is not None and served_by(own) is not None:
            there = before.judges[index] if before is not None and index < len(before.judges) else None
            own = _pinned(own, [str(part.parameters.get("model", ""))], judge_backend(there) if there else None)
            part = Part(part.name, {**part.parameters, "backend": {"name": own.name, **own.parameters}})
        judges.append(part)
    backend = _pinned(design.backend, names, before.backend if before is not None else None)
    return dataclasses.replace(design, backend=backend, judges=tuple(judges))


def _pinned(part: Part, names: Sequence[str], before: Part | None) -> Part:
    server = served_by(part)
    if server is None:
        return part
    server.begin()
    known = {**(before.parameters.get("served", {}) if before is not None else {}), **server.served}
    unknown = [name for name in names if name not in known]
    known |= server.identify(unknown) if unknown else {}
    return Part(part.name, {**part.parameters, "served": {name: known[name] for name in names}})


def suited(design: Design, executor: Part) -> Part:
    """Return the executor for a design: one process where a server is asked, which keeps its ceiling and its budget.

    Raises UsageError for an executor of several processes.
    """
    own = [judge_backend(part) for part in design.judges]
    limited = [p for p in own if p and (p.parameters.get("budget_requests") or p.parameters.get("budget_tokens"))]
    if served_by(design.backend) is None and not limited:
        return executor
    if executor.name == "local" and executor.parameters.get("workers", 0) in (0, 1):
        return Part("local", {**executor.parameters, "workers": 1})
    raise UsageError(
        "a server's concurrency and budget are kept by one process: leave out --workers and --executor "
        "(requests go out many at a time all the same)"
    )
