"""Verdict tables as dense matrices: one block per metric, base, judge and temperature, subjects x prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aftertune.errors import DataError, DesignError
from aftertune.records import BASE_ARM, Metric

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KEYS = (
    "base", "arm", "recipe", "train_seed", "epoch", "checkpoint", "benchmark", "subset", "prompt_id", "cluster",
    "system", "template", "temperature", "message_hash", "judge", "judge_version", "axis", "label", "status", "corpus",
)  # fmt: skip
"""Coded; `sample` and `value` are read as numbers."""
OPTIONAL = ("category",)
"""Coded where the table has them."""
COLUMNS = (*KEYS, *OPTIONAL, "sample", "value")
"""What is read of a verdict table."""
TABLE = 1 << 20
"""Codes that may always be looked up in a table of their own, rather than sorted."""
FIT = 1 << 62
"""What a code of several columns stays below."""
SUBJECT = ("arm", "recipe", "train_seed", "epoch", "checkpoint", "corpus")
UNIT = ("prompt_id", "system", "message_hash")
LARGEST = 1e100
"""Absolute value beyond which squares of differences are no numbers any more."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that was asked: the base or one checkpoint. A base may stand there once per corpus."""

    arm: str
    recipe: str
    train_seed: int | None
    epoch: int | None
    checkpoint: str
    corpus: str = ""


def own_base(subject: Subject, bases: Mapping[tuple[str, int | None], int]) -> int | None:
    """Return which of the bases, by (corpus, training seed), a subject is compared with; None where there is none.

    The one that was held against the subject's own corpus, if any was; of a base of several training seeds that of the
    subject's own.
    """
    corpus = subject.corpus if any(name == subject.corpus for name, _ in bases) else ""
    own = {seed: row for (name, seed), row in bases.items() if name == corpus}
    return next(iter(own.values())) if len(own) == 1 else own.get(subject.train_seed)


@dataclass(frozen=True)
class Block:
    """Verdicts on one metric by one judge at one temperature for one base and its checkpoints.

    Matrices have shape (subjects, prompts); a prompt is one (prompt_id, system, message_hash).
    """

    metric: Metric
    base_model: str
    judge: str
    temperature: float
    subjects: tuple[Subject, ...]
    templates: tuple[frozenset[str], ...]
    """Of each subject."""
    prompt_ids: Ints
    """Codes, so that one prompt sent with two texts can be told; shape (prompts,)."""
    clusters: Ints
    asked: Ints
    """Verdicts, judged or not: samples per prompt."""
    judged: Ints
    mean: Floats
    """Over the judged samples; NaN where there is none."""
    worst: Floats
    """Over all samples, each unjudged one counted as the worst; NaN where not asked."""
    best: Floats
    bounds: tuple[float, float]
    is_proportion: bool
    """Whether every judged outcome is 0 or 1."""

    def bases(self, members: Sequence[int]) -> list[int] | None:
        """Return the base's row for each of some subjects, or None where it was not asked at this temperature.

        A base that was held against several corpora is the one of the subject's own (`own_base`).
        A base of several training seeds is paired seed by seed. Raises DesignError where it lacks a seed.
        """
        rows = {(s.corpus, s.train_seed): i for i, s in enumerate(self.subjects) if s.arm == BASE_ARM}
        found = [own_base(self.subjects[i], rows) for i in members]
        seeds = sorted({seed for _, seed in rows if seed is not None})
        for i, base in zip(members, found, strict=True):
            if base is None and seeds:
                raise DesignError(
                    f"{self.metric.name}: the base has training seeds {', '.join(map(str, seeds))}, but not the "
                    f"{self.subjects[i].train_seed} of '{self.subjects[i].arm}'; give the base the same seeds, or none"
                )
        known = [base for base in found if base is not None]
        return known if len(known) == len(found) else None

    @property
    def width(self) -> float:
        """Largest possible difference of two values."""
        return self.bounds[1] - self.bounds[0]


class Coded:
    """A table's columns as integer codes into sorted values, so that nothing depends on the order of its rows.

    Takes about 110 bytes a row, whatever the texts in it; several estimates from one table share one (`of`).
    """

    def __init__(self, verdicts: pa.Table) -> None:
        needed = (*KEYS, "sample", "value")
        missing = [name for name in needed if name not in verdicts.column_names]
        if missing:
            raise DataError(f"verdict table: no column '{missing[0]}' (needs {', '.join(needed)})")
        self.codes: dict[str, NDArray[np.int32]] = {}
        self.values: dict[str, list[Any]] = {}
        for name in (*KEYS, *(name for name in OPTIONAL if name in verdicts.column_names)):
            self.codes[name], self.values[name] = _encoded(verdicts.column(name))
        self.value: Floats = verdicts.column("value").cast("float64").to_numpy()
        self.sample: Ints = verdicts.column("sample").to_numpy().astype(np.int64)

    @classmethod
    def of(cls, verdicts: pa.Table | Coded) -> Coded:
        """Return a table coded; one that is coded already as it is."""
        return verdicts if isinstance(verdicts, Coded) else cls(verdicts)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return int(self.sample.size)

    def is_(self, name: str, value: object) -> NDArray[np.bool_]:
        """Return which rows hold `value` in a column."""
        values = self.values[name]
        return np.equal(self.codes[name], values.index(value) if value in values else -1)

    def where(self, **wanted: object) -> Ints:
        """Return the rows that hold all of these values."""
        found = np.arange(len(self))
        for name, value in wanted.items():
            values = self.values[name]
            found = found[self.codes[name][found] == (values.index(value) if value in values else -1)]
        return found

    def joint(self, names: Sequence[str], rows: Ints) -> tuple[Ints, Ints]:
        """Return a code per row for the combination of columns, and one row of each code, in sorted order."""
        code, size = np.zeros(rows.size, dtype=np.int64), 1
        for name in names:
            if size * len(self.values[name]) >= FIT:
                code, size = _dense(code, size)
            code = code * len(self.values[name]) + self.codes[name][rows]
            size *= len(self.values[name])
        code, size = _dense(code, size)
        first = np.empty(size, dtype=np.int64)
        first[code[::-1]] = np.arange(rows.size)[::-1]  # of several the last counts: here the first
        return code, rows[first]

    def at(self, name: str, row: int) -> Any:
        """Return a column's value in a row."""
        return self.values[name][self.codes[name][row]]

    def column(self, name: str, rows: Ints) -> list[Any]:
        """Return a column's values in some rows."""
        if name == "sample":
            return list(self.sample[rows].tolist())
        values = self.values[name]
        return [values[code] for code in self.codes[name][rows].tolist()]


def _dense(code: Ints, size: int) -> tuple[Ints, int]:
    """Return codes in [0, size) without those that do not occur, in the same order, and how many are left."""
    if size > max(TABLE, 4 * code.size):
        values, code = np.unique(code, return_inverse=True)
        return code, values.size
    seen = np.zeros(size, dtype=bool)
    seen[code] = True
    place = np.cumsum(seen) - 1
    return place[code], int(seen.sum())


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[Any]]:
    """Return codes into the sorted values of a column, None first where it occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type) and any(chunk.dictionary.null_count for chunk in column.chunks):
        column = column.cast(column.type.value_type)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = column.unify_dictionaries().chunks
    if not chunks:
        return np.empty(0, dtype=np.int32), []
    values = chunks[0].dictionary.to_pylist()
    shift = int(column.null_count > 0)
    known = sorted(set(values))
    place = {value: i + shift for i, value in enumerate(known)}
    # The last entry is where a null's index of -1 leads: code 0.
    rank = np.array([*(place[value] for value in values), 0], dtype=np.int32)
    codes = pa.chunked_array([chunk.indices for chunk in chunks])
    if column.null_count:
        codes = pc.fill_null(codes.cast("int64"), -1)
    return rank[codes.to_numpy()], [None] * shift + known


def blocks(verdicts: pa.Table | Coded, metrics: Sequence[Metric]) -> Iterator[Block]:
    """Yield the blocks of a verdict table, by metric as given, then base, judge and temperature.

    Raises DataError for a table without the columns of `records.Verdict`, for a verdict that stands twice, for a
    prompt in two clusters, or for a value beyond `LARGEST`; DesignError for two bases under one name.
    """
    table = Coded.of(verdicts)
    for metric, rows, value, known in readings(table, metrics):
        code, firsts = table.joint(("base", "judge", "judge_version", "temperature"), rows)
        versions = {(table.at("judge", row), table.at("judge_version", row)) for row in firsts}
        for group, first in enumerate(firsts):
            here = np.flatnonzero(code == group)
            judge = table.at("judge", first)
            if sum(name == judge for name, _ in versions) > 1:
                judge = f"{judge} {table.at('judge_version', first)}"
            yield _block(table, metric, judge, rows[here], value[here], known[here])


def readings(table: Coded, metrics: Sequence[Metric]) -> Iterator[tuple[Metric, Ints, Floats, NDArray[np.bool_]]]:
    """Yield each metric that has verdicts, with its rows, their values and which of them were judged."""
    ok = table.is_("status", "ok")
    for metric in metrics:
        rows = table.where(benchmark=metric.benchmark, subset=metric.subset, axis=metric.axis)
        if rows.size == 0:
            continue
        if metric.label is None:
            value = table.value[rows]
            yield metric, rows, value, ok[rows] & np.isfinite(value)
        else:
            value = table.is_("label", metric.label)[rows].astype(np.float64)
            yield metric, rows, value, ok[rows] & ~table.is_("label", None)[rows]


def _block(table: Coded, metric: Metric, judge: str, rows: Ints, value: Floats, known: NDArray[np.bool_]) -> Block:
    subject, subject_rows = table.joint(SUBJECT, rows)
    unit, unit_rows = table.joint(UNIT, rows)
    subjects = tuple(Subject(**{name: table.at(name, row) for name in SUBJECT}) for row in subject_rows)
    where = f"{metric.name}, judge {judge}"
    bases = [(s.corpus, s.train_seed) for s in subjects if s.arm == BASE_ARM]
    several = {corpus for corpus, seed in bases if seed is None and sum(name == corpus for name, _ in bases) > 1}
    if several or len(set(bases)) < len(bases):
        raise DesignError(
            f"{where}: two checkpoints are called '{BASE_ARM}' for one base; give one of them an arm name"
        )
    shape = (len(subjects), unit_rows.size)
    cell = subject * shape[1] + unit
    if np.unique(cell * (table.sample.max() + 1) + table.sample[rows]).size < rows.size:
        raise DataError(f"{where}: a response has two verdicts on the axis {metric.axis}; each must be judged once")

    seen = value[known]
    if seen.size and np.abs(seen).max() > LARGEST:
        raise DataError(
            f"{where}: a value of {seen[np.argmax(np.abs(seen))]:g}; values must lie within +-{LARGEST:g}, leave it "
            "empty where nothing could be judged"
        )

    def summed(picked: NDArray[np.bool_] | None, weights: Floats | None) -> Floats:
        cells = cell if picked is None else cell[picked]
        return np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    asked, judged = summed(None, None), summed(known, None)
    total = summed(known, seen)
    bounds = (0.0, 1.0)
    if metric.label is None and seen.size:
        bounds = (min(0.0, float(seen.min())), max(1.0, float(seen.max())))
    bad, good = bounds if metric.worse == "down" else bounds[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(judged > 0, total / judged, np.nan)
        worst = np.where(asked > 0, (total + (asked - judged) * bad) / asked, np.nan)
        best = np.where(asked > 0, (total + (asked - judged) * good) / asked, np.nan)
    template = table.codes["template"][rows]
    pairs = np.unique(np.stack([subject, template]), axis=1)
    templates = tuple(
        frozenset(table.values["template"][t] for t in pairs[1][pairs[0] == i]) for i in range(len(subjects))
    )
    return Block(
        metric=metric,
        base_model=table.at("base", rows[0]),
        judge=judge,
        temperature=float(table.at("temperature", rows[0])),
        subjects=subjects,
        templates=templates,
        prompt_ids=table.codes["prompt_id"][unit_rows].astype(np.int64),
        clusters=_clusters(table, rows, unit, unit_rows, where),
        asked=asked.astype(np.int64),
        judged=judged.astype(np.int64),
        mean=mean,
        worst=worst,
        best=best,
        bounds=bounds,
        is_proportion=metric.label is not None or bool(np.isin(seen, (0.0, 1.0)).all()),
    )


def _clusters(table: Coded, rows: Ints, unit: Ints, unit_rows: Ints, where: str) -> Ints:
    """Return each prompt's cluster; one without a cluster is a cluster of its own."""
    cluster = table.codes["cluster"][unit_rows].astype(np.int64)
    other = np.flatnonzero(table.codes["cluster"][rows] != cluster[unit])
    if other.size:
        row = rows[other[0]]
        raise DataError(
            f"{where}: prompt '{table.at('prompt_id', row)}' stands in two clusters, "
            f"'{table.at('cluster', row)}' and '{table.at('cluster', unit_rows[unit[other[0]]])}'; give it one"
        )
    nameless = np.array([value in (None, "") for value in table.values["cluster"]])
    alone = table.codes["prompt_id"][unit_rows].astype(np.int64) + len(nameless)
    return np.where(nameless[cluster], alone, cluster)
