"""One row is a checkpoint, several are a recipe: which estimate is chosen, and what is unknown in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as made

from aftertune.stats import clusters, matrix, seeds
from aftertune.stats.estimate import Floats

CODES = np.array([0, 0, 1, 1, 2, 3])
ONE = np.array([[1.0, 0.0, -1.0, 1.0, 1.0, 0.0]])
TWO = np.array([[1.0, 0.0, -1.0, 1.0, 1.0, 0.0], [0.0, 0.0, -1.0, 1.0, 0.0, 0.0]])


def test_one_seed_is_a_sample_of_prompts_only() -> None:
    found = matrix.difference(ONE, CODES)
    assert found == clusters.difference(ONE[0], CODES)
    assert found is not None
    assert found.value == pytest.approx(2 / 6)
    assert (found.n, found.n_clusters, found.n_seeds) == (6, 4, 1)


def test_several_seeds_are_a_sample_too() -> None:
    found = matrix.difference(TWO, CODES)
    assert found == seeds.difference(TWO, CODES)
    assert found is not None
    assert found.value == pytest.approx((2 / 6 + 0) / 2)
    assert (found.n, found.n_seeds) == (6, 2)
    assert matrix.level(np.abs(TWO), CODES) == seeds.level(np.abs(TWO), CODES)


def test_prompts_without_a_value_are_left_out_with_their_clusters() -> None:
    gaps = np.array([[1.0, np.nan, np.nan, np.nan, 1.0, 0.0]])
    found = matrix.difference(gaps, CODES)
    assert found == clusters.difference(np.array([1.0, 1.0, 0.0]), np.array([0, 2, 3]))
    assert found is not None
    assert found.value == pytest.approx(2 / 3)
    assert (found.n, found.n_clusters) == (3, 3)
    assert matrix.level(gaps, CODES) == clusters.level(np.array([1.0, 1.0, 0.0]), np.array([0, 2, 3]))


@pytest.mark.parametrize("empty", [np.full((1, 6), np.nan), np.vstack([ONE, np.full((1, 6), np.nan)])])
def test_a_seed_without_a_value_leaves_nothing_to_say(empty: Floats) -> None:
    assert matrix.difference(empty, CODES) is None
    assert matrix.level(empty, CODES) is None


@pytest.mark.parametrize("values", [ONE, TWO])
def test_confidence_and_scale_are_passed_on(values: Floats) -> None:
    narrow, wide = (matrix.difference(values, CODES, confidence=c) for c in (0.5, 0.99))
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    plain, tenfold = matrix.difference(values, CODES), matrix.difference(10 * values, CODES, scale=10.0)
    assert plain is not None
    assert tenfold is not None
    for name in ("value", "low", "high", "se"):
        assert getattr(tenfold, name) == pytest.approx(10 * getattr(plain, name))
    assert tenfold.p == pytest.approx(plain.p)


@pytest.mark.parametrize("values", [ONE, TWO])
def test_a_level_moves_with_its_bounds(values: Floats) -> None:
    share = (values + 1) / 2
    plain, moved = matrix.level(share, CODES), matrix.level(1 + 4 * share, CODES, bounds=(1.0, 5.0))
    tight = matrix.level(share, CODES, confidence=0.5)
    assert plain is not None
    assert moved is not None
    assert tight is not None
    for name in ("value", "low", "high"):
        assert getattr(moved, name) == pytest.approx(1 + 4 * getattr(plain, name))
    assert plain.low < tight.low < tight.high < plain.high
    assert plain.p is None, "no difference is tested"


@given(made.arrays(np.float64, (2, 6), elements=st.sampled_from([-1.0, 0.0, 1.0])), st.permutations(range(6)))
@settings(deadline=None)
def test_neither_the_order_of_prompts_nor_of_seeds_counts(values: Floats, order: list[int]) -> None:
    found, again = matrix.difference(values, CODES), matrix.difference(values[::-1][:, order], CODES[order])
    assert found is not None
    assert again is not None
    for name in ("value", "low", "high", "se", "n", "n_clusters", "n_seeds"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), abs=1e-9)
