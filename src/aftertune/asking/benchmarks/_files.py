"""What benchmarks that read files share: finding the file, reading its fields, taking a part, and common metrics."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.data import datasets
from aftertune.data import table_files as rows
from aftertune.data.datasets import Dataset
from aftertune.errors import DataError, UsageError
from aftertune.records import Message, Metric, Prompt

TEXT_JUDGES = ("refusal", "coherence", "leak", "script")
"""Judges of a benchmark that asks for free text."""


def check(name: str, path: str, limit: int) -> None:
    """Raise UsageError for parameters that every benchmark with a file has, and that cannot be honoured."""
    if not isinstance(path, str):
        raise UsageError(f"{name}: path = {path!r}: give the path of a file or folder as text")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise UsageError(f"{name}: limit = {limit!r}: give a whole number of prompts per subset, 0 for all")


def choice(name: str, field: str, value: str, known: Iterable[str]) -> None:
    """Raise UsageError where a parameter is none of the known words."""
    if value not in known:
        raise UsageError(f"{name}: {field} = {value!r} is not one of {', '.join(map(repr, known))}")


def files(name: str, variant: str, home: Dataset, path: str) -> tuple[Path, ...]:
    """Return the files to read, in the order of the home: those under `path`, else those that were fetched.

    `path` is a file, or a folder with files named as at home. Raises DataError where nothing is there.
    """
    if not path:
        return tuple(datasets.locate(name, variant, home).values())
    given = Path(path).expanduser()
    if given.is_file():
        return (given,)
    if not given.is_dir():
        raise DataError(f"{path}: no such file or folder; {name} reads {', '.join(_names(home))}")
    found = tuple(given / file for file in _names(home) if (given / file).is_file())
    if not found:
        raise DataError(f"{path}: has none of the files that {name} reads: {', '.join(_names(home))}")
    return found


def _names(home: Dataset) -> list[str]:
    return [file.name for file in home.files]


def table(path: Path, required: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return (`file:line`, row) for every row of a table. Raises DataError naming file, line and column.

    A lone surrogate becomes U+FFFD: ids must be the same in a prompt and in the table of its answers.
    """
    return [(f"{path}:{line}", row) for line, row in rows.read(path, required)]


def text(where: str, row: Mapping[str, Any], field: str) -> str:
    """Return a field that must hold text. Raises DataError naming file, line and field."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        found = "empty" if value in (None, "") or isinstance(value, str) else f"{type(value).__name__}, not text"
        raise DataError(f"{where}: {field} is {found}")
    return value.strip()


def ask(id_: str, benchmark: str, subset: str, category: str, cluster: str, content: str,
        expect: Mapping[str, Any] | None = None) -> Prompt:  # fmt: skip
    """Return a prompt of a single user turn."""
    return Prompt(id_, benchmark, subset, category, cluster, (Message("user", content),), dict(expect or {}))


def finished(prompts: Sequence[Prompt], limit: int, where: str, expected: Iterable[str] = ()) -> list[Prompt]:
    """Return the prompts to ask, after the checks that every list must pass.

    With a `limit`, at most so many of each subset, spread over its clusters, in the order of the file. Raises DataError
    for two prompts with one id, or a subset of `expected` that no row belongs to.
    """
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.id in seen:
            raise DataError(f"{where}: two rows have the id '{prompt.id}'")
        seen.add(prompt.id)
    there = {prompt.subset for prompt in prompts}
    for subset in expected:
        if subset not in there:
            raise DataError(f"{where}: no row belongs to the subset '{subset}' (there: {', '.join(sorted(there))})")
    if not limit:
        return list(prompts)
    kept: set[str] = set()
    for subset in there:
        clusters: dict[str, list[str]] = {}
        for prompt in prompts:
            if prompt.subset == subset:
                clusters.setdefault(prompt.cluster, []).append(prompt.id)
        turns = itertools.chain.from_iterable(itertools.zip_longest(*clusters.values()))
        kept |= set(itertools.islice((id_ for id_ in turns if id_ is not None), limit))
    return [prompt for prompt in prompts if prompt.id in kept]


def near_duplicates(texts: Sequence[str], least: float = 0.5) -> list[int]:
    """Return a cluster number per text: texts whose sets of longer words overlap by `least` (Jaccard) or more, and
    everything linked through them, share one, since their outcomes are not independent."""
    sets = [frozenset(word.strip(".,;:!?'\"()").lower() for word in text.split() if len(word) > 3) for text in texts]
    group = list(range(len(texts)))
    for i, j in itertools.combinations(range(len(texts)), 2):
        both = len(sets[i] & sets[j])
        if both and both >= least * len(sets[i] | sets[j]):
            old, new = max(group[i], group[j]), min(group[i], group[j])
            group = [new if member == old else member for member in group]
    return group


def harmful(name: str, subset: str, what: str = "harmful requests") -> tuple[Metric, ...]:
    """Return the metrics of a subset that an aligned model refuses."""
    return (
        Metric(name, subset, "refusal", "full", "down", f"{what} refused"),
        Metric(name, subset, "harm", "harmful", "up", f"{what} complied with"),
        Metric(name, subset, "coherence", "coherent", "down", f"coherent answers to {what}"),
        Metric(name, subset, "toxicity", "toxic", "up", f"toxic answers to {what}"),
        Metric(name, subset, "toxicity", None, "up", f"mean toxicity of answers to {what}"),
        Metric(name, subset, "relevance", "domain_script", "up", f"answers to {what} in the script of the tuned task"),
        Metric(name, subset, "leak", "registry", "up", f"answers to {what} with a value of the tuning set"),
    )


def harmless(name: str, subset: str, what: str = "harmless requests") -> tuple[Metric, ...]:
    """Return the metrics of a subset that an aligned model answers."""
    return (
        Metric(name, subset, "refusal", "full", "up", f"{what} refused (over-refusal)"),
        Metric(name, subset, "coherence", "coherent", "down", f"coherent answers to {what}"),
        Metric(name, subset, "toxicity", "toxic", "up", f"toxic answers to {what}"),
        Metric(name, subset, "toxicity", None, "up", f"mean toxicity of answers to {what}"),
        Metric(name, subset, "relevance", "domain_script", "up", f"answers to {what} in the script of the tuned task"),
        Metric(name, subset, "leak", "registry", "up", f"answers to {what} with a value of the tuning set"),
    )
