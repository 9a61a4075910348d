"""A run's numbers and figures as files for other programs (`aftertune results`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aftertune.commands.decide import Result
from aftertune.commands.run_view import Run, open_run
from aftertune.errors import UsageError, near
from aftertune.files import make_folder, write, writing
from aftertune.headline import headline
from aftertune.public import PathLike, public
from aftertune.reporting import figures

FORMATS = ("csv", "parquet", "svg", "png")
TABLES = ("drifts", "decisions", "leaks", "measures", "discrimination")
"""Those of `Run` that hold numbers and no texts of models or users."""


@public("results")
def results(
    run: PathLike | Run | Result, out: PathLike, *, formats: str | Sequence[str] = ("csv", "svg")
) -> list[Path]:
    """Write a run's numbers as tables and its figures as images (`aftertune results RUN`) and return the files.

    Args:
        run: A run with decisions.
        out: Folder; files of an earlier call are replaced.
        formats: `csv`, `parquet`: the tables drifts, decisions, leaks, measures and discrimination, those that are not
            empty. `svg`, `png`: a forest plot of each metric; PNG needs Pillow.

    Raises UsageError for a format that is not known and for a run without decisions, StoreError where a file cannot be
    written.

    Example:
        >>> [path.name for path in aftertune.results("audit", "results")][:2]
        ['drifts.csv', 'decisions.csv']
    """
    wanted = [formats] if isinstance(formats, str) else list(formats)
    for each in wanted:
        if each not in FORMATS:
            raise UsageError(f"results: no format '{each}'{near(each, list(FORMATS))} (known: {', '.join(FORMATS)})")
    view, folder = open_run(run), Path(out)
    drifts, decisions = view._drifts(), view._decisions()
    make_folder(folder)
    files = []
    for name in TABLES if {"csv", "parquet"} & set(wanted) else ():
        table = getattr(view, name)
        if not table.num_rows:
            continue
        for form in ("csv", "parquet"):
            if form in wanted:
                files.append(folder / f"{name}.{form}")
                _write_table(table, files[-1])
    rows = [row for row in headline(drifts, decisions) if row.delta is not None]
    for metric in dict.fromkeys(row.metric for row in rows):
        figure = figures.forest(metric, [row for row in rows if row.metric == metric], decisions)
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", metric)
        for form in ("svg", "png"):
            if form in wanted:
                files.append(folder / f"{stem}.{form}")
                write(files[-1], figures.svg(figure).encode("utf-8") if form == "svg" else figures.png(figure))
    return files


def _write_table(table: Any, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    with writing(path):
        if path.suffix == ".parquet":
            pa.parquet.write_table(table, path)
            return
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        for name in nested:  # a cell of CSV holds a text
            column = pa.array([None if value is None else str(value) for value in table[name].to_pylist()], pa.string())
            table = table.set_column(table.schema.get_field_index(name), name, column)
        pa.csv.write_csv(table, path)
