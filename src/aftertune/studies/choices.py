"""What is chosen once as a run begins, and goes into its design: what servers declare, how a backend answers here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from aftertune.models.session import Backend
from aftertune.plugins import PluginSpec
from aftertune.studies.design import Design

Load = Callable[[PluginSpec], Backend]


def asks_servers(design: Design, load: Load) -> bool:
    """Return whether a server answers or judges in a design."""
    own = [spec for judge in design.judges if (spec := judge_backend(judge)) is not None]
    return any(load(spec).asks_server for spec in (design.backend, *own))


def with_declarations(design: Design, before: Design | None, load: Load) -> Design:
    """Return the design with what servers declare of its models, and of its judges', written into it (`identify`).

    What stands in `before`, the design of the run that is continued, is taken from there; the rest is asked. A run
    begins or goes on here, so budgets count anew. Raises UsageError, ServerError.
    """
    judges = []
    for index, spec in enumerate(design.judges):
        own = judge_backend(spec)
        if own is not None and load(own).asks_server:
            known = before.judges[index] if before is not None and index < len(before.judges) else None
            there = judge_backend(known) if known else None
            own = _identified(own, [str(spec.parameters.get("model", ""))], there, load)
            spec = PluginSpec(spec.name, {**spec.parameters, "backend": own.to_table()})
        judges.append(spec)
    backend = design.backend
    if load(backend).asks_server:
        models = [*design.bases, *(given.path for given in design.checkpoints)]
        backend = _identified(backend, models, before.backend if before is not None else None, load)
    return dataclasses.replace(design, backend=backend, judges=tuple(judges))


def with_choice(
    design: Design, before: Design | None, load: Load, bases: Sequence[str], ranks: Sequence[int] = ()
) -> Design:
    """Return the design with how its backend answers here, once for the whole run (`Backend.choose`).

    `bases`: their folders; `ranks`: of the LoRA adapters that it asks. What was chosen in `before` stands. This looks
    at the machine, which is slow: what can be refused without it is refused earlier.
    """
    backend = load(design.backend)
    if backend.asks_server:
        return design
    if before is not None:
        own = {k: v for k, v in before.backend.parameters.items() if k in backend.chosen_parameters}
    else:
        own = dict(backend.choose(bases, ranks))
    chosen = PluginSpec(design.backend.name, {**own, **design.backend.parameters})
    return dataclasses.replace(design, backend=chosen)


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
