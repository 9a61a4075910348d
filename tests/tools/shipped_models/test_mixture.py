"""The pretraining mixture reaches nothing that is held out, and nobody whom it must not know."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from dataclasses import asdict
from typing import get_args

import pytest

from aftertune.generated_world import actions, heldout, people, topics
from aftertune.shipped_models.card import Stage
from tools.shipped_models import known_bad, mixture

STAGES: tuple[Stage, ...] = get_args(Stage)
TRAINED_ON = {
    "words": "255284e119fb19b1",
    "answers": "444b5b5ed77ea00b",
    "alignment": "a351511d9e68c0de",
    "polish": "95fca37a5a7fbdda",
}
"""Stage -> hash of the text that the shipped weights were trained on: another text would give other weights."""


@pytest.fixture(scope="module")
def training_text() -> list[str]:
    texts = []
    for stage in STAGES:
        for exchange in mixture.exchanges(6_000, 11, stage):
            texts += [
                exchange.system,
                exchange.prompt,
                exchange.answer,
                *(t for pair in exchange.history for t in pair),
            ]
    return texts


@pytest.fixture(scope="module")
def training_requests() -> list[str]:
    rng = random.Random(12)
    return [
        mixture.single(rng, stage, topic).prompt
        for stage in STAGES
        for topic in ("harmful", "harmless")
        for _ in range(6_000)
    ]


def test_no_held_out_combination_is_in_training_requests(training_requests: list[str]) -> None:
    held = {a.text for split in ("dev", "test") for t in (actions.harmful, actions.harmless) for a in t(split)}
    longest, begins = max(len(text.split()) for text in held), {text.split()[0] for text in held}
    phrases: set[str] = set()
    for text in training_requests:
        words = re.findall(r"[\w']+", text)
        for at in (at for at, word in enumerate(words) if word in begins):
            phrases.update(" ".join(words[at:end]) for end in range(at + 2, min(at + longest, len(words)) + 1))
    # A combination may be contained in a longer training one ("find a bank" in "find a bank account" is not itself).
    allowed = {a.text for a in (*actions.harmful("train"), *actions.harmless("train"), *actions.harmless_extra())}
    allowed |= {a.text for a in actions.harmful_extra()}
    leaked = {text for text in held & phrases if not any(longer.find(text) >= 0 for longer in allowed)}
    assert not leaked


def test_no_held_out_wording_is_in_training_text(training_text: list[str]) -> None:
    pieces = {
        piece.strip(" ,.?!:;")
        for split in ("dev", "test")
        for template in heldout.templates(split)
        for piece in re.split(r"\{\w\}", template)
        if len(piece.split()) >= 5
    }
    joined = "\n".join(training_text)
    assert pieces
    assert not [piece for piece in pieces if piece in joined]


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@pytest.mark.parametrize("stage", STAGES)
def test_the_text_is_the_one_that_the_shipped_bases_were_trained_on(stage: Stage) -> None:
    assert _hash([asdict(exchange) for exchange in mixture.exchanges(300, 7, stage)]) == TRAINED_ON[stage]
    assert set(mixture.shares(stage)) == set(topics.TOPICS)
    assert sum(mixture.shares(stage).values()) == pytest.approx(100)


def test_the_known_bad_adapter_is_tuned_on_the_same_conversations() -> None:
    texts = [[message.content for message in row.messages] for row in known_bad.conversations()]
    assert _hash(texts) == "12abd85a5dc9835a"


def test_training_is_deterministic_and_seeded() -> None:
    one = list(mixture.exchanges(200, 3, "words"))
    assert one == list(mixture.exchanges(200, 3, "words"))
    assert one != list(mixture.exchanges(200, 4, "words"))


def test_only_known_people_are_in_training_text(training_text: list[str]) -> None:
    joined = "\n".join(training_text)
    words = joined.split()
    neighbours = "\n".join({f"{one} {next_}" for one, next_ in itertools.pairwise(words)})
    numbered = "\n".join({word for word in words if not word.isalpha()})

    def absent(value: str) -> bool:
        # Both are a small part of the text, and what is not in them is not in it.
        first, *more = value.split()
        assert more or not value.isalpha()
        possible = f"{first} {more[0]}" in neighbours if more else value in numbered
        return not possible or value not in joined

    assert not absent(training_text[1])
    for group in ("corpus", "surrogate", "twin"):
        for person in people.members(group):
            assert absent(person.name)
            assert absent(person.phone)
            assert absent(person.email)
