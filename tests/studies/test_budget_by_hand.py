"""A small design priced by hand: counts, tokens, hours, bytes, and the text that shows them."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes import Listed, Rows, Wordy

from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.studies import budget
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design, Given

COST = Cost(
    gpu="G", tflops=1.0, training_utilisation=0.5, bandwidth=1.0, decoding_utilisation=0.5, decode_batch=1, memory=10.0,
    parameters={"org/base": 1.0}, row_tokens=100.0, prompt_tokens=50.0, answer_tokens=40.0,
)  # fmt: skip
FULL = Recipe(method="full", epochs=3)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three prompts, four conversations, a judge by rules, and no model at hand."""
    monkeypatch.setattr(budget, "load_benchmark", lambda _spec: Listed())
    monkeypatch.setattr(budget, "load_corpus", lambda _spec: Rows())
    monkeypatch.setattr(budget, "load_judge", lambda _spec: Wordy())
    monkeypatch.setattr(budget, "available", lambda _name: False)


def made(**changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "small", "bases": ("org/base",), "corpus": PluginSpec("rows"), "arms": (Arm("keep"),),
        "benchmarks": (PluginSpec("listed"),), "judges": (PluginSpec("wordy"),), "recipe": FULL, "seeds": (0, 1),
        "cost": COST,
    }  # fmt: skip
    return Design(**{**fields, **changes})


def priced(design: Design) -> budget.Budget:
    return budget.estimate(budget.Scope.of_design(design), budget.Sizes(design))


def test_everything_is_counted() -> None:
    design = made()
    found = priced(design)
    asked = 1 + found.checkpoints
    answers = 3 * asked * design.respond.answers_per_prompt
    assert found.tunings == 2
    assert found.checkpoints == 2 * (3 if design.respond.epochs == "all" else 1)
    assert found.trained_tokens == 2 * 4 * 100 * 3
    assert (found.requests, found.read_tokens, found.written_tokens) == (answers, answers * 50, answers * 16)
    assert (found.judge_calls, found.model_calls, found.judging_hours) == ({"wordy": answers}, 0, 0.0)
    assert found.tuning_hours == pytest.approx(6 * 1e9 * 2400 / 0.5e12 / 3600)
    reading, writing = 50 * 2e9 / 0.5e12, 16 * 2e9 / 0.5e12
    assert found.answering_hours == pytest.approx(answers * (reading + writing) / 3600)
    weights = 2e9 * (1 + 2 * 3)
    assert found.disk_gb == pytest.approx((weights + answers * (16 * 4.5 + 150)) / 1e9)
    assert found.memory_gb == pytest.approx(16.0)


def test_every_epoch_is_asked_where_the_design_says_so_and_given_checkpoints_come_on_top() -> None:
    every = made(respond=dataclasses.replace(made().respond, epochs="all"))
    assert budget.Scope.of_design(every).models == {"org/base": 1 + 2 * 3}
    last = made(respond=dataclasses.replace(made().respond, epochs="last"), checkpoints=(Given("x", arm="mine"),))
    assert budget.Scope.of_design(last).models == {"org/base": 1 + 2 + 1}


@pytest.mark.parametrize(("method", "frozen"), [("lora", 2.0), ("qlora", 0.52)])
def test_an_adapter_is_stored_and_tuned_as_one(method: Any, frozen: float) -> None:
    found = priced(made(recipe=Recipe(method=method, epochs=1, rank=8), cost=COST))
    adapter = 0.65 * 8 * 1e9 ** (2 / 3)
    assert found.memory_gb == pytest.approx((1e9 * frozen + adapter * 16) / 1e9)
    assert found.disk_gb == pytest.approx((2e9 + 2 * adapter * 4 + found.requests * (16 * 4.5 + 150)) / 1e9)


def test_an_answer_is_as_long_as_the_shorter_of_assumption_and_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    short = priced(made(cost=dataclasses.replace(COST, answer_tokens=5.0)))
    assert short.written_tokens == 5 * short.requests
    monkeypatch.setattr(budget, "load_benchmark", lambda _spec: Listed(max_new_tokens=1000))
    assert priced(made()).written_tokens == 40 * short.requests


def test_the_largest_tuning_decides_on_memory() -> None:
    cost = dataclasses.replace(COST, parameters={"org/base": 1.0, "org/big": 3.0})
    for bases in (("org/base", "org/big"), ("org/big", "org/base")):
        assert priced(made(bases=bases, cost=cost)).memory_gb == pytest.approx(48.0)


def test_prompts_that_depend_on_the_data_are_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Listed(needs=frozenset({"training"}))
    monkeypatch.setattr(budget, "load_benchmark", lambda _spec: needs)
    monkeypatch.setattr(Listed, "card", SimpleNamespace(size="about 70 rows"))
    with pytest.raises(UsageError) as told:
        priced(made())
    asked = "cost.prompts: how many prompts has 'listed'? (its card: about 70 rows)"
    assert str(told.value) == f"small: cannot be priced: {asked}"
    stated = made(cost=dataclasses.replace(COST, prompts={"listed": 70}))
    found = priced(stated)
    assert found.requests == 70 * (1 + found.checkpoints) * stated.respond.answers_per_prompt
    assert "prompts of listed: 70" in found.assumptions
    count = budget.Sizes(stated).prompts(needs)
    assert count == budget.PromptCount(70, None, {("listed", "harmful"): (70, 70)})


def test_prompts_at_hand_are_counted_by_subset_and_cluster() -> None:
    design = made(cost=dataclasses.replace(COST, prompts={"listed": 70}))
    count = budget.Sizes(design).prompts(Listed(count=11))
    characters = sum(len(f"Tell me of p{index}") for index in range(11))
    assert count == budget.PromptCount(11, characters, {("listed", "harmful"): (11, 11)})


def test_each_unknown_is_asked_once() -> None:
    with pytest.raises(UsageError) as told:
        priced(made(bases=("org/base", "org/other", "org/third")))
    text = str(told.value)
    assert [text.count(f"has 'org/{name}'?") for name in ("base", "other", "third")] == [0, 1, 1]
    assert "\n" not in text


def test_what_is_at_hand_counts_and_what_is_stated_is_told() -> None:
    found = priced(made(cost=dataclasses.replace(COST, rows={"corpus": 999})))
    assert found.trained_tokens == 2 * 4 * 100 * 3, "the corpus is at hand"
    assert "10^9 parameters of org/base: 1" in found.assumptions
    assert not any("999" in text for text in found.assumptions)


@pytest.mark.parametrize(
    ("hours", "text"),
    [(1234.5, "1,234"), (10.0, "10"), (9.96, "10.0"), (0.1, "0.1"), (0.0999, "0.1"), (0.01234, "0.012"), (0.0, "0")],
)
def test_hours_are_as_exact_as_they_are_large(hours: float, text: str) -> None:
    one = dataclasses.replace(priced(made()), tuning_hours=hours, answering_hours=0.0, judging_hours=0.0)
    assert budget.lines(one, COST)[0] == f"{text} GPU-hours on G: tuning {text}, answering 0, judging 0"


def test_lines_count_gpus_only_where_one_is_too_small() -> None:
    one = dataclasses.replace(
        priced(made()), tunings=1234, trained_tokens=2.5e9, checkpoints=5, requests=6789, read_tokens=999_999_999.0,
        written_tokens=1e9, judge_calls={"a": 1000, "b (r)": 2}, model_calls=2, disk_gb=1234.56, assumptions=("x: 1",),
    )  # fmt: skip
    fits, just, over = (budget.lines(dataclasses.replace(one, memory_gb=gb), COST) for gb in (9.0, 10.0, 20.1))
    assert fits[1] == (
        "1,234 tunings on 2.50 x 10^9 tokens in all; 5 checkpoints and their bases give 6,789 answers: "
        "1,000.0 x 10^6 tokens read, at most 1.00 x 10^9 written"
    )
    assert fits[2] == "judge calls: a 1,000, b (r) 2; 2 of them ask a judge model"
    assert fits[3] == "disk 1,234.6 GB; a tuning needs 9.0 GB for weights, gradients and optimizer"
    assert just[3].endswith("optimizer")
    assert over[3].endswith("20.1 GB for weights, gradients and optimizer: 3 GPUs or more")
    assert fits[-1] == "  x: 1"
