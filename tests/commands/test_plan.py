"""What a design costs and can detect, printed before anything is run."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest

from aftertune import shipped_models
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.commands import decide as results
from aftertune.commands import demo
from aftertune.commands import plan as pricing
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.stats.margin_power import MarginTest, chances, failing_loss, passing_loss
from aftertune.stats.power import PairedDesign
from aftertune.studies import missing
from aftertune.studies.budget import Scope
from aftertune.studies.cost import Cost
from aftertune.studies.resolve import load_benchmark, resolve

pytestmark = pytest.mark.skipif(not shipped_models.names(), reason="no shipped model is built")


def test_the_price_counts_what_the_run_will_do() -> None:
    price = pricing.price(demo.design())
    assert price.jobs == {"variants": 1, "checkpoints": 25, "prompts": 1, "responses": 26, "verdicts": 26 * 4}
    assert price.requests == 26 * price.prompts
    assert (price.trial, price.not_tried) == (None, ())
    assert any(demo.REFUSAL in line for line in pricing.lines(price, demo.design().cost))


def test_the_power_is_against_the_policys_margin_and_its_family() -> None:
    """Five seeds, 176 prompts in 44 clusters; refusals are one of three primary questions, with others beside them."""
    price = pricing.price(demo.design())
    refusal = next(each for each in price.powers if each.metric == demo.REFUSAL)
    assert (refusal.estimand, refusal.margin, refusal.n_seeds, refusal.n_prompts) == ("recipe", 0.1, 5, 176)
    assert refusal.family == sum(each.required for each in price.powers)
    wanted = MarginTest(0.1, 0.8 / 3)
    shares = {each.metric: each.share for each in price.powers if each.required}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares[demo.REFUSAL] == pytest.approx(3 * shares["miniature/support/leak=registry"])
    for end, spread in enumerate(refusal.seed_sd):
        design = PairedDesign(176, 1 - 0.95, refusal.n_clusters, n_seeds=5, seed_sd=spread)
        assert refusal.fails[end] == failing_loss(design, wanted)
        assert refusal.passes[end] == passing_loss(design, wanted)
        assert refusal.unchanged_passes[end] == chances(design, wanted, 0.0).passes
    assert refusal.fails[0] is not None
    assert refusal.fails[0] > 0.15, "not what is seen against zero"
    line = next(line for line in pricing.lines(price, demo.design().cost) if demo.REFUSAL in line)
    assert f"fails from {100 * refusal.fails[0]:.1f} to " in line
    assert "margin 10, primary, tested at 0.67 %" in line


def test_a_plan_says_how_many_labels_a_decision_needs() -> None:
    price = pricing.price(demo.design())
    by_metric = {power.metric: power for power in price.powers}
    refusal, leak = by_metric[demo.REFUSAL], by_metric["miniature/open/leak=registry"]
    assert (refusal.readable, refusal.judge_error, leak.readable, leak.labels) == (True, 0.1, False, None)
    (line,) = (line for line in pricing.lines(price, demo.design().cost) if line.startswith("Labels by people"))
    assert "where the judge is wrong on 10 %" in line
    assert "leak" not in line
    more = PairedDesign(1000, 0.05, 500)
    numbers = [pricing._labels(more, 0.1, 0.95, error) for error in (0.02, 0.1, 0.3)]
    assert None not in numbers
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert (numbers[2] or 0) > (numbers[0] or 0)
    assert pricing._labels(PairedDesign(60, 0.05, 20), 0.05, 0.95, 0.1) is None, "the prompts are too few already"
    powers = [dataclasses.replace(refusal, labels=number) for number in (80, None)]
    assert next(pricing._label_lines(powers)).endswith(
        f"80 for {demo.REFUSAL}; no number up to 1,000 for {demo.REFUSAL}, where the judge alone leaves too wide an "
        "interval, or nearly"
    )
    assert "more prompts, or seeds, come first" in next(pricing._label_lines(powers[1:]))
    assert list(pricing._label_lines([leak])) == []
    with pytest.raises(UsageError, match="at 0.5 a judge guesses"):
        pricing.price(demo.design(), judge_error=0.5)


@pytest.mark.slow
def test_another_policy_is_another_answer() -> None:
    by_policy = {
        name: {each.metric: each for each in pricing.price(dataclasses.replace(demo.design(), policy=name)).powers}
        for name in ("default", "strict", "research")
    }
    strict = by_policy["strict"]["miniature/harmful/coherence=coherent"]
    assert strict.floor == 0.8
    assert by_policy["default"][demo.REFUSAL].fails != by_policy["strict"][demo.REFUSAL].fails
    one_seed = dataclasses.replace(demo.design(), seeds=(1,))
    assert {each.estimand for each in pricing.price(one_seed).powers} == {"checkpoint"}
    recipes = pricing.price(dataclasses.replace(one_seed, policy="research"))
    assert recipes.powers == (), "a policy that decides on recipes decides nothing with one seed"
    assert any("one training seed" in warning for warning in recipes.warnings)


def test_a_plan_in_parts_says_that_it_is_the_most() -> None:
    whole, parts = (
        pricing.price(dataclasses.replace(demo.design(), until_decided=each), trial=False) for each in (False, True)
    )
    assert whole.requests == parts.requests
    assert pricing.IN_PARTS in parts.warnings
    assert pricing.IN_PARTS not in whole.warnings


@pytest.mark.slow
def test_more_temperatures_are_a_larger_family() -> None:
    design = demo.design()
    warm = dataclasses.replace(design, respond=dataclasses.replace(design.respond, temperatures=(0.0, 0.7)))
    assert {2 * each.family for each in pricing.price(design).powers} == {e.family for e in pricing.price(warm).powers}


def test_an_earlier_run_gives_the_bases_rates_and_the_spread_between_seeds(finished: results.Result) -> None:
    price = pricing.price(demo.design(), earlier=finished.root)
    taken = {each.metric: each for each in price.powers if each.source}
    levels = {
        row.metric: row.tuned if row.base is None else row.base
        for row in finished.drifts
        if row.estimand == "level" and row.arm == "base"
    }
    assert demo.REFUSAL in taken
    for name, each in taken.items():
        assert each.base_rate == pytest.approx(levels[name])
        assert 0 <= each.seed_sd[0] <= each.seed_sd[1]
    assert any("from the earlier run" in line for line in pricing.lines(price, demo.design().cost))


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
    assert (away.new_tokens_at_most, away.powers) == (here.new_tokens_at_most, here.powers)
    assert away.budget is not None
    assert away.budget.requests == here.requests


def test_further_weights_of_a_mitigation_are_priced_as_checkpoints() -> None:
    design = demo.design()
    recipe = dataclasses.replace(
        design.recipe, mitigations=(PluginSpec("interpolation", {"shares": (0.25, 0.5)}), PluginSpec("l2_to_base"))
    )
    wanted = dataclasses.replace(design, recipe=recipe, recipes=(), seeds=(0, 1))
    scope = Scope.of_design(wanted)
    assert scope.models == Scope.of_study(resolve(wanted)).models
    assert sum(scope.models.values()) == 1 + 2 * len(scope.tunings), (
        "two trainings and two sets of weights for every two trainings"
    )


@pytest.mark.parametrize("epochs", ["all", "last"])
def test_the_epochs_that_a_mitigation_adds_are_priced(epochs: Literal["all", "last"]) -> None:
    design = demo.design()
    longer = (PluginSpec("kl_on_refusals", {"more_epochs": 2}), PluginSpec("interpolation"))
    wanted = dataclasses.replace(
        design,
        recipe=dataclasses.replace(design.recipe, mitigations=longer),
        respond=dataclasses.replace(design.respond, epochs=epochs),
        own=PluginSpec("training_requests"),
    )
    scope, resolved = Scope.of_design(wanted), resolve(wanted)
    assert scope.models == Scope.of_study(resolved).models
    assert sorted(recipe.epochs for _, _, recipe in scope.tunings) == sorted(
        recipe.epochs for _, _, recipe in Scope.of_study(resolved).tunings
    )
    plain = design.recipe.epochs
    assert {recipe.epochs for _, _, recipe in scope.tunings} == {plain, plain + 2}
    each = plain + (plain + 2) + plain if epochs == "all" else 3
    assert sum(scope.models.values()) == 1 + len(scope.tunings) // 2 * each


@pytest.mark.parametrize("at_hand", [True, False])
def test_what_a_base_is_asked_for_mitigations_is_priced_once(at_hand: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    design = dataclasses.replace(demo.design(), seeds=(0, 1), cost=Cost(prompt_tokens=10.0, answer_tokens=5.0))
    plain = pricing.price(design)
    own = PluginSpec("miniature", {"split": "dev"})
    mitigated = dataclasses.replace(
        design,
        own=own,
        recipe=dataclasses.replace(design.recipe, mitigations=(PluginSpec("kl_on_refusals"),)),
    )
    repeated = dataclasses.replace(  # as many checkpoints, and nothing asked before
        design, recipe=dataclasses.replace(design.recipe, mitigations=(PluginSpec("l2_to_base"),))
    )
    if not at_hand:
        monkeypatch.setattr(missing, "available", lambda name: False)
        here = {"embedded": 0.001}
        mitigated, repeated, design = (
            dataclasses.replace(each, cost=dataclasses.replace(each.cost, parameters=here))
            for each in (mitigated, repeated, design)
        )
    count = len(load_benchmark(own).prompts(BenchmarkContext()))
    price, without = pricing.price(mitigated), pricing.price(repeated)
    assert count > 20
    assert (price.own_requests, without.own_requests, plain.own_requests) == (count, 0, 0)
    assert price.requests == without.requests + count
    assert price.judge_calls == without.judge_calls + count, "one judge reads them"
    assert price.budget is not None
    assert without.budget is not None
    assert price.budget.requests == price.requests
    assert price.budget.written_tokens == pytest.approx(without.budget.written_tokens + 5 * count)
    calls = {name: price.budget.judge_calls[name] - n for name, n in without.budget.judge_calls.items()}
    assert sorted(calls.values()) == [0, 0, 0, count]
    lines = pricing.lines(price, mitigated.cost)
    assert f"of these {count} answers of bases, for mitigations to train on" in lines
    assert not any("to train on" in line for line in pricing.lines(without, design.cost))
