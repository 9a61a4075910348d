"""What a design names, looked up: its models, its plugins, the hashes of both, and who judges what."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune import homes, models, plugins
from aftertune.design import Design, Part
from aftertune.errors import UsageError
from aftertune.kinds import Backend, Benchmark, Corpus, Judge, ServedBackend
from aftertune.records import digest


def model(name: str, base: models.ModelRef | None = None, backend: Part | None = None) -> models.ModelRef:
    """Resolve a base or checkpoint by name; `embedded` and `embedded:<name>` are the bases that ship with aftertune.

    Where `backend` asks a server, the name is the server's, and the model is what it declared when the run began.
    Raises UsageError or ModelError in one line, before any weights load.
    """
    from aftertune import embedded

    server = served_by(backend) if backend is not None else None
    if server is not None:
        return models.served(name, server.served.get(name) or {"asked": name})
    shipped = embedded.names()
    if name == "embedded":
        return models.resolve(str(embedded.folder()), base=base)
    if name.startswith("embedded:"):
        wanted = name.removeprefix("embedded:")
        if wanted not in shipped:
            raise UsageError(f"no embedded model '{wanted}'{plugins.near(wanted, list(shipped))}")
        return models.resolve(str(embedded.folder(wanted)), base=base)
    return models.resolve(name, base=base)


def corpus(part: Part) -> Corpus:
    """Return the corpus of a design."""
    found: Corpus = plugins.load("corpus", part.name, part.parameters)
    return found


def benchmark(part: Part) -> Benchmark:
    """Return a benchmark of a design."""
    found: Benchmark = plugins.load("benchmark", part.name, part.parameters)
    return found


def judge(part: Part) -> Judge:
    """Return a judge of a design."""
    found: Judge = plugins.load("judge", part.name, part.parameters)
    return found


def given(text: str) -> Part:
    """Return a plugin as a command line gives it: `name`, or `name:key=value,key=value`.

    A value is read as TOML where it is some (numbers, true, false, quoted text), else as plain text; `backend.url=...`
    is the key `url` of the table `backend`. Raises UsageError.
    """
    name, _, rest = text.partition(":")
    found: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, sign, value = pair.partition("=")
        *tables, last = key.strip().split(".")
        place: Any = found
        for table in tables:
            place = place.setdefault(table, {}) if isinstance(place, dict) else None
        if not sign or not last or not isinstance(place, dict) or last in place:
            raise UsageError(f"'{pair[:60]}': give each parameter once, as key=value (name:key=value,key=value)")
        place[last] = _toml(value.strip())
    return Part(name, found)


def _toml(value: str) -> Any:
    if not re.fullmatch(r"[-+]?[0-9][0-9_.eE+-]*|true|false|\"[^\"]*\"", value):
        return value
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return value


# ---------------------------------------------------------------------------------------------- servers


def served_by(part: Part) -> ServedBackend | None:
    """Return the backend if it asks a server, whose models' weights nobody here has seen; else None."""
    found: Backend = plugins.load("backend", part.name, part.parameters)
    return None if "weights" in found.capabilities else found  # type: ignore[return-value]


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


def part_id(kind: str, part: Part) -> str:
    """Hash of a plugin: its version, its parameters, those left at their defaults too, and the content of its files.

    A plugin that reads more than the file in its parameter `path` names what it reads in a method `files`, which raises
    DataError where one is not here.
    """
    plugin = plugins.load(kind, part.name, part.parameters)
    path = part.parameters.get("path")
    if hasattr(plugin, "files"):
        return digest(kind, part.name, plugin, [homes.sha256(file) for file in plugin.files()])
    return digest(kind, part.name, plugin, content(path))


def content(path: object) -> str | None:
    """Return the SHA-256 of a file's content; None where `path` names none."""
    return homes.sha256(Path(path)) if isinstance(path, str) and path and Path(path).is_file() else None


def unscored(design: Design) -> str:
    """Return why no text is scored in this design; empty where some are."""
    if design.corpus is None:
        return "no tuning data was given"
    data = design.data
    if not (data.canaries or data.canary_file or data.held_out or data.non_members):
        return "no held-out rows and no canaries were given ([data] held_out and canaries, or --held-out)"
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if "scores" not in backend.capabilities:
        return f"backend '{design.backend.name}' cannot tell how probable a text is (it has no scores)"
    return ""


def benchmark_name(part: Part) -> str:
    """Return what a benchmark's prompts and metrics call it: its plugin's name, unless it has a `name` of its own."""
    return str(getattr(benchmark(part), "name", part.name))


def primary_judges(design: Design) -> dict[str, str]:
    """Return axis -> the judge whose verdict is gated: the first in the design that offers the axis."""
    chosen: dict[str, str] = {}
    for part in design.judges:
        for axis in judge(part).axes:
            chosen.setdefault(axis, part.name)
    return chosen
