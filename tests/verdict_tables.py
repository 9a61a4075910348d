"""Verdict tables from arrays of labels, for the tests of drift and gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from aftertune.records import Metric, Verdict
from aftertune.run.tables import table

REFUSAL = Metric("suite", "harmful", "refusal", "full", "down")
OVER = Metric("suite", "harmful", "refusal", "none", "up")
LABELS = {1: "full", 0: "none"}


def verdicts(
    outcomes: Sequence[int | float | None],
    *,
    arm: str = "base",
    seed: int | None = None,
    epoch: int | None = None,
    clusters: Sequence[str] | None = None,
    value: bool = False,
    sample: int = 0,
    **changes: Any,
) -> list[Verdict]:
    """One subject's verdicts on the refusal axis: 1 is `full`, 0 is `none`, None could not be parsed."""
    rows = []
    for i, outcome in enumerate(outcomes):
        fields: dict[str, Any] = {
            "base": "embedded", "arm": arm, "recipe": "" if arm == "base" else "lora", "train_seed": seed,
            "epoch": epoch, "checkpoint": f"{arm}-{seed}-{epoch}", "benchmark": "suite", "subset": "harmful",
            "prompt_id": f"p{i:04d}", "cluster": clusters[i] if clusters else f"p{i:04d}", "category": "", "system": "",
            "template": "base", "temperature": 0.0, "sample": sample, "message_hash": f"h{i}", "judge": "rule",
            "judge_version": "1", "axis": "refusal",
            "label": None if outcome is None or value else LABELS[int(outcome)],
            "value": float(outcome) if value and outcome is not None else None,
            "status": "unparsable" if outcome is None else "ok", "why": "",
        }  # fmt: skip
        rows.append(Verdict(**{**fields, **changes}))
    return rows


def made(*groups: list[Verdict]) -> pa.Table:
    """All verdicts as one table."""
    return table(Verdict, [row for group in groups for row in group])
