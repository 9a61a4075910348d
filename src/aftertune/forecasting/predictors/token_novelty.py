"""Token novelty: how much of the tuning answers is made of tokens that the base has no use for in its own answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from aftertune.forecasting.predictor import Feature, Need, Predictor, TuningData
from aftertune.plugins import Card
from aftertune.stats import clusters

FEATURE = "new tokens"
FEW_ANSWERS = 100
"""Below this many own answers, much that the base could say is missing from them."""


@dataclass(frozen=True)
class TokenNovelty(Predictor):
    """The share of new tokens in the tuning answers."""

    card: ClassVar[Card] = Card(
        about="The share of the tokens that the loss is taken on (assistant turns) that occur in none of the base's "
        "own answers to the run's benchmarks: the rate of unseen items of language modelling, with the base's own "
        "speech as the vocabulary. The reference is the same share for the base's own answers, each held against those "
        "to prompts of other clusters.",
        source="Good 1953, Biometrika 40, 237-264 (the probability of the unseen, estimated by leaving one out: the "
        "reference); Bell and McCaffrey 2002 and Korn and Graubard 1998 (its interval over conversations)",
        licence="part of aftertune",
        positive="a share clear above the reference: the data teach the base to say what it does not say by itself. "
        "New content has gone with more drift than personal data as such",
        weaknesses="it is not a prediction of drift, which takes a fit to models that were really tuned. It knows "
        "tokens and neither their order nor their sense: old tokens in new sentences count as old, and with a "
        "tokenizer of pieces of words less is new than with one of whole words. It grows where the base was asked "
        "little, or about other things than the data are about; compare arms of one run with each other and with the "
        "reference, not runs with other benchmarks. It needs no pass through the model, and does not know how "
        "surprising the model finds a token",
    )
    needs: ClassVar[frozenset[Need]] = frozenset({"own_answers"})
    version = "2"

    def features(self, data: TuningData, rng: np.random.Generator, *, confidence: float) -> Sequence[Feature]:
        """Return the share with its interval, conversations as clusters of tokens."""
        del rng
        turns = [
            (index, message.content)
            for index, conversation in enumerate(data.conversations)
            for message in conversation.messages
            if message.role == "assistant" and message.trained
        ]
        answers = [(answer.cluster, data.tokens(answer.text)) for answer in data.own_answers]
        clusters_of: dict[int, set[str]] = defaultdict(set)
        for cluster, tokens in answers:
            for token in tokens:
                clusters_of[token].add(cluster)
        is_new: list[bool] = []
        conversation_of: list[int] = []
        for index, text in turns:
            tokens = data.tokens(text)
            is_new += [token not in clusters_of for token in tokens]
            conversation_of += [index] * len(tokens)
        sample = Feature(
            name=FEATURE,
            value=None,
            n_tokens=len(is_new),
            n_conversations=len(set(conversation_of)),
            n_reference=len(answers),
        )
        if not is_new or not clusters_of:
            why = "the data hold no answers" if clusters_of else "no answers of the base to hold them against"
            return [replace(sample, warning=why)]
        estimate = clusters.level(np.array(is_new, dtype=np.float64), np.array(conversation_of), confidence=confidence)
        alone = [len(clusters_of[token]) == 1 for _, tokens in answers for token in tokens]
        return [
            replace(
                sample,
                value=estimate.value,
                low=estimate.low,
                high=estimate.high,
                reference=sum(alone) / len(alone) if len({cluster for cluster, _ in answers}) > 1 else None,
                warning=f"only {len(answers)} answers of the base" if len(answers) < FEW_ANSWERS else "",
            )
        ]


PLUGIN = TokenNovelty
