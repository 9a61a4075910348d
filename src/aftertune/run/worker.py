"""What each cell does: read what it needs from the run, call one step, write what came out."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune import plugins
from aftertune.asking import answering
from aftertune.asking import scoring_job as scoring
from aftertune.judging import judging
from aftertune.models.identity import SMALL
from aftertune.models.session import Backend, Session
from aftertune.records import digest
from aftertune.run.job import Cell
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.studies import plan as planning
from aftertune.studies.plan import ComposeJob, Plan, RespondJob, ScoreJob, TuneJob
from aftertune.tuning import tune
from aftertune.variants import compose, composing
from aftertune.variants.own_answers import OwnAnswers

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """Does cells of one run; picklable, so that an executor can send it to another process."""

    root: Path

    def __call__(self, cell: Cell) -> None:
        """Do one cell, unless it is done already."""
        # PEFT imports it where it is installed, and it says aloud that it has no kernel of its own for this CPU.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        run = Run.open(self.root)
        folder = run.cell(cell.kind, cell.id)
        if folder.complete:
            return
        plan = _plan(self.root, (self.root / "design.toml").read_bytes())
        job = plan.jobs[cell.id]
        folder.start()
        began = (time.time(), time.process_time(), _LOADED.seconds)
        info: dict[str, object]
        if isinstance(job, ComposeJob):
            info = {"documents": compose_variants(plan, job, folder)}
        elif isinstance(job, TuneJob):
            info = _tune(run, job, folder)
        elif isinstance(job, RespondJob):
            info = answering.do(run, plan, job, _LOADED.get(plan, job.subject.base), folder)
        elif isinstance(job, ScoreJob):
            path = answering.checkpoint_path(run, job.subject)
            assert path is not None
            info = scoring.do(run, plan, job, _LOADED.get(plan, job.subject.base), path)
        else:
            info = judging.do(run, plan, job, folder)
        spent = {"seconds": round(time.time() - began[0], 3), "cpu_seconds": round(time.process_time() - began[1], 3)}
        spent["start_seconds"] = round(_LOADED.seconds - began[2], 3)
        tables = info.pop("tables", None)
        documents = info.pop("documents", None)
        folder.finish(
            tables=tables if isinstance(tables, dict) else None,
            documents=documents if isinstance(documents, dict) else None,
            info={"label": cell.label, **spent, **info},
        )


@functools.lru_cache(maxsize=2)
def _plan(root: Path, design: bytes) -> Plan:
    del design  # another judge may have been added since
    return planning.make(Run.open(root).design())


# ---------------------------------------------------------------------------------------------- one loaded base


class _Loaded:
    """The base that this process holds: loading it once serves every cell that comes here."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.key = ""
        self.session: Session | None = None
        self.seconds = 0.0  # what loading took so far, imports and the trial of judges included
        atexit.register(self.stack.close)  # while the interpreter is whole; later its modules are half gone

    def get(self, plan: Plan, base: planning.Base) -> Session:
        key = digest(plan.design.backend, base.model.identity, str(base.model.path))
        if self.session is None or key != self.key:
            began = time.time()
            self.let_go()
            backend: Backend = plugins.load("backend", plan.design.backend.name, plan.design.backend.parameters)
            self.session = self.stack.enter_context(backend.open(str(base.model.path)))
            self.key = key
            self.seconds += time.time() - began
        return self.session

    def let_go(self) -> None:
        """Unload the base; what hangs in circles is collected, since a GPU that is full does not ask for it."""
        self.stack.close()
        self.session, self.key = None, ""
        gc.collect()


_LOADED = _Loaded()


# ---------------------------------------------------------------------------------------------- compose


def compose_variants(
    plan: Plan, job: ComposeJob, folder: JobFolder, told: compose.Told = compose.untold
) -> dict[str, object]:
    """Do a `variants` cell: `composing.compose_variants`, the base at hand for answers of its own."""
    own = OwnAnswers(plan, job, folder, lambda: _LOADED.get(plan, job.base))
    return composing.compose_variants(plan, job, folder, own, told)


# ---------------------------------------------------------------------------------------------- tune


def _tune(run: Run, job: TuneJob, folder: JobFolder) -> dict[str, object]:
    if job.base.model.parameters >= SMALL:  # a tuning loads the base anew: two of them may not fit
        _LOADED.let_go()
    conversations = composing.read(run.cell("variants", job.variants).path / f"{job.arm.name}.jsonl")
    report = tune.tune(job.base.model.path, conversations, job.recipe, job.seed, folder.path)
    facts = {f.name: getattr(report, f.name) for f in dataclasses.fields(report) if f.name != "checkpoints"}
    return {"tuning": facts}


def all_verdicts(run: Run, plan: Plan, columns: Sequence[str] | None = None) -> Any:
    """Return the verdict tables of all cells as one, or some of their columns, texts as codes.

    Raises StoreError where one is damaged or not done.
    """
    import pyarrow as pa

    folders = [run.cell("verdicts", cell.id) for cell in plan.of("verdicts")]
    return pa.concat_tables([folder.read("verdicts", columns, coded=True) for folder in folders])
