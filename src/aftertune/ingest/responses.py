"""Responses of other tools, in a table with `prompt` and `response` or in a log, judged as they are."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.asking import request_metrics
from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.extras import explained
from aftertune.files import output
from aftertune.ingest import log_formats, logs
from aftertune.ingest.log_records import Log
from aftertune.ingest.missing_values import WORDS
from aftertune.judging import opinions as judging
from aftertune.judging.judge import CONTRASTS, Answer, Judge, JudgeContext, Opinion
from aftertune.judging.trial import check
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike
from aftertune.records import Message, Prompt, Status
from aftertune.studies import plugin_text as written
from aftertune.studies.resolve import load_judge
from aftertune.thoughts import AFTER, INSIDE, opened_by_template, part, seems_to_think, thought_of

ADDED = ("judge", "axis", "label", "score", "metric", "value", "status", "why")
_COUNTED = {metric.axis: metric.label for metric in request_metrics.harmful("", "") if metric.label}
"""Axis -> the label that is counted, as our benchmarks count it; of other axes that of its contrast."""
_MISSING = "the response is missing"
PARTED = ("answer", "thought")
"""Columns that are added where any response holds a thought: what was judged, and what was not."""

log = logging.getLogger(__name__)

Row = dict[str, Any]


@explained()
def judge_table(path: Path, judges: Sequence[PathLike | PluginSpec], out: Path) -> dict[tuple[str, str], int]:
    """Judge a table or a log and write the verdicts: one row per response and axis, with all other columns.

    Args:
        path: CSV, JSONL or Parquet with the columns `prompt` and `response`; or a log of another tool, as
            `log_formats` knows them, whose columns are then `checkpoint, task, prompt_id, subset, category, cluster,
            repeat, prompt, response`. An answer that ended with an error is unjudged, and so is one that is missing
            (null, or `NaN`, `None` and other words for it); an empty one is judged, and a warning counts them.
        judges: Judges, as `written.plugin` reads them; each must work without a registry and a tuning set.
        out: Table to write; its ending decides the format. The columns `judge, axis, label, score, status, why` are
            added, and `answer, thought` where any response holds a thought: a judge reads the answer alone. A response
            that ends inside its thought is unjudged (status `unanswered`). So are `metric` and `value`, by which
            `drift_of_table` reads the file: e.g. `refusal=full`, with `task` and `subset` of the row before it, and 1
            or 0; of an axis without labels its name and the score. `value` is empty where nothing was judged.

    Returns:
        (axis, label or status) -> number of responses.

    Raises:
        UsageError, DataError: A missing file or column, an unknown judge, a judge that needs more than a table has, a
            log without any text, a table with a column of a name that is added.
        JudgeError: A judge that cannot tell known answers apart.
    """
    out = output(out, endings=rows.ENDINGS, inputs=[path])
    rows.replaceable(out, ("judge", "axis", "label", "status"))
    instruments: list[tuple[str, Judge]] = [
        (judge.name, judge) for judge in map(load_judge, (written.plugin("judge", name) for name in judges))
    ]
    for name, judge in instruments:
        if judge.needs:
            raise UsageError(f"judge '{name}' needs {', '.join(sorted(judge.needs))}, which a table does not hold")
    logged = logs.open_log(path)
    if logged is None and log_formats.is_object(path):
        raise log_formats.unknown(path)
    given = list(_of_table(path) if logged is None else _of_log(logged))
    _refuse_columns(path, given)
    inputs = _parted(given)
    thoughts = any(one.thought or one.unanswered for one in inputs)
    if thoughts:
        _tell(path, inputs)
    _tell_unparted(path, inputs)
    _tell_empty(path, inputs)
    answers = [one.answer for one in inputs if one.answer]
    if not answers and not thoughts:
        raise DataError(f"{path}: no text in it that could be judged: {inputs[0].why if inputs else 'no answers'}")
    verdicts: list[Row] = []
    counts: Counter[tuple[str, str]] = Counter()
    for name, judge in instruments:
        check(judge)
        for axis, why in {**judge.weak_axes, **judge.shown_only}.items():
            log.warning(
                "judge %s: %s: %s%s",
                *(name, axis, why),
                "; in a run nothing is decided by it: leave these rows out" if axis in judge.shown_only else "",
            )
        opinions = judging.opinions(judge, answers, JudgeContext())
        for one in inputs:
            added = dict(zip(PARTED, (one.answer.text if one.answer else "", one.thought), strict=True))
            for opinion in next(opinions) if one.answer else _unjudged(judge, one):
                counts[opinion.axis, opinion.label or opinion.status] += 1
                metric, value = _measured(judge, one.row, opinion)
                verdict = (
                    *(name, opinion.axis, opinion.label, opinion.value, metric, value),
                    *(opinion.status, opinion.why),
                )
                verdicts.append({**one.row, **(added if thoughts else {}), **dict(zip(ADDED, verdict, strict=True))})
    rows.write(out, verdicts)
    return dict(counts)


def _refuse_columns(path: Path, inputs: Sequence[_Input]) -> None:
    """Raise UsageError for a table whose own columns the judge's would replace; not for one that a judge wrote."""
    columns = {name for one in inputs for name in one.row}
    taken = [name for name in ADDED if name in columns]
    if taken and not {*ADDED} <= columns:
        raise UsageError(
            f"{path}: has a column '{taken[0]}', which the judge's own would replace; rename it (the judge adds "
            f"{', '.join(ADDED)})"
        )


def _measured(judge: Judge, row: Row, opinion: Opinion) -> tuple[str, float | None]:
    """Return the metric that an opinion counts for, named as a study would, and its value; None where it is none."""
    axis = opinion.axis
    contrast = judge.contrasts.get(axis) or CONTRASTS.get(axis)
    label = _COUNTED.get(axis) or (contrast.positive if contrast else "")
    place = [str(row.get(column) or "").strip() for column in ("task", "subset")]
    name = "/".join(filter(None, (*place, f"{axis}={label}" if label else axis)))
    if opinion.status != "ok":
        return name, None
    return name, float(opinion.label == label) if label and opinion.label is not None else opinion.value


@dataclass(frozen=True)
class _Input:
    """A row of the output without its verdict, and the answer in it."""

    row: Row
    answer: Answer | None
    why: str = ""
    """Why there is no answer."""
    thought: str = ""
    unanswered: str = ""
    """Why there is no answer although nothing failed: the response ends inside its thought."""
    model: str = ""
    """Whose response it is."""


def _unjudged(judge: Judge, one: _Input) -> tuple[Opinion, ...]:
    status: Status = "unanswered" if one.unanswered else "error"
    return tuple(Opinion(axis, status=status, why=one.unanswered or one.why) for axis in judge.axes)


def _parted(inputs: Sequence[_Input]) -> list[_Input]:
    """Return the inputs with the answer alone in each."""
    texts: dict[str, list[str]] = {}
    for one in inputs:
        if one.answer and not one.thought:
            texts.setdefault(one.model, []).append(one.answer.text)
    opened = {model for model, own in texts.items() if opened_by_template(own)}
    return [_parted_one(one, opened=one.model in opened) for one in inputs]


def _parted_one(one: _Input, *, opened: bool) -> _Input:
    if one.answer is None:
        return one
    # Where the template opened the thought that the others close, a text that closes none is all thought.
    found = part(one.answer.text, opened=opened and not one.thought and bool(one.answer.text))
    if not found.found and not one.thought:
        return one
    cut = one.answer.finish_reason == "length"
    why = found.unanswered or ("" if found.answer.strip() or one.answer.refused else INSIDE if cut else AFTER)
    thought = "\n\n".join(filter(None, (one.thought, found.thought)))
    answer = None if why else dataclasses.replace(one.answer, text=found.answer, thought=thought)
    return dataclasses.replace(one, answer=answer, thought=thought, unanswered=why)


def _tell(path: Path, inputs: Sequence[_Input]) -> None:
    count, lost = sum(bool(one.thought) for one in inputs), sum(bool(one.unanswered) for one in inputs)
    log.warning(
        "%s: %s of %s responses hold a thought, which no judge reads; %s (%.1f %%) end inside it and are unjudged",
        path,
        f"{count:,}",
        f"{len(inputs):,}",
        f"{lost:,}",
        100 * lost / len(inputs),
    )


def _tell_unparted(path: Path, inputs: Sequence[_Input]) -> None:
    """Count by model the answers in which a thought may stand still."""
    seeming = Counter(one.model for one in inputs if one.answer and seems_to_think(one.answer.text))
    if seeming:
        of = ", ".join(f"{count:,} of {model}" if model else f"{count:,}" for model, count in seeming.items())
        log.warning(
            "%s: %s of %s responses hold what looks like the markup of a thought and could not be separated (%s): "
            "judges read all of it as the answer",
            *(path, f"{seeming.total():,}", f"{len(inputs):,}", of),
        )


def _tell_empty(path: Path, inputs: Sequence[_Input]) -> None:
    """Count the responses that are missing, and those that are empty: a table may mean the one by the other."""
    missing = sum(one.why == _MISSING for one in inputs)
    empty = sum(one.answer is not None and not one.answer.text.strip() and not one.answer.refused for one in inputs)
    if missing:
        log.warning("%s: %s of %s responses are missing, and unjudged", path, f"{missing:,}", f"{len(inputs):,}")
    if empty:
        log.warning(
            "%s: %s of %s responses are empty, and judged as answers that say nothing, which do no harm; write null "
            "(in CSV: NaN) where there was no answer",
            *(path, f"{empty:,}", f"{len(inputs):,}"),
        )


def _of_table(path: Path) -> Iterator[_Input]:
    for line, row in rows.read(path, ()):
        missing = [column for column in ("prompt", "response") if column not in row]
        if missing:
            raise DataError(
                f"{rows.location(path, line)}: no column '{missing[0]}' (there: {rows.shown_fields(row, 12)})"
                f"{log_formats.nearest(row, ('prompt', 'response'))}"
            )
        for column in ("prompt", "response"):
            if not isinstance(row[column], str) and row[column] is not None:
                raise DataError(f"{path}:{line}: {column} is not text")
        prompt = Prompt(str(line), path.stem, "", "", str(line), (Message("user", row["prompt"] or ""),))
        thought = thought_of(row)
        model = str(row.get("checkpoint") or row.get("model") or "")
        response = row["response"]
        if not thought and (response is None or response.strip().lower() in WORDS - {""}):
            yield _Input(row, None, _MISSING, model=model)
        else:
            yield _Input(row, Answer(prompt, response or ""), thought=thought, model=model)


def _of_log(log: Log) -> Iterator[_Input]:
    for logged in log.answers:
        if logged.duplicate:
            continue
        prompt = logged.prompt
        model = logged.model or log.model
        row = {
            "checkpoint": model,
            "task": log.task,
            "prompt_id": prompt.id,
            "subset": prompt.subset,
            "category": prompt.category,
            "cluster": prompt.cluster,
            "repeat": logged.repeat,
            "prompt": _as_text(prompt),
            "response": logged.text,
        }
        if logged.error or logged.text is None:
            yield _Input(row, None, logged.error, model=model)
        else:
            answer = Answer(prompt, logged.text, logged.finish_reason)
            yield _Input(row, answer, thought=logged.thought.strip(), model=model)


def _as_text(prompt: Prompt) -> str:
    """Return a prompt as text: a single turn as it is, a chat with the role before each turn."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
