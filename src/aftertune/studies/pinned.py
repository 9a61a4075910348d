"""What is found out as a run begins and goes into its ids: what servers declare, how a backend answers here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from aftertune import plugins
from aftertune.plugins import PluginSpec
from aftertune.studies import parts
from aftertune.studies.design import Design
from aftertune.studies.servers import judge_backend, served_by


def pinned(design: Design, before: Design | None = None) -> Design:
    """Return the design with what its backends say of its models written into it, so that ids hold it.

    A server says what it serves (`ServedBackend.identify`); a backend on this machine may choose how it answers, once
    for the whole run (`settled`: base names -> parameters, of those named in `settles`). What stands in `before`, the
    design of the run that is continued, is taken from there; the rest is asked. A run begins or goes on here: budgets
    count anew. Raises UsageError, ServerError.
    """
    names = [*design.bases, *(each.path for each in design.checkpoints)]
    judges = []
    for index, part in enumerate(design.judges):
        own = judge_backend(part)
        if own is not None and served_by(own) is not None:
            known = before.judges[index] if before is not None and index < len(before.judges) else None
            own = _pinned(own, [str(part.parameters.get("model", ""))], judge_backend(known) if known else None)
            part = PluginSpec(part.name, {**part.parameters, "backend": {"name": own.name, **own.parameters}})
        judges.append(part)
    there = before.backend if before is not None else None
    backend = design.backend
    backend = _pinned(backend, names, there) if served_by(backend) else _settled(backend, design.bases, there)
    return dataclasses.replace(design, backend=backend, judges=tuple(judges))


def _pinned(part: PluginSpec, names: Sequence[str], before: PluginSpec | None) -> PluginSpec:
    server = served_by(part)
    if server is None:
        return part
    server.begin()
    known = {**(before.parameters.get("served", {}) if before is not None else {}), **server.served}
    unknown = [name for name in names if name not in known]
    known |= server.identify(unknown) if unknown else {}
    return PluginSpec(part.name, {**part.parameters, "served": {name: known[name] for name in names}})


def _settled(part: PluginSpec, bases: Sequence[str], before: PluginSpec | None) -> PluginSpec:
    backend = plugins.load("backend", part.name, part.parameters)
    if not hasattr(backend, "settled"):
        return part
    if before is not None:
        chosen = {k: v for k, v in before.parameters.items() if k in backend.settles and k not in part.parameters}
        return PluginSpec(part.name, {**part.parameters, **chosen})
    return PluginSpec(
        part.name, {**part.parameters, **backend.settled([str(parts.model(base).path) for base in bases])}
    )
