"""Logs of other tools, recognised by their content, as the columns of a table of verdicts."""

from __future__ import annotations

import io
import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.files import no_file, output, write
from aftertune.ingest import log_formats, missing_values
from aftertune.ingest.directions import directions, is_share
from aftertune.ingest.log_records import EPOCHS, REDUCERS, EmptyLogError, Log, NoScoreError
from aftertune.judging.opinions import author_of
from aftertune.pii.masking import shown
from aftertune.public import PathLike, public
from aftertune.records import Author, Worse

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    *("checkpoint", "prompt", "metric", "value", "cluster", "repeat", "judge", "worse", "message_hash"),
    "answered_by",
)
"""The columns of `ingest.verdicts` that a log has."""


def open_log(path: Path) -> Log | None:
    """Return the log in a file, or None if it is a table or anything else (`log_formats.format_of`).

    Raises UsageError for a missing file and as their readers do.
    """
    if not path.is_file():
        if path.is_dir():
            return None
        raise no_file(path)
    form = log_formats.format_of(path)
    if form is None:
        return None
    log = form.open(path)
    log.form = log.form or f"log of {form.tool}"
    return log


def is_log(path: Path) -> bool:
    """Return whether a file that could be read is a log rather than a table."""
    return path.is_file() and log_formats.format_of(path) is not None


def split_name(source: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return the name and the path of `NAME=PATH`; the name is empty if the whole is a path."""
    name, sign, path = str(source).partition("=")
    if not isinstance(source, str) or not sign or Path(source).exists():
        return "", Path(source)
    return name, Path(path)


def open_logs(sources: Sequence[tuple[str, Path]]) -> tuple[list[Log | None], list[Log], list[str]]:
    """Open the logs among some files, each with the name that its model is given (empty for the log's own).

    Returns the log of each file (None for a table, and for a log without any answer that another makes up for), those
    to read as `settled` chooses them, and what is said of the others. Raises as `open_log` and `settled` do.
    """
    opened: list[Log | None] = []
    empty: list[tuple[str, EmptyLogError]] = []
    for name, path in sources:
        try:
            log = open_log(path)
        except EmptyLogError as error:
            empty.append((name, error))
            log = None
        if log is not None:
            if name and log.models:
                raise UsageError(
                    f"{path}: holds {len(log.models):,} models ({log.models[0]}, {log.models[1]}, ...): '{name}=' "
                    "names one; leave the name out"
                )
            log.model = name or log.model
        opened.append(log)
    kept, warnings = settled([log for log in opened if log is not None])
    for name, nothing in empty:
        if not any((log.model, log.task) == (name or nothing.model, nothing.task) for log in kept):
            raise nothing
        warnings.append(f"{str(nothing).partition(';')[0]}; left out: another log of its model and task counts")
    return opened, kept, warnings


def settled(logs: Sequence[Log]) -> tuple[list[Log], list[str]]:
    """Return the logs to read, one per model and task, and what is said of those left out.

    Of a retried or repeated evaluation counts the newest that succeeded, a full one before one with a limit. Logs of
    other samples, or of other scorers, are kept beside each other. Raises DataError for two that were not asked alike;
    of two models a warning says so, and best-of-n figures of different n are refused.
    """
    kept: list[Log] = []
    warnings: list[str] = []
    for log in logs:
        rival = next((each for each in kept if _same(each, log)), None)
        if rival is None:
            kept.append(log)
            continue
        for name, value in log.settings.items():
            if value != rival.settings.get(name, value):
                raise DataError(
                    f"{log.path}: of the same model and task as {rival.path}, but asked otherwise ({name}: "
                    f"'{value[:60]}', there '{rival.settings[name][:60]}'); give one of them, or name them (NAME=LOG)"
                )
        newer, older = (log, rival) if _rank(log) > _rank(rival) else (rival, log)
        kept[kept.index(rival)] = newer
        warnings.append(
            f"{older.path}: left out: of this model and task {newer.path} counts, the newest that succeeded (a full "
            "one before one with a limit)"
        )
    return kept, [*warnings, *_asked_otherwise(kept)]


def _asked_otherwise(logs: Sequence[Log]) -> list[str]:
    """Return a line for each log whose task another model was asked otherwise. Raises DataError for reduced epochs."""
    lines = []
    first: dict[str, Log] = {}
    for log in logs:
        other = first.setdefault(log.task, log)
        differing = [name for name, value in log.settings.items() if value != other.settings.get(name, value)]
        pairs = ", ".join(
            f"{name} '{log.settings[name][:40]}', there '{other.settings[name][:40]}'" for name in differing
        )
        reducers = {each.settings.get(REDUCERS, "mean") for each in (log, other)}
        if reducers == {"mean"}:
            differing = [name for name in differing if name != EPOCHS]
        elif {EPOCHS, REDUCERS} & {*differing}:
            raise DataError(
                f"{log.path}: its epochs were reduced otherwise than in {other.path} ({pairs}): such figures cannot be "
                "compared; score one of them again with the other's reducer and epochs"
            )
        if differing:
            lines.append(f"{log.path}: the task was asked otherwise than in {other.path}: {pairs}")
    return lines


def _same(one: Log, other: Log) -> bool:
    """Return whether two logs are of one evaluation."""
    if (one.model, one.task) != (other.model, other.task):
        return False
    for mine, theirs in ((one.samples, other.samples), (one.judges, other.judges)):
        if mine and theirs and not mine & theirs:
            return False
    return True


def _rank(log: Log) -> tuple[object, ...]:
    return (log.succeeded, bool(log.judges), log.planned, not log.failed, log.created, log.path.stat().st_mtime)


def verdict_columns(log: Log) -> dict[str, list[Any]]:
    """Return `COLUMNS` of a log, one row per answer and metric.

    An answer without a score that others of its subset have (it ended with an error, or its scorer gave nothing) has a
    row without a value: unjudged. So has a word that is no grade, where other answers have numbers; a metric of words
    alone is left out. The log's own figures are shown where they differ. Raises NoScoreError if no answer has a score.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    scores_of_subsets: dict[str, dict[tuple[str, str], Worse | None]] = {}
    scores_of_answers: dict[_AnswerKey, set[tuple[str, str]]] = {}
    of_prompts: set[tuple[str, str]] = set()
    """Metrics and judges with one score for all answers to a prompt, as of epochs that were reduced."""
    words: dict[str, Counter[str]] = {}
    """Metric -> words that have no value."""
    grades: dict[str, Counter[str]] = {}
    """Metric -> words that have one."""
    numbers: set[str] = set()

    def add(metric: str, value: float | None, judge: str, worse: Worse | None, answer: _AnswerKey) -> None:
        row = (
            *(answer.model or log.model, answer.prompt_id, metric, value, answer.cluster),
            *(answer.repeat, judge, worse, answer.message_hash, answer.answered_by),
        )
        for name, cell in zip(COLUMNS, row, strict=True):
            columns[name].append(cell)

    asked, errors = 0, []
    for answer in log.answers:
        if not answer.duplicate:
            asked += 1
            errors += [answer.error] if answer.error else []
        if answer.scores is None:
            continue
        prompt = answer.prompt
        by = author_of(answer.finish_reason)
        cluster, subset = prompt.cluster, prompt.subset
        key = _AnswerKey(subset, prompt.id, cluster, answer.repeat, answer.message_hash, by, answer.model)
        own = scores_of_answers.setdefault(key, set())
        for score in answer.scores:
            scores_of_subsets.setdefault(key.subset, {})[score.metric, score.judge] = score.worse
            if answer.duplicate:
                of_prompts.add((score.metric, score.judge))
            own.add((score.metric, score.judge))
            add(score.metric, score.value, score.judge, score.worse, key)
            if score.value is not None:
                numbers.add(score.metric)
            if score.word:
                kind = words if score.value is None else grades
                kind.setdefault(score.metric, Counter())[score.word] += 1
    for key, own in scores_of_answers.items() if not log.scores_vary else ():
        for (metric, judge), worse in scores_of_subsets.get(key.subset, {}).items():
            if (metric, judge) not in own and not (key.repeat and (metric, judge) in of_prompts):
                add(metric, None, judge, worse, key)
    left_out = set()
    for metric, found in sorted(words.items()):
        why = _why_left_out(found, grades.get(metric, Counter()), metric in numbers)
        if why:
            left_out.add(metric)
            log.warnings.append(f"{log.path}: {metric} left out: {why}")
        else:
            counted = ", ".join(f"{word} {count:,}" for word, count in found.most_common(4))
            log.warnings.append(
                f"{log.path}: {metric}: words in {found.total():,} answers ({counted}) have no value: unjudged, which "
                "the gate counts as the worst"
            )
    if left_out:
        keep = [metric not in left_out for metric in columns["metric"]]
        columns = {name: list(itertools.compress(cells, keep)) for name, cells in columns.items()}
    if not columns["value"]:
        if errors:
            raise NoScoreError(
                f"{log.path}: no scores in it: {len(errors):,} of {asked:,} samples ended in an error (first: "
                f"{' '.join(errors[0].split())[:160]}); mend what failed and run the evaluation again"
            )
        said = f" ({log.warnings[-1].removeprefix(f'{log.path}: ')})" if words else ""
        raise NoScoreError(
            f"{log.path}: no scores in it that are numbers{said}; judge its responses with `aftertune judge`"
        )
    log.warnings += _other_figures(log, columns)
    return columns


def _why_left_out(words: Counter[str], grades: Counter[str], has_numbers: bool) -> str:
    """Return why a metric with words that have no value is left out as a whole; empty where it is not."""
    if not has_numbers:
        return f"it holds words ({', '.join(sorted(words)[:4])}), not numbers"
    letters = sorted({*words, *grades})
    if grades and all(len(word) == 1 and word.isalpha() for word in letters):
        return f"its letters ({', '.join(letters[:6])}) are a scale of their own, not the grades C, P, I and N"
    return ""


def _other_figures(log: Log, columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return a line for each metric whose mean here is not the log's own."""
    sums: dict[str, dict[str, list[float]]] = {}
    for metric, prompt, value in zip(columns["metric"], columns["prompt"], columns["value"], strict=True):
        if metric in log.figures and value is not None:
            sums.setdefault(metric, {}).setdefault(prompt, []).append(value)
    lines = []
    for metric, by_prompt in sums.items():
        here = sum(sum(values) / len(values) for values in by_prompt.values()) / len(by_prompt)
        own = log.figures[metric]
        if abs(here - own.value) > 5e-4 * max(1.0, abs(own.value)):
            lines.append(
                f"{log.path}: {metric}: the log's own {own.name} is {own.value:.4g}, the mean of its scores that have "
                f"a value {here:.4g}"
            )
    return lines


class _AnswerKey(NamedTuple):
    """Which answer a score belongs to, and what its row says of it."""

    subset: str
    prompt_id: str
    cluster: str
    repeat: int
    message_hash: str
    answered_by: Author
    model: str


@dataclass(frozen=True)
class Conversion:
    """The result of converting logs."""

    rows: Mapping[str, int]
    """Checkpoint -> number of verdicts."""
    warnings: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Logs without a score that is a number, one sentence each; the others are converted."""
    forms: Mapping[str, str] = field(default_factory=dict)
    """Path -> what it was read as, e.g. `report of garak 0.13.3`."""


@public("ingest_logs")
def ingest_logs(
    logs: PathLike | Sequence[PathLike], out: PathLike, *, worse: Mapping[str, str] | None = None
) -> Conversion:
    """Write the verdicts of logs as one table (`aftertune ingest LOG... -o TABLE`).

    Of a retried or repeated evaluation the newest that succeeded is written; of several logs one without any score that
    is a number is left out and named. The column `worse` says which way each
    metric is worse; it is empty where that hangs on the prompts (a bare `refusal`), and `drift` asks.

    Args:
        logs: One or more logs of Inspect AI, lm-evaluation-harness, garak, promptfoo, HELM, lighteval or OpenCompass,
            or folders whose logs are all converted. `NAME=LOG` calls the model of a log, or of all logs in a
            folder, so.
        out: CSV, JSONL or Parquet, with the columns of `ingest.verdicts`.
        worse: Metric, or shell pattern on its name -> `up` (higher is worse) or `down`, where neither the log nor the
            name says it.

    Raises UsageError and DataError, before anything is written: among it for a metric of which nobody knows which way
    is worse, for two scores of one answer, and where no log has a score that is a number.
    """
    import pyarrow as pa

    files = _files([logs] if isinstance(logs, str | os.PathLike) else logs)
    out = output(Path(out), endings=rows.ENDINGS, inputs=[path for _, path in files])
    rows.replaceable(out, ("checkpoint", "prompt", "metric", "value"))
    for path in [path for _, path in files if not is_log(path)]:
        raise log_formats.unknown(path) if path.is_file() else no_file(path)
    _, kept, warnings = open_logs(files)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    paths: list[Path] = []
    left_out: list[str] = []
    forms: dict[str, str] = {}
    for log in kept:
        try:
            made = verdict_columns(log)
        except NoScoreError as error:
            if len(kept) == 1:
                raise
            left_out.append(str(error))
            continue
        for name, cells in made.items():
            columns[name] += cells
        paths += [log.path] * (len(columns["value"]) - len(paths))
        warnings += log.warnings
        forms[str(log.path)] = log.form
    if not paths:
        raise DataError(f"none of {len(left_out):,} logs has a score that is a number; the first: {left_out[0]}")
    _refuse_repeated_scores(columns, paths)
    warnings += _without_marks(columns)
    warnings += _with_directions(columns, paths, worse or {})
    table = pa.table(arrow(columns))
    if out.suffix == ".parquet":
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write(out, buffer.getvalue())
    else:
        rows.write(out, table.to_pylist())
    return Conversion(Counter(columns["checkpoint"]), tuple(warnings), tuple(left_out), forms)


def _refuse_repeated_scores(columns: Mapping[str, Sequence[Any]], paths: Sequence[Path]) -> None:
    """Raise DataError for a second score of one answer, which `drift` would refuse."""
    first: dict[tuple[Any, ...], Path] = {}
    keys = (columns[name] for name in ("checkpoint", "metric", "judge", "prompt", "repeat"))
    for key, path in zip(zip(*keys, strict=True), paths, strict=True):
        if key in first:
            raise DataError(
                f"{path}: {key[1]}: a second score of prompt '{shown(key[3])}' by model '{key[0]}', as in "
                f"{first[key]}; give one of the logs, or name them (NAME=LOG)"
            )
        first[key] = path


def _without_marks(columns: dict[str, list[Any]]) -> list[str]:
    """Empty the values that only mark a missing one, and return a line for each metric that has some."""
    by_metric: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(columns["metric"], columns["judge"], strict=True)):
        by_metric.setdefault(key, []).append(row)
    lines = []
    for (metric, _), own in by_metric.items():
        values = np.array([np.nan if (value := columns["value"][row]) is None else value for row in own], dtype=float)
        found = missing_values.marks(values)
        marked = [row for row, is_mark in zip(own, np.isin(values, found), strict=True) if is_mark]
        for row in marked:
            columns["value"][row] = None
        if marked:
            lines.append(
                f"{metric}: {missing_values.written(found)} in {len(marked):,} of {len(own):,} scores stands for a "
                f"missing value, as the others show: unjudged{missing_values.or_grades(values)}"
            )
        values[np.isin(values, found)] = np.nan
        seen = missing_values.beside_shares(values)
        if seen:
            if is_share(metric):
                raise DataError(missing_values.no_share(metric, seen))
            lines.append(missing_values.no_share(metric, seen, refused=False))
    return lines


def _with_directions(columns: dict[str, list[Any]], paths: Sequence[Path], worse: Mapping[str, str]) -> list[str]:
    """Fill the column `worse`, and return what is to be said of it. Raises UsageError."""
    stated: dict[str, Worse] = {}
    for metric, word, path in zip(columns["metric"], columns["worse"], paths, strict=True):
        if word and stated.setdefault(metric, word) != word:
            raise DataError(f"{path}: {metric}: worse is '{word}' in it, and '{stated[metric]}' in another log")
    where = f"{paths[0]}{f' and {len(set(paths)) - 1:,} more' if len(set(paths)) > 1 else ''}"
    way = directions(where, list(dict.fromkeys(columns["metric"])), stated, worse)
    columns["worse"] = [None if metric in way.doubtful else way.worse[metric] for metric in columns["metric"]]
    return list(way.warnings)


def arrow(columns: dict[str, list[Any]]) -> dict[str, pa.ChunkedArray]:
    """Return the columns of `verdict_columns` as Arrow columns: text, except `value` and `repeat`."""
    import pyarrow as pa

    types = {"value": pa.float64(), "repeat": pa.int64()}
    return {name: pa.chunked_array([pa.array(cells, types.get(name, pa.string()))]) for name, cells in columns.items()}


def _files(sources: Sequence[PathLike]) -> list[tuple[str, Path]]:
    """Return the logs of files and folders, each with the name that its model is given."""
    files: list[tuple[str, Path]] = []
    for source in sources:
        name, path = split_name(source)
        if path.is_dir():
            inside = sorted({file for pattern in _IN_FOLDERS for file in path.rglob(pattern)})
            if not inside:
                raise UsageError(f"{path}: no log in it ({', '.join(_IN_FOLDERS)})")
            files += [(name, each) for each in inside]
        else:
            files.append((name, path))
    return files


_IN_FOLDERS = ("*.eval", "samples_*.jsonl", "*.report.jsonl", "per_instance_stats.json", "details_*.parquet")
"""What tools call their logs, for folders; a file that is given by itself may have any name."""
