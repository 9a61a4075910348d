import math

import numpy as np
import pytest
from scipy import stats

from aftertune.stats import contrasts, seeds
from aftertune.stats.estimate import Floats


def layout(rng: np.random.Generator, k: int, n: int) -> Floats:
    effects = 0.2 * rng.normal(size=(k, 1)) + 0.2 * rng.normal(size=(1, n))
    return np.asarray(np.clip(effects + 0.1 * rng.normal(size=(k, n)), -1, 1))


def test_variance_parts_are_the_anova_mean_squares() -> None:
    values, k, n = layout(np.random.default_rng(0), 4, 30), 4, 30
    parts = seeds.crossed(values, np.arange(n))
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    residual = values - rows[:, None] - columns[None] + grand
    ms_seed = n * ((rows - grand) ** 2).sum() / (k - 1)
    ms_prompt = k * ((columns - grand) ** 2).sum() / (n - 1)
    ms_both = (residual**2).sum() / ((k - 1) * (n - 1))
    assert parts.mean == pytest.approx(grand)
    assert parts.seed_part == pytest.approx(ms_seed / (k * n))
    assert parts.prompt_part == pytest.approx(ms_prompt / (k * n))
    assert parts.interaction_part == pytest.approx(ms_both / (k * n))
    assert parts.variance == pytest.approx((ms_seed + ms_prompt - ms_both) / (k * n))


def test_seeds_alone_give_the_t_test_over_seeds() -> None:
    values = np.repeat(np.array([[0.1], [0.3], [0.2], [0.25]]), 50, axis=1)
    estimate = seeds.difference(values, np.arange(50))
    assert estimate.df == pytest.approx(3, abs=1e-6)
    assert estimate.p == pytest.approx(stats.ttest_1samp(values[:, 0], 0).pvalue, rel=1e-6)


def test_clusters_widen_and_missing_cells_do_not_break() -> None:
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(20), 10)
    values = np.clip(0.3 * rng.normal(size=20)[codes] + 0.1 * rng.normal(size=(3, 200)), -1, 1)
    assert seeds.crossed(values, codes).variance > 3 * seeds.crossed(values, np.arange(200)).variance
    holes = np.where(rng.random(values.shape) < 0.1, np.nan, values)
    whole, holed = seeds.difference(values, codes), seeds.difference(holes, codes)
    assert holed.value == pytest.approx(whole.value, abs=0.02)
    assert holed.high - holed.low == pytest.approx(whole.high - whole.low, rel=0.2)


def test_one_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two training seeds"):
        seeds.difference(np.zeros((1, 10)), np.arange(10))
    with pytest.raises(ValueError, match="number 2 has no value"):
        seeds.crossed(np.array([[0.0, 1.0], [np.nan, np.nan]]), np.arange(2))


def test_nothing_moves_yet_the_interval_has_width() -> None:
    estimate = seeds.difference(np.zeros((5, 300)), np.arange(300))
    assert estimate.low == pytest.approx(-0.01264, abs=1e-4)
    assert estimate.high == -estimate.low
    level = seeds.level(np.ones((5, 300)), np.arange(300))
    assert (level.low, level.high) == pytest.approx((1 - 0.01264, 1.0), abs=1e-4)


def test_all_seeds_worse_happens_by_chance() -> None:
    assert [seeds.all_worse_chance(k) for k in (2, 3, 4)] == [1 / 6, 1 / 20, 1 / 70]
    assert seeds.all_worse_chance(5, 1) == 1 / 6
    with pytest.raises(ValueError, match="at least one seed"):
        seeds.all_worse_chance(0)


def test_factorial_weights_recover_planted_effects() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(5, 200)) * 0.02  # seeds and prompts that all arms share cancel in every contrast
    planted = {"a": 0.2, "b": 0.1, "ab": 0.05}
    arms = np.stack(
        [
            0.3 + planted["a"] * a + planted["b"] * b + planted["ab"] * a * b + shared
            for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))
        ]
    )
    codes = np.arange(200)
    for weights, truth in (
        (contrasts.MAIN_A, 0.2 + 0.05 / 2),
        (contrasts.MAIN_B, 0.1 + 0.05 / 2),
        (contrasts.INTERACTION, 0.05),
    ):
        estimate = contrasts.contrast(arms, weights, codes)
        assert estimate.value == pytest.approx(truth, abs=1e-9)
        assert estimate.low < truth < estimate.high
    assert contrasts.scale_of(contrasts.INTERACTION) == 2
    assert contrasts.scale_of(contrasts.MAIN_A) == contrasts.scale_of((1.0,)) == contrasts.scale_of((1.0, -1.0)) == 1


def test_a_contrast_ignores_cells_that_an_arm_lacks() -> None:
    arms = np.stack([np.full((2, 3), 0.5), np.full((2, 3), 0.25)])
    arms[1, 0, 2] = np.nan
    combined = contrasts.combine(arms, (1.0, -1.0))
    assert math.isnan(combined[0, 2])
    assert combined[1, 2] == 0.25
    assert not np.isnan(contrasts.combine(arms, (1.0, 0.0))).any()
    with pytest.raises(ValueError, match="weight per arm"):
        contrasts.combine(arms, (1.0,))


@pytest.mark.parametrize("k", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8, 0.95, 1.0])
def test_the_quantile_holds_its_level_for_normal_parts(k: int, share: float) -> None:
    """False alarms for a known split of the variance, by drawing the two estimated parts: no layout in between."""
    rng, n, prompt_df = np.random.default_rng([k, int(100 * share)]), 40_000, 299.0
    seed = share * rng.chisquare(k - 1, n) / (k - 1)
    prompt = (1 - share) * rng.chisquare(prompt_df, n) / prompt_df
    squares = seeds.squared_quantile(seed + prompt, (seed, prompt, np.zeros(n)), k - 1.0, prompt_df)
    alarms = float((rng.normal(size=n) ** 2 > squares * (seed + prompt)).mean())
    assert alarms < 0.065
    assert alarms > (0.01 if k == 2 else 0.038)


def test_degrees_of_freedom_lie_between_those_of_the_parts_and_their_sum() -> None:
    for parts in ((1e-3, 0.0, 0.0), (0.0, 1e-3, 0.0), (1e-3, 1e-3, 0.0), (2e-3, 5e-4, 4e-4)):
        variance = parts[0] + parts[1] - parts[2]
        df = seeds.crossed_degrees_of_freedom(variance, parts, 3.0, 43.0)
        assert 3 - 1e-9 <= df <= 46 + 1e-9
