"""The area under the ROC curve of clustered trials: against its definition, and its interval against simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.stats.ranking import area, change


def by_definition(signal: list[float], noise: list[float]) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a in signal for b in noise]
    return sum(pairs) / len(pairs)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6).map(float), min_size=2, max_size=12),
    st.lists(st.integers(0, 6).map(float), min_size=2, max_size=12),
)
def test_it_is_the_chance_that_one_of_the_first_lies_above_one_of_the_second(
    signal: list[float], noise: list[float]
) -> None:
    is_signal = [True] * len(signal) + [False] * len(noise)
    clusters = list(range(len(is_signal)))
    found = area([*signal, *noise], is_signal, clusters)
    assert found.value == pytest.approx(by_definition(signal, noise))
    assert 0 <= found.low <= found.value <= found.high <= 1
    turned = area([-each for each in (*signal, *noise)], is_signal, clusters)
    assert turned.value == pytest.approx(1 - found.value)
    assert turned.low == pytest.approx(1 - found.high)


def test_without_clusters_its_variance_is_that_of_delong() -> None:
    rng = np.random.default_rng(1)
    signal, noise = rng.normal(0.7, 1, 60), rng.normal(0, 1, 80)
    found = area([*signal, *noise], [True] * 60 + [False] * 80, range(140), confidence=0.95)
    above = np.array([np.mean((each > noise) + 0.5 * (each == noise)) for each in signal])
    below = np.array([np.mean((signal > each) + 0.5 * (signal == each)) for each in noise])
    delong = above.var(ddof=1) / 60 + below.var(ddof=1) / 80
    half = (found.high - found.low) / 2
    assert half == pytest.approx(2.0010 * delong**0.5, rel=0.005), "Student's quantile with 59 degrees of freedom"


def test_a_trial_without_a_score_is_left_out_and_one_cluster_says_nothing() -> None:
    scores, classes, clusters = [3.0, 2.0, np.nan, 1.0, 0.0], [True, True, True, False, False], [0, 1, 2, 3, 4]
    assert area(scores, classes, clusters) == area(
        scores[:2] + scores[3:], classes[:2] + classes[3:], clusters[:2] + clusters[3:]
    )
    for broken in ([0, 0, 0, 1, 2], [0, 1, 2, 3, 3]):
        with pytest.raises(ValueError, match="trials of two clusters"):
            area(scores, classes, broken)
    with pytest.raises(ValueError, match="one entry per trial"):
        area(scores, classes[:-1], clusters)


def test_a_change_is_paired_and_nothing_moved_is_not_for_certain_nothing() -> None:
    rng = np.random.default_rng(2)
    classes, clusters = np.arange(80) % 2 == 0, np.arange(80) // 2
    base = rng.normal(0, 1, 80) + classes
    assert area(base, classes, clusters).value > 0.6
    same = change(base, base, classes, clusters)
    assert same.value == 0
    assert same.low == pytest.approx(-same.high)
    assert 0.05 < same.high < 0.12, "what 40 trials a class cannot rule out"
    near = change(base, base + rng.normal(0, 0.05, 80), classes, clusters)
    apart = area(base, classes, clusters)
    assert near.high - near.low < 0.9 * (apart.high - apart.low)
    missing = np.where(np.arange(80) < 4, np.nan, base)
    assert change(missing, base, classes, clusters).value == 0, "on the trials that both have"


@pytest.mark.parametrize(("shift", "shared"), [(0.0, 0.0), (0.0, 0.7), (1.0, 0.7)])
def test_the_interval_holds_the_truth(shift: float, shared: float) -> None:
    """Thirty clusters of two trials of either class; by chance 2.7 % of 600 runs lie 1.8 points off."""
    rng = np.random.default_rng(3)
    groups, size, runs = 30, 2, 600
    classes = np.tile(np.repeat([True, False], size), groups)
    clusters = np.repeat(np.arange(groups), 2 * size)
    truth = float(np.mean(rng.normal(shift, 1, 200_000) > rng.normal(0, 1, 200_000)))
    held = 0
    for _ in range(runs):
        # What a cluster has in common lifts one class in it and not the other, or neither would matter to the area.
        own = rng.normal(0, 1, (groups, 2)).repeat(size, axis=1).ravel()
        values = shared**0.5 * own + (1 - shared) ** 0.5 * rng.normal(0, 1, clusters.size) + shift * classes
        found = area(values, classes, clusters)
        held += found.low <= truth <= found.high
    assert 0.925 <= held / runs <= 0.985
