"""Logs of other tools, whatever the tool: answers to prompts, and their scores."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.records import FinishReason, Message, Prompt, Role, Worse

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
    finish_reason: FinishReason = "stop"
    error: str = ""
    """Why there is no answer, or why it does not count."""
    duplicate: bool = False
    """Whether another entry has this answer already, under another filter of lm-evaluation-harness."""
    thought: str = ""
    """What the tool keeps apart from the text as the model's thought."""
    scores: tuple[LoggedScore, ...] | None = ()
    """None for a further answer to a prompt that the tool scores as a whole."""
    model: str = ""
    """Whose answer it is, where the log holds several models; else empty."""


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
    form: str = ""
    """Which tool wrote it, and which form or version of its logs this is."""
    models: tuple[str, ...] = ()
    """The models, where there are several in it; each answer then says its own."""
    scores_vary: bool = False
    """Whether each prompt has metrics of its own, so that none of them is missing where another prompt has it."""


GRADES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Inspect AI's grades (correct, partial, incorrect, no answer) and words, as its own accuracy counts them."""


def plain_number(value: Any) -> float | None:
    """Return a score as `number` does, but of texts those alone that spell a number: `0.5`, not `C` or `yes`."""
    return None if isinstance(value, str) and value.strip().lower() in GRADES else number(value)


def messages_of(value: Any) -> tuple[Message, ...]:
    """Return a prompt as messages: a text, a chat (a list of turns, or JSON of one), or a mapping with `turns`.

    A turn is a mapping with a role and a `content` (`prompt` in OpenCompass), which is a text, a mapping with `text`,
    or a list of such parts. Turns of other roles are the user's; what holds no text is left out.
    """
    if isinstance(value, dict):
        value = value.get("turns")
    if isinstance(value, str):
        chat = _chat_in(value)
        if chat is None:
            return (Message("user", value),) if value else ()
        value = chat
    messages = []
    for turn in value if isinstance(value, list) else ():
        if isinstance(turn, str):
            messages.append(Message("user", turn))
        elif isinstance(turn, dict):
            text = text_of(turn.get("content", turn.get("prompt")))
            role = _ROLES.get(str(turn.get("role")).lower(), "user")
            messages += [Message(role, text)] if text else []
    return tuple(messages)


_ROLES: Mapping[str, Role] = {
    **{"system": "system", "developer": "system", "user": "user", "human": "user"},
    **{"assistant": "assistant", "bot": "assistant", "model": "assistant"},
}


def _chat_in(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("[") or '"role"' not in text:
        return None
    try:
        turns = json.loads(text)
    except (ValueError, RecursionError):
        return None  # a text that happens to start like a chat
    return turns if all(isinstance(turn, dict) and "role" in turn for turn in turns) else None


def text_of(value: Any) -> str | None:
    """Return a text, the `text` of a mapping, or the texts of a list of parts; None where there is none."""
    if isinstance(value, dict):
        value = value.get("text")
    if isinstance(value, list):
        parts = [text for text in map(text_of, value) if text]
        return "\n".join(parts) or None
    return value if isinstance(value, str) else None


def lines(path: Path, warnings: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, row) of a log with one object a line; a last line that is cut off is left out and told.

    Raises DataError (file, line) for any other line that is not an object in JSON.
    """
    with path.open("rb") as file:
        for at, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if at == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    warnings.append(
                        f"{path}:{at}: the last line is cut off, as a run that was stopped leaves it: left out"
                    )
                    return
                raise DataError(f"{path}:{at}: not valid JSON: {_reason(error)}") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{at}: expected an object, found {type(row).__name__}")
            yield at, rows.whole(row) if b"\\u" in line else row


def _reason(error: Exception) -> str:
    """Return why a line cannot be read, without the text in it."""
    return error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__


def beside(path: Path) -> Any:
    """Return what the JSON file holds that a tool writes beside a log; None where there is none, or it is damaged."""
    try:
        return rows.document(path) if path.is_file() else None
    except DataError:
        return None


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
