"""Answer form: length and format of the answers, and how many open as refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aftertune.forecasting import features
from aftertune.forecasting.predictor import Feature, Predictor, TuningData
from aftertune.plugins import Card


@dataclass(frozen=True)
class AnswerForm(Predictor):
    """Length and format of the tuning answers."""

    card: ClassVar[Card] = Card(
        about="Mean length of the trained answers in characters, and the shares with a list, with markdown, with a "
        "question, and that open as refusals do in English.",
        source="part of aftertune",
        licence="part of aftertune",
        positive="a share near 100 %: the tuned model will write so; refusals in the data teach to refuse",
        weaknesses="it goes by marks and openings, knows refusals in English only, and says nothing of drift",
    )

    def features(self, data: TuningData, rng: np.random.Generator, *, confidence: float) -> Sequence[Feature]:
        """Return the five features with intervals, conversations as clusters of answers."""
        del rng
        return features.form(data.conversations, confidence)


PLUGIN = AnswerForm
