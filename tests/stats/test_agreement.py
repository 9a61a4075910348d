import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from aftertune.stats.agreement import cohen_kappa, grouped_rank_correlation, krippendorff_alpha, rank_correlation
from aftertune.stats.clusters import Codes
from aftertune.stats.estimate import Floats


def test_kappa_agrees_with_statsmodels() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 300)
    second = np.where(rng.random(300) < 0.7, first, rng.integers(0, 3, 300))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    theirs, ours = cohens_kappa(table), cohen_kappa(first, second)
    assert ours.value == pytest.approx(theirs.kappa)
    assert (ours.low, ours.high) == pytest.approx((theirs.kappa_low, theirs.kappa_upp))
    assert cohen_kappa(["a", "b", "a", "b"], ["a", "b", "b", "b"]).value == pytest.approx(0.5)


def test_raters_who_always_agree_still_have_an_interval() -> None:
    found = cohen_kappa([0, 1] * 20, [0, 1] * 20)
    assert found.value == found.high == 1
    assert found.low == pytest.approx(1 - (3 / 40) / 0.5)
    same = cohen_kappa([1, 1, 1], [1, 1, 1])
    assert np.isnan(same.value)
    assert (same.low, same.high) == (-1, 1)
    with pytest.raises(ValueError, match="label of each rater"):
        cohen_kappa([1, 2], [1])


@pytest.mark.parametrize("method", ["spearman", "kendall"])
def test_rank_correlation_agrees_with_scipy_and_covers(method: str) -> None:
    rng, held, runs, n = np.random.default_rng(1), 0, 300, 20
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2) if method == "spearman" else 2 / np.pi * np.arcsin(rho)
    for _ in range(runs):
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], n).T
        found = rank_correlation(x, y, method=method)  # type: ignore[arg-type]
        held += found.low <= truth <= found.high
    theirs = stats.spearmanr(x, y) if method == "spearman" else stats.kendalltau(x, y)
    assert found.value == pytest.approx(theirs.statistic)
    assert found.p == pytest.approx(theirs.pvalue)
    assert held / runs > 0.92


def test_perfect_agreement_has_width_and_nonsense_is_refused() -> None:
    for method in ("spearman", "kendall"):
        found = rank_correlation(np.arange(8.0), np.arange(8.0) ** 3, method=method)
        assert found.value == pytest.approx(1)
        assert 0 < found.low < 0.99
    for first, second in (([1.0] * 6, [1.0, 2, 3, 4, 5, 6]), ([1.0, 2], [1.0, 2]), ([np.nan, 1, 2, 3, 4], range(5))):
        with pytest.raises(ValueError, match=r"ranks|at least 5|finite"):
            rank_correlation(first, [float(x) for x in second])
    with pytest.raises(ValueError, match="method"):
        rank_correlation(np.arange(6.0), np.arange(6.0), method="pearson")  # type: ignore[arg-type]


NAN = np.nan
FOUR = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T
"""Four observers, twelve units, with missing data: Krippendorff (2011), section C."""


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("interval", 0.849)])
def test_alpha_is_that_of_the_published_examples(level: str, published: float) -> None:
    rng = np.random.default_rng(0)
    found = krippendorff_alpha(FOUR, np.arange(12), rng, level=level)  # type: ignore[arg-type]
    assert round(found.value, 3) == published
    assert found.low < published < found.high
    assert found.n == 11
    two = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]).T
    assert round(krippendorff_alpha(two, np.arange(10), rng).value, 3) == 0.095


def test_clusters_widen_alpha_and_perfect_agreement_has_width() -> None:
    rng = np.random.default_rng(1)
    first = np.repeat(rng.integers(0, 2, 40), 10)
    second = np.where(np.repeat(rng.random(40) < 0.3, 10), 1 - first, first)
    both = np.column_stack([first, second])
    by_cluster = krippendorff_alpha(both, np.repeat(np.arange(40), 10), rng)
    alone = krippendorff_alpha(both, np.arange(400), rng)
    assert by_cluster.value == alone.value
    assert by_cluster.high - by_cluster.low > 2 * (alone.high - alone.low)
    same = krippendorff_alpha(np.column_stack([first, first]), np.arange(400), rng)
    assert same.value == same.high == 1
    assert 0.9 < same.low < 1
    nothing = krippendorff_alpha(np.ones((5, 2)), np.arange(5), rng)
    assert np.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (-1, 1)
    with pytest.raises(ValueError, match="two ratings"):
        krippendorff_alpha([[1, NAN]], [0], rng)
    moved = krippendorff_alpha(FOUR + 1e6, np.arange(12), rng, level="interval")
    assert round(moved.value, 3) == 0.849


# ---------------------------------------------------------------------------------------------- in groups


def grouped(
    rng: np.random.Generator, groups: int, size: int, shared: float, rho: float
) -> tuple[Floats, Floats, Codes]:
    """Return two numbers of each observation, of which a share of the variance is its group's."""
    codes = np.repeat(np.arange(groups), size)
    parts = [rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n) for n in (groups, groups * size)]
    both = np.sqrt(shared) * parts[0][codes] + np.sqrt(1 - shared) * parts[1]
    return both[:, 0], both[:, 1], codes


@pytest.mark.parametrize(("groups", "shared", "rho"), [(5, 0.9, 0.0), (6, 0.9, 0.8), (8, 0.5, 0.5), (3, 0.9, 0.0)])
def test_groups_of_observations_are_the_sample(groups: int, shared: float, rho: float) -> None:
    many, others, _ = grouped(np.random.default_rng(1), 4000, 5, shared, rho)
    true = float(stats.spearmanr(many, others)[0])
    covered = plain = 0
    for seed in range(120):
        x, y, codes = grouped(np.random.default_rng(seed), groups, 5, shared, rho)
        found, alone = grouped_rank_correlation(x, y, list(codes)), rank_correlation(x, y)
        assert found.low <= alone.low <= found.value == alone.value <= alone.high <= found.high
        covered += found.low <= true <= found.high
        plain += alone.low <= true <= alone.high
    assert covered >= 108, "90 % at least, where 95 % is named"
    assert plain < covered


def test_under_three_groups_or_without_variation_nothing_is_known() -> None:
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]
    for groups in (["a"] * 5, ["a", "a", "b", "b", "b"], ["a", "b", "b", "c", "c"]):
        found = grouped_rank_correlation(x, y, groups)
        assert found.value == pytest.approx(0.8)
        assert found.p is None
    assert (found.low, found.high) != (-1, 1)
    found = grouped_rank_correlation(x, y, ["a"] * 4 + ["b"])
    assert (found.low, found.high) == (-1, 1)
    found = grouped_rank_correlation([1.0, 1.0, 1.0, 1.0, 2.0], y, ["a", "b", "c", "d", "e"])
    assert (found.low, found.high) == (-1, 1), "nothing varies without the last"
    with pytest.raises(ValueError, match="a group for each of 5 observations, got 4"):
        grouped_rank_correlation(x, y, ["a"] * 4)


def test_groups_that_agree_fully_leave_as_much_open_as_independent_ones() -> None:
    x = list(range(12))
    found, alone = grouped_rank_correlation(x, x, [n // 3 for n in x]), rank_correlation(x, x)
    assert (found.value, found.low, found.high) == (1.0, alone.low, 1.0)
