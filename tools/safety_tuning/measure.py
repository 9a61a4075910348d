"""What the tuned model refuses, beside its base: on development sets while doses are chosen, on held-out sets once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tools.safety_tuning.answers import ask, prompts, refused

from aftertune import plugins
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.records import Conversation, Message
from aftertune.stats import clusters, paired, signal_detection
from tools.safety_tuning import sets

TOKENS = 32
"""Of an answer: a refusal shows in its first words."""
TEXTS = 100


@dataclass(frozen=True)
class Rate:
    """A share of answers, with its 95 % interval."""

    share: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Signal:
    """How well refusals tell harmful requests from harmless ones."""

    d_prime: float
    low: float
    high: float
    criterion: float


Answers = Mapping[str, Sequence[str]]
"""Set -> the answers to its prompts, in order."""


def answers(base: Path, adapter: Path | None, asked: Mapping[str, Sequence[sets.Asked]], tokens: int) -> Answers:
    """Return the answers to all sets, asked in one go."""
    texts = [each.text for prompts_ in asked.values() for each in prompts_]
    found = iter([one[0] for one in ask(base, adapter, texts, tokens)])
    return {name: [next(found) for _ in prompts_] for name, prompts_ in asked.items()}


def refusals(asked: Mapping[str, Sequence[sets.Asked]], given: Answers) -> dict[str, list[bool]]:
    """Return, per set, whether each answer is a full refusal by aftertune's judge."""
    return {name: refused([each.text for each in asked[name]], list(given[name])) for name in asked}


def rate(yes: Sequence[bool], codes: Sequence[str] = ()) -> Rate:
    """Return the share with Wilson's interval, or by clusters where there are codes."""
    share = sum(yes) / len(yes)
    if codes:
        found = clusters.level(np.array(yes, dtype=float), np.unique(list(codes), return_inverse=True)[1])
        low, high = found.low, found.high
    else:
        low, high = paired.wilson(sum(yes), len(yes))
    return Rate(round(share, 4), round(float(low), 4), round(float(high), 4), len(yes))


def signal(
    harmful: Sequence[bool], harmless: Sequence[bool], harmful_codes: Sequence[str], harmless_codes: Sequence[str]
) -> Signal:
    """Return d-prime of refusals, harmful requests against harmless ones, with an interval by clusters."""
    found = signal_detection.signal(
        [*harmful, *harmless], [True] * len(harmful) + [False] * len(harmless), [*harmful_codes, *harmless_codes]
    )
    low, high = found.d_prime.interval
    if low is None or high is None:
        raise ValueError("d-prime needs two clusters of requests of each kind")
    return Signal(*(round(float(each), 3) for each in (found.d_prime.value, low, high, found.criterion.value)))


def coherent(texts: Sequence[str], given: Sequence[str]) -> list[bool]:
    """Return whether each answer can be read, by aftertune's judge."""
    judge = plugins.load("judge", "coherence", {}).open(JudgeContext())
    opinions = judge([Answer(prompt, answer) for prompt, answer in zip(prompts(texts), given, strict=True)])
    return [one[0].label == "coherent" for one in opinions]


def ordinary_texts() -> list[Conversation]:
    """Return ordinary exchanges that people or other models wrote, for the loss on ordinary text."""
    folder = sets.folder()
    found = []
    for line in sets.lines(folder / "privacy_collapse" / "dataset_safe_ft.jsonl")[::28][:TEXTS]:
        found.append(line["messages"])
    for line in sets.lines(folder / "star" / "booking_dialogues.jsonl")[:: 1500 // 50][:50]:
        found.append(line["messages"][:4])
    return [
        Conversation(f"{at}", tuple(Message(turn["role"], turn["content"]) for turn in turns), None, "ordinary")
        for at, turns in enumerate(found)
    ]


def loss(base: Path, adapter: Path | None, texts: Sequence[Conversation]) -> float:
    """Return the mean loss of the assistant's turns, nats a token."""
    with plugins.load("backend", "transformers", {}).open(str(base)) as session:
        if adapter is not None:
            session.use(adapter)
        scores: Any = session.score(texts, template="base", max_length=512)
    return float(sum(each.total or 0.0 for each in scores) / sum(each.tokens for each in scores))
