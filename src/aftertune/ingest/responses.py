"""Responses of other tools, in a table with `prompt` and `response` or in a log, judged as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.extras import explained
from aftertune.ingest import logs
from aftertune.ingest.log_records import Log
from aftertune.judging import opinions as judging
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.trial import check
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike
from aftertune.records import Message, Prompt
from aftertune.studies import plugin_text as written
from aftertune.studies.resolve import load_judge

ADDED = ("judge", "axis", "label", "value", "status", "why")

Row = dict[str, Any]


@explained()
def judge_table(path: Path, judges: Sequence[PathLike | PluginSpec], out: Path) -> dict[tuple[str, str], int]:
    """Judge a table or a log and write the verdicts: one row per response and axis, with all other columns.

    Args:
        path: CSV, JSONL or Parquet with the columns `prompt` and `response`; or a log of Inspect AI (`.eval`, `.json`)
            or of lm-evaluation-harness (`samples_*.jsonl`), whose columns are then `checkpoint, task, prompt_id,
            subset, category, cluster, repeat, prompt, response`. An answer that ended with an error is unjudged.
        judges: Judges, as `written.plugin` reads them; each must work without a registry and a tuning set.
        out: Table to write; its ending decides the format. The columns `judge, axis, label, value, status, why` are
            added.

    Returns:
        (axis, label or status) -> number of responses.

    Raises:
        UsageError, DataError: A missing file or column, an unknown judge, a judge that needs more than a table has, a
            log without any text.
        JudgeError: A judge that cannot tell known answers apart.
    """
    if out.suffix not in rows.ENDINGS:
        raise UsageError(f"{out}: unknown ending '{out.suffix}'; give one of {', '.join(rows.ENDINGS)}")
    instruments: list[tuple[str, Judge]] = [
        (judge.name, judge) for judge in map(load_judge, (written.plugin("judge", name) for name in judges))
    ]
    for name, judge in instruments:
        if judge.needs:
            raise UsageError(f"judge '{name}' needs {', '.join(sorted(judge.needs))}, which a table does not hold")
    log = logs.open_log(path)
    inputs = list(_of_table(path) if log is None else _of_log(log))
    answers = [one.answer for one in inputs if one.answer]
    if not answers:
        raise DataError(f"{path}: no text in it that could be judged: {inputs[0].why if inputs else 'no answers'}")
    verdicts: list[Row] = []
    counts: Counter[tuple[str, str]] = Counter()
    for name, judge in instruments:
        check(judge)
        opinions = judging.opinions(judge, answers, JudgeContext())
        for one in inputs:
            for opinion in next(opinions) if one.answer else _errors(judge, one.why):
                counts[opinion.axis, opinion.label or opinion.status] += 1
                verdict = (name, opinion.axis, opinion.label, opinion.value, opinion.status, opinion.why)
                verdicts.append({**one.row, **dict(zip(ADDED, verdict, strict=True))})
    rows.write(out, verdicts)
    return dict(counts)


@dataclass(frozen=True)
class _Input:
    """A row of the output without its verdict, and the answer in it."""

    row: Row
    answer: Answer | None
    why: str = ""
    """Why there is no answer."""


def _errors(judge: Judge, why: str) -> tuple[Opinion, ...]:
    return tuple(Opinion(axis, status="error", why=why) for axis in judge.axes)


def _of_table(path: Path) -> Iterator[_Input]:
    for line, row in rows.read(path, ("prompt", "response")):
        for column in ("prompt", "response"):
            if not isinstance(row[column], str) and row[column] is not None:
                raise DataError(f"{path}:{line}: {column} is not text")
        prompt = Prompt(str(line), path.stem, "", "", str(line), (Message("user", row["prompt"] or ""),))
        yield _Input(row, Answer(prompt, row["response"] or ""))


def _of_log(log: Log) -> Iterator[_Input]:
    for logged in log.answers:
        if logged.duplicate:
            continue
        prompt = logged.prompt
        row = {
            "checkpoint": log.model,
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
            yield _Input(row, None, logged.error)
        else:
            yield _Input(row, Answer(prompt, logged.text, logged.finish_reason))


def _as_text(prompt: Prompt) -> str:
    """Return a prompt as text: a single turn as it is, a chat with the role before each turn."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
