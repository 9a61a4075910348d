"""What the public functions have in common: paths of either kind, and arguments that are checked by their annotations.

A wrong argument is a UsageError in one line, as on the command line, never a traceback from somewhere inside.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from aftertune.errors import UsageError, near
from aftertune.extras import explained

PathLike = str | os.PathLike[str]
"""A path of a file or folder."""
P = ParamSpec("P")
R = TypeVar("R")
_WORDS: Mapping[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    type(None): "None",
    os.PathLike: "a path",
}
SHOWN = 60
"""Characters of a wrong value in a message."""


def public(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a public function or method: its arguments are checked by its annotations before it begins.

    `name` is what callers know it by. The decorated function raises UsageError for an argument of a wrong type
    (function, parameter, value, what to give) and for a parameter that is missing or unknown (with the near miss).
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for key in kwargs:
                if key not in signature.parameters:
                    known = [each for each in signature.parameters if each != "self"]
                    raise UsageError(f"{name}: no parameter '{key}'{near(key, known)}")
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise UsageError(f"{name}: {error}") from None
            hints = _hints(function)
            for key, value in given.items():
                if key in hints:
                    _check(f"{name}: {key}", value, hints[key])
            with explained():
                return function(*args, **kwargs)

        return checked

    return decorate


def check_record(record: Any, where: str) -> None:
    """Check the fields of a record that a person filled in, and of the records in them, by their annotations.

    A list becomes the tuple that the record should hold. Raises UsageError as a public function does; `where` names the
    record in it.
    """
    hints = _hints(typing.cast(Hashable, type(record)))
    for field in dataclasses.fields(record):
        value, hint = getattr(record, field.name), hints[field.name]
        if isinstance(value, list) and get_origin(hint) is tuple:
            value = tuple(value)
            object.__setattr__(record, field.name, value)
        _check(f"{where}.{field.name}", value, hint)
        for index, each in enumerate(value) if isinstance(value, tuple) else ((None, value),):
            if dataclasses.is_dataclass(each):
                check_record(each, f"{where}.{field.name}" + ("" if index is None else f"[{index}]"))


@functools.cache
def _hints(annotated: Hashable) -> Mapping[str, Any]:
    """Return the annotations of a function or record, resolved when they are first needed."""
    return typing.get_type_hints(typing.cast(Any, annotated))


def _check(what: str, value: object, hint: Any) -> None:
    if not fits(value, hint):
        shown = " ".join(repr(value).split())
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        raise UsageError(f"{what} = {shown} (of type {type(value).__name__}): give {in_words(hint)}")


def fits(value: object, hint: Any) -> bool:
    """Return whether a value is of an annotated type, as deep as the annotation goes."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if origin is collections.abc.Callable:
        return callable(value)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, args[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, origin) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if isinstance(origin, type) and issubclass(origin, Sequence):
        is_list = isinstance(value, origin) and not isinstance(value, str | bytes)
        return is_list and all(fits(item, args[0]) for item in typing.cast(Sequence[object], value))
    if isinstance(origin, type):
        return isinstance(value, origin)
    if hint is float or hint is int:
        kind = numbers.Real if hint is float else numbers.Integral
        return isinstance(value, kind) and not isinstance(value, bool)
    return isinstance(value, hint)


def in_words(hint: Any) -> str:
    """Return an annotated type as a person says it."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        *most, last = dict.fromkeys(in_words(arg) for arg in args if not _is_list(arg))
        if any(map(_is_list, args)):
            most, last = [*most, last], "a list of these"
        return f"{', '.join(most)} or {last}" if most else last
    if origin is Literal:
        return f"one of {', '.join(map(repr, args))}"
    if origin is collections.abc.Callable:
        return "a function"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of {in_words(args[0])} to {in_words(args[1])}"
    if _is_list(hint):
        return f"a list, each item {in_words(args[0])}"
    kind = origin or hint
    if hint is Any:
        return "anything"
    return _WORDS.get(kind, f"a {kind.__name__ if isinstance(kind, type) else kind}")


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Sequence)
