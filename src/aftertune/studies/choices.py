"""What is chosen once as a run begins, and goes into its design: what servers declare, how a backend answers here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from aftertune.models.session import Backend
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design

Load = Callable[[PluginSpec], Backend]


def with_choices(design: Design, before: Design | None, load: Load, path_of: Callable[[str], str]) -> Design:
    """Return the design with what its backends say of its models written into it, so that ids hold it.

    A server says what it serves (`Backend.identify`); a backend on this machine may choose how it answers, once for the
    whole run (`Backend.choose`, given the bases' folders by `path_of`). What stands in `before`, the design of the run
    that is continued, is taken from there; the rest is asked. A run begins or goes on here, so budgets count anew.
    Raises UsageError, ServerError.
    """
    models = [*design.bases, *(given.path for given in design.checkpoints)]
    judges = []
    for index, spec in enumerate(design.judges):
        own = judge_backend(spec)
        if own is not None and load(own).asks_server:
            known = before.judges[index] if before is not None and index < len(before.judges) else None
            there = judge_backend(known) if known else None
            own = _identified(own, [str(spec.parameters.get("model", ""))], there, load)
            spec = PluginSpec(spec.name, {**spec.parameters, "backend": own.to_table()})
        judges.append(spec)
    there = before.backend if before is not None else None
    if load(design.backend).asks_server:
        backend = _identified(design.backend, models, there, load)
    else:
        backend = _chosen(design.backend, [path_of(base) for base in design.bases], there, load)
    return dataclasses.replace(design, backend=backend, judges=tuple(judges))


def judge_backend(spec: PluginSpec) -> PluginSpec | None:
    """Return the backend that a judge's spec names in its parameter `backend`, a name or a table; else None."""
    given: Any = spec.parameters.get("backend")
    if isinstance(given, str):
        return PluginSpec(given)
    if isinstance(given, dict) and isinstance(given.get("name"), str):
        return PluginSpec.from_table(given, "backend")
    return None


def _identified(spec: PluginSpec, names: Sequence[str], before: PluginSpec | None, load: Load) -> PluginSpec:
    server = load(spec)
    server.begin()
    known = {**(before.parameters.get("served", {}) if before is not None else {}), **server.served}
    unknown = [name for name in names if name not in known]
    known |= server.identify(unknown) if unknown else {}
    return PluginSpec(spec.name, {**spec.parameters, "served": {name: known[name] for name in names}})


def _chosen(spec: PluginSpec, bases: Sequence[str], before: PluginSpec | None, load: Load) -> PluginSpec:
    backend = load(spec)
    if before is not None:
        own = {k: v for k, v in before.parameters.items() if k in backend.chosen_parameters}
    else:
        own = dict(backend.choose(bases))
    return PluginSpec(spec.name, {**own, **spec.parameters})
