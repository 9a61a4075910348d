"""What a worker does around a job: it does it once, and its folder is whole or begun, never half."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from tests.run.test_run_folder import begun, row

from aftertune.errors import TuneError
from aftertune.records import Response
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.run.worker import Worker


@dataclass(frozen=True, kw_only=True)
class Count(Job):
    """Writes a row, and goes on from the rows that an interrupted attempt left."""

    KIND: ClassVar[str] = "counts"
    fails: bool = False

    def run(self, run: Run, folder: JobFolder) -> Output:
        rows = [*folder.journal(Response), row(str(len(folder.journal(Response))))]
        folder.append(rows[-1:])
        if self.fails:
            raise TuneError("went wrong")
        assert (run.root / self.kind / self.id) == folder.path
        return Output(
            tables={"rows": table(Response, rows)}, documents={"about": {"n": len(rows)}}, info={"n": len(rows)}
        )


JOB = Count(kind="counts", id="one", label="count one")


def test_a_job_is_done_once_and_its_manifest_says_what_it_took(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    worker = pickle.loads(pickle.dumps(Worker(run.root)))
    worker(JOB)
    folder = run.job(JOB)
    assert folder.complete
    assert folder.verify() is None
    info = folder.info()
    assert {key: info[key] for key in ("label", "n")} == {"label": "count one", "n": 1}
    assert info["seconds"] >= 0
    assert info["cpu_seconds"] >= 0
    assert info["start_seconds"] == 0, "no model was loaded"
    assert folder.document("about") == {"n": 1}
    before = (folder.path / "manifest.json").stat().st_mtime_ns
    worker(JOB)
    assert (folder.path / "manifest.json").stat().st_mtime_ns == before


def test_a_job_that_failed_leaves_its_journal_and_goes_on_from_it(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    with pytest.raises(TuneError, match="went wrong"):
        Worker(run.root)(dataclasses.replace(JOB, fails=True))
    assert not run.job(JOB).complete
    Worker(run.root)(JOB)
    assert [each.prompt_id for each in records(Response, run.job(JOB).read("rows"))] == ["0", "1"]
    assert sorted(item.name for item in run.job(JOB).path.iterdir()) == ["about.json", "manifest.json", "rows.parquet"]
