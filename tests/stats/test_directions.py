"""Directions: a planted turn is recovered within its interval, the same model is at its ceiling, noise is in its null."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.stats.clusters import Codes
from aftertune.stats.directions import Comparison, compare, compare_recipe, draw_directions, random_cosines
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


# ---------------------------------------------------------------------------------------------- a recipe's seeds


def recipe(rng: np.random.Generator, turn: float, seeds: int, spread: float) -> tuple[Floats, list[Floats], Codes]:
    """Return a base's differences and those of models whose directions are turned by `turn` +- `spread`."""
    first, _, codes = planted(rng, 0.0)
    own = rng.normal(size=WIDTH) / math.sqrt(WIDTH)
    tuned = []
    for _ in range(seeds):
        angle = turn + spread * rng.normal()
        direction = np.zeros(WIDTH)
        direction[:2] = math.cos(angle) - 1, math.sin(angle)
        tuned.append(first + direction + 0.02 * own + rng.normal(size=first.shape) * 0.3 / math.sqrt(WIDTH))
    return first, tuned, codes


@pytest.mark.parametrize(("turn", "spread"), [(0.6, 0.0), (0.9, 0.15)])
def test_a_planted_turn_of_a_recipe_is_recovered_within_its_interval(turn: float, spread: float) -> None:
    covered, repeats = 0, 150
    truth = math.cos(turn) * math.exp(-(spread**2) / 2)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        result = compare_recipe(*recipe(rng, turn, 4, spread), rng, shuffles=1)
        assert result.disattenuated
        assert result.disattenuated.n_seeds == 4
        covered += result.disattenuated.low <= truth <= result.disattenuated.high
    assert 0.9 <= covered / repeats <= 0.995


def test_prompts_alone_would_say_too_much_of_a_recipe() -> None:
    """Seeds that differ widen the interval; the same models without their spread do not."""
    rng = np.random.default_rng(3)
    apart = compare_recipe(*recipe(rng, 0.6, 3, 0.4), rng, shuffles=1).disattenuated
    alike = compare_recipe(*recipe(rng, 0.6, 3, 0.0), rng, shuffles=1).disattenuated
    assert apart
    assert alike
    assert apart.high - apart.low > 3 * (alike.high - alike.low)


def test_one_seed_is_the_comparison_of_two_models() -> None:
    rng = np.random.default_rng(5)
    first, second, codes = planted(rng, 0.4)
    both = compare(first, second, codes, np.random.default_rng(1))
    alone = compare_recipe(first, [second], codes, np.random.default_rng(1))
    assert alone.disattenuated == both.disattenuated
    assert alone.same_prompts == both.same_prompts
    assert alone.cosine == both.cosine
    assert alone.ceiling == pytest.approx(both.ceiling)


def test_a_model_against_itself_has_no_p_value_but_one() -> None:
    first, _, codes = planted(np.random.default_rng(0), 0.0)
    result = compare_recipe(first, [first, first], codes, np.random.default_rng(0))
    assert result.p == 1
    assert result.disattenuated
    assert result.disattenuated.value == pytest.approx(1)
    assert result.disattenuated.high == pytest.approx(1)


def test_labels_that_say_nothing_give_p_values_that_are_uniform() -> None:
    """Where all pairs turn alike, a label is no better than a shuffled one."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first = rng.normal(size=(30, 16))
        turned = first @ np.linalg.qr(np.eye(16) + 0.2 * rng.normal(size=(16, 16)))[0]
        found.append(compare_recipe(first, [turned], np.arange(30), rng, shuffles=199).p)
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.045)
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_a_strong_direction_does_not_hide_in_its_own_null() -> None:
    """Shuffles that swap more clusters than they leave keep part of it: it is taken off before."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(12, 16))
    first, second = noise.copy(), noise + 0.02 * rng.normal(size=noise.shape)
    first[:, 0] += 20
    second[:, :2] += 20 * np.array([math.cos(0.4), math.sin(0.4)])
    codes = np.arange(12)
    assert compare_recipe(first, [second], codes, rng).p < 0.005
    low, _ = compare(first, second, codes, rng).same_prompts_null
    assert low < math.cos(0.4) + 0.01, "with it, the null turns as the direction does"


def test_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tuned model"):
        compare_recipe(np.ones((4, 2)), [], np.arange(4), np.random.default_rng(0))


def test_random_directions_have_the_covariance_of_the_activations() -> None:
    """In a plane of a wide space a random direction is near any other of that plane; everywhere, it is near none."""
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(2000, WIDTH))
    flat = np.zeros((2000, WIDTH))
    flat[:, 0] = rng.normal(size=2000)
    flat[:, 1] = 0.1 * rng.normal(size=2000)
    axis = np.eye(WIDTH)[0]
    low, high = random_cosines(axis, wide, rng)
    assert high == pytest.approx(1.96 / math.sqrt(WIDTH), abs=0.03)
    assert low == pytest.approx(-high, abs=0.04)
    assert random_cosines(axis, flat, rng) == pytest.approx((-1, 1), abs=0.02)
    assert np.linalg.norm(draw_directions(flat, rng, 5), axis=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="length 0"):
        random_cosines(np.zeros(WIDTH), wide, rng)


def principal_component(side: Floats) -> Floats:
    """Return the first principal component of one side's activations, as a singular value decomposition signs it."""
    _, _, rows = np.linalg.svd(side - side.mean(axis=0), full_matrices=False)
    return np.asarray(rows[0])


def test_the_sign_of_a_principal_component_of_one_side_is_no_finding() -> None:
    """A published "inversion" of a privacy direction was one: components of positive prompts, with any sign.

    Here nothing that tells the sides apart has changed: the second model's activations are the first's, and at most a
    few prompts are read more strongly. The mean difference stays; the component's cosine is anything between -1 and 1.
    """
    published, ours = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        codes = np.arange(40)
        spread = rng.normal(size=(40, WIDTH)) * np.linspace(3, 0.1, WIDTH)
        positive = spread + 6 * np.eye(WIDTH)[-1]
        negative = spread + 0.1 * rng.normal(size=(40, WIDTH))
        stronger = np.where(rng.random(40) < 0.5, 1.6, 0.8)[:, None]
        later = (spread * stronger + 6 * np.eye(WIDTH)[-1], spread * stronger + 0.1 * rng.normal(size=(40, WIDTH)))
        published.append(float(principal_component(positive) @ principal_component(later[0])))
        result = compare_recipe(positive - negative, [later[0] - later[1]], codes, rng, shuffles=99)
        assert result.disattenuated
        ours.append(result.disattenuated.value)
    assert min(published) < -0.5, "the published measure finds an inversion where there is none"
    assert np.mean(np.abs(published)) < 0.95
    assert ours == pytest.approx([1.0] * 40, abs=0.01)
