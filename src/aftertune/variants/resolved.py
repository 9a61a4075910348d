"""A corpus of a study, resolved once: the plugin itself, and what is known of it where only the run is at hand."""

from __future__ import annotations

from dataclasses import dataclass

from aftertune.files import checksum
from aftertune.plugins import PluginSpec, Resolved
from aftertune.records import digest
from aftertune.variants.corpus import Corpus


@dataclass(frozen=True, kw_only=True)
class ResolvedCorpus(Resolved[Corpus]):
    """A corpus with its identity; its name is that of `[corpora.*]` in the design, and empty for that of `[corpus]`."""

    kind = "corpus"

    @classmethod
    def of(cls, name: str, spec: PluginSpec, plugin: Corpus) -> ResolvedCorpus:
        """Return the record of a corpus. Raises DataError where one of its files is not here."""
        files = [checksum(file) for file in plugin.files()]
        id = digest("corpus", spec.name, plugin.version, plugin, files)
        return cls(name=name, spec=spec, id=id, plugin=plugin)
