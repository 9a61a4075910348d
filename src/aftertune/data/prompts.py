"""The prompts of a benchmark as a table: stored once in a run, so that the benchmark is not needed to read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aftertune.records import Message, Prompt
from aftertune.run.job_folder import JobFolder
from aftertune.run.tables import records, table

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "prompts"
"""Name of the table in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPrompt:
    """One row: a `records.Prompt` with its nested values as JSON."""

    id: str
    benchmark: str
    subset: str
    category: str
    cluster: str
    messages: str
    """JSON: list of [role, content]."""
    expect: str
    """JSON object."""


def to_table(prompts: Sequence[Prompt]) -> pa.Table:
    """Return prompts as an Arrow table (prompts x fields of `StoredPrompt`), in their order."""
    rows = [
        StoredPrompt(
            id=prompt.id,
            benchmark=prompt.benchmark,
            subset=prompt.subset,
            category=prompt.category,
            cluster=prompt.cluster,
            messages=json.dumps([[turn.role, turn.content] for turn in prompt.messages]),
            expect=json.dumps(prompt.expect, allow_nan=False),
        )
        for prompt in prompts
    ]
    return table(StoredPrompt, rows)


def read(folder: JobFolder) -> list[Prompt]:
    """Return the prompts of a finished folder, in their order. Raises StoreError where it is damaged or not done."""
    return [
        Prompt(
            row.id,
            row.benchmark,
            row.subset,
            row.category,
            row.cluster,
            tuple(Message(role, content) for role, content in json.loads(row.messages)),
            json.loads(row.expect),
        )
        for row in records(StoredPrompt, folder.read(TABLE))
    ]
