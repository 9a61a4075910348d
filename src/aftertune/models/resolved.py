"""A backend of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.models.session import Backend
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import digest


@dataclass(frozen=True, kw_only=True)
class ResolvedBackend(Resolved[Backend]):
    """A backend with its identity."""

    kind = "backend"
    capabilities: frozenset[str]
    asks_server: bool

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
