"""A mitigation of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import digest
from aftertune.tuning.mitigation import Mitigation, Need


@dataclass(frozen=True, kw_only=True)
class ResolvedMitigation(Resolved[Mitigation]):
    """A mitigation with its identity."""

    kind = "mitigation"
    needs: frozenset[Need]
    further: tuple[str, ...]
    """Names of the further weights that it makes of each checkpoint."""

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Mitigation) -> ResolvedMitigation:
        """Return the record of a mitigation."""
        return cls(
            name=spec.name,
            spec=spec,
            id=digest("mitigation", spec.name, plugin.version, plugin),
            needs=plugin.needs,
            further=plugin.further,
            plugin=plugin,
        )
