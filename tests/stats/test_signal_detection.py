"""Signal detection: by hand, by its symmetries, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from aftertune.stats import signal_detection as signal


def test_by_hand() -> None:
    # 40 of 50 hits and 10 of 50 false alarms: (40.5 / 51, 10.5 / 51).
    found = signal.independent(40, 50, 10, 50)
    high, low = norm.ppf(40.5 / 51), norm.ppf(10.5 / 51)
    assert found.d_prime == pytest.approx(high - low)
    assert found.criterion == pytest.approx(0, abs=1e-12)
    assert found.accuracy == pytest.approx(0.8)
    assert found.d_prime_low < found.d_prime < found.d_prime_high


def test_no_to_everything_is_half_right_and_blind() -> None:
    found = signal.independent(0, 100, 0, 100)
    assert found.accuracy == 0.5
    assert found.d_prime == 0
    assert found.criterion > 2
    assert found.d_prime_low < 0 < found.d_prime_high
    assert signal.independent(100, 100, 100, 100).criterion == pytest.approx(-found.criterion)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_swapping_the_classes_turns_d_prime_and_keeps_the_criterion(n: int, m: int, data: st.DataObject) -> None:
    hits, alarms = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    one, other = signal.independent(hits, n, alarms, m), signal.independent(alarms, m, hits, n)
    assert other.d_prime == pytest.approx(-one.d_prime)
    assert other.criterion == pytest.approx(one.criterion)
    assert np.isfinite([one.d_prime, one.d_prime_low, one.d_prime_high, one.criterion]).all()
    assert one.d_prime_high > one.d_prime_low, "never a zero-width interval"


Trials = tuple[NDArray[np.bool_], NDArray[np.int_], NDArray[np.int_]]


def _trials(rng: np.random.Generator, n: int, d_prime: float, spread: float) -> Trials:
    """`n` clusters of two trials of each class, with a criterion of each cluster's own."""
    own = rng.normal(0, spread, n)[:, None]
    signals = rng.normal(d_prime / 2, 1, (n, 2)) > own
    noises = rng.normal(-d_prime / 2, 1, (n, 2)) > own
    yes = np.concatenate([signals, noises], axis=1).ravel()
    return yes, np.tile([1, 1, 0, 0], n), np.repeat(np.arange(n), 4)


def test_the_cluster_bootstrap_covers_where_the_naive_interval_of_the_criterion_does_not() -> None:
    rng = np.random.default_rng(3)
    runs, spread = 300, 1.5
    # With a criterion that varies by cluster, the pooled measures estimate these values.
    total = np.hypot(1, spread)
    true_d, covered, naive = 1.0 / total, [0, 0], 0
    for _ in range(runs):
        yes, is_signal, clusters = _trials(rng, 120, 1.0, spread)
        found = signal.clustered(yes, is_signal, clusters, rng, draws=300)
        covered[0] += found.d_prime_low <= true_d <= found.d_prime_high
        covered[1] += found.criterion_low <= 0 <= found.criterion_high
        plain = signal.independent(int(yes[is_signal == 1].sum()), 240, int(yes[is_signal == 0].sum()), 240)
        naive += plain.criterion_low <= 0 <= plain.criterion_high
    assert all(0.91 <= hits / runs <= 0.985 for hits in covered), covered
    assert naive / runs < 0.85, "trials of one cluster taken as independent are overconfident"


def test_a_change_is_paired_by_cluster() -> None:
    rng = np.random.default_rng(5)
    base = _trials(rng, 150, 2.0, 1.0)
    same, _ = signal.change(base, base, rng)
    assert same.low < same.value == 0 < same.high < 0.3
    yes, is_signal, clusters = base
    leaning = (np.ones_like(yes), is_signal, clusters)
    d_prime, criterion = signal.change(base, leaning, rng)
    assert d_prime.high < -0.5, "saying yes to everything is blind"
    assert criterion.high < -1
    with pytest.raises(ValueError, match="same clusters"):
        signal.change(base, (yes[4:], is_signal[4:], clusters[4:]), rng)


def test_no_interval_has_no_width() -> None:
    rng = np.random.default_rng(1)
    never = signal.clustered(np.zeros(400), np.tile([1, 0], 200), np.repeat(np.arange(200), 2), rng)
    assert never.d_prime_low < 0 < never.d_prime_high
    assert never.criterion_low < never.criterion < never.criterion_high


def test_an_empty_class_is_no_experiment() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="both classes"):
        signal.clustered([1, 0], [1, 1], [0, 1], rng)
    with pytest.raises(ValueError, match="no experiment"):
        signal.independent(3, 2, 0, 1)


def test_ever_takes_the_maximum_before_the_mean() -> None:
    happened = [0, 1, 0, 0, 0, 1]
    unit = ["a", "a", "b", "b", "c", "c"]
    group = ["p", "p", "p", "p", "q", "q"]
    assert signal.ever(happened, unit, group) == {"p": 0.5, "q": 1.0}
