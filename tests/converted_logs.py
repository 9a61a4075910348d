"""What tests of other tools' logs share: a log converted, and two logs compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aftertune import drift_of_table
from aftertune.data import table_files as rows
from aftertune.ingest import logs

Row = dict[str, Any]


def converted(folder: Path, *sources: Path | str, **more: Any) -> tuple[list[Row], str]:
    """Return the rows of the table that logs become, and all warnings."""
    said = logs.ingest_logs(list(sources), folder / "v.jsonl", **more).warnings
    return [row for _, row in rows.read(folder / "v.jsonl", ("metric",))], "\n".join(said)


def compared(base: Path | str, tuned: Path | str, *names: str, **more: Any) -> Mapping[str, Row]:
    """Return the row of each metric in the drift of two logs, which are called `b` and `t` where no names are given."""
    sources = [base, tuned] if names else [f"b={base}", f"t={tuned}"]
    found = drift_of_table(sources if base != tuned else [base], *(names or ("b", "t")), **more)
    return {row["metric"]: row for row in found.to_arrow().to_pylist() if row["estimand"] == "checkpoint"}
