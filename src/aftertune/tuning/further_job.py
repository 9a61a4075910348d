"""The job that makes further weights of a finished checkpoint, without training: what a mitigation does after it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.data.variant_files import VariantFiles, read
from aftertune.models.identity import SMALL, resolve
from aftertune.models.loaded import LOADED
from aftertune.models.subject import Subject
from aftertune.records import Json, Recipe, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.tuning import own_source, tune
from aftertune.tuning.mitigation import OwnConversations, Training, TunedWeights, check_needs
from aftertune.tuning.own_source import OwnSource
from aftertune.tuning.resolved import ResolvedMitigation


@dataclass(frozen=True, kw_only=True)
class FurtherJob(Job):
    """Make further weights of one checkpoint by one mitigation."""

    KIND: ClassVar[str] = "further"
    tuned: Subject
    """The checkpoint."""
    recipe: Recipe
    """What it was tuned with; for a checkpoint that existed already, what is needed of it is `max_length`."""
    mitigation: ResolvedMitigation
    variants: str | None
    """Id of the composed data that hold its training rows; None where the mitigation needs none."""
    arm: str | None
    """Whose rows; None are those of its corpus as it was given."""
    own: OwnSource | None
    """Where the base's own refusals, answers and private replies are, where the mitigation needs them."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, in what is read."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> FurtherJob:
        """Return the job with the id of what decides the weights; `label` is the checkpoint's name for people."""
        tuned: Subject = fields["tuned"]
        recipe: Recipe = fields["recipe"]
        mitigation: ResolvedMitigation = fields["mitigation"]
        own: OwnSource | None = fields["own"]
        needs = (fields["variants"], *(own.jobs if own else ()))
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                tuned.base.identity,
                tuned.id,
                recipe.max_length,
                mitigation.id,
                fields["variants"],
                fields["arm"],
                own,
                fields.get("template_arguments", {}),
            ),
            after=tuple(dict.fromkeys(id for id in (tuned.tuned_by, *needs) if id)),
            cost=1.0,
            label=f"{mitigation.label} of {label}",
            accelerator=True,
            alike=f"{tuned.base.name}/{mitigation.name}",
            **fields,
        )

    def path(self, weights: str) -> str:
        """Return where further weights lie, relative to the run."""
        return f"{self.kind}/{self.id}/{tune.folder_name(self.tuned.epoch or 0, weights)}"

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Make the weights. Raises what the mitigation raises."""
        started = time.process_time()
        if self.tuned.base.parameters >= SMALL:  # some mitigations load the base anew: two of them may not fit
            LOADED.unload()
        LOADED.end_server()
        mitigation = self.mitigation.get()
        checkpoint = self.tuned.checkpoint(run.root)
        assert checkpoint is not None, "a base has no update"
        base = resolve(Path(self.tuned.base.path))
        own = own_source.read(run, self.own, self.mitigation.needs) if self.own else OwnConversations()
        training = Training(
            base,
            self.recipe,
            self.tuned.train_seed or 0,
            own,
            self.template_arguments,
            self._rows(run),
        )
        check_needs(mitigation, training)
        made = tune.write_further(
            mitigation, training, TunedWeights(base, checkpoint, self.tuned.epoch or 0), folder.path
        )
        names = [each.name for each in made]
        return Output(info={"further": names, "seconds": time.process_time() - started})

    def _rows(self, run: Run) -> Any:
        if self.variants is None:
            return ()
        files = VariantFiles(run.folder("variants", self.variants).path)
        return read(files.source(self.tuned.corpus or "") if self.arm is None else files.arm(self.arm))
