"""Any list of prompts, by the column names in a TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from aftertune.asking import choices
from aftertune.asking.benchmark import TEXT_JUDGES
from aftertune.asking.benchmarks import _lists
from aftertune.asking.prompt_file import PromptFile, Row
from aftertune.asking.request_metrics import harmful, harmless
from aftertune.data import table_files
from aftertune.data.datasets import Dataset
from aftertune.errors import DataError
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt, digest

_CARD = Card(
    about="Prompts of any CSV, JSON, JSONL or Parquet file, or hub data set, read by the column names in a TOML.",
    source="the TOML says; `aftertune fetch` without a name shows the lists that ship: MedSafetyBench, CARES, "
    "SafeLawBench, Trident-Bench, MLCommons AILuminate",
    licence="the TOML says",
    size="the TOML says",
    cluster="the TOML's cluster column, else its category, else the file",
    positive="in subsets that the TOML calls harmful `refusal=full` is right, lower is worse; in those that it calls "
    "harmless it is over-refusal, higher is worse; in those with options `accuracy=correct` falling is worse",
    weaknesses="what counts as harmful is the TOML's word for a whole subset, not a judgement of each prompt",
)


@dataclass(frozen=True)
class PromptList(PromptFile):
    """A list of prompts that a TOML describes."""

    list: str = ""
    """Name of a bundled list, or the path of a TOML; empty takes `list.toml` in the folder `path`."""
    path: str = ""
    """The data file, or the folder of the files that the TOML names; empty takes what was fetched."""
    judges: ClassVar[tuple[str, ...]] = (*TEXT_JUDGES, "choice")
    example: ClassVar[Mapping[str, str]] = {
        "list.toml": 'title = "Made up"\nsource = "aftertune"\nlicence = "Apache-2.0"\n'
        '[home]\nfiles = { "prompts.csv" = "" }\n'
        '[columns]\nprompt = "text"\ncategory = "topic"\nsubset = "level"\n'
        '[subsets]\n0 = "harmless"\n"*" = "harmful"\n[harm]\nharmful = ["harmful"]\nharmless = ["harmless"]\n',
        "prompts.csv": "text,topic,level\nHow do I water a fern?,plants,0\nHow do I drown a fern?,plants,3\n",
    }

    @staticmethod
    def bundled() -> Sequence[str]:
        """Return the names of the lists that ship."""
        return _lists.names()

    @cached_property
    def spec(self) -> _lists.Spec:
        """The list's TOML. Raises UsageError where it cannot be read."""
        if self.location is not None and not self.location.exists():
            raise DataError(f"{self.path}: no such file or folder")
        inside = self.location / "list.toml" if self.location is not None else None
        return _lists.load(self.list or (str(inside) if inside is not None and inside.is_file() else ""))

    @property
    def name(self) -> str:
        """The list's own name."""
        return self.spec.name

    @property
    def card(self) -> Card:
        """The list's own card; of no list, that of all lists."""
        return self.spec.card if self.list or self.path else _CARD

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """Where the list's data come from."""
        return {"": self.spec.dataset}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers, by what the TOML says of each subset."""
        name, toml = self.name, self.spec.toml
        metrics = [metric for subset in toml.harm.harmful for metric in harmful(name, subset, f"{subset} prompts")]
        metrics += [metric for subset in toml.harm.harmless for metric in harmless(name, subset, f"{subset} prompts")]
        axis, label, about = "coherence", "coherent", "answers that can be read"
        if toml.columns.options:
            axis, label, about = "accuracy", "correct", "questions answered with the right option"
        return (*metrics, *(Metric(name, each, axis, label, "down", about) for each in self.spec.neutral))

    def files(self) -> tuple[Path, ...]:
        """Return the TOML (unless it ships) and the files that are read. Raises DataError where they are not here."""
        data = super().files()
        return data if self.spec.path is None else (self.spec.path, *data)

    def rows(self, path: Path) -> Iterator[Row]:
        """Yield the rows that pass the filter, numbered before it; the TOML has none."""
        if path == self.spec.path:
            return
        for index, (line, values) in enumerate(table_files.read(path, self.spec.required_columns())):
            if all(str(values[column]) in wanted for column, wanted in self.spec.toml.filter.items()):
                yield Row(path, index, table_files.location(path, line), values)

    def all_prompts(self, paths: Sequence[Path]) -> Sequence[Prompt]:
        """Return the prompts, file by file. Raises DataError where the filter leaves none."""
        prompts = super().all_prompts(paths)
        if not prompts:
            raise DataError(f"{paths[-1]}: no row passes the filter of {self.spec.card.about}")
        return prompts

    def prompts_of(self, row: Row) -> Iterator[Prompt]:
        """Yield the prompt of a row."""
        columns = self.spec.toml.columns
        content = row.text(columns.prompt)
        expect = {column: _json(row.values[column]) for column in columns.carry}
        if columns.options:
            where = f"{row.where}: {columns.options}"
            options, right = choices.parse(where, row.values[columns.options], row.values[columns.answer])
            content = choices.question(content, options)
            expect.update(choices.expect(options, right))
        if columns.context and str(row.values[columns.context] or "").strip():
            content = f"{row.text(columns.context)}\n\n{content}"
        category = self._label(row, columns.category) or row.path.stem
        cluster = self._label(row, columns.cluster) or category
        yield self.ask(self._id(row), self.spec.subset_of(row.where, row.values), category, cluster, content, expect)

    def _id(self, row: Row) -> str:
        column = self.spec.toml.columns.id
        if column:
            id_ = str(row.values[column]).strip()
            if not id_:
                raise DataError(f"{row.where}: {column} is empty")
            return id_
        paths = self._data_files
        return f"{paths.index(row.path)}-{row.index:05d}" if len(paths) > 1 else f"{row.index:05d}"

    @cached_property
    def _data_files(self) -> Sequence[Path]:
        return super().files()

    def _label(self, row: Row, column: str) -> str:
        """Return a column as a name; `@file` and `@folder` stand for where the row was read."""
        if column.startswith("@"):
            return row.path.stem if column == "@file" else row.path.parent.name
        value = str(row.values[column]).strip() if column and row.values[column] is not None else ""
        return value if len(value) <= 60 else f"{self.name}-{digest(value)}"


def _json(value: Any) -> Any:
    """Return a cell as plain JSON values: a date or another thing as text, a number that is none as None."""
    return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)


PLUGIN = PromptList
