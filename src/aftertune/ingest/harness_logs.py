"""Sample logs of lm-evaluation-harness: `samples_TASK_TIME.jsonl` (`--log_samples`), with `results_TIME.json` beside.

Read without the package. A sample log has one line per document and filter; the results file names the model, and says
for each metric whether higher is better.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest.log_records import Log, LoggedAnswer, LoggedScore, number
from aftertune.records import Message, Prompt, Role, Worse, digest

_FILE_NAME = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_NOT_METRICS = (
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
)
"""Keys of a line that are not metrics."""
LOWER_IS_BETTER = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter")
"""The harness's metrics of which lower is better, for logs without a results file."""
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def is_line(row: Mapping[str, Any]) -> bool:
    """Return whether a line is a line of a sample log."""
    return {"doc_id", "resps", "arguments"} <= row.keys()


def open_log(path: Path) -> Log:
    """Open a sample log.

    Metrics: `TASK/METRIC`, with `,FILTER` for another filter than `none`. Several responses to one document are its
    repeats; a metric belongs to the document. Direction: from the results file, or the harness's own (lower is better
    for perplexities, bits per byte, Brier score and TER); otherwise higher counts as better, with a warning.

    Raises DataError for a broken line.
    """
    name = _FILE_NAME.fullmatch(path.name)
    task = name["task"] if name else path.stem.removeprefix("samples_")
    beside = path.with_name(f"results_{name['time']}.json") if name else path
    results = rows.document(beside) if name and beside.is_file() else {}
    if not isinstance(results, dict):
        raise DataError(f"{beside}: expected an object, found {type(results).__name__}")
    log = Log(path, _model(results, path), task, iter(()))
    if not results:
        log.warnings.append(
            f"{path}: no {beside.name if name else 'results_TIME.json'} beside it: the model is called '{log.model}'"
        )
    by_task = results.get("higher_is_better")
    higher = by_task.get(task) if isinstance(by_task, dict) else None
    log.answers = _answers(path, task, higher if isinstance(higher, dict) else {}, log.warnings)
    return log


def _model(results: Mapping[str, Any], path: Path) -> str:
    """Return the kind and arguments of the model, else its name, else the folder, which the harness names after it."""
    value = results.get("config")
    config: Mapping[str, Any] = value if isinstance(value, dict) else {}
    arguments = config.get("model_args")
    if isinstance(arguments, dict):
        arguments = ",".join(f"{key}={value}" for key, value in sorted(arguments.items()))
    if arguments:
        return f"{config.get('model') or results.get('model_source') or 'model'} ({arguments})"
    return str(results.get("model_name") or path.resolve().parent.name)


@dataclass
class _Progress:
    """What was read so far, for warnings at the end."""

    lines: int = 0
    not_numbers: set[str] = field(default_factory=set)
    """Metrics that are not one number per document."""
    assumed_better: set[str] = field(default_factory=set)
    """Metrics of which higher counts as better."""


def _answers(path: Path, task: str, higher: Mapping[str, Any], warnings: list[str]) -> Iterator[LoggedAnswer]:
    progress = _Progress()
    documents: set[str] = set()
    for line, row in rows.iterate(path):
        where = f"{path}:{line}"
        if not is_line(row):
            raise DataError(f"{where}: no sample of lm-evaluation-harness: it needs doc_id, arguments and resps")
        progress.lines += 1
        prompt = _prompt(where, task, row)
        hash_ = row.get("prompt_hash")
        if not isinstance(hash_, str) or not hash_:
            hash_ = digest(prompt.messages)
        texts = _texts(row)
        # A line of a second filter repeats the responses of the first.
        duplicate = bool(texts) and prompt.id in documents
        first = prompt.id not in documents
        documents.add(prompt.id)
        yield LoggedAnswer(
            prompt=prompt,
            message_hash=hash_,
            repeat=0,
            text=texts[0] if texts and first else None,
            error="" if texts else "log-likelihoods of given texts, not a text of the model",
            duplicate=duplicate,
            scores=tuple(_scores(task, row, higher, progress)),
        )
        if first:
            for repeat, text in enumerate(texts[1:], 1):
                yield LoggedAnswer(prompt, hash_, repeat, text, scores=None)
    if not progress.lines:
        raise DataError(f"{path}: no rows in it")
    if progress.not_numbers:
        warnings.append(f"{path}: not one number per document, left out: {', '.join(sorted(progress.not_numbers))}")
    if progress.assumed_better:
        warnings.append(
            f"{path}: {', '.join(sorted(progress.assumed_better)[:4])}: higher is taken for better; a policy's "
            "`worse` can say otherwise"
        )


def _request(row: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a line's first request, whatever the version of the harness."""
    arguments = row["arguments"]
    if isinstance(arguments, dict):
        first = arguments.get("gen_args_0", {})
        return [first[key] for key in sorted(first)] if isinstance(first, dict) else []
    first = arguments[0] if isinstance(arguments, list) and arguments else []
    return list(first) if isinstance(first, list) else []


def _texts(row: Mapping[str, Any]) -> list[str]:
    """Return the generated texts of a line; none if the model was only asked for probabilities."""
    request = _request(row)
    if len(request) < 2 or not isinstance(request[1], dict):  # only a generation has settings as its second argument
        return []
    responses = row["resps"]
    first = responses[0] if isinstance(responses, list) and responses else []
    return [text for text in (first if isinstance(first, list) else [first]) if isinstance(text, str)]


def _prompt(where: str, task: str, row: Mapping[str, Any]) -> Prompt:
    request = _request(row)
    if not request or not isinstance(request[0], str):
        raise DataError(f"{where}: arguments holds no prompt")
    return Prompt(f"{task}/{row['doc_id']}", "", "", "", "", _messages(request[0]))


def _messages(text: str) -> tuple[Message, ...]:
    """Return a prompt as messages. API models are sent chats, which are logged as JSON."""
    if text.startswith("[{"):
        try:
            turns = json.loads(text)
            if all(isinstance(turn["content"], str) for turn in turns):
                return tuple(Message(_ROLES[turn["role"]], turn["content"]) for turn in turns)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # a text that happens to start like a chat
    return (Message("user", text),)


def _scores(task: str, row: Mapping[str, Any], higher: Mapping[str, Any], progress: _Progress) -> Iterator[LoggedScore]:
    listed = row.get("metrics")
    names = listed if isinstance(listed, list) else [name for name in row if name not in _NOT_METRICS]
    filter_ = row.get("filter")
    suffix = f",{filter_}" if filter_ not in (None, "", "none") else ""
    for name in map(str, names):
        metric = f"{task}/{name}{suffix}"
        value = number(row.get(name)) if not isinstance(row.get(name), str) else None
        if value is None:
            progress.not_numbers.add(metric)
            continue
        if isinstance(higher.get(name), bool):
            worse: Worse = "down" if higher[name] else "up"
        elif name in LOWER_IS_BETTER:
            worse = "up"
        else:
            worse = "down"
            progress.assumed_better.add(metric)
        yield LoggedScore(metric, "", None if math.isnan(value) else value, worse)
