"""A judge of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aftertune.judging.judge import Judge
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import digest

DATA_NEEDS = frozenset({"registries", "corpus"})
"""Needs of a judge that a tuning set meets."""


@dataclass(frozen=True, kw_only=True)
class ResolvedJudge(Resolved[Judge]):
    """A judge with its identity; its name is that in verdicts."""

    kind = "judge"
    version: str
    axes: tuple[str, ...]
    needs: frozenset[str]
    model: str
    """The model that it reads with; empty for rules."""
    accelerator: bool
    shown_only: Mapping[str, str] = field(default_factory=dict)
    """Axis -> why nothing is decided by its verdicts."""

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
            shown_only=plugin.shown_only,
            plugin=plugin,
        )

    @property
    def reads_data(self) -> bool:
        """Whether it reads the tuning data, so that answers of a base differ between corpora."""
        return bool(self.needs & DATA_NEEDS)
