"""The TOML of a `prompt_list`: where its data come from, and what its columns mean."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aftertune.data.datasets import Dataset, github, hub, hub_split
from aftertune.errors import DataError, UsageError, near

_WORDS = ("title", "source", "licence", "size", "cluster", "positive", "weaknesses", "notes")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "home": ("github", "hub", "revision", "config", "split", "files", "access"),
    "columns": ("prompt", "id", "category", "cluster", "context", "subset", "options", "answer", "carry"),
    "harm": ("harmful", "harmless"),
    "subsets": (),
    "filter": (),
}
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


@dataclass(frozen=True, slots=True)
class Spec:
    """A list's TOML, read and checked."""

    name: str
    path: Path | None
    """Of the TOML; None for one that ships."""
    title: str
    words: Mapping[str, str]
    """What the card says: source, licence, size, cluster, positive, weaknesses, notes."""
    home: Dataset
    prompt: str
    id: str
    category: str
    cluster: str
    context: str
    subset: str
    options: str
    answer: str
    carry: tuple[str, ...]
    subsets: Mapping[str, str]
    """Value of the subset column -> subset; `*` stands for every other value."""
    harmful: tuple[str, ...]
    harmless: tuple[str, ...]
    neutral: tuple[str, ...]
    """Subsets that are neither."""
    filter: Mapping[str, tuple[str, ...]]
    """Column -> values of the rows that are kept."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns that every row must have."""
        named = (self.prompt, self.id, self.category, self.cluster, self.context, self.subset, self.options,
                 self.answer, *self.carry, *self.filter)  # fmt: skip
        return tuple(dict.fromkeys(name for name in named if name and not name.startswith("@")))

    def subset_of(self, where: str, row: Mapping[str, Any]) -> str:
        """Return the subset of a row. Raises DataError for a value that the TOML does not name."""
        if not self.subset:
            return self.subsets["*"]
        value = str(row[self.subset]).strip()
        if value in self.subsets:
            return self.subsets[value]
        if "*" not in self.subsets:
            known = ", ".join(self.subsets)
            raise DataError(f"{where}: {self.subset} is '{value[:40]}', which the list does not name ({known})")
        return self.subsets["*"]


@functools.cache
def names() -> list[str]:
    """Return the names of the bundled lists."""
    return sorted(file.name.removesuffix(".toml") for file in _bundled().iterdir() if file.name.endswith(".toml"))


def _bundled() -> Any:
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
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"prompt_list: {path}: cannot be read: {reason}") from None


@functools.lru_cache(maxsize=64)
def _spec(name: str, path: Path | None, text: str) -> Spec:
    where = f"prompt_list {path or name}"
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML: {error}") from None
    _known(where, raw, (*_WORDS, *_KEYS))
    if not _PLAIN.fullmatch(name):
        raise UsageError(f"{where}: call the file by letters, digits and . _ - (at most 60): it names the benchmark")
    tables: dict[str, Mapping[str, Any]] = {}
    for key, known in _KEYS.items():
        table = raw.get(key, {})
        if not isinstance(table, dict):
            raise UsageError(f"{where}: [{key}] must be a table")
        if known:
            _known(f"{where}: [{key}]", table, known)
        tables[key] = table
    words = {key: _text(where, key, raw.get(key, "")) for key in _WORDS}
    columns = {key: _text(where, f"columns.{key}", tables["columns"].get(key, ""))
               for key in _KEYS["columns"] if key != "carry"}  # fmt: skip
    if not columns["prompt"]:
        raise UsageError(f'{where}: name the column that holds the prompt: [columns] prompt = "..."')
    if bool(columns["options"]) != bool(columns["answer"]):
        raise UsageError(f"{where}: columns.options and columns.answer belong together")
    for key, value in columns.items():
        if value.startswith("@") and (key not in ("category", "cluster") or value not in ("@file", "@folder")):
            raise UsageError(f"{where}: columns.{key} = '{value}': only category and cluster take '@file' or '@folder'")
    default = {} if tables["subsets"] else {"*": "all"}
    subsets = {key: _text(where, f"subsets.{key}", value) for key, value in {**default, **tables["subsets"]}.items()}
    if not columns["subset"] and list(subsets) != ["*"]:
        raise UsageError(f"{where}: [subsets] needs columns.subset, whose values it names")
    harm = {key: _texts(where, f"harm.{key}", tables["harm"].get(key, [])) for key in _KEYS["harm"]}
    every = tuple(dict.fromkeys(subsets.values()))
    for subset in (*harm["harmful"], *harm["harmless"]):
        if subset not in every:
            raise UsageError(f"{where}: [harm] names the subset '{subset}'{near(subset, list(every))}")
    neutral = tuple(subset for subset in every if subset not in (*harm["harmful"], *harm["harmless"]))
    return Spec(
        name=name, path=path, title=words["title"] or name, words=words, home=_home(where, tables["home"], words),
        **columns, carry=_texts(where, "columns.carry", tables["columns"].get("carry", [])), subsets=subsets,
        harmful=harm["harmful"], harmless=harm["harmless"], neutral=neutral,
        filter={key: _texts(where, f"filter.{key}", values) for key, values in tables["filter"].items()},
    )  # fmt: skip


def _home(where: str, table: Mapping[str, Any], words: Mapping[str, str]) -> Dataset:
    files = table.get("files", {})
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise UsageError(f"{where}: home.files must map a path to its SHA-256 (empty where it is unknown)")
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise UsageError(f"{where}: home.files: '{name}' leaves the data set's folder")
    said = {key: _text(where, f"home.{key}", table.get(key, "")) for key in _KEYS["home"] if key != "files"}
    revision = said["revision"] or "main"
    if said["github"]:
        return github(said["github"], revision, files, words["licence"], said["access"])
    if said["hub"] and files:
        return hub(said["hub"], revision, files, words["licence"], said["access"])
    if said["hub"]:
        config, split = said["config"] or "default", said["split"] or "test"
        return hub_split(said["hub"], config, split, words["licence"], said["access"])
    return Dataset("", words["licence"], tuple(f for f in github("", "", files, "").files), said["access"])


def _known(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where}: unknown key '{key}'{near(key, list(known))}")


def _text(where: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key} = {value!r} must be text")
    return value


def _texts(where: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"{where}: {key} must be a list of texts")
    return tuple(value)
