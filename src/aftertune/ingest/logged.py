"""What a log of another tool holds, whatever the tool: answers to prompts, and what was scored of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aftertune.records import Prompt, Worse


@dataclass(frozen=True, slots=True)
class Scored:
    """One number of one answer."""

    metric: str
    judge: str
    """The scorer; empty where the tool names none."""
    value: float | None
    """None where nothing could be judged."""
    worse: Worse | None
    """The direction that is worse; None where nobody says."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One answer of a log."""

    prompt: Prompt
    """Its id carries the task, so that no two prompts of one model share it."""
    message_hash: str
    """Of the messages as sent."""
    repeat: int
    """Counts answers to one prompt, from 0."""
    text: str | None
    """None where there is no answer in words."""
    finish_reason: Literal["stop", "length"] = "stop"
    error: str = ""
    """Why there is no answer, or why it does not count."""
    scores: tuple[Scored, ...] | None = ()
    """None for a further answer to a prompt that the tool scores as a whole."""


@dataclass
class Log:
    """A log that is open; `answers` is read once."""

    path: Path
    model: str
    """Model and its arguments, in one line."""
    task: str
    answers: Iterator[Logged]
    warnings: list[str] = field(default_factory=list)
    """Complete only after the last answer."""


WORDS = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Inspect AI's grades (correct, partial, incorrect, no answer) and words, as its own accuracy counts them."""


def number(value: Any) -> float | None:
    """Return a score as a number, NaN for an empty, infinite or missing one, None for words that are no number."""
    if value is None or isinstance(value, (bool, int, float)):
        found = math.nan if value is None else float(value)
        return found if math.isfinite(found) else math.nan
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    try:
        found = WORDS[text] if text in WORDS else float(text or "nan")
    except ValueError:
        return None
    return found if math.isfinite(found) else math.nan
