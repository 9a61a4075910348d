"""Levels of repeated looks: published bounds, a simulated random walk, and what must hold of any of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from aftertune.stats import group_sequential
from aftertune.stats.group_sequential import look_levels

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def bounds(levels: tuple[float, ...] | list[float]) -> list[float]:
    return [float(-special.ndtri(level)) for level in levels]


def test_bounds_are_those_of_lan_and_demets() -> None:
    """Five looks at a one-sided 2.5 %, by the spending functions like O'Brien and Fleming's and like Pocock's."""
    brien = tuple(float(2 * special.ndtr(special.ndtri(0.0125) / np.sqrt(share))) for share in FIFTHS)
    assert bounds(group_sequential._levels(0.025, brien, FIFTHS)) == pytest.approx(
        [4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4
    )
    pocock = tuple(float(0.025 * np.log(1 + (np.e - 1) * share)) for share in FIFTHS)
    assert bounds(group_sequential._levels(0.025, pocock, FIFTHS)) == pytest.approx(
        [2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4
    )


def test_a_single_look_has_the_whole_level_and_the_first_its_share() -> None:
    assert look_levels(0.025, [1.0]) == pytest.approx([0.025])
    assert look_levels(0.025, [0.25, 1.0])[0] == pytest.approx(0.025 / 8)


def test_a_look_is_the_last_of_its_shares() -> None:
    look = group_sequential.Look(0.025, (0.1, 0.2))
    assert look.level(0.01) == look_levels(0.01, [0.1, 0.2])[1]
    exact = 1 - 2 * look_levels(0.025, [0.1, 0.2])[1]
    assert exact <= look.confidence < exact + 1e-4
    assert group_sequential.Look(0.025, (1.0,)).confidence == 0.95


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-5, 0.2), st.lists(st.integers(1, 20), min_size=1, max_size=8, unique=True))
def test_looks_share_the_level_whatever_comes_later(level: float, twentieths: list[int]) -> None:
    shares = [each / 20 for each in sorted(twentieths)]
    levels = look_levels(level, shares)
    assert look_levels(level, shares[:-1] or shares)[0] == levels[0], "no look hangs on a later one"
    assert all(0 < each <= level * (1 + 1e-9) for each in levels)
    assert sum(levels) >= group_sequential.spent(level, shares)[-1] * (1 - 1e-6), "looks overlap, so they sum to more"


def test_a_random_walk_crosses_as_often_as_stated() -> None:
    shares = np.arange(1, 11) / 10
    walk = np.cumsum(np.random.default_rng(0).normal(size=(200_000, 10)) * np.sqrt(0.1), axis=1) / np.sqrt(shares)
    for level in (0.05, 0.005):
        crossed = (walk > bounds(look_levels(level, list(shares)))).any(axis=1).mean()
        assert crossed == pytest.approx(level, abs=3 * np.sqrt(level / 200_000))
    naive = (walk > 1.95996).any(axis=1).mean()
    assert 0.085 < naive < 0.1, "what repeated looks do at the usual level"


@pytest.mark.parametrize(("level", "shares"), [(0.0, [1.0]), (0.05, []), (0.05, [0.5, 0.5]), (0.05, [0.5, 1.2])])
def test_what_is_no_plan_is_refused(level: float, shares: list[float]) -> None:
    with pytest.raises(ValueError, match="rising shares"):
        look_levels(level, shares)
