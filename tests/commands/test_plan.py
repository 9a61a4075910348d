"""What a design costs and can see, said before anything is run."""

from __future__ import annotations

import dataclasses

import pytest

from aftertune import shipped_models as embedded
from aftertune.commands import demo
from aftertune.commands import plan as pricing

pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")


def test_the_price_counts_what_the_run_will_do() -> None:
    found = pricing.price(demo.design())
    assert found.jobs == {"variants": 1, "checkpoints": 25, "prompts": 1, "responses": 26, "verdicts": 26 * 4}
    assert found.requests == 26 * found.prompts
    refusal = next(sight for sight in found.sights if sight.metric == demo.REFUSAL)
    assert refusal.n_seeds == 5
    assert refusal.checkpoint is not None
    assert 0 < refusal.checkpoint < 0.15
    assert any(demo.REFUSAL in line for line in pricing.lines(found, demo.design().cost))


def test_one_seed_sees_no_recipe_and_says_so() -> None:
    found = pricing.price(dataclasses.replace(demo.design(), seeds=(1,)))
    assert all(sight.recipe is None for sight in found.sights)
    assert any("one training seed" in warning for warning in found.warnings)


def test_more_samples_are_more_requests_only_above_temperature_zero() -> None:
    design = demo.design()
    warm = dataclasses.replace(design, respond=dataclasses.replace(design.respond, temperatures=(0.0, 0.7), samples=3))
    assert pricing.price(warm).requests == 4 * pricing.price(design).requests
