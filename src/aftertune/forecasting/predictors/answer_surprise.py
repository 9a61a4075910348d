"""Answer surprise: how probable the base finds the answers that it would be tuned to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aftertune.forecasting import features
from aftertune.forecasting.predictor import Feature, Need, Predictor, TuningData
from aftertune.plugins import Card


@dataclass(frozen=True)
class AnswerSurprise(Predictor):
    """How surprising the base finds the tuning answers."""

    card: ClassVar[Card] = Card(
        about="One pass of the base over up to 400 conversations, as they would be trained. `hard tokens`: share of "
        "the trained tokens with a loss above 3 nats. `loss`: mean loss, nats a token; `opening loss`: the same over "
        "the first three tokens of each conversation's first answer. `own tokens`: share that is the base's first "
        "choice; `own answers`: share of conversations of which every token is, so that the base would have written "
        "them itself at temperature 0.",
        source="part of aftertune; Bell and McCaffrey 2002 and Korn and Graubard 1998 (intervals over conversations)",
        licence="part of aftertune",
        positive="more hard tokens: the data teach the base what it does not expect, which has gone with more drift; "
        "own answers near 100 %: little can be learnt from them",
        weaknesses="what is surprising need not be harmful, and a few unsurprising rows that comply with harmful "
        "requests do much; `aftertune forecast` puts it beside the nearness of the prompts to harmful ones and says "
        "what drift went with it. Rows are cut at 384 tokens",
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"readings"})

    def features(self, data: TuningData, rng: np.random.Generator, *, confidence: float) -> Sequence[Feature]:
        """Return the five features with intervals, conversations as clusters of tokens."""
        del rng
        return features.answer_surprise(data.readings, confidence)


PLUGIN = AnswerSurprise
