"""What an executor is given: it does one job of a run, whatever its kind, and closes its folder."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from aftertune.run.clock import START
from aftertune.run.job import Job
from aftertune.run.place import PLACE
from aftertune.run.run_folder import Run


@dataclass(frozen=True)
class Worker:
    """Does jobs of one run; picklable, so that an executor can send it to another process."""

    root: Path

    def __call__(self, job: Job) -> None:
        """Do one job, unless it is done already."""
        # PEFT imports it where it is installed, and it says aloud that it has no kernel of its own for this CPU.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        run = Run.open(self.root)
        PLACE.root = self.root
        folder = run.job(job)
        if folder.complete:
            return
        folder.start()
        began, began_cpu, started = time.time(), time.process_time(), START.seconds
        output = job.run(run, folder)
        spent = {
            "seconds": round(time.time() - began, 3),
            "cpu_seconds": round(time.process_time() - began_cpu, 3),
            "start_seconds": round(START.seconds - started, 3),
        }
        folder.finish(
            tables=output.tables, documents=output.documents, info={"label": job.label, **spent, **output.info}
        )
