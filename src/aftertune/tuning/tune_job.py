"""The job that tunes: one base on one data variant with one recipe and seed, a checkpoint for each epoch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from aftertune.data.variant_files import VariantFiles, read
from aftertune.models.identity import SMALL
from aftertune.models.loaded import LOADED
from aftertune.models.subject import ModelRecord
from aftertune.records import Arm, Recipe, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.tuning import tune


@dataclass(frozen=True, kw_only=True)
class TuneJob(Job):
    """Tune one base on one variant with one recipe and seed."""

    KIND: ClassVar[str] = "checkpoints"
    base: ModelRecord
    arm: Arm
    recipe: Recipe
    seed: int
    variants: str
    """Id of the composed data."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> TuneJob:
        """Return the job with the id of what decides the weights; `label` is the checkpoint's name for people."""
        base: ModelRecord = fields["base"]
        recipe: Recipe = fields["recipe"]
        variants = fields["variants"]
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, tune.VERSION, base.identity, variants, fields["arm"], recipe, fields["seed"]),
            after=(variants,),
            cost=10.0,
            label=f"tune {label}",
            accelerator=True,
            alike=f"{base.name}/{recipe.name}",
            **fields,
        )

    def path(self, epoch: int) -> str:
        """Return where the checkpoint of an epoch lies, relative to the run."""
        return f"{self.kind}/{self.id}/epoch-{epoch}"

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Tune, and write the checkpoints into the folder."""
        if self.base.parameters >= SMALL:  # a tuning loads the base anew: two of them may not fit
            LOADED.unload()
        data = VariantFiles(run.folder("variants", self.variants).path)
        conversations = read(data.arm(self.arm.name))
        report = tune.tune(Path(self.base.path), conversations, self.recipe, self.seed, folder.path)
        facts = {f.name: getattr(report, f.name) for f in dataclasses.fields(report) if f.name != "checkpoints"}
        return Output(info={"tuning": facts})
