"""Arguments of public functions: what fits an annotation, how the annotation is said, and what a wrong one is told."""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import UsageError
from aftertune.public import SHOWN, PathLike, check_record, fits, in_words, public

SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    int: st.integers(),
    float: st.floats() | st.integers(),
    bool: st.booleans(),
    type(None): st.none(),
}
"""Annotation -> what is of it."""
OTHERS = {str: 3, int: "3", float: "0.5", bool: 1, type(None): 0}
"""Annotation -> what is close, and not of it."""
simple = st.sampled_from(list(SIMPLE))


@given(simple, st.data())
def test_a_value_fits_its_own_type_and_any_union_with_it(kind: Any, data: st.DataObject) -> None:
    value = data.draw(SIMPLE[kind])
    assert fits(value, kind)
    assert fits(value, typing.Optional[kind])  # noqa: UP045
    assert fits(value, Path | kind)
    assert not fits(value, Path | Callable[..., Any])
    assert not fits(OTHERS[kind], kind)


@given(simple, st.data())
def test_one_wrong_item_spoils_a_list(kind: Any, data: st.DataObject) -> None:
    values = data.draw(st.lists(SIMPLE[kind], max_size=4))
    assert fits(values, Sequence[kind])
    assert fits(tuple(values), Sequence[kind])
    assert fits(tuple(values), tuple[kind, ...])
    assert not fits(values, tuple[kind, ...])
    at = data.draw(st.integers(0, len(values)))
    wrong = [*values[:at], OTHERS[kind], *values[at:]]
    assert not fits(wrong, Sequence[kind])
    assert not fits(tuple(wrong), tuple[kind, ...])


@given(simple, st.data())
def test_one_wrong_key_or_value_spoils_a_mapping(kind: Any, data: st.DataObject) -> None:
    values = data.draw(st.dictionaries(st.text(max_size=3), SIMPLE[kind], max_size=3))
    assert fits(values, Mapping[str, kind])
    assert not fits({**values, "x": OTHERS[kind]}, Mapping[str, kind])
    mixed: dict[Any, Any] = {**values, 3: None}
    assert not fits(mixed, Mapping[str, kind])
    assert not fits(list(values), Mapping[str, kind])


@pytest.mark.parametrize("text", ["", "abc", b"abc"])
def test_a_text_is_no_list_of_texts(text: object) -> None:
    assert not fits(text, Sequence[str])
    assert not fits(text, Sequence[Any])


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (True, int, False), (False, float, False), (1, bool, False), (1, float, True), (1.0, int, False),
        (Fraction(1, 2), float, True), (Fraction(1, 2), int, False), (Decimal(1), float, False), (1j, float, False),
        (float("nan"), float, True), (None, float, False),
        ("a", Literal["a", 1], True), ("b", Literal["a", 1], False), ([], Literal["a"], False),
        (print, Callable[[str], None], True), ("print", Callable[[str], None], False),
        (Path("x"), PathLike, True), ("x", PathLike, True), (b"x", PathLike, False), (3, PathLike, False),
        (Path("x"), os.PathLike[str], True), ("x", os.PathLike[str], False),
        (object(), Any, True), (None, Any, True), ([["a"], ["b"]], Sequence[Sequence[str]], True),
        ([["a"], "b"], Sequence[Sequence[str]], False), ({"a": [1]}, Mapping[str, Sequence[int]], True),
        ({"a": [True]}, Mapping[str, Sequence[int]], False), ((), tuple[str, ...], True), ([], Sequence[int], True),
        (3, typing.TypeVar("T"), True),
    ],
)  # fmt: skip
def test_what_fits(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert fits(numpy.float32(0.5), float)
    assert fits(numpy.int64(3), int)
    assert not fits(numpy.bool_(True), int)
    assert not fits(numpy.float64(3.0), int)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (str, "text"), (int, "a whole number"), (float, "a number"), (bool, "True or False"), (Any, "anything"),
        (PathLike, "text or a path"), (str | None, "text or None"), (str | int | None, "text, a whole number or None"),
        (Sequence[str], "a list, each item text"), (tuple[int, ...], "a list, each item a whole number"),
        (str | Sequence[str], "text or a list of these"), (PathLike | Sequence[PathLike], "text, a path or a list of these"),
        (Mapping[str, float], "a mapping of text to a number"), (Callable[..., None] | None, "a function or None"),
        (Literal["base", "own"], "one of 'base', 'own'"), (Path, "a Path"), (Sequence[str | None], "a list, each item text or None"),
    ],
)  # fmt: skip
def test_a_type_in_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words


# ---------------------------------------------------------------------------------------------- functions


@public("greet")
def greet(name: str, times: int = 1, *, loud: bool = False) -> str:
    """Say hello."""
    return f"{name.upper() if loud else name} " * times


def told(call: Callable[[], object]) -> str:
    with pytest.raises(UsageError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_checked_function_does_what_it_did_and_keeps_its_name() -> None:
    assert greet("a", 2, loud=True) == "A A "
    assert (greet.__name__, greet.__doc__) == ("greet", "Say hello.")


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((3,), {}, "greet: name = 3 (of type int): give text"),
        ((None,), {}, "greet: name = None (of type NoneType): give text"),
        (("a", True), {}, "greet: times = True (of type bool): give a whole number"),
        (("a",), {"loud": "yes"}, "greet: loud = 'yes' (of type str): give True or False"),
        (("a",), {"lout": True}, "greet: no parameter 'lout' (did you mean 'loud'?)"),
        (("a",), {"zzz": 1}, "greet: no parameter 'zzz' (known: loud, name, times)"),
        ((), {}, "greet: missing a required argument: 'name'"),
        (("a", 1, True), {}, "greet: too many positional arguments"),
        (("a",), {"name": "b"}, "greet: multiple values for argument 'name'"),
    ],
)
def test_a_wrong_argument_is_one_line_that_says_what_to_give(
    args: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    assert told(lambda: greet(*args, **options)) == message


@given(st.lists(st.text(max_size=30), min_size=1, max_size=9))
def test_however_long_a_wrong_value_is_the_message_is_one_short_line(value: list[str]) -> None:
    message = told(lambda: greet(value))  # type: ignore[arg-type]
    assert message.isprintable()
    assert len(message) <= len("greet: name =  (of type list): give text") + SHOWN + len("...")


def test_a_long_value_is_cut_and_one_that_just_fits_is_not() -> None:
    """With its quotes, it has `SHOWN` characters at most."""
    assert told(lambda: greet("a", "x" * (SHOWN - 2))).startswith(f"greet: times = '{'x' * (SHOWN - 2)}' (of")  # type: ignore[arg-type]
    assert told(lambda: greet("a", "x" * (SHOWN - 1))).startswith(f"greet: times = '{'x' * (SHOWN - 1)}... (of")  # type: ignore[arg-type]


def test_a_method_does_not_offer_self() -> None:
    class Thing:
        @public("Thing.do")
        def do(self, what: str) -> str:
            return what

    assert Thing().do("x") == "x"
    assert told(lambda: Thing().do(whom="x")) == "Thing.do: no parameter 'whom'" + " (known: what)"  # type: ignore[call-arg]


def test_a_missing_package_of_an_extra_is_explained_and_a_bug_is_not() -> None:
    @public("load")
    def load(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    assert told(lambda: load("spacy")).endswith("pip install 'aftertune[pii]'")
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module")


# ---------------------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Inner:
    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Outer:
    inner: Inner
    rest: tuple[Inner, ...] = ()
    seeds: tuple[int, ...] = (1,)
    label: str | None = None


def test_a_list_becomes_the_tuple_that_the_record_should_hold() -> None:
    record = Outer(Inner("a"), [Inner("b")], [1, 2])  # type: ignore[arg-type]
    check_record(record, "design: outer")
    assert record == Outer(Inner("a"), (Inner("b"),), (1, 2))
    hash(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Outer("a"), "d: o.inner = 'a' (of type str): give a Inner"),  # type: ignore[arg-type]
        (Outer(Inner(3)), "d: o.inner.name = 3 (of type int): give text"),  # type: ignore[arg-type]
        (Outer(Inner("a"), (Inner("b"), Inner("c", "1"))),  # type: ignore[arg-type]
         "d: o.rest[1].weight = '1' (of type str): give a number"),
        (Outer(Inner("a"), seeds=[1, "2"]),  # type: ignore[arg-type]
         "d: o.seeds = (1, '2') (of type tuple): give a list, each item a whole number"),
        (Outer(Inner("a"), seeds=3), "d: o.seeds = 3 (of type int): give a list, each item a whole number"),  # type: ignore[arg-type]
        (Outer(Inner("a"), label=["x"]), "d: o.label = ['x'] (of type list): give text or None"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_where_it_stands(record: Outer, message: str) -> None:
    assert told(lambda: check_record(record, "d: o")) == message


@given(st.lists(st.integers(), max_size=4), st.lists(st.text(max_size=3), max_size=3))
def test_a_record_that_is_right_stays_as_it_is(seeds: list[int], names: list[str]) -> None:
    record = Outer(Inner("a"), tuple(map(Inner, names)), tuple(seeds), "x")
    before = Outer(Inner("a"), tuple(map(Inner, names)), tuple(seeds), "x")
    check_record(record, "d: o")
    assert record == before
