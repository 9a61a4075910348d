"""Sample logs of lm-evaluation-harness: `samples_TASK_TIME.jsonl`, made with `--log_samples`, and what stands beside.

Read without the package. The file holds one line per document and filter; `results_TIME.json` beside it names the model
and says of each metric whether higher is better.
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
from aftertune.ingest.logged import Log, Logged, Scored, number
from aftertune.records import Message, Prompt, Role, Worse, digest

_NAME = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")
_OWN = ("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash",
        "prompt_hash", "target_hash")  # fmt: skip
"""Keys of a line that are no metrics."""
LOWER = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter")
"""Its metrics of which lower is better, where no results file says so."""
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def is_line(row: Mapping[str, Any]) -> bool:
    """Return whether a line is one of a sample log."""
    return {"doc_id", "resps", "arguments"} <= row.keys()


def open_log(path: Path) -> Log:
    """Open a sample log.

    Metrics: `TASK/METRIC`, with `,FILTER` for another filter than `none`. Several responses to one document are its
    repeats; a metric belongs to the document. Direction: what the results file says, else the harness's own (lower is
    better for perplexities, bits per byte, Brier score and TER), else higher is taken for better, with a warning.

    Raises DataError for a broken line.
    """
    named = _NAME.fullmatch(path.name)
    task = named["task"] if named else path.stem.removeprefix("samples_")
    beside = path.with_name(f"results_{named['time']}.json") if named else path
    results = rows.document(beside) if named and beside.is_file() else {}
    if not isinstance(results, dict):
        raise DataError(f"{beside}: expected an object, found {type(results).__name__}")
    log = Log(path, _model(results, path), task, iter(()))
    if not results:
        log.warnings.append(
            f"{path}: no {beside.name if named else 'results_TIME.json'} beside it: the model is called '{log.model}'"
        )
    stated = results.get("higher_is_better")
    known = stated.get(task) if isinstance(stated, dict) else None
    log.answers = _answers(path, task, known if isinstance(known, dict) else {}, log.warnings)
    return log


def _model(results: Mapping[str, Any], path: Path) -> str:
    """Return kind and arguments of the model, else its name, else the folder, which the harness names after it."""
    config = results.get("config")
    found: Mapping[str, Any] = config if isinstance(config, dict) else {}
    arguments = found.get("model_args")
    if isinstance(arguments, dict):
        arguments = ",".join(f"{key}={value}" for key, value in sorted(arguments.items()))
    if arguments:
        return f"{found.get('model') or results.get('model_source') or 'model'} ({arguments})"
    return str(results.get("model_name") or path.resolve().parent.name)


@dataclass
class _Seen:
    """What could not be read, or had to be taken on trust."""

    lists: set[str] = field(default_factory=set)
    trusted: set[str] = field(default_factory=set)
    lines: int = 0


def _answers(path: Path, task: str, higher: Mapping[str, Any], warnings: list[str]) -> Iterator[Logged]:
    seen = _Seen()
    texts: set[str] = set()
    for line, row in rows.iterate(path):
        where = f"{path}:{line}"
        if not is_line(row):
            raise DataError(f"{where}: no sample of lm-evaluation-harness: it needs doc_id, arguments and resps")
        seen.lines += 1
        prompt = _prompt(where, task, row)
        given = row.get("prompt_hash")
        hash_ = given if isinstance(given, str) and given else digest(prompt.messages)
        answers = _texts(row)
        # A second filter reads the same responses again: they are handed out once.
        first = prompt.id not in texts
        texts.add(prompt.id)
        scores = tuple(_scores(task, row, higher, seen))
        yield Logged(prompt, hash_, 0, answers[0] if answers and first else None, "stop", _why(answers, first), scores)
        if first:
            for repeat, text in enumerate(answers[1:], 1):
                yield Logged(prompt, hash_, repeat, text, scores=None)
    if not seen.lines:
        raise DataError(f"{path}: no rows in it")
    if seen.lists:
        warnings.append(f"{path}: not one number per document, left out: {', '.join(sorted(seen.lists))}")
    if seen.trusted:
        warnings.append(
            f"{path}: {', '.join(sorted(seen.trusted)[:4])}: higher is taken for better; a policy's `worse` can say "
            "otherwise"
        )


REPEATED = "filtered again"
"""Why a line has no answer of its own: another filter over the same responses."""
NO_WORDS = "log-likelihoods of given texts, not a text of the model"


def _why(answers: list[str], first: bool) -> str:
    return "" if answers and first else REPEATED if answers else NO_WORDS


def _request(row: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of a line's first request, in the form of any version of the harness."""
    given = row["arguments"]
    if isinstance(given, dict):
        given = given.get("gen_args_0", {})
        return [given[key] for key in sorted(given)] if isinstance(given, dict) else []
    first = given[0] if isinstance(given, list) and given else []
    return list(first) if isinstance(first, list) else []


def _texts(row: Mapping[str, Any]) -> list[str]:
    """Return the generated texts of a line; none where the model was asked for probabilities only."""
    request = _request(row)
    if len(request) < 2 or not isinstance(request[1], dict):  # a generation's second argument is its settings
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
    """Return a prompt as messages: API models are sent chats, which are logged as JSON."""
    if text.startswith("[{"):
        try:
            turns = json.loads(text)
            return tuple(Message(_ROLES[turn["role"]], turn["content"]) for turn in turns)
        except (ValueError, KeyError, TypeError):
            pass  # a text that happens to start like one
    return (Message("user", text),)


def _scores(task: str, row: Mapping[str, Any], higher: Mapping[str, Any], seen: _Seen) -> Iterator[Scored]:
    listed = row.get("metrics")
    names = listed if isinstance(listed, list) else [name for name in row if name not in _OWN]
    filter_ = row.get("filter")
    end = f",{filter_}" if filter_ not in (None, "", "none") else ""
    for name in names:
        metric = f"{task}/{name}{end}"
        found = number(row.get(name)) if not isinstance(row.get(name), str) else None
        if found is None:
            seen.lists.add(metric)
            continue
        if isinstance(higher.get(name), bool):
            worse: Worse = "down" if higher[name] else "up"
        elif name in LOWER:
            worse = "up"
        else:
            worse = "down"
            seen.trusted.add(metric)
        yield Scored(metric, "", None if math.isnan(found) else found, worse)
