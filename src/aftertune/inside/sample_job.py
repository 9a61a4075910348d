"""The job that samples: a base answers some prompts at temperature 1, so that every way in which it refuses is seen.

At temperature 0 a base shows the one opening that it finds likeliest, and a readout of that alone would take the others
for answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from aftertune.inside.conditions import Conditions, chosen_prompts
from aftertune.models import respond
from aftertune.models.subject import Subject
from aftertune.records import digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import table

TABLE = "samples"
TOKENS = 48
"""Of an answer: enough to see whether it refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One answer of a base."""

    prompt_id: str
    sample: int
    text: str
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class SampleJob(Job):
    """Sample answers of one base."""

    KIND: ClassVar[str] = "samples"
    subject: Subject
    prompts: str
    """Id of the job that wrote the prompts."""
    chosen: tuple[str, ...]
    """Ids of the prompts that are asked."""
    samples: int
    seed: int
    conditions: Conditions

    @classmethod
    def make(
        cls, subject: Subject, prompts: str, chosen: tuple[str, ...], samples: int, seed: int, conditions: Conditions
    ) -> SampleJob:
        """Return the job with the id of what decides the answers."""
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND, respond.VERSION, TOKENS, subject.base.identity, prompts, chosen, samples, seed, conditions.id
            ),
            after=(),
            cost=1.0,
            label=f"sample answers of {subject.base.name}",
            accelerator=True,
            subject=subject,
            prompts=prompts,
            chosen=chosen,
            samples=samples,
            seed=seed,
            conditions=conditions,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Ask the base."""
        del folder
        session = self.conditions.session(self.subject, run)
        prompts = chosen_prompts(run, self.prompts, self.chosen)
        PROGRESS.expect(len(prompts) * self.samples, unit="answers", done=0)
        rows = []
        for reply in respond.respond(
            session,
            prompts,
            checkpoint=None,
            checkpoint_id=self.subject.id,
            temperatures=(1.0,),
            samples=self.samples,
            max_new_tokens=TOKENS,
            seed=self.seed,
            system=self.conditions.system,
            template=self.conditions.template,
            template_arguments=self.conditions.template_arguments,
        ):
            PROGRESS.advance()
            if reply.error is None and not reply.unanswered:
                rows.append(
                    Sampled(
                        prompt_id=reply.prompt_id,
                        sample=reply.sample,
                        text=reply.text,
                        finish_reason=reply.finish_reason,
                    )
                )
        rows.sort(key=lambda row: (row.prompt_id, row.sample))
        return Output(tables={TABLE: table(Sampled, rows)}, info={"answers": len(rows)})
