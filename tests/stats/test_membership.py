"""Membership and exposure: right on cases that can be counted by hand, and calibrated where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aftertune.stats import membership

Scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


@given(Scores, Scores)
def test_the_area_is_the_share_of_pairs_in_the_right_order(members: list[float], others: list[float]) -> None:
    pairs = [(x > y) + 0.5 * (x == y) for x in members for y in others]
    found = membership.roc_area(members, others)
    assert found.value == pytest.approx(float(np.mean(pairs)))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high > found.low, "an interval is never empty"
    swapped = membership.roc_area(others, members)
    assert swapped.value == pytest.approx(1 - found.value)
    assert (swapped.low, swapped.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-6)


def test_delong_by_hand() -> None:
    # Structural components 1, 1/2 of members and 1, 1/2 of others: variances 1/8 each over 2.
    found = membership.roc_area([3.0, 1.0], [0.0, 2.0])
    width = 1.959964 * math.sqrt(0.125 / 2 * 2) / (0.75 * 0.25)
    assert found.value == 0.75
    assert found.low == pytest.approx(1 / (1 + math.exp(-(math.log(3) - width))), abs=1e-6)


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.5), (1.0, 0.7602), (2.0, 0.9214)])
def test_the_areas_interval_covers_the_truth(shift: float, truth: float) -> None:
    rng = np.random.default_rng(1)
    runs = 600
    hits = 0
    for _ in range(runs):
        found = membership.roc_area(rng.normal(shift, 1, 60), rng.normal(0, 1, 90))
        hits += found.low <= truth <= found.high
    # 95 % of 600 is 570; five standard errors below it.
    assert hits / runs > 0.95 - 5 * math.sqrt(0.95 * 0.05 / runs)


def test_at_most_one_in_a_hundred_is_accused_falsely() -> None:
    rng = np.random.default_rng(2)
    for n in (100, 150, 199, 500):
        found = membership.tpr_at_fpr(rng.normal(size=300), rng.normal(size=n))
        assert found.false_positives <= 0.01 * n
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high


def test_the_null_gives_no_more_true_than_false_positives() -> None:
    rng = np.random.default_rng(3)
    rates = [membership.tpr_at_fpr(rng.normal(size=50), rng.normal(size=200)).value or 0.0 for _ in range(400)]
    # Of 200 others two may lie above; a member does with probability 3 / 201 at most.
    assert np.mean(rates) == pytest.approx(3 / 201, abs=0.005)


def test_ties_with_the_threshold_are_not_positives() -> None:
    found = membership.tpr_at_fpr([0.0] * 10, [0.0] * 100)
    assert found.value == 0
    assert found.false_positives == 0


def test_a_design_that_is_too_small_gives_no_headline() -> None:
    found = membership.tpr_at_fpr([1.0, 2.0], np.zeros(99))
    assert found.value is None
    assert "needs at least 100" in found.why
    assert membership.tpr_at_fpr([1.0], np.zeros(19), fpr=0.05).value is None
    assert membership.tpr_at_fpr([1.0], np.zeros(20), fpr=0.05).value == 1


def test_exposure_is_the_rank_in_bits() -> None:
    others = list(range(127))
    assert membership.exposure(1000.0, others) == 7
    assert membership.exposure(-1.0, others) == 0
    assert membership.exposure(125.5, others) == 6
    assert membership.rank_of(5.0, [5.0, 5.0, 6.0]) == 3


def test_an_unknown_canary_has_the_exposure_of_chance() -> None:
    rng = np.random.default_rng(4)
    pairs = [(float(rng.normal()), list(rng.normal(size=100))) for _ in range(3000)]
    found = membership.exposed(pairs)
    # The mean of -log2 of a uniform rank among 101.
    chance = float(np.mean([math.log2(101) - math.log2(rank) for rank in range(1, 102)]))
    assert found.exposure == pytest.approx(chance, abs=0.12)
    assert found.low < chance < found.high
    assert found.rank == pytest.approx(0.5, abs=0.03)
    assert found.tpr.value == pytest.approx(1 / 101, abs=0.008)


def test_a_canary_known_by_heart_reaches_the_most_that_its_twins_can_show() -> None:
    found = membership.exposed([(9.0, [0.0] * 100)] * 5)
    assert found.exposure == pytest.approx(math.log2(101))
    assert found.most == pytest.approx(found.high) == math.log2(101)
    assert 0 < found.low < found.exposure, "five canaries do not make a certainty"
    assert (found.tpr.value, found.tpr.positives, found.tpr.n) == (1.0, 5, 5)
    assert found.tpr.low == pytest.approx(0.025 ** (1 / 5))
    small = membership.exposed([(9.0, [0.0] * 60)] * 5)
    assert small.tpr.value is None
    assert "60 twins" in small.tpr.why


@settings(max_examples=30)
@given(st.sampled_from([[], [math.nan], [math.inf]]))
def test_what_is_not_a_number_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="scores"):
        membership.roc_area(bad, [1.0])
    with pytest.raises(ValueError, match="scores"):
        membership.tpr_at_fpr([1.0], bad)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_equal_scores_share_the_mean_of_their_ranks(scores: list[int]) -> None:
    values = np.array(scores, dtype=float)
    assert membership._ranks(values).tolist() == stats.rankdata(values).tolist()
