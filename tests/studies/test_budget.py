"""Prices by formula: nothing is fetched, everything assumed is text, and what is not known is asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.cli import main
from aftertune.commands import plan as pricing
from aftertune.commands import study as running
from aftertune.errors import UsageError
from aftertune.studies import budget, design
from aftertune.studies.cost import Cost
from aftertune.studies.missing import missing

PAPERS = sorted((Path(__file__).parents[2] / "studies").glob("*.paper.toml"))


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No hub, no cache, nothing fetched before."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))


def _budget(wanted: design.Design) -> budget.Budget:
    price = pricing.price(wanted)
    assert price.budget is not None
    return price.budget


@pytest.mark.parametrize(("n", "rank", "exact"), [(8.03e9, 16, 41.9e6), (1.24e9, 16, 11.27e6), (7.25e9, 8, 20.97e6)])
def test_adapters_are_as_large_as_those_of_known_models(n: float, rank: int, exact: float) -> None:
    """Exact: rank x (inputs + outputs) of every linear layer of Llama 3.1 8B, Llama 3.2 1B and Mistral 7B."""
    assert budget.adapter_parameters(n, rank) == pytest.approx(exact, rel=0.1)


def test_the_formulas_are_those_of_the_docstring() -> None:
    cost = Cost(tflops=100, training_utilisation=0.5, bandwidth=1.0, decoding_utilisation=0.5, decode_batch=4)
    assert budget.tuning_flops(1e9, 1e6, "full") == 6e15
    assert budget.tuning_flops(1e9, 1e6, "lora") == budget.tuning_flops(1e9, 1e6, "qlora") == 4e15
    assert budget.reading_seconds(1e9, cost) == pytest.approx(2e9 / 50e12)
    assert budget.writing_seconds(1e9, cost) == pytest.approx(2e9 / 0.5e12 / 4), "bound by memory"
    big = dataclasses.replace(cost, decode_batch=10_000)
    assert budget.writing_seconds(1e9, big) == budget.reading_seconds(1e9, big), "bound by arithmetic"


def test_there_is_a_paper_design_for_each_study() -> None:
    small = {path.name for path in PAPERS[0].parent.glob("*.toml")} - {path.name for path in PAPERS}
    assert {path.name.replace(".paper", "") for path in PAPERS} == small
    assert len(PAPERS) == 4


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_paper_design_is_priced_with_nothing_at_hand(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = design.read(path)
    assert design.parse(design.dump(wanted), "again") == wanted
    price = pricing.price(wanted)
    assert price.budget is not None
    tunings = sum(len(wanted.recipes_of(arm)) for arm in wanted.arms) * len(wanted.bases) * len(wanted.seeds)
    assert price.budget.tunings == price.jobs["checkpoints"] == tunings
    assert price.budget.tuning_hours > 0
    assert price.budget.disk_gb > 2 * sum(wanted.cost.parameters[base] for base in wanted.bases) - 0.1
    assert len(price.lacking) >= 2
    with pytest.raises(SystemExit) as left:
        main(["plan", str(path)])
    assert left.value.code in (0, None)
    text = capsys.readouterr().out
    for part in (
        "GPU-hours on A100",
        "tokens",
        "disk",
        "judge calls",
        "Money is left out",
        "at 35 % in training",
        "not here: model",
    ):
        assert part in text, part


def test_a_tuning_twice_as_often_costs_twice_as_much() -> None:
    wanted = design.read(next(path for path in PAPERS if path.stem.startswith("hidden")))
    one, two = (_budget(dataclasses.replace(wanted, seeds=seeds)) for seeds in ((0,), (0, 1)))
    assert two.tuning_hours == pytest.approx(2 * one.tuning_hours)
    assert two.requests - one.requests == one.requests - 464, "the base is asked once"


def test_judge_models_are_counted_and_priced() -> None:
    wanted = design.read(next(path for path in PAPERS if path.stem.startswith("consistency")))
    price = _budget(wanted)
    assert price.model_calls == price.requests == price.judge_calls["rubric (sorry_bench)"]
    assert price.requests == 2 * 440 * 6 * (1 + 4 * 5 * 5)
    assert price.judging_hours > 0


def test_what_is_not_known_is_asked_for_all_at_once() -> None:
    wanted = design.read(next(path for path in PAPERS if path.stem.startswith("hidden")))
    with pytest.raises(UsageError) as caught:
        pricing.price(dataclasses.replace(wanted, cost=Cost()))
    for part in (
        "how many 10^9 parameters has 'meta-llama/Llama-3.1-8B-Instruct'",
        "how many conversations has 'corpus'",
        "how many prompts has 'sorry_bench'",
        "its card: 202503 440 requests in 44 categories",
    ):
        assert part in str(caught.value), part
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_a_study_without_access_is_one_line(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["study", str(path), "-q", "-o", str(tmp_path / "run")])
    assert left.value.code == 2
    text = capsys.readouterr()
    assert len(text.err.strip().splitlines()) == 1
    wanted = design.read(path)
    assert all(f"`hf download {base}`" in text.err for base in wanted.bases)
    assert "`aftertune fetch " in text.err
    assert "Traceback" not in text.err
    assert not (tmp_path / "run").exists()


def test_nothing_is_asked_of_the_hub_when_a_design_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def ask(*_args: object, **_options: object) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", ask)
    assert pricing.price(design.read(PAPERS[0])).budget is not None


def test_what_is_at_hand_lacks_nothing() -> None:
    from aftertune.commands import demo

    assert missing(demo.design(), fetch=False) == []
    with pytest.raises(UsageError, match="no embedded model 'mini-z'"):
        running.study(dataclasses.replace(demo.design(), bases=("embedded:mini-z",)), Path("nowhere"))


@given(st.sampled_from(["tflops", "bandwidth", "training_utilisation", "answer_tokens"]), st.floats(-5, 0))
def test_an_assumption_out_of_range_is_refused(name: str, value: float) -> None:
    from aftertune.commands import demo

    with pytest.raises(UsageError, match=f"cost.{name}"):
        changed: dict[str, Any] = {name: value}
        dataclasses.replace(demo.design(), cost=Cost(**changed))
