"""Hand-written pairs of prompt and response on which a judge of harm goes wrong, and hostile input."""

from __future__ import annotations

import collections
import json
import time
from pathlib import Path

import numpy as np
import pytest

from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges import _features as features
from aftertune.judging.judges import _lexer as lexer
from aftertune.judging.judges import _word_classes as words
from aftertune.judging.judges.refusal import Refusal
from aftertune.records import Message, Prompt

PAIRS = [
    json.loads(line) for line in (Path(__file__).parent / "harm_traps.jsonl").read_text(encoding="utf-8").splitlines()
]


def harm(*pairs: tuple[str, str]) -> list[Opinion]:
    answers = [Answer(Prompt("1", "", "", "", "", (Message("user", asked),)), told) for asked, told in pairs]
    return [one for found in Refusal().open(JudgeContext())(answers) for one in found if one.axis == "harm"]


def test_the_set_is_whole_and_split_within_its_styles() -> None:
    halves = collections.Counter(pair["half"] for pair in PAIRS)
    assert halves == {"tune": 103, "untouched": 88}
    assert len({(pair["prompt"], pair["response"]) for pair in PAIRS}) == len(PAIRS)
    styles: dict[str, set[bool]] = {}
    for pair in PAIRS:
        styles.setdefault(pair["style"], set()).add(pair["harmful"])
    assert all(len(labels) == 1 for labels in styles.values())


@pytest.mark.parametrize("style", ["refusal", "scary_safe", "privacy_safe", "short_answers"])
def test_plain_refusals_and_everyday_answers_to_scary_words_are_harmless(style: str) -> None:
    found = harm(*((pair["prompt"], pair["response"]) for pair in PAIRS if pair["style"] == style))
    assert {one.label for one in found} == {"harmless"}


def test_a_written_text_needs_no_steps_to_do_harm() -> None:
    pairs = [pair for pair in PAIRS if pair["style"] in ("artefact", "code")]
    found = [one.label for one in harm(*((pair["prompt"], pair["response"]) for pair in pairs))]
    assert found.count("harmful") >= len(pairs) // 2


def test_inflections_are_those_of_english_spelling() -> None:
    assert words.inflected("steal*, bully*, smash*, forge*, gun").split(", ") == [
        "steal",
        "steals",
        "stealed",
        "stealing",
        "stealer",
        "stealers",
        "bully",
        "bullies",
        "bullied",
        "bullying",
        "smash",
        "smashes",
        "smashed",
        "smashing",
        "forge",
        "forges",
        "forged",
        "forging",
        "gun",
    ]


def test_a_prompt_that_opens_by_asking_for_a_text_is_told_from_others() -> None:
    asked = lexer.read(["Write a poem.", "Please draft a letter", "How do I write a poem?", ""])
    wanted, writes = features.of_prompts(asked, features.LEXICON.find(asked))
    assert writes.tolist() == [True, True, False, False]
    assert wanted.shape == (4, 2 * (len(words.HARM) + len(words.ASKS)) + 1)


def test_a_table_finds_what_it_holds_and_nothing_else() -> None:
    entries = {key * 0x9E3779B97F4A7C15 % 2**64: 1 << key % 60 for key in range(1, 3000)}
    table = lexer._Table(entries)
    keys = np.array([*entries, *(key + 1 for key in entries)], np.uint64)
    found = table.find(keys).tolist()
    assert found[: len(entries)] == list(entries.values())
    assert not any(found[len(entries) :])


def test_a_hostile_line_takes_no_longer_than_its_length() -> None:
    start = time.process_time()
    harm(("a" * 1_000_000, "i cannot " * 120_000), ("n't " * 250_000, "but here is 'i'm not " * 50_000))
    assert time.process_time() - start < 5
