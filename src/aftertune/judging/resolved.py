"""A judge of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.judging.judge import Judge
from aftertune.plugins import PluginSpec
from aftertune.records import digest

DATA_NEEDS = frozenset({"registries", "training"})
"""Needs of a judge that a tuning set meets."""


@dataclass(frozen=True)
class ResolvedJudge:
    """A judge with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    """What its verdicts call it."""
    spec: PluginSpec
    id: str
    """Hash of its version, its parameters, defaults included, and the model that it reads with."""
    version: str
    axes: tuple[str, ...]
    needs: frozenset[str]
    model: str
    """The model that it reads with; empty for rules."""
    accelerator: bool
    plugin: Judge | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Judge) -> ResolvedJudge:
        """Return the record of a judge. Raises ModelError, UsageError where its model cannot be found."""
        return cls(
            name=plugin.name,
            spec=spec,
            id=digest("judge", spec.name, plugin.version, plugin, plugin.identity()),
            version=plugin.version,
            axes=plugin.axes,
            needs=plugin.needs,
            model=plugin.model,
            accelerator=plugin.accelerator,
            plugin=plugin,
        )

    def get(self) -> Judge:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"judge '{self.name}': run the command that began this run again to continue it")
        return self.plugin

    @property
    def reads_data(self) -> bool:
        """Whether it reads the tuning data, so that answers of a base differ between corpora."""
        return bool(self.needs & DATA_NEEDS)
