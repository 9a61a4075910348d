"""The job that reads out: the log-odds that one subject opens its answers as its base's refusals do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from aftertune.inside import readout
from aftertune.inside.conditions import Conditions, chosen_prompts
from aftertune.models.subject import Subject
from aftertune.records import digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

TABLE = "readouts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutRow:
    """The readout of one prompt."""

    prompt_id: str
    value: float | None
    """Log-odds in nats; None where the prompt cannot be read."""


@dataclass(frozen=True, kw_only=True)
class ReadoutJob(Job):
    """Read out one subject."""

    KIND: ClassVar[str] = "readouts"
    subject: Subject
    prompts: str
    """Id of the job that wrote the prompts."""
    chosen: tuple[str, ...]
    """Ids of the prompts that are read."""
    openings: tuple[str, ...]
    conditions: Conditions

    @classmethod
    def make(
        cls,
        label: str,
        subject: Subject,
        prompts: str,
        chosen: tuple[str, ...],
        openings: tuple[str, ...],
        conditions: Conditions,
    ) -> ReadoutJob:
        """Return the job with the id of what decides the numbers; `label` is the subject's name for people."""
        decides = (readout.VERSION, subject.base.identity, subject.id, prompts, chosen, openings, conditions.id)
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, *decides),
            after=(),
            cost=0.5,
            label=f"read out {label}",
            accelerator=True,
            loads=subject.id,
            subject=subject,
            prompts=prompts,
            chosen=chosen,
            openings=openings,
            conditions=conditions,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Read out all prompts."""
        del folder
        session = self.conditions.session(self.subject, run)
        prompts = chosen_prompts(run, self.prompts, self.chosen)
        own = self.conditions
        values = readout.readout(
            session,
            prompts,
            self.openings,
            system=own.system or None,
            template=own.template,
            template_arguments=own.template_arguments,
        )
        rows = [
            ReadoutRow(prompt_id=prompt.id, value=value if value == value else None)
            for prompt, value in zip(prompts, values.tolist(), strict=True)
        ]
        return Output(tables={TABLE: table(ReadoutRow, rows)}, info={"prompts": len(rows)})


def read(folder: JobFolder) -> Mapping[str, float]:
    """Return the readouts of a finished folder by prompt, those that could not be read left out."""
    rows = records(ReadoutRow, folder.read(TABLE))
    return {row.prompt_id: row.value for row in rows if row.value is not None}
