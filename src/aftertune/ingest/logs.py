"""Logs of other tools, recognised by their content, as the columns of a table of verdicts."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.files import write
from aftertune.ingest import harness_logs, inspect_logs
from aftertune.ingest.log_records import Log
from aftertune.public import PathLike, public
from aftertune.records import Worse

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("checkpoint", "prompt", "metric", "value", "cluster", "repeat", "judge", "worse", "message_hash")
"""The columns of `ingest.verdicts` that a log has."""
_HEAD = 4096
"""Characters of a file that are read to recognise it."""


def open_log(path: Path) -> Log | None:
    """Return the log in a file, or None if it is a table or anything else.

    An `.eval` file, and a `.json` file with the keys of one, is a log of Inspect AI; a `.jsonl` file whose first line
    has `doc_id`, `arguments` and `resps` is a sample log of lm-evaluation-harness. Raises UsageError for a missing file
    and as their readers do.
    """
    if not path.is_file():
        if path.is_dir():
            return None
        raise UsageError(f"{path}: no such file")
    if path.suffix == ".eval":
        return inspect_logs.open_log(path)
    if path.suffix == ".json":
        with path.open(encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
        if head.lstrip().startswith("{"):
            if '"eval"' in head and '"status"' in head:
                return inspect_logs.open_log(path)
            if path.name.startswith("results_"):
                raise DataError(
                    f"{path}: the summary of lm-evaluation-harness; give its samples_TASK_TIME.jsonl (--log_samples)"
                )
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            first = next((line for line in lines if line.strip()), b"")
        try:
            row = json.loads(first)
        except (ValueError, RecursionError):
            return None  # the reader of tables will name the line
        if isinstance(row, dict) and harness_logs.is_line(row):
            return harness_logs.open_log(path)
    return None


def is_log(path: Path) -> bool:
    """Return whether a file that could be read is a log rather than a table."""
    return path.suffix in (".eval", ".json", ".jsonl") and open_log(path) is not None


def verdict_columns(log: Log) -> dict[str, list[Any]]:
    """Return `COLUMNS` of a log, one row per answer and metric.

    An answer without a score that others of its subset have (it ended with an error, or its scorer gave nothing) has a
    row without a value: unjudged. Raises DataError if no answer has a score.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    scores_of_subsets: dict[str, dict[tuple[str, str], Worse | None]] = {}
    scores_of_answers: dict[_AnswerKey, set[tuple[str, str]]] = {}

    def add(metric: str, value: float | None, judge: str, worse: Worse | None, answer: _AnswerKey) -> None:
        row = (
            *(log.model, answer.prompt_id, metric, value, answer.cluster),
            *(answer.repeat, judge, worse, answer.message_hash),
        )
        for name, cell in zip(COLUMNS, row, strict=True):
            columns[name].append(cell)

    for answer in log.answers:
        if answer.scores is None:
            continue
        prompt = answer.prompt
        key = _AnswerKey(prompt.subset, prompt.id, prompt.cluster, answer.repeat, answer.message_hash)
        own = scores_of_answers.setdefault(key, set())
        for score in answer.scores:
            scores_of_subsets.setdefault(key.subset, {})[score.metric, score.judge] = score.worse
            own.add((score.metric, score.judge))
            add(score.metric, score.value, score.judge, score.worse, key)
    for key, own in scores_of_answers.items():
        for (metric, judge), worse in scores_of_subsets.get(key.subset, {}).items():
            if (metric, judge) not in own:
                add(metric, None, judge, worse, key)
    if not columns["value"]:
        raise DataError(f"{log.path}: no scores in it that are numbers; judge its responses with `aftertune judge`")
    return columns


class _AnswerKey(NamedTuple):
    """Which answer a score belongs to, and what its row says of it."""

    subset: str
    prompt_id: str
    cluster: str
    repeat: int
    message_hash: str


@dataclass(frozen=True)
class Conversion:
    """The result of converting logs."""

    rows: Mapping[str, int]
    """Checkpoint -> number of verdicts."""
    warnings: tuple[str, ...]


@public("ingest_logs")
def ingest_logs(logs: PathLike | Sequence[PathLike], out: PathLike) -> Conversion:
    """Write the verdicts of logs as one table (`aftertune ingest LOG... -o TABLE`).

    Args:
        logs: One or more logs of Inspect AI or lm-evaluation-harness, or folders whose logs are all converted.
        out: CSV, JSONL or Parquet, with the columns of `ingest.verdicts`.

    Raises UsageError and DataError, before anything is written.
    """
    import pyarrow as pa

    out = Path(out)
    if out.suffix not in rows.ENDINGS:
        raise UsageError(f"{out}: unknown ending '{out.suffix}'; give one of {', '.join(rows.ENDINGS)}")
    warnings: list[str] = []
    counts: Counter[str] = Counter()
    tables = []
    for path in _files([Path(each) for each in ([logs] if isinstance(logs, str | os.PathLike) else logs)]):
        log = open_log(path)
        if log is None:
            raise DataError(f"{path}: neither a log of Inspect AI nor a sample log of lm-evaluation-harness")
        tables.append(pa.table(arrow(verdict_columns(log))))
        counts[log.model] += len(tables[-1])
        warnings += log.warnings
    table = pa.concat_tables(tables)
    if out.suffix == ".parquet":
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write(out, buffer.getvalue())
    else:
        rows.write(out, table.to_pylist())
    return Conversion(counts, tuple(warnings))


def arrow(columns: dict[str, list[Any]]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of `verdict_columns` as Arrow columns: text, except `value` and `repeat`."""
    import pyarrow as pa

    types = {"value": pa.float64(), "repeat": pa.int64()}
    return {name: pa.chunked_array([pa.array(cells, types.get(name, pa.string()))]) for name, cells in columns.items()}


def _files(paths: Sequence[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_dir():
            inside = sorted({*path.rglob("*.eval"), *path.rglob("samples_*.jsonl")})
            if not inside:
                raise UsageError(f"{path}: no log in it (*.eval, samples_*.jsonl)")
            files += inside
        else:
            files.append(path)
    return files
