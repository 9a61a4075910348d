"""A benchmark of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.asking.benchmark import Benchmark
from aftertune.files import checksum
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import Accumulation, Metric, Probe, digest


@dataclass(frozen=True, kw_only=True)
class ResolvedBenchmark(Resolved[Benchmark]):
    """A benchmark with its identity; its name is that in prompts and metrics."""

    kind = "benchmark"
    version: str
    needs: frozenset[str]
    metrics: tuple[Metric, ...]
    probes: tuple[Probe, ...]
    accumulations: tuple[Accumulation, ...]
    scored_by: str
    max_new_tokens: int

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Benchmark) -> ResolvedBenchmark:
        """Return the record of a benchmark. Raises DataError where one of its files is not here."""
        files = [checksum(file) for file in plugin.files()]
        return cls(
            name=plugin.name,
            spec=spec,
            id=digest("benchmark", spec.name, plugin.version, plugin, files),
            version=plugin.version,
            needs=plugin.needs,
            metrics=plugin.metrics,
            probes=plugin.probes,
            accumulations=plugin.accumulations,
            scored_by=plugin.scored_by,
            max_new_tokens=plugin.max_new_tokens,
            plugin=plugin,
        )
