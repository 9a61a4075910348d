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
from pathlib import Path
from typing import Any

from aftertune.errors import DataError, MissingPackageError
from aftertune.extras import install
from aftertune.ingest.log_records import EPOCHS, REDUCERS, EmptyLogError, Figure, Log, LoggedAnswer, LoggedScore, number
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
    `C`, `I`, `P` and `N` are 1, 0, 0.5 and 0, as in Inspect's accuracy; other words have no value.
    Where epochs were reduced by another reducer than `mean`, the metric is the log's own: `TASK/SCORER,max`, one value
    a sample. Direction: the benchmark's own where it is ours; of others a log says none.

    Raises UsageError without inspect-ai, DataError for a damaged file, for one without any sample, and for a reducer
    that is not known here and whose result is not in the log.
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
        message = f"{path}: status '{log.status}' and no sample in it; run the evaluation again"
        raise EmptyLogError(message, _model(spec.model, spec.model_args), spec.task)
    results = log.results
    opened = Log(
        path,
        _model(spec.model, spec.model_args),
        spec.task,
        iter(()),
        created=log.stats.completed_at or spec.created,
        succeeded=log.status == "success",
        planned=planned or len(samples),
        failed=max(results.total_samples - results.completed_samples, 0) if results else 0,
        settings=_settings(spec),
        samples=frozenset(map(str, spec.dataset.sample_ids or ())),
        judges=frozenset(each.scorer for each in (*(results.scores if results else ()), *(log.reductions or ()))),
        figures=_figures(spec.task, results),
    )
    if log.status != "success" or len(samples) < planned:
        opened.warnings.append(f"{path}: status '{log.status}': {count} are there")
    opened.answers = _answers(path, spec, samples, log.reductions or (), opened.warnings)
    return opened


_GENERATING = (
    *("system_message", "temperature", "top_p", "top_k", "max_tokens", "seed", "stop_seqs", "frequency_penalty"),
    *("presence_penalty", "reasoning_effort", "reasoning_tokens", "num_choices", "best_of"),
)
"""Settings of a generation that decide what a model says; others are about the connection."""


def _settings(spec: Any) -> dict[str, str]:
    config: Mapping[str, Any] = spec.model_generate_config.model_dump()
    values = {
        **{name: config.get(name) for name in _GENERATING},
        "task arguments": spec.task_args or None,
        "task version": spec.task_version or None,
        "solver": spec.solver,
        "solver arguments": spec.solver_args or None,
        EPOCHS: spec.config.epochs or 1,
        REDUCERS: ", ".join(_reducers(spec)) or "mean",
    }
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _reducers(spec: Any) -> list[str]:
    """Return the reducers of the epochs; none where each sample was asked once, or where nothing was reduced."""
    return list(spec.config.epochs_reducer or ()) if (spec.config.epochs or 1) > 1 else []


def _figures(task: str, results: Any) -> dict[str, Figure]:
    """Return the accuracies and means in the head of a log by the name of their metric."""
    figures: dict[str, Figure] = {}
    for score in results.scores if results else ():
        parts = [task, score.scorer, *([score.name] if score.name != score.scorer else [])]
        end = f",{score.reducer}" if score.reducer not in (None, "mean") else ""
        for name in ("accuracy", "mean"):
            own = score.metrics.get(name)
            if own is not None and isinstance(own.value, (int, float)) and math.isfinite(own.value):
                figures.setdefault("/".join(parts) + end, Figure(name, float(own.value), score.scorer))
    return figures


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
        reduced = "reductions.json" in names
        member = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
        if member is None:
            raise DataError(f"{path}: a ZIP file, but no log of Inspect AI: no header.json in it")
        head: Raw = json.loads(file.read(member))
        if reduced and isinstance(head, dict):
            head["reductions"] = json.loads(file.read("reductions.json"))
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
    path: Path, spec: Any, samples: Sequence[Callable[[], Raw]], reductions: Sequence[Any], warnings: list[str]
) -> Iterator[LoggedAnswer]:
    from inspect_ai.log import EvalSample, resolve_sample_attachments

    reducers = _reducers(spec)
    by_epoch = not reducers or "mean" in reducers
    epochs: dict[int | str, list[Any]] = {}
    """The samples of each id, as light as can be, where epochs are reduced."""

    system = spec.model_generate_config.system_message
    reader = _ScoreReader(spec.task)
    skipped = set(reducers) - {"mean"}
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
        if skipped:
            kept = {} if why else sample.scores or {}
            how = ended(output) if output else "stop"
            epochs.setdefault(sample.id, []).append((prompt, sample.metadata or {}, kept, how))
        yield LoggedAnswer(
            prompt=prompt,
            message_hash=message_hash(prompt.messages, system),
            repeat=sample.epoch - 1,
            text=output.completion if output else None,
            finish_reason=ended(output) if output else "stop",
            error=why or ("" if output else "no output"),
            thought=reasoning(output.message.content) if output else "",
            scores=None
            if not by_epoch
            else ()
            if why
            else tuple(reader.read(sample.scores or {}, sample.metadata or {})),
        )
    for reducer in [each for each in reducers if each in skipped]:
        reduced = _reduced(path, reducer, epochs, reductions)
        for id_, own in epochs.items():
            prompt, metadata, *_ = own[0]
            endings = {how for *_, how in own}
            yield LoggedAnswer(
                prompt=prompt,
                message_hash=message_hash(prompt.messages, system),
                repeat=0,
                text=None,
                finish_reason=endings.pop() if len(endings) == 1 else "stop",
                duplicate=True,
                scores=tuple(reader.read(reduced.get(id_, {}), metadata, f",{reducer}")),
            )
        warnings.append(
            f"{path}: each sample was asked {spec.config.epochs or 1} times, and counts once, by the log's own reducer "
            f"'{reducer}': {spec.task}/...,{reducer}"
        )
    warnings += [f"{path}: {count:,} samples {event}: unjudged" for event, count in broken.items()]


def _reduced(
    path: Path, reducer: str, epochs: Mapping[int | str, Sequence[Any]], reductions: Sequence[Any]
) -> dict[int | str, dict[str, Any]]:
    """Return each sample's scores over its epochs: those in the log, else by Inspect's reducer of that name."""
    reduced: dict[int | str, dict[str, Any]] = {}
    own = [each for each in reductions if each.reducer == reducer]
    if own:
        ids = {str(id_): id_ for id_ in epochs}
        for each in own:
            for score in each.samples:
                if str(score.sample_id) in ids:
                    reduced.setdefault(ids[str(score.sample_id)], {})[each.scorer] = score
        return reduced
    from inspect_ai.scorer._reducer import create_reducers

    try:
        (reduce,) = create_reducers([reducer])
        for id_, samples in epochs.items():
            for scorer in dict.fromkeys(name for _, _, scores, _ in samples for name in scores):
                found = [scores[scorer] for _, _, scores, _ in samples if scorer in scores]
                reduced.setdefault(id_, {})[scorer] = reduce(found)
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: its epochs are reduced by '{reducer}', which cannot be repeated here ({_one_line(error)}), and "
            "no reductions are in the log; score it again with a reducer of Inspect's own"
        ) from None
    return reduced


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
    """Reads scores: of our judges under our benchmarks' names, of others under the task's."""

    def __init__(self, task: str) -> None:
        self.task = task

    def read(self, scores: Mapping[str, Any], metadata: Mapping[str, Any], end: str = "") -> Iterator[LoggedScore]:
        """Yield the scores of a sample; `end` is put behind the names of their metrics."""
        for scorer, score in scores.items():
            ours = any(isinstance(axis, dict) and "judge_version" in axis for axis in (score.metadata or {}).values())
            for key, value in _items(score.value):
                metric_and_direction = self._metric(scorer, key, metadata, ours)
                if metric_and_direction is None:
                    continue
                metric, worse = metric_and_direction
                parsed = number(value)
                word = str(value).strip()[:20] if isinstance(value, str) or parsed is None else ""
                known = None if parsed is None or math.isnan(parsed) else parsed
                yield LoggedScore(metric + end, scorer, known, worse, word)

    def _metric(
        self, scorer: str, key: str, metadata: Mapping[str, Any], ours: bool
    ) -> tuple[str, Worse | None] | None:
        """Return the name of a metric and its worse direction; None if its benchmark does not report it."""
        if not ours:
            return "/".join(part for part in (self.task, scorer, key) if part), None
        benchmark, subset = str(metadata.get("benchmark") or ""), str(metadata.get("subset") or "")
        if benchmark and benchmark in suites.metrics():
            metric = "/".join(part for part in (benchmark, subset, key) if part)
            known = suites.metrics()[benchmark].get(metric)
            # Our scorers judge every axis of every answer; a benchmark reports fewer, here as in a run.
            return None if known is None else (metric, known.worse)
        return "/".join(part for part in (benchmark or self.task, subset, key) if part), None


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a score with their keys; the key of a single value is empty."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif isinstance(value, list):
        yield from ((str(index), item) for index, item in enumerate(value, 1))
    else:
        yield "", value
