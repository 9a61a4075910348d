"""The noise of a base against itself, and a loss that is looked at many times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from aftertune.stats.repeated_looks import loss_at_a_look, noise_band


def test_the_band_is_that_of_two_draws_of_clusters() -> None:
    """Of independent prompts the difference of two means has sqrt(2 p (1 - p) / n) as its error."""
    rng = np.random.default_rng(1)
    values = (rng.random(400) < 0.8).astype(float)
    spread = np.sqrt(2 * values.var() / 400)
    for looks in (1, 10):
        expected = special.ndtri(1 - 0.05 / looks / 2) * spread
        assert noise_band(values, np.arange(400), looks=looks) == pytest.approx(expected, rel=0.06)
    copies = np.repeat((rng.random(40) < 0.8).astype(float), 10)
    wide = noise_band(copies, np.repeat(np.arange(40), 10), looks=1)
    assert wide == pytest.approx(1.96 * np.sqrt(2 * copies.var() / 40), rel=0.1), "clusters count, not prompts"


def test_a_base_that_never_varies_has_no_band() -> None:
    assert noise_band(np.ones(20), np.arange(20) // 2, looks=3) == 0.0


@pytest.mark.parametrize("how", [{"looks": 0}, {"looks": 1, "confidence": 1.0}])
def test_what_cannot_be(how: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need looks"):
        noise_band(np.ones(4), np.arange(4), **how)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="need looks"):
        loss_at_a_look(np.ones(4), np.ones(4), np.arange(4), **how)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two clusters"):
        noise_band(np.ones(4), np.zeros(4, dtype=np.int64), looks=1)


def test_all_looks_together_keep_their_error() -> None:
    """A model that loses exactly the margin, looked at five times: the loss is called greater in 5 % at most.

    Clusters differ in how much they lose, and the looks are of the same prompts.
    """
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(22), 4)
    margin, trials, alarms = 0.1, 400, 0
    for _ in range(trials):
        base = rng.beta(20, 2, 88)
        own = np.repeat(rng.beta(1, 9, 22), 4)  # loses a tenth on average, some clusters much more
        lows = []
        for _ in range(5):
            now = base - np.clip(own + rng.normal(0, 0.02, 88), -0.05, 1)
            lows.append(loss_at_a_look(base, now, clusters, looks=5).low)
        alarms += max(lows) > margin
    assert alarms / trials <= 0.065
