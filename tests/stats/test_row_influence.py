"""Scores of rows: known influences are found up to their ceiling, random ones predict nothing, the size is enough."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aftertune.stats.estimate import Floats
from aftertune.stats.row_influence import averaged, halves_needed, row_score

ROWS = 60


def linear_model(rng: np.random.Generator, halves: int, seeds: int, noise: float) -> tuple[Floats, Floats, Floats]:
    """Return known influences, random halves, and outcomes to which each row of a half adds its influence."""
    influence = rng.normal(size=ROWS)
    members = np.zeros((halves, ROWS))
    for half in members:
        half[rng.choice(ROWS, ROWS // 2, replace=False)] = 1
    truth = members @ influence
    return influence, members, truth[:, None] + noise * truth.std() * rng.normal(size=(halves, seeds))


def test_known_influences_are_found_up_to_the_ceiling() -> None:
    rng = np.random.default_rng(0)
    influence, members, outcomes = linear_model(rng, 400, 3, 1.0)
    found = row_score(influence, members, outcomes)
    assert found.reliability == pytest.approx(averaged(0.5, 3), abs=0.05)
    assert found.ceiling == pytest.approx(math.sqrt(0.75), abs=0.03)
    assert found.correlation.value == pytest.approx(found.ceiling, abs=0.05)
    assert found.tells


def test_without_noise_they_predict_everything() -> None:
    influence, members, outcomes = linear_model(np.random.default_rng(1), 40, 1, 0.0)
    found = row_score(influence, members, outcomes)
    assert found.correlation.value == pytest.approx(1)
    assert found.ceiling is None, "with one seed nobody knows"


def test_random_scores_predict_nothing() -> None:
    told = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        _, members, outcomes = linear_model(rng, 40, 2, 1.0)
        told += row_score(rng.normal(size=ROWS), members, outcomes).tells
    assert told / 300 == pytest.approx(0.05, abs=0.035)


def test_seeds_that_do_not_agree_leave_no_ceiling() -> None:
    rng = np.random.default_rng(2)
    influence, members, _ = linear_model(rng, 30, 2, 1.0)
    outcomes = np.stack([np.arange(30.0), np.arange(30.0)[::-1]], axis=1) + np.array([0.0, 1e-3]) * rng.normal(
        size=(30, 2)
    )
    assert row_score(influence, members, outcomes).ceiling == 0


@pytest.mark.parametrize(("correlation", "reliability", "seeds"), [(0.8, 0.27, 1), (0.6, 0.5, 2)])
def test_the_size_is_enough_and_not_needlessly_large(correlation: float, reliability: float, seeds: int) -> None:
    halves = halves_needed(correlation, reliability, seeds=seeds)
    told = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        truth = rng.normal(size=halves)
        sums = correlation * truth + math.sqrt(1 - correlation**2) * rng.normal(size=halves)
        noise = math.sqrt(1 / reliability - 1)
        outcomes = truth[:, None] + noise * rng.normal(size=(halves, seeds))
        # One row a half, so that the sums are the scores.
        told += row_score(sums, np.eye(halves), outcomes).tells
    assert told / 400 == pytest.approx(0.8, abs=0.06)


def test_a_low_reliability_costs_many_halves() -> None:
    assert halves_needed(0.5, 0.27) > 100 > halves_needed(0.5, 0.27, seeds=4) > halves_needed(0.5, 0.9)


@pytest.mark.parametrize(
    ("given", "why"),
    [((0.0, 0.5, 1), "must lie between"), ((0.5, 1.0, 1), "must lie between"), ((0.5, 0.5, 0), "seeds = 0")],
)
def test_what_makes_no_sense_is_refused(given: tuple[float, float, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        halves_needed(given[0], given[1], seeds=given[2])
    with pytest.raises(ValueError, match="need"):
        row_score(np.ones(3), np.ones((5, 4)), np.ones((5, 1)))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_seed_that_is_the_same_on_every_half_is_no_seed_without_agreement(at: int) -> None:
    """Its correlation with others is not defined; as 0 it would say that nothing can be predicted of this outcome."""
    rng = np.random.default_rng(0)
    members = (rng.random((12, 9)) < 0.5).astype(float)
    outcomes = np.repeat((members @ np.arange(9.0))[:, None], 3, axis=1) + 0.1 * rng.normal(size=(12, 3))
    assert row_score(np.arange(9.0), members, outcomes).reliability == pytest.approx(1, abs=0.01)
    outcomes[:, at] = 0.5
    with pytest.raises(ValueError, match=f"seed number {at + 1} has the same outcome on every half"):
        row_score(np.arange(9.0), members, outcomes)
