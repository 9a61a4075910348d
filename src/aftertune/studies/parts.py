"""What a design names, looked up: its models, its plugins, the hashes of both, and who judges what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from aftertune import plugins
from aftertune.asking.benchmark import Benchmark
from aftertune.errors import DataError, JudgeError, ModelError, UsageError
from aftertune.files import checksum
from aftertune.judging.judge import Judge
from aftertune.models import identity as models
from aftertune.plugins import PluginSpec
from aftertune.records import Metric, digest
from aftertune.studies import closing_tables as tables
from aftertune.studies import servers
from aftertune.studies.design import Design
from aftertune.variants.corpus import Corpus

DATA = frozenset({"registries", "training"})
"""Needs of a judge that a tuning set meets."""


def named(what: str, corpus: str) -> str:
    """Return what a file or document of one corpus is called; `@` stands in no arm's name."""
    return f"{what}@{corpus}" if corpus else what


def model(name: str, base: models.ModelRef | None = None, backend: PluginSpec | None = None) -> models.ModelRef:
    """Resolve a base or checkpoint by name; `embedded` and `embedded:<name>` are the bases that ship with aftertune.

    Where `backend` asks a server, the name is the server's, and the model is what it declared when the run began.
    Raises UsageError or ModelError in one line, before any weights load.
    """
    from aftertune import shipped_models as embedded

    server = servers.served_by(backend) if backend is not None else None
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


def corpus(part: PluginSpec) -> Corpus:
    """Return the corpus of a design."""
    found: Corpus = plugins.load("corpus", part.name, part.parameters)
    return found


def benchmark(part: PluginSpec) -> Benchmark:
    """Return a benchmark of a design."""
    found: Benchmark = plugins.load("benchmark", part.name, part.parameters)
    return found


def judge(part: PluginSpec) -> Judge:
    """Return a judge of a design."""
    found: Judge = plugins.load("judge", part.name, part.parameters)
    return found


def part_id(kind: str, part: PluginSpec) -> str:
    """Hash of a plugin: its version, its parameters, those left at their defaults too, and the content of its files.

    A plugin that reads more than the file in its parameter `path` names what it reads in a method `files`, which raises
    DataError where one is not here.
    """
    plugin = plugins.load(kind, part.name, part.parameters)
    if hasattr(plugin, "identity"):  # of a model that it reads with
        return digest(kind, part.name, plugin, plugin.identity())
    path = part.parameters.get("path")
    if hasattr(plugin, "files"):
        return digest(kind, part.name, plugin, [checksum(file) for file in plugin.files()])
    return digest(kind, part.name, plugin, content(path))


def content(path: object) -> str | None:
    """Return the SHA-256 of a file's content; None where `path` names none."""
    return checksum(Path(path)) if isinstance(path, str) and path and Path(path).is_file() else None


def unscored(design: Design) -> str:
    """Return why no text is scored in this design; empty where some are."""
    if not design.sources:
        return "no tuning data was given"
    data = design.data
    if not (data.canaries or data.canary_file or data.held_out or data.non_members):
        return "no held-out rows and no canaries were given ([data] held_out and canaries, or --held-out)"
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if "scores" not in backend.capabilities:
        return f"backend '{design.backend.name}' cannot tell how probable a text is (it has no scores)"
    return ""


def can_score(design: Design, part: PluginSpec) -> None:
    """Raise UsageError for a benchmark scored by log-probabilities where the backend of the design shows none."""
    scored_by = getattr(benchmark(part), "scored_by", "generation")
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if scored_by != "generation" and "beginnings" not in backend.capabilities:
        raise UsageError(
            f"benchmark '{part.name}': scored_by = '{scored_by}' needs log-probabilities, which backend "
            f"'{design.backend.name}' does not show: give scored_by = 'generation'"
        )


def benchmark_name(part: PluginSpec) -> str:
    """Return what a benchmark's prompts and metrics call it: its plugin's name, unless it has a `name` of its own."""
    return str(getattr(benchmark(part), "name", part.name))


def primary_judges(design: Design) -> dict[str, str]:
    """Return axis -> the judge whose verdict is gated: the first in the design that offers the axis."""
    chosen: dict[str, str] = {}
    for part in design.judges:
        for axis in judge(part).axes:
            chosen.setdefault(axis, judge_name(part))
    return chosen


def at_hand(name: str) -> bool:
    """Return whether a model by name may be read without the hub: a folder, an embedded base, or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if models.is_path_like(name) or name.split(":")[0] == "embedded":
        return True
    try:
        return any(isinstance(try_to_load_from_cache(name, f"{kind}config.json"), str) for kind in ("", "adapter_"))
    except HFValidationError:
        return True  # no hub name: `model` says what is wrong


@dataclass(frozen=True, slots=True)
class Lack:
    """A model, benchmark or corpus that a design names and that cannot be had."""

    short: str
    """What it is, and one command or deed that brings it."""
    full: str
    """With the reason, and everything that may be needed first."""


def lacking(design: Design, *, fetch: bool) -> list[Lack]:
    """Return what of a design's models, benchmarks and corpora cannot be had.

    With `fetch`, the hub is asked for models that are not in its cache; without, nothing leaves this machine.
    """
    found: list[Lack] = []
    for name in dict.fromkeys(_models(design)):
        hub = not models.is_path_like(name)
        page = f"https://huggingface.co/{name}"
        how = f"; accept its terms at {page} if it has any, set HF_TOKEN to a read token, and run `hf download {name}`"
        short = f"model {name} (`hf download {name}`)" if hub else f"model {name} (no such folder, or not whole)"
        if not fetch and not at_hand(name):
            found.append(Lack(short, f"model {name}: not in the hub's cache{how}"))
            continue
        try:
            model(name)
        except ModelError as error:
            found.append(Lack(short, f"model {error}{how if hub else ''}"))
    for part in design.benchmarks:
        chosen = benchmark(part)
        if hasattr(chosen, "files"):
            try:
                chosen.files()
            except DataError as error:
                name = benchmark_name(part)
                gated = ", gated" if "HF_TOKEN" in str(error) else ""
                found.append(Lack(f"benchmark {name} (`aftertune fetch {name}`{gated})", f"benchmark {error}"))
    for source, part in design.sources.items():
        path = part.parameters.get("path")
        if isinstance(path, str) and not Path(path).expanduser().exists():
            text = f"corpus {source or part.name}: {path}: no such file; put it there, or name yours as `path`"
            found.append(Lack(f"corpus {source or part.name} (put {path} there)", text))
    return found


def _models(design: Design) -> Iterator[str]:
    """Yield every model whose weights a design needs: bases, checkpoints and judge models."""
    if _local(design.backend):
        yield from (*design.bases, *(given.path for given in design.checkpoints))
    for part in design.judges:
        chosen = judge(part)
        if getattr(chosen, "model", "") and _local(servers.judge_backend(part) or PluginSpec("transformers")):
            yield chosen.model  # type: ignore[attr-defined]


def _local(backend: PluginSpec) -> bool:
    return "weights" in plugins.load("backend", backend.name, backend.parameters).capabilities


def run_metrics(design: Design) -> list[Metric]:
    """Return the metrics of a design's benchmarks that one of its judges has the axis for."""
    axes = primary_judges(design)
    return [m for part in design.benchmarks for m in benchmark(part).metrics if m.axis in axes]


def check_tables(design: Design) -> None:
    """Raise UsageError, with the near miss, for a table that shows what no benchmark or judge of its design gives."""
    if not design.tables:
        return
    metrics = {metric.name: metric for metric in run_metrics(design)}
    places = list(dict.fromkeys(f"{metric.benchmark}/{metric.subset}" for metric in metrics.values()))
    measured = [*_probes(design), *_accumulating(design)]
    offered = {part.name: judge(part).axes for part in design.judges}
    for table in design.tables:
        for column in table.columns:
            at = f"table '{table.title}', column '{column.name}'"
            known = {tables.METRICS: list(metrics), tables.LEAKS: places, tables.MEASURES: measured}
            for kinds, names in known.items():
                if column.what in kinds and column.metric not in names:
                    raise UsageError(f"{at}: no metric '{column.metric}'{plugins.near(column.metric, names)}")
            for key, asked in (("metric", column.metric), ("against", column.against)):
                if column.what == "agreement" and asked not in metrics:
                    raise UsageError(f"{at}: {key}: no metric '{asked}'{plugins.near(asked, list(metrics))}")
            if column.what == "mixed_sign" and not any(fnmatchcase(m, column.metric or "*") for m in metrics):
                raise UsageError(f"{at}: no metric is like '{column.metric}' (known: {', '.join(metrics)})")
            if column.what in tables.SCORED and unscored(design):
                raise UsageError(f"{at}: no text is scored: {unscored(design)}")
            for name, asked in ((column.judge, column.metric), (column.against_judge, column.against)):
                if name in ("", "*"):
                    continue
                if name not in offered:
                    raise UsageError(f"{at}: no judge '{name}'{plugins.near(name, list(offered))}")
                if asked in metrics and metrics[asked].axis not in offered[name]:
                    raise UsageError(f"{at}: judge '{name}' has no axis {metrics[asked].axis}")


def _probes(design: Design) -> list[str]:
    return [
        f"{benchmark_name(part)}/{probe[0]}"
        for part in design.benchmarks
        for probe in getattr(benchmark(part), "probes", ())
    ]


def _accumulating(design: Design) -> list[str]:
    return [benchmark_name(part) for part in design.benchmarks if getattr(benchmark(part), "accumulates", "")]


def judge_name(part: PluginSpec) -> str:
    """Return what a judge's verdicts name: its plugin's name, unless it is `called` something of its own."""
    return str(getattr(judge(part), "called", part.name))


def tell_judges_apart(design: Design, subjects: Mapping[str, models.ModelRef]) -> None:
    """Raise UsageError where two judges have one name, or JudgeError where one would judge itself.

    `subjects`: every model that is asked, by its name.
    """
    names = [judge_name(part) for part in design.judges]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two judges are called '{name}': leave one out, or give its rubric file another name")
    for part in design.judges:
        plugin = judge(part)
        own = plugin.identity() if hasattr(plugin, "identity") else None
        for subject, found in subjects.items():
            if hasattr(plugin, "may_judge"):
                plugin.may_judge(found.names)
            if own is not None and own in (found.identity, subject):
                raise JudgeError(
                    f"judge {part.name}: {subject} is the model under test, which may not judge itself: name another "
                    "model"
                )
