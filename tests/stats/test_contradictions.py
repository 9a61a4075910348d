import itertools

import numpy as np
import pytest

from aftertune.stats.contradictions import mixed_signs, signed_movements


def test_movements_count_only_what_survives_holm() -> None:
    assert signed_movements([0.001, 0.02, 0.04, 0.5], [0.3, -0.2, 0.1, -0.1]) == [1, 0, 0, 0]
    assert signed_movements([0.001, 0.002], [0.3, -0.2]) == [1, -1]
    assert signed_movements([], []) == []
    with pytest.raises(ValueError, match="loss per p"):
        signed_movements([0.1], [])


def test_expected_rate_is_that_of_all_swaps() -> None:
    # Three clusters, two metrics: the eight swaps can be counted by hand.
    first, second = np.array([1.0, 1.0, -1.0]), np.array([-0.5, 1.0, 0.25])
    codes = np.arange(3)
    expected = np.mean(
        [np.sign(np.dot(s, first)) * np.sign(np.dot(s, second)) < 0 for s in itertools.product((-1, 1), repeat=3)]
    )
    found = mixed_signs([[first, second]], [codes, codes], np.random.default_rng(0), swaps=20_000)
    assert found.expected == pytest.approx(expected, abs=0.02)
    assert found.observed == 0.0
    assert (found.units, found.metrics) == (1, 2)


def test_two_reruns_of_one_model_are_mixed_half_of_the_time_without_any_drift() -> None:
    # Two metrics on different prompts: their signs are two coins.
    rng = np.random.default_rng(11)
    losses = [[rng.normal(size=100), rng.normal(size=100)] for _ in range(40)]
    codes = [np.arange(100), np.arange(100) + 100]
    found = mixed_signs(losses, codes, rng)
    assert found.expected == pytest.approx(0.5, abs=0.07)
    assert found.low < found.observed < found.high
    assert found.p > 0.05


def test_one_metric_seen_twice_is_never_mixed_and_opposites_always() -> None:
    rng = np.random.default_rng(2)
    moves = rng.choice([-1.0, 1.0], (10, 31))  # an odd number: never 0
    codes = [np.arange(31)] * 2
    same = mixed_signs([[row, row] for row in moves], codes, rng)
    assert (same.observed, same.expected) == (0.0, 0.0)
    against = mixed_signs([[row, -row] for row in moves], codes, rng)
    assert (against.observed, against.expected, against.p) == (1.0, 1.0, 1.0)


def test_real_contradictions_are_more_than_noise_and_clusters_swap_whole() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(30), 10)
    # In every unit one metric really rises and another really falls.
    rises, falls = (rng.choice([0.0, 1.0, -1.0], (12, 300), p=[0.6, 0.3, 0.1]) for _ in range(2))
    found = mixed_signs([[up, -down] for up, down in zip(rises, falls, strict=True)], [codes] * 2, rng)
    assert found.observed == 1.0
    assert found.expected < 0.8
    assert found.p < 0.2  # units that move alike are little more than one
    whole = mixed_signs([[np.ones(300), np.ones(300)]], [codes] * 2, rng)
    assert whole.expected == 0.0


def test_missing_metrics_and_wrong_shapes() -> None:
    rng = np.random.default_rng(4)
    codes = [np.arange(5), np.arange(5)]
    found = mixed_signs([[np.array([1.0, np.nan, 1, 1, 1]), None]], codes, rng)
    assert (found.observed, found.metrics) == (0.0, 1)
    with pytest.raises(ValueError, match="at least one unit"):
        mixed_signs([], codes, rng)
    with pytest.raises(ValueError, match="cluster per prompt"):
        mixed_signs([[np.ones(4), None]], codes, rng)
