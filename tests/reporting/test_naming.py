"""A unit has one name: unique among those listed, and with nothing in it that tells nothing apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import Spread
from aftertune.naming import Names, Unit, row_names
from aftertune.records import Drift

ARMS = st.builds(
    Unit,
    base=st.sampled_from(["m", "n"]),
    arm=st.sampled_from(["keep", "mask"]),
    recipe=st.sampled_from(["lora", "full"]),
    epoch=st.sampled_from([1, 2]),
    corpus=st.sampled_from(["shop", "bank"]),
    temperature=st.sampled_from([0.0, 0.7]),
    judge=st.sampled_from(["rule", "model"]),
)
SINGLES = st.builds(
    lambda unit, seed, again: dataclasses.replace(
        unit, train_seed=seed, checkpoint=f"c{hash((unit, seed)) % 997}{again}"
    ),
    ARMS,
    st.sampled_from([None, 0, 1]),
    st.sampled_from(["x", "y"]),
)


@given(st.lists(ARMS | SINGLES, min_size=1, max_size=12, unique=True))
def test_no_two_units_have_the_same_name(units: list[Unit]) -> None:
    names = Names(units)
    assert len({names(unit) for unit in units}) == len(units)


@given(st.lists(ARMS | SINGLES, min_size=1, max_size=12, unique=True))
def test_what_all_units_share_is_in_no_name(units: list[Unit]) -> None:
    names = Names(units)
    for field, text in (("base", "{}"), ("judge", "{}"), ("temperature", "T = {:g}")):
        shared = {getattr(unit, field) for unit in units}
        if len(shared) == 1:
            assert not any(text.format(*shared) in names(unit).split(", ") for unit in units), field
    for unit in units:
        own = [other for other in units if other.arm == unit.arm]
        parts = names(unit).split(", ")
        assert (unit.recipe in parts) == (len({other.recipe for other in own}) > 1)
        assert (unit.corpus in parts) == (len({other.corpus for other in own}) > 1)


@given(st.lists(ARMS | SINGLES, min_size=2, max_size=12, unique=True))
def test_names_do_not_depend_on_the_order(units: list[Unit]) -> None:
    there, back = Names(units), Names(reversed(units))
    assert [there(unit) for unit in units] == [back(unit) for unit in units]


def test_the_parts_stand_in_one_order() -> None:
    one = Unit(
        base="m",
        arm="keep",
        recipe="lora",
        train_seed=3,
        epoch=2,
        checkpoint="x",
        corpus="shop",
        temperature=0.7,
        judge="rule",
    )
    others = [
        dataclasses.replace(one, base="n", checkpoint="z"),
        dataclasses.replace(one, recipe="full"),
        dataclasses.replace(one, corpus="bank"),
        dataclasses.replace(one, checkpoint="y"),
        dataclasses.replace(one, temperature=0.0),
        dataclasses.replace(one, judge="model"),
    ]
    assert Names([one, *others])(one) == "keep seed 3, m, lora, shop, epoch 2, x, T = 0.7, rule"


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        (Unit(arm="base", checkpoint="b"), "base"),
        (Unit(arm="keep", epoch=3), "keep"),
        (Unit(arm="keep", epoch=3, train_seed=1, checkpoint="x"), "keep seed 1, epoch 3"),
        (Unit(arm="my-adapter", checkpoint="x"), "my-adapter"),
        (Unit(arm="keep - placeholder", recipe="lora"), "keep - placeholder"),
        (Unit(arm="keep", temperature=0.7), "keep"),
    ],
)
def test_a_unit_alone_is_called_by_its_arm_and_a_checkpoint_by_seed_and_epoch(unit: Unit, name: str) -> None:
    assert Names([unit])(unit) == name


def test_rows_are_named_among_the_rows_of_their_metric(drift: Callable[..., Drift]) -> None:
    rows = [drift(metric="a", judge="x"), drift(metric="b", judge="x"), drift(metric="b", judge="y")]
    assert [row_names(rows)(row) for row in rows] == ["keep", "keep, x", "keep, y"]


def test_a_variance_component_is_named_by_its_arm() -> None:
    spread = Spread(
        metric="a",
        base_model="m",
        arm="keep",
        recipe="lora",
        epoch=3,
        temperature=0.0,
        source="seed",
        variance=0.1,
        low=0.0,
        high=1.0,
        confidence=0.95,
        part=0.5,
        n_seeds=2,
        n_prompts=9,
        n_samples=1,
        n_judges=1,
        warning="",
    )
    first = dataclasses.replace(spread, epoch=1)
    names = Names(map(Unit.of_spread, (spread, first)))
    assert [names(Unit.of_spread(one)) for one in (spread, first)] == ["keep, epoch 3", "keep, epoch 1"]
