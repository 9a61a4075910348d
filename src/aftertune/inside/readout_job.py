"""The job that reads out: log-odds that one subject answers as its base's refusals open, or keeps something private."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from aftertune.inside import readout
from aftertune.inside.concepts import PRIVACY, REFUSAL
from aftertune.inside.conditions import Conditions, chosen_prompts
from aftertune.models.session import Session
from aftertune.models.subject import Subject
from aftertune.records import Prompt, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

if TYPE_CHECKING:
    from aftertune.stats.estimate import Floats

TABLE = "readouts"
GIVEN = "given"
"""In the job's info: mean share of the probability that is on the answers that are told apart."""


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
    about: str
    """What is read: `refusal`, or `privacy`."""
    openings: tuple[str, ...]
    """Of refusals; privacy needs none."""
    conditions: Conditions

    @classmethod
    def make(
        cls,
        label: str,
        subject: Subject,
        prompts: str,
        chosen: tuple[str, ...],
        openings: tuple[str, ...] | None,
        conditions: Conditions,
    ) -> ReadoutJob:
        """Return the job with the id of what decides the numbers; `label` is the subject's name for people.

        Without `openings` (None) privacy is read out.
        """
        about = PRIVACY if openings is None else REFUSAL
        decides = (readout.VERSION, subject.base.identity, subject.id, prompts, chosen, about, openings, conditions.id)
        return cls(
            kind=cls.KIND,
            id=digest(cls.KIND, *decides),
            after=(),
            cost=0.5,
            label=f"read out {label} on {about}",
            accelerator=True,
            loads=subject.id,
            subject=subject,
            prompts=prompts,
            chosen=chosen,
            about=about,
            openings=openings or (),
            conditions=conditions,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Read out all prompts."""
        del folder
        session = self.conditions.session(self.subject, run)
        prompts = chosen_prompts(run, self.prompts, self.chosen)
        values, given = read_out(self.about, session, prompts, self.openings, self.conditions)
        rows = [
            ReadoutRow(prompt_id=prompt.id, value=value if value == value else None)
            for prompt, value in zip(prompts, values.tolist(), strict=True)
        ]
        shares = given[given == given]
        mean = float(shares.mean()) if len(shares) else 0.0
        return Output(tables={TABLE: table(ReadoutRow, rows)}, info={"prompts": len(rows), GIVEN: mean})


def read_out(
    about: str, session: Session, prompts: Sequence[Prompt], openings: Sequence[str], conditions: Conditions
) -> tuple[Floats, Floats]:
    """Return the readout of each prompt (NaN: it cannot be read), and the share of the probability that it is about.

    Both of shape (prompts,). `about` is `refusal`, with its openings, or `privacy`.
    """
    import numpy as np

    system = conditions.system or None
    template, arguments = conditions.template, conditions.template_arguments
    if about == PRIVACY:
        return readout.withholding(session, prompts, system=system, template=template, template_arguments=arguments)
    values = readout.readout(session, prompts, openings, system=system, template=template, template_arguments=arguments)
    return values, np.ones(len(values))


def read(folder: JobFolder) -> Mapping[str, float]:
    """Return the readouts of a finished folder by prompt, those that could not be read left out."""
    rows = records(ReadoutRow, folder.read(TABLE))
    return {row.prompt_id: row.value for row in rows if row.value is not None}
