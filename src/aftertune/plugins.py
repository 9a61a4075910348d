"""Load a plugin by kind and name: the only dynamic import in aftertune.

A plugin is the frozen dataclass named in a module's `PLUGIN` attribute; its name is the module's file name with `_`
as `-` where a person writes it. Other packages add theirs through entry points in the group `aftertune.<kind>`.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import importlib
import inspect
import itertools
import pkgutil
import sys
import textwrap
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from aftertune.errors import UsageError

KINDS = {
    "corpus": "corpora",
    "benchmark": "benchmarks",
    "judge": "judges",
    "backend": "backends",
    "executor": "executors",
}
"""Kind -> folder."""


def near(word: str, known: list[str]) -> str:
    """Return ` (did you mean 'x'?)` for a near miss, else ` (known: ...)`."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (known: {', '.join(sorted(known))})"


def names(kind: str) -> list[str]:
    """Return the names of all plugins of a kind, sorted, without importing any of them."""
    package = importlib.import_module(f"aftertune.{_folder(kind)}")
    own = {module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")}
    return sorted(own | _outside(kind).keys())


def _outside(kind: str) -> Mapping[str, EntryPoint]:
    return _declared(kind, tuple(sys.path))


@functools.lru_cache(maxsize=32)
def _declared(kind: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    del path  # where packages are looked for; reading what all of them declare takes 15 ms
    return {point.name: point for point in entry_points(group=f"aftertune.{kind}")}


def plugin_class(kind: str, name: str) -> type[Any]:
    """Return the plugin's class.

    Raises UsageError for an unknown name (with the near miss) and for a missing optional package (with its name).
    """
    known = names(kind)
    if name not in known:
        raise UsageError(f"no {kind} called '{name}'{near(name, known)}")
    outside = _outside(kind)
    try:
        if name in outside:
            return outside[name].load()  # type: ignore[no-any-return]
        return importlib.import_module(f"aftertune.{_folder(kind)}.{name}").PLUGIN  # type: ignore[no-any-return]
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aftertune"):
            raise
        raise UsageError(f"{kind} '{name}' needs the package '{error.name}': pip install {error.name}") from None


def load(kind: str, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Return the plugin made with its parameters.

    Raises UsageError for an unknown plugin or parameter (with the near miss) and for a value that it refuses.
    """
    cls = plugin_class(kind, name)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    for key in parameters or {}:
        if key not in known:
            raise UsageError(f"{kind} '{name}' has no parameter '{key}'{near(key, known)}")
    try:
        return cls(**(parameters or {}))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{kind} '{name}': {error}") from None


def is_server(backend: object) -> bool:
    """Return whether a backend, its name or a table with one, asks a server: the names of its models are no paths.

    Raises UsageError for an unknown name.
    """
    name = backend.get("name") if isinstance(backend, Mapping) else backend
    return isinstance(name, str) and hasattr(plugin_class("backend", name), "identify")


def _folder(kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(f"no plugin kind '{kind}'{near(kind, list(KINDS))}")
    return KINDS[kind]


def describe(kind: str, name: str) -> list[str]:
    """Return a plugin's card and its parameters with their defaults, as lines of text."""
    cls = plugin_class(kind, name)
    lines = [f"{kind} {name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    notes = _field_notes(cls)
    for field in dataclasses.fields(cls):
        if field.init:
            missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            default = (
                "required"
                if missing
                else f"default {field.default!r}"
                if field.default_factory is (dataclasses.MISSING)
                else "default made"
            )
            lines.append(f"  {field.name}: {field.type} ({default})  {notes.get(field.name, '')}".rstrip())
    for attribute in ("needs", "axes", "capabilities"):
        value = getattr(cls, attribute, None)
        if value and not isinstance(value, property):
            lines.append(f"  {attribute}: {', '.join(sorted(value))}")
    return lines


def _field_notes(cls: type[Any]) -> dict[str, str]:
    """Return field -> the string that stands under it in the class body."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    notes: dict[str, str] = {}
    for field, text in itertools.pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                notes[field.target.id] = " ".join(value.value.split())
    return notes
