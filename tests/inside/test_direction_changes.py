"""Directions of concepts: which prompts they are read off, and that they say of made-up activations what is in them."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from aftertune.generated_world.privacy import RECIPIENTS
from aftertune.inside import concepts
from aftertune.inside.analysis import Activations
from aftertune.inside.concepts import ABOUT, CONTROLS, PRIVACY, REFUSAL, ConceptPairs, refusal_pairs, written
from aftertune.inside.direction_changes import DirectionChange, direction_changes, sides
from aftertune.inside.explanation import ArmDirections, Explanation
from aftertune.records import Prompt
from aftertune.reporting import explanation as page

WIDTH, LAYERS = 40, 4
SIDES = ("first", "second")


def texts(prompts: list[Prompt], concept: str) -> list[tuple[str, str, str]]:
    own = [prompt for prompt in prompts if prompt.subset == concept]
    return [
        (one.messages[-1].content, other.messages[-1].content, one.cluster)
        for one, other in zip(own[::2], own[1::2], strict=True)
    ]


@pytest.mark.parametrize("world", [True, False])
def test_each_pair_has_two_sides_and_a_cluster(world: bool) -> None:
    prompts = written(world=world)
    assert set(ABOUT) - {REFUSAL} == {prompt.subset for prompt in prompts}
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    for concept in ABOUT:
        pairs = texts(prompts, concept)
        assert all(one != other for one, other, _ in pairs)
        if concept != REFUSAL:
            assert len({cluster for _, _, cluster in pairs}) >= 10
    assert written(world=world) == prompts


@pytest.mark.parametrize("world", [True, False])
def test_what_is_shared_and_with_whom_stands_as_often_on_either_side(world: bool) -> None:
    """Else the recipient or the thing would go into the direction of privacy."""
    words: dict[str, Counter[str]] = {}
    for one, other, cluster in texts(written(world=world), PRIVACY):
        own = words.setdefault(cluster, Counter())
        own.update(re.findall(r"[\w']+", one))
        own.subtract(re.findall(r"[\w']+", other))
    # Within each cluster: what balances out over several is held against itself by whatever leaves clusters apart.
    assert not {cluster: own for cluster, own in words.items() if any(own.values())}
    assert len(words) >= 12


@pytest.mark.parametrize("strength", [0.5, 5.0, 50.0])
def test_what_is_balanced_leaves_reliability_as_it_is(strength: float) -> None:
    """Each recipient has a vector of its own in every activation; the direction of privacy is another one."""
    rng = np.random.default_rng(0)
    prompts = [prompt for prompt in written(world=True) if prompt.subset == PRIVACY]
    asked = [prompt.messages[0].content.lower() for prompt in prompts]
    of = [next(name for name in RECIPIENTS if f"the {name} " in text) for text in asked]
    recipients = {name: rng.normal(size=WIDTH) for name in sorted(set(of))}
    assert len(recipients) == 10
    values = np.array([strength * recipients[name] for name in of]) + 0.3 * rng.normal(size=(len(of), WIDTH))
    values[::2, 0] += 3.0
    both = Activations(ConceptPairs().select(prompts), np.repeat(values[:, None], 2, 1).astype(np.float32))
    (found,) = changes(both, both)
    assert 0.9 < found.reliability[0] <= 1


@pytest.mark.parametrize(("limit", "cases", "pairs"), [(0, 12, 48), (2, 2, 8), (12, 12, 48), (16, 12, 48)])
def test_a_limit_keeps_whole_cases_of_privacy(limit: int, cases: int, pairs: int) -> None:
    """Sixteen pairs of four cases could never have turned: four clusters have eight shuffles."""
    own = texts(written(world=False, limit=limit), PRIVACY)
    assert (len({cluster for _, _, cluster in own}), len(own)) == (cases, pairs)
    assert len(texts(written(world=False, limit=limit), "format")) == (limit or 24)


def test_few_clusters_cannot_tell_a_turn_and_say_so() -> None:
    rng = np.random.default_rng(1)
    base = activations(rng)
    tuned = activations(rng, base, privacy=0.7)
    few = [row for row, each in enumerate(base.prompts) if each.cluster in {f"case {number}" for number in range(4)}]
    own, other = (Activations([one.prompts[row] for row in few], one.values[few]) for one in (base, tuned))
    found = changes(own, other)
    assert [each.n_clusters for each in found] == [4] * LAYERS
    assert not any(each.turned or each.tellable for each in found)
    assert {each.least_p for each in found} == {4 * 2.0**-3}
    assert all(each.tellable for each in changes(base, tuned))
    said = page.sentences(
        Explanation(
            title="t", confidence=0.95, openings={}, readouts=(), twins=(), effects=(),
            directions=(ArmDirections(base="m", arm="a", changes=tuple(found)),),
        )
    )  # fmt: skip
    (line,) = [line for line in said if "lowest cosine" in line]
    assert line.startswith("a: whether the privacy direction turned more than others cannot be told from 4 clusters")
    assert "did not turn" not in line


def test_options_stand_in_both_orders_in_every_case() -> None:
    orders: Counter[tuple[str, bool]] = Counter()
    for one, other, _ in texts(written(world=False), PRIVACY):
        assert ("(A) Yes" in one) == ("(A) Yes" in other), "the letters are the same on both sides of a pair"
        orders[one.partition("\n")[0], "(A) Yes" in one] += 1
    assert set(orders.values()) == {1}
    assert len(orders) == 2 * len({question for question, _ in orders})


def test_pronouns_fit_whomever_a_thing_is_passed_on_to() -> None:
    for one, other, _ in texts(written(world=False), PRIVACY):
        persons = [set(re.findall(r"\b(?:her|his|him|she|he)\b", text)) for text in (one, other)]
        assert not ({"her", "she"} & (persons[0] | persons[1]) and {"his", "him", "he"} & (persons[0] | persons[1]))


def test_refusal_is_read_off_the_benchmark_category_by_category() -> None:
    prompts = list(Core().prompts(BenchmarkContext()))
    few = refusal_pairs(prompts, "harmful", "harmless", 44)
    assert len(few) == 88
    assert len({prompt.cluster for prompt in few}) == 44
    assert len(refusal_pairs(prompts, "harmful", "harmless", 0)) == 880
    assert [prompt.category for prompt in few[:2]] == ["first", "second"]


# ---------------------------------------------------------------------------------------------- made-up activations


def activations(rng: np.random.Generator, base: Activations | None = None, **turns: float) -> Activations:
    """Return a base's activations, or those of a model in whose third layer the named concepts turned (radians)."""
    selected = ConceptPairs().select(written(world=False))
    values: NDArray[np.float32]
    if base is None:
        values = rng.normal(size=(len(selected), LAYERS + 1, WIDTH)).astype(np.float32)
        for number, concept in enumerate((*CONTROLS, PRIVACY)):
            rows = [row for row, each in enumerate(selected) if each.pair.startswith(concept) and each.side == "first"]
            values[rows, :, number] += 6
        return Activations(selected, values)
    values = base.values + 0.05 * rng.normal(size=base.values.shape).astype(np.float32)
    for concept, angle in turns.items():
        number = (*CONTROLS, PRIVACY).index(concept)
        rows = [row for row, each in enumerate(selected) if each.pair.startswith(concept) and each.side == "first"]
        values[rows, 3, number] += 6 * (np.cos(angle) - 1)
        values[rows, 3, -1 - number] += 6 * np.sin(angle)
    return Activations(selected, values)


def changes(base: Activations, *tuned: Activations, concept: str = PRIVACY) -> list[DirectionChange]:
    return direction_changes(base, tuned, concept, np.random.default_rng(0))


def test_a_known_turn_is_found_in_its_layer_and_its_concept() -> None:
    rng = np.random.default_rng(1)
    base = activations(rng)
    tuned = [activations(rng, base, privacy=0.7) for _ in range(3)]
    found = changes(base, *tuned)
    assert [each.layer for each in found if each.turned] == [3]
    turned = found[2]
    assert turned.disattenuated
    assert turned.disattenuated.low <= np.cos(0.7) <= turned.disattenuated.high
    assert turned.disattenuated.high - turned.disattenuated.low < 0.2
    assert turned.same_prompts.value < turned.shuffled[0]
    assert (turned.n_pairs, turned.n_clusters, turned.n_seeds) == (48, 12, 3)
    for concept in CONTROLS:
        assert not [each for each in changes(base, *tuned, concept=concept) if each.turned]


def test_a_model_against_itself_has_not_moved() -> None:
    base = activations(np.random.default_rng(2))
    for concept in (PRIVACY, *CONTROLS):
        for each in changes(base, base, base, concept=concept):
            assert not each.turned
            assert each.p == 1
            assert each.disattenuated
            assert each.disattenuated.value == pytest.approx(1)
            assert each.same_prompts.value == pytest.approx(1)
            assert each.length_ratio
            assert each.length_ratio.value == pytest.approx(1)


def test_a_turn_of_everything_is_no_turn_of_this_direction() -> None:
    """Where shuffled labels turn as far, nothing is said of the concept itself."""
    rng = np.random.default_rng(3)
    base = activations(rng)
    noise = rng.normal(size=(WIDTH, WIDTH))
    rotation, _ = np.linalg.qr(np.eye(WIDTH) + 0.06 * (noise - noise.T))
    tuned = Activations(base.prompts, (base.values @ rotation).astype(np.float32))
    found = changes(base, tuned)
    assert all(each.clear_of_one for each in found), "it did turn"
    assert not any(each.turned for each in found), "and so did whatever else tells the prompts apart"


def test_where_there_is_no_direction_nothing_turned() -> None:
    rng = np.random.default_rng(4)
    selected = ConceptPairs().select(written(world=False))
    shape = (len(selected), LAYERS + 1, WIDTH)
    base, tuned = (Activations(selected, rng.normal(size=shape).astype(np.float32)) for _ in range(2))
    for each in changes(base, tuned):
        assert not each.known
        assert not each.turned


def test_prompts_that_give_the_same_activations_have_no_direction() -> None:
    selected = ConceptPairs().select(written(world=False))
    same = Activations(selected, np.ones((len(selected), LAYERS + 1, WIDTH), dtype=np.float32))
    assert changes(same, same) == []
    assert direction_changes(same, [same], "unknown", np.random.default_rng(0)) == []


def test_a_concept_is_its_own_pairs_and_no_other() -> None:
    base = activations(np.random.default_rng(0))
    first, second, codes = sides(base, "format")
    assert len(first) == len(second) == len(codes) == 24
    assert all(base.prompts[row].pair.startswith("format-") for row in first + second)
    assert [base.prompts[row].side for row in first[:2] + second[:2]] == ["first", "first", "second", "second"]
    assert written(world=True)[0].benchmark == concepts.BENCHMARK
