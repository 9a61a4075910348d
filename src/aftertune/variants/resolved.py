"""A corpus of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from aftertune.errors import StoreError
from aftertune.files import checksum
from aftertune.plugins import PluginSpec
from aftertune.records import digest
from aftertune.variants.corpus import Corpus


@dataclass(frozen=True)
class ResolvedCorpus:
    """A corpus with its identity. `plugin` is None where the study was read back from a run."""

    name: str
    """Of `[corpora.*]` in the design; empty for that of `[corpus]`."""
    spec: PluginSpec
    id: str
    """Hash of its version, its parameters, defaults included, and the content of its files."""
    plugin: Corpus | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, spec: PluginSpec, plugin: Corpus) -> ResolvedCorpus:
        """Return the record of a corpus. Raises DataError where one of its files is not here."""
        files = [checksum(file) for file in plugin.files()]
        return cls(name, spec, digest("corpus", spec.name, plugin.version, plugin, files), plugin)

    def get(self) -> Corpus:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"corpus '{self.name}': run the command that began this run again to continue it")
        return self.plugin
