"""An analysis of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.inside.analysis import Analysis
from aftertune.records import PluginSpec, digest


@dataclass(frozen=True)
class ResolvedAnalysis:
    """An analysis with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    spec: PluginSpec
    id: str
    """Hash of its version and its parameters, defaults included."""
    needs: frozenset[str]
    plugin: Analysis | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Analysis) -> ResolvedAnalysis:
        """Return the record of an analysis."""
        return cls(
            name=spec.name,
            spec=spec,
            id=digest("analysis", spec.name, plugin.version, plugin),
            needs=plugin.needs,
            plugin=plugin,
        )

    def reads(self, subsets: Collection[str]) -> bool:
        """Whether it reads a benchmark with these subsets."""
        return self.needs <= set(subsets)

    def get(self) -> Analysis:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"analysis '{self.name}': run the command that began this run again to continue it")
        return self.plugin
