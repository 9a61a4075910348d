"""A mitigation of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aftertune.files import checksum
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import digest, within
from aftertune.tuning.mitigation import Mitigation, Need, Stage

LONGEST = 100
"""Characters of a label: all parameters of a mitigation have room."""


@dataclass(frozen=True, kw_only=True)
class ResolvedMitigation(Resolved[Mitigation]):
    """A mitigation with its identity."""

    kind = "mitigation"
    stage: Stage
    needs: frozenset[Need]
    further: tuple[str, ...]
    """Names of the further weights that it makes of each checkpoint."""
    own_template: bool
    """Whether its checkpoints bring a chat template that they must be asked with."""
    more_epochs: int
    """Epochs that it trains beyond the recipe's."""

    @classmethod
    def of(cls, spec: PluginSpec, plugin: Mitigation) -> ResolvedMitigation:
        """Return the record of a mitigation."""
        return cls(
            name=spec.name,
            spec=spec,
            id=digest("mitigation", spec.name, plugin.version, plugin, [checksum(file) for file in plugin.files()]),
            stage=plugin.stage,
            needs=plugin.needs,
            further=plugin.further,
            own_template=plugin.own_template,
            # What acts afterwards trains nothing: a plugin that asks for epochs all the same gets none.
            more_epochs=plugin.more_epochs if plugin.stage != "after" else 0,
            plugin=plugin,
        )

    @property
    def label(self) -> str:
        """What a recipe is called with it beside the recipe's own name: its name and the parameters that were given."""
        return label(self.spec)


def label(spec: PluginSpec) -> str:
    """Return what a mitigation is called among those of a recipe, e.g. `kl_on_refusals-weight-0.3`."""
    parts = [_word(key, value) for key, value in sorted(spec.parameters.items())]
    return within(re.sub(r"[^A-Za-z0-9._+-]+", "_", "-".join([spec.name, *parts])), LONGEST)


def _word(key: str, value: object) -> str:
    if isinstance(value, bool):
        return key if value else f"no_{key}"
    if isinstance(value, float):
        return f"{key}-{value:g}"
    return f"{key}-{value.rsplit('/', 1)[-1]}" if isinstance(value, str) else f"{key}-{value}"
