"""Seeded nulls and known truths, quickly: false alarms at 5 % and coverage at 95 %, within simulation error.

The scenarios are those of `perf/calibrate.py`, which runs 4,000 simulations of each; here are a few hundred.
"""

import numpy as np
import pytest
from perf import calibrate, max_t, moderated, until_decided
from perf.many_intervals import many
from perf.scenarios import SCENARIOS, Scenario, latent, trained
from scipy import special, stats

from aftertune.stats import clusters, contrasts, matrix, power, seeds

CHEAP = {"score interval", "t test", "exact McNemar", "mid-p McNemar", "Newcombe", "recipe"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_closed_forms_keep_their_level_and_cover(scenario: Scenario) -> None:
    cheap = Scenario(scenario.name, scenario.draw, tuple(m for m in scenario.methods if m in CHEAP))
    for row in calibrate.calibrate(cheap, 300):
        assert row.broken() == [], row


def test_the_naive_bootstrap_fails_as_known_and_ours_do_not() -> None:
    (scenario,) = (scenario for scenario in SCENARIOS if "naive bootstrap" in scenario.methods)
    found = {row.method: row for row in calibrate.calibrate(scenario, 150)}
    assert 0.33 < found["naive bootstrap"].alarms < 0.6
    for method, row in found.items():
        if method != "naive bootstrap":
            assert row.broken() == [], row


@pytest.mark.slow
def test_corrected_judges_keep_their_level() -> None:
    for row in calibrate.labels(150):
        assert row.broken() == [], row


def test_looking_at_any_time_keeps_the_level() -> None:
    for row in calibrate.looks(40):
        assert row.broken() == [], row


def test_a_family_of_metrics_keeps_its_level() -> None:
    for row in calibrate.families(150):
        assert row.broken() == [], row


def test_asking_until_it_is_decided_errs_as_stated_and_asks_less() -> None:
    shares = {"lost nothing": 0.5, "lost 60 points": 1 / 3}
    for truth, most in shares.items():
        loss, share = until_decided.LOSSES[truth]
        found = until_decided.simulated(until_decided.Case(truth, loss, share=share), 100)
        assert found.asked < most
        assert (found.fails, found.passes) == (found.fails_at_once, found.passes_at_once)
    null = until_decided.simulated(until_decided.Case("null", until_decided.MARGIN), 200, 0.05)
    assert max(null.fails, null.passes) <= 0.065 + 2.6 * np.sqrt(0.065 * 0.935 / 200)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_intervals_of_many_comparisons_at_once_are_those_of_one(k: int) -> None:
    values = np.random.default_rng(k).choice([-1.0, 0.0, 1.0], size=(4, k, 20, 3), p=[0.1, 0.6, 0.3])
    values[0] = 0.0  # nothing differs
    values[1, 0] = 1.0  # one seed is all gain
    for confidence in (0.9, 0.95):
        drawn = many(values)
        low, high = drawn.limits(confidence)
        for i, one in enumerate(values):
            other = matrix.difference(one.reshape(k, -1), np.repeat(np.arange(20), 3), confidence=confidence)
            assert other is not None
            found = (drawn.value[i], low[i], high[i], drawn.df[i])
            assert found == pytest.approx((other.value, other.low, other.high, other.df), abs=1e-9)


def test_d_prime_keeps_its_level_and_covers_where_independent_trials_and_drawn_clusters_do_not() -> None:
    for row in calibrate.discriminations(80):
        assert row.broken() == [], row


def test_bands_hold_for_all_points_at_once() -> None:
    for row in calibrate.curves(30):
        assert row.broken() == [], row


@pytest.mark.parametrize(("k", "spread"), [(2, 0.1), (3, 0.03)])
def test_few_seeds_keep_their_level(k: int, spread: float) -> None:
    scenario = Scenario(f"{k} seeds", trained(k, 300, 1, spread, 0.5, -0.2), ("recipe",))
    for row in calibrate.calibrate(scenario, 300):
        assert row.alarms <= 0.065 + 2.6 * np.sqrt(0.065 * 0.935 / 300)
        assert row.coverage is not None
        assert row.coverage >= 0.935 - 2.6 * np.sqrt(0.065 * 0.935 / 300)


@pytest.mark.parametrize(
    ("groups", "size", "icc", "tuned"), [(300, 1, 0.0, 0.01), (44, 10, 0.3, 0.03), (8, 20, 0.3, 0.1)]
)
def test_a_rise_from_nothing_is_covered(groups: int, size: int, icc: float, tuned: float) -> None:
    rng, codes, runs = np.random.default_rng(groups), np.repeat(np.arange(groups), size), 300
    held = np.zeros(2)
    for _ in range(runs):
        values = (latent(rng, codes, icc) < special.ndtri(tuned)).astype(np.float64)
        for place, found in enumerate((clusters.difference(values, codes), clusters.level(values, codes))):
            held[place] += found.low <= tuned <= found.high
    assert held.min() / runs >= 0.935 - 2.6 * np.sqrt(0.065 * 0.935 / runs)


def test_interaction_null() -> None:
    rng, codes, alarms, runs = np.random.default_rng(11), np.arange(200), 0, 250
    for _ in range(runs):
        rates = np.array([0.4, 0.5, 0.6, 0.7])[:, None, None] + 0.05 * rng.normal(size=(4, 5, 1))
        found = contrasts.contrast((rng.random((4, 5, 200)) < rates).astype(float), contrasts.INTERACTION, codes)
        alarms += not found.low <= 0 <= found.high
    assert alarms / runs <= 0.065 + 2.6 * np.sqrt(0.065 * 0.935 / runs)


def test_one_seed_taken_for_the_recipe_is_overconfident() -> None:
    """Why a single checkpoint says nothing about its recipe: its prompt-level interval misses the recipe's mean."""
    rng, codes, alarms, runs = np.random.default_rng(5), np.arange(400), 0, 200
    for _ in range(runs):
        rate = np.clip(0.5 + 0.1 * rng.normal(), 0, 1)
        found = clusters.difference((rng.random(400) < rate) - (rng.random(400) < 0.5).astype(float), codes)
        alarms += not found.low <= 0 <= found.high
    assert alarms / runs > 0.25


@pytest.mark.parametrize("design", [
    power.PairedDesign(400, 0.7, n_clusters=40, icc=0.3),
    power.PairedDesign(300, 0.7, n_samples=5, sampling=0.6),
    power.PairedDesign(300, 0.7, n_seeds=5, seed_sd=0.03),
], ids=["clusters", "samples", "seeds"])  # fmt: skip
def test_power_by_formula_is_power_by_simulation(design: power.PairedDesign) -> None:
    drift = power.smallest_drift(design, power=0.7)
    assert drift is not None
    share, error = power.simulated_power(design, -drift, np.random.default_rng(6), runs=400)
    assert share == pytest.approx(0.7, abs=2.6 * error)


def test_seeds_refuse_one() -> None:
    with pytest.raises(ValueError, match="at least two"):
        seeds.difference(np.zeros((1, 10)), np.arange(10))


def test_variances_that_borrow_miss_an_arm_that_is_wilder_than_the_rest() -> None:
    """Why they are not used; where all arms are alike they hold, at half the width."""
    alike, nobody = moderated.simulated(moderated.Cell("alike", 3), 400)
    assert nobody is None
    assert all(missed < 0.065 + 0.02 for missed in alike.missed)
    assert alike.width[1] < 0.65 * alike.width[0]
    _, wild = moderated.simulated(moderated.Cell("wild", 3, wild=3.0, wild_everywhere=True), 400)
    assert wild is not None
    own, borrowed, robust, held = wild.missed
    assert max(own, held) < 0.065 + 0.02
    assert min(borrowed, robust) > 0.1


def test_the_prior_of_variances_is_found_where_it_is_known() -> None:
    """Log variances drawn as the model has them: s0^2 = 4 with 6 degrees of freedom, 5 of each variance's own."""
    rng = np.random.default_rng(0)
    true = 4 * 6 / rng.chisquare(6, (200, 400))
    seen = true * rng.chisquare(5, (200, 400)) / 5
    prior, freedom = moderated._prior(np.log(seen), 5, 0.0)
    assert np.median(np.exp(prior)) == pytest.approx(4, rel=0.05)
    assert np.median(freedom) == pytest.approx(6, rel=0.15)


def test_the_largest_t_of_independent_metrics_is_sidaks() -> None:
    rng = np.random.default_rng(0)
    found = max_t.largest(np.eye(3), 5, rng, 40_000)
    assert found == pytest.approx(stats.t.isf(1 - (1 - 0.025) ** (1 / 3), 4), rel=0.04)
    (holm, _, known), _ = max_t.errors(3, 5, 0.5, 150)
    assert max(holm, known) < 0.025 + 0.04
