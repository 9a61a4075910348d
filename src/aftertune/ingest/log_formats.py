"""Which tool wrote a file, recognised by its content and not by its name; and what a file of no known tool lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aftertune.data import table_files as rows
from aftertune.errors import AftertuneError, DataError
from aftertune.ingest import (
    garak_reports,
    harness_logs,
    helm_runs,
    inspect_logs,
    lighteval_details,
    opencompass_results,
    promptfoo_results,
)
from aftertune.ingest.log_records import Log

_HEAD = 65_536
"""Bytes of a file that are read to recognise a document."""
_TABLE = frozenset(("checkpoint", "prompt", "metric", "value"))


class LogFormat(NamedTuple):
    """A form of log that is known."""

    tool: str
    open: Callable[[Path], Log]


INSPECT = LogFormat("Inspect AI", inspect_logs.open_log)
HARNESS = LogFormat("lm-evaluation-harness", harness_logs.open_log)
GARAK = LogFormat("garak", garak_reports.open_log)
PROMPTFOO = LogFormat("promptfoo", promptfoo_results.open_log)
HELM = LogFormat("HELM", helm_runs.open_log)
LIGHTEVAL = LogFormat("lighteval", lighteval_details.open_log)
OPENCOMPASS = LogFormat("OpenCompass", opencompass_results.open_log)

KNOWN = (
    "Inspect AI (.eval, or its .json form), lm-evaluation-harness (samples_*.jsonl), garak (*.report.jsonl), promptfoo "
    "(results.json or .jsonl), HELM (per_instance_stats.json, scenario_state.json), lighteval (details_*.parquet), "
    "OpenCompass (results/MODEL/*.json with details, predictions/MODEL/*.json)"
)


def format_of(path: Path) -> LogFormat | None:
    """Return the form of log that a file is, None for a table and anything else.

    Raises DataError for a file that is of two forms, and for a summary of a known tool that holds no single scores.
    """
    if path.suffix.lower() == ".csv":
        return None
    if path.suffix == ".eval":
        return INSPECT
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PAR1"):
        return _of_parquet(path)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start not in (b"{", b"["):
        return None
    row = _first_row(path)
    if row is not None and row.keys() >= _TABLE:
        return None
    found = _of_row(row) if row is not None else []
    if not found:
        found = _of_document(path, head.decode("utf-8", "replace"), start == b"[")
    if len(found) > 1:
        tools = " and ".join(each.tool for each in found)
        raise DataError(
            f"{path}: has what logs of {tools} have, so nobody knows which it is; take the one's keys out, or give a "
            f"table with {', '.join(sorted(_TABLE))}"
        )
    return found[0] if found else None


def _of_parquet(path: Path) -> LogFormat | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return None  # the reader of tables will say why
    return LIGHTEVAL if lighteval_details.has_columns(names) and not {*names} >= _TABLE else None


def _first_row(path: Path) -> Mapping[str, Any] | None:
    """Return the first line that is not empty, where it is an object by itself."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        row = json.loads(first.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _of_row(row: Mapping[str, Any]) -> list[LogFormat]:
    """Return the forms of which a line can be."""
    tests: Sequence[tuple[Callable[[Mapping[str, Any]], bool], LogFormat]] = (
        (harness_logs.is_line, HARNESS),
        (garak_reports.is_line, GARAK),
        (promptfoo_results.is_line, PROMPTFOO),
    )
    return [form for test, form in tests if test(row)]


def _of_document(path: Path, head: str, is_list: bool) -> list[LogFormat]:
    """Return the forms of which a JSON document can be, by the keys at its beginning."""
    outer, inner = _keys(head)
    if is_list:
        return [HELM] if inner >= {"instance_id", "train_trial_index"} else []
    found = []
    if outer >= {"eval", "status"}:
        found.append(INSPECT)
    if outer >= {"evalId", "results"} or (outer >= {"version", "timestamp", "results"} and "eval" not in outer):
        found.append(PROMPTFOO)
    if "adapter_spec" in outer:
        found.append(HELM)
    if found:
        return found
    if "config_general" in outer:
        raise DataError(
            f"{path}: the summary of lighteval holds means alone; give its details_TASK_TIME.parquet (--save-details)"
        )
    summary = outer >= {"results", "configs"}
    found = [] if summary else _of_whole_document(path)
    if summary or (not found and path.name.startswith("results_")):
        raise DataError(
            f"{path}: the summary of lm-evaluation-harness; give its samples_TASK_TIME.jsonl (--log_samples)"
        )
    return found


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[{}\[\]:]', re.S)
"""A text, whole or cut off at the end, or a sign that opens, closes, or follows a key."""


def _keys(head: str) -> tuple[set[str], set[str]]:
    """Return the keys at the first and at the second level of a JSON document that may be cut off."""
    levels: tuple[set[str], set[str]] = (set(), set())
    depth, last = 0, ""
    for token in _TOKEN.findall(head):
        if token in ("{", "["):
            depth += 1
        elif token in ("}", "]"):
            depth -= 1
        elif token == ":" and 1 <= depth <= 2:
            levels[depth - 1].add(last[1:-1])
        last = token
    return levels


def _of_whole_document(path: Path) -> list[LogFormat]:
    """Return OpenCompass where a document is its, whose keys may stand anywhere in it."""
    try:
        document = rows.document(path)
    except DataError:
        return []
    if not isinstance(document, dict):
        return []
    if opencompass_results.is_predictions(document) or opencompass_results.is_results(document):
        return [OPENCOMPASS]
    if document and all(isinstance(value, (int, float)) for value in document.values()):
        raise DataError(
            f"{path}: figures alone, with no single answer ({rows.shown_fields(document, 4)}); where OpenCompass wrote "
            "them, run it with --dump-eval-details"
        )
    return []


# ---------------------------------------------------------------------------------------------- unknown files

_ALIKE: Mapping[str, str] = {
    "checkpoint": "model model_name model_id model_path engine adapter run run_name revision deployment system",
    "prompt": "question input query instruction request prompt_text text user_input messages id prompt_id sample_id "
    "question_id item_id example_id doc_id idx index",
    "metric": "metric_name task task_name scorer evaluator criterion benchmark dataset eval check axis test",
    "value": "score scores correct is_correct accuracy acc passed pass success result grade rating label verdict "
    "metric_value",
    "response": "output answer completion generation generated_text prediction model_output model_response reply "
    "predicted_text",
}
"""What other tools call a column, the likeliest first."""


def nearest(names: Iterable[object], wanted: Sequence[str]) -> str:
    """Return which of a file's own columns come nearest to those that it lacks, for a message; else nothing."""
    there = [str(name) for name in names]
    plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(there)}
    pairs: list[str] = []
    taken: set[str] = set()
    for column in wanted:
        own = next(
            (plain[word] for word in _ALIKE.get(column, "").split() if word in plain and plain[word] not in taken), None
        )
        if column not in there and own is not None and rows.is_plain_key(own):
            taken.add(own)
            pairs.append(f"'{own}' for {column}")
    return f"; nearest of its own: {', '.join(pairs)}" if pairs else ""


def is_object(path: Path) -> bool:
    """Return whether a file is one JSON object, which is no table."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_HEAD).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def unknown(path: Path) -> DataError:
    """Return the error for a file that is no log of a known tool: what would do, and what it has."""
    names = _own_names(path)
    there = f" (it has {rows.shown_fields(names, 8)})" if names else ""
    needed = ("checkpoint", "prompt", "metric", "value")
    return DataError(
        f"{path}: no log of a known tool{there}; known are {KNOWN}; else a CSV, JSONL or Parquet table does with "
        f"{', '.join(needed)} for `drift --verdicts`, or prompt, response for `judge`"
        f"{nearest(names, (*needed, 'response'))}"
    )


def _own_names(path: Path) -> list[str]:
    """Return the columns or keys of a file that could be read, else none."""
    try:
        document = rows.document(path) if path.suffix.lower() == ".json" else None
    except DataError:
        return []
    if isinstance(document, dict):
        inner = next((v for v in document.values() if isinstance(v, list) and v and isinstance(v[0], dict)), None)
        return [str(name) for name in (inner[0] if inner else document)]
    try:
        _, row = next(rows.iterate(path), (0, {}))
    except (AftertuneError, OSError, ValueError):
        return []
    return [str(name) for name in row]
