"""What a design names, looked up: its models, its plugins, the hashes of both, and who judges what."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aftertune import homes, models, plugins
from aftertune.design import Design, Part
from aftertune.errors import JudgeError, UsageError
from aftertune.kinds import Benchmark, Corpus, Judge
from aftertune.records import digest


def model(name: str, base: models.ModelRef | None = None) -> models.ModelRef:
    """Resolve a base or checkpoint by name; `embedded` and `embedded:<name>` are the bases that ship with aftertune.

    Raises UsageError or ModelError in one line, before any weights load.
    """
    from aftertune import embedded

    shipped = embedded.names()
    if name == "embedded":
        return models.resolve(str(embedded.folder()), base=base)
    if name.startswith("embedded:"):
        wanted = name.removeprefix("embedded:")
        if wanted not in shipped:
            raise UsageError(f"no embedded model '{wanted}'{plugins.near(wanted, list(shipped))}")
        return models.resolve(str(embedded.folder(wanted)), base=base)
    return models.resolve(name, base=base)


def corpus(part: Part) -> Corpus:
    """Return the corpus of a design."""
    found: Corpus = plugins.load("corpus", part.name, part.parameters)
    return found


def benchmark(part: Part) -> Benchmark:
    """Return a benchmark of a design."""
    found: Benchmark = plugins.load("benchmark", part.name, part.parameters)
    return found


def judge(part: Part) -> Judge:
    """Return a judge of a design."""
    found: Judge = plugins.load("judge", part.name, part.parameters)
    return found


def part_id(kind: str, part: Part) -> str:
    """Hash of a plugin: its version, its parameters, those left at their defaults too, and the content of its files.

    A plugin that reads more than the file in its parameter `path` names what it reads in a method `files`, which raises
    DataError where one is not here.
    """
    plugin = plugins.load(kind, part.name, part.parameters)
    if hasattr(plugin, "identity"):  # of a model that it reads with
        return digest(kind, part.name, plugin, plugin.identity())
    path = part.parameters.get("path")
    if hasattr(plugin, "files"):
        return digest(kind, part.name, plugin, [homes.sha256(file) for file in plugin.files()])
    return digest(kind, part.name, plugin, content(path))


def content(path: object) -> str | None:
    """Return the SHA-256 of a file's content; None where `path` names none."""
    return homes.sha256(Path(path)) if isinstance(path, str) and path and Path(path).is_file() else None


def unscored(design: Design) -> str:
    """Return why no text is scored in this design; empty where some are."""
    if design.corpus is None:
        return "no tuning data was given"
    data = design.data
    if not (data.canaries or data.canary_file or data.held_out or data.non_members):
        return "no held-out rows and no canaries were given ([data] held_out and canaries, or --held-out)"
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if "scores" not in backend.capabilities:
        return f"backend '{design.backend.name}' cannot tell how probable a text is (it has no scores)"
    return ""


def can_score(design: Design, part: Part) -> None:
    """Raise UsageError for a benchmark scored by log-probabilities where the backend of the design shows none."""
    scored_by = getattr(benchmark(part), "scored_by", "generation")
    backend = plugins.load("backend", design.backend.name, design.backend.parameters)
    if scored_by != "generation" and "beginnings" not in backend.capabilities:
        raise UsageError(
            f"benchmark '{part.name}': scored_by = '{scored_by}' needs log-probabilities, which backend "
            f"'{design.backend.name}' does not show: give scored_by = 'generation'"
        )


def benchmark_name(part: Part) -> str:
    """Return what a benchmark's prompts and metrics call it: its plugin's name, unless it has a `name` of its own."""
    return str(getattr(benchmark(part), "name", part.name))


def primary_judges(design: Design) -> dict[str, str]:
    """Return axis -> the judge whose verdict is gated: the first in the design that offers the axis."""
    chosen: dict[str, str] = {}
    for part in design.judges:
        for axis in judge(part).axes:
            chosen.setdefault(axis, judge_name(part))
    return chosen


def judge_name(part: Part) -> str:
    """Return what a judge's verdicts name: its plugin's name, unless it is `called` something of its own."""
    return str(getattr(judge(part), "called", part.name))


def tell_judges_apart(design: Design, subjects: Mapping[str, str | None]) -> None:
    """Raise UsageError where two judges have one name, or JudgeError where one would judge itself.

    `subjects`: name -> weights' hash of every model that is asked.
    """
    names = [judge_name(part) for part in design.judges]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two judges are called '{name}': leave one out, or give its rubric file another name")
    for part in design.judges:
        plugin = judge(part)
        own = plugin.identity() if hasattr(plugin, "identity") else None
        for subject, weights in subjects.items():
            if own is not None and own in (weights, subject):
                raise JudgeError(
                    f"judge {part.name}: {subject} is the model under test, which may not judge itself: name another "
                    "model"
                )


_TYPES: Mapping[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}


def written(kind: str, text: str) -> Part:
    """Return the plugin that a person wrote: `NAME`, `NAME:key=value,key=value`, or a TOML file of `name` and the rest.

    Values are TOML (`0.3`, `true`, `{toxic = "bad"}`); what is no TOML, or stands for a parameter of text, is text as
    it stands, quotes left out. Existing files and folders become absolute, so that a run can be continued from
    elsewhere.

    Raises UsageError with the near miss for an unknown plugin or parameter, and for what is not of this form.
    """
    if text.endswith(".toml"):
        name, found = _of_file(kind, Path(text))
        beside = Path(text).absolute().parent
    else:
        name, _, rest = text.partition(":")
        found, beside = dict(_pair(kind, name, piece) for piece in _pieces(text, rest)), Path.cwd()
    hints = {
        field.name: str(field.type) for field in dataclasses.fields(plugins.plugin_class(kind, name)) if field.init
    }
    for key, value in found.items():
        if key not in hints:
            raise UsageError(f"{kind} '{name}' has no parameter '{key}'{plugins.near(key, sorted(hints))}")
        kinds = _TYPES.get(hints[key])
        if kinds and (not isinstance(value, kinds) or isinstance(value, bool) != (hints[key] == "bool")):
            raise UsageError(f"{kind} '{name}': {key} = {value!r} is not of the type {hints[key]}")
        there = beside / Path(value).expanduser() if isinstance(value, str) and value else None
        if there is not None and there.exists() and ("/" in str(value) or key in ("path", "model")):
            found[key] = str(there.absolute())
        elif key == "rubric" and str(value).endswith(".toml"):
            found[key] = str((beside / Path(str(value)).expanduser()).absolute())
    plugins.load(kind, name, found)
    return Part(name, found)


def _of_file(kind: str, path: Path) -> tuple[str, dict[str, Any]]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{kind} file {path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{kind} file {path}: not TOML: {error}") from None
    name = found.pop("name", None)
    if not isinstance(name, str):
        raise UsageError(f"{kind} file {path}: needs a 'name', e.g. name = \"rubric\"")
    return name, found


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
        raise UsageError(f"'{whole}': a quote or bracket is not closed")
    if rest[start:].strip():
        yield rest[start:]


def _pair(kind: str, name: str, piece: str) -> tuple[str, Any]:
    key, sign, value = (part.strip() for part in piece.partition("="))
    if not sign or not key or not value:
        raise UsageError(f"{kind} '{name}': '{piece.strip()}' is not key=value")
    hints = {field.name: str(field.type) for field in dataclasses.fields(plugins.plugin_class(kind, name))}
    if hints.get(key) == "str" and value[0] not in "\"'":
        return key, value
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
