"""Any list of prompts, by the column names in a TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks import _choices, _files, _lists
from aftertune.data.datasets import Dataset
from aftertune.errors import DataError
from aftertune.records import Message, Metric, Prompt, digest

_NAME = "prompt_list"


@dataclass(frozen=True)
class PromptList:
    """Prompts of any CSV, JSON, JSONL or Parquet file, or hub data set, read by the column names in a TOML.

    Source: the TOML says; `aftertune fetch` without a name shows the lists that ship: MedSafetyBench, CARES,
    SafeLawBench, Trident-Bench, MLCommons AILuminate.
    Licence: the TOML says.
    Size: the TOML says.
    Cluster: the TOML's cluster column, else its category, else the file.
    Positive: in subsets that the TOML calls harmful `refusal=full` is right, lower is worse; in those that it calls
    harmless it is over-refusal, higher is worse; in those with options `accuracy=correct` falling is worse.
    Weaknesses: what counts as harmful is the TOML's word for a whole subset, not a judgement of each prompt.
    """

    list: str = ""
    """Name of a bundled list, or the path of a TOML; empty takes `list.toml` in the folder `path`."""
    path: str = ""
    """The data file, or the folder of the files that the TOML names; empty takes what was fetched."""
    limit: int = 0
    """At most so many prompts of each subset, spread over the clusters; 0 takes all."""
    version: str = field(default="1", init=False)
    needs: frozenset[str] = field(default=frozenset(), init=False)
    max_new_tokens: int = field(default=256, init=False)
    judges: ClassVar[tuple[str, ...]] = (*_files.TEXT_JUDGES, "choice")
    example: ClassVar[Mapping[str, str]] = {
        "list.toml": 'title = "Made up"\nsource = "aftertune"\nlicence = "Apache-2.0"\n'
        '[home]\nfiles = { "prompts.csv" = "" }\n'
        '[columns]\nprompt = "text"\ncategory = "topic"\nsubset = "level"\n'
        '[subsets]\n0 = "harmless"\n"*" = "harmful"\n[harm]\nharmful = ["harmful"]\nharmless = ["harmless"]\n',
        "prompts.csv": "text,topic,level\nHow do I water a fern?,plants,0\nHow do I drown a fern?,plants,3\n",
    }

    def __post_init__(self) -> None:
        _files.check(_NAME, self.path, self.limit)

    @staticmethod
    def bundled() -> Sequence[str]:
        """Return the names of the lists that ship."""
        return _lists.names()

    @property
    def spec(self) -> _lists.Spec:
        """The list's TOML. Raises UsageError where it cannot be read."""
        given = Path(self.path).expanduser()
        if self.path and not given.exists():
            raise DataError(f"{self.path}: no such file or folder")
        inside = given / "list.toml"
        return _lists.load(self.list or (str(inside) if self.path and inside.is_file() else ""))

    @property
    def name(self) -> str:
        """What the prompts and metrics call their benchmark: the list's own name."""
        return self.spec.name

    @property
    def datasets(self) -> Mapping[str, Dataset]:
        """Where the list's data come from."""
        return {"": self.spec.home}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is read off the answers, by what the TOML says of each subset."""
        spec = self.spec
        found = [metric for name in spec.harmful for metric in _files.harmful(spec.name, name, f"{name} prompts")]
        found += [metric for name in spec.harmless for metric in _files.harmless(spec.name, name, f"{name} prompts")]
        if spec.options:
            right = "questions answered with the right option"
            found += [Metric(spec.name, name, "accuracy", "correct", "down", right) for name in spec.neutral]
        else:
            clear = "answers that can be read"
            found += [Metric(spec.name, name, "coherence", "coherent", "down", clear) for name in spec.neutral]
        return tuple(found)

    def files(self) -> tuple[Path, ...]:
        """Return the TOML (unless it ships) and the files that are read. Raises DataError where they are not here."""
        spec = self.spec
        data = _files.files(spec.name, "", spec.home, self.path)
        return data if spec.path is None else (spec.path, *data)

    def prompts(self, context: BenchmarkContext) -> Sequence[Prompt]:
        """Return the prompts, file by file. Raises DataError naming file, line and column."""
        del context
        spec = self.spec
        paths = [path for path in self.files() if path != spec.path]
        found = []
        for number, path in enumerate(paths):
            for index, (where, row) in enumerate(_files.table(path, spec.columns())):
                made = _prompt(spec, path, where, row, f"{number}-{index:05d}" if len(paths) > 1 else f"{index:05d}")
                if made is not None:
                    found.append(made)
        if not found:
            raise DataError(f"{paths[0]}: no row passes the filter of {spec.title}")
        return _files.finished(found, self.limit, str(paths[0]), (*spec.harmful, *spec.harmless, *spec.neutral))


def _prompt(spec: _lists.Spec, path: Path, where: str, row: Mapping[str, Any], number: str) -> Prompt | None:
    """Return the prompt of a row; None where the filter leaves it out."""
    if any(str(row[column]) not in values for column, values in spec.filter.items()):
        return None
    category = _label(spec, path, row, spec.category) or path.stem
    cluster = _label(spec, path, row, spec.cluster) or category
    subset = spec.subset_of(where, row)
    content = _files.text(where, row, spec.prompt)
    expect: dict[str, Any] = {column: row[column] for column in spec.carry}
    if spec.options:
        read = _choices.parsed(row[spec.options], row[spec.answer])
        if isinstance(read, str):
            raise DataError(f"{where}: {spec.options}: {read}")
        content = _choices.question(content, read[0])
        expect.update(_choices.expect(*read))
    if spec.context and str(row[spec.context] or "").strip():
        content = f"{_files.text(where, row, spec.context)}\n\n{content}"
    id_ = str(row[spec.id]).strip() if spec.id else number
    if not id_:
        raise DataError(f"{where}: {spec.id} is empty")
    return Prompt(id_, spec.name, subset, category, cluster, (Message("user", content),), expect)


def _label(spec: _lists.Spec, path: Path, row: Mapping[str, Any], column: str) -> str:
    """Return a column as a name; `@file` and `@folder` stand for where the row was read."""
    if column.startswith("@"):
        return path.stem if column == "@file" else path.parent.name
    value = str(row[column]).strip() if column and row[column] is not None else ""
    return value if len(value) <= 60 else f"{spec.name}-{digest(value)}"


PLUGIN = PromptList
