"""Results and predictions of OpenCompass: a `DATASET.json` in `results/MODEL`, and one in `predictions/MODEL`.

Read without the package. Results hold a score for each answer only where the run was told to (`--dump-eval-details`);
predictions hold prompts and answers without scores. The folder names the model, the file the data set.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest.log_records import Log, LoggedAnswer, LoggedScore, beside, messages_of, plain_number
from aftertune.records import Prompt, Worse, digest

_NO_SCORES = frozenset(
    (
        *("type", "example_abbr", "prompt", "origin_prompt", "origin_prediction", "prediction", "predictions", "pred"),
        *(
            "references",
            "reference",
            "refr",
            "answer",
            "answers",
            "gold",
            "idx",
            "index",
            "id",
            "subdivision",
            "length",
        ),
    )
)
"""Fields of a detail that are no score, whatever they hold."""


def is_predictions(document: Any) -> bool:
    """Return whether a JSON document holds predictions: answers by their number."""
    first = document.get("0") if isinstance(document, dict) else None
    return isinstance(first, dict) and "prediction" in first and not first.keys() & {"references", "correct"}


def is_results(document: Any) -> bool:
    """Return whether a JSON document holds results with a detail for each answer."""
    details = document.get("details") if isinstance(document, dict) else None
    if isinstance(details, list):
        return bool(details) and all(isinstance(each, dict) for each in details)
    return isinstance(details, dict) and ("type" in details or isinstance(details.get("0"), dict))


def open_log(path: Path) -> Log:
    """Open results or predictions, as OpenCompass 0.2 to 0.5 writes them.

    Metrics: `DATASET/FIELD` of each field of a detail that holds numbers or true and false, e.g. `gsm8k/correct`; where
    a data set was asked several times, each time is a repeat. What was asked is looked for in the predictions, which
    lie in the folder `predictions` beside `results`.

    Raises DataError for predictions or details in another form.
    """
    document = rows.document(path)
    model, task = path.resolve().parent.name, path.stem.replace(",", ";")
    log = Log(path, model, task, iter(()))
    if is_predictions(document):
        predictions, details = document, []
        log.form = "predictions of OpenCompass"
    elif is_results(document):
        details = _details(document["details"])
        log.form = "results of OpenCompass"
        other = path.resolve().parents[1].with_name("predictions") / model / path.name
        predictions = beside(other)
        if not is_predictions(predictions):
            predictions = {}
            if not any("prompt" in each for each in details):
                log.warnings.append(
                    f"{path}: no {'/'.join(other.parts[-3:])} beside it: whether two models were sent the same prompts "
                    "is not known"
                )
    else:
        raise DataError(f"{path}: looks like OpenCompass, but has neither predictions nor 'details' in a known form")
    log.judges = frozenset(["details"] if details else [])
    log.planned = len(details) or len(predictions)
    log.answers = _answers(path, task, details, predictions, log.warnings)
    return log


def _details(details: Any) -> list[Mapping[str, Any]]:
    """Return the details in their order."""
    if isinstance(details, dict):
        return [each for name, each in details.items() if name != "type" and isinstance(each, dict)]
    return list(details)


def _answers(
    path: Path, task: str, details: list[Mapping[str, Any]], predictions: Mapping[str, Any], warnings: list[str]
) -> Iterator[LoggedAnswer]:
    fields = _fields(details)
    no_number: Counter[str] = Counter()
    count = len(details) or len(predictions)
    for number in range(count):
        detail = details[number] if details else {}
        times = _times(detail)
        of_each = [name for name in fields if times == 1 or isinstance(detail.get(name), list)]
        scores = [{name: _at(detail.get(name), time) for name in of_each} for time in range(times)]
        answers = [_prediction(predictions, number + time * count) for time in range(times)]
        sent = answers[0].get("origin_prompt") or detail.get("prompt")
        messages = messages_of(sent)
        prompt = Prompt(f"{task}/{detail.get('example_abbr') or number}", "", "", "", "", messages)
        hash_ = digest(messages) if messages else ""
        for time in range(times):
            found = [_score(task, name, value) for name, value in scores[time].items()]
            no_number.update(score.metric for score in found if score.value is None)
            texts = answers[time].get("prediction", _at(detail.get("origin_prediction"), time))
            texts = texts if isinstance(texts, list) else [texts]
            text = next((each for each in texts if isinstance(each, str)), None)
            yield LoggedAnswer(
                prompt=prompt,
                message_hash=hash_,
                repeat=time,
                text=text,
                error="" if text is not None else "no text of the model",
                scores=tuple(found),
            )
        of_all = tuple(_score(task, name, detail.get(name)) for name in fields if name not in of_each)
        if of_all:  # of all times together, as pass@k is
            yield LoggedAnswer(prompt, hash_, 0, None, duplicate=True, scores=of_all)
    for metric, lacking in no_number.items():
        if lacking:
            warnings.append(f"{path}: {metric}: no number in {lacking:,} answers: unjudged")


def _score(task: str, name: str, value: Any) -> LoggedScore:
    number = plain_number(value)
    known = number is not None and not math.isnan(number)
    return LoggedScore(f"{task}/{name}", "", number if known else None, _worse(name))


def _fields(details: list[Mapping[str, Any]]) -> list[str]:
    """Return the fields that hold a number, or true or false, in any detail."""
    found: dict[str, None] = {}
    for detail in details:
        for name, value in detail.items():
            one = value if isinstance(value, list) else [value]
            if name not in _NO_SCORES and any(isinstance(each, (bool, int, float)) for each in one):
                found[name] = None
    return list(found)


def _times(detail: Mapping[str, Any]) -> int:
    """Return how often an example was asked: details then hold a list in every field."""
    lengths = {len(value) for name, value in detail.items() if isinstance(value, list) and name in ("correct", "pred")}
    return max(lengths, default=1) or 1


def _at(value: Any, time: int) -> Any:
    """Return the value of one time; one value for all times is that of the first."""
    if isinstance(value, list):
        return value[time] if time < len(value) else None
    return value if time == 0 else None


def _prediction(predictions: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    found = predictions.get(str(number))
    return found if isinstance(found, dict) else {}


def _worse(name: str) -> Worse | None:
    """Return the worse direction of OpenCompass' own names for a right answer."""
    return "down" if name == "correct" or name.endswith("_correct") else None
