"""Logs of other tools, whatever the tool: answers to prompts, and their scores."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.errors import DataError
from aftertune.records import FinishReason, Prompt, Worse

EPOCHS, REDUCERS = "epochs", "reducers"
"""Settings of a log: how often each sample was asked, and what one value was made of it."""


@dataclass(frozen=True, slots=True)
class LoggedScore:
    """One score of one answer."""

    metric: str
    judge: str
    """The scorer; empty if the tool names none."""
    value: float | None
    """None if nothing could be judged."""
    worse: Worse | None
    """The direction that is worse; None if the log does not say so."""
    word: str = ""
    """What stands in the log where that is a word: a grade (`C`), of which the value is known, or another."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """One answer of a log."""

    prompt: Prompt
    """Its id includes the task, so that no two prompts of one model share it."""
    message_hash: str
    """Hash of the messages as sent."""
    repeat: int
    """Number of this answer among those to one prompt, from 0."""
    text: str | None
    """None if there is no answer in words. As the model wrote it: what it thought may stand in it."""
    """None if there is no answer in words."""
    finish_reason: FinishReason = "stop"
    error: str = ""
    """Why there is no answer, or why it does not count."""
    duplicate: bool = False
    """Whether another entry has this answer already, under another filter of lm-evaluation-harness."""
    thought: str = ""
    """What the tool keeps apart from the text as the model's thought."""
    scores: tuple[LoggedScore, ...] | None = ()
    """None for a further answer to a prompt that the tool scores as a whole."""


@dataclass(frozen=True)
class Figure:
    """A mean that a log itself reports of a metric."""

    name: str
    """E.g. `accuracy`."""
    value: float
    judge: str = ""


class EmptyLogError(DataError):
    """A log without any answer, as a run leaves it that failed at once."""

    def __init__(self, message: str, model: str, task: str) -> None:
        """Name the model and task, of which another log may have the answers."""
        super().__init__(message)
        self.model = model
        self.task = task


class NoScoreError(DataError):
    """A log without any score that is a number: of words alone, or of samples that ended with errors."""


@dataclass
class Log:
    """An open log. `answers` can be read once."""

    path: Path
    model: str
    """The model and its arguments, in one line."""
    task: str
    answers: Iterator[LoggedAnswer]
    warnings: list[str] = field(default_factory=list)
    """Complete only after the last answer."""
    created: str = ""
    """When, in a form that sorts."""
    succeeded: bool = True
    planned: int = 0
    """Answers that were to be made; 0 if the log does not say."""
    failed: int = 0
    """Answers that ended with an error, as far as the log's head says."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What decides the answers beside model and task, as far as the log says."""
    samples: frozenset[str] = frozenset()
    """Ids of the samples, where the head says them."""
    judges: frozenset[str] = frozenset()
    """The scorers, where the head says them."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """Metric -> the log's own mean of it."""


GRADES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Inspect AI's grades (correct, partial, incorrect, no answer) and words, as its own accuracy counts them."""


def number(value: Any) -> float | None:
    """Return a score as a number, NaN for an empty, infinite or missing one, None for text that is not a number."""
    if value is None or isinstance(value, (bool, int, float)):
        parsed = math.nan if value is None or abs(value) > sys.float_info.max else float(value)
        return parsed if math.isfinite(parsed) else math.nan
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    try:
        parsed = GRADES[text] if text in GRADES else float(text or "nan")
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else math.nan
