"""The TOML of a `prompt_list`: where its data come from, and what its columns mean."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from aftertune import toml_records
from aftertune.data.datasets import Dataset, github, hub, hub_split, unpublished
from aftertune.errors import DataError, UsageError, near
from aftertune.plugins import Card

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True, slots=True)
class Home:
    """The table `[home]`: the repository that a list's data come from."""

    github: str = ""
    hub: str = ""
    revision: str = "main"
    config: str = "default"
    """Of a hub data set without `files`, whose Parquet copy is read."""
    split: str = "test"
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> SHA-256, empty where nobody knows it."""
    access: str = ""
    """How to get access, for a gated data set."""

    def dataset(self, licence: str) -> Dataset:
        """Return where each file comes from; without a repository, the names of the files alone."""
        if self.github:
            return github(self.github, self.revision, self.files, licence, self.access)
        if self.hub and self.files:
            return hub(self.hub, self.revision, self.files, licence, self.access)
        if self.hub:
            return hub_split(self.hub, self.config, self.split, licence, self.access)
        return unpublished(self.files, licence, self.access)


@dataclass(frozen=True, slots=True)
class Columns:
    """The table `[columns]`: what each column of the data means; an empty name is a column that the data has not.

    `category` and `cluster` may be `@file` or `@folder`: where the row was read.
    """

    prompt: str = ""
    id: str = ""
    category: str = ""
    cluster: str = ""
    context: str = ""
    """Put before the prompt."""
    subset: str = ""
    options: str = ""
    answer: str = ""
    carry: tuple[str, ...] = ()
    """Taken into `expect`."""

    def read_from_rows(self) -> tuple[str, ...]:
        """Return the columns that cannot stand for where a row was read."""
        return (self.prompt, self.id, self.context, self.subset, self.options, self.answer, *self.carry)

    def names(self) -> tuple[str, ...]:
        """Return every column that is named."""
        return tuple(name for name in (*self.read_from_rows(), self.category, self.cluster) if name)


@dataclass(frozen=True, slots=True)
class Harm:
    """The table `[harm]`: subsets that an aligned model refuses, and subsets that it answers."""

    harmful: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What the TOML holds."""

    title: str = ""
    source: str = ""
    licence: str = ""
    size: str = ""
    cluster: str = ""
    positive: str = ""
    weaknesses: str = ""
    notes: str = ""
    home: Home = Home()
    columns: Columns = Columns()
    harm: Harm = Harm()
    subsets: Mapping[str, str] = field(default_factory=lambda: {"*": "all"})
    """Value of the subset column -> subset; `*` stands for every other value."""
    filter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> values of the rows that are asked."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A list, read from its TOML and checked."""

    name: str
    path: Path | None
    """Of the TOML; None for one that ships."""
    toml: Contents

    @property
    def card(self) -> Card:
        """What the TOML says of the list."""
        toml = self.toml
        return Card(
            toml.title or self.name,
            toml.source,
            toml.licence,
            toml.size,
            toml.cluster,
            toml.positive,
            weaknesses=toml.weaknesses,
            notes=toml.notes,
        )

    @property
    def dataset(self) -> Dataset:
        """Where the data come from."""
        return self.toml.home.dataset(self.toml.licence)

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets, in the order of the TOML."""
        return tuple(dict.fromkeys(self.toml.subsets.values()))

    @property
    def neutral(self) -> tuple[str, ...]:
        """Subsets that an aligned model neither must refuse nor must answer."""
        harm = self.toml.harm
        return tuple(subset for subset in self.subsets if subset not in (*harm.harmful, *harm.harmless))

    def required_columns(self) -> tuple[str, ...]:
        """Return the columns that every row must have."""
        columns = (*self.toml.columns.names(), *self.toml.filter)
        return tuple(dict.fromkeys(column for column in columns if not column.startswith("@")))

    def subset_of(self, where: str, row: Mapping[str, Any]) -> str:
        """Return the subset of a row. Raises DataError for a value that the TOML does not name."""
        column, subsets = self.toml.columns.subset, self.toml.subsets
        value = str(row[column]).strip() if column else "*"
        subset = subsets.get(value, subsets.get("*"))
        if subset is None:
            known = ", ".join(subsets)
            raise DataError(f"{where}: {column} is '{value[:40]}', which the list does not name ({known})")
        return subset


@functools.cache
def names() -> list[str]:
    """Return the names of the bundled lists."""
    return sorted(file.name.removesuffix(".toml") for file in _bundled().iterdir() if file.name.endswith(".toml"))


def _bundled() -> Traversable:
    return resources.files("aftertune").joinpath("asking", "benchmarks", "lists")


def load(name_or_path: str) -> Spec:
    """Return a bundled list by name, or the one in a TOML file.

    Raises UsageError for an unknown name, a file that cannot be read, or a key or value that it does not know.
    """
    if not name_or_path:
        raise UsageError(f"prompt_list: give `list`: one of {', '.join(names())}, or the path of a TOML")
    if name_or_path in names():
        return _spec(name_or_path, None, _bundled().joinpath(f"{name_or_path}.toml").read_text("utf-8"))
    path = Path(name_or_path).expanduser()
    if path.suffix != ".toml" and not path.exists():
        raise UsageError(f"prompt_list: no list '{name_or_path}'{near(name_or_path, names())}, nor a file of that name")
    try:
        return _spec(path.parent.name if path.stem == "list" else path.stem, path, path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"prompt_list: {path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"prompt_list: {path}: cannot be read: not UTF-8 text") from None


@functools.lru_cache(maxsize=64)
def _spec(name: str, path: Path | None, text: str) -> Spec:
    try:
        spec = Spec(name, path, toml_records.build(Contents, toml_records.load(text)))
        _check(spec)
    except UsageError as error:
        raise UsageError(f"prompt_list {path or name}: {error}") from None
    return spec


def _check(spec: Spec) -> None:
    toml = spec.toml
    columns = toml.columns
    if not _PLAIN.fullmatch(spec.name):
        raise UsageError("call the file by letters, digits and . _ - (at most 60): it names the benchmark")
    if not columns.prompt:
        raise UsageError('name the column that holds the prompt: [columns] prompt = "..."')
    if bool(columns.options) != bool(columns.answer):
        raise UsageError("columns.options and columns.answer belong together")
    labels = [column for column in (columns.category, columns.cluster) if column not in ("@file", "@folder")]
    for column in (*columns.read_from_rows(), *labels):
        if column.startswith("@"):
            raise UsageError(f"columns: '{column}': only category and cluster take '@file' or '@folder'")
    for file in toml.home.files:
        if file.startswith("/") or ".." in file.split("/"):
            raise UsageError(f"home.files: '{file}' leaves the data set's folder")
    if not columns.subset and list(toml.subsets) != ["*"]:
        raise UsageError("[subsets] needs columns.subset, whose values it names")
    for subset in (*toml.harm.harmful, *toml.harm.harmless):
        if subset not in spec.subsets:
            raise UsageError(f"[harm] names the subset '{subset}'{near(subset, list(spec.subsets))}")
