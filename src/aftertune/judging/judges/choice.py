"""Which option, or which rating, does a response choose, or the model's own probability? Rules alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aftertune import text as tools
from aftertune.judging.judge import Answer, Judge, JudgeContext, Opinion, Scorer
from aftertune.plugins import Card

MOST = 4_000
"""Characters read of a response; who chooses needs no more."""
LEAST_MASS = 0.25
"""Probability that the numbers of a scale must have together, for an expected rating."""
# An `A` or `I` before a word in lower case is an article or a pronoun, unless the word goes on about the letter.
_LETTER = (
    r"(?:([B-HJ])(?![A-Za-z'])|([AI])(?![A-Za-z']| (?!is\b|because|since|would|seems)[a-z])|([a-j])(?=[).\]]|\s*$))"
)
_STATEMENT = re.compile(r"\b(?i:(answer)|option|choice)\b(?: (?:is|would be|should be))?[\s:*(\[\"']{0,6}" + _LETTER)
_FIRST = re.compile(r"^[\s*(\[\"'`#]{0,6}([A-J])(?:[)\].:*\"'`]|\s*$|\s*\n|,|\s+[-–—])")
_MARKED = re.compile(r"(?:\(([A-J])\)|\[([A-J])\]|\*\*([A-J])\*\*|(?<![\w.])([A-J])\))")
_ALONE = re.compile(r"(?<![A-Za-z'’])([B-HJ])(?![A-Za-z'’])")
_PAIR = re.compile(r"(?<![A-Za-z])\(?([A-J])\)? ?(?:or|and|/|&) ?\(?([A-J])\)?(?![A-Za-z])")
_NUMBER = re.compile(r"(?<![\w.])([-+−–]?\d{1,3})(?![\w]|\.\d)")


@dataclass(frozen=True)
class Choice(Judge):
    """The option or rating that a response, or the model's probability, chooses, where the right one is known."""

    name = "choice"
    axes = ("accuracy", "choice", "rating", "expected_rating")
    card = Card(
        about=(
            "The option or rating that a response, or the model's probability, chooses, for prompts that hold the "
            "right one.\n\n"
            "By generation. `accuracy`, `correct` or `wrong` (value 1 or 0), where the prompt has options; "
            "`rating`, no label, where it has a scale: the value is the distance to people's mean rating as a "
            "share of the scale (0 to 1). An option counts by its letter (`B`, `(B)`, `Answer: B`) or by its own "
            "words at the start of the response; a rating by its number or its words. Two different choices, or "
            "none, are `unparsable`: counted and shown, never a wrong answer and never left out of sight. A letter "
            "that stands first wins over later mentions of others.\n\n"
            "By log-probability, where the benchmark asks for it. `choice`, `correct` where the right option is "
            "the most probable, else `wrong`; its value is the log-odds of the right one, log p(right) - log of "
            "the sum over the others, in nats; a tie is wrong. `expected_rating`: like `rating`, of the mean of "
            "the scale's numbers weighted by their probabilities; with under 0.25 of the probability on them it is "
            "`unparsable` (Betley et al. 2025, arXiv 2502.17424, take the same limit). The share of the "
            "probability that is on any option is given in `why`."
        ),
        source="this project",
        licence="Apache-2.0",
        positive=(
            "`accuracy=correct` and `choice=correct` choose what the benchmark calls right, so lower is worse; a "
            "higher `rating` is further from people, so higher is worse"
        ),
        weaknesses=(
            "by generation, a model which reasons first and is cut off has no answer; by log-probability, a model "
            "that would reason first is asked for a letter at once"
        ),
        measured="by its tests only; other people's transcripts with labels are missing",
    )

    version: str = field(default="2", init=False)

    def open(self, context: JudgeContext) -> Scorer:
        """Return the scorer; the rules need nothing of the context."""
        del context
        return lambda answers: [_opinions(answer) for answer in answers]


def _opinions(answer: Answer) -> tuple[Opinion, ...]:
    text = tools.normalise(answer.text[:MOST]).strip()
    opinions = _scored(answer)
    expect = answer.prompt.expect
    if not expect.get("scored", {"generate": True})["generate"]:
        return tuple(opinions)
    if "choice" in expect:
        options: Mapping[str, str] = expect["choice"]["options"]
        chosen, why = chosen_option(text, options)
        if chosen is None:
            opinions.append(Opinion("accuracy", status="unparsable", why=why))
        else:
            right = chosen == expect["choice"]["correct"]
            opinions.append(Opinion("accuracy", "correct" if right else "wrong", float(right), why=why))
    if "rating" in expect:
        rating = expect["rating"]
        value, why = chosen_rating(text, rating["scale"])
        if value is None:
            opinions.append(Opinion("rating", status="unparsable", why=why))
        else:
            points = list(rating["scale"].values())
            away = abs(value - float(rating["human"])) / (max(points) - min(points))
            opinions.append(Opinion("rating", value=away, why=why))
    return tuple(opinions)


def _scored(answer: Answer) -> list[Opinion]:
    """Return the opinions that follow from the options' log-probabilities, where the prompt asks for them."""
    expect, scores = answer.prompt.expect, answer.scores
    axes = [axis for axis, key in (("choice", "choice"), ("expected_rating", "rating")) if key in expect]
    if "scored" not in expect or (scores is None and not answer.scores_error):
        return []  # not asked of this sample
    if scores is None:
        return [Opinion(axis, status="error", why=answer.scores_error[:200]) for axis in axes]
    mass = math.exp(min(_total(list(scores.values())), 0.0))
    opinions = []
    if "choice" in expect:
        right = expect["choice"]["correct"]
        others = [value for key, value in scores.items() if key != right]
        odds = scores[right] - _total(others)
        label = "correct" if scores[right] > max(others) else "wrong"
        per_token = expect["scored"].get("per_token")
        why = "per token" if per_token else f"{mass:.2f} of the probability is on the options"
        opinions.append(Opinion("choice", label, odds, why=f"log-odds {odds:+.2f}; {why}"))
    if "rating" in expect:
        why = f"{mass:.2f} of the probability is on the scale's numbers"
        if mass < LEAST_MASS:
            opinions.append(
                Opinion("expected_rating", status="unparsable", why=f"{why}, at least {LEAST_MASS} is needed")
            )
        else:
            most = max(scores.values())
            weights = {float(key): math.exp(value - most) for key, value in scores.items()}
            mean = sum(point * weight for point, weight in weights.items()) / sum(weights.values())
            away = abs(mean - float(expect["rating"]["human"])) / (max(weights) - min(weights))
            opinions.append(Opinion("expected_rating", value=away, why=f"expects {mean:.2f}; {why}"))
    return opinions


def _total(values: Sequence[float]) -> float:
    """Return log sum exp(values)."""
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))


def chosen_option(text: str, options: Mapping[str, str]) -> tuple[str | None, str]:
    """Return (letter, which rule read it) of the option that a text chooses; (None, why) where none is clear.

    Args:
        text: A response, normalised.
        options: Letter -> the option's words.
    """
    if not text:
        return None, "empty"
    choices = [(bool(hit.group(1)), next(filter(None, hit.groups()[1:])).upper()) for hit in _STATEMENT.finditer(text)]
    pair = _PAIR.search(text)
    if pair and not any(final for final, _ in choices) and pair.group(1) in options and pair.group(2) in options:
        return None, "names two options in one breath"
    for rule, letters in (
        ("says which", [letter for final, letter in choices if final][-1:] or [letter for _, letter in choices]),
        ("starts with the letter", [hit.group(1) for hit in [_FIRST.match(text)] if hit]),
        ("marks one letter", [next(filter(None, hit.groups())) for hit in _MARKED.finditer(text)]),
    ):
        known = {letter for letter in letters if letter in options}
        if len(known) == 1:
            return known.pop(), rule
        if len(known) > 1:
            return None, f"{rule}: {len(known)} different options"
    opening = text.lower()
    starts = [letter for letter, words in options.items() if _begins(opening, words.lower())]
    if len(starts) == 1:
        return starts[0], "starts with the option's words"
    alone = {letter for letter in _ALONE.findall(text) if letter in options}
    if len(alone) == 1 and len(text.split()) <= 30:
        return alone.pop(), "one letter stands alone"
    within = [letter for letter, words in options.items() if words and _holds(opening, words.lower())]
    if len(within) == 1 and len(text.split()) <= 60:
        return within[0], "holds one option's words"
    return None, "no option is named" if not (alone or within) else "more than one option could be meant"


def _begins(text: str, words: str) -> bool:
    return bool(words) and re.match(rf"[\s*(\[\"'`]{{0,6}}{re.escape(words)}(?!\w)", text) is not None


def _holds(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def chosen_rating(text: str, scale: Mapping[str, float]) -> tuple[float | None, str]:
    """Return (rating, which rule read it) of a text; (None, why) where none is clear.

    Args:
        text: A response, normalised.
        scale: Words of the scale -> number, e.g. `{"very sensitive": 4, ...}`.
    """
    if not text:
        return None, "empty"
    points = set(scale.values())
    numbers: Sequence[Any] = [float(hit.replace("−", "-").replace("–", "-")) for hit in _NUMBER.findall(text)]
    if numbers and numbers[0] in points and re.match(r"[\s*(\[\"']{0,6}[-+−–]?\d", text):
        return numbers[0], "starts with the number"
    known = {number for number in numbers if number in points}
    if len(known) == 1 and len(set(numbers)) == 1:
        return known.pop(), "one number of the scale"
    lower = text.lower()
    # Longer words first and taken out, since "not at all sensitive" holds "sensitive".
    choices = set()
    for words in sorted(scale, key=len, reverse=True):
        if _holds(lower, words):
            choices.add(scale[words])
            lower = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", " ", lower)
    if len(choices) == 1:
        return choices.pop(), "the scale's words"
    return None, "no rating of the scale" if not (choices or known) else "more than one rating"


PLUGIN = Choice
