"""Frozen records from TOML tables and back: keys are fields, with errors that name the key and its near miss."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal, Self

from aftertune.errors import UsageError, near


class OwnTable(ABC):
    """A record whose TOML table is not a key for each field."""

    @classmethod
    @abstractmethod
    def from_table(cls, raw: Any, at: str) -> Self:
        """Return the record made from a TOML table; `at` is its key path for errors. Raises UsageError."""

    @abstractmethod
    def to_table(self) -> dict[str, Any]:
        """Return the table that `from_table` reads."""


def load(text: str) -> dict[str, Any]:
    """Return TOML text as tables. Raises UsageError for text that is not valid TOML."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # also a whole number of more digits than Python reads
        raise UsageError(f"not valid TOML: {error}") from None
    except RecursionError:
        raise UsageError("nested too deeply") from None


def build(cls: type[Any], raw: Any, at: str = "") -> Any:
    """Return the record `cls` made from a TOML table; `at` is its key path for errors.

    Raises UsageError for an unknown or missing key and for a value of the wrong type.
    """
    if issubclass(cls, OwnTable):
        return cls.from_table(raw, at)
    if not isinstance(raw, dict):
        raise UsageError(f"{at or 'design'}: expected a table, found {type(raw).__name__}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    for key in raw:
        if key not in fields:
            raise UsageError(f"unknown key '{at}{'.' if at else ''}{key}'{near(key, list(fields))}")
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for name, spec in fields.items():
        if name not in raw and (spec.default, spec.default_factory) == required:
            raise UsageError(f"missing key '{at}{'.' if at else ''}{name}'")
    return cls(**{key: _value(hints[key], value, f"{at}.{key}" if at else key) for key, value in raw.items()})


def _value(hint: Any, value: Any, at: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(next(arg for arg in args if arg is not type(None)), value, at)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, at)
    if origin is tuple:
        if not isinstance(value, list):
            raise UsageError(f"{at}: expected a list, found {type(value).__name__}")
        return tuple(_value(args[0], item, f"{at}[{index}]") for index, item in enumerate(value))
    if origin is Literal:
        if value not in args:
            text = f"'{value}'{near(value, list(args))}" if isinstance(value, str) else repr(value)
            raise UsageError(f"{at}: {text} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise UsageError(f"{at}: expected a table, found {type(value).__name__}")
        return {key: _value(args[1], item, f"{at}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UsageError(f"{at}: the number is too large") from None
    if type(value) is not hint:
        raise UsageError(f"{at}: expected {hint.__name__}, found {type(value).__name__} {str(value)[:60]!r}")
    return value


def bare(value: Any) -> Any:
    """Return a record as the tables, lists and values of TOML; None is left out."""
    if isinstance(value, OwnTable):
        return bare(value.to_table())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: bare(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: bare(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [bare(item) for item in value]
    return value
