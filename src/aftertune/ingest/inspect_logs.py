"""Logs of Inspect AI: `.eval` (a ZIP with one member per sample, read one at a time) and `.json`.

Inspect's own classes validate and migrate the content. Its own iterator is not used: it reopens the file for each
sample, which takes 8 ms, while reading a member of the open ZIP without its events takes 0.3 ms.
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, MissingPackageError
from aftertune.extras import install
from aftertune.ingest.log_records import Log, LoggedAnswer, LoggedScore, number
from aftertune.models.chat import message_hash
from aftertune.records import FinishReason, Message, Prompt, Role, Worse
from aftertune.studies import suites

Raw = dict[str, Any]
_HEAVY = ("events", "events_data", "timelines", "store")
"""Fields of a sample that nothing here needs, and that make up most of its size."""
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def open_log(path: Path) -> Log:
    """Open a log of Inspect AI.

    Metrics: a scorer of ours on a benchmark of ours gives the benchmark's own (`xstest/safe/refusal=full`); others give
    `TASK/SCORER`, with `TASK/SCORER/KEY` for values that are mappings and `TASK/SCORER/1` for lists. Numbers are kept;
    `C`, `I`, `P` and `N` are 1, 0, 0.5 and 0, as in Inspect's accuracy; other words are left out with a warning.
    Direction: the benchmark's own where it is ours; otherwise higher counts as better, with a warning that says so.

    Raises UsageError without inspect-ai, DataError for a damaged file and for one without any sample.
    """
    try:
        from inspect_ai.log import EvalLog
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("inspect_ai"):
            raise
        raise MissingPackageError(f"{path}: a log of Inspect AI needs its package: {install('inspect_ai')}") from None
    head, samples = _zipped(path) if path.suffix == ".eval" else _plain(path)
    if not isinstance(head, dict) or not isinstance(samples, list):
        raise DataError(f"{path}: not a log of Inspect AI: no object with samples")
    try:
        log = EvalLog.model_validate(head)
    except ValueError as error:
        raise DataError(f"{path}: not a log of Inspect AI that this version can read: {_one_line(error)}") from None
    spec = log.eval
    planned = len(spec.dataset.sample_ids or ()) * (spec.config.epochs or 1)
    count = f"{len(samples):,} of {planned:,} samples" if planned else f"{len(samples):,} samples"
    if not samples:
        raise DataError(f"{path}: status '{log.status}' and no sample in it; run the evaluation again")
    opened = Log(path, _model(spec.model, spec.model_args), spec.task, iter(()))
    if log.status != "success" or len(samples) < planned:
        opened.warnings.append(f"{path}: status '{log.status}': {count} are there")
    opened.answers = _answers(path, spec, samples, opened.warnings)
    return opened


def _model(name: str, arguments: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{key}={value}" for key, value in sorted(arguments.items()) if value is not None)
    return f"{name} ({listed})" if listed else name


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


# ---------------------------------------------------------------------------------------------- files


def _read_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what a damaged ZIP file raises; Inspect adds zstandard compression to zipfile, hence `ZstdError`."""
    errors: tuple[type[Exception], ...] = (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        RuntimeError,  # encrypted, compressed in an unknown way, nested too deeply
        *more,
    )
    try:
        from zstandard import ZstdError
    except ModuleNotFoundError:
        return errors
    return (*errors, ZstdError)


def _zipped(path: Path) -> tuple[Any, Any]:
    """Return the header and a list of loaders, one per sample; the file stays open as long as a loader exists."""
    try:
        file = zipfile.ZipFile(path)
        names = set(file.namelist())
        member = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
        if member is None:
            raise DataError(f"{path}: a ZIP file, but no log of Inspect AI: no header.json in it")
        head: Raw = json.loads(file.read(member))
    except _read_errors() as error:
        raise DataError(f"{path}: not a log of Inspect AI, or cut off: {_one_line(error)}") from None
    except ValueError as error:
        raise DataError(f"{path}: header: not valid JSON: {_one_line(error)}") from None
    if member != "header.json" and isinstance(head, dict):
        head["status"] = "started"  # it was killed: the header is written last
    # Members are in the order in which samples finished.
    members = sorted(name for name in names if name.startswith("samples/"))

    def load(name: str) -> Raw:
        try:
            raw: Raw = json.loads(file.read(name))
        except _read_errors(ValueError) as error:
            raise DataError(f"{path}: {name}: cannot be read: {_one_line(error)}") from None
        return raw

    return head, [lambda name=name: load(name) for name in members]


def _plain(path: Path) -> tuple[Any, Any]:
    try:
        head: Raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {_one_line(error)}") from None
    samples = head.pop("samples", None) or []
    return head, [lambda raw=raw: raw for raw in samples] if isinstance(samples, list) else samples


# ---------------------------------------------------------------------------------------------- samples


def _answers(
    path: Path, spec: Any, samples: Sequence[Callable[[], Raw]], warnings: list[str]
) -> Iterator[LoggedAnswer]:
    from inspect_ai.log import EvalSample, resolve_sample_attachments

    system = spec.model_generate_config.system_message
    reader = _ScoreReader(spec.task)
    broken: Counter[str] = Counter()
    for load in samples:
        raw = load()
        light = {key: value for key, value in raw.items() if key not in _HEAVY} if isinstance(raw, dict) else raw
        try:
            sample = EvalSample.model_validate(light)
        except ValueError as error:
            raise DataError(f"{path}: a sample that this version cannot read: {_one_line(error)}") from None
        if sample.attachments:
            sample = resolve_sample_attachments(sample, "core")
        why = (sample.error.message if sample.error else "invalidated" if sample.invalidation else "")[:200]
        if why:
            broken["ended with an error" if sample.error else "were invalidated"] += 1
        output = sample.output if sample.output.choices else None
        prompt = _prompt(spec.task, sample)
        yield LoggedAnswer(
            prompt=prompt,
            message_hash=message_hash(prompt.messages, system),
            repeat=sample.epoch - 1,
            text=output.completion if output else None,
            finish_reason=ended(output) if output else "stop",
            error=why or ("" if output else "no output"),
            thought=reasoning(output.message.content) if output else "",
            scores=() if why else tuple(reader.read(sample)),
        )
    warnings += [f"{path}: {count:,} samples {event}: unjudged" for event, count in broken.items()]
    warnings += reader.warnings(path)


def ended(output: Any) -> FinishReason:
    """Return how an answer ended, by the stop reason and the marks of refusals in a `ModelOutput` of Inspect AI."""
    content = output.message.content
    if not isinstance(content, str) and any(part.type == "text" and part.refusal for part in content):
        return "refusal"
    if output.stop_reason == "content_filter":
        return "filter_cut" if output.completion.strip() else "filter"
    return "length" if output.stop_reason in ("max_tokens", "model_length") else "stop"


def reasoning(content: Any) -> str:
    """Return the parts of a message's content that are the model's thought, as Inspect keeps it apart."""
    parts = content if isinstance(content, list) else ()
    return "\n\n".join(part.reasoning for part in parts if part.type == "reasoning" and not part.redacted)


def _prompt(task: str, sample: Any) -> Prompt:
    """Return the prompt of a sample, complete if a task of ours made it. Its id includes the benchmark or task."""
    metadata: Mapping[str, Any] = sample.metadata or {}
    turns = [("user", sample.input)] if isinstance(sample.input, str) else [(t.role, t.text) for t in sample.input]
    messages = tuple(Message(_ROLES[role], text) for role, text in turns if role in _ROLES)
    benchmark = str(metadata.get("benchmark") or "") if "prompt_id" in metadata else ""
    expect = metadata.get("expect")
    cluster = str(metadata.get("cluster") or "")
    return Prompt(
        f"{benchmark or task}/{metadata.get('prompt_id', sample.id) if benchmark else sample.id}",
        benchmark,
        str(metadata.get("subset") or ""),
        str(metadata.get("category") or ""),
        f"{benchmark or task}/{cluster}" if cluster else "",
        messages,
        expect if isinstance(expect, dict) else {},
    )


class _ScoreReader:
    """Reads scores, and collects warnings about values that are no numbers and directions that are assumed."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.words: dict[str, set[str]] = {}
        """Metric -> values that are words."""
        self.assumed_better: set[str] = set()
        """Metrics of which higher counts as better."""
        self.assumed_worse: set[str] = set()
        """Metrics of which higher counts as worse."""

    def read(self, sample: Any) -> Iterator[LoggedScore]:
        metadata: Mapping[str, Any] = sample.metadata or {}
        for scorer, score in (sample.scores or {}).items():
            ours = any(isinstance(axis, dict) and "judge_version" in axis for axis in (score.metadata or {}).values())
            for key, value in _items(score.value):
                metric_and_direction = self._metric(scorer, key, metadata, ours)
                if metric_and_direction is None:
                    continue
                metric, worse = metric_and_direction
                parsed = number(value)
                if parsed is None:
                    self.words.setdefault(metric, set()).add(str(value)[:20])
                    continue
                yield LoggedScore(metric, scorer, None if math.isnan(parsed) else parsed, worse)

    def _metric(
        self, scorer: str, key: str, metadata: Mapping[str, Any], ours: bool
    ) -> tuple[str, Worse | None] | None:
        """Return the name of a metric and its worse direction; None if its benchmark does not report it."""
        if not ours:
            metric = "/".join(part for part in (self.task, scorer, key) if part)
            self.assumed_better.add(metric)
            return metric, "down"
        benchmark, subset = str(metadata.get("benchmark") or ""), str(metadata.get("subset") or "")
        if benchmark and benchmark in suites.metrics():
            metric = "/".join(part for part in (benchmark, subset, key) if part)
            known = suites.metrics()[benchmark].get(metric)
            # Our scorers judge every axis of every answer; a benchmark reports fewer, here as in a run.
            return None if known is None else (metric, known.worse)
        metric, worse = "/".join(part for part in (benchmark or self.task, subset, key) if part), _common_direction(key)
        if worse is None:
            self.assumed_worse.add(metric)
        return metric, worse

    def warnings(self, path: Path) -> list[str]:
        lines = []
        for metric, words in sorted(self.words.items()):
            lines.append(f"{path}: {metric} left out: it holds words ({', '.join(sorted(words)[:4])}), not numbers")
        for metrics, direction in ((self.assumed_better, "better"), (self.assumed_worse, "worse")):
            if metrics:
                listed = ", ".join(sorted(metrics)[:3]) + (
                    f" and {len(metrics) - 3:,} more" if len(metrics) > 3 else ""
                )
                lines.append(f"{path}: {listed}: higher is taken for {direction}; a policy's `worse` can say otherwise")
        return lines


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a score with their keys; the key of a single value is empty."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        yield from ((str(index), item) for index, item in enumerate(value, 1))
    else:
        yield "", value


@cache
def _common_direction(key: str) -> Worse | None:
    """Return the worse direction of `axis=label` if all benchmarks agree on its axis; on refusal they do not."""
    axis, _, label = key.partition("=")
    directions: dict[str | None, set[Worse]] = {}
    for own in suites.metrics().values():
        for metric in own.values():
            if metric.axis == axis:
                directions.setdefault(metric.label, set()).add(metric.worse)
    if any(len(of_label) > 1 for of_label in directions.values()):
        return None
    return next(iter(directions.get(label or None) or directions.get("harmful") or [None]))
