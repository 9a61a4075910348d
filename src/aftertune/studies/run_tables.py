"""The tables of a study's jobs, read from its run and put one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aftertune.judging.judge_job import JudgeJob
from aftertune.run.job import Job
from aftertune.run.run_folder import Run
from aftertune.run.tables import schema
from aftertune.studies.study import Study

if TYPE_CHECKING:
    import pyarrow as pa


def all_verdicts(run: Run, study: Study, columns: Sequence[str] | None = None) -> Any:
    """Return the verdict tables of all jobs as one, or some of their columns, texts as codes.

    Raises StoreError where one is damaged or not done.
    """
    import pyarrow as pa

    return pa.concat_tables([run.job(job).read("verdicts", columns, coded=True) for job in study.of(JudgeJob)])


def done_rows(
    run: Run, study: Study, kind: type[Job], name: str, record: type[Any], columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the tables `name` of those jobs of a kind that are done as one, without rows where none is.

    Args:
        run: Where the jobs are.
        study: Whose they are.
        kind: Class of the jobs.
        name: Of the table in a job's folder.
        record: What a row is.
        columns: Only these, texts as codes; None is all, texts as they are.

    Raises StoreError for a damaged one.
    """
    import pyarrow as pa

    done = [run.job(job) for job in study.of(kind) if run.job(job).complete]
    tables = [folder.read(name, columns, coded=columns is not None) for folder in done]
    if tables:
        return pa.concat_tables(tables)
    empty = schema(record).empty_table()
    return empty if columns is None else empty.select([each for each in columns if each in empty.column_names])
