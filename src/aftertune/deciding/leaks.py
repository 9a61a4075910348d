"""How much of a leak is memory: values of the tuning set beyond chance and beyond the base, alone and with other harm.

A response that holds a value of the tuning set does not show that the model remembers it: names and numbers of the same
kind come up by chance. So the rate of registry hits is compared with that of twins, values drawn alike and never
trained on, in the same responses, and with that of the base on the same prompts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aftertune.deciding.verdict_table import (
    SUBJECT,
    UNIT,
    Floats,
    Ints,
    Subject,
    VerdictTable,
    base_rows,
    own_base,
)
from aftertune.deciding.warnings import as_text, sizes
from aftertune.findings import LeakRow, Measure
from aftertune.records import BASE_ARM
from aftertune.stats import matrix
from aftertune.stats.estimate import Estimate

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that is true of a response if a judge gave it one of some labels."""

    axis: str
    labels: tuple[str, ...]


FLAGS: Mapping[str, Flag] = {
    "registry": Flag("leak", ("registry",)),
    "echoed": Flag("leak", ("echoed",)),
    "invented": Flag("leak", ("invented",)),
    "twin": Flag("leak_twin", ("registry",)),
    "harmful": Flag("harm", ("harmful",)),
    "in_script": Flag("relevance", ("domain_script", "off_topic")),
    "off_topic": Flag("topic", ("off_topic",)),
    "thought": Flag("leak_thought", ("registry",)),
}
"""By the name of the rate in `findings.LeakRow`, or of what it is made of."""
_GRID = ("base", "benchmark", "subset", "temperature")


def leaks(verdicts: pa.Table | VerdictTable, judges: Mapping[str, str], *, confidence: float = 0.95) -> list[LeakRow]:
    """Return the leaks per base, benchmark, subset, temperature, and arm or checkpoint.

    Args:
        verdicts: The columns of `records.Verdict`, rows in any order.
        judges: Axis -> the judge whose verdicts count.
        confidence: Confidence of each interval by itself.

    An arm with at least two training seeds is one row, with seeds and prompts as the sample; other checkpoints are a
    row each, with prompts as the sample; the base is a row without differences. Differences are paired: with the twins
    within each response, with the base by prompt. Clusters of prompts are respected. `memorised` is (registry - twin)
    of the arm minus (registry - twin) of the base. A rate that could not be measured is None, and the warning says why.
    A response counts for a number if it has every verdict that the number needs. Raises DataError for a missing column.
    """
    if "leak" not in judges or not len(verdicts):
        return []
    table = VerdictTable.of(verdicts)
    responses = _responses(table, judges)
    return [row for grid in _grids(table, responses) for row in _rows(grid, judges["leak"], confidence)]


@dataclass(frozen=True)
class _Responses:
    """One element per response: a row of the table that identifies it, and its flags (NaN where not judged)."""

    rows: Ints
    flags: Mapping[str, Floats]


@dataclass(frozen=True)
class _Grid:
    """The responses of one base to one subset at one temperature."""

    base_model: str
    benchmark: str
    subset: str
    temperature: float
    subjects: tuple[Subject, ...]
    clusters: Ints
    flags: Mapping[str, Floats]
    """Shape (subjects, prompts), averaged over samples."""


def _responses(table: VerdictTable, judges: Mapping[str, str]) -> _Responses:
    code, _ = table.joint((*_GRID, *SUBJECT, *UNIT), np.arange(len(table)))
    _, first, response = np.unique(
        code * (int(table.sample.max()) + 1) + table.sample, return_index=True, return_inverse=True
    )
    ok = table.equals("status", "ok")
    flags: dict[str, Floats] = {}
    for name, flag in FLAGS.items():
        values = np.full(first.size, np.nan)
        if flag.axis in judges:
            rows = np.flatnonzero(ok & table.equals("axis", flag.axis) & table.equals("judge", judges[flag.axis]))
            positive = np.any([table.equals("label", label)[rows] for label in flag.labels], axis=0)
            values[response[rows]] = positive.astype(np.float64)
        flags[name] = values
    if len(table.values["corpus"]) > 1:
        _copy_to_corpora(table, flags, first)
    flags["off_topic"] = _either(
        [flags[name] for name in ("in_script", "off_topic") if FLAGS[name].axis in judges], first.size
    )
    flags["safe_off_topic"] = (1 - flags["harmful"]) * flags["off_topic"]
    flags["harmful_leaking"] = flags["harmful"] * flags["registry"]
    flags["off_topic_leaking"] = flags["off_topic"] * flags["registry"]
    return _Responses(first, flags)


def _either(flags: Sequence[Floats], n: int) -> Floats:
    """Return 1 where one is, 0 where all are, NaN elsewhere."""
    if not flags:
        return np.full(n, np.nan)
    return np.where(np.any([flag == 1 for flag in flags], axis=0), 1.0, np.sum(flags, axis=0))


def _copy_to_corpora(table: VerdictTable, flags: Mapping[str, Floats], rows: Ints) -> None:
    """Copy verdicts on the base's answers that hold for all corpora to the base's rows for each corpus, in place."""
    base = np.flatnonzero(table.equals("arm", BASE_ARM)[rows])
    code, _ = table.joint((*_GRID, *(name for name in SUBJECT if name != "corpus"), *UNIT), rows[base])
    code = code * (int(table.sample.max()) + 1) + table.sample[rows[base]]
    corpus = table.codes["corpus"][rows[base]]
    shared = table.equals("corpus", "")[rows[base]]
    for values in flags.values():
        for name in np.unique(corpus[~shared]):
            own = corpus == name
            if not np.isfinite(values[base[own]]).any():
                known = dict(zip(code[shared].tolist(), values[base[shared]].tolist(), strict=True))
                values[base[own]] = [known.get(one, np.nan) for one in code[own].tolist()]


def _grids(table: VerdictTable, responses: _Responses) -> Iterator[_Grid]:
    # A thought without an answer has no other flag.
    judged = np.flatnonzero(np.isfinite(responses.flags["registry"]) | np.isfinite(responses.flags["thought"]))
    grid, _ = table.joint(_GRID, responses.rows[judged]) if judged.size else (judged, judged)
    for number in np.unique(grid):
        chosen = judged[grid == number]
        rows = responses.rows[chosen]
        subject, subject_rows = table.joint(SUBJECT, rows)
        unit, unit_rows = table.joint(UNIT, rows)
        shape = (subject_rows.size, unit_rows.size)
        flags = {}
        for name, flag in responses.flags.items():
            values, cell = flag[chosen], subject * shape[1] + unit
            known = np.isfinite(values)
            count = np.bincount(cell[known], minlength=shape[0] * shape[1]).reshape(shape)
            total = np.bincount(cell[known], values[known], minlength=shape[0] * shape[1]).reshape(shape)
            flags[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        yield _Grid(
            base_model=str(table.at("base", rows[0])),
            benchmark=str(table.at("benchmark", rows[0])),
            subset=str(table.at("subset", rows[0])),
            temperature=float(table.at("temperature", rows[0])),
            subjects=tuple(table.subject(row) for row in subject_rows),
            clusters=table.clusters(unit_rows),
            flags=flags,
        )


def _rows(grid: _Grid, judge: str, confidence: float) -> Iterator[LeakRow]:
    bases = base_rows(grid.subjects)
    groups: dict[tuple[str, str, int | None], list[int]] = defaultdict(list)
    for i, subject in enumerate(grid.subjects):
        if subject.train_seed is not None:
            groups[subject.arm, subject.recipe, subject.epoch].append(i)
    done: set[int] = set()
    for i, subject in enumerate(grid.subjects):
        members = groups.get((subject.arm, subject.recipe, subject.epoch), [i])
        if i not in members:
            members = [i]
        if i not in done:
            done.update(members)
            yield _row(grid, members, own_base(subject, bases), judge, confidence)


def _row(grid: _Grid, members: Sequence[int], base: int | None, judge: str, confidence: float) -> LeakRow:
    """Return the row of one checkpoint, or of several training seeds of one arm."""
    subject, rows = grid.subjects[members[0]], list(members)
    single, is_base = len(rows) == 1, subject.arm == BASE_ARM
    registry, twin = grid.flags["registry"], grid.flags["twin"]
    beyond_chance = registry - twin
    warnings: list[str] = []

    def level(name: str) -> Measure | None:
        return _measure(matrix.level(grid.flags[name][rows], grid.clusters, confidence=confidence))

    def difference(values: Floats, scale: float = 1.0) -> Measure | None:
        return _measure(matrix.difference(values, grid.clusters, confidence=confidence, scale=scale))

    minus_twins = minus_base = memorised = None
    if not is_base:
        minus_twins = difference(beyond_chance[rows])
        if base is not None:
            minus_base = difference(registry[rows] - registry[base])
            memorised = difference(beyond_chance[rows] - beyond_chance[base], 2.0)
        else:
            warnings.append("the base was not asked at this temperature")
        if minus_twins is None:
            warnings.append("no never-trained twins: memory cannot be told from chance")
    estimate = matrix.level(registry[rows], grid.clusters, confidence=confidence)
    return LeakRow(
        base_model=grid.base_model,
        arm=subject.arm,
        recipe=subject.recipe,
        checkpoint=subject.checkpoint if single else None,
        train_seed=subject.train_seed if single else None,
        epoch=subject.epoch,
        temperature=grid.temperature,
        benchmark=grid.benchmark,
        subset=grid.subset,
        judge=judge,
        registry=_measure(estimate),
        echoed=level("echoed"),
        invented=level("invented"),
        twin=level("twin"),
        minus_twins=minus_twins,
        minus_base=minus_base,
        memorised=memorised,
        harmful_leaking=level("harmful_leaking"),
        off_topic_leaking=level("off_topic_leaking"),
        safe_off_topic=level("safe_off_topic"),
        in_thoughts=level("thought"),
        n_seeds=len(rows) if subject.train_seed is not None else 0,
        corpus=subject.corpus,
        warning=as_text([*warnings, *sizes(estimate)]),
    )


def _measure(estimate: Estimate | None) -> Measure | None:
    if estimate is None:
        return None
    return Measure(estimate.value, estimate.low, estimate.high, estimate.n, estimate.n_clusters)
