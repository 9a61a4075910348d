"""A backend of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.models.session import Backend
from aftertune.plugins import PluginSpec
from aftertune.records import digest


@dataclass(frozen=True)
class ResolvedBackend:
    """A backend with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    spec: PluginSpec
    id: str
    """Hash of its version and its parameters, defaults included."""
    capabilities: frozenset[str]
    asks_server: bool
    plugin: Backend | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Backend) -> ResolvedBackend:
        """Return the record of a backend."""
        return cls(
            name=spec.name,
            spec=spec,
            id=digest("backend", spec.name, plugin.version, plugin),
            capabilities=plugin.capabilities,
            asks_server=plugin.asks_server,
            plugin=plugin,
        )

    def get(self) -> Backend:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"backend '{self.name}': run the command that began this run again to continue it")
        return self.plugin
