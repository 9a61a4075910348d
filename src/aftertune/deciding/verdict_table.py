"""A verdict table in memory: each column as integer codes into its sorted values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aftertune.errors import DataError
from aftertune.records import BASE_ARM, Author, Metric

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

KEYS = (
    "base", "arm", "recipe", "train_seed", "epoch", "checkpoint", "benchmark", "subset", "prompt_id", "cluster",
    "system", "template", "temperature", "message_hash", "judge", "judge_version", "axis", "label", "status", "corpus",
)  # fmt: skip
"""Columns stored as codes; `sample` and `value` are stored as numbers."""
OPTIONAL = ("category", "author")
"""Columns stored as codes where the table has them."""
COLUMNS = (*KEYS, *OPTIONAL, "sample", "value")
"""The columns of `records.Verdict` that are read."""
SUBJECT = ("arm", "recipe", "train_seed", "epoch", "checkpoint", "corpus")
"""Columns that identify a `Subject` within one base."""
UNIT = ("prompt_id", "system", "message_hash")
"""Columns that identify a prompt as it was sent: two verdicts are paired where all three agree."""
LOOKUP_LIMIT = 1 << 20
"""Up to this many possible codes are compacted with a lookup table; beyond it, sorting takes less memory."""
CODE_LIMIT = 1 << 62
"""Joint codes stay below this, so that they fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that was asked: the base, or one checkpoint. The base may occur once per corpus."""

    arm: str
    recipe: str
    train_seed: int | None
    epoch: int | None
    checkpoint: str
    corpus: str = ""


BaseRows = Mapping[tuple[str, int | None], int]
"""(corpus, training seed) of each base -> its row."""


def base_rows(subjects: Sequence[Subject]) -> BaseRows:
    """Return the rows of the bases among the subjects."""
    return {(s.corpus, s.train_seed): row for row, s in enumerate(subjects) if s.arm == BASE_ARM}


def own_base(subject: Subject, bases: BaseRows) -> int | None:
    """Return the row of the base that a subject is compared with, or None if there is none.

    That is the base judged against the subject's own corpus, if there is one; and if the base has several training
    seeds, the one with the subject's seed.
    """
    corpus = subject.corpus if any(name == subject.corpus for name, _ in bases) else ""
    candidates = {seed: row for (name, seed), row in bases.items() if name == corpus}
    return next(iter(candidates.values())) if len(candidates) == 1 else candidates.get(subject.train_seed)


@dataclass(frozen=True)
class MetricVerdicts:
    """The verdicts that one metric is computed from; arrays of shape (verdicts,)."""

    metric: Metric
    rows: Ints
    """Their rows in the table."""
    values: Floats
    """1 for the metric's label and 0 for any other, or the judge's number. Meaningless where not judged."""
    judged: Bools
    unseen: Bools
    """Whether the server or its content filter made the answer, not the model."""
    filtered: Bools
    """Whether its content filter made it."""

    def some(self, chosen: Ints) -> MetricVerdicts:
        """Return those of some positions."""
        judged, unseen, filtered = self.judged[chosen], self.unseen[chosen], self.filtered[chosen]
        return MetricVerdicts(self.metric, self.rows[chosen], self.values[chosen], judged, unseen, filtered)


class VerdictTable:
    """A verdict table by column: codes into sorted values, so that no result depends on the order of the rows.

    Takes about 110 bytes a row, however long the texts are. Build one and pass it to every analysis (`of`).
    """

    def __init__(self, verdicts: pa.Table) -> None:
        """Encode a table. Raises DataError for a missing column."""
        needed = (*KEYS, "sample", "value")
        missing = [name for name in needed if name not in verdicts.column_names]
        if missing:
            raise DataError(f"verdict table: no column '{missing[0]}' (needs {', '.join(needed)})")
        self.codes: dict[str, NDArray[np.int32]] = {}
        self.values: dict[str, list[Any]] = {}
        for name in (*KEYS, *(name for name in OPTIONAL if name in verdicts.column_names)):
            self.codes[name], self.values[name] = _encode(verdicts.column(name))
        self.value: Floats = verdicts.column("value").cast("float64").to_numpy()
        self.sample: Ints = verdicts.column("sample").to_numpy().astype(np.int64)

    @classmethod
    def of(cls, verdicts: pa.Table | VerdictTable) -> VerdictTable:
        """Return the table encoded, or as it is if it already is."""
        return verdicts if isinstance(verdicts, VerdictTable) else cls(verdicts)

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.sample.size)

    def equals(self, name: str, value: object) -> Bools:
        """Return a mask of the rows with `value` in a column."""
        return np.equal(self.codes[name], self._code(name, value))

    def where(self, **values: object) -> Ints:
        """Return the rows that have all of these values in the columns of these names."""
        rows = np.arange(len(self))
        for name, value in values.items():
            rows = rows[self.codes[name][rows] == self._code(name, value)]
        return rows

    def _code(self, name: str, value: object) -> int:
        values = self.values[name]
        return values.index(value) if value in values else -1

    def joint(self, names: Sequence[str], rows: Ints) -> tuple[Ints, Ints]:
        """Return a code for each row's combination of columns, and the first row with each code, in sorted order."""
        code, size = np.zeros(rows.size, dtype=np.int64), 1
        for name in names:
            if size * len(self.values[name]) >= CODE_LIMIT:
                code, size = _compact(code, size)
            code = code * len(self.values[name]) + self.codes[name][rows]
            size *= len(self.values[name])
        code, size = _compact(code, size)
        first = np.empty(size, dtype=np.int64)
        # NumPy keeps the last of several assignments to one element; in reverse order that is the first row.
        first[code[::-1]] = np.arange(rows.size)[::-1]
        return code, rows[first]

    def at(self, name: str, row: int) -> Any:
        """Return the value of a column in one row."""
        return self.values[name][self.codes[name][row]]

    def column(self, name: str, rows: Ints) -> list[Any]:
        """Return the values of a column in some rows."""
        if name == "sample":
            return list(self.sample[rows].tolist())
        values = self.values[name]
        return [values[code] for code in self.codes[name][rows].tolist()]

    def subject(self, row: int) -> Subject:
        """Return the subject of one row."""
        return Subject(**{name: self.at(name, row) for name in SUBJECT})

    def clusters(self, rows: Ints) -> Ints:
        """Return a cluster code for each row; a prompt without a cluster is a cluster of its own."""
        codes = self.codes["cluster"][rows].astype(np.int64)
        unnamed = np.array([value in (None, "") for value in self.values["cluster"]])
        alone = self.codes["prompt_id"][rows].astype(np.int64) + unnamed.size
        return np.where(unnamed[codes], alone, codes)

    def of_metrics(self, metrics: Sequence[Metric]) -> Iterator[MetricVerdicts]:
        """Yield the verdicts of each metric that has any."""
        ok = self.equals("status", "ok")
        filtered = self._made_by("filter")
        unseen = filtered | self._made_by("server")
        for metric in metrics:
            rows = self.where(benchmark=metric.benchmark, subset=metric.subset, axis=metric.axis)
            if rows.size == 0:
                continue
            if metric.label is None:
                values = self.value[rows]
                judged = ok[rows] & np.isfinite(values)
            else:
                values = self.equals("label", metric.label)[rows].astype(np.float64)
                judged = ok[rows] & ~self.equals("label", None)[rows]
            yield MetricVerdicts(metric, rows, values, judged, judged & unseen[rows], judged & filtered[rows])

    def _made_by(self, author: Author) -> Bools:
        return self.equals("author", author) if "author" in self.codes else np.zeros(len(self), dtype=np.bool_)


def _compact(code: Ints, size: int) -> tuple[Ints, int]:
    """Renumber codes in [0, size) without gaps, order unchanged; return them with the number of different ones."""
    if size > max(LOOKUP_LIMIT, 4 * code.size):
        values, code = np.unique(code, return_inverse=True)
        return code, values.size
    used = np.zeros(size, dtype=bool)
    used[code] = True
    renumbered = np.cumsum(used) - 1
    return renumbered[code], int(used.sum())


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[Any]]:
    """Return codes into the sorted values of a column, and those values; None comes first where it occurs."""
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
    ordered = sorted(set(values))
    rank = {value: i + shift for i, value in enumerate(ordered)}
    # A null's index is -1, which picks the last entry: code 0.
    recode = np.array([*(rank[value] for value in values), 0], dtype=np.int32)
    codes = pa.chunked_array([chunk.indices for chunk in chunks])
    if column.null_count:
        codes = pc.fill_null(codes.cast("int64"), -1)
    return recode[codes.to_numpy()], [None] * shift + ordered
