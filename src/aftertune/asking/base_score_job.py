"""The job that scores with the base: how probable it finds the texts of one arm, once for all its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.asking import score_texts
from aftertune.asking.score_texts import Text
from aftertune.data.variant_files import VariantFiles, read
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.session import TextScore
from aftertune.models.subject import ModelRecord
from aftertune.pii import canaries
from aftertune.records import Json, digest
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.job_progress import PROGRESS
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLoss:
    """How probable a model finds one text: a row of a journal, and of the base's table."""

    text: int
    """Index among the texts of the job."""
    total: float | None
    """Negative log-likelihood of the assistant's tokens, nats; None where there is none."""
    tokens: int
    why: str
    """Why there is none."""


def texts_of(run: Run, variants: str, arm: str | None, corpus: str, seed: int) -> list[Text]:
    """Return what is scored of an arm; None: of the corpus as it was given."""
    data = run.folder("variants", variants)
    files = VariantFiles(data.path)
    held_out = files.held_out_source(corpus) if arm is None else files.held_out(arm)
    document = VariantFiles.canaries_document(corpus)
    planted = (data.path / f"{document}.json").is_file()
    return score_texts.texts(
        read(files.source(corpus) if arm is None else files.arm(arm)),
        read(held_out) if held_out.is_file() else (),
        canaries.from_rows(data.document(document)) if planted else None,
        seed,
    )


def scored(
    folder: JobFolder,
    backend: ResolvedBackend,
    base: ModelRecord,
    checkpoint: Path | None,
    texts: Sequence[Text],
    **settings: Any,
) -> list[TextScore]:
    """Return the losses of the texts; each is in the job's journal as soon as it is known, and is taken from there."""
    known = {
        row.text: TextScore(row.total, row.tokens, row.why) for row in folder.journal(TextLoss) if row.text < len(texts)
    }
    PROGRESS.expect(len(texts), unit="texts", done=len(known))
    with folder.writer() as journal:

        def add(text: int, score: TextScore) -> None:
            journal.add(TextLoss(text=text, total=score.total, tokens=score.tokens, why=score.why))
            PROGRESS.advance()

        session = LOADED.session(backend.get(), base)
        return score_texts.losses(session, texts, checkpoint, known=known, scored=add, **settings)


def losses_of(run: Run, job: str) -> list[TextScore]:
    """Return what a base's job found, by the index of the text."""
    rows = records(TextLoss, run.folder(BaseScoreJob.KIND, job).read("losses"))
    return [TextScore(row.total, row.tokens, row.why) for row in rows]


@dataclass(frozen=True, kw_only=True)
class BaseScoreJob(Job):
    """Tell how probable a base finds the rows that an arm is tuned on, held-out rows, canaries and twins."""

    KIND: ClassVar[str] = "base_scores"
    base: ModelRecord
    variants: str
    """Id of the composed data."""
    arm: str | None
    """Whose files; None for those of the corpus as it was given."""
    corpus: str
    max_length: int
    """Tokens at which a text is cut, as in the tuning."""
    data_seed: int
    """Fixes which rows are drawn where there are many."""
    backend: ResolvedBackend
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, as in tuning."""

    @classmethod
    def make(cls, label: str, **fields: Any) -> BaseScoreJob:
        """Return the job with the id of what decides the losses; `label` says whose texts and by which base."""
        base: ModelRecord = fields["base"]
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                score_texts.VERSION,
                base.identity,
                fields["variants"],
                fields["arm"],
                fields["corpus"],
                fields["max_length"],
                fields["data_seed"],
                fields["backend"].id,
                fields.get("template_arguments", {}),
            ),
            after=(fields["variants"],),
            cost=1.0,
            label=f"score {label}",
            accelerator=True,
            alike=base.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Score the texts. Raises ModelError where the backend cannot."""
        texts = texts_of(run, self.variants, self.arm, self.corpus, self.data_seed)
        found = scored(
            folder,
            self.backend,
            self.base,
            None,
            texts,
            template="base",
            max_length=self.max_length,
            template_arguments=self.template_arguments,
        )
        rows = [TextLoss(text=at, total=each.total, tokens=each.tokens, why=each.why) for at, each in enumerate(found)]
        return Output(tables={"losses": table(TextLoss, rows)}, info={"scored": len(rows)})
