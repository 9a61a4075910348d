"""The job that predicts: what one predictor says of one data variant before a base is tuned on it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aftertune.data.variant_files import VariantFiles
from aftertune.data.variant_files import read as conversations_of
from aftertune.errors import ModelError
from aftertune.findings import ForecastRow
from aftertune.forecasting import base_pass
from aftertune.forecasting.base_pass import RowReading
from aftertune.forecasting.data_card import ROWS
from aftertune.forecasting.predictor import OwnAnswer, TuningData
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.models.subject import ModelRecord
from aftertune.records import Conversation, Json, Response, digest, seed_of
from aftertune.run.job import Job, Output
from aftertune.run.job_folder import JobFolder
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table

TABLE = "rows"
READING = "1"
"""Goes into the ids of what reads the data with the base: changed whenever the same rows would be read otherwise."""
MAX_LENGTH = 384
"""Tokens beyond which a row is cut where the base reads it, as a recipe has it that says nothing else."""


@dataclass(frozen=True, kw_only=True)
class PredictJob(Job):
    """Compute the features of one variant for one base."""

    KIND: ClassVar[str] = "forecasts"
    predictor: ResolvedPredictor
    base: ModelRecord
    arm: str
    """Name of the arm whose data are read."""
    variants: str
    """Id of the composed data."""
    responses: tuple[str, ...]
    """Ids of the jobs that asked the base; empty for a predictor that needs none of its answers."""
    confidence: float
    seed: int
    """Fixes random draws."""
    template_arguments: Mapping[str, Json] = field(default_factory=dict)
    """For the chat template, where the base reads the data."""

    @classmethod
    def make(cls, **fields: Any) -> PredictJob:
        """Return the job with the id of what decides the features; fields but id, kind and label as above.

        `responses` may be given whatever the predictor needs.
        """
        predictor: ResolvedPredictor = fields["predictor"]
        base: ModelRecord = fields["base"]
        arm, variants = fields["arm"], fields["variants"]
        fields["responses"] = tuple(fields["responses"]) if "own_answers" in predictor.needs else ()
        reads = "readings" in predictor.needs
        fields["template_arguments"] = dict(fields.get("template_arguments", {})) if reads else {}
        return cls(
            kind=cls.KIND,
            id=digest(
                cls.KIND,
                predictor.id,
                base.tokenizer_hash,
                variants,
                arm,
                fields["responses"],
                fields["confidence"],
                fields["seed"],
                *([READING, base.identity, fields["template_arguments"]] if reads else []),
            ),
            after=tuple(dict.fromkeys((variants, *fields["responses"]))),
            cost=0.5,
            label=f"forecast {arm} by {predictor.name}",
            alike=predictor.name,
            **fields,
        )

    def run(self, run: Run, folder: JobFolder) -> Output:
        """Compute the features. Raises StoreError where what they are made of is damaged or not done."""
        del folder
        variants = run.folder("variants", self.variants)
        conversations = conversations_of(VariantFiles(variants.path).arm(self.arm))
        data = TuningData(
            conversations=conversations,
            card=variants.document("cards")[self.arm],
            tokens=_tokens(self.base.path),
            own_answers=list(self._own_answers(run)),
            readings=self._readings(conversations),
        )
        rng = np.random.default_rng(seed_of(self.KIND, self.predictor.name, self.arm, self.seed))
        rows = [
            ForecastRow(
                predictor=self.predictor.name,
                base_model=self.base.name,
                arm=self.arm,
                confidence=self.confidence,
                feature=feature.name,
                **{f.name: getattr(feature, f.name) for f in dataclasses.fields(feature) if f.name != "name"},
            )
            for feature in self.predictor.get().features(data, rng, confidence=self.confidence)
        ]
        return Output(tables={TABLE: table(ForecastRow, rows)}, info={"rows": len(rows)})

    def _readings(self, conversations: Sequence[Conversation]) -> Sequence[RowReading | None]:
        if "readings" not in self.predictor.needs:
            return ()
        drawn = list(conversations)
        if len(drawn) > ROWS:
            drawn = random.Random(seed_of(self.KIND, "rows", self.seed)).sample(drawn, ROWS)
        arguments = self.template_arguments
        return base_pass.read(self.base.path, drawn, max_length=MAX_LENGTH, template_arguments=arguments)

    def _own_answers(self, run: Run) -> Iterator[OwnAnswer]:
        for id in self.responses:
            rows = records(Response, run.folder("responses", id).read("responses"))
            lowest = min((row.temperature for row in rows), default=0.0)
            for row in rows:
                if row.error is None and row.sample == 0 and row.temperature == lowest and row.text.strip():
                    yield OwnAnswer(row.text, f"{row.benchmark}/{row.cluster}")


def _tokens(base: str) -> Callable[[str], Sequence[int]]:
    from transformers import AutoTokenizer

    from aftertune.models.loading import read_tokenizer

    try:
        tokenizer = read_tokenizer(Path(base), AutoTokenizer)
    except ModelError as error:
        raise ModelError(f"{base}: {error}") from None

    def tokens(text: str) -> Sequence[int]:
        ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return tokens


def rows_of(run: Run, jobs: Iterable[PredictJob]) -> list[ForecastRow]:
    """Return the rows of finished jobs, in their order. Raises StoreError where one is damaged or not done."""
    return [row for job in jobs for row in records(ForecastRow, run.job(job).read(TABLE))]
