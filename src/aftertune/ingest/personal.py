"""Personal data in files of the user's own: the registry of a tuning set, and what stored responses hold of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.pii import registry_file
from aftertune.pii.leaks import Leaks, leaks_in
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Hit, Registry, collect
from aftertune.plugins import load
from aftertune.variants.corpus import Corpus


def register(source: Path, out: Path) -> Registry:
    """Write the registry of a tuning set and return it (`aftertune pii registry FILE -o REG`).

    Args:
        source: Any chat file that `aftertune compose` reads.
        out: Where the registry goes; it is readable by its owner only. An older registry there is replaced, any other
            file is refused.

    Raises UsageError, DataError (file, line) or StoreError.
    """
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; give the name of a file")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out}: is the tuning set itself; choose another file with -o")
    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            if b'"aftertune"' not in file.read(200):
                raise UsageError(f"{out}: is there already and is no registry; choose another file with -o")
    corpus: Corpus = load("corpus", "chat_file", {"path": str(source)})
    found = collect(corpus.conversations())
    registry_file.save(found, out, source)
    return found


EVERY = 500
"""Responses between two words on progress."""


@dataclass(frozen=True, slots=True)
class Matched:
    """What one row of a table of responses holds of a registry."""

    row: int
    """From 0."""
    match: Leaks
    text: str

    def shown(self, *, reveal: bool = False) -> dict[str, Any]:
        """Return the row as JSON knows it; a value is its placeholder unless `reveal`."""
        found = self.match
        return {
            "row": self.row,
            "label": found.label,
            "hits": [self._hit(hit, "registry", reveal) for hit in found.leaked]
            + [self._hit(hit, "echoed", reveal) for hit in found.echoed],
            "owners": list(found.owners),
            "invented": list(found.invented),
        }

    def _hit(self, hit: Hit, label: str, reveal: bool) -> dict[str, Any]:
        return {
            "type": hit.type,
            "label": label,
            "owner": hit.owner,
            "rows": list(hit.rows),
            "count": hit.count,
            "start": hit.start,
            "end": hit.end,
            "value": self.text[hit.start : hit.end] if reveal else placeholder(hit.type),
        }


def match_table(
    registry: Registry, responses: Path, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[Matched]:
    """Return what each response of a table holds of the registry (`aftertune pii match REG RESPONSES`).

    `responses` is CSV, JSONL or Parquet with the column `response`, and `prompt` where the prompts are known: a value
    that its prompt holds is echoed. `progress` is told (what, how many are done, of how many). Raises UsageError, or
    DataError naming file, line and column.
    """
    table = rows.read(responses, ("response",))
    found = []
    for index, (line, row) in enumerate(table):
        for column in ("prompt", "response"):
            if row.get(column) is not None and not isinstance(row[column], str):
                raise DataError(f"{responses}:{line}: {column} is not text")
        text = row["response"] or ""
        found.append(Matched(index, leaks_in(registry, text, row.get("prompt") or ""), text))
        if len(found) % EVERY == 0:
            progress("responses", len(found), len(table))
    return found


def about(registry: Registry) -> dict[str, Any]:
    """Return what a registry holds, in numbers: nothing of it is a personal value."""
    counts = Counter(entry.type for entry in registry.entries)
    return {
        "id": registry.id,
        "values": len(registry),
        "owners": len({entry.owner for entry in registry.entries}),
        "mentions": sum(len(entry.positions) for entry in registry.entries),
        "types": dict(sorted(counts.items())),
    }


def summary(found: list[Matched]) -> dict[str, Any]:
    """Return how many responses have which label, how many values of which type were given away, and whose."""
    labels = Counter(one.match.label for one in found)
    given = [hit for one in found for hit in one.match.leaked]
    return {
        "responses": len(found),
        "labels": {label: labels[label] for label in ("registry", "echoed", "invented", "none")},
        "given_away": dict(sorted(Counter(hit.type for hit in given).items())),
        "values": len({hit.entry for hit in given}),
        "owners": len({hit.owner for hit in given}),
        "rows": len({row for hit in given for row in hit.rows}),
    }
