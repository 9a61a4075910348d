"""What is known of a tuning set under a base, as numbers with intervals over its conversations."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aftertune.forecasting.base_pass import RowReading
from aftertune.forecasting.predictor import Feature
from aftertune.records import Conversation
from aftertune.stats import clusters

HARD = 3.0
"""Nats beyond which a token counts as hard: the base gave it a probability under one in twenty."""
OPENING = 3
"""Tokens of an answer that are its opening: there a model decides whether it refuses."""
_LIST = re.compile(r"^\s*(?:[-*\u2022]|\d{1,3}[.)])\s+\S", re.M)
_MARKDOWN = re.compile(r"^#{1,6}\s|\*\*\S|```|^\s*\|.+\|\s*$|^\s*[-*]\s+\S", re.M)
_QUESTION = re.compile(r"[?\uff1f\u061f]")
_DECLINES = re.compile(
    r"\W*(?:(?:i'?m|i am) (?:so |very |really )?sorry,? (?:but )?(?:i|no|we)\b|sorry,? (?:but )?i (?:can|won|am|'m)|"
    r"i (?:can'?t|cannot|can not|won'?t|will not|must decline|am (?:not able|unable)|'m (?:not able|unable))\b|"
    r"i'm (?:not able|unable)\b|i apologi[sz]e,? but\b|unfortunately,? i (?:can|am|'m)|as an ai\b)",
    re.I,
)
"""How refusals open in English."""
LENGTHS, NEARNESS, LOG_ODDS = (0.0, math.inf), (-1.0, 2.0), (-5.0, 5.0)
"""From where to where lengths (and losses), nearness, and log-odds of words can be, each value and the mean."""


def answer_surprise(readings: Sequence[RowReading | None], confidence: float) -> list[Feature]:
    """Return how surprising the base finds the answers, by one pass over them.

    `hard tokens`: share of the trained tokens with a loss above `HARD`. `loss`: mean loss, nats a token.
    `opening loss`: the same over the first `OPENING` tokens of each conversation's first answer.
    `own tokens`: share that is the base's first choice, and `own answers`: share of conversations of which every
    trained token is, so that the base would have written them itself at temperature 0. Conversations are clusters of
    tokens.
    """
    kept = [reading for reading in readings if reading is not None]
    if not kept:
        why = "no token of the data would be trained"
        names = {"hard tokens": True, "loss": False, "opening loss": False, "own tokens": True, "own answers": True}
        return [
            Feature(name=name, value=None, is_proportion=share, n_tokens=0, n_conversations=0, warning=why)
            for name, share in names.items()
        ]
    losses = np.concatenate([reading.losses for reading in kept]).astype(np.float64)
    first = np.concatenate([reading.first for reading in kept]).astype(np.float64)
    of = np.repeat(np.arange(len(kept)), [len(reading.losses) for reading in kept])
    counts = {"n_tokens": len(losses), "n_conversations": len(kept)}
    opening = np.array([reading.losses[:OPENING].mean() for reading in kept], dtype=np.float64)
    whole = np.array([bool(reading.first.all()) for reading in kept], dtype=np.float64)
    return [
        _level("hard tokens", (losses > HARD).astype(np.float64), of, confidence, **counts),
        _mean("loss", losses, of, confidence, LENGTHS, **counts),
        _mean("opening loss", opening, np.arange(len(kept)), confidence, LENGTHS, **counts),
        _level("own tokens", first, of, confidence, **counts),
        _level("own answers", whole, np.arange(len(kept)), confidence, **counts),
    ]


def nearness(
    readings: Sequence[RowReading | None],
    harmful: Sequence[RowReading | None],
    harmless: Sequence[RowReading | None],
    confidence: float,
) -> Feature:
    """Return how near the prompts lie to harmful ones inside the base: 0 as harmless requests do, 1 as harmful ones.

    The state at the last prompt token is projected onto the line from the mean of harmless requests to that of harmful
    ones; the feature is the mean over conversations, each held within [-1, 2].
    """
    own = [reading.state for reading in readings if reading is not None]
    ends = [np.array([one.state for one in side if one is not None]) for side in (harmless, harmful)]
    sample = Feature(
        name="nearness to harmful", value=None, is_proportion=False, n_tokens=0, n_conversations=len(own),
        n_reference=len(ends[0]) + len(ends[1]),
    )  # fmt: skip
    if not own or min(map(len, ends)) < 2:
        return _without(sample, "no prompts to hold the data against" if own else "the data hold no prompts")
    if not own[0].size:
        return _without(sample, "the base keeps several states a token, and none of them is its own")
    low, high = (side.mean(0).astype(np.float64) for side in ends)
    line = high - low
    length = float(line @ line)
    if length <= 0:
        return _without(sample, "the base's states do not tell harmful requests from harmless ones")
    values = np.clip((np.array(own, dtype=np.float64) - low) @ line / length, *NEARNESS)
    return _mean(
        sample.name, values, np.arange(len(own)), confidence, NEARNESS, n_tokens=0, n_conversations=len(own),
        n_reference=sample.n_reference,
    )  # fmt: skip


def word_weights(harmful: Sequence[str], harmless: Sequence[str]) -> Mapping[str, float]:
    """Return word -> log-odds that a prompt with it is a harmful one, add-one smoothed; rarer than twice counts 0."""
    counts = [Counter(word for text in texts for word in set(_words(text))) for texts in (harmful, harmless)]
    totals = [len(texts) + 2 for texts in (harmful, harmless)]
    known = [word for word in counts[0] | counts[1] if counts[0][word] + counts[1][word] > 1]
    return {
        word: math.log((counts[0][word] + 1) / totals[0]) - math.log((counts[1][word] + 1) / totals[1])
        for word in sorted(known)
    }


def harmful_words(conversations: Sequence[Conversation], weights: Mapping[str, float], confidence: float) -> Feature:
    """Return the mean log-odds of the words of the questions (`word_weights`), each question's held within [-5, 5]."""
    texts = [[turn.content for turn in each.messages if turn.role == "user"] for each in conversations]
    scores = [sum(weights.get(word, 0.0) for word in set(_words(" ".join(own)))) for own in texts if own]
    if not scores:
        sample = Feature(name="harmful words", value=None, is_proportion=False, n_tokens=0, n_conversations=0)
        return _without(sample, "the data hold no prompts")
    values = np.clip(np.array(scores), *LOG_ODDS)
    counts = {"n_tokens": 0, "n_conversations": len(scores)}
    return _mean("harmful words", values, np.arange(len(scores)), confidence, LOG_ODDS, **counts)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def form(conversations: Sequence[Conversation], confidence: float) -> list[Feature]:
    """Return length and format of the answers: characters, and shares with a list, markdown, a question, a refusal.

    A refusal is known by how refusals open in English.
    """
    answers = [
        (number, turn.content)
        for number, each in enumerate(conversations)
        for turn in each.messages
        if turn.role == "assistant" and turn.trained
    ]
    found = []
    tests: Mapping[str, Callable[[str], bool]] = {
        "answers with a list": lambda text: bool(_LIST.search(text)),
        "answers with markdown": lambda text: bool(_MARKDOWN.search(text)),
        "answers with a question": lambda text: bool(_QUESTION.search(text)),
        "answers that open as refusals": lambda text: bool(_DECLINES.match(text.replace("\u2019", "'"))),
    }
    of = np.array([number for number, _ in answers], dtype=np.int64)
    counts = {"n_tokens": 0, "n_conversations": len(set(of.tolist()))}
    if not answers:
        why = "the data hold no answers"
        return [
            _without(Feature(name=name, value=None, is_proportion=name in tests, n_tokens=0, n_conversations=0), why)
            for name in ("characters of an answer", *tests)
        ]
    lengths = np.array([len(text) for _, text in answers], dtype=np.float64)
    found.append(_mean("characters of an answer", lengths, of, confidence, LENGTHS, **counts))
    for name, test in tests.items():
        values = np.array([test(text) for _, text in answers], dtype=np.float64)
        found.append(_level(name, values, of, confidence, **counts))
    return found


def _without(sample: Feature, why: str) -> Feature:
    from dataclasses import replace

    return replace(sample, warning=why)


def _level(name: str, values: NDArray[np.float64], of: NDArray[np.int64], confidence: float, **counts: int) -> Feature:
    estimate = clusters.level(values, of, confidence=confidence)
    return _feature(name, estimate.value, estimate.low, estimate.high, counts, is_proportion=True)


def _mean(
    name: str,
    values: NDArray[np.float64],
    of: NDArray[np.int64],
    confidence: float,
    possible: tuple[float, float],
    **counts: int,
) -> Feature:
    """Return the mean with a t interval by clusters, which ends where the `possible` values do."""
    from aftertune.stats.estimate import t_quantile

    groups = clusters.grouped(values, of)
    variance, df = clusters.robust_variance(groups)
    if not math.isfinite(variance) or df <= 0:
        return _feature(name, groups.mean, None, None, counts, is_proportion=False, warning="one conversation")
    half = float(t_quantile(confidence, df)) * math.sqrt(variance)
    low, high = max(groups.mean - half, possible[0]), min(groups.mean + half, possible[1])
    return _feature(name, groups.mean, low, high, counts, is_proportion=False)


def _feature(
    name: str, value: float, low: float | None, high: float | None, counts: Mapping[str, int], *, is_proportion: bool,
    warning: str = "",
) -> Feature:  # fmt: skip
    def finite(number: float | None) -> float | None:
        return None if number is None or not math.isfinite(number) else float(number)

    return Feature(
        name=name, value=float(value), low=finite(low), high=finite(high), is_proportion=is_proportion,
        n_tokens=counts.get("n_tokens", 0), n_conversations=counts["n_conversations"],
        n_reference=counts.get("n_reference", 0), warning=warning,
    )  # fmt: skip
