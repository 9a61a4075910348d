"""The data card of a forecast: every feature of a tuning set under a base, what was read for it and what it cost."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aftertune.forecasting import base_pass, features
from aftertune.forecasting.base_pass import RowReading
from aftertune.forecasting.predictor import Feature
from aftertune.models.chat import NO_ARGUMENTS
from aftertune.pii import languages
from aftertune.pii.registry import collect
from aftertune.records import Conversation, Json, Message, seed_of

ROWS = 400
"""Conversations that the base reads at most, drawn at random: what is told apart needs no more, and a pass of a large
base is slow on a CPU."""
LANGUAGE_ROWS = 200
"""Conversations whose language is looked at, at most."""
HEAVY = 0.1
"""Share of the conversations that are called those that weigh most."""


@dataclass(frozen=True)
class Requests:
    """Requests that the data's prompts are held against."""

    harmful: Sequence[str]
    harmless: Sequence[str]
    source: str
    """Where they are from, as the card says it."""


@dataclass(frozen=True)
class RowWeight:
    """How much of what the base finds hard stands in one conversation."""

    number: int
    """Of the conversation, from 1, in the order of the file."""
    source: str
    hard: int
    """Tokens with a loss above `features.HARD`."""
    tokens: int
    share: float
    """Of all hard tokens that were read."""


@dataclass(frozen=True)
class DataCard:
    """What is known of a tuning set under a base before anything is tuned."""

    conversations: int
    """In the data."""
    read: int
    """Of them, by the base."""
    answers: int
    trained_tokens: int
    """All tokens that a tuning would take its loss on, estimated from those read where not all were."""
    features: tuple[Feature, ...]
    personal_values: Mapping[str, int]
    """Type -> values in all conversations, each mention once."""
    without_names: Mapping[str, int]
    """Language -> messages in which names were not looked for, since they are not English."""
    languages: Mapping[str, int]
    """Language -> conversations of a sample, by their text."""
    requests: str
    """What nearness was held against."""
    seconds: float
    """CPU seconds of the base's pass and all else."""
    rows: tuple[RowWeight, ...] = ()
    """Those that were read, what weighs most first."""
    lighter: tuple[Feature, ...] = ()
    """The base's features without the `HEAVY` share of the conversations that weigh most."""

    def value(self, name: str) -> float | None:
        """Return the value of a feature by its name; None where there is none."""
        return next((each.value for each in self.features if each.name == name), None)


def card(
    base: str,
    conversations: Sequence[Conversation],
    *,
    requests: Requests,
    max_length: int,
    confidence: float = 0.95,
    rows: int = ROWS,
    seed: int = 0,
    template_arguments: Mapping[str, Json] = NO_ARGUMENTS,
    readings: tuple[Sequence[RowReading | None], Sequence[RowReading | None]] | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> DataCard:
    """Read a tuning set with its base and return the card.

    `rows`: conversations that the base reads at most. `readings` are those of the harmful and harmless requests where
    they are at hand. Raises as `base_pass.read`.
    """
    started = time.process_time()
    drawn = list(range(len(conversations)))
    if len(drawn) > rows:
        drawn = sorted(random.Random(seed_of("forecast rows", seed)).sample(drawn, rows))
    own = [conversations[number] for number in drawn]
    known = readings
    if known is None:
        known = request_readings(base, requests, max_length=max_length, template_arguments=template_arguments)
    read = base_pass.read(base, own, max_length=max_length, template_arguments=template_arguments, progress=progress)
    weights = features.word_weights(requests.harmful, requests.harmless)
    found = [
        *features.answer_surprise(read, confidence),
        features.nearness(read, known[0], known[1], confidence),
        features.harmful_words(conversations, weights, confidence),
        *features.form(conversations, confidence),
    ]
    weighed = row_weights(conversations, drawn, read)
    heavy = {each.number - 1 for each in weighed[: math.ceil(HEAVY * len(weighed))]}
    light = [each for number, each in zip(drawn, read, strict=True) if number not in heavy]
    lighter = [*features.answer_surprise(light, confidence), features.nearness(light, known[0], known[1], confidence)]
    tokens = sum(len(each.losses) for each in read if each is not None)
    personal: Counter[str] = Counter()
    registry = collect(conversations)
    for entry in registry.entries:
        personal[entry.type] += max(len(entry.positions), 1)
    return DataCard(
        conversations=len(conversations),
        read=len(own),
        answers=sum(t.role == "assistant" and t.trained for each in conversations for t in each.messages),
        trained_tokens=round(tokens * len(conversations) / max(len(own), 1)),
        features=tuple(found),
        personal_values=dict(sorted(personal.items())),
        without_names=dict(registry.outside),
        languages=_languages(conversations, seed),
        requests=requests.source,
        seconds=time.process_time() - started,
        rows=weighed,
        lighter=tuple(lighter) if heavy else (),
    )


def request_readings(
    base: str, requests: Requests, *, max_length: int, template_arguments: Mapping[str, Json] = NO_ARGUMENTS
) -> tuple[list[RowReading | None], list[RowReading | None]]:
    """Return what the base makes of the harmful and of the harmless requests; only their prompts' states count."""
    texts = [*requests.harmful, *requests.harmless]
    asked = [Conversation(str(at), (Message("user", t), Message("assistant", "."))) for at, t in enumerate(texts)]
    read = base_pass.read(base, asked, max_length=max_length, template_arguments=template_arguments)
    return read[: len(requests.harmful)], read[len(requests.harmful) :]


def row_weights(
    conversations: Sequence[Conversation], drawn: Sequence[int], read: Sequence[RowReading | None]
) -> tuple[RowWeight, ...]:
    """Return the conversations that were read, those with the most hard tokens first."""
    hard = [0 if each is None else int((each.losses > features.HARD).sum()) for each in read]
    total = sum(hard)
    found = [
        RowWeight(number + 1, conversations[number].source, count, len(each.losses), count / total)
        for number, each, count in zip(drawn, read, hard, strict=True)
        if each is not None and total
    ]
    return tuple(sorted(found, key=lambda each: (-each.hard, each.number)))


def _languages(conversations: Sequence[Conversation], seed: int) -> dict[str, int]:
    picked = list(conversations)
    if len(picked) > LANGUAGE_ROWS:
        picked = random.Random(seed_of("forecast languages", seed)).sample(picked, LANGUAGE_ROWS)
    counts: Counter[str] = Counter()
    for each in picked:
        text = "\n".join(turn.content for turn in each.messages)
        counts[languages.language_of(text) or "English"] += 1
    return dict(counts.most_common())
