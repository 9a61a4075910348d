"""Personal data in a user's own files: the registry of a tuning set, and its values in stored responses."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.data import chat_rows
from aftertune.data.reading import Reading, counted
from aftertune.data.row_files import Row, RowFile
from aftertune.errors import DataError, UsageError
from aftertune.pii import registry_file
from aftertune.pii.leaks import Leaks, leaks_in
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Registry, collect
from aftertune.plugins import PluginSpec
from aftertune.studies.resolve import load_corpus


def register(
    source: Path,
    out: Path,
    *,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
) -> Registry:
    """Write the registry of a tuning set and return it (`aftertune pii registry FILE -o REG`).

    Args:
        source: Any chat file that `aftertune compose` reads. Every text of its rows counts, not only the turns.
        out: Where to write the registry, readable by its owner only. An older registry there is replaced, any other
            file is refused.
        columns: Which columns hold the turns; with `encoding` and `skip_bad` as in the corpus `chat_file`.
        encoding: Of a text file.
        skip_bad: Whether rows that cannot be read are skipped.
        reading: Counts the rows, what stands beside their turns, and those that are skipped.

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
    options = {"path": str(source), "columns": columns, "encoding": encoding, "skip_bad": skip_bad}
    corpus = load_corpus(PluginSpec("chat_file", options))
    counts = Reading() if reading is None else reading
    counts.encoding = corpus.read_as
    registry = collect(list(counted(corpus.rows(), counts)))
    registry_file.save(registry, out, source)
    return registry


CALLS = frozenset({"tool_calls", "function_call", "functionCall", "tool_use"})
REASONING = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts")
"""What a model wrote beside its answer: its own words as well."""
_NO_PROMPT = frozenset(
    {*chat_rows.ANSWERS, *chat_rows.REJECTED, "reference", "references", "expected", "gold", "label", "chosen"}
)
"""Fields that hold answers which nobody sends: a value in them is not echoed from the prompt."""
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
    fields: tuple[str, ...]
    """Where it stands in those rows: turns' roles, and fields that are no turns, e.g. `tools[0].function.name`."""
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
                fields=hit.fields,
                start=hit.start,
                end=hit.end,
                value=self.text[hit.start : hit.end] if reveal else placeholder(hit.type),
            )
            for hit, label in labelled
        ]


def match_table(
    registry: Registry,
    responses: Path,
    *,
    columns: str = "",
    encoding: str = "",
    skip_bad: bool = False,
    reading: Reading | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[ResponseMatch]:
    """Return the values of the registry in each response of a table (`aftertune pii match REG RESPONSES`).

    Args:
        registry: The values to look for.
        responses: A table with the column `response`, and `prompt` if the prompts are known, or a chat file, of which
            the assistant's turns and calls are the response and all else is the prompt: a value that the prompt holds
            too is echoed.
        columns: Which columns hold what, e.g. `response=reply`; with `encoding` and `skip_bad` as in `chat_file`.
        encoding: Of a text file.
        skip_bad: Whether rows that cannot be read are skipped.
        reading: Counts the rows, and those that are skipped.
        progress: Called with (label, number done, number in all).

    Raises UsageError, or DataError naming file, line and column.
    """
    named = chat_rows.columns_of(columns, answers_alone=True)
    counts = Reading() if reading is None else reading
    file = RowFile(responses, encoding, chat_rows.is_row)
    counts.encoding = file.read_as()
    table = list(file.rows())
    matches: list[ResponseMatch] = []
    for index, row in enumerate(table):
        try:
            prompt, text = _asked_and_said(row, named)
        except DataError as error:
            if not skip_bad:
                raise
            counts.skip(str(error))
            continue
        counts.rows += 1
        matches.append(ResponseMatch(index, leaks_in(registry, text, prompt), text))
        if len(matches) % EVERY == 0:
            progress("responses", len(matches), len(table))
    if not matches:
        raise DataError(f"{responses}: no rows in it" + (f": all {counts.skipped:,} are bad" if counts.skipped else ""))
    return matches


def _asked_and_said(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """Return the prompt and the response of a row. Raises DataError."""
    if row.problem:
        raise DataError(f"{row.where}: {row.problem}")
    if not isinstance(row.value, Mapping):
        raise DataError(f"{row.where}: expected an object, found {type(row.value).__name__}")
    said = columns.get("response", "response" if not columns else "")
    asked = columns.get("prompt", "prompt")
    if said in row.value and not any(isinstance(row.value.get(name), list | Mapping) for name in (said, asked)):
        for column in (asked, said):
            if row.value.get(column) is not None and not isinstance(row.value[column], str):
                raise DataError(f"{row.where}: {column} is not text")
        if asked in row.value or "prompt" not in columns:
            thoughts = [row.value[key] for key in REASONING if isinstance(row.value.get(key), str)]
            sent = [row.value.get(asked) or "", *_sent_beside(row, {said, asked, *REASONING})]
            return "\n".join(sent), "\n".join([row.value[said] or "", *thoughts])
    try:
        read = chat_rows.parse(row.value, row.where, columns)
    except DataError as error:
        if columns or "response" in row.value:
            raise
        why = str(error).removeprefix(f"{row.where}: ")
        raise DataError(f"{row.where}: no column 'response', and no chat: {why}") from None
    roles = {turn.index: turn.role for turn in read.turns}
    texts = [(turn.role == "assistant", turn.content) for turn in read.turns]
    for each in read.beside:
        own = (each.kind in CALLS and each.field != each.kind) or each.kind in REASONING
        if own or each.kind not in _NO_PROMPT:
            texts.append((own and roles.get(chat_rows.turn_of(each.field)) in (None, "assistant"), each.text))
    if not any(own for own, _ in texts):
        raise DataError(f"{row.where}: no answer in it")
    return tuple("\n".join(text for own, text in texts if own is side) for side in (False, True))  # type: ignore[return-value]


_SENT = frozenset(
    {*chat_rows.TURNS[:-2], *chat_rows.QUESTIONS, *chat_rows.CONTEXTS, *chat_rows.SYSTEMS, "history", "tools"}
)
"""Columns beside a prompt that are sent with it."""


def _sent_beside(row: Row, taken: set[str]) -> list[str]:
    """Return the texts of the columns of a table that are sent beside the prompt: turns, a system prompt, a context."""
    sent = {key: value for key, value in row.value.items() if key in _SENT and key not in taken}
    return [each.text for each in chat_rows.all_texts(sent, row.where).beside]


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
