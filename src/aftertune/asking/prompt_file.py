"""Benchmarks that read files: finding the files, reading their rows, and asking a part of the prompts.

A benchmark that is a file of prompts is a `PromptFile`: its name, card, data set, columns and metrics, and a method
that makes the prompts of a row.
"""

from __future__ import annotations

import csv
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.data import datasets, table_files
from aftertune.data.datasets import Dataset
from aftertune.errors import DataError, UsageError, near
from aftertune.records import Message, Prompt


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, or an object inside one."""

    path: Path
    index: int
    """Counted from 0 in its file."""
    where: str
    """`file:line`, for error messages."""
    values: Mapping[str, Any]

    def text(self, field: str) -> str:
        """Return a field that must hold text. Raises DataError naming file, line and field."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            fault = "empty" if value is None or isinstance(value, str) else f"{type(value).__name__}, not text"
            raise DataError(f"{self.where}: {field} is {fault}")
        return value.strip()

    def choice(self, field: str, known: Sequence[str]) -> str:
        """Return a field that must hold one of the known words. Raises DataError naming file, line and field."""
        value = self.text(field)
        if value not in known:
            raise DataError(f"{self.where}: {field} is '{value[:60]}', not one of {', '.join(known)}")
        return value

    def section(self, field: str) -> Row:
        """Return a field that must hold an object. Raises DataError naming file, line and field."""
        value = self.values.get(field)
        if not isinstance(value, dict):
            raise DataError(f"{self.where}: {field} is {type(value).__name__}, not an object")
        return Row(self.path, self.index, f"{self.where}: {field}", value)


@dataclass(frozen=True)
class FileBenchmark(Benchmark):
    """A benchmark that reads files: those given as `path`, else those of its data set, once they were fetched."""

    path: str = ""
    """The data file, or the folder that holds the files; empty takes what was fetched."""
    limit: int = 0
    """At most so many prompts of each subset, spread over the clusters; 0 takes all."""

    def __post_init__(self) -> None:
        """Refuse parameters that cannot be honoured. Raises UsageError."""
        if not isinstance(self.path, str):
            raise UsageError(f"{self.name}: path = {self.path!r}: give the path of a file or folder as text")
        self.check_limit(self.limit)

    @property
    def location(self) -> Path | None:
        """The file or folder `path`; None where it is empty."""
        return Path(self.path).expanduser() if self.path else None

    @property
    def variant(self) -> str:
        """Which of its `datasets` it reads: the first, unless a parameter says otherwise."""
        return next(iter(self.datasets), "")

    def reads(self, file: str) -> bool:
        """Return whether these parameters read a file of the data set."""
        del file
        return True

    def required(self) -> Sequence[str]:
        """Return the files without which these parameters cannot be honoured; of the others, any will do."""
        return ()

    def files(self) -> tuple[Path, ...]:
        """Return the files that are read, in the order of the data set: those under `path`, else what was fetched.

        `path` is a file, or a folder with files named as in the data set. Raises DataError where one is not here.
        """
        dataset = self.datasets.get(self.variant, Dataset("", "", ()))
        dataset = replace(dataset, files=tuple(file for file in dataset.files if self.reads(file.name)))
        names = [file.name for file in dataset.files]
        if self.location is None:
            if not names:
                raise DataError(f"{self.name}: give its file as `path`")
            return tuple(datasets.locate(self.name, self.variant, dataset).values())
        if self.location.is_file():
            paths = [self.location]
        elif self.location.is_dir():
            paths = [path for name in names if (path := self.location / name).is_file()]
        else:
            raise DataError(f"{self.path}: no such file or folder; {self.name} reads {', '.join(names)}")
        here = {path.name for path in paths}
        if missing := [name for name in self.required() if name not in here]:
            raise DataError(f"{self.path}: there is no {', no '.join(missing)}, which {self.name} needs")
        if not paths:
            raise DataError(f"{self.path}: has none of the files that {self.name} reads: {', '.join(names)}")
        return tuple(paths)

    @abstractmethod
    def all_prompts(self, paths: Sequence[Path]) -> Sequence[Prompt]:
        """Return the prompts of the files, in their order. Raises DataError naming file, line and field."""

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts in the order of the files, with a `limit` a part of them.

        Raises DataError for a file that is missing or broken, for two prompts with one id, and for a subset of the
        metrics that has no prompt.
        """
        del context
        paths = self.files()
        prompts = self.all_prompts(paths)
        names = ", ".join(path.name for path in paths)
        where = paths[0] if len(paths) == 1 else f"{paths[-1].parent}: {names}"
        ids: set[str] = set()
        for prompt in prompts:
            if prompt.id in ids:
                raise DataError(f"{where}: two rows have the id '{prompt.id}'")
            ids.add(prompt.id)
        subsets = {prompt.subset for prompt in prompts}
        for metric in self.metrics:
            if metric.subset not in subsets:
                known = ", ".join(sorted(subsets)) or "nothing"
                raise DataError(f"{where}: no row belongs to the subset '{metric.subset}' (there: {known})")
        return part(prompts, self.limit) if self.limit else prompts

    def ask(
        self,
        id: str,
        subset: str,
        category: str,
        cluster: str,
        content: str,
        expect: Mapping[str, Any] | None = None,
        system: str = "",
    ) -> Prompt:
        """Return a prompt of a single user turn, behind a system prompt if there is one."""
        before = (Message("system", system),) if system else ()
        turns = (*before, Message("user", content))
        return Prompt(id, self.name, subset, category, cluster, turns, dict(expect or {}))

    def words(self, parameter: str, value: str, known: Sequence[str]) -> tuple[str, ...]:
        """Return the words of a parameter that takes several, with commas. Raises UsageError with the near miss."""
        if not isinstance(value, str):
            raise UsageError(f"{self.name}: {parameter} = {value!r}: give words as text, with commas")
        words = tuple(dict.fromkeys(word.strip() for word in value.split(",")))
        for word in words:
            if word not in known:
                raise UsageError(f"{self.name}: {parameter}: '{word}'{near(word, list(known))}")
        return words


@dataclass(frozen=True)
class PromptFile(FileBenchmark):
    """A benchmark whose files are tables of prompts."""

    columns: ClassVar[tuple[str, ...]] = ()
    """What every row must have."""

    def rows(self, path: Path) -> Iterator[Row]:
        """Yield the rows of a file. Raises DataError naming file, line and column."""
        for index, (line, values) in enumerate(table_files.read(path, self.columns)):
            yield Row(path, index, table_files.location(path, line), values)

    @abstractmethod
    def prompts_of(self, row: Row) -> Iterator[Prompt]:
        """Yield the prompts that a row makes: one mostly. Raises DataError naming file, line and field."""

    def all_prompts(self, paths: Sequence[Path]) -> Sequence[Prompt]:
        """Return the prompts of every row."""
        return [prompt for path in paths for row in self.rows(path) for prompt in self.prompts_of(row)]


def headerless(path: Path, field: str) -> Iterator[Row]:
    """Yield the rows of a CSV with one value a line and no header, called `field`. Raises DataError for several."""
    index = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for values in reader:
                cells = [cell.strip() for cell in values if cell.strip()]
                if len(cells) > 1:
                    raise DataError(f"{path}:{reader.line_num}: expected one {field}, found {len(cells)} values")
                for cell in cells:
                    yield Row(path, index, f"{path}:{reader.line_num}", {field: cell})
                    index += 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    except csv.Error as error:
        raise DataError(f"{path}: not valid CSV: {error}") from None


def part(prompts: Sequence[Prompt], limit: int) -> list[Prompt]:
    """Return at most `limit` prompts of each subset, spread over its clusters, in the order of the file."""
    by_subset: dict[str, dict[str, list[str]]] = {}
    for prompt in prompts:
        by_subset.setdefault(prompt.subset, {}).setdefault(prompt.cluster, []).append(prompt.id)
    chosen: set[str] = set()
    for clusters in by_subset.values():
        turns = itertools.chain.from_iterable(itertools.zip_longest(*clusters.values()))
        chosen.update(itertools.islice((id_ for id_ in turns if id_ is not None), limit))
    return [prompt for prompt in prompts if prompt.id in chosen]
