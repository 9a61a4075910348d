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
from aftertune.files import output
from aftertune.pii import registry_file
from aftertune.pii.leaks import Leaks, leaks_in
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Registry, collect
from aftertune.plugins import PluginSpec
from aftertune.studies.resolve import load_corpus
from aftertune.thoughts import AFTER, opened_by_template, part, seems_to_think, thought_of
from aftertune.thoughts import FIELDS as REASONING


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
    out = output(out, inputs=[source])
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
    """Span in the answer, or in the thought."""
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
    """Of the answer alone; nothing where there is none."""
    text: str
    """The answer."""
    thought: str = ""
    """What the model wrote for itself before it."""
    in_thought: Leaks | None = None
    """Of the thought; None where there is none."""
    unanswered: str = ""
    """Why there is no answer: the response ends inside its thought."""
    unparted: bool = False
    """Whether the answer holds what looks like the markup of a thought."""

    def to_json(self, *, reveal: bool = False) -> dict[str, Any]:
        """Return the row as a JSON object, with placeholders for values unless `reveal`."""
        return {
            "row": self.row,
            **_leaks(self.label, self.match, self.hits(reveal=reveal)),
            "thought": self.in_thought
            and _leaks(self.in_thought.label, self.in_thought, self.hits(reveal=reveal, thought=True)),
        }

    @property
    def label(self) -> str:
        """That of the answer: as in `Leaks`, or `unanswered`."""
        return "unanswered" if self.unanswered else self.match.label

    def hits(self, *, reveal: bool = False, thought: bool = False) -> list[ShownHit]:
        """Return the values given away in the answer or the thought, then those echoed, as in `to_json`."""
        match, text = (self.in_thought, self.thought) if thought else (self.match, self.text)
        if match is None:
            return []
        labelled = [(hit, "registry") for hit in match.leaked] + [(hit, "echoed") for hit in match.echoed]
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
                value=text[hit.start : hit.end] if reveal else placeholder(hit.type),
            )
            for hit, label in labelled
        ]


def _leaks(label: str, match: Leaks, hits: list[ShownHit]) -> dict[str, Any]:
    return {
        "label": label,
        "hits": [hit.to_json() for hit in hits],
        "owners": list(match.owners),
        "invented": list(match.invented),
    }


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

    A thought before an answer is parted from it, as in reports: its values are told apart from the answer's.

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
    read: list[tuple[int, _Said]] = []
    for index, row in enumerate(table):
        try:
            read.append((index, _asked_and_said(row, named)))
        except DataError as error:
            if not skip_bad:
                raise
            counts.skip(str(error))
            continue
        counts.rows += 1
    texts: dict[str, list[str]] = {}
    for _, said in read:
        if said.answers and not said.thoughts:
            texts.setdefault(said.model, []).append(said.answers[-1])
    opened = {model for model, own in texts.items() if opened_by_template(own)}
    matches: list[ResponseMatch] = []
    for index, said in read:
        matches.append(_matched(registry, index, said, opened=said.model in opened))
        if len(matches) % EVERY == 0:
            progress("responses", len(matches), len(table))
    if not matches:
        raise DataError(f"{responses}: no rows in it" + (f": all {counts.skipped:,} are bad" if counts.skipped else ""))
    return matches


@dataclass(frozen=True)
class _Said:
    """What one row says."""

    prompt: str
    answers: tuple[str, ...]
    """As the model wrote them: a thought may stand in each."""
    calls: tuple[str, ...] = ()
    """What tools were called with: no thought stands there."""
    thoughts: tuple[str, ...] = ()
    """Those in fields of their own."""
    model: str = ""
    """Whose response it is, where the row says it."""


def _matched(registry: Registry, index: int, said: _Said, *, opened: bool) -> ResponseMatch:
    # Where the template opened the thought that the others close, a text that closes none is all thought.
    own = opened and not said.thoughts
    parted = [part(text, opened=own and bool(text)) for text in said.answers]
    thought = "\n\n".join(filter(None, (*said.thoughts, *(each.thought for each in parted))))
    answer = "\n".join(filter(None, (*(each.answer for each in parted), *said.calls)))
    missing = not answer.strip() and bool(thought or any(each.found for each in parted))
    why = next((each.unanswered for each in parted if each.unanswered), AFTER) if missing else ""
    return ResponseMatch(
        index,
        leaks_in(registry, answer, said.prompt),
        answer,
        thought,
        leaks_in(registry, thought, said.prompt) if thought else None,
        why,
        seems_to_think(answer),
    )


def _asked_and_said(row: Row, columns: Mapping[str, str]) -> _Said:
    """Return what a row says. Raises DataError."""
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
            model = str(row.value.get("checkpoint") or row.value.get("model") or "")
            thought = thought_of(row.value)
            sent = [row.value.get(asked) or "", *_sent_beside(row, {said, asked, *REASONING})]
            return _Said(
                "\n".join(sent),
                (row.value[said] or "",),
                thoughts=(thought,) if thought else (),
                model=model,
            )
    try:
        read = chat_rows.parse(row.value, row.where, columns)
    except DataError as error:
        if columns or "response" in row.value:
            raise
        why = str(error).removeprefix(f"{row.where}: ")
        raise DataError(f"{row.where}: no column 'response', and no chat: {why}") from None
    roles = {turn.index: turn.role for turn in read.turns}
    prompt = [turn.content for turn in read.turns if turn.role != "assistant"]
    answers = [turn.content for turn in read.turns if turn.role == "assistant"]
    calls: list[str] = []
    thoughts: list[str] = []
    for each in read.beside:
        called, reasoned = each.kind in CALLS and each.field != each.kind, each.kind in REASONING
        own = (called or reasoned) and roles.get(chat_rows.turn_of(each.field)) in (None, "assistant")
        if own:
            (thoughts if reasoned else calls).append(each.text)
        elif called or reasoned or each.kind not in _NO_PROMPT:
            prompt.append(each.text)
    if not answers and not calls and not thoughts:
        raise DataError(f"{row.where}: no answer in it")
    return _Said("\n".join(prompt), tuple(answers), tuple(calls), tuple(thoughts))


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
    """Return as a JSON object the responses by label, the values given away by type, and the number of owners.

    These are of the answers; `thoughts` holds the same of the thoughts before them, `unanswered` counts the responses
    that end inside one, and `unparted` those in which a thought may stand still.
    """
    thoughts = [one.in_thought for one in matches if one.in_thought is not None]
    return {
        "responses": len(matches),
        **_totals([one.match for one in matches if not one.unanswered]),
        "unanswered": sum(bool(one.unanswered) for one in matches),
        "thoughts": {"responses": len(thoughts), **_totals(thoughts)},
        "unparted": sum(one.unparted for one in matches),
    }


def _totals(matches: list[Leaks]) -> dict[str, Any]:
    labels = Counter(one.label for one in matches)
    given_away = [hit for one in matches for hit in one.leaked]
    return {
        "labels": {label: labels[label] for label in ("registry", "echoed", "invented", "none")},
        "given_away": dict(sorted(Counter(hit.type for hit in given_away).items())),
        "values": len({hit.entry for hit in given_away}),
        "owners": len({hit.owner for hit in given_away}),
        "rows": len({row for hit in given_away for row in hit.rows}),
    }
