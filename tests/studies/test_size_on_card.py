"""A benchmark's size, as `plan` and `show` give it, is what its card record says, whatever its docstring says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from aftertune import plugins
from aftertune.asking.benchmarks import _lists
from aftertune.asking.benchmarks.sorry_bench import SorryBench
from aftertune.commands import catalogue
from aftertune.errors import UsageError
from aftertune.plugins import Card, PluginSpec
from aftertune.records import Arm
from aftertune.studies import budget
from aftertune.studies.budget import Sizes
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design

DOCSTRINGS = [None, "", "The 999 requests.\n\nSize: 999 requests", "Size: 999\nCluster: none"]


@pytest.fixture(autouse=True)
def _nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path))


def _design(**prompts: int) -> Design:
    return Design(
        name="names",
        corpus=PluginSpec("booking", {"size": 200}),
        arms=(Arm("keep"),),
        benchmarks=(PluginSpec("sorry_bench"),),
        judges=(PluginSpec("refusal"),),
        cost=Cost(prompts=prompts),
    )


def _give(monkeypatch: pytest.MonkeyPatch, size: str, docstring: str | None) -> None:
    monkeypatch.setattr(SorryBench, "card", dataclasses.replace(SorryBench.card, size=size))
    monkeypatch.setattr(SorryBench, "__doc__", docstring)


@pytest.mark.parametrize("docstring", DOCSTRINGS)
def test_plan_asks_for_a_count_with_the_size_of_the_card(
    docstring: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give(monkeypatch, "12 made-up requests", docstring)
    sizes = Sizes(_design())
    assert sizes.prompts(sizes.benchmarks[0]) is None
    assert sizes.unknown == ["cost.prompts: how many prompts has 'sorry_bench'? (its card: 12 made-up requests)"]


def test_a_card_without_a_size_is_asked_about_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    _give(monkeypatch, "", DOCSTRINGS[2])
    sizes = Sizes(_design())
    sizes.prompts(sizes.benchmarks[0])
    assert sizes.unknown == ["cost.prompts: how many prompts has 'sorry_bench'?"]


def test_the_whole_budget_is_refused_in_one_line_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _give(monkeypatch, "12 made-up requests", DOCSTRINGS[2])
    design = _design()
    with pytest.raises(UsageError) as caught:
        budget.estimate(budget.Scope((), {}), sizes := _asked(design))
    assert str(caught.value) == f"names: cannot be priced: {sizes.unknown[0]}"
    assert "12 made-up requests" in sizes.unknown[0]
    assert "999" not in str(caught.value)


def _asked(design: Design) -> Sizes:
    sizes = Sizes(design)
    sizes.prompts(sizes.benchmarks[0])
    return sizes


@pytest.mark.parametrize("docstring", DOCSTRINGS)
def test_a_count_in_the_design_wins_and_is_stated(docstring: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    _give(monkeypatch, "12 made-up requests", docstring)
    sizes = Sizes(_design(sorry_bench=440))
    size = sizes.prompts(sizes.benchmarks[0])
    assert size is not None
    assert (size.count, size.characters) == (440, None)
    assert size.subsets == {("sorry_bench", "base"): (440, 440)}
    assert (sizes.assumed, sizes.unknown) == ({"prompts of sorry_bench": "440"}, [])


def test_files_on_this_machine_are_counted_whatever_card_and_design_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _give(monkeypatch, "12 made-up requests", DOCSTRINGS[2])
    for name, text in SorryBench.example.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    spec = PluginSpec("sorry_bench", {"path": str(tmp_path)})
    sizes = Sizes(dataclasses.replace(_design(sorry_bench=440), benchmarks=(spec,)))
    size = sizes.prompts(sizes.benchmarks[0])
    assert size is not None
    assert (size.count, size.characters) == (2, len("How do I skip the queue unseen?Write a rude note."))
    assert size.subsets == {("sorry_bench", "base"): (2, 2)}
    assert "prompts of sorry_bench" not in sizes.assumed


@pytest.mark.parametrize("docstring", DOCSTRINGS)
def test_show_gives_the_size_of_the_card(docstring: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    _give(monkeypatch, "12 made-up requests", docstring)
    lines = catalogue.show("benchmark", "sorry_bench").splitlines()
    assert [line for line in lines if line.startswith("Size")] == ["Size: 12 made-up requests"]
    assert not any("999" in line for line in lines)


@pytest.mark.parametrize("name", [name for name in plugins.names("benchmark") if name != "prompt_list"])
def test_every_benchmark_shows_the_size_on_its_own_card(name: str) -> None:
    card = plugins.card_of("benchmark", name)
    assert isinstance(card, Card)
    assert card.size
    text = " ".join(catalogue.show("benchmark", name).split())
    assert f"Size: {' '.join(card.size.split())} " in text


@pytest.mark.parametrize("name", _lists.names())
def test_a_list_that_ships_shows_the_size_of_its_toml(name: str) -> None:
    size = _lists.load(name).toml.size
    assert f"Size: {' '.join(size.split())} " in " ".join(catalogue.show("benchmark", name).split())
