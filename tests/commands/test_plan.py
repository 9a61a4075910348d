"""What a design costs and can detect, printed before anything is run."""

from __future__ import annotations

import dataclasses

import pytest

from aftertune import shipped_models
from aftertune.commands import demo
from aftertune.commands import plan as pricing
from aftertune.plugins import PluginSpec
from aftertune.studies import missing
from aftertune.studies.budget import Scope
from aftertune.studies.resolve import resolve

pytestmark = pytest.mark.skipif(not shipped_models.names(), reason="no shipped model is built")


def test_the_price_counts_what_the_run_will_do() -> None:
    price = pricing.price(demo.design())
    assert price.jobs == {"variants": 1, "checkpoints": 25, "prompts": 1, "responses": 26, "verdicts": 26 * 4}
    assert price.requests == 26 * price.prompts
    refusal = next(each for each in price.smallest_drifts if each.metric == demo.REFUSAL)
    assert refusal.n_seeds == 5
    assert refusal.checkpoint is not None
    assert 0 < refusal.checkpoint < 0.15
    assert any(demo.REFUSAL in line for line in pricing.lines(price, demo.design().cost))


def test_one_seed_sees_no_recipe_and_says_so() -> None:
    price = pricing.price(dataclasses.replace(demo.design(), seeds=(1,)))
    assert all(each.recipe is None for each in price.smallest_drifts)
    assert any("one training seed" in warning for warning in price.warnings)


def test_more_samples_are_more_requests_only_above_temperature_zero() -> None:
    design = demo.design()
    warm = dataclasses.replace(design, respond=dataclasses.replace(design.respond, temperatures=(0.0, 0.7), samples=3))
    assert pricing.price(warm).requests == 4 * pricing.price(design).requests


def test_one_way_of_counting_whether_the_models_are_here_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the design alone, what a study tunes and asks is what its jobs do."""
    design = demo.design()
    here = pricing.price(design)
    absent = missing.Missing("model", "model: not in the hub's cache")
    monkeypatch.setattr(pricing, "missing", lambda *_, **__: [absent])
    away = pricing.price(design)
    assert away.jobs == {key: count for key, count in here.jobs.items() if key in away.jobs}
    assert (away.prompts, away.requests, away.judge_calls) == (here.prompts, here.requests, here.judge_calls)
    assert (away.new_tokens_at_most, away.smallest_drifts) == (here.new_tokens_at_most, here.smallest_drifts)
    assert away.budget is not None
    assert away.budget.requests == here.requests


def test_further_weights_of_a_mitigation_are_priced_as_checkpoints() -> None:
    design = demo.design()
    recipe = dataclasses.replace(design.recipe, mitigation=PluginSpec("interpolation", {"shares": (0.25, 0.5)}))
    wanted = dataclasses.replace(design, recipe=recipe, recipes=(), seeds=(0, 1))
    scope = Scope.of_design(wanted)
    assert scope.models == Scope.of_study(resolve(wanted)).models
    assert sum(scope.models.values()) == 1 + 3 * len(scope.tunings)
