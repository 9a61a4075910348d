"""Records from TOML tables and back, and what a table that does not fit is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import toml_records as records
from aftertune.errors import UsageError


@dataclass(frozen=True)
class Part:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Pair(records.OwnTable):
    """Its table is one key with the name of the left as key and the right as value."""

    left: str
    right: int

    @classmethod
    def from_table(cls, raw: Any, at: str) -> Pair:
        if not isinstance(raw, dict) or len(raw) != 1:
            raise UsageError(f"{at}: one pair, please")
        ((left, right),) = raw.items()
        return cls(left, right)

    def to_table(self) -> dict[str, Any]:
        return {self.left: self.right}


@dataclass(frozen=True)
class Whole:
    count: int
    parts: tuple[Part, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    mode: Literal["fast", "slow"] = "fast"
    note: str | None = None
    pair: Pair | None = None
    anything: Any = None
    on: bool = False
    derived: int = field(default=7, init=False)


def refusal(text: str, cls: type[Any] = Whole, at: str = "") -> str:
    with pytest.raises(UsageError) as caught:
        records.build(cls, records.load(text), at)
    said = str(caught.value)
    assert "\n" not in said
    return said


# ---------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    "text", ["a = ", "a = 1\na = 2", "[a", "a = 'x\ny'", "a = 2026-13-45", "a = 010", "\ufeffa = 1"]
)
def test_text_that_is_no_toml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^not valid TOML: ") as caught:
        records.load(text)
    assert "\n" not in str(caught.value)


def test_text_nested_beyond_reason_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^nested too deeply$"):
        records.load("a = " + "[" * 50_000)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^not valid TOML: .*digits"):
        records.load("a = " + "1" * 5000)


def test_a_whole_number_beyond_every_float_is_refused_by_its_key() -> None:
    assert refusal("count = 1\n[limits]\nlow = 1" + "0" * 400) == "limits.low: the number is too large"


# ---------------------------------------------------------------------------------------------- records


def test_a_table_becomes_a_record_of_records() -> None:
    text = """
    count = 2
    mode = "slow"
    note = "ünïcode \\u0000"
    anything = [1, {a = true}]
    on = true
    limits = {low = 1, high = 2.5}
    pair = {x = 3}
    parts = [{name = "a"}, {name = "b", weight = 2}]
    """
    built = records.build(Whole, records.load(text))
    assert built == Whole(
        count=2,
        parts=(Part("a", 1.0), Part("b", 2.0)),
        limits={"low": 1.0, "high": 2.5},
        mode="slow",
        note="ünïcode \0",
        pair=Pair("x", 3),
        anything=[1, {"a": True}],
        on=True,
    )
    assert [type(part.weight) for part in built.parts] == [float, float]
    assert type(built.limits["low"]) is float


def test_what_is_left_out_has_its_default() -> None:
    assert records.build(Whole, {"count": 0}) == Whole(0, (), {}, "fast", None, None, None, False)


def test_a_table_of_its_own_kind_hears_its_key_path() -> None:
    assert refusal("count = 1\npair = {a = 1, b = 2}") == "pair: one pair, please"
    assert records.build(Pair, {"x": 1}) == Pair("x", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing key 'count'"),
        ("count = 1\nparts = [{weight = 1}]", "missing key 'parts[0].name'"),
        ("count = 1\nnoet = 'x'", "unknown key 'noet' (did you mean 'note'?)"),
        ("noet = 'x'", "unknown key 'noet' (did you mean 'note'?)"),
        ("count = 1\nparts = [{name = 'a'}, {nam = 'b'}]", "unknown key 'parts[1].nam' (did you mean 'name'?)"),
        ("count = 1\nparts = [{name = 'a', zzz = 1}]", "unknown key 'parts[0].zzz' (known: name, weight)"),
        ("count = 1.0", "count: expected int, found float '1.0'"),
        ("count = true", "count: expected int, found bool 'True'"),
        ("count = '1'", "count: expected int, found str '1'"),
        ("count = 1\non = 1", "on: expected bool, found int '1'"),
        ("count = 1\nnote = 3", "note: expected str, found int '3'"),
        ("count = 1\nparts = {name = 'a'}", "parts: expected a list, found dict"),
        ("count = 1\nparts = ['a']", "parts[0]: expected a table, found str"),
        ("count = 1\nparts = [{name = 'a', weight = true}]", "parts[0].weight: expected float, found bool 'True'"),
        ("count = 1\nparts = [{name = 'a', weight = '1'}]", "parts[0].weight: expected float, found str '1'"),
        ("count = 1\nlimits = [1]", "limits: expected a table, found list"),
        ("count = 1\nlimits = {low = 'x'}", "limits.low: expected float, found str 'x'"),
        ("count = 1\nmode = 'slwo'", "mode: 'slwo' (did you mean 'slow'?) is not one of 'fast', 'slow'"),
        ("count = 1\nmode = 3", "mode: 3 is not one of 'fast', 'slow'"),
        ("count = 1\nmode = []", "mode: [] is not one of 'fast', 'slow'"),
        ('count = "a\\nb"', "count: expected int, found str 'a\\nb'"),
    ],
)
def test_a_key_or_value_that_does_not_fit_is_named_by_its_path(text: str, said: str) -> None:
    assert refusal(text) == said


def test_a_computed_field_cannot_be_given() -> None:
    assert refusal("count = 1\nderived = 8").startswith("unknown key 'derived'")


def test_a_long_value_is_cut_in_the_message() -> None:
    assert refusal(f"count = '{'x' * 61}y'") == f"count: expected int, found str '{'x' * 60}'"


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_what_is_no_table_is_refused_by_its_place(raw: Any) -> None:
    kind = type(raw).__name__
    with pytest.raises(UsageError, match=rf"^design: expected a table, found {kind}$"):
        records.build(Whole, raw)
    with pytest.raises(UsageError, match=rf"^arms: expected a table, found {kind}$"):
        records.build(Whole, raw, "arms")


def test_the_place_of_the_record_leads_every_path() -> None:
    assert refusal("cuont = 1", at="arms[2]").startswith("unknown key 'arms[2].cuont'")
    assert refusal("", at="arms[2]") == "missing key 'arms[2].count'"
    assert refusal("count = 'x'", at="arms[2]").startswith("arms[2].count: ")


# ---------------------------------------------------------------------------------------------- and back


def test_none_is_left_out_and_tuples_are_lists() -> None:
    record = Whole(1, (Part("a"),), {"low": 0.5}, pair=Pair("x", 3))
    assert records.bare(record) == {
        "count": 1,
        "parts": [{"name": "a", "weight": 1.0}],
        "limits": {"low": 0.5},
        "mode": "fast",
        "pair": {"x": 3},
        "on": False,
        "derived": 7,
    }
    assert records.bare({"a": None, "b": (1, (2,)), "c": {"d": None}}) == {"b": [1, [2]], "c": {}}
    assert records.bare(Part) is Part, "a class is no record"


TEXTS = st.text(max_size=6)
NUMBERS = st.floats(allow_nan=False)
WHOLES = st.builds(
    Whole,
    count=st.integers(),
    parts=st.lists(st.builds(Part, TEXTS, NUMBERS), max_size=3).map(tuple),
    limits=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    mode=st.sampled_from(["fast", "slow"]),
    note=st.none() | TEXTS,
    pair=st.none() | st.builds(Pair, TEXTS, st.integers()),
    anything=st.none() | st.lists(st.integers(), max_size=2),
    on=st.booleans(),
)


@given(WHOLES)
def test_a_record_comes_back_from_its_own_table(record: Whole) -> None:
    table = records.bare(record)
    assert table.pop("derived") == 7
    assert records.build(Whole, table) == record


@given(st.sampled_from([f.name for f in dataclasses.fields(Whole)]), st.sampled_from("abcxyz"))
def test_no_key_but_a_field_is_taken(name: str, letter: str) -> None:
    with pytest.raises(UsageError, match=rf"^unknown key 's\.{name}{letter}'"):
        records.build(Whole, {"count": 1, name + letter: 1}, "s")
