"""Prediction for a group never seen: what it returns where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aftertune.stats.group_prediction import (
    conformal_quantile,
    equal_weights,
    permuted,
    rank_correlation,
    refitted_p,
    ridge,
)


def test_without_a_penalty_it_finds_the_line_and_units_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    design = rng.normal(size=(40, 2))
    outcome = design @ np.array([2.0, -3.0])
    ones = np.ones(40)
    assert ridge(design, outcome, ones, 0.0) == pytest.approx([2.0, -3.0])
    scaled = ridge(design * [1.0, 1000.0], outcome, ones, 0.3)
    assert scaled * [1.0, 1000.0] == pytest.approx(ridge(design, outcome, ones, 0.3))
    assert ridge(np.c_[design[:, 0], np.zeros(40)], outcome, ones, 0.1)[1] == 0.0


def test_a_penalty_draws_towards_nothing_and_weights_count() -> None:
    design, outcome = np.array([[1.0], [1.0]]), np.array([0.0, 4.0])
    assert ridge(design, outcome, np.array([1.0, 3.0]), 0.0) == pytest.approx([3.0])
    assert ridge(design, outcome, np.ones(2), 1.0) == pytest.approx([1.0]), "half of the mean: penalty 1 on scale 1"
    with pytest.raises(ValueError, match="shapes"):
        ridge(design, outcome, np.ones(3), 1.0)


def test_every_group_weighs_the_same() -> None:
    weights = equal_weights(np.array([0, 0, 0, 1]))
    assert weights == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1.0])


def test_the_quantile_counts_groups_and_not_rows() -> None:
    scores = np.array([1.0, 2.0, 3.0, 4.0])
    assert conformal_quantile(scores, np.arange(4), 0.8) == 4.0, "4 of 5: the fifth is the new one"
    assert conformal_quantile(scores, np.arange(4), 0.81) == math.inf
    many = np.r_[np.full(1000, 9.0), scores]
    groups = np.r_[np.full(1000, 7), np.arange(4)]
    assert conformal_quantile(many, groups, 0.6) == 4.0, "a group of a thousand rows is one group of five"


@given(st.integers(0, 10_000))
def test_a_new_group_is_covered_as_often_as_is_said(seed: int) -> None:
    """Exchangeable groups with a random effect: exact coverage in the mean, so each draw stays in binomial bounds."""
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(60):
        effects = np.abs(rng.normal(size=12))
        scores = np.repeat(effects[:-1], 3) + 0.1 * rng.random(33)
        bound = conformal_quantile(scores, np.repeat(np.arange(11), 3), 0.8)
        hits += effects[-1] + 0.1 * rng.random() <= bound
    assert hits >= 32, "at 80 % nothing under 32 of 60 in a million"


def test_a_perfect_forecast_and_one_of_noise() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 3)
    outcome = np.repeat(rng.normal(size=12), 3) + 0.1 * rng.normal(size=36)
    perfect = rank_correlation(outcome, outcome, groups, rng, 200)
    assert perfect.value == pytest.approx(1.0)
    assert perfect.p == pytest.approx(1 / 201)
    assert (perfect.n, perfect.groups) == (36, 12)
    noise = [rank_correlation(rng.normal(size=36), outcome, groups, rng, 40) for _ in range(10)]
    assert sum(each.p is not None and each.p <= 0.05 for each in noise) <= 3
    assert all(each.low is not None and each.high is not None and each.low < each.high for each in noise)


def test_the_null_keeps_what_is_alike_within_groups_together() -> None:
    """Three groups that each move as one: a correlation of 1 over 30 rows is no more than one of 3! orders."""
    groups = np.repeat(np.arange(3), 10)
    found = rank_correlation(groups.astype(float), groups.astype(float), groups, np.random.default_rng(0), 400)
    assert found.p is not None
    assert 0.1 < found.p < 0.25
    assert found.low is None, "under five groups a bootstrap of groups says nothing"


def test_where_nothing_differs_there_is_no_correlation() -> None:
    found = rank_correlation(np.zeros(6), np.arange(6.0), np.arange(6), np.random.default_rng(0))
    assert (found.value, found.low, found.p) == (None, None, None)


def test_without_permutations_there_is_no_p() -> None:
    values, groups = np.arange(12.0), np.arange(12) // 2
    found = rank_correlation(values, values, groups, np.random.default_rng(0), 20, permutations=0)
    assert found.p is None
    assert found.low == pytest.approx(1.0)


def test_a_fit_made_anew_has_the_p_value_of_chance_where_one_held_fixed_leans_away() -> None:
    """Each group is predicted by the mean of the others, which knows nothing: p must be uniform, not near 1."""
    groups = np.repeat(np.arange(8), 3)

    def others(outcome: NDArray[np.float64]) -> NDArray[np.float64]:
        noise = np.random.default_rng(0).normal(size=len(outcome))  # the same number of each row
        return np.array([outcome[groups != code].mean() for code in groups]) + 0.02 * noise

    anew, fixed = [], []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        outcome = rng.normal(size=8)[groups] + 0.5 * rng.normal(size=24)
        found = rank_correlation(others(outcome), outcome, groups, rng, 20)
        p = refitted_p(found.value, outcome, groups, others, rng, 20)
        assert p is not None
        assert found.p is not None
        anew.append(p)
        fixed.append(found.p)
    assert 0.3 < np.mean(anew) < 0.7
    assert np.mean(fixed) > 0.9, "held fixed, the same predictions could never be called good"
    assert refitted_p(None, outcome, groups, others, rng, 5) is None


def test_permuted_outcomes_keep_what_is_alike_in_groups() -> None:
    groups = np.array([0, 0, 0, 1, 1, 2])
    for seed in range(20):
        found = permuted(groups * 1.0, groups, np.random.default_rng(seed))
        for code in range(3):
            assert len(set(found[groups == code].tolist())) == 1
