"""When a number carries a warning, at the edges that the constants name, and how warnings become one text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.deciding.warnings import as_text, recipe_refusal, sizes, unjudged_share
from aftertune.stats.estimate import Estimate


def sized(n: int, clusters: int, seeds: int = 1) -> list[str]:
    return sizes(Estimate(0.1, 0.0, 0.2, 0.05, math.inf, 0.05, n, clusters, seeds))


@pytest.mark.parametrize(
    ("n", "clusters", "seeds", "few"),
    [
        (100, 10, 5, []),
        (100, 10, 1, []),
        (99, 10, 1, ["only 99 prompts"]),
        (100, 9, 1, ["only 9 clusters"]),
        (100, 10, 4, ["only 4 training seeds"]),
        (100, 10, 2, ["only 2 training seeds"]),
        (5, 5, 1, ["only 5 prompts"]),
        (5, 4, 1, ["only 5 prompts", "only 4 clusters"]),
        (1, 1, 1, ["only 1 prompt"]),
        (200, 1, 1, ["one cluster: how clusters differ cannot be known, so every value is possible"]),
        (40, 2, 3, ["only 40 prompts", "only 2 clusters", "only 3 training seeds"]),
    ],
)
def test_small_sizes_are_told(n: int, clusters: int, seeds: int, few: list[str]) -> None:
    assert sized(n, clusters, seeds) == few


def test_no_estimate_has_no_sizes() -> None:
    assert sizes(None) == []


@given(st.integers(1, 9), st.integers(1, 4))
def test_prompts_that_are_their_own_clusters_are_warned_of_once(n: int, seeds: int) -> None:
    assert not any("cluster" in text for text in sized(n, n, seeds))


@pytest.mark.parametrize(
    ("lost", "asked", "told"),
    [(0, 0, False), (0, 100, False), (5, 100, False), (6, 100, True), (1, 19, True), (1, 20, False)],
)
def test_more_than_one_answer_in_twenty_is_many(lost: int, asked: int, told: bool) -> None:
    assert bool(unjudged_share(lost, asked, "a")) is told


def test_lost_answers_are_told_with_their_arm() -> None:
    assert unjudged_share(1234, 5678, "ärm") == ["1,234 of 5,678 answers of 'ärm' could not be judged"]


def test_one_checkpoint_of_seed_zero_has_a_known_seed() -> None:
    assert recipe_refusal(None) == "its training seed is unknown: says nothing about the recipe"
    for seed in (0, 7):
        assert recipe_refusal(seed).startswith("one training seed: says nothing about the recipe, which needs")


def test_a_text_names_each_warning_once_in_order() -> None:
    assert as_text(["b", "", "a", "b"]) == "b; a"
    assert as_text([]) == as_text(["", ""]) == ""


@given(st.lists(st.sampled_from(["", "few", "lost", "one seed"])))
def test_warnings_are_told_once_however_often_they_come(warnings: list[str]) -> None:
    assert as_text([*warnings, *warnings]) == as_text(warnings)
    assert set(filter(None, as_text(warnings).split("; "))) == set(warnings) - {""}
