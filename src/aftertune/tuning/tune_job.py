"""The job that tunes: one base on one data variant with one recipe and seed, a checkpoint for each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.data.variant_files import VariantFiles, read
from aftertune.models.identity import SMALL
from aftertune.models.loaded import LOADED
from aftertune.models.subject import ModelRecord
from aftertune.records import Arm, Json, Recipe, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.tuning import own_source, tune
from aftertune.tuning.mitigation import OwnConversations, trained_recipe
from aftertune.tuning.own_source import OwnSource
from aftertune.tuning.resolved import ResolvedMitigation


@dataclass(frozen=True, kw_only=True)
class TuneJob(Job):
    """Tune one base on one variant with one recipe and seed."""

    KIND: ClassVar[str] = "checkpoints"
    base: ModelRecord
    arm: Arm
    recipe: Recipe
    """As the design has it; `trained` is what it comes to with the mitigation."""
    seed: int
    variants: str
    """Id of the composed data."""
    mitigation: ResolvedMitigation | None
    """What acts before or during this training."""
    own: OwnSource | None = None
    """Where the base's own refusals, answers and private replies are, where the mitigation needs them."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, as when the checkpoint is asked."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> TuneJob:
        """Return the job with the id of what decides the weights; `label` is the checkpoint's name for people."""
        base: ModelRecord = fields["base"]
        recipe: Recipe = fields["recipe"]
        mitigation: ResolvedMitigation | None = fields["mitigation"]
        variants = fields["variants"]
        own: OwnSource | None = fields.get("own")
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                tune.VERSION,
                base.identity,
                variants,
                fields["arm"],
                recipe,
                fields["seed"],
                # With its label, which is written into every row: the same dose may be given in other words.
                mitigation and (mitigation.id, mitigation.label),
                fields.get("template_arguments", {}),
                *([own] if own else []),
            ),
            after=(variants, *(own.jobs if own else ())),
            cost=10.0,
            label=f"tune {label}",
            accelerator=True,
            alike=f"{base.name}/{recipe.name}",
            **fields,
        )

    @property
    def trained(self) -> Recipe:
        """The recipe that is trained: the mitigation may add epochs."""
        return trained_recipe(self.recipe, self.mitigation)

    def path(self, epoch: int, further: str = "") -> str:
        """Return where the checkpoint of an epoch lies, or further weights made of it, relative to the run."""
        return f"{self.kind}/{self.id}/{tune.folder_name(epoch, further)}"

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Tune, and write the checkpoints into the folder."""
        if self.base.parameters >= SMALL:  # a tuning loads the base anew: two of them may not fit
            LOADED.unload()
        LOADED.end_server()
        data = VariantFiles(run.folder("variants", self.variants).path)
        conversations = read(data.arm(self.arm.name))
        mitigation = self.mitigation
        own = own_source.read(run, self.own, mitigation.needs) if self.own and mitigation else OwnConversations()
        report = tune.tune(
            Path(self.base.path),
            conversations,
            self.recipe,
            self.seed,
            folder.path,
            on_step=_count_steps,
            mitigation=mitigation.get() if mitigation else None,
            own=own,
            template_arguments=self.template_arguments,
        )
        facts = {
            f.name: getattr(report, f.name)
            for f in dataclasses.fields(report)
            if f.name not in ("checkpoints", "further")
        }
        kept: dict[str, int] = {need: len(said) for need, said in own.by_need().items()} if self.own else {}
        return Output(info={"tuning": {**facts, **kept}})


def _count_steps(step: int, steps: int, loss: float) -> None:
    del loss
    if step == 1:  # what came before is loading
        PROGRESS.expect(steps, unit="steps", done=1)
    else:
        PROGRESS.advance()
