"""What a design names, looked up: its models, its plugins, the hashes of both, and who judges what."""

from __future__ import annotations

from pathlib import Path

from aftertune import homes, models, plugins
from aftertune.design import Design, Part
from aftertune.errors import UsageError
from aftertune.kinds import Benchmark, Corpus, Judge
from aftertune.records import digest


def model(name: str, base: models.ModelRef | None = None) -> models.ModelRef:
    """Resolve a base or checkpoint by name; `embedded` and `embedded:<name>` are the bases that ship with aftertune.

    Raises UsageError or ModelError in one line, before any weights load.
    """
    from aftertune import embedded

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


def can_score(design: Design, part: Part) -> None:
    """Raise UsageError for a benchmark scored by log-probabilities where the backend of the design shows none."""
    scored_by = getattr(benchmark(part), "scored_by", "generation")
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if scored_by != "generation" and "beginnings" not in backend.capabilities:
        raise UsageError(
            f"benchmark '{part.name}': scored_by = '{scored_by}' needs log-probabilities, which backend "
            f"'{design.backend.name}' does not show: give scored_by = 'generation'"
        )


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
