"""A benchmark of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.asking.benchmark import Benchmark
from aftertune.errors import StoreError
from aftertune.files import checksum
from aftertune.plugins import PluginSpec
from aftertune.records import Accumulation, Metric, Probe, digest


@dataclass(frozen=True)
class ResolvedBenchmark:
    """A benchmark with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    """What prompts and metrics call it."""
    spec: PluginSpec
    id: str
    """Hash of its version, its parameters, defaults included, and the content of its files."""
    version: str
    needs: frozenset[str]
    metrics: tuple[Metric, ...]
    probes: tuple[Probe, ...]
    accumulations: tuple[Accumulation, ...]
    scored_by: str
    max_new_tokens: int
    plugin: Benchmark | None = field(default=None, compare=False, repr=False)

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

    def get(self) -> Benchmark:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"benchmark '{self.name}': run the command that began this run again to continue it")
        return self.plugin
