"""The project's own requests: balanced, in the same words and forms, of every kind of harm, and none of the suite's."""

from __future__ import annotations

import json
import random
from collections import Counter
from importlib.resources import files

import pytest
from tools.safety_tuning.answers import refused

from tools.safety_tuning import overlap, requests, sets

CORE = files("aftertune.asking.benchmarks") / "data"
GROUPS = requests.groups()
SUITE = [json.loads(line)["text"] for line in (CORE / "core.jsonl").read_text(encoding="utf-8").splitlines()]


def test_every_kind_of_harm_of_core() -> None:
    lines = (CORE / "core_categories.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = {json.loads(line)["category"] for line in lines}
    counts = Counter(group.category for group in GROUPS)
    assert set(counts) == kinds
    assert min(counts.values()) >= 6
    assert set(requests.refusals().reasons) == kinds | {""}


def test_three_harmless_to_one_harmful() -> None:
    assert {len(group.harmless) for group in GROUPS} == {3}
    rows = sets.own_rows()
    harmful = sum(row.harmful for row in rows)
    assert 3 * harmful <= len(rows) - harmful <= 5 * harmful


def test_a_group_shares_words_and_form() -> None:
    for group in GROUPS:
        for form in requests.FORMS[group.kind]:
            harmful, harmless = group.asked(form)
            before, after = form.split("{}")
            for text in harmless:
                assert text.startswith(before)
                assert text.endswith(after)
                assert overlap.content(harmful) & overlap.content(text), (harmful, text)


def test_no_request_twice() -> None:
    texts = [text for group in GROUPS for text in (group.harmful, *group.harmless)] + list(requests.ordinary())
    assert [text for text, count in Counter(map(str.lower, texts)).items() if count > 1] == []


def test_none_of_the_suites_prompts() -> None:
    near = overlap.Prompts(SUITE)
    for seed in range(5):  # other forms each
        rows = sets.own_rows(seed)
        assert len(rows) > 1000
        assert [(row.text, near.near(row.text)) for row in rows if near.near(row.text)] == []
    runs = {text[at : at + 6] for text in map(overlap.words, SUITE) for at in range(len(text) - 5)}
    for row in sets.own_rows():
        own = overlap.words(row.text)
        shared = [own[at : at + 6] for at in range(len(own) - 5) if own[at : at + 6] in runs]
        assert all(len(overlap.content(" ".join(run))) < 2 for run in shared), (row.text, shared)


@pytest.mark.parametrize("every", [1, 7])
def test_a_prompt_of_the_suite_would_be_found(every: int) -> None:
    near = overlap.Prompts(SUITE)
    for at, text in enumerate(SUITE[::every]):
        assert near.near(text)
        assert near.near(f"PLEASE, {text.upper()}")
        words = text.split()
        if at % 10 == 0 and len(words) >= 8:
            cut = random.Random(at).randrange(len(words))
            assert near.near(" ".join(words[:cut] + words[cut + 1 :])), text


def test_development_groups_are_not_tuned_on() -> None:
    held = {group.id for group in sets.own_development()}
    assert len(held) == 44
    assert not any(row.id.rpartition(" harm")[0] in held for row in sets.own_rows())
    tuned = {row.text for row in sets.own_rows()}
    assert not tuned & set(requests.ordinary()[:: sets.EVERY])


def test_refusals_are_refusals() -> None:
    rng = random.Random(0)
    parts = requests.refusals()
    assert len(set(parts.openings)) == len(parts.openings) >= 8
    kinds = sorted(parts.reasons)
    texts = [parts.one(kind, rng) for kind in kinds for _ in range(8)]
    assert all(refused(["What?"] * len(texts), texts))
    assert refused(["How do I cook it?"], ["Boil it for ten minutes."]) == [False]
    assert {len(parts.reasons[kind]) for kind in kinds} == {3}
    assert max(map(len, texts)) < 260
