"""A mitigation of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.records import PluginSpec, digest
from aftertune.tuning.mitigation import Mitigation, Need


@dataclass(frozen=True)
class ResolvedMitigation:
    """A mitigation with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    spec: PluginSpec
    id: str
    """Hash of its version and its parameters, defaults included."""
    needs: frozenset[Need]
    further: tuple[str, ...]
    """Names of the further weights that it makes of each checkpoint."""
    plugin: Mitigation | None = field(default=None, compare=False, repr=False)

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

    def get(self) -> Mitigation:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"mitigation '{self.name}': run the command that began this run again to continue it")
        return self.plugin
