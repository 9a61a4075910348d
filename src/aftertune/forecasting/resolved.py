"""A predictor of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.forecasting.predictor import Need, Predictor
from aftertune.records import PluginSpec, digest


@dataclass(frozen=True)
class ResolvedPredictor:
    """A predictor with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    spec: PluginSpec
    id: str
    """Hash of its version and its parameters, defaults included."""
    needs: frozenset[Need]
    plugin: Predictor | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Predictor) -> ResolvedPredictor:
        """Return the record of a predictor."""
        return cls(
            name=spec.name,
            spec=spec,
            id=digest("predictor", spec.name, plugin.version, plugin),
            needs=plugin.needs,
            plugin=plugin,
        )

    def get(self) -> Predictor:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"predictor '{self.name}': run the command that began this run again to continue it")
        return self.plugin
