"""What a message of an error says, however long the names in it are."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import LONGEST, DataError, UsageError, near


def test_a_near_miss_is_named() -> None:
    assert near("embeded", ["embedded", "scripted"]) == " (did you mean 'embedded'?)"


def test_else_the_known_names_are_listed_in_their_order() -> None:
    assert near("x", ["banana", "apple"]) == " (known: apple, banana)"


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    said = near("x", [f"name{i:03}" for i in range(50)])
    assert said.startswith(" (known: name000, name001, ")
    assert said.endswith("name019 and 30 more)")


def test_a_message_of_moderate_length_stays_as_it_is() -> None:
    text = "file.csv, line 3: " + "x" * 1400
    assert str(UsageError(text)) == text


def test_a_long_value_loses_its_middle_not_where_and_what_to_do() -> None:
    error = DataError(f"data.jsonl, line 7: no checkpoint '{'x' * 9000}'; name one with --base")
    assert str(error).startswith("data.jsonl, line 7: no checkpoint 'xxx")
    assert str(error).endswith("xxx'; name one with --base")
    assert " … " in str(error)
    assert len(str(error)) == LONGEST


def test_each_problem_of_several_has_its_own_line() -> None:
    error = UsageError("\n".join(["first " + "a" * 2000, "second"]))
    assert [len(line) for line in str(error).split("\n")] == [LONGEST, len("second")]


@given(st.text(), st.lists(st.text(max_size=300), max_size=60))
def test_a_list_of_known_names_is_never_longer_than_a_few_lines(word: str, known: list[str]) -> None:
    assert len(near(word, known)) < 2200


@given(st.text(max_size=5000))
def test_an_error_comes_through_another_process_as_it_was(text: str) -> None:
    error = UsageError(text)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
