import numpy as np
import pytest

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
    # The interval is Cochran-cautious about few seeds, so the formula may promise a little more.
    assert design.power(drift) - 0.12 < hits / runs < design.power(drift) + 0.05


def test_what_would_settle_it() -> None:
    assert power.more_prompts(100, 0.1, 0.05) == 300
    assert power.more_prompts(100, 0.05, 0.1) == 0
    assert power.more_prompts(100, 0.1, 0.0) is None
    extra = power.more_seeds(3, 0.05, 0.0001, 0.06)
    assert extra is not None
    assert extra > 0
    assert power.more_seeds(3, 0.05, 0.01, 0.06) is None


def test_range_to_standard_deviation_uses_the_tabled_constants() -> None:
    for k, d2 in ((2, 1.128), (5, 2.326), (10, 3.078)):
        assert power.sd_of_range(0.0, d2, k) == pytest.approx(1.0, abs=5e-4)


def test_half_width_is_never_under_what_n_allows() -> None:
    design = power.PairedDesign(n_prompts=20, base_rate=1.0)
    assert power.half_width(design) == pytest.approx(0.161, abs=1e-3)


@pytest.mark.parametrize(
    "bad", [{"n_prompts": 1}, {"n_clusters": 1}, {"base_rate": 1.5}, {"seed_sd": -1.0}, {"n_seeds": 0}]
)
def test_impossible_designs_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need|must"):
        power.PairedDesign(**({"n_prompts": 100, "base_rate": 0.5} | bad))  # type: ignore[arg-type]
