"""The job that scores: how probable one checkpoint finds texts that it was tuned on, and texts that it was not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aftertune.asking import score_texts
from aftertune.asking.base_score_job import losses_of, scored, texts_of
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Template
from aftertune.models.subject import Subject
from aftertune.records import Json, Score, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import table


@dataclass(frozen=True, kw_only=True)
class ScoreJob(Job):
    """Tell how probable one checkpoint finds rows that it was tuned on, held-out rows, canaries and twins."""

    KIND: ClassVar[str] = "scores"
    subject: Subject
    variants: str
    """Id of the composed data."""
    base_scores: str
    """Id of the job in which the base scored the same texts."""
    arm: str | None
    """Whose files; None for a checkpoint that existed already: those of its corpus as it was given."""
    max_length: int
    """Tokens at which a text is cut, as in its tuning."""
    template: Template
    data_seed: int
    """Fixes which rows are drawn where there are many."""
    backend: ResolvedBackend
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, as in tuning."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> ScoreJob:
        """Return the job with the id of what decides the scores; `label` is the subject's name for people."""
        subject: Subject = fields["subject"]
        variants = fields["variants"]
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                score_texts.VERSION,
                subject.base.identity,
                subject.id,
                variants,
                fields["arm"],
                fields["max_length"],
                fields["template"],
                fields["data_seed"],
                fields["backend"].id,
                fields.get("template_arguments", {}),
            ),
            after=tuple(dict.fromkeys((subject.tuned_by or variants, variants, fields["base_scores"]))),
            cost=1.0,
            label=f"score {label}",
            accelerator=True,
            alike=subject.base.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Score the texts under the checkpoint, beside the base. Raises ModelError where the backend cannot."""
        texts = texts_of(run, self.variants, self.arm, self.subject.corpus or "", self.data_seed)
        checkpoint = self.subject.checkpoint(run.root)
        assert checkpoint is not None, "a base is scored by a job of its own"
        tuned = scored(
            folder,
            self.backend,
            self.subject.base,
            checkpoint,
            texts,
            template=self.template,
            max_length=self.max_length,
            template_arguments=self.template_arguments,
        )
        scores = score_texts.pairs(texts, losses_of(run, self.base_scores), tuned)
        return Output(tables={"scores": table(Score, scores)}, info={"scored": len(scores)})
