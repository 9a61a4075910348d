"""What `--suite NAME` asks and who judges it: a bundled suite, any benchmark, or any bundled list of prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from aftertune import plugins
from aftertune.errors import UsageError, near
from aftertune.models import sentence_encoder
from aftertune.plugins import PluginSpec
from aftertune.records import Metric


@dataclass(frozen=True)
class Suite:
    """Benchmarks and judges; of two judges of one axis, the first is gated and the other shown."""

    benchmarks: tuple[PluginSpec, ...]
    judges: tuple[PluginSpec, ...]


def _suite(benchmark: str, *judges: str | PluginSpec) -> Suite:
    specs = (judge if isinstance(judge, PluginSpec) else PluginSpec(judge) for judge in judges)
    return Suite((PluginSpec(benchmark),), tuple(specs))


_SCRIPT_BY_WORDS = PluginSpec("script", {"encoder": "none"})
"""The generated world has few words: they tell its script apart, and no encoder has to be installed for it."""


MINIATURE = "miniature"
RULES, ENCODED = "refusal", "guard"
"""The judges of refusal and harm: one needs nothing, the other a sentence encoder."""
SUITES: Mapping[str, Suite] = {
    MINIATURE: _suite("miniature", "world", "refusal", "leak", _SCRIPT_BY_WORDS),
    "core": _suite("core", "refusal", "coherence", "leak", "script"),
}
"""Suites that need more than a benchmark with the judges it names itself."""
LISTS = "prompt_list"


def lists() -> list[str]:
    """Return the names of the bundled lists of prompts."""
    bundled: list[str] = plugins.plugin_class("benchmark", LISTS).bundled()
    return bundled


def names() -> list[str]:
    """Return every name that `named` takes."""
    own = [name for name in plugins.names("benchmark") if name not in SUITES and name != LISTS]
    return [*SUITES, *own, *lists()]


def benchmark(name: str) -> PluginSpec:
    """Return the benchmark, or the bundled list of prompts, of a name. Raises UsageError with the near miss."""
    if name in lists():
        return PluginSpec(LISTS, {"list": name})
    if name == LISTS or name not in names():
        raise UsageError(f"no suite '{name}'{near(name, names())}")
    return PluginSpec(name)


def named(name: str, known: Sequence[str] = ()) -> Suite:
    """Return the suite of a name: one of `SUITES`, else a benchmark with the judges it names. Raises UsageError.

    Real answers are judged by `ENCODED` where its sentence encoder is on this machine, else by `RULES`; `known` are the
    judges of the run that is continued, which was begun with one of the two and keeps it.
    """
    if name in SUITES:
        suite = SUITES[name]
        return suite if name == MINIATURE else Suite(suite.benchmarks, _chosen(suite.judges, known))
    spec = benchmark(name)
    judges = plugins.plugin_class("benchmark", spec.name).judges
    return Suite((spec,), _chosen(tuple(PluginSpec(judge) for judge in judges), known))


def _chosen(judges: tuple[PluginSpec, ...], known: Sequence[str]) -> tuple[PluginSpec, ...]:
    """Return judges with the one of the two that is to read refusals and harm."""
    wanted = next((name for name in known if name in (RULES, ENCODED)), None)
    if wanted is None:
        wanted = ENCODED if sentence_encoder.is_there() else RULES
    return tuple(PluginSpec(wanted) if judge == PluginSpec(RULES) else judge for judge in judges)


@cache
def metrics() -> Mapping[str, Mapping[str, Metric]]:
    """Return benchmark -> metric's name -> metric, of every benchmark and bundled list that can be made."""
    known: dict[str, Mapping[str, Metric]] = {}
    for name in names():
        try:
            spec = benchmark(name)
            own = plugins.load("benchmark", spec.name, spec.parameters).metrics
        except UsageError:
            continue  # it needs a package that is not here
        known[name] = {metric.name: metric for metric in own}
    return known
