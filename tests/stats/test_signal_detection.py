"""Signal detection: by hand, by its symmetries, and where trials are not independent."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm, t

from aftertune.stats import signal_detection as detection
from aftertune.stats.signal_detection import Signal, change, signal

Trials = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]


def counts(hits: int, n: int, alarms: int, m: int) -> Trials:
    """Independent trials: a cluster each."""
    yes = [1.0] * hits + [0.0] * (n - hits) + [1.0] * alarms + [0.0] * (m - alarms)
    return np.array(yes), np.arange(n + m) < n, np.arange(n + m)


def of(hits: int, n: int, alarms: int, m: int) -> Signal:
    return signal(*counts(hits, n, alarms, m))


def test_by_hand() -> None:
    # 40 of 50 hits and 10 of 50 false alarms: (40.5 / 51, 10.5 / 51).
    found = of(40, 50, 10, 50)
    high, low = norm.ppf(40.5 / 51), norm.ppf(10.5 / 51)
    assert found.d_prime.value == pytest.approx(high - low)
    assert found.criterion.value == pytest.approx(0, abs=1e-12)
    assert (found.hit_rate, found.false_alarm_rate, found.accuracy) == pytest.approx((0.8, 0.2, 0.8))
    assert (found.n_signal, found.n_noise, found.n_clusters, found.n_seeds) == (50, 50, 100, 1)
    # Each class: p (1 - p) / 50 at the corrected rate, over the squared density there; t with 49 degrees of freedom.
    one = 40.5 / 51 * 10.5 / 51 / 50 / norm.pdf(high) ** 2
    half = t.ppf(0.975, 49) * math.sqrt(2 * one)
    assert (found.d_prime.low, found.d_prime.high) == pytest.approx((high - low - half, high - low + half))
    assert found.criterion.high == pytest.approx(half / 2)


def test_clusters_by_hand() -> None:
    # Two trials of each class in each of four clusters; hits 2, 2, 1, 1 and false alarms 1, 1, 0, 0.
    yes = np.array([1, 1, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0], dtype=float)
    classes, codes = np.tile([True, True, False, False], 4), np.repeat(np.arange(4), 4)
    found = signal(yes, classes, codes)
    high, low = norm.ppf(6.5 / 9), norm.ppf(2.5 / 9)
    assert found.d_prime.value == pytest.approx(high - low)
    # A cluster is off by +-1/2 trial in both classes, so that its luck cancels in d-prime and doubles in the criterion;
    # CR2 divides by 1 - 1/4. d-prime is left with what eight trials cannot rule out, at most what independent ones have.
    own = 4 * (0.5 / 8 / norm.pdf(high)) ** 2 / 0.75
    least = 6.5 / 9 * 2.5 / 9 / 8 / norm.pdf(high) ** 2
    assert least > own
    quantile = t.ppf(0.975, 3)
    unseen = norm.ppf(0.975) / (8 + norm.ppf(0.975) ** 2) / norm.pdf(high)
    assert 2 * (least - own) < unseen**2 < 2 * least
    assert found.d_prime.high - found.d_prime.value == pytest.approx(quantile * unseen)
    wide = math.sqrt(4 * own + 2 * (least - own)) / 2
    assert found.criterion.high - found.criterion.value == pytest.approx(quantile * wide)


def test_who_names_the_same_letter_whatever_is_asked_is_blind_but_not_for_certain() -> None:
    """A hundred items, each asked once where sharing is right and once where it is wrong; the letters of half of them stand
    in the other order, and the answer is always the first."""
    first_is_yes = np.repeat(np.arange(100) % 2 == 0, 2)
    found = signal(first_is_yes.astype(float), np.tile([True, False], 100), np.repeat(np.arange(100), 2))
    assert found.d_prime.value == 0
    # 3.84 / (100 + 3.84) of a class cannot be ruled out, over the density at one half.
    half = norm.ppf(0.975) / (100 + norm.ppf(0.975) ** 2) / norm.pdf(0) * t.ppf(0.975, 99)
    assert (found.d_prime.low, found.d_prime.high) == pytest.approx((-half, half))
    assert 0.09 < half < 0.1


def test_no_to_everything_is_half_right_and_blind() -> None:
    found = of(0, 100, 0, 100)
    assert found.accuracy == 0.5
    assert found.d_prime.value == 0
    assert found.criterion.value > 2
    assert found.d_prime.low < 0 < found.d_prime.high
    assert of(100, 100, 100, 100).criterion.value == pytest.approx(-found.criterion.value)


@given(st.integers(2, 60), st.integers(2, 60), st.data())
def test_swapping_the_classes_turns_d_prime_and_keeps_the_criterion(n: int, m: int, data: st.DataObject) -> None:
    hits, alarms = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    one, other = of(hits, n, alarms, m), of(alarms, m, hits, n)
    assert other.d_prime.value == pytest.approx(-one.d_prime.value)
    assert other.d_prime.low == pytest.approx(-one.d_prime.high)
    assert other.criterion.value == pytest.approx(one.criterion.value)
    assert np.isfinite([*one.d_prime.interval, *one.criterion.interval]).all()
    assert one.d_prime.high > one.d_prime.low, "never a zero-width interval"


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_neither_order_nor_names_of_clusters_count(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    yes, classes, codes = rng.random((k, 24)) < 0.4, np.arange(24) % 2 == 0, rng.integers(0, 6, 24)
    order = rng.permutation(24)
    one = signal(yes, classes, codes)
    other = signal(yes[:, order][::-1], classes[order], [f"c{code}" for code in codes[order]])
    for name in ("d_prime", "criterion"):
        first, second = getattr(one, name), getattr(other, name)
        assert (second.value, second.low, second.high) == pytest.approx((first.value, first.low, first.high))


def test_what_classes_share_cancels_in_d_prime_and_counts_in_the_criterion() -> None:
    rng = np.random.default_rng(3)
    own = rng.normal(0, 1.5, 120)[:, None]
    signals, noises = rng.normal(0.5, 1, (120, 2)) > own, rng.normal(-0.5, 1, (120, 2)) > own
    yes = np.concatenate([signals, noises], axis=1).ravel()
    classes, codes = np.tile([True, True, False, False], 120), np.repeat(np.arange(120), 4)
    together, apart = signal(yes, classes, codes), signal(yes, classes, 2 * codes + classes)
    assert together.d_prime.high - together.d_prime.low < 0.8 * (apart.d_prime.high - apart.d_prime.low)
    width = together.criterion.high - together.criterion.low
    assert width > 1.2 * (apart.criterion.high - apart.criterion.low)
    assert together.n_clusters == 120


def test_a_change_is_paired_by_trial() -> None:
    base, classes, codes = counts(160, 200, 40, 200)
    same, _ = change(base, base, classes, codes)
    # 3.84 / (200 + 3.84) of a class cannot be ruled out, over the density at its rate; two classes.
    slope = norm.pdf(norm.ppf(160.5 / 201))
    half = norm.ppf(0.975) ** 2 / (200 + norm.ppf(0.975) ** 2) / norm.ppf(0.975) / slope * math.sqrt(2)
    assert same.value == 0
    assert same.high == pytest.approx(t.ppf(0.975, 199) * half)
    leaning, criterion = change(base, np.ones_like(base), classes, codes)
    assert leaning.high < 0, "saying yes to everything is blind"
    assert criterion.high < -1
    few = base.copy()
    few[:5] = 0
    paired, _ = change(base, few, classes, codes)
    both = [signal(each, classes, codes).d_prime for each in (base, few)]
    assert paired.value == pytest.approx(both[1].value - both[0].value)
    assert paired.high - paired.low < 0.5 * (both[0].high - both[0].low), "what both answer alike cancels"


def test_a_trial_that_one_side_lacks_is_no_part_of_the_change() -> None:
    base, classes, codes = counts(30, 40, 10, 40)
    tuned = base.copy()
    tuned[:10] = np.nan
    moved, _ = change(base, tuned, classes, codes)
    assert moved.value == 0
    assert signal(tuned, classes, codes).hit_rate == pytest.approx(20 / 30)
    assert signal(tuned, classes, codes).n_signal == 30


def test_several_seeds_are_a_sample_too() -> None:
    one, classes, codes = counts(30, 40, 10, 40)
    other = counts(20, 40, 10, 40)[0]
    found = signal([one, other], classes, codes)
    apart = [signal(each, classes, codes).d_prime.value for each in (one, other)]
    assert found.d_prime.value == pytest.approx(np.mean(apart))
    assert found.hit_rate == pytest.approx(50 / 80)
    assert (found.n_seeds, found.n_signal) == (2, 40)
    # The spread of two seeds alone, with one degree of freedom, is 12.7 standard errors either way.
    assert found.d_prime.high - found.d_prime.low > 2 * abs(apart[0] - apart[1])
    moved, _ = change(one, [one, other], classes, codes)
    assert moved.value == pytest.approx((apart[1] - apart[0]) / 2)


def test_shares_of_samples_count_as_such() -> None:
    yes, classes, codes = counts(30, 40, 10, 40)
    shares = np.where(classes, 0.75, 0.25)
    assert signal(shares, classes, codes).d_prime.value == pytest.approx(signal(yes, classes, codes).d_prime.value)


def test_no_interval_has_no_width() -> None:
    never = signal(np.zeros(400), np.tile([True, False], 200), np.repeat(np.arange(200), 2))
    assert never.d_prime.low < 0 < never.d_prime.high
    assert never.criterion.low < never.criterion.value < never.criterion.high


def test_one_cluster_of_a_class_says_nothing_of_others() -> None:
    yes, classes, codes = counts(30, 40, 10, 40)
    found = signal(yes, classes, np.where(classes, 0, codes))
    assert (found.d_prime.low, found.d_prime.high) == (-math.inf, math.inf)
    assert found.d_prime.interval == (None, None)
    assert found.d_prime.value == pytest.approx(signal(yes, classes, codes).d_prime.value)


def test_what_is_no_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match="both classes"):
        signal([1, 0], [True, True], [0, 1])
    with pytest.raises(ValueError, match="both classes"):
        signal(np.array([[1, 0], [1, np.nan]]), [True, False], [0, 1])
    with pytest.raises(ValueError, match="one entry per trial"):
        signal([1, 0, 1], [True, False], [0, 1])
    with pytest.raises(ValueError, match="shares of yes"):
        signal([2, 0], [True, False], [0, 1])


def test_ever_takes_the_maximum_before_the_mean() -> None:
    happened = [0, 1, 0, 0, 0, 1]
    unit = ["a", "a", "b", "b", "c", "c"]
    group = ["p", "p", "p", "p", "q", "q"]
    assert detection.ever(happened, unit, group) == {"p": 0.5, "q": 1.0}
