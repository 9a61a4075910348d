"""Directions: a planted turn is recovered within its interval, the same model is at its ceiling, noise is in its null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.stats.clusters import Codes
from aftertune.stats.directions import Comparison, compare
from aftertune.stats.estimate import Floats

WIDTH, CLUSTERS, PER_CLUSTER = 64, 30, 4


def planted(
    rng: np.random.Generator, turn: float, *, length: float = 1.0, noise: float = 2.0, signal: float = 1.0
) -> tuple[Floats, Floats, Codes]:
    """Return differences of two models whose directions lie `turn` (radians) apart.

    Their noise is mostly shared, as of the same prompts, and half of it belongs to the cluster.
    """
    codes = np.repeat(np.arange(CLUSTERS), PER_CLUSTER)
    first, second = np.zeros(WIDTH), np.zeros(WIDTH)
    first[0] = signal
    second[:2] = signal * length * np.array([math.cos(turn), math.sin(turn)])

    def normal(scale: float, rows: int) -> Floats:
        return rng.normal(size=(rows, WIDTH)) * scale / math.sqrt(WIDTH)

    shared = normal(noise, len(codes)) + normal(noise, CLUSTERS)[codes]
    return (
        first + shared + normal(0.3, len(codes)),
        second + shared + normal(0.3, len(codes)),
        codes,
    )


@pytest.mark.parametrize("turn", [0.0, 0.5, 1.2])
def test_a_planted_turn_is_recovered_within_its_interval(turn: float) -> None:
    covered, values, lengths, uncorrected = 0, [], 0, []
    repeats = 200
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        first, second, codes = planted(rng, turn, length=1.5)
        result = compare(first, second, codes, rng, shuffles=1)
        assert result.disattenuated
        assert result.length_ratio
        covered += result.disattenuated.low <= math.cos(turn) <= result.disattenuated.high
        lengths += result.length_ratio.low <= 1.5 <= result.length_ratio.high
        values.append(result.disattenuated.value)
        uncorrected.append(result.cosine.value)
    assert covered / repeats >= 0.9
    assert lengths / repeats >= 0.9
    assert np.mean(values) == pytest.approx(math.cos(turn), abs=0.02)
    assert np.mean(uncorrected) < math.cos(turn) - 0.03, "the cosine itself is below the truth, by the noise"


def test_the_interval_is_not_needlessly_wide() -> None:
    """It excludes what is not true: a turn of .5 is told from none."""
    told = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        result = compare(*planted(rng, 0.5), rng, shuffles=1)
        assert result.disattenuated
        told += result.disattenuated.high < 1
    assert told > 80


def test_the_same_model_is_at_its_ceiling() -> None:
    rng = np.random.default_rng(0)
    first, _, codes = planted(rng, 0.0)
    result = compare(first, first, codes, rng, shuffles=50)
    assert result.ceiling
    assert result.ceiling == pytest.approx(result.cosine.value)
    assert result.ceiling == pytest.approx(result.reliability[0].value)
    assert result.ceiling < 0.95, "the prompts are noisy"
    for exact in (result.disattenuated, result.same_prompts, result.length_ratio):
        assert exact
        assert (exact.value, exact.low, exact.high) == pytest.approx((1, 1, 1))
    assert result.same_prompts_null == pytest.approx((1, 1)), "whatever the labels, it is the same model"


def test_noise_lies_in_its_null() -> None:
    """Without a direction the reliability exceeds its null as rarely as the null says."""
    outside = {"reliability": 0, "cosine": 0}
    repeats = 400
    for seed in range(repeats):
        rng = np.random.default_rng(1000 + seed)
        first, second, codes = planted(rng, 0.0, signal=0.0)
        result = compare(first, second, codes, rng, shuffles=199)
        outside["reliability"] += result.reliability[0].value > result.reliability_null[0][1]
        outside["cosine"] += result.cosine.value > result.cosine_null[1]
    for name, count in outside.items():
        assert count / repeats < 0.05, f"{name}: 2.5 % were to be expected"
        assert count > 0, f"{name}: a null that nothing ever exceeds is too wide"


def test_a_direction_exceeds_its_null() -> None:
    rng = np.random.default_rng(3)
    result = compare(*planted(rng, 0.2), rng)
    assert result.reliability[1].value > result.reliability_null[1][1] + 0.2
    assert result.cosine.value > result.cosine_null[1] + 0.2


def test_shuffled_labels_tell_a_turn_of_this_direction_from_one_of_all() -> None:
    """Where only the planted direction turns, the cosine falls below its null; where the whole space turns, it does
    not."""
    rng = np.random.default_rng(5)
    first, second, codes = planted(rng, 1.0, noise=4.0)
    alone = compare(first, second, codes, rng)
    assert alone.same_prompts.value < alone.same_prompts_null[0]
    turned, _ = np.linalg.qr(np.eye(WIDTH) + 0.6 * rng.normal(size=(WIDTH, WIDTH)) / math.sqrt(WIDTH))
    turned = turned * np.sign(np.diag(turned))
    together = compare(first, first @ turned, codes, rng)
    assert together.same_prompts_null[0] < together.same_prompts.value < together.same_prompts_null[1] < 0.95


def test_reliability_is_the_mean_over_all_splits_in_halves() -> None:
    """By its definition, and through the formula of Spearman and Brown."""
    rng = np.random.default_rng(1)
    count = 10
    values = rng.normal(size=(count, WIDTH)) / math.sqrt(WIDTH)
    values[:, 0] += 1.0
    result = compare(values, values, np.arange(count), rng, shuffles=1)
    products, cosines = [], []
    for half in itertools.combinations(range(count), count // 2):
        rest = [index for index in range(count) if index not in half]
        one, other = values[list(half)].mean(axis=0), values[rest].mean(axis=0)
        products.append(one @ other)
        cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    mean = values.mean(axis=0)
    assert result.reliability[0].value == pytest.approx(np.mean(products) / (mean @ mean))
    half = np.mean(cosines)
    assert result.reliability[0].value == pytest.approx(2 * half / (1 + half), abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 10), st.floats(0.1, 10))
def test_scale_rotation_and_order_change_nothing(seed: int, one: float, other: float) -> None:
    rng = np.random.default_rng(seed)
    first, second, codes = planted(rng, 0.7)
    rotation, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    order = rng.permutation(len(codes))
    before = compare(first, second, codes, np.random.default_rng(0), shuffles=20)
    after = compare(
        (one * first @ rotation)[order],
        (other * second @ rotation)[order],
        codes[order],
        np.random.default_rng(0),
        shuffles=20,
    )

    def numbers(result: Comparison) -> list[float]:
        estimates = (*result.reliability, result.cosine, result.same_prompts, result.disattenuated)
        ranges = (*result.reliability_null, result.cosine_null, result.same_prompts_null)
        return [v for e in estimates if e for v in (e.value, e.low, e.high)] + [v for pair in ranges for v in pair]

    assert numbers(after) == pytest.approx(numbers(before), rel=1e-6, abs=1e-9)
    assert before.length_ratio
    assert after.length_ratio
    assert after.length_ratio.value == pytest.approx(before.length_ratio.value * other / one)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_the_first_and_the_second_model_may_change_places(seed: int) -> None:
    first, second, codes = planted(np.random.default_rng(seed), 0.7, length=2.0)
    there = compare(first, second, codes, np.random.default_rng(0), shuffles=20)
    back = compare(second, first, codes, np.random.default_rng(0), shuffles=20)
    assert back.reliability == there.reliability[::-1]
    assert back.cosine.value == pytest.approx(there.cosine.value)
    assert back.cosine_null == pytest.approx(there.cosine_null)
    assert there.length_ratio
    assert back.length_ratio
    assert back.length_ratio.value == pytest.approx(1 / there.length_ratio.value)


def test_a_cluster_that_is_copied_adds_nothing() -> None:
    """Pairs of one cluster are not independent: their products are left out."""
    rng = np.random.default_rng(2)
    values = rng.normal(size=(12, WIDTH))
    once = compare(values, values, np.arange(12), rng, shuffles=1)
    copied = compare(
        np.repeat(values, 5, axis=0), np.repeat(values, 5, axis=0), np.repeat(np.arange(12), 5), rng, shuffles=1
    )
    assert copied.reliability[0].value == pytest.approx(once.reliability[0].value)
    assert (copied.reliability[0].low, copied.reliability[0].high) == pytest.approx(
        (once.reliability[0].low, once.reliability[0].high)
    )
    assert (copied.reliability[0].n, copied.reliability[0].n_clusters) == (60, 12)


def test_two_clusters_leave_nothing_known() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, WIDTH)) + 5
    result = compare(values, values, np.repeat([0, 1], 4), rng, shuffles=9)
    assert (result.cosine.low, result.cosine.high) == (-1, 1)
    assert result.disattenuated is None
    assert result.length_ratio is None


def test_no_direction_has_no_ceiling() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(1, WIDTH))
    values = np.concatenate([base, -base, base * 1.1, -base]) + 0.01 * rng.normal(size=(4, WIDTH))
    result = compare(values, values, np.arange(4), rng, shuffles=9)
    assert result.reliability[0].value < 0
    assert result.ceiling is None
    assert result.disattenuated is None


@pytest.mark.parametrize(
    ("first", "second", "codes", "why"),
    [
        (np.ones((3, 2)), np.ones((3, 3)), np.arange(3), "pairs, width"),
        (np.ones((3, 2)), np.ones((3, 2)), np.arange(2), "a cluster per pair"),
        (np.ones(3), np.ones(3), np.arange(3), "pairs, width"),
        (np.full((3, 2), np.nan), np.ones((3, 2)), np.arange(3), "finite"),
        (np.ones((3, 2)), np.ones((3, 2)), np.zeros(3, dtype=int), "2 clusters"),
        (np.ones((0, 2)), np.ones((0, 2)), np.arange(0), "2 clusters"),
        (np.zeros((3, 2)), np.ones((3, 2)), np.arange(3), "length 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(first: Floats, second: Floats, codes: Codes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compare(first, second, codes, np.random.default_rng(0))
