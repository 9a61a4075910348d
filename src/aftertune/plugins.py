"""Load a plugin by kind and name: the only dynamic import in aftertune.

A plugin is the frozen dataclass named in a module's `PLUGIN` attribute; its name is the module's file name with `_`
as `-` where a person writes it. Other packages add theirs through entry points in the group `aftertune.<kind>`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import pkgutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, TypeVar

from aftertune.errors import MissingPackageError, StoreError, UsageError, near
from aftertune.extras import install
from aftertune.records import PluginSpec as PluginSpec

KINDS = {
    "corpus": "variants.corpora",
    "mitigation": "tuning.mitigations",
    "benchmark": "asking.benchmarks",
    "backend": "asking.backends",
    "judge": "judging.judges",
    "analysis": "inside.analyses",
    "predictor": "forecasting.predictors",
    "executor": "run.executors",
}
"""Kind -> package below `aftertune`, in the order of the flow."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a reader must know of an instrument before believing it."""

    about: str
    """What it is, and what it does, in a paragraph or two."""
    source: str
    """Paper, repository or author."""
    licence: str
    size: str = ""
    """Benchmarks: how many prompts, in words."""
    cluster: str = ""
    """Benchmarks: which prompts are not independent."""
    positive: str = ""
    """What a positive means, and which direction is worse."""
    measured: str = ""
    """Judges: the error that was measured, on what."""
    speed: str = ""
    """Judges: answers a second, on what."""
    weaknesses: str = ""
    """What is known to go wrong."""
    notes: str = ""
    """Anything else, e.g. how a format is known."""

    def sections(self) -> list[tuple[str, str]]:
        """Return (heading, text) of everything that it says beside what the plugin is about."""
        texts = [(each.name.capitalize(), getattr(self, each.name)) for each in dataclasses.fields(self)]
        return [(heading, text) for heading, text in texts if text and heading != "About"]


class Plugin:
    """What every plugin is: a frozen dataclass in one file, whose fields are its parameters."""

    kind: ClassVar[str]
    version: str = "1"
    """Goes into ids: change it whenever the plugin would decide differently."""
    nested: ClassVar[Mapping[str, str]] = {}
    """Parameters that hold a plugin of the kind of the same name, e.g. the `backend` of a judge that asks a model; each
    with the name of the plugin that it holds by default."""

    @property
    def card(self) -> Card:
        """What a reader must know of it; most plugins set it on the class."""
        raise NotImplementedError


P = TypeVar("P", bound=Plugin)


@dataclass(frozen=True, kw_only=True)
class Resolved(Generic[P]):
    """A plugin of a study, resolved once. `plugin` is None where the study was read back from a run."""

    name: str
    spec: PluginSpec
    id: str
    """Hash of its version, its parameters, defaults included, and the content of the files or model that it reads."""
    plugin: P | None = field(default=None, compare=False, repr=False)
    kind: ClassVar[str]

    def get(self) -> P:
        """Return the plugin. Raises StoreError where the study was read back without it."""
        if self.plugin is None:
            raise StoreError(f"{self.kind} '{self.name}': run the command that began this run again to continue it")
        return self.plugin


def names(kind: str) -> list[str]:
    """Return the names of all plugins of a kind, sorted, without importing any of them."""
    return sorted({*_own(_folder(kind)), *_outside(kind, tuple(sys.path))})


@functools.cache
def _own(folder: str) -> frozenset[str]:
    package = importlib.import_module(f"aftertune.{folder}")
    return frozenset(
        module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")
    )


@functools.cache
def _outside(kind: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Return the plugins of other packages by name, looked for once: it means to read a file of every package."""
    del path  # where packages are looked for
    return {point.name: point for point in entry_points(group=f"aftertune.{kind}")}


def plugin_class(kind: str, name: str) -> type[Any]:
    """Return the plugin's class.

    Raises UsageError for an unknown name (with the near miss), for a missing optional package (with its name), and
    where another package gives this name to something else.
    """
    known = names(kind)
    if name not in known:
        raise UsageError(f"no {kind} called '{name}'{near(name, known)}")
    outside = _outside(kind, tuple(sys.path))
    try:
        if name in outside:
            cls = outside[name].load()
        else:
            cls = importlib.import_module(f"aftertune.{_folder(kind)}.{name}").PLUGIN
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aftertune"):
            raise
        raise MissingPackageError(
            f"{kind} '{name}' needs the package '{error.name}': {install(error.name or '')}"
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, Plugin) and cls.kind == kind):
        raise UsageError(f"{kind} '{name}': {outside[name].value} is no {kind}: subclass aftertune's class for it")
    return cls


def load(kind: str, name: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Return the plugin made with its parameters.

    A nested parameter may be a plugin's name, a table of its name and parameters, a `PluginSpec`, or the plugin itself.
    Raises UsageError for an unknown plugin or parameter (with the near miss) and for a value that it refuses.
    """
    cls = plugin_class(kind, name)
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    values = dict(parameters or {})
    for key in values:
        if key not in known:
            raise UsageError(f"{kind} '{name}' has no parameter '{key}'{near(key, known)}")
    for key, default in cls.nested.items():
        values[key] = _nested(f"{kind} '{name}'", key, values.get(key, default))
    for each in dataclasses.fields(cls):
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if each.init and required and each.name not in values:
            raise UsageError(
                f"{kind} '{name}' needs the parameter '{each.name}' ({type_of(each)}): `aftertune show {kind} {name}` "
                "says what it is"
            )
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{kind} '{name}': {error}") from None


def _nested(owner: str, kind: str, value: object) -> Any:
    """Return the plugin that a nested parameter holds. Raises UsageError."""
    if isinstance(value, Plugin):
        return value
    if isinstance(value, str):
        return load(kind, value)
    if isinstance(value, PluginSpec):
        return load(kind, value.name, value.parameters)
    if not isinstance(value, Mapping):
        raise UsageError(f"{owner}: {kind}: expected a name or a table, found {type(value).__name__}")
    if not isinstance(value.get("name"), str):
        raise UsageError(f"{owner}: {kind}: the table needs a 'name'")
    return load(kind, value["name"], {key: each for key, each in value.items() if key != "name"})


def is_server(backend: object) -> bool:
    """Return whether a backend, its name or a table with one, asks a server: the names of its models are no paths.

    Raises UsageError for an unknown name.
    """
    name = backend.get("name") if isinstance(backend, Mapping) else backend
    return isinstance(name, str) and bool(plugin_class("backend", name).asks_server)


def _folder(kind: str) -> str:
    if kind not in KINDS:
        raise UsageError(f"no plugin kind '{kind}'{near(kind, list(KINDS))}")
    return KINDS[kind]


def card_of(kind: str, name: str, parameters: Mapping[str, Any] | None = None) -> Card | None:
    """Return a plugin's card; `parameters` matter where it depends on them. None for one that has not written any.

    Raises UsageError as `load` does.
    """
    card = plugin_class(kind, name).card
    if isinstance(card, Card):
        return card
    return None if card is Plugin.card else load(kind, name, parameters).card


def describe(kind: str, name: str, parameters: Mapping[str, Any] | None = None) -> list[str]:
    """Return a plugin's card and its parameters with their defaults and notes, as lines of text.

    `parameters`: those of a plugin whose card depends on them. Raises UsageError as `load` does.
    """
    cls, card = plugin_class(kind, name), card_of(kind, name, parameters)
    lines = [f"{kind} {name}", "", *(_card_lines(card) if card else [inspect.getdoc(cls) or ""]), ""]
    notes = _field_notes(cls)
    for each in dataclasses.fields(cls):
        if each.init:
            default = f"default {each.default!r}"
            if each.default is dataclasses.MISSING:
                default = "required" if each.default_factory is dataclasses.MISSING else "default made"
            if each.name in cls.nested:
                default = f"default {cls.nested[each.name]!r}"
            lines.append(f"  {each.name}: {type_of(each)} ({default})  {notes.get(each.name, '')}".rstrip())
    for attribute in ("needs", "axes", "capabilities"):
        value = getattr(cls, attribute, None)
        if value and isinstance(value, tuple | frozenset):
            lines.append(f"  {attribute}: {', '.join(sorted(value))}")
    return lines


def type_of(field: dataclasses.Field[Any]) -> str:
    """Return a parameter's type as it stands in the class, whether or not the module keeps its annotations as text."""
    return field.type if isinstance(field.type, str) else inspect.formatannotation(field.type)


def _card_lines(card: Card) -> list[str]:
    """Return a card as lines of text: what it is about, then `Heading: text`."""
    lines: list[str] = []
    for paragraph in card.about.split("\n\n"):
        lines += [*_wrapped(paragraph), ""]
    for heading, text in card.sections():
        lines += _wrapped(f"{heading}: {text}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)


def _field_notes(cls: type[Any]) -> dict[str, str]:
    """Return field -> the string that stands under it in the class body, its own or a base class's."""
    notes: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(each):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for member, text in itertools.pairwise(body.body):
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name) and isinstance(text, ast.Expr):
                value = text.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    notes[member.target.id] = " ".join(value.value.split())
    return notes
