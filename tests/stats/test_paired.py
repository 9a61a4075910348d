import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from aftertune.stats import multiplicity, paired
from aftertune.stats.estimate import difference_estimate, least_half_width, level_estimate

COUNTS = st.integers(0, 200)


@pytest.mark.parametrize(("gained", "lost"), [(16, 2), (149, 1), (0, 6), (0, 5), (7, 7), (3, 40)])
def test_mcnemar_agrees_with_statsmodels_and_scipy(gained: int, lost: int) -> None:
    theirs = mcnemar([[10, gained], [lost, 10]], exact=True).pvalue
    assert paired.mcnemar_exact(gained, lost) == pytest.approx(theirs, rel=1e-12)
    assert paired.mcnemar_exact(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-9)


def test_mcnemar_on_the_published_discordant_pairs() -> None:
    assert paired.mcnemar_exact(16, 2) == pytest.approx(0.00131225586, rel=1e-6)
    assert paired.mcnemar_exact(149, 1) == pytest.approx(2 * 151 / 2**150, rel=1e-9)


def test_six_one_way_losses_are_needed() -> None:
    assert paired.mcnemar_exact(0, 5) > 0.05 > paired.mcnemar_exact(0, 6)
    assert paired.mcnemar_midp(0, 5) < 0.05
    assert paired.mcnemar_exact(0, 0) == paired.mcnemar_midp(0, 0) == 1.0


@settings(deadline=None, max_examples=50)
@given(COUNTS, COUNTS)
def test_midp_is_below_exact_and_symmetric(gained: int, lost: int) -> None:
    assert paired.mcnemar_midp(gained, lost) <= paired.mcnemar_exact(gained, lost)
    assert paired.mcnemar_midp(gained, lost) == paired.mcnemar_midp(lost, gained)


@pytest.mark.parametrize(("x", "n"), [(0, 10), (1, 300), (150, 300), (440, 440), (96, 100)])
def test_rates_agree_with_statsmodels(x: int, n: int) -> None:
    assert paired.wilson(x, n) == pytest.approx(proportion_confint(x, n, method="wilson"), abs=1e-12)
    assert paired.clopper_pearson(x, n) == pytest.approx(proportion_confint(x, n, method="beta"), abs=1e-12)


def test_nothing_discordant_among_ten_still_allows_a_drop() -> None:
    low, high = paired.tango_interval(0, 0, 10)
    assert (low, high) == pytest.approx(
        (-(1.959964**2) / (10 + 1.959964**2), 1.959964**2 / (10 + 1.959964**2)), abs=1e-6
    )
    assert low < -0.26


def test_tango_inverts_its_own_score() -> None:
    # The limits must be roots of the constrained score equation; here the nuisance parameter is found on a grid.
    gained, lost, n = 12, 2, 50
    for limit in paired.tango_interval(gained, lost, n):
        grid = np.linspace(max(0.0, -limit), (1 - limit) / 2 if limit > 0 else (1 + limit) / 2 - limit, 400001)[1:-1]
        second = grid + limit
        inside = (second > 0) & (grid + second < 1)
        grid, second = grid[inside], second[inside]
        loglik = gained * np.log(second) + lost * np.log(grid) + (n - gained - lost) * np.log(1 - grid - second)
        q = grid[np.argmax(loglik)]
        score = (gained - lost - n * limit) / math.sqrt(n * (2 * q + limit * (1 - limit)))
        assert abs(score) == pytest.approx(1.959964, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(COUNTS, COUNTS, st.integers(0, 200), st.integers(0, 200))
def test_intervals_hold_the_estimate_and_have_width(both: int, gained: int, lost: int, neither: int) -> None:
    n = both + gained + lost + neither
    if n == 0:
        return
    value = (gained - lost) / n
    for low, high in (paired.tango_interval(gained, lost, n), paired.newcombe_interval(both, gained, lost, neither)):
        assert -1 <= low <= value + 1e-9
        assert value - 1e-9 <= high <= 1
        assert high - low > 1e-3
    mirrored = paired.tango_interval(lost, gained, n)
    assert mirrored == pytest.approx(tuple(-x for x in reversed(paired.tango_interval(gained, lost, n))), abs=1e-9)


def test_newcombe_published_example() -> None:
    # Newcombe 1998, table II case with e, f, g, h = 36, 12, 2, 0 and its continuity-corrected phi: 0.0569 to 0.3404.
    low, high = paired.newcombe_interval(36, 12, 2, 0)
    assert (low, high) == pytest.approx((0.0569, 0.3404), abs=5e-4)


def test_one_closed_form_for_counts_and_estimates() -> None:
    general = difference_estimate(
        0.07, 0.08, 0.01, (0.09 - 0.07**2) / 200, math.inf, confidence=0.95, n=200, n_clusters=200
    )
    assert paired.tango_interval(16, 2, 200) == pytest.approx((general.low, general.high), abs=1e-9)
    assert paired.mcnemar_exact(16, 2) == pytest.approx(0.0013122, abs=1e-6)


def test_a_single_cluster_tells_nothing() -> None:
    one = difference_estimate(0.0, 0.0, 0.0, 0.0, 0.0, confidence=0.95, n=300, n_clusters=1)
    assert (one.low, one.high, one.p) == (-1.0, 1.0, 1.0)
    level = level_estimate(0.5, 0.0, 0.0, confidence=0.95, n=300, n_clusters=1)
    assert (level.low, level.high) == (0.0, 1.0)


def test_the_scale_scales() -> None:
    small = difference_estimate(0.1, 0.2, 0.1, 0.001, 30, confidence=0.95, n=200, n_clusters=50)
    large = difference_estimate(10, 20, 10, 10.0, 30, confidence=0.95, n=200, n_clusters=50, scale=100.0)
    assert (large.low / 100, large.high / 100) == pytest.approx((small.low, small.high), abs=1e-9)
    assert large.p == pytest.approx(small.p)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5000), st.sampled_from([0.8, 0.95, 0.99]))
def test_floor_is_the_interval_of_nothing_discordant(n: int, confidence: float) -> None:
    assert paired.tango_interval(0, 0, n, confidence)[1] == pytest.approx(least_half_width(n, confidence), abs=1e-9)


@pytest.mark.parametrize("bad", [(-1, 3, 10), (5, 6, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"need|negative"):
        paired.tango_interval(*bad)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusted_p_agree_with_statsmodels(p: list[float]) -> None:
    if not p:
        assert multiplicity.holm(p) == multiplicity.benjamini_hochberg(p) == []
        return
    with mock.patch("gc.collect"):  # theirs collects at each call, which takes a third of a second here
        holm, hochberg = (multipletests(p, method=method)[1] for method in ("holm", "fdr_bh"))
    assert multiplicity.holm(p) == pytest.approx(holm, abs=1e-12)
    assert multiplicity.benjamini_hochberg(p) == pytest.approx(hochberg, abs=1e-12)


def test_what_is_not_a_p_value_is_refused() -> None:
    with pytest.raises(ValueError, match="p values"):
        multiplicity.holm([0.5, math.nan])
    with pytest.raises(ValueError, match="p values"):
        multiplicity.family_levels([0.5, math.nan], ["", ""], 0.05)
    with pytest.raises(ValueError, match="a question for each of 2"):
        multiplicity.family_levels([0.5, 0.1], [""], 0.05)


FAMILY = st.lists(
    st.tuples(st.floats(0, 1) | st.floats(0, 0.03), st.sampled_from(["", "refusal", "harm"])), min_size=1, max_size=7
)


@given(FAMILY)
def test_family_levels_are_the_closed_test_of_weighted_bonferroni_tests(family: list[tuple[float, str]]) -> None:
    """A test rejects where every set of tests that it belongs to has one that is small for its share of the level."""
    p, questions = [each for each, _ in family], [question for _, question in family]
    levels = multiplicity.family_levels(p, questions, 0.05)
    sets = [[i for i in range(len(p)) if chosen >> i & 1] for chosen in range(1, 2 ** len(p))]
    rejected = []
    for own in sets:
        shares = multiplicity.family_shares([questions[i] for i in own])
        assert sum(shares) == pytest.approx(1)
        rejected.append(any(p[i] <= 0.05 * share for i, share in zip(own, shares, strict=True)))
    for i in range(len(p)):
        closed = all(done for own, done in zip(sets, rejected, strict=True) if i in own)
        assert (p[i] <= levels[i]) == closed


@given(st.lists(st.floats(0, 1) | st.floats(0, 0.03), min_size=1, max_size=12), st.sampled_from(["", "harm"]))
def test_a_family_of_one_kind_is_holms(p: list[float], question: str) -> None:
    levels = multiplicity.family_levels(p, [question] * len(p), 0.05)
    adjusted = multiplicity.holm(p)
    for i in range(len(p)):
        if abs(adjusted[i] - 0.05) > 1e-9:
            assert (p[i] <= levels[i]) == (adjusted[i] <= 0.05)


def test_levels_by_hand() -> None:
    """Refusal and harm begin with two fifths of the level each, the two others with a tenth each."""
    questions = ["refusal", "harm", "", ""]
    start = multiplicity.family_levels([1.0, 1.0, 1.0, 1.0], questions, 0.05)
    assert start == pytest.approx([0.02, 0.02, 0.005, 0.005])
    after = multiplicity.family_levels([0.019, 0.041, 0.9, 0.9], questions, 0.05)
    assert after == pytest.approx([0.02, 0.04, 0.005, 0.005]), "what refusals had went to harm"
    both = multiplicity.family_levels([0.019, 0.039, 0.9, 0.9], questions, 0.05)
    assert both == pytest.approx([0.02, 0.04, 0.025, 0.025]), "and what harm had to the others"


def test_what_primary_tests_leave_goes_to_the_rest_and_back() -> None:
    questions = ["refusal", "harm", "", ""]
    assert multiplicity.family_levels([0.001, 0.001, 0.02, 0.9], questions, 0.05)[2] == pytest.approx(0.025)
    assert multiplicity.family_levels([0.024, 0.9, 0.001, 0.001], questions, 0.05)[0] == pytest.approx(0.025)
    leaks = ["leak", "leak", "leak", "refusal"]
    assert multiplicity.family_levels([1, 1, 1, 1], leaks, 0.06) == pytest.approx([0.01, 0.01, 0.01, 0.03])
    assert multiplicity.family_levels([0, 1, 1, 1], leaks, 0.06)[1:] == pytest.approx([0.015, 0.015, 0.03])


@given(st.integers(0, 400), st.integers(0, 400))
@settings(deadline=None)
def test_mcnemar_is_that_of_the_binomial_distribution(gained: int, lost: int) -> None:
    fewer, pairs = min(gained, lost), gained + lost
    exact, at = stats.binom.cdf(fewer, pairs, 0.5), stats.binom.pmf(fewer, pairs, 0.5)
    expected = 1.0 if pairs == 0 else min(1.0, 2 * exact)
    assert paired.mcnemar_exact(gained, lost) == pytest.approx(expected, rel=1e-12)
    midp = 1.0 if pairs == 0 else 1 - at if gained == lost else 2 * exact - at
    assert paired.mcnemar_midp(gained, lost) == pytest.approx(midp, rel=1e-11)
