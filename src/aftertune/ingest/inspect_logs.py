"""Logs of Inspect AI: `.eval` (a ZIP with one member per sample, read one at a time) and `.json`.

Inspect's classes check and migrate what is read. Its own iterator is not used: it opens the file anew for each sample,
8 ms each, where a member read from the open ZIP, its events left out, takes 0.3 ms.
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

from aftertune.errors import DataError, UsageError
from aftertune.ingest.logged import Log, Logged, Scored, number
from aftertune.models.chat import message_hash
from aftertune.records import Message, Prompt, Role, Worse
from aftertune.studies import suites

Raw = dict[str, Any]
_HEAVY = ("events", "events_data", "timelines", "store")
"""Parts of a sample that nothing here needs, and most of its size."""
_ROLES: Mapping[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


def open_log(path: Path) -> Log:
    """Open a log of Inspect AI.

    Metrics: of a scorer of ours on a benchmark of ours the benchmark's own (`xstest/safe/refusal=full`), else
    `TASK/SCORER`, `TASK/SCORER/KEY` for values that are mappings and `TASK/SCORER/1` for lists. Numbers stay;
    `C`, `I`, `P` and `N` are 1, 0, 0.5 and 0, as in Inspect's accuracy; other words are left out with a warning.
    Direction: of ours the benchmark's; of others higher is taken for better, with a warning that says so.

    Raises UsageError without inspect-ai, DataError for a damaged file, and for one that ended without any sample.
    """
    try:
        from inspect_ai.log import EvalLog
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("inspect_ai"):
            raise
        raise UsageError(f"{path}: a log of Inspect AI needs its package: pip install 'aftertune[inspect]'") from None
    head, samples = _zipped(path) if path.suffix == ".eval" else _plain(path)
    if not isinstance(head, dict) or not isinstance(samples, list):
        raise DataError(f"{path}: not a log of Inspect AI: no object with samples")
    try:
        log = EvalLog.model_validate(head)
    except ValueError as error:
        raise DataError(f"{path}: not a log of Inspect AI that this version can read: {_first(error)}") from None
    spec = log.eval
    planned = len(spec.dataset.sample_ids or ()) * (spec.config.epochs or 1)
    count = f"{len(samples):,} of {planned:,} samples" if planned else f"{len(samples):,} samples"
    if not samples:
        raise DataError(f"{path}: status '{log.status}' and no sample in it; run the evaluation again")
    told = Log(path, _model(spec.model, spec.model_args), spec.task, iter(()))
    if log.status != "success" or len(samples) < planned:
        told.warnings.append(f"{path}: status '{log.status}': {count} are there")
    told.answers = _answers(path, spec, samples, told.warnings)
    return told


def _model(name: str, arguments: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in sorted(arguments.items()) if value is not None)
    return f"{name} ({shown})" if shown else name


def _first(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


# ---------------------------------------------------------------------------------------------- files


def _broken(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return what a damaged ZIP file raises; its members are compressed by zstandard, which Inspect teaches zipfile."""
    found: tuple[type[Exception], ...] = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, *more)
    try:
        from zstandard import ZstdError
    except ModuleNotFoundError:
        return found
    return (*found, ZstdError)


def _zipped(path: Path) -> tuple[Any, Any]:
    """Return the header and a list of loaders, one per sample; the file stays open as long as a loader lives."""
    try:
        file = zipfile.ZipFile(path)
        names = set(file.namelist())
        head = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
        if head is None:
            raise DataError(f"{path}: a ZIP file, but no log of Inspect AI: no header.json in it")
        found: Raw = json.loads(file.read(head))
    except _broken() as error:
        raise DataError(f"{path}: not a log of Inspect AI, or cut off: {_first(error)}") from None
    except ValueError as error:
        raise DataError(f"{path}: header: not valid JSON: {_first(error)}") from None
    if head != "header.json" and isinstance(found, dict):
        found["status"] = "started"  # it was killed: the header is written last
    # Samples stand in the order in which they were finished.
    members = sorted(name for name in names if name.startswith("samples/"))

    def load(name: str) -> Raw:
        try:
            raw: Raw = json.loads(file.read(name))
        except _broken(ValueError) as error:
            raise DataError(f"{path}: {name}: cannot be read: {_first(error)}") from None
        return raw

    return found, [lambda name=name: load(name) for name in members]


def _plain(path: Path) -> tuple[Any, Any]:
    try:
        found: Raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {_first(error)}") from None
    samples = found.pop("samples", None) or []
    return found, [lambda raw=raw: raw for raw in samples] if isinstance(samples, list) else samples


# ---------------------------------------------------------------------------------------------- samples


def _answers(path: Path, spec: Any, samples: Sequence[Callable[[], Raw]], warnings: list[str]) -> Iterator[Logged]:
    from inspect_ai.log import EvalSample, resolve_sample_attachments

    system = spec.model_generate_config.system_message
    reader = _Scores(spec.task)
    broken: Counter[str] = Counter()
    for load in samples:
        raw = load()
        light = {key: value for key, value in raw.items() if key not in _HEAVY} if isinstance(raw, dict) else raw
        try:
            sample = EvalSample.model_validate(light)
        except ValueError as error:
            raise DataError(f"{path}: a sample that this version cannot read: {_first(error)}") from None
        if sample.attachments:
            sample = resolve_sample_attachments(sample, "core")
        why = (sample.error.message if sample.error else "invalidated" if sample.invalidation else "")[:200]
        if why:
            broken["ended with an error" if sample.error else "were invalidated"] += 1
        output = sample.output if sample.output.choices else None
        cut = output is not None and output.stop_reason in ("max_tokens", "model_length")
        prompt = _prompt(spec.task, sample)
        yield Logged(
            prompt,
            message_hash(prompt.messages, system),
            sample.epoch - 1,
            output.completion if output else None,
            "length" if cut else "stop",
            why or ("" if output else "no output"),
            () if why else tuple(reader.read(sample)),
        )
    warnings += [f"{path}: {count:,} samples {what}: unjudged" for what, count in broken.items()]
    warnings += reader.warnings(path)


def _prompt(task: str, sample: Any) -> Prompt:
    """Return a sample's prompt; whole where a task of ours made it. Its id carries benchmark or task."""
    about: Mapping[str, Any] = sample.metadata or {}
    given = sample.input
    turns = [("user", given)] if isinstance(given, str) else [(turn.role, turn.text) for turn in given]
    messages = tuple(Message(_ROLES[role], text) for role, text in turns if role in _ROLES)
    benchmark = str(about.get("benchmark") or "") if "prompt_id" in about else ""
    expect = about.get("expect")
    cluster = str(about.get("cluster") or "")
    return Prompt(
        f"{benchmark or task}/{about.get('prompt_id', sample.id) if benchmark else sample.id}",
        benchmark,
        str(about.get("subset") or ""),
        str(about.get("category") or ""),
        f"{benchmark or task}/{cluster}" if cluster else "",
        messages,
        expect if isinstance(expect, dict) else {},
    )


class _Scores:
    """Reads scores, and remembers what it could not read or had to take on trust."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.words: dict[str, set[str]] = {}
        self.trusted: set[str] = set()
        self.unknown: set[str] = set()

    def read(self, sample: Any) -> Iterator[Scored]:
        about: Mapping[str, Any] = sample.metadata or {}
        for scorer, score in (sample.scores or {}).items():
            ours = any(isinstance(part, dict) and "judge_version" in part for part in (score.metadata or {}).values())
            for key, value in _parts(score.value):
                named = self._named(scorer, key, about, ours)
                if named is None:
                    continue
                metric, worse = named
                found = number(value)
                if found is None:
                    self.words.setdefault(metric, set()).add(str(value)[:20])
                    continue
                yield Scored(metric, scorer, None if math.isnan(found) else found, worse)

    def _named(self, scorer: str, key: str, about: Mapping[str, Any], ours: bool) -> tuple[str, Worse | None] | None:
        if not ours:
            metric = "/".join(part for part in (self.task, scorer, key) if part)
            self.trusted.add(metric)
            return metric, "down"
        benchmark, subset = str(about.get("benchmark") or ""), str(about.get("subset") or "")
        if benchmark and benchmark in suites.metrics():
            metric = "/".join(part for part in (benchmark, subset, key) if part)
            known = suites.metrics()[benchmark].get(metric)
            # Our scorers read every axis of every answer; a benchmark reports fewer, here as in a run.
            return None if known is None else (metric, known.worse)
        metric, worse = "/".join(part for part in (benchmark or self.task, subset, key) if part), _usual(key)
        if worse is None:
            self.unknown.add(metric)
        return metric, worse

    def warnings(self, path: Path) -> list[str]:
        found = []
        for metric, words in sorted(self.words.items()):
            found.append(f"{path}: {metric} left out: it holds words ({', '.join(sorted(words)[:4])}), not numbers")
        for names, taken in ((self.trusted, "better"), (self.unknown, "worse")):
            if names:
                found.append(
                    f"{path}: {_listed(names)}: higher is taken for {taken}; a policy's `worse` can say otherwise"
                )
        return found


def _listed(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3:,} more" if len(shown) > 3 else "")


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((str(key), part) for key, part in value.items())
    elif isinstance(value, list):
        yield from ((str(place), part) for place, part in enumerate(value, 1))
    else:
        yield "", value


@cache
def _usual(key: str) -> Worse | None:
    """Return the direction of `axis=label` where all benchmarks agree on its axis; not so for refusal, for one."""
    axis, _, label = key.partition("=")
    found: dict[str | None, set[Worse]] = {}
    for own in suites.metrics().values():
        for metric in own.values():
            if metric.axis == axis:
                found.setdefault(metric.label, set()).add(metric.worse)
    if any(len(directions) > 1 for directions in found.values()):
        return None
    return next(iter(found.get(label or None) or found.get("harmful") or [None]))
