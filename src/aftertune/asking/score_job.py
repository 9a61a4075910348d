"""The job that scores: how probable one checkpoint finds texts that it was tuned on, and texts that it was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aftertune.asking import score_texts
from aftertune.data.variant_files import VariantFiles, read
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import Template, TextScore
from aftertune.models.subject import Subject
from aftertune.pii import canaries
from aftertune.records import Conversation, Json, Score, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import table


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRow:
    """The score of one text in the journal."""

    tuned: bool
    """Whether under the checkpoint rather than the base."""
    text: int
    """Index among the texts of the job."""
    total: float | None
    tokens: int
    why: str


@dataclass(frozen=True, kw_only=True)
class ScoreJob(Job):
    """Tell how probable one checkpoint finds rows that it was tuned on, held-out rows, canaries and twins."""

    KIND: ClassVar[str] = "scores"
    subject: Subject
    variants: str
    """Id of the composed data."""
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
            after=tuple(dict.fromkeys((subject.tuned_by or variants, variants))),
            cost=1.0,
            label=f"score {label}",
            accelerator=True,
            alike=subject.base.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Score the texts under the base and under the checkpoint. Raises ModelError where the backend cannot."""
        data = run.folder("variants", self.variants)
        files = VariantFiles(data.path)
        corpus = self.subject.corpus or ""
        held_out = files.held_out_source(corpus) if self.arm is None else files.held_out(self.arm)
        texts = score_texts.texts(
            read(files.source(corpus) if self.arm is None else files.arm(self.arm)),
            self._rows(held_out),
            self._canaries(data, corpus),
            self.data_seed,
        )
        checkpoint = self.subject.checkpoint(run.root)
        assert checkpoint is not None, "a base is not scored by itself"
        known = {
            (row.tuned, row.text): TextScore(row.total, row.tokens, row.why)
            for row in folder.journal(JournalRow)
            if row.text < len(texts)
        }
        PROGRESS.expect(2 * len(texts), unit="texts", done=len(known))
        with folder.writer() as journal:

            def scored(tuned: bool, text: int, score: TextScore) -> None:
                journal.add(JournalRow(tuned=tuned, text=text, total=score.total, tokens=score.tokens, why=score.why))
                PROGRESS.advance()

            scores = score_texts.score(
                LOADED.session(self.backend.get(), self.subject.base),
                texts,
                checkpoint,
                template=self.template,
                max_length=self.max_length,
                template_arguments=self.template_arguments,
                known=known,
                scored=scored,
            )
        return Output(tables={"scores": table(Score, scores)}, info={"scored": len(scores)})

    @staticmethod
    def _rows(path: Any) -> Sequence[Conversation]:
        return read(path) if path.is_file() else ()

    @staticmethod
    def _canaries(data: JobFolder, corpus: str) -> canaries.Canaries | None:
        name = VariantFiles.canaries_document(corpus)
        return canaries.from_rows(data.document(name)) if (data.path / f"{name}.json").is_file() else None
