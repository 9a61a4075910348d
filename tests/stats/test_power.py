import numpy as np
import pytest
from scipy import stats

from aftertune.stats import power, seeds
from aftertune.stats.clusters import difference


def test_more_data_sees_smaller_drifts() -> None:
    def seen(**change: float) -> float:
        parts = {"n_prompts": 300, "base_rate": 0.9, "n_clusters": 44, "n_seeds": 5} | change
        found = power.smallest_drift(power.PairedDesign(**parts))  # type: ignore[arg-type]
        assert found is not None
        return found

    assert seen(n_prompts=900) < seen() < seen(n_prompts=100)
    assert seen(n_seeds=10) < seen() < seen(n_seeds=3)
    assert seen(icc=0.0) < seen() < seen(icc=0.7)
    assert seen(seed_sd=0.0) < seen() < seen(seed_sd=0.1)


def test_published_size_of_an_evaluation() -> None:
    # Miller 2024: about 1,000 independent questions for 3 points at 80 % power; there the variance of the paired
    # difference is 1/9, here 2 p (1 - p) (1 - agreement).
    design = power.PairedDesign(n_prompts=969, base_rate=0.5, agreement=1 - 1 / 9 / 0.5)
    assert power.smallest_drift(design) == pytest.approx(0.03, abs=5e-4)


def test_two_noisy_seeds_see_nothing_small() -> None:
    wild = power.PairedDesign(n_prompts=300, base_rate=0.9, n_seeds=2, seed_sd=0.2)
    assert power.smallest_drift(wild, power=0.9) is None


def test_power_agrees_with_simulation() -> None:
    rng, design, drift = np.random.default_rng(0), power.PairedDesign(n_prompts=400, base_rate=0.7), -0.06
    hits, runs = 0, 600
    discordance = 2 * 0.7 * 0.3 * 0.5
    gained, lost = (discordance + drift) / 2, (discordance - drift) / 2
    for _ in range(runs):
        values = rng.choice([1.0, -1.0, 0.0], size=400, p=[gained, lost, 1 - gained - lost])
        estimate = difference(values, np.arange(400))
        hits += estimate.high < 0
    assert hits / runs == pytest.approx(design.power(drift), abs=0.045)


def test_power_over_seeds_agrees_with_simulation() -> None:
    rng, drift = np.random.default_rng(1), -0.1
    design = power.PairedDesign(n_prompts=300, base_rate=0.5, n_seeds=5, seed_sd=0.06, agreement=0.0, shared=0.5)
    hits, runs = 0, 400
    for _ in range(runs):
        base = rng.random(300) < 0.5
        rate = 0.5 + drift + 0.06 * rng.normal(size=(5, 1))
        values = (rng.random((5, 300)) < rate) - base.astype(float)
        hits += seeds.difference(values, np.arange(300)).high < 0
    assert hits / runs == pytest.approx(design.power(drift), abs=0.06)


def test_what_would_settle_it() -> None:
    parts = (0.0, 0.02**2, 0.0)
    for room in (0.03, 0.05):
        extra = power.more_prompts(300, parts, 1, 299.0, room)
        assert extra is not None
        times = (300 + extra) / 300
        reached = power.crossed_power(room, (0.0, 0.02**2 / times, 0.0), 1, 300 * times - 1)
        assert reached == pytest.approx(0.8, abs=0.005)
    assert power.more_prompts(300, parts, 1, 299.0, 0.1) == 0
    assert power.more_prompts(300, parts, 1, 299.0, 0.0) is None
    extra = power.more_seeds((0.05**2 / 3, 0.01**2, 0.0), 3, 299.0, 0.06)
    assert extra is not None
    wide, narrow = ((0.05**2 / k, 0.01**2, 0.0) for k in (3 + extra - 1, 3 + extra))
    assert (
        power.crossed_power(0.06, wide, 2 + extra, 299.0) < 0.8 <= power.crossed_power(0.06, narrow, 3 + extra, 299.0)
    )
    # Prompts alone cannot make up for seeds that differ.
    assert power.more_prompts(300, (0.05**2 / 3, 0.01**2, 0.0), 3, 299.0, 0.06) is None
    assert power.more_seeds((0.05**2 / 3, 0.1**2, 0.0), 3, 299.0, 0.06) is None


def test_a_single_checkpoint_has_the_power_of_the_noncentral_t() -> None:
    for df, shift in ((7.0, 2.0), (39.0, 3.0), (299.0, 1.0)):
        exact = 1 - stats.nct.cdf(stats.t.isf(0.025, df), df, shift)
        assert power.crossed_power(shift, (0.0, 1.0, 0.0), 1, df) == pytest.approx(exact, abs=2e-3)


def test_three_seeds_see_less_than_their_true_degrees_of_freedom_promise() -> None:
    design = power.PairedDesign(300, 0.7, n_seeds=3, seed_sd=0.03)
    se, df = design.error(0.12)
    naive = 1 - stats.nct.cdf(stats.t.isf(0.025, df), df, 0.12 / se)
    share, error = power.simulated_power(design, -0.12, np.random.default_rng(77), runs=800)
    assert share == pytest.approx(design.power(0.12), abs=3 * error)
    assert naive > share + 3 * error


def test_range_to_standard_deviation_uses_the_tabled_constants() -> None:
    for k, d2 in ((2, 1.128), (5, 2.326), (10, 3.078)):
        assert power.sd_of_range(0.0, d2, k) == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize(
    "bad", [{"n_prompts": 1}, {"n_clusters": 1}, {"base_rate": 1.5}, {"seed_sd": -1.0}, {"n_seeds": 0}]
)
def test_impossible_designs_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        power.PairedDesign(**({"n_prompts": 100, "base_rate": 0.5} | bad))  # type: ignore[arg-type]


@pytest.mark.parametrize("n_seeds", [2, 3, 5, 8])
def test_the_number_of_seeds_is_the_first_that_is_enough(n_seeds: int) -> None:
    """One by one up to the answer, and none of those before it."""
    rng = np.random.default_rng(n_seeds)
    for _ in range(12):
        parts = (float(rng.uniform(0, 4e-3)), float(rng.uniform(1e-5, 1e-3)), 0.0)
        room, wanted = float(rng.uniform(0.01, 0.12)), float(rng.choice([0.95, 0.99]))
        chances = [
            power.crossed_power(room, (parts[0] * n_seeds / k, parts[1], 0.0), k, 43.0, wanted)
            for k in range(n_seeds, n_seeds + 51)
        ]
        slow = next((extra for extra, chance in enumerate(chances) if chance >= 0.8), None)
        assert power.more_seeds(parts, n_seeds, 43.0, room, confidence=wanted) == slow
