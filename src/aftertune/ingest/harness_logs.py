"""Sample logs of lm-evaluation-harness: `samples_TASK_TIME.jsonl` (`--log_samples`), with `results_TIME.json` beside.

Read without the package. A sample log has one line per document and filter; the results file names the model, and says
for each metric whether higher is better.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest.log_records import Figure, Log, LoggedAnswer, LoggedScore, lines, number
from aftertune.records import Message, Prompt, Role, Worse, digest

_FILE_NAME = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_NOT_METRICS = (
    *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
    *("doc_hash", "prompt_hash", "target_hash"),
)
"""Keys of a line that are not metrics."""
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def is_line(row: Mapping[str, Any]) -> bool:
    """Return whether a line is a line of a sample log."""
    return {"doc_id", "resps", "arguments"} <= row.keys()


def open_log(path: Path) -> Log:
    """Open a sample log.

    Metrics: `TASK/METRIC`, with `,FILTER` for another filter than `none`. Older logs write a document once for each
    filter and do not say which: the filters are then named as in the results file, else `filter 1`, `filter 2`. Several
    responses to one document are its repeats; a metric belongs to the document. Direction: from the results file.

    Raises DataError for a broken line.
    """
    name = _FILE_NAME.fullmatch(path.name)
    task = name["task"] if name else path.stem.removeprefix("samples_")
    beside = path.with_name(f"results_{name['time']}.json") if name else path
    results = rows.document(beside) if name and beside.is_file() else {}
    if not isinstance(results, dict):
        raise DataError(f"{beside}: expected an object, found {type(results).__name__}")
    log = Log(
        path,
        _model(results, path),
        task,
        iter(()),
        created=name["time"] if name else "",
        succeeded=bool(results),
        planned=_planned(results, task),
        settings=_settings(results, task),
        figures=_figures(results, task),
    )
    if not results:
        log.warnings.append(
            f"{path}: no {beside.name if name else 'results_TIME.json'} beside it: the model is called '{log.model}'"
        )
    by_task = results.get("higher_is_better")
    higher = by_task.get(task) if isinstance(by_task, dict) else None
    log.answers = _answers(
        path, task, higher if isinstance(higher, dict) else {}, _filters(results, task), log.warnings
    )
    return log


def _part(results: Mapping[str, Any], *keys: str) -> Any:
    """Return what stands under some keys, one in the other; None where one is missing."""
    value: Any = results
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _planned(results: Mapping[str, Any], task: str) -> int:
    count = _part(results, "n-samples", task, "effective")
    return count if isinstance(count, int) else 0


_TASK_SETTINGS = ("num_fewshot", "generation_kwargs", "description", "doc_to_text", "output_type", "repeats")
_RUN_SETTINGS = ("system_instruction", "system_instruction_sha", "chat_template_sha", "fewshot_as_multiturn")


def _settings(results: Mapping[str, Any], task: str) -> dict[str, str]:
    values = {name: _part(results, "configs", task, name) for name in _TASK_SETTINGS}
    values |= {name: results.get(name) for name in _RUN_SETTINGS}
    values["gen_kwargs"] = _part(results, "config", "gen_kwargs")
    return {name: str(value) for name, value in values.items() if value is not None} if results else {}


def _figures(results: Mapping[str, Any], task: str) -> dict[str, Figure]:
    """Return the means in the results file by the name of their metric."""
    figures = {}
    own = _part(results, "results", task)
    for key, value in own.items() if isinstance(own, dict) else ():
        metric, _, filter_ = str(key).partition(",")
        if isinstance(value, (int, float)) and math.isfinite(value) and not metric.endswith("_stderr"):
            figures[f"{task}/{metric}{_suffix(filter_)}"] = Figure(metric, float(value))
    return figures


def _filters(results: Mapping[str, Any], task: str) -> list[str]:
    """Return the names of a task's filters in their order; none where the results do not say them."""
    listed = _part(results, "configs", task, "filter_list")
    names = [each.get("name") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not names:
        own = _part(results, "results", task)
        names = [str(key).partition(",")[2] for key in own if "," in str(key)] if isinstance(own, dict) else []
    return list(dict.fromkeys(str(name) for name in names if name))


def _suffix(filter_: Any) -> str:
    """Return what a filter adds to the name of a metric."""
    return f",{filter_}" if filter_ not in (None, "", "none") else ""


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
    not_numbers: Counter[str] = field(default_factory=Counter)
    """Metric -> documents that have no number of it."""
    numbers: set[str] = field(default_factory=set)
    """Metrics of which some documents have a number."""
    passes: Counter[str] = field(default_factory=Counter)
    """Document -> lines of it that did not say their filter."""


def _answers(
    path: Path, task: str, higher: Mapping[str, Any], filters: Sequence[str], warnings: list[str]
) -> Iterator[LoggedAnswer]:
    progress = _Progress()
    several = _most_lines_of_a_document(path)
    documents: set[str] = set()
    for line, row in lines(path, warnings):
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
        filter_ = row.get("filter")
        if filter_ is None and several > 1:
            number_ = progress.passes[prompt.id]
            progress.passes[prompt.id] += 1
            filter_ = filters[number_] if len(filters) == several else f"filter {number_ + 1}"
        first = prompt.id not in documents
        documents.add(prompt.id)
        yield LoggedAnswer(
            prompt=prompt,
            message_hash=hash_,
            repeat=0,
            text=texts[0] if texts and first else None,
            error="" if texts else "log-likelihoods of given texts, not a text of the model",
            duplicate=duplicate,
            scores=tuple(_scores(task, row, filter_, higher, progress)),
        )
        if first:
            for repeat, text in enumerate(texts[1:], 1):
                yield LoggedAnswer(prompt, hash_, repeat, text, scores=None)
    if not progress.lines:
        raise DataError(f"{path}: no rows in it")
    without = sorted(progress.not_numbers.keys() - progress.numbers)
    if without:
        warnings.append(f"{path}: not one number per document, left out: {', '.join(without)}")
    for metric in sorted(progress.not_numbers.keys() & progress.numbers):
        warnings.append(f"{path}: {metric}: no number in {progress.not_numbers[metric]:,} documents: unjudged")
    if several > 1 and progress.passes:
        uneven = [document for document, count in progress.passes.items() if count != several]
        if uneven:
            raise DataError(
                f"{path}: {uneven[0]} stands in it {progress.passes[uneven[0]]} times, another document {several} "
                "times, and no line says its filter: repeated lines; run the task again, or remove them"
            )
        named = "as in the results file" if len(filters) == several else "by their order"
        warnings.append(f"{path}: each document stands in it {several} times, once for each filter: named {named}")


def _most_lines_of_a_document(path: Path) -> int:
    """Return how often a document occurs among the lines that do not say their filter."""
    counts: Counter[str] = Counter()
    for _, row in lines(path, []):
        if "filter" in row:
            break  # a version that says it, in every line
        counts[str(row.get("doc_id"))] += 1
    return max(counts.values(), default=0)


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


def _scores(
    task: str, row: Mapping[str, Any], filter_: Any, higher: Mapping[str, Any], progress: _Progress
) -> Iterator[LoggedScore]:
    listed = row.get("metrics")
    names = listed if isinstance(listed, list) else [name for name in row if name not in _NOT_METRICS]
    for name in map(str, names):
        metric = f"{task}/{name}{_suffix(filter_)}"
        value = number(row.get(name)) if not isinstance(row.get(name), str) else None
        if value is None:
            progress.not_numbers[metric] += 1
            continue
        progress.numbers.add(metric)
        better = higher.get(name)
        worse: Worse | None = None if not isinstance(better, bool) else "down" if better else "up"
        yield LoggedScore(metric, "", None if math.isnan(value) else value, worse)
