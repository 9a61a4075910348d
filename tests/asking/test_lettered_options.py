"""Questions with lettered options: parsing of options and answers, what is put to a model, and what is scored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.asking import choices
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.errors import DataError, UsageError
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt

WORDS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
HUB = {"label": ["1", "2", "3"], "text": ["sand", "rain", "ash"]}


@dataclass(frozen=True)
class Quiz(choices.ScoredBenchmark):
    """As small as one can be."""

    name: ClassVar[str] = "quiz"
    card: ClassVar[Card] = Card("Quiz.", "here", "MIT")
    metrics: ClassVar[tuple[Metric, ...]] = ()

    def prompts(self, context: BenchmarkContext) -> list[Prompt]:
        return []


@pytest.mark.parametrize(
    ("options", "answer", "right"),
    [
        (["sand", "rain"], "B", 1),
        (["sand", "rain"], "(B)", 1),
        (["sand", "rain"], " B. ", 1),
        (["sand", "rain"], 0, 0),
        (["sand", "rain"], "1", 1),
        (("sand", "rain"), "A", 0),
        (HUB, "1", 0),
        (HUB, 1, 1),
        (HUB, "0", 0),
        ({"label": ["Y", "N"], "text": ["yes", "no"]}, "N", 1),
        ({"label": [1, 2], "text": ["yes", "no"]}, "2", 1),
        ({"text": ["yes", "no"]}, "B", 1),
        ({"label": None, "text": ["yes", "no"]}, "B", 1),
        (["ß", "日本"], "B", 1),
        ([f"o{i}" for i in range(10)], "J", 9),
        ([3, 4.5], "A", 0),
    ],
)
def test_an_answer_is_a_letter_an_index_from_zero_or_a_label(options: Any, answer: Any, right: int) -> None:
    texts, index = choices.parse("f:1", options, answer)
    raw = options["text"] if isinstance(options, dict) else options
    assert (texts, index) == ([str(each) for each in raw], right)


@pytest.mark.parametrize(
    ("options", "answer", "says"),
    [
        ("sand", "A", "options must be a list of 2 to 10 texts"),
        (None, "A", "options must be a list of 2 to 10 texts"),
        (["one"], "A", "options must be a list of 2 to 10 texts"),
        (["o"] * 11, "A", "options must be a list of 2 to 10 texts"),
        ({"label": ["A", "B"]}, "A", "options must be a list of 2 to 10 texts"),
        ({"label": 5, "text": ["a", "b"]}, "A", "labels must be a list of 2"),
        ({"label": ["A"], "text": ["a", "b"]}, "A", "labels must be a list of 2"),
        (["a", "  "], "A", "an option is empty"),
        (["a", None], "A", "an option is empty"),
        (["a", "b"], "C", "answer 'C' is none of the options' letters"),
        (["a", "b"], "a", "answer 'a' is none of the options' letters"),
        (["a", "b"], "", "answer '' is none of the options' letters"),
        (["a", "b"], None, "answer 'None' is none of the options' letters"),
        (["a", "b"], True, "answer 'True' is none of the options' letters"),
        (["a", "b"], "-1", "answer '-1' is none of the options' letters"),
        (["a", "b"], "²", "answer '²' is none of the options' letters"),
        (["a", "b"], "x" * 99, f"answer '{'x' * 40}' is none of the options' letters"),
        (["a", "b"], 2, "answer 2 is none of the 2 options"),
        (["a", "b"], "2", "answer 2 is none of the 2 options"),
        (["a", "b"], -1, "answer -1 is none of the 2 options"),
        (HUB, "A", "answer 'A' is none of the options' letters"),
    ],
)
def test_what_is_no_question_is_one_line_with_its_place(options: Any, answer: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        choices.parse("quiz.csv:7", options, answer)
    assert str(caught.value) == f"quiz.csv:7: {says}"


@given(st.lists(WORDS, min_size=2, max_size=10), st.data())
def test_letter_index_and_label_lead_to_the_same_option(options: list[str], data: st.DataObject) -> None:
    right = data.draw(st.integers(0, len(options) - 1))
    letter = "ABCDEFGHIJ"[right]
    shuffled = data.draw(st.permutations([f"L{i}" for i in range(len(options))]))
    ways: list[tuple[Any, Any]] = [(options, letter), (options, right), (options, str(right)), (options, f"({letter})")]
    ways.append(({"label": shuffled, "text": options}, shuffled[right]))
    for given_options, answer in ways:
        texts, index = choices.parse("f:1", given_options, answer)
        asked = choices.expect(texts, index)["choice"]
        assert asked["options"][asked["correct"]] == options[right]
        assert list(asked["options"]) == list("ABCDEFGHIJ"[: len(options)])


@given(st.lists(WORDS, min_size=2, max_size=10))
def test_every_option_stands_behind_its_letter_between_question_and_instruction(options: list[str]) -> None:
    first, *lines, last = choices.question("Which?", options).split("\n")
    assert (first, last) == ("Which?", "Answer with the letter of the right option only.")
    assert [re.fullmatch(r"\((.)\) (.*)", line).groups() for line in lines] == list(  # type: ignore[union-attr]
        zip("ABCDEFGHIJ", options, strict=False)
    )
    assert choices.letters(options) == {letter: (letter, f"({letter}") for letter in "ABCDEFGHIJ"[: len(options)]}


def test_an_instruction_of_ones_own_ends_the_question() -> None:
    assert choices.question("Wet?", ["rain", "ash"], "One word.") == "Wet?\n(A) rain\n(B) ash\nOne word."


@pytest.mark.parametrize(
    ("scored_by", "axes", "generate"),
    [
        ("both", ("choice", "accuracy"), True),
        ("log_probability", ("choice",), False),
        ("generation", ("accuracy",), None),
    ],
)
def test_axes_and_scoring_follow_what_is_read(scored_by: Any, axes: tuple[str, ...], generate: bool | None) -> None:
    quiz = Quiz(scored_by=scored_by)
    assert quiz.axes("accuracy", "choice") == axes
    scoring = quiz.scoring({"A": ("A", "(A")}, per_token=True)
    wanted = {"scored": {"forms": {"A": ["A", "(A"]}, "per_token": True, "generate": generate}}
    assert scoring == ({} if generate is None else wanted)
    assert quiz.scorable


def test_only_both_falls_back_on_generation() -> None:
    assert Quiz().scored_by == "both"
    assert Quiz().by_generation() == Quiz("generation")
    for kept in (Quiz("generation"), Quiz("log_probability")):
        assert kept.by_generation() == kept


def test_a_way_of_scoring_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Quiz("letters")  # type: ignore[arg-type]
    assert str(caught.value) == ("quiz: scored_by = 'letters' is not one of 'log_probability', 'generation', 'both'")
