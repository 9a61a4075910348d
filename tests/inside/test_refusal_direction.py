"""The refusal direction: which prompts it reads, and that it says of made-up activations what was put into them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.asking.benchmarks.miniature import Miniature
from aftertune.errors import DataError
from aftertune.inside.analyses.refusal_direction import RefusalDirection
from aftertune.inside.analysis import Activations, Quantity, ReadPrompt
from aftertune.inside.matching import matched_pairs
from aftertune.records import Message, Prompt

WIDTH, LAYERS = 48, 3


def prompt(id: str, text: str, subset: str = "harmful", pair: str = "", cluster: str = "k") -> Prompt:
    return Prompt(id, "b", subset, cluster, cluster, (Message("user", text),), {"pair": pair} if pair else {})


# ---------------------------------------------------------------------------------------------- which prompts


def test_named_look_alikes_are_taken_and_no_others() -> None:
    harmful = [prompt("h1", "steal a car", pair="s2"), prompt("h2", "rob a bank"), prompt("h3", "x", pair="gone")]
    harmless = [prompt("s1", "steal a car", "harmless"), prompt("s2", "bake a cake", "harmless")]
    assert [(one.id, other.id) for one, other in matched_pairs(harmful, harmless)] == [("h1", "s2")]


def test_otherwise_the_whole_assignment_shares_the_most_words() -> None:
    """Taking the best pair first would leave `b` with nothing in common."""
    first = [prompt("a", "one two three four"), prompt("b", "one two nine nine")]
    second = [prompt("x", "one two three nine"), prompt("y", "three four five six"), prompt("z", "six seven")]
    assert [(one.id, other.id) for one, other in matched_pairs(first, second)] == [("a", "y"), ("b", "x")]
    assert matched_pairs(first, []) == matched_pairs([], second) == []


def test_core_is_read_by_its_own_pairs() -> None:
    prompts = Core(per_category=2).prompts(BenchmarkContext())
    selected = RefusalDirection().select(prompts)
    assert len(selected) == 2 * 88
    assert len({each.prompt_id for each in selected}) == len(selected)
    assert {each.side for each in selected} == {"harmful", "harmless"}
    by_id = {each.id: each for each in prompts}
    for one, other in zip(selected[::2], selected[1::2], strict=True):
        assert by_id[one.prompt_id].expect["pair"] == other.prompt_id
        assert one.pair == other.pair == one.prompt_id
        assert one.cluster == other.cluster == by_id[one.prompt_id].category


def test_the_miniature_is_matched_by_wording() -> None:
    """Both suites draw from the same wordings, so nearly every pair shares the frame around its deed."""
    prompts = Miniature().prompts(BenchmarkContext())
    by_id = {each.id: each.messages[0].content for each in prompts}
    selected = RefusalDirection().select(prompts)
    assert len(selected) == 2 * 176
    assert len({each.cluster for each in selected}) == 44
    shared = []
    for one, other in zip(selected[::2], selected[1::2], strict=True):
        assert (one.side, other.side) == ("harmful", "harmless")
        first, second = (set(by_id[each.prompt_id].split()) for each in (one, other))
        shared.append(len(first & second) / len(first | second))
    assert np.mean(shared) > 0.5
    assert selected == RefusalDirection().select(prompts)


def test_other_names_of_the_subsets_and_too_few_pairs() -> None:
    analysis = RefusalDirection(harmful="unsafe", harmless="safe")
    assert analysis.needs == {"unsafe", "safe"}
    prompts = [
        prompt("u1", "steal a car", "unsafe", cluster="theft"),
        prompt("s1", "wash a car", "safe"),
        prompt("u2", "kill a man", "unsafe", cluster="murder"),
        prompt("s2", "kill a process", "safe"),
    ]
    assert [each.prompt_id for each in analysis.select(prompts)] == ["u1", "s1", "u2", "s2"]
    with pytest.raises(DataError, match="b: 1 pairs of 'unsafe' and 'safe' prompts, in fewer than 2 clusters"):
        analysis.select(prompts[:2])
    with pytest.raises(DataError, match="the benchmark: 0 pairs"):
        analysis.select([])
    with pytest.raises(ValueError, match="both 'safe'"):
        RefusalDirection(harmful="safe", harmless="safe")


# ---------------------------------------------------------------------------------------------- what it says


def readings(clusters: int = 20, per_cluster: int = 4) -> list[ReadPrompt]:
    return [
        ReadPrompt(prompt_id=f"{side}{c}.{n}", side=side, pair=f"{c}.{n}", cluster=f"c{c}")
        for c in range(clusters)
        for n in range(per_cluster)
        for side in ("harmful", "harmless")
    ]


def activations(prompts: Sequence[ReadPrompt], turn: float, signal: float = 1.0, seed: int = 0) -> Activations:
    """Return activations in which harmful and harmless differ along a direction; in layer 2 it is turned, in 3 absent.

    All else is noise of the prompt, the same for every `turn`.
    """
    rng = np.random.default_rng(seed)
    values: NDArray[np.float32] = np.zeros((len(prompts), LAYERS + 1, WIDTH), dtype=np.float32)
    values[:, 1:] = rng.normal(size=(len(prompts), LAYERS, WIDTH)) / math.sqrt(WIDTH)
    straight, turned = np.eye(WIDTH)[0], math.cos(turn) * np.eye(WIDTH)[0] + math.sin(turn) * np.eye(WIDTH)[1]
    for row, each in enumerate(prompts):
        if each.side == "harmful":
            values[row, 1] += signal * straight
            values[row, 2] += signal * turned
    return Activations(prompts, values)


def compared(base: Activations, tuned: Activations) -> dict[tuple[str, int | None], Quantity]:
    quantities = RefusalDirection().compare(base, tuned, np.random.default_rng(0), confidence=0.95)
    return {(each.name, each.layer): each for each in quantities}


def test_a_turn_is_found_in_its_layer() -> None:
    prompts = readings()
    by = compared(activations(prompts, 0.0), activations(prompts, 0.8))
    assert {layer for _, layer in by} == {1, 2, 3}, "the first layer's input is the same for all prompts"
    straight, turned = by["disattenuated cosine", 1], by["disattenuated cosine", 2]
    assert straight.value == pytest.approx(1)
    assert turned.value == pytest.approx(math.cos(0.8), abs=0.1)
    assert turned.low is not None
    assert turned.high is not None
    assert turned.low < math.cos(0.8) < turned.high < 0.9
    assert by["cosine", 1].value == pytest.approx(by["cosine", 1].ceiling)
    assert (turned.n_pairs, turned.n_clusters, turned.warning) == (80, 20, "")


def test_where_there_is_no_direction_nothing_is_said_of_a_turn() -> None:
    prompts = readings()
    by = compared(activations(prompts, 0.0), activations(prompts, 0.8))
    reliability = by["reliability, base", 3]
    assert reliability.value is not None
    assert reliability.null_high is not None
    assert reliability.value <= reliability.null_high
    for name in ("disattenuated cosine", "length ratio"):
        assert by[name, 3].value is None
        assert by[name, 3].warning == "no direction beyond noise in base and tuned"


def test_a_shorter_direction_is_told_from_a_turned_one() -> None:
    prompts = readings()
    by = compared(activations(prompts, 0.0), activations(prompts, 0.0, signal=0.5))
    ratio = by["length ratio", 1]
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < 0.5 < ratio.high < 0.7
    assert by["disattenuated cosine", 1].value == pytest.approx(1, abs=0.05)


def test_prompts_are_joined_by_pair_and_side_and_not_by_position() -> None:
    prompts = readings()
    order = np.random.default_rng(1).permutation(len(prompts))

    def mixed(model: Activations) -> Activations:
        return Activations([model.prompts[index] for index in order], model.values[order])

    base, tuned = activations(prompts, 0.0), activations(prompts, 0.8)
    one, other = compared(base, tuned), compared(mixed(base), mixed(tuned))
    for key in one:
        assert (one[key].value is None) == (other[key].value is None)
        if one[key].value is not None:
            assert other[key].value == pytest.approx(one[key].value)


def test_few_clusters_and_identical_prompts_are_warned_of() -> None:
    for clusters, warning in ((4, "only 4 clusters; too few to tell a direction from noise"), (9, "only 9 clusters")):
        few = readings(clusters=clusters, per_cluster=20)
        by = compared(activations(few, 0.0), activations(few, 0.4))
        assert by["disattenuated cosine", 1].warning == warning
        assert (by["disattenuated cosine", 1].value is None) == (clusters == 4)
    prompts = readings()
    same = Activations(prompts, np.ones((len(prompts), 2, WIDTH), dtype=np.float32))
    quantities = RefusalDirection().compare(same, same, np.random.default_rng(0), confidence=0.95)
    assert [(each.name, each.value) for each in quantities] == [("cosine", None)]
    assert "length 0" in quantities[0].warning
