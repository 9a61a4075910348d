"""Plugins as a person writes them on the command line: `NAME`, `NAME:key=value,key=value`, or a TOML file."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aftertune import plugins
from aftertune.errors import UsageError, near
from aftertune.plugins import PluginSpec
from aftertune.public import PathLike

_TYPES: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def plugin(kind: str, text: PathLike | PluginSpec) -> PluginSpec:
    """Return the plugin that a person wrote: `NAME`, `NAME:key=value,key=value`, or a TOML file of `name` and the rest.

    A `PluginSpec` is returned as it is, once its plugin could be made.

    Values are TOML (`0.3`, `true`, `{toxic = "bad"}`); what is no TOML, or stands for a parameter of text, is text as
    it stands, quotes left out. `backend.url=...` is the key `url` of the table `backend`, whose `name` is the backend.
    Existing files and folders become absolute, so that a run can be continued from elsewhere.

    Raises UsageError with the near miss for an unknown plugin or parameter, and for what is not of this form.
    """
    if isinstance(text, PluginSpec):
        plugins.load(kind, text.name, text.parameters)
        return text
    text = os.fspath(text)
    if text.endswith(".toml"):
        name, parameters = _of_file(kind, Path(text))
        folder = Path(text).absolute().parent
    else:
        name, _, rest = text.partition(":")
        parameters, folder = _values(kind, name, _tables(f"{kind} '{name}'", _pieces(text, rest))), Path.cwd()
    parameters = _fitting(kind, name, parameters, folder)
    plugins.load(kind, name, parameters)
    return PluginSpec(name, parameters)


def executor(text: PathLike | PluginSpec, workers: int = 0) -> PluginSpec:
    """Return the executor of `--executor TEXT --workers N`; `workers` is short for `local:workers=N`, 0 if not given.

    Raises UsageError as `plugin`, and where the two contradict each other.
    """
    part = plugin("executor", text)
    if not workers:
        return part
    if part.name != "local":
        raise UsageError(
            f"--workers {workers} goes with the executor local, not with --executor {part.name}: leave one out"
        )
    if part.parameters.get("workers", workers) != workers:
        raise UsageError(
            f"--workers {workers} contradicts --executor local:workers={part.parameters['workers']}: leave one out"
        )
    return PluginSpec("local", {**part.parameters, "workers": workers})


def _of_file(kind: str, path: Path) -> tuple[str, dict[str, Any]]:
    try:
        parameters = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{kind} file {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{kind} file {path}: not TOML: {error}") from None
    name = parameters.pop("name", None)
    if not isinstance(name, str):
        raise UsageError(f"{kind} file {path}: needs a 'name', e.g. name = \"rubric\"")
    return name, parameters


def _pieces(whole: str, rest: str) -> Iterator[str]:
    """Yield what stands between the commas that are outside quotes and brackets."""
    depth, quote, start = 0, "", 0
    for at, char in enumerate(rest):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and not depth:
            yield rest[start:at]
            start = at + 1
    if quote or depth:
        raise UsageError(f"'{whole.partition(':')[0]}:...': a quote or bracket is not closed")
    if rest[start:].strip():
        yield rest[start:]


def _tables(what: str, pieces: Iterator[str]) -> dict[str, Any]:
    """Return the values as they are written, those of dotted keys in tables."""
    parameters: dict[str, Any] = {}
    for piece in pieces:
        key, sign, value = (part.strip() for part in piece.partition("="))
        if not sign or not key or not value:
            raise UsageError(f"{what}: '{piece.strip()[:80]}' is not key=value")
        *tables, last = (part.strip() for part in key.split("."))
        table_at: Any = parameters
        for table in tables:
            table_at = table_at.setdefault(table, {}) if isinstance(table_at, dict) else None
        if not last or not isinstance(table_at, dict) or last in table_at:
            raise UsageError(f"{what}: '{key[:80]}' is given twice, as a value or as a table: give it once")
        table_at[last] = value
    return parameters


def _values(kind: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was written as values of the types that the plugin's parameters have."""
    hints = _hints(kind, name)
    return {key: _value(key, value, hints.get(key, "")) for key, value in given.items()}


def _value(key: str, given: Any, hint: str) -> Any:
    if isinstance(given, dict):
        if key in plugins.KINDS and isinstance(given.get("name"), str):
            name = str(_value("name", given["name"], "str"))
            return {"name": name, **_values(key, name, {k: v for k, v in given.items() if k != "name"})}
        return {each: _value(each, value, "") for each, value in given.items()}
    if hint == "str" and given[0] not in "\"'":
        return given
    try:
        return tomllib.loads(f"value = {given}")["value"]
    except tomllib.TOMLDecodeError:
        return given


def _fitting(kind: str, name: str, parameters: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return parameters that are known and of the right type, what exists in the folder as an absolute path."""
    hints = _hints(kind, name)
    served = plugins.is_server(parameters.get("backend"))
    fitting = dict(parameters)
    for key, value in parameters.items():
        if key not in hints:
            raise UsageError(f"{kind} '{name}' has no parameter '{key}'{near(key, sorted(hints))}")
        kinds = _TYPES.get(hints[key])
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool) != (hints[key] == "bool")):
            raise UsageError(f"{kind} '{name}': {key} = {value!r} is not of the type {hints[key]}")
        if key in plugins.KINDS and isinstance(value, Mapping) and isinstance(value.get("name"), str):
            own = {k: v for k, v in value.items() if k != "name"}
            own = _fitting(key, value["name"], own, folder)
            plugins.load(key, value["name"], own)
            fitting[key] = {"name": value["name"], **own}
            continue
        if served and key == "model":  # the server's name for it, whatever stands here
            continue
        there = folder / Path(value).expanduser() if isinstance(value, str) and value else None
        if there is not None and there.exists() and ("/" in str(value) or key in ("path", "model")):
            fitting[key] = str(there.absolute())
        elif key == "rubric" and str(value).endswith(".toml"):
            fitting[key] = str((folder / Path(str(value)).expanduser()).absolute())
    return fitting


def _hints(kind: str, name: str) -> dict[str, str]:
    fields = dataclasses.fields(plugins.plugin_class(kind, name))
    return {field.name: plugins.type_of(field) for field in fields if field.init}
