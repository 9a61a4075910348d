"""Results of promptfoo: `promptfoo eval -o results.json` or `-o results.jsonl`. Read without the package.

One file holds every provider (a model, as promptfoo calls it) that was asked, each with one result per test and prompt.
A result passes where all assertions hold; scores run from 0 to 1, and higher is nearer to passing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.ingest.log_records import (
    EmptyLogError,
    Log,
    LoggedAnswer,
    LoggedScore,
    lines,
    messages_of,
    plain_number,
)
from aftertune.records import FinishReason, Prompt, digest

TOOL = "promptfoo"
VERSIONS = (2, 3)
"""Forms of the results that are known, as the file's `version` says."""
_NEEDED = ("provider", "prompt", "success")
_ERROR = 2
"""`failureReason` of a result without an answer, where 1 is an assertion that failed."""
_STRIPPED = "[prompt stripped]"


def is_line(row: Mapping[str, Any]) -> bool:
    """Return whether a line is a result."""
    return row.keys() >= {*_NEEDED, "score"} and ("testCase" in row or "promptIdx" in row or "namedScores" in row)


def open_log(path: Path) -> Log:
    """Open results in one JSON document, or with one result a line.

    Metrics: `promptfoo/pass`, `promptfoo/score`, and `promptfoo/NAME` for a score that an assertion names; of a red
    team `promptfoo/PLUGIN/...`. Lower is worse: passing an attack is withstanding it. A prompt is its text and its
    assertions, so that a test that is repeated is a repeat of one prompt, in whatever order tests were run. A result
    that ended with an error is unjudged, and one without any assertion has no score.

    Raises DataError for another version, a result in another form, and two providers of one name.
    """
    warnings: list[str] = []
    version: Any = None
    created = wrote = ""
    if _is_lines(path):
        results = [row for _, row in lines(path, warnings)]
    else:
        document = rows.document(path)
        summary = document.get("results") if isinstance(document, dict) else None
        if isinstance(summary, list):  # the summary alone, as promptfoo's library returns it
            summary = document
        if not isinstance(summary, dict) or not isinstance(summary.get("results"), list):
            raise DataError(f"{path}: looks like results of promptfoo, but has no list 'results' in its 'results'")
        version, created = summary.get("version"), str(summary.get("timestamp") or "")
        if version not in VERSIONS:
            known = " and ".join(map(str, VERSIONS))
            raise DataError(f"{path}: results of promptfoo in version {version!s:.20}; {known} are known here")
        metadata = document.get("metadata")
        wrote = str(metadata.get("promptfooVersion") or "") if isinstance(metadata, dict) else ""
        results = summary["results"]
    for number, result in enumerate(results, 1):
        missing = [name for name in _NEEDED if not isinstance(result, dict) or name not in result]
        if missing:
            raise DataError(f"{path}: result {number:,}: in a form of promptfoo that is not known: no {missing[0]}")
    models = tuple(dict.fromkeys(_model(result) for result in results))
    if not results:
        raise EmptyLogError(f"{path}: results of promptfoo without any; run the evaluation again", path.stem, TOOL)
    _refuse_two_providers(path, results)
    log = Log(
        path,
        " + ".join(models),
        TOOL,
        iter(()),
        warnings,
        created=created,
        planned=len(results),
        failed=sum(map(_failed, results)),
        samples=frozenset(_prompt(result).id for result in results),
        form=f"results of promptfoo {wrote}".rstrip() + (f" (version {version})" if version else " (JSONL)"),
        models=models if len(models) > 1 else (),
        scores_vary=True,
    )
    log.answers = _answers(path, results, bool(log.models), log.warnings)
    return log


def _is_lines(path: Path) -> bool:
    """Return whether the first line is a whole object that is a result."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and is_line(row)


def _model(result: Mapping[str, Any]) -> str:
    provider = result["provider"]
    if isinstance(provider, dict):
        provider = provider.get("label") or provider.get("id")
    return str(provider or "provider")


def _refuse_two_providers(path: Path, results: Iterable[Mapping[str, Any]]) -> None:
    """Raise DataError where one test and prompt has two columns of one name: whose answer is whose nobody knows."""
    column: dict[tuple[object, ...], Any] = {}
    for result in results:
        if "testIdx" not in result or "promptIdx" not in result:
            continue
        prompt = result["prompt"]
        label = prompt.get("label") if isinstance(prompt, dict) else ""
        key = (_model(result), str(result["testIdx"]), str(label), _raw(result))
        if column.setdefault(key, result["promptIdx"]) != result["promptIdx"]:
            raise DataError(
                f"{path}: two providers are called '{key[0]}': give them a `label` each in promptfoo's configuration, "
                "and run it again"
            )


def _raw(result: Mapping[str, Any]) -> str:
    prompt = result["prompt"]
    raw = prompt.get("raw", prompt.get("display")) if isinstance(prompt, dict) else prompt
    return raw if isinstance(raw, str) else json.dumps(raw, sort_keys=True)


def _assertions(result: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return a result's assertions, those of sets included; None where the file does not say them."""
    case = result.get("testCase")
    if not isinstance(case, dict):
        return None
    listed = case.get("assert")
    found: list[Mapping[str, Any]] = []
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict):
            found.append(each)
            inner = each.get("assert")
            found += [one for one in inner if isinstance(one, dict)] if isinstance(inner, list) else []
    return found


def _metadata(result: Mapping[str, Any], name: str) -> str:
    case = result.get("testCase")
    for holder in (result.get("metadata"), case.get("metadata") if isinstance(case, dict) else None):
        if isinstance(holder, dict) and isinstance(holder.get(name), str):
            return str(holder[name])
    return ""


def _prompt(result: Mapping[str, Any]) -> Prompt:
    raw = _raw(result)
    checks = [(str(each.get("type")), str(each.get("metric"))) for each in _assertions(result) or ()]
    place = str(result.get("testIdx")) if raw == _STRIPPED else ""
    cluster = digest(raw, place)
    plugin, strategy = _metadata(result, "pluginId"), _metadata(result, "strategyId")
    id_ = f"{TOOL}/{digest(raw, place, checks, plugin, strategy)}"
    return Prompt(id_, "", plugin, strategy, cluster, messages_of(raw))


def _failed(result: Mapping[str, Any]) -> bool:
    """Return whether a result has no answer. Its `error` does not say so: a failed assertion puts its reason there."""
    reason, response = result.get("failureReason"), result.get("response")
    if reason is not None:
        return bool(reason == _ERROR)
    return not isinstance(response, dict) or bool(response.get("error"))


def _text(response: Mapping[str, Any]) -> str | None:
    output = response.get("output")
    return output if output is None or isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _ended(response: Mapping[str, Any], text: str | None) -> FinishReason:
    if response.get("isRefusal") is True:
        return "refusal"
    reason = response.get("finishReason")
    if reason == "content_filter":
        return "filter_cut" if text else "filter"
    return "length" if reason in ("length", "max_tokens") else "stop"


def _answers(
    path: Path, results: Iterable[Mapping[str, Any]], several: bool, warnings: list[str]
) -> Iterator[LoggedAnswer]:
    asked: Counter[tuple[str, str]] = Counter()
    failed = unasserted = 0
    no_number: Counter[str] = Counter()
    for result in results:
        prompt, model = _prompt(result), _model(result)
        response = result.get("response")
        if isinstance(response, str):
            response = {"output": response}
        response = response if isinstance(response, dict) else {}
        broken, text = _failed(result), _text(response)
        failed += broken
        checks = _assertions(result)
        scores: tuple[LoggedScore, ...] = ()
        if checks == [] and not (
            isinstance(graded := result.get("gradingResult"), dict) and graded.get("componentResults")
        ):
            unasserted += 1
        else:
            scores = tuple(_scores(result, prompt.subset, checks or [], broken))
            for score in scores:
                no_number[score.metric] += score.value is None and not broken
        yield LoggedAnswer(
            prompt=prompt,
            message_hash=digest(prompt.messages),
            repeat=asked[model, prompt.id],
            text=None if broken else text,
            finish_reason=_ended(response, text),
            error="the provider gave no answer" if broken else "" if text is not None else "no output",
            scores=scores,
            model=model if several else "",
        )
        asked[model, prompt.id] += 1
    if failed:
        warnings.append(f"{path}: {failed:,} results ended with an error: unjudged")
    if unasserted:
        warnings.append(f"{path}: {unasserted:,} results have no assertion, so nothing to compare: left out")
    for metric, count in no_number.items():
        if count:
            warnings.append(f"{path}: {metric}: no number in {count:,} results: unjudged")


def _scores(
    result: Mapping[str, Any], plugin: str, checks: Iterable[Mapping[str, Any]], broken: bool
) -> Iterator[LoggedScore]:
    named = result.get("namedScores")
    given: dict[str, Any] = dict(named) if isinstance(named, dict) else {}
    expected = [str(each["metric"]) for each in checks if each.get("metric") and "{{" not in str(each["metric"])]
    values = {"pass": result["success"], "score": result.get("score")}
    values |= {name: given.get(name) for name in dict.fromkeys([*expected, *given]) if name not in values}
    for name, value in values.items():
        number = None if broken else plain_number(value)
        metric = "/".join(part for part in (TOOL, plugin, name) if part)
        yield LoggedScore(metric, "", None if number is None or math.isnan(number) else number, "down")
