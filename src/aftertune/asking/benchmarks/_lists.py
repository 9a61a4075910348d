"""The TOML of a `prompt_list`: where its data come from, and what its columns mean."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from aftertune import toml_records
from aftertune.data.datasets import Dataset, github, hub, hub_split, named
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
    files: Mapping[str, str] | None = None
    """Path -> SHA-256, empty where nobody knows it."""
    access: str = ""
    """How to get access, for a gated data set."""

    def dataset(self, licence: str) -> Dataset:
        """Return where each file comes from; without a repository, the names of the files alone."""
        files = self.files or {}
        if self.github:
            return github(self.github, self.revision, files, licence, self.access)
        if self.hub and files:
            return hub(self.hub, self.revision, files, licence, self.access)
        if self.hub:
            return hub_split(self.hub, self.config, self.split, licence, self.access)
        return named(files, licence, self.access)


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
    subsets: Mapping[str, str] | None = None
    """Value of the subset column -> subset; `*` stands for every other value."""
    filter: Mapping[str, tuple[str, ...]] | None = None
    """Column -> values of the rows that are asked."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A list, read from its TOML and checked."""

    name: str
    path: Path | None
    """Of the TOML; None for one that ships."""
    card: Card
    dataset: Dataset
    columns: Columns
    subsets: Mapping[str, str]
    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    neutral: tuple[str, ...]
    """Subsets that are neither."""
    filter: Mapping[str, tuple[str, ...]]

    def required_columns(self) -> tuple[str, ...]:
        """Return the columns that every row must have."""
        own = self.columns
        single = (getattr(own, field.name) for field in fields(own) if field.name != "carry")
        return tuple(dict.fromkeys(c for c in (*single, *own.carry, *self.filter) if c and not c.startswith("@")))

    def subset_of(self, where: str, row: Mapping[str, Any]) -> str:
        """Return the subset of a row. Raises DataError for a value that the TOML does not name."""
        column = self.columns.subset
        value = str(row[column]).strip() if column else "*"
        subset = self.subsets.get(value, self.subsets.get("*"))
        if subset is None:
            known = ", ".join(self.subsets)
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
        return _checked(name, path, toml_records.build(Contents, toml_records.load(text)))
    except DataError:
        raise
    except UsageError as error:
        raise UsageError(f"prompt_list {path or name}: {error}") from None


def _checked(name: str, path: Path | None, contents: Contents) -> Spec:
    columns = contents.columns
    if not _PLAIN.fullmatch(name):
        raise UsageError("call the file by letters, digits and . _ - (at most 60): it names the benchmark")
    if not columns.prompt:
        raise UsageError('name the column that holds the prompt: [columns] prompt = "..."')
    if bool(columns.options) != bool(columns.answer):
        raise UsageError("columns.options and columns.answer belong together")
    for field in fields(columns):
        value = getattr(columns, field.name)
        if field.name in ("category", "cluster") and value in ("@file", "@folder"):
            continue
        for column in (value,) if isinstance(value, str) else value:
            if column.startswith("@"):
                raise UsageError(
                    f"columns.{field.name} = '{column}': only category and cluster take '@file' or '@folder'"
                )
    for file in contents.home.files or {}:
        if file.startswith("/") or ".." in file.split("/"):
            raise UsageError(f"home.files: '{file}' leaves the data set's folder")
    subsets = contents.subsets or {"*": "all"}
    if not columns.subset and list(subsets) != ["*"]:
        raise UsageError("[subsets] needs columns.subset, whose values it names")
    harm, every = contents.harm, tuple(dict.fromkeys(subsets.values()))
    for subset in (*harm.harmful, *harm.harmless):
        if subset not in every:
            raise UsageError(f"[harm] names the subset '{subset}'{near(subset, list(every))}")
    card = Card(
        about=contents.title or name,
        source=contents.source,
        licence=contents.licence,
        size=contents.size,
        cluster=contents.cluster,
        positive=contents.positive,
        weaknesses=contents.weaknesses,
        notes=contents.notes,
    )
    neutral = tuple(subset for subset in every if subset not in (*harm.harmful, *harm.harmless))
    dataset = contents.home.dataset(contents.licence)
    return Spec(
        name, path, card, dataset, columns, subsets, harm.harmful, harm.harmless, neutral, contents.filter or {}
    )
