import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aftertune.stats import clusters, paired
from aftertune.stats.estimate import Floats, least_half_width

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=12)


def alone(n: int) -> clusters.Codes:
    return np.arange(n)


def moments(sizes: list[int], truth: Floats) -> tuple[float, float, float]:
    """Mean and variance of the CR2 estimator under cov(values) = truth, and the mean's true variance, by algebra."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    n = codes.size
    centre = np.eye(n) - 1 / n
    form = np.zeros((n, n))
    for code, size in enumerate(sizes):
        pick = centre[codes == code].sum(axis=0) / np.sqrt(1 - size / n) / n
        form += np.outer(pick, pick)
    product = form @ truth
    return float(np.trace(product)), float(2 * np.trace(product @ product)), float(truth.mean())


@settings(deadline=None, max_examples=50)
@given(SIZES)
def test_cr2_is_unbiased_for_independent_prompts_and_df_match_its_moments(sizes: list[int]) -> None:
    n = sum(sizes)
    mean, variance, target = moments(sizes, np.eye(n))
    assert mean == pytest.approx(target, rel=1e-9)
    independent = 2 * mean**2 / variance
    codes = np.repeat(np.arange(len(sizes)), sizes)
    mean, variance, _ = moments(sizes, (codes[:, None] == codes[None]).astype(float))
    copies = 2 * mean**2 / variance
    assert clusters.degrees_of_freedom(np.asarray(sizes, dtype=float)) == pytest.approx(
        min(independent, copies), rel=1e-6
    )


def test_equal_clusters_give_the_t_test_of_cluster_means() -> None:
    rng = np.random.default_rng(0)
    values, codes = rng.uniform(-1, 1, 120), np.repeat(np.arange(12), 10)
    ours = clusters.difference(values, codes)
    theirs = stats.ttest_1samp(values.reshape(12, 10).mean(axis=1), 0)
    assert ours.df == pytest.approx(11)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_single_pairs_give_tango_but_for_the_t_quantile() -> None:
    values = np.concatenate([np.ones(16), -np.ones(2), np.zeros(482)]).astype(np.float64)
    ours = clusters.difference(values, alone(500))
    low, high = paired.tango_interval(16, 2, 500)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=4e-4)
    assert ours.low < low
    assert ours.high > high


def test_swap_test_is_mcnemar_on_single_pairs() -> None:
    rng = np.random.default_rng(1)
    few = np.concatenate([np.ones(9), -np.ones(2), np.zeros(50)])
    assert clusters.swap_test(few, alone(61), rng) == pytest.approx(paired.mcnemar_exact(9, 2), rel=1e-9)
    many = np.concatenate([np.ones(16), -np.ones(5), np.zeros(50)])
    assert clusters.swap_test(many, alone(71), rng, swaps=20000) == pytest.approx(
        paired.mcnemar_exact(16, 5), abs=0.005
    )
    huge = np.concatenate([np.ones(3100), -np.ones(2900)])
    assert clusters.swap_test(huge, alone(6000), rng) == pytest.approx(paired.mcnemar_exact(3100, 2900), abs=0.001)


def test_swap_test_never_gives_zero_and_knows_few_clusters() -> None:
    rng = np.random.default_rng(2)
    assert clusters.swap_test(np.ones(200), alone(200), rng, swaps=99) == 1 / 100
    assert clusters.swap_test(np.ones(40), np.repeat(np.arange(4), 10), rng) == 2 / 2**4
    assert clusters.swap_test(np.zeros(40), alone(40), rng) == 1.0


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), st.integers(0, 5)), min_size=1, max_size=60),
    st.randoms(use_true_random=False),
)
def test_order_and_names_of_clusters_do_not_matter_and_no_width_is_zero(rows: list[tuple[float, int]], random) -> None:  # type: ignore[no-untyped-def]
    values, codes = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    one = clusters.difference(values, codes)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    two = clusters.difference(values[order], 7 - codes[order])
    assert (one.value, one.low, one.high, one.p) == pytest.approx((two.value, two.low, two.high, two.p), abs=1e-9)
    assert one.low <= one.value <= one.high
    assert one.high - one.low >= least_half_width(len(rows), 0.95) - 1e-12
    level = clusters.level(np.abs(values), codes)
    assert 0 <= level.low <= level.value + 1e-12
    assert level.value - 1e-12 <= level.high <= 1
    assert level.high > level.low


def test_opposite_changes_that_cancel_in_a_cluster_still_have_width() -> None:
    values = np.zeros(300)
    values[:2] = 1, -1
    cancelled = clusters.difference(values, np.repeat(np.arange(30), 10))
    assert cancelled.se == 0
    assert cancelled.high == pytest.approx(least_half_width(300, 0.95))


def test_the_bootstraps_agree_with_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(60), 8)
    moves = rng.normal(size=60)[codes] * 0.4 + rng.normal(size=480) * 0.5
    values = np.asarray(np.round(np.clip(moves, -1, 1)), dtype=np.float64)
    closed = clusters.difference(values, codes)
    for method in ("percentile", "studentised"):
        drawn = clusters.bootstrap(values, codes, rng, method=method, resamples=4000)
        assert drawn.low == pytest.approx(closed.low, abs=0.015)
        assert drawn.high == pytest.approx(closed.high, abs=0.015)
    nothing = clusters.bootstrap(np.zeros(480), codes, rng)
    assert nothing.high - nothing.low == pytest.approx(2 * least_half_width(480, 0.95))


def test_bad_input_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="cluster per value"):
        clusters.difference(np.zeros(3), alone(4))
    with pytest.raises(ValueError, match="finite"):
        clusters.level(np.array([0.0, np.nan]), alone(2))
    with pytest.raises(ValueError, match="needs 20 clusters, got 8"):
        clusters.bootstrap(np.arange(8) / 8, alone(8), rng, method="percentile")
    with pytest.raises(ValueError, match="method"):
        clusters.bootstrap(np.array([0.0, 1.0]), alone(2), rng, method="basic")  # type: ignore[arg-type]
