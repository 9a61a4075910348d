"""Responses made elsewhere, a table with `prompt` and `response` or a log of another tool, judged as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError, UsageError
from aftertune.ingest import harness_logs, logs
from aftertune.ingest.logged import Log
from aftertune.judging import opinions as judging
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion
from aftertune.judging.trial import check
from aftertune.records import Message, Prompt
from aftertune.studies import parts
from aftertune.studies import plugin_text as written

ADDED = ("judge", "axis", "label", "value", "status", "why")

Row = dict[str, Any]


def judge_table(path: Path, judges: Sequence[str], out: Path) -> dict[tuple[str, str], int]:
    """Judge a table or a log and write the verdicts: one row per response and axis, all other columns kept.

    Args:
        path: CSV, JSONL or Parquet with the columns `prompt` and `response`; or a log of Inspect AI (`.eval`, `.json`)
            or of lm-evaluation-harness (`samples_*.jsonl`), of which `checkpoint, task, prompt_id, subset, category,
            cluster, repeat, prompt, response` are kept. An answer that ended with an error is unjudged.
        judges: Judges, as `written.plugin` takes them; each must do without a registry and a tuning set.
        out: Table to write; its ending decides the format. Columns `judge, axis, label, value, status, why` are added.

    Returns:
        (axis, label or status) -> number of responses.

    Raises:
        UsageError, DataError: A missing file or column, an unknown judge, a judge that needs more than a table holds, a
            log without any text.
        JudgeError: A judge that cannot tell known answers apart.
    """
    if out.suffix not in rows.ENDINGS:
        raise UsageError(f"{out}: unknown ending '{out.suffix}'; give one of {', '.join(rows.ENDINGS)}")
    instruments: list[tuple[str, Judge]] = [
        (parts.judge_name(part), parts.judge(part)) for part in (written.plugin("judge", name) for name in judges)
    ]
    for name, judge in instruments:
        if judge.needs:
            raise UsageError(f"judge '{name}' needs {', '.join(sorted(judge.needs))}, which a table does not hold")
    log = logs.open_log(path)
    found = list(_of_table(path) if log is None else _of_log(log))
    if not any(answer for _, answer, _ in found):
        raise DataError(f"{path}: no text in it that could be judged: {found[0][2] if found else 'no answers'}")
    answers = [answer for _, answer, _ in found if answer]
    made: list[Row] = []
    counts: Counter[tuple[str, str]] = Counter()
    for name, judge in instruments:
        check(judge)
        said = judging.opinions(judge, answers, JudgeContext())
        for row, answer, why in found:
            opinions = next(said) if answer else tuple(Opinion(axis, status="error", why=why) for axis in judge.axes)
            for opinion in opinions:
                counts[opinion.axis, opinion.label or opinion.status] += 1
                verdict = (name, opinion.axis, opinion.label, opinion.value, opinion.status, opinion.why)
                made.append({**row, **dict(zip(ADDED, verdict, strict=True))})
    rows.write(out, made)
    return dict(counts)


def _of_table(path: Path) -> Iterator[tuple[Row, Answer, str]]:
    for line, row in rows.read(path, ("prompt", "response")):
        for column in ("prompt", "response"):
            if not isinstance(row[column], str) and row[column] is not None:
                raise DataError(f"{path}:{line}: {column} is not text")
        prompt = Prompt(str(line), path.stem, "", "", str(line), (Message("user", row["prompt"] or ""),))
        yield row, Answer(prompt, row["response"] or ""), ""


def _of_log(log: Log) -> Iterator[tuple[Row, Answer | None, str]]:
    """Yield each answer of a log with its row; without an answer, why."""
    for logged in log.answers:
        if logged.error == harness_logs.REPEATED:
            continue
        prompt = logged.prompt
        row = {
            "checkpoint": log.model, "task": log.task, "prompt_id": prompt.id, "subset": prompt.subset,
            "category": prompt.category, "cluster": prompt.cluster, "repeat": logged.repeat,
            "prompt": _shown(prompt), "response": logged.text,
        }  # fmt: skip
        if logged.error or logged.text is None:
            yield row, None, logged.error
        else:
            yield row, Answer(prompt, logged.text, logged.finish_reason), ""


def _shown(prompt: Prompt) -> str:
    """Return a prompt as text: a single turn as it is, a chat with a role before each turn."""
    if len(prompt.messages) == 1:
        return prompt.messages[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt.messages)
