"""Personal data in a user's own files: the registry of a tuning set, and its values in stored responses."""

from __future__ import annotations

import dataclasses
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
from aftertune.pii.registry import Registry, collect
from aftertune.plugins import PluginSpec
from aftertune.studies.resolve import load_corpus


def register(source: Path, out: Path) -> Registry:
    """Write the registry of a tuning set and return it (`aftertune pii registry FILE -o REG`).

    Args:
        source: Any chat file that `aftertune compose` reads.
        out: Where to write the registry, readable by its owner only. An older registry there is replaced, any other
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
    registry = collect(load_corpus(PluginSpec("chat_file", {"path": str(source)})).conversations())
    registry_file.save(registry, out, source)
    return registry


EVERY = 500
"""Responses between two reports of progress."""


@dataclass(frozen=True, slots=True)
class ShownHit:
    """A value of a registry in a response, as it is printed."""

    type: str
    label: str
    """`registry` for a value given away, `echoed` for one that the prompt holds too."""
    owner: str
    rows: tuple[int, ...]
    """Training rows with the value."""
    count: int
    """Mentions in the tuning set."""
    start: int
    end: int
    """Span in the response."""
    value: str
    """The value, or its placeholder."""

    def to_json(self) -> dict[str, Any]:
        """Return the hit as a JSON object."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class ResponseMatch:
    """The values of a registry in one row of a table of responses."""

    row: int
    """Number of the row, from 0."""
    match: Leaks
    text: str

    def to_json(self, *, reveal: bool = False) -> dict[str, Any]:
        """Return the row as a JSON object, with placeholders for values unless `reveal`."""
        return {
            "row": self.row,
            "label": self.match.label,
            "hits": [hit.to_json() for hit in self.hits(reveal=reveal)],
            "owners": list(self.match.owners),
            "invented": list(self.match.invented),
        }

    def hits(self, *, reveal: bool = False) -> list[ShownHit]:
        """Return the values given away, then those echoed, as placeholders unless `reveal`."""
        labelled = [(hit, "registry") for hit in self.match.leaked] + [(hit, "echoed") for hit in self.match.echoed]
        return [
            ShownHit(
                type=hit.type,
                label=label,
                owner=hit.owner,
                rows=tuple(hit.rows),
                count=hit.count,
                start=hit.start,
                end=hit.end,
                value=self.text[hit.start : hit.end] if reveal else placeholder(hit.type),
            )
            for hit, label in labelled
        ]


def match_table(
    registry: Registry, responses: Path, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[ResponseMatch]:
    """Return the values of the registry in each response of a table (`aftertune pii match REG RESPONSES`).

    Args:
        registry: The values to look for.
        responses: CSV, JSONL or Parquet with the column `response`, and `prompt` if the prompts are known: a value that
            the prompt holds too is echoed.
        progress: Called with (label, number done, number in all).

    Raises UsageError, or DataError naming file, line and column.
    """
    table = rows.read(responses, ("response",))
    matches: list[ResponseMatch] = []
    for index, (line, row) in enumerate(table):
        for column in ("prompt", "response"):
            if row.get(column) is not None and not isinstance(row[column], str):
                raise DataError(f"{responses}:{line}: {column} is not text")
        text = row["response"] or ""
        matches.append(ResponseMatch(index, leaks_in(registry, text, row.get("prompt") or ""), text))
        if len(matches) % EVERY == 0:
            progress("responses", len(matches), len(table))
    return matches


def counts_of(registry: Registry) -> dict[str, Any]:
    """Return counts that describe a registry as a JSON object, without any personal value."""
    types = Counter(entry.type for entry in registry.entries)
    return {
        "id": registry.id,
        "values": len(registry),
        "owners": len({entry.owner for entry in registry.entries}),
        "mentions": sum(len(entry.positions) for entry in registry.entries),
        "types": dict(sorted(types.items())),
        "names_not_looked_for": dict(registry.outside),
    }


def summary(matches: list[ResponseMatch]) -> dict[str, Any]:
    """Return as a JSON object the responses by label, the values given away by type, and the number of owners."""
    labels = Counter(one.match.label for one in matches)
    given_away = [hit for one in matches for hit in one.match.leaked]
    return {
        "responses": len(matches),
        "labels": {label: labels[label] for label in ("registry", "echoed", "invented", "none")},
        "given_away": dict(sorted(Counter(hit.type for hit in given_away).items())),
        "values": len({hit.entry for hit in given_away}),
        "owners": len({hit.owner for hit in given_away}),
        "rows": len({row for hit in given_away for row in hit.rows}),
    }
