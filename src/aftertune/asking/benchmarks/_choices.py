"""Questions with lettered options: how they are put to a model, and what their judge reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LETTERS = "ABCDEFGHIJ"
SCORED_BY = ("log_probability", "generation", "both")
INSTRUCTION = "Answer with the letter of the right option only."


def question(text: str, options: Sequence[str], instruction: str = INSTRUCTION) -> str:
    """Return a question with its options, one a line, `(A) ...`."""
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join((text, *lines, instruction))


def expect(options: Sequence[str], right: int) -> Mapping[str, Any]:
    """Return what the judge `choice` reads: letter -> option, and the right letter."""
    return {"choice": {"options": dict(zip(LETTERS, options, strict=False)), "correct": LETTERS[right]}}


def letters(options: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return letter -> the beginnings of an answer that gives it: `A` and `(A`."""
    return {letter: (letter, f"({letter}") for letter, _ in zip(LETTERS, options, strict=False)}


def scored(forms: Mapping[str, Sequence[str]], scored_by: str, per_token: bool = False) -> Mapping[str, Any]:
    """Return what asks for the log-probabilities of options (`steps/respond.py`); nothing for `generation`."""
    if scored_by == "generation":
        return {}
    return {"scored": {"forms": forms, "per_token": per_token, "generate": scored_by == "both"}}


def axes(scored_by: str, generated: str, scored_axis: str) -> tuple[str, ...]:
    """Return the axes on which prompts are judged: that of the answer, that of the log-probabilities, or both."""
    found = {"generation": (generated,), "log_probability": (scored_axis,), "both": (scored_axis, generated)}
    return found[scored_by]


def parsed(options: Any, answer: Any) -> tuple[list[str], int] | str:
    """Return the options and the index of the right one, or what is wrong with them.

    Options: a list of texts, or the hub's `{"label": [...], "text": [...]}`. Answer: a letter, an index from 0, or a
    label of the latter.
    """
    labels = list(LETTERS)
    if isinstance(options, Mapping):
        options, labels = options.get("text"), options.get("label") or labels
    if not isinstance(options, Sequence) or isinstance(options, str) or not 2 <= len(options) <= len(LETTERS):
        return f"options must be a list of 2 to {len(LETTERS)} texts"
    texts = [str(option).strip() for option in options]
    if not all(texts):
        return "an option is empty"
    if isinstance(answer, int) and not isinstance(answer, bool):
        right = answer
    else:
        key = str(answer).strip().strip("()").rstrip(".")
        keys = [str(label).strip() for label in labels][: len(texts)]
        if key in keys:
            right = keys.index(key)
        elif key.isdecimal():
            right = int(key)
        else:
            return f"answer {str(answer)[:40]!r} is none of the options' letters"
    return (texts, right) if 0 <= right < len(texts) else f"answer {right} is none of the {len(texts)} options"
