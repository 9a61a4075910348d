"""Details of lighteval: `details/MODEL/TIME/details_TASK_TIME.parquet` (`--save-details`). Read without the package.

One row per document. The model, and which way a metric is better, stand in `results_TIME.json` in `results/MODEL`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aftertune.errors import DataError
from aftertune.files import read_parquet
from aftertune.ingest.log_records import Figure, Log, LoggedAnswer, LoggedScore, beside, messages_of, plain_number
from aftertune.records import Prompt, Worse, digest

_FILE_NAME = re.compile(r"details_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.-]+)\.parquet")
_NEW = ("doc", "metric", "model_response")
"""Columns from version 0.11 on."""
_OLD = ("full_prompt", "metrics", "predictions")
"""Columns of versions 0.6 to 0.10."""


def has_columns(names: Iterable[str]) -> bool:
    """Return whether a Parquet file with these columns holds details."""
    return {*names} >= {*_NEW} or {*names} >= {*_OLD}


def open_log(path: Path) -> Log:
    """Open details, of versions 0.6 to 0.10 or from 0.11 on.

    Metrics: `TASK/METRIC`, one number per document; several generations are its repeats, and a document that stands in
    the file twice is one, too. Direction: from the results file, where it is in its place.

    Raises DataError for a file that cannot be read, and for one without any row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        new = {*names} >= {*_NEW}
        table = read_parquet(path, [name for name in names if name in (_NEW if new else (*_OLD, "example"))])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {str(error)[:120]}") from None
    found = _FILE_NAME.fullmatch(path.name)
    folder, time = _folder_of_model(path), found["time"] if found else ""
    results = beside(_results(path, folder, time)) if folder and time else None
    results = results if isinstance(results, dict) else {}
    rows = table.to_pylist()
    if not rows:
        raise DataError(f"{path}: no rows in it")
    column = "metric" if new else "metrics"
    if not all(isinstance(row[column], dict) for row in rows):
        kind = table.schema.field(column).type
        raise DataError(
            f"{path}: '{column}' is {kind!s:.40} and not one field per metric, as lighteval 0.6 on writes it"
        )
    task = _task(rows[0], found["task"] if found else path.stem.removeprefix("details_"))
    model = _part(results, "config_general", "model_name") or folder or path.resolve().parent.name
    log = Log(
        path,
        str(model),
        task,
        iter(()),
        created=time,
        succeeded=bool(results),
        planned=len(rows),
        figures=_figures(results, task),
        settings=_settings(results),
        form="details of lighteval " + ("(0.11 or newer)" if new else "(0.6 to 0.10)"),
    )
    if not results:
        log.warnings.append(
            f"{path}: no results/.../results_{time or 'TIME'}.json in its place: the model is called '{model}'"
        )
    log.answers = _answers(path, task, rows, new, _worse(results, task), log.warnings)
    return log


def _part(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _folder_of_model(path: Path) -> str:
    """Return the model's folders between `details` and the folder of the run; empty where the file lies elsewhere."""
    parts = path.resolve().parts[:-2]
    at = max((place for place, part in enumerate(parts) if part == "details"), default=-1)
    return "/".join(parts[at + 1 :]) if at >= 0 else ""


def _results(path: Path, folder: str, time: str) -> Path:
    above = path.resolve().parents[len(folder.split("/")) + 1]  # the folder with `details`
    return above.with_name("results") / folder / f"results_{time}.json"


def _task(row: Mapping[str, Any], named: str) -> str:
    own = _part(row, "doc", "task_name")
    return str(own or named).replace("/", "_").replace(",", ";")


def _settings(results: Mapping[str, Any]) -> dict[str, str]:
    config = _part(results, "config_general", "model_config")
    names = ("generation_parameters", "system_prompt", "use_chat_template", "override_chat_template")
    return {name: str(config[name]) for name in names if isinstance(config, dict) and config.get(name) is not None}


def _figures(results: Mapping[str, Any], task: str) -> dict[str, Figure]:
    own = _part(results, "results", task)
    return {
        f"{task}/{name}": Figure(str(name), float(value))
        for name, value in (own.items() if isinstance(own, dict) else ())
        if isinstance(value, (int, float)) and math.isfinite(value) and not str(name).endswith("_stderr")
    }


def _worse(results: Mapping[str, Any], task: str) -> dict[str, Worse]:
    """Return the worse direction of each metric, as the task's configuration says which is better."""
    config = _part(results, "config_tasks", task)
    listed = _part(config, "metrics") or _part(config, "metric")
    worse: dict[str, Worse] = {}
    for each in listed if isinstance(listed, list) else ():
        names, better = _part(each, "metric_name"), _part(each, "higher_is_better")
        for name in names if isinstance(names, list) else [names]:
            own = better.get(name) if isinstance(better, dict) else better
            if isinstance(own, bool):
                worse[str(name)] = "down" if own else "up"
    return worse


def _score(value: Any) -> float | None:
    """Return a metric's value of one document; None where it is missing or no number."""
    number = None if isinstance(value, str) else plain_number(value)
    return None if number is None or math.isnan(number) else number


def _answers(
    path: Path, task: str, rows: list[Any], new: bool, worse: Mapping[str, Worse], warnings: list[str]
) -> Iterator[LoggedAnswer]:
    asked: Counter[str] = Counter()
    several: set[str] = set()
    numbers = {
        name for row in rows for name, value in row["metric" if new else "metrics"].items() if _score(value) is not None
    }
    without: Counter[str] = Counter()
    for number, row in enumerate(rows):
        if new:
            response, doc, metrics = row["model_response"], row["doc"], row["metric"]
            sent = _part(response, "input") or _part(doc, "query")
            texts, thoughts = _part(response, "text"), _part(response, "reasonings")
            id_ = _part(doc, "id")
        else:
            sent, texts, metrics = row["full_prompt"] or row.get("example"), row["predictions"], row["metrics"]
            thoughts = id_ = None
        messages = messages_of(sent)
        id_ = str(id_) if id_ not in (None, "") else str(number)
        texts = [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []
        scores = []
        for name, value in metrics.items():
            metric = f"{task}/{name}"
            score = _score(value)
            without[metric] += score is None
            if name in numbers:
                scores.append(LoggedScore(metric, "", score, worse.get(name)))
        prompt = Prompt(f"{task}/{id_}", "", "", "", "", messages)
        if asked[prompt.id]:
            several.add(prompt.id)
        hash_ = digest(messages)
        for place, text in enumerate(texts or [None]):
            thought = thoughts[place] if isinstance(thoughts, list) and place < len(thoughts) else None
            yield LoggedAnswer(
                prompt=prompt,
                message_hash=hash_,
                repeat=asked[prompt.id],
                text=text,
                error="" if text is not None else "log-likelihoods of given texts, not a text of the model",
                thought=thought or "",
                scores=None if place else tuple(scores),
            )
            asked[prompt.id] += 1
    left_out = sorted(without.keys() - {f"{task}/{name}" for name in numbers})
    if left_out:
        warnings.append(f"{path}: not one number per document, left out: {', '.join(left_out)}")
    for metric, count in sorted(without.items()):
        if count and metric not in left_out:
            warnings.append(f"{path}: {metric}: no number in {count:,} documents: unjudged")
    if several:
        warnings.append(f"{path}: {len(several):,} documents stand in it more than once: read as repeats of one")
