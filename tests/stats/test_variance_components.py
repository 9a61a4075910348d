import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from aftertune.stats.estimate import Floats
from aftertune.stats.variance_components import components, mls_interval

SD = {"seed": 0.5, "prompt": 1.0, "seed x prompt": 0.4, "sampling": 0.7, "judge": 0.3, "judge x answer": 0.5}


def layout(rng: np.random.Generator, a: int, b: int, c: int = 1, d: int = 1) -> Floats:
    shapes = {"seed": (a, 1, 1, 1), "prompt": (1, b, 1, 1), "seed x prompt": (a, b, 1, 1), "sampling": (a, b, c, 1),
              "judge": (1, 1, 1, d), "judge x answer": (a, b, c, d)}  # fmt: skip
    return np.asarray(sum(SD[name] * rng.normal(size=shape) for name, shape in shapes.items()))


def test_two_way_decomposition_agrees_with_reml_of_statsmodels() -> None:
    values = layout(np.random.default_rng(3), 8, 40)[:, :, 0, 0]
    seed, prompt = (place.ravel() for place in np.indices(values.shape))
    codes = {"seed": np.eye(8)[seed], "prompt": np.eye(40)[prompt]}
    spec = VCSpec(
        list(codes),
        [[[str(i) for i in range(one.shape[1])]] for one in codes.values()],
        [[one] for one in codes.values()],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = MixedLM(values.ravel(), np.ones(320), np.zeros(320), exog_vc=spec).fit(reml=True)
    theirs = dict(zip(codes, fit.vcomp, strict=True))
    ours = {one.source.split(" + ")[0]: one.variance for one in components(values[:, :, None, None])}
    assert ours["seed"] == pytest.approx(theirs["seed"], rel=2e-3)
    assert ours["prompt"] == pytest.approx(theirs["prompt"], rel=2e-3)
    assert ours["seed x prompt"] == pytest.approx(fit.scale, rel=2e-3)


def test_all_sources_are_recovered() -> None:
    values = layout(np.random.default_rng(0), 12, 300, 4, 8)
    found = {one.source: one for one in components(values)}
    assert list(found) == list(SD)
    for name, one in found.items():
        assert one.low <= SD[name] ** 2 <= one.high, name
        assert one.low <= one.variance <= one.high
        assert one.sd == pytest.approx(one.variance**0.5)


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((3, 20, 1, 1), ["seed", "prompt", "seed x prompt + sampling + judge x answer"]),
        ((3, 20, 5, 1), ["seed", "prompt", "seed x prompt", "sampling + judge x answer"]),
        ((3, 20, 1, 2), ["seed", "prompt", "seed x prompt + sampling", "judge", "judge x answer"]),
        ((1, 20, 5, 1), ["prompt + seed x prompt", "sampling + judge x answer"]),
        ((1, 20, 1, 2), ["prompt + seed x prompt + sampling", "judge", "judge x answer"]),
    ],
)
def test_what_a_layout_cannot_part_is_named_together(shape: tuple[int, ...], names: list[str]) -> None:
    assert [one.source for one in components(layout(np.random.default_rng(1), *shape))] == names


def test_seeds_interval_covers() -> None:
    rng, held = np.random.default_rng(5), {"seed": 0, "prompt": 0, "seed x prompt": 0}
    runs = 400
    for _ in range(runs):
        found = {one.source.split(" + ")[0]: one for one in components(layout(rng, 5, 30))}
        truth = {"seed": 0.25, "prompt": 1.0, "seed x prompt": 0.16 + 0.49 + 0.25}
        for name in held:
            held[name] += found[name].low <= truth[name] <= found[name].high
    assert min(held.values()) / runs > 0.92
    assert max(held.values()) / runs < 0.99


def test_no_seed_effect_is_zero_with_room_above() -> None:
    found = components(np.random.default_rng(8).normal(size=(5, 100, 1, 1)))[0]
    assert found.source == "seed"
    assert found.low == 0
    assert 0 < found.high < 0.2


def test_one_mean_square_has_the_exact_chi_square_interval() -> None:
    low, high = mls_interval([(1.0, 2.0, 9.0)])
    assert low == pytest.approx(2 * 9 / stats.chi2.isf(0.025, 9))
    assert high == pytest.approx(2 * 9 / stats.chi2.isf(0.975, 9))


def test_prompts_that_lack_a_value_are_left_out_and_nonsense_is_refused() -> None:
    values = layout(np.random.default_rng(2), 3, 10)
    holed = values.copy()
    holed[1, 4] = np.nan
    assert components(holed) == components(np.delete(values, 4, axis=1))
    with pytest.raises(ValueError, match="at least two prompts"):
        components(np.full((3, 5, 1, 1), np.nan))
    with pytest.raises(ValueError, match="shape"):
        components(values[..., 0])
