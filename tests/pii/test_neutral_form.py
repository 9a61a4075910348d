from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.pii.detect import TYPES
from aftertune.pii.neutral_form import SYMBOL, neutral
from aftertune.pii.policy import placeholder
from aftertune.pii.registry import Registry
from aftertune.records import Person

READ = neutral(())


@pytest.mark.parametrize(
    "blank",
    [
        "[Name]", "[NAME]", "[NAME_1]", "[Your full name here]", "[[NAME]]", "<NAME>", "<customer name>", "<Guest's name>",
        "{name}", "{{name}}", "{{ customer.name }}", "${NAME}", "%NAME%", "__NAME__", "_NAME_", "NAME_1", "PERSON_12",
        "XXX", "xxxx", "XXX-XXX", "____", "████", "##-##", "【姓名】",
        "Anna Kovacs", "Mr Nguyen", "a.smith@mail.com", "+44 20 7946 0958", "BK-482913",
    ],
)  # fmt: skip
def test_values_and_blanks_of_every_kind_are_one_symbol(blank: str) -> None:
    assert READ(f"Please ask for {blank} at the gate.") == f"Please ask for {SYMBOL} at the gate."


@pytest.mark.parametrize("type_", sorted(TYPES))
@pytest.mark.parametrize("number", [None, 3])
def test_the_placeholder_of_every_type_is_the_symbol(type_: str, number: int | None) -> None:
    assert READ(f"It is {placeholder(type_, number)} for now.") == f"It is {SYMBOL} for now."


@pytest.mark.parametrize(
    "text",
    [
        "As said in [1] and [23], mark [x] or [ ].",
        "If a < b and c > d, then stop.",
        "if (x) { return y; }",
        "A <b>bold</b> word, a <br/> and <a href='x'>link</a>.",
        "### Title and **bold** and snake_case_names",
        "It costs 3.14159265 or 1,250 in 2019.",
        "The XX century, and xx.",
    ],
)
def test_what_is_no_blank_stays(text: str) -> None:
    assert READ(text) == text


def test_values_side_by_side_are_one_and_marks_around_them_go() -> None:
    assert READ("Write to [NAME] <[EMAIL]>, [PHONE].") == f"Write to {SYMBOL}."
    assert READ('Dear Mr. [Last Name],\n"[Your Name]"') == f"Dear {SYMBOL}"


def test_values_that_the_run_knows_are_found_in_parts_too() -> None:
    people = [Person("a", {"PERSON": "Zorvik Plemth", "ADDRESS": "7 Vikplem Yard", "REFERENCE": "ZZ81QX"})]
    read = neutral([Registry.of("own", people)])
    assert read("Hi Zorvik, ZORVIK PLEMTH lives at 7 Vikplem Yard (ZZ-81-QX).") == f"Hi {SYMBOL} lives at {SYMBOL}."


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_it_takes_any_text_and_twice_is_once(text: str) -> None:
    once = READ(text)
    assert READ(once).count(SYMBOL) <= once.count(SYMBOL) + once.count("[") + once.count("<")


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "{{" * 20_000, "<a" * 20_000, "x" * 50_000, "_A" * 20_000, SYMBOL * 20_000]
)
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    READ(text)
    assert time.process_time() - began < 5
