"""Responses made elsewhere: a table with `prompt` and `response`, judged as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aftertune import parts, rows
from aftertune.errors import DataError, UsageError
from aftertune.kinds import Answer, Judge, JudgeContext
from aftertune.records import Message, Prompt
from aftertune.steps import judge as step

ADDED = ("judge", "axis", "label", "value", "status", "why")


def judge_table(path: Path, judges: Sequence[str], out: Path) -> dict[tuple[str, str], int]:
    """Judge a table and write its verdicts: one row per response and axis, all other columns kept.

    Args:
        path: CSV, JSONL or Parquet with the columns `prompt` and `response`.
        judges: Names of judges; each must do without a registry and a tuning set.
        out: Table to write; its ending decides the format. Columns `judge, axis, label, value, status, why` are added.

    Returns:
        (axis, label or status) -> number of responses.

    Raises:
        UsageError, DataError: A missing file or column, an unknown judge, a judge that needs more than a table holds.
        JudgeError: A judge that cannot tell known answers apart.
    """
    if out.suffix not in rows.ENDINGS:
        raise UsageError(f"{out}: unknown ending '{out.suffix}'; give one of {', '.join(rows.ENDINGS)}")
    instruments: list[tuple[str, Judge]] = [(part.name, parts.judge(part)) for part in map(parts.given, judges)]
    for name, judge in instruments:
        if judge.needs:
            raise UsageError(f"judge '{name}' needs {', '.join(sorted(judge.needs))}, which a table does not hold")
    found = rows.read(path, ("prompt", "response"))
    answers = []
    for line, row in found:
        for column in ("prompt", "response"):
            if not isinstance(row[column], str) and row[column] is not None:
                raise DataError(f"{path}:{line}: {column} is not text")
        prompt = Prompt(str(line), path.stem, "", "", str(line), (Message("user", row["prompt"] or ""),))
        answers.append(Answer(prompt, row["response"] or ""))
    made: list[dict[str, Any]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for name, judge in instruments:
        step.check(judge)
        for (_, row), opinions in zip(found, step.judge(judge, answers, JudgeContext()), strict=True):
            for opinion in opinions:
                counts[opinion.axis, opinion.label or opinion.status] += 1
                verdict = (name, opinion.axis, opinion.label, opinion.value, opinion.status, opinion.why)
                made.append({**row, **dict(zip(ADDED, verdict, strict=True))})
    rows.write(out, made)
    return dict(counts)
