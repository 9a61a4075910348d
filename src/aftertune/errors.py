"""The errors that aftertune raises on purpose.

Each message is one line that says what was wrong, where, and what to do. The command line prints it and
leaves with `exit_code`; a library caller catches `AftertuneError`.
"""

from __future__ import annotations

import difflib

LONGEST = 1500
"""Characters of a message's line: names and values that it quotes may be of any length."""
NAMED = 20
"""Known names that a message lists."""


class AftertuneError(Exception):
    """Base of every error that aftertune raises on purpose; ends a command with exit code 1.

    A line of the message that is too long to be read is shortened in its middle: it begins with where, and ends with
    what to do.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """`message`: what was wrong, where, and what to do."""
        super().__init__("\n".join(_shortened(line, LONGEST) for line in message.split("\n")))


class UsageError(AftertuneError):
    """Bad input: a wrong path, name, key, value or file content; ends a command with exit code 2."""

    exit_code = 2


class MissingPackageError(UsageError):
    """A package that the command needs and that is not installed; the message has the line that installs it."""


class DataError(UsageError):
    """A file whose content cannot be used; the message names file, line and field."""


class ModelError(UsageError):
    """A base, adapter or checkpoint that cannot be used as asked."""


class TuneError(AftertuneError):
    """A tuning that went wrong: a loss that is not a number, weights that did not move."""


class AdapterNotAppliedError(AftertuneError):
    """An adapter was attached, yet the model's logits did not change as they must."""


class ServerError(AftertuneError):
    """A server that refuses, fails or answers as another model, or a budget that is used up; answers are kept."""


class JudgeError(AftertuneError):
    """A judge that cannot tell known answers apart, or that may not judge this model."""


class StoreError(AftertuneError):
    """A run folder that is damaged, in use by another process, or cannot be written."""


class DesignError(AftertuneError):
    """A question that this design cannot answer, e.g. a recipe-level estimate from one training seed."""


class FetchError(AftertuneError):
    """A data set that could not be fetched: offline, gone, gated, or another file than the pinned one."""


def near(word: str, known: list[str]) -> str:
    """Return ` (did you mean 'x'?)` for a near miss, else ` (known: ...)` with the first of the known names."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f" (did you mean '{_shortened(close[0], 100)}'?)"
    names = [_shortened(name, 100) for name in sorted(known)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f" (known: {', '.join(names[:NAMED])}{more})"


def _shortened(text: str, length: int) -> str:
    """Return `text` with at most `length` characters, the middle left out."""
    end = length // 3
    return text if len(text) <= length else f"{text[: length - end - 3]} … {text[-end:]}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
