"""The judge `choice`: what a response chooses, by a table of near-misses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import plugins
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.choice import chosen_option, chosen_rating
from aftertune.records import Message, Prompt

YES_NO = {"A": "Yes", "B": "No"}
FOUR = {"A": "sand", "B": "rain", "C": "ash", "D": "a dry river"}
SENSITIVE = {"not at all sensitive": 1.0, "not too sensitive": 2.0, "somewhat sensitive": 3.0, "very sensitive": 4.0}


@pytest.mark.parametrize(
    ("text", "options", "letter"),
    [
        ("B", FOUR, "B"),
        ("(B)", FOUR, "B"),
        ("B.", FOUR, "B"),
        ("**B**", FOUR, "B"),
        ("B) rain", FOUR, "B"),
        ("(B) rain, since (A) is dry", FOUR, "B"),
        ("The answer is B.", FOUR, "B"),
        ("The correct answer is (C).", FOUR, "C"),
        ("Answer: b", FOUR, "B"),
        ("Let me think. (A) is dry, (C) is dry. Answer: (B)", FOUR, "B"),
        ("Option A is right.", FOUR, "A"),
        ("I choose option D because of the river", FOUR, "D"),
        ("rain", FOUR, "B"),
        ("Rain is wet.", FOUR, "B"),
        ("It is rain", FOUR, "B"),
        ("Yes", YES_NO, "A"),
        ("No, that would hurt her.", YES_NO, "B"),
        ("(B) No", YES_NO, "B"),
        ("A", YES_NO, "A"),
        ("A - Yes", YES_NO, "A"),
        # an article, a pronoun and a mere mention are no choice
        ("A good question!", FOUR, None),
        ("The answer is a bit complicated.", FOUR, None),
        ("I would have to think about it.", FOUR, None),
        ("(A) or (B)", FOUR, None),
        ("Option A is wrong, option B is right", FOUR, None),
        ("Both A and B", YES_NO, None),
        ("", FOUR, None),
        ("None of them", FOUR, None),
        ("E", FOUR, None),
        ("I cannot help with that.", YES_NO, None),
        ("I know nothing of it", YES_NO, None),
    ],
)
def test_options(text: str, options: dict[str, str], letter: str | None) -> None:
    assert chosen_option(text, options)[0] == letter


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4.0),
        ("4) very sensitive", 4.0),
        ("Rating: 3", 3.0),
        ("very sensitive", 4.0),
        ("It is not at all sensitive.", 1.0),
        ("It is not too sensitive, I think", 2.0),
        ("5", None),
        ("3 or 4", None),
        ("between somewhat sensitive and very sensitive", None),
        ("sensitive", None),
        ("3.5", None),
        ("", None),
    ],
)
def test_ratings(text: str, value: float | None) -> None:
    if text == "3 or 4":
        assert chosen_rating(text, SENSITIVE)[0] in (None, 3.0)  # the first number is what was asked for
    else:
        assert chosen_rating(text, SENSITIVE)[0] == value


def test_a_negative_rating_keeps_its_sign() -> None:
    scale = {"strongly disagree": -100.0, "somewhat disagree": -50.0, "neutral": 0.0, "somewhat agree": 50.0}
    assert chosen_rating("-100) strongly disagree", scale)[0] == -100
    assert chosen_rating("−50", scale)[0] == -50
    assert chosen_rating("50", scale)[0] == 50


@given(st.text(max_size=400))
def test_any_text_gives_an_option_or_a_reason(text: str) -> None:
    letter, why = chosen_option(text, FOUR)
    assert letter is None or letter in FOUR
    assert why


def test_what_cannot_be_read_is_unparsable_and_never_wrong() -> None:
    score = plugins.load("judge", "choice").open(JudgeContext())
    prompt = Prompt(
        "1",
        "b",
        "s",
        "c",
        "c",
        (Message("user", "?"),),
        {
            "choice": {"options": YES_NO, "correct": "B"},
            "rating": {"scale": SENSITIVE, "human": 3.5},
        },
    )
    choice, rating = score([Answer(prompt, "hm")])[0]
    assert (choice.status, choice.label, choice.value) == ("unparsable", None, None)
    assert (rating.status, rating.value) == ("unparsable", None)
    choice, rating = score([Answer(prompt, "4")])[0]
    assert rating.value == pytest.approx(0.5 / 3)
    for text, label in (("(B) No", "correct"), ("(A) Yes", "wrong")):
        assert score([Answer(prompt, text)])[0][0].label == label
    assert score([Answer(Prompt("1", "b", "s", "c", "c", prompt.messages), "B")]) == [()]


def test_an_answer_of_megabytes_is_read_in_time() -> None:
    for text in ("(A" * 100_000, "answer " * 50_000, "1 " * 100_000, "A) " * 50_000):
        chosen_option(text[:4000], FOUR)
        chosen_rating(text[:4000], SENSITIVE)
