"""Rates by people's labels and a judge's verdicts: what the labels say, how sure it is, and how many are needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf import calibrate
from scipy import stats

from aftertune.stats import prediction_powered as ppi
from aftertune.stats.clusters import difference
from aftertune.stats.estimate import Floats
from aftertune.stats.prediction_powered import LabelledRate, allocation, labelled_rate, labels_needed, midp_limits


def rate(
    share: float, right: tuple[int, int], missed: tuple[int, int], clusters: np.ndarray | None = None
) -> LabelledRate:
    """Of `right[1]` answers that the judge calls positive people confirm `right[0]`; likewise of the others."""
    called = np.array([True] * right[1] + [False] * missed[1])
    people = np.array([1.0] * right[0] + [0.0] * (right[1] - right[0]) + [1.0] * missed[0]
                      + [0.0] * (missed[1] - missed[0]))  # fmt: skip
    codes = np.arange(called.size) if clusters is None else clusters
    return labelled_rate(share, called, people, np.ones(called.size), codes)


def ends(found: LabelledRate) -> tuple[float, float]:
    return found.rate - found.down**0.5, found.rate + found.up**0.5


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (1, 20), (7, 20), (19, 20), (20, 20), (3, 150)])
def test_midp_limits_are_where_half_of_the_outcome_and_all_beyond_it_have_the_tail(hits: int, n: int) -> None:
    low, high = midp_limits(hits, n)
    if hits:
        assert stats.binom.sf(hits, n, low) + stats.binom.pmf(hits, n, low) / 2 == pytest.approx(0.025, abs=1e-9)
    else:
        assert low == 0
    if hits < n:
        assert stats.binom.cdf(hits - 1, n, high) + stats.binom.pmf(hits, n, high) / 2 == pytest.approx(0.025, abs=1e-9)
    else:
        assert high == 1


@given(st.floats(0, 1), st.floats(0.5, 400))
def test_midp_limits_hold_the_rate_and_never_have_zero_width(share: float, n: float) -> None:
    low, high = midp_limits(share * n, n)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1
    assert high - low > 0.5 / (n + 4)


def test_the_rate_is_what_people_say_of_each_verdict_weighted_by_how_often_it_is_given() -> None:
    found = rate(0.3, (16, 20), (2, 40))
    assert found.rate == pytest.approx(0.3 * 0.8 + 0.7 * 0.05)
    assert (found.judged, found.labels, found.design_effect) == (0.3, 60, 1.0)
    low, high = midp_limits(2, 40)
    assert (found.others.low, found.others.high) == (low, high)
    first = midp_limits(16, 20)
    assert found.down == pytest.approx((0.3 * (0.8 - first[0])) ** 2 + (0.7 * (0.05 - low)) ** 2)


def test_it_is_the_textbook_estimate_with_the_weight_that_suits_the_judge() -> None:
    # PPI++: lambda x mean(judge, all) + mean(people - lambda x judge, labelled), lambda by regression on the sample.
    rng = np.random.default_rng(0)
    judge = rng.random(3000) < 0.4
    people = np.where(judge, rng.random(3000) < 0.7, rng.random(3000) < 0.2).astype(float)
    own = rng.choice(3000, 200, replace=False)
    slope = np.polyfit(judge[own].astype(float), people[own], 1)[0]
    textbook = slope * judge.mean() + (people[own] - slope * judge[own]).mean()
    found = labelled_rate(float(judge.mean()), judge[own], people[own], np.ones(200), own)
    assert found.rate == pytest.approx(textbook)


def test_weights_undo_a_sample_that_took_some_answers_more_often() -> None:
    # Of 80 labelled answers that the judge calls others, 40 stand for 10 each and 40 for 90 each.
    called = np.zeros(80, dtype=bool)
    people = np.repeat([1.0, 0.0], 40)
    weights = np.repeat([10.0, 90.0], 40)
    found = labelled_rate(0.0, called, people, weights, np.arange(80))
    assert found.rate == pytest.approx(0.1)
    assert found.others.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_a_judge_that_was_never_wrong_in_few_labels_is_not_taken_as_perfect() -> None:
    found = rate(0.5, (15, 15), (0, 15))
    low, high = ends(found)
    assert found.rate == 0.5
    # What 15 labels without an error cannot rule out: half of (1 - p)^15 is 2.5 %.
    assert low == pytest.approx(0.5 - 0.5 * (1 - 0.05 ** (1 / 15)))
    assert high == pytest.approx(0.5 + 0.5 * (1 - 0.05 ** (1 / 15)))


def test_a_verdict_without_labels_may_mean_anything() -> None:
    found = rate(0.1, (0, 0), (0, 40))
    assert found.called.rate == 1.0, "as the judge says"
    assert (found.called.low, found.called.high, found.called.labels) == (0.0, 1.0, 0)
    assert ends(found)[0] < 0.01


def test_errors_that_come_by_cluster_widen_the_interval() -> None:
    apart = rate(0.5, (30, 60), (0, 60))
    together = rate(0.5, (30, 60), (0, 60), np.repeat(np.arange(40), 3))
    mixed = rate(0.5, (30, 60), (0, 60), np.random.default_rng(0).permutation(np.repeat(np.arange(40), 3)))
    assert together.design_effect > 2.5
    assert together.down > 2 * apart.down
    assert 1 <= mixed.design_effect < 2


def test_where_errors_are_too_few_to_tell_clusters_are_taken_to_matter() -> None:
    assert rate(0.5, (30, 30), (0, 30), np.repeat(np.arange(20), 3)).design_effect == pytest.approx(2.0)
    assert rate(0.5, (30, 30), (0, 30)).design_effect == 1.0


def test_seeds_are_as_far_apart_as_their_own_labels_show() -> None:
    # The judge gives half of each seed's answers its label; people confirm all of it for one seed and none for another.
    seeds, called = np.repeat(np.arange(2), 100), np.tile([True, False], 100)
    people = np.where(called & (seeds == 0), 1.0, 0.0)
    found = labelled_rate(0.5, called, people, np.ones(200), np.arange(200), seeds=seeds)
    assert found.rate == pytest.approx(0.25)
    assert [offset for offset, _ in found.by_seed.values()] == pytest.approx([0.25, -0.25])
    values = np.where(np.tile([True, False], 50), found.called.rate, found.others.rate)[None].repeat(2, axis=0)
    noise = np.array([each[1] for each in found.by_seed.values()])
    moved = ppi.with_seed_errors(values, np.array([0.25, -0.25]), noise)
    assert moved.mean() == pytest.approx(0.25)
    assert np.var(moved.mean(axis=1), ddof=1) == pytest.approx(0.125 - noise.mean())
    assert (ppi.with_seed_errors(values, np.array([0.01, -0.01]), noise) == values).all(), "no more than noise"


def test_limits_are_added_in_squares_the_bases_turned_around() -> None:
    values = np.concatenate([np.full(10, -1.0), np.zeros(190)])
    raw = difference(values, np.arange(200))
    base, tuned = rate(0.5, (20, 20), (0, 20)), rate(0.45, (18, 20), (1, 20))
    found = ppi.with_labels(raw, [(1.0, tuned), (-1.0, base)], (-1.0, 1.0))
    assert found.value == raw.value
    assert found.low == pytest.approx(raw.value - ((raw.value - raw.low) ** 2 + tuned.down + base.up) ** 0.5)
    assert found.high == pytest.approx(raw.value + ((raw.high - raw.value) ** 2 + tuned.up + base.down) ** 0.5)
    assert raw.p is not None
    assert found.p is not None
    assert (raw.low > 0 or raw.high < 0, found.low < 0 < found.high) == (True, True)
    assert raw.p < 0.05 < found.p, "p and interval agree"


@pytest.mark.parametrize(
    ("share", "people", "weights"),
    [(1.5, [1.0, 0.0], [1.0, 1.0]), (0.5, [1.0, 2.0], [1.0, 1.0]), (0.5, [1.0, 0.0], [1.0, 0.0]), (0.5, [1.0], [1.0])],
)
def test_impossible_labels_are_refused(share: float, people: list[float], weights: list[float]) -> None:
    with pytest.raises(ValueError, match="need"):
        labelled_rate(share, np.array([True, False]), np.array(people), np.array(weights), np.arange(2))


# ---------------------------------------------------------------------------------------------- how many


@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=5),
    st.integers(0, 400),
    st.integers(0, 6),
    st.integers(0, 10_000),
)
def test_labels_are_given_out_whole_to_who_has_them(sizes: list[int], n: int, least: int, seed: int) -> None:
    spread: Floats = np.random.default_rng(seed).random(len(sizes))
    given_out = allocation(sizes, spread, n, least)
    floor = np.minimum(sizes, least)
    assert (given_out <= sizes).all()
    assert (given_out >= floor).all()
    assert given_out.sum() == max(min(n, sum(sizes)), floor.sum())


def test_labels_go_where_they_take_most_of_the_variance() -> None:
    sizes, spread = np.array([900, 300, 300]), np.array([0.1, 0.3, 0.1])
    given_out = allocation(sizes, spread, 60, 2)
    variance = [
        float(((sizes * spread) ** 2 / np.array(each)).sum())
        for each in itertools.product(range(2, 59), repeat=3)
        if sum(each) == 60
    ]
    assert float(((sizes * spread) ** 2 / given_out).sum()) == pytest.approx(min(variance))


def test_more_labels_are_needed_for_less_room_a_worse_judge_and_fewer_clusters() -> None:
    def needed(room: float, error: float = 0.1, clusters: int = 300) -> int | None:
        return labels_needed(0.03, room, (0.95, 0.8), clusters, error=error, most=1000)

    some = needed(0.1)
    assert some is not None
    assert needed(0.06) is not None
    assert (needed(0.06) or 0) > some
    assert (needed(0.1, 0.25) or 0) > some
    assert (needed(0.1, clusters=20) or 1001) > some
    assert needed(0.031) is None, "a thousand labels leave too much noise"
    assert needed(0.02) is None, "the prompts alone leave an interval that is wider"
    reach = ppi.labelled_reach(0.03, (0.95, 0.8), some, 300, error=0.1)
    assert reach <= 0.1 < ppi.labelled_reach(0.03, (0.95, 0.8), some - 1, 300, error=0.1)


# ---------------------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("case", calibrate.LABELLINGS, ids=lambda case: case.name)
def test_intervals_cover_the_truth_where_the_judge_alone_invents_a_drift(case: calibrate.Labelling) -> None:
    runs, rng = 60, np.random.default_rng(5)
    held = sum(
        found.low <= drift <= found.high
        for drift in (0.0, case.drift)
        for found in (calibrate.labelled_drift(case, drift, rng) for _ in range(runs))
    )
    assert held / (2 * runs) >= 0.935 - 2.6 * np.sqrt(0.065 * 0.935 / (2 * runs))
