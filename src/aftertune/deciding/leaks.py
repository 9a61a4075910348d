"""How much of what comes back is memory: hits on the tuning set beyond chance and the base, alone and with other harm.

That a response holds a value of the tuning set does not show that the model remembers it: names and numbers of the same
kind come up by chance. So the rate of registry hits is held against that of twins, drawn alike and never trained on, in
the very same responses, and against the base's on the same prompts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aftertune.deciding.blocks import SUBJECT, UNIT, Coded, Floats, Ints, Subject, own_base
from aftertune.deciding.warnings import as_text, sizes
from aftertune.findings import LeakRow, Measure
from aftertune.records import BASE_ARM
from aftertune.stats import clusters, seeds
from aftertune.stats.estimate import Estimate

if TYPE_CHECKING:
    import pyarrow as pa

FLAGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "registry": ("leak", ("registry",)),
    "echoed": ("leak", ("echoed",)),
    "invented": ("leak", ("invented",)),
    "twin": ("leak_twin", ("registry",)),
    "harmful": ("harm", ("harmful",)),
    "off_topic": ("relevance", ("domain_script", "off_topic")),
}
"""What can be true of a response -> the axis and its labels that say so."""
_PLACE = ("base", "benchmark", "subset", "temperature")


def leaks(verdicts: pa.Table | Coded, judges: Mapping[str, str], *, confidence: float = 0.95) -> list[LeakRow]:
    """Return what comes back of the tuning set, per base, benchmark, subset, temperature and arm or checkpoint.

    Args:
        verdicts: The columns of `records.Verdict`, rows in any order.
        judges: Axis -> the judge that is listened to.
        confidence: Of the intervals, each on its own.

    An arm of two training seeds or more is one row, seeds and prompts being the sample; other checkpoints are a row
    each, prompts being the sample; the base is a row without differences. Differences are paired: with the twins within
    each response, with the base by prompt; clusters of prompts are heeded. `memorised` is (registry - twin) of the arm
    minus (registry - twin) of the base. A rate that could not be measured is None, and the warning says why. A response
    counts where every verdict that a number needs is there.
    """
    if "leak" not in judges or not len(verdicts):
        return []
    table = Coded.of(verdicts)
    responses = _responses(table, judges)
    rows: list[LeakRow] = []
    for grid in _grids(table, responses):
        rows += _rows(grid, judges["leak"], confidence)
    return rows


@dataclass(frozen=True)
class _Responses:
    """One element per response: a row of the table that names it, and its flags (NaN where not judged)."""

    rows: Ints
    flags: Mapping[str, Floats]


@dataclass(frozen=True)
class _Grid:
    """The responses of one base to one subset at one temperature: flags as (subjects, prompts), samples averaged."""

    base_model: str
    benchmark: str
    subset: str
    temperature: float
    subjects: tuple[Subject, ...]
    clusters: Ints
    flags: Mapping[str, Floats]


def _responses(table: Coded, judges: Mapping[str, str]) -> _Responses:
    everything = np.arange(table.sample.size)
    code, _ = table.joint((*_PLACE, *SUBJECT, *UNIT), everything)
    _, first, response = np.unique(
        code * (int(table.sample.max()) + 1) + table.sample, return_index=True, return_inverse=True
    )
    ok = table.is_("status", "ok")
    flags: dict[str, Floats] = {}
    for name, (axis, labels) in FLAGS.items():
        flag = np.full(first.size, np.nan)
        if axis in judges:
            heard = np.flatnonzero(ok & table.is_("axis", axis) & table.is_("judge", judges[axis]))
            held = np.any([table.is_("label", label)[heard] for label in labels], axis=0)
            flag[response[heard]] = held.astype(np.float64)
        flags[name] = flag
    if len(table.values["corpus"]) > 1:
        _shared(table, flags, first)
    flags["harmful_leaking"] = flags["harmful"] * flags["registry"]
    flags["off_topic_leaking"] = flags["off_topic"] * flags["registry"]
    return _Responses(first, flags)


def _shared(table: Coded, flags: Mapping[str, Floats], rows: Ints) -> None:
    """Fill what was judged once for all corpora in with the base's answers as they are held against each of them."""
    base = np.flatnonzero(table.is_("arm", BASE_ARM)[rows])
    names = ("base", "benchmark", "subset", "temperature", *(name for name in SUBJECT if name != "corpus"), *UNIT)
    code, _ = table.joint(names, rows[base])
    code = code * (int(table.sample.max()) + 1) + table.sample[rows[base]]
    corpus = table.codes["corpus"][rows[base]]
    once = table.is_("corpus", "")[rows[base]]
    for flag in flags.values():
        for name in np.unique(corpus[~once]):
            here = corpus == name
            if not np.isfinite(flag[base[here]]).any():
                known = dict(zip(code[once].tolist(), flag[base[once]].tolist(), strict=True))
                flag[base[here]] = [known.get(one, np.nan) for one in code[here].tolist()]


def _grids(table: Coded, responses: _Responses) -> Iterator[_Grid]:
    judged = np.flatnonzero(np.isfinite(responses.flags["registry"]))
    place, _ = table.joint(_PLACE, responses.rows[judged]) if judged.size else (judged, judged)
    for group in np.unique(place):
        here = judged[place == group]
        rows = responses.rows[here]
        subject, subject_rows = table.joint(SUBJECT, rows)
        unit, unit_rows = table.joint(UNIT, rows)
        shape = (subject_rows.size, unit_rows.size)
        flags = {}
        for name, flag in responses.flags.items():
            values, cell = flag[here], subject * shape[1] + unit
            known = np.isfinite(values)
            count = np.bincount(cell[known], minlength=shape[0] * shape[1]).reshape(shape)
            total = np.bincount(cell[known], values[known], minlength=shape[0] * shape[1]).reshape(shape)
            flags[name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        codes = table.codes["cluster"][unit_rows].astype(np.int64)
        nameless = np.array([value in (None, "") for value in table.values["cluster"]])
        alone = table.codes["prompt_id"][unit_rows].astype(np.int64) + nameless.size
        yield _Grid(
            base_model=str(table.at("base", rows[0])),
            benchmark=str(table.at("benchmark", rows[0])),
            subset=str(table.at("subset", rows[0])),
            temperature=float(table.at("temperature", rows[0])),
            subjects=tuple(Subject(**{name: table.at(name, row) for name in SUBJECT}) for row in subject_rows),
            clusters=np.where(nameless[codes], alone, codes),
            flags=flags,
        )


def _rows(grid: _Grid, judge: str, confidence: float) -> Iterator[LeakRow]:
    bases = {(s.corpus, s.train_seed): i for i, s in enumerate(grid.subjects) if s.arm == BASE_ARM}
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
    subject, flags = grid.subjects[members[0]], grid.flags
    one = len(members) == 1
    is_base = subject.arm == BASE_ARM
    warnings: list[str] = []

    def level(name: str) -> Measure | None:
        return _measure(_level(flags[name][list(members)], grid.clusters, confidence))

    def difference(values: Floats, scale: float = 1.0) -> Measure | None:
        return _measure(_difference(values, grid.clusters, confidence, scale))

    beyond_chance = flags["registry"] - flags["twin"]
    minus_twins = minus_base = memorised = None
    if not is_base:
        minus_twins = difference(beyond_chance[list(members)])
        if base is not None:
            minus_base = difference(flags["registry"][list(members)] - flags["registry"][base])
            memorised = difference(beyond_chance[list(members)] - beyond_chance[base], 2.0)
        else:
            warnings.append("the base was not asked at this temperature")
        if minus_twins is None:
            warnings.append("no never-trained twins: memory cannot be told from chance")
    found = _level(flags["registry"][list(members)], grid.clusters, confidence)
    return LeakRow(
        base_model=grid.base_model,
        arm=subject.arm,
        recipe=subject.recipe,
        checkpoint=subject.checkpoint if one else None,
        train_seed=subject.train_seed if one else None,
        epoch=subject.epoch,
        temperature=grid.temperature,
        benchmark=grid.benchmark,
        subset=grid.subset,
        judge=judge,
        registry=_measure(found),
        echoed=level("echoed"),
        invented=level("invented"),
        twin=level("twin"),
        minus_twins=minus_twins,
        minus_base=minus_base,
        memorised=memorised,
        harmful_leaking=level("harmful_leaking"),
        off_topic_leaking=level("off_topic_leaking"),
        n_seeds=len(members) if subject.train_seed is not None else 0,
        corpus=subject.corpus,
        warning=as_text([*warnings, *sizes(found)]),
    )


def _level(values: Floats, codes: Ints, confidence: float) -> Estimate | None:
    if not np.isfinite(values).any(axis=1).all():
        return None
    if values.shape[0] > 1:
        return seeds.level(values, codes, confidence=confidence)
    used = np.isfinite(values[0])
    return clusters.level(values[0][used], codes[used], confidence=confidence)


def _difference(values: Floats, codes: Ints, confidence: float, scale: float) -> Estimate | None:
    if not np.isfinite(values).any(axis=1).all():
        return None
    if values.shape[0] > 1:
        return seeds.difference(values, codes, confidence=confidence, scale=scale)
    used = np.isfinite(values[0])
    return clusters.difference(values[0][used], codes[used], confidence=confidence, scale=scale)


def _measure(found: Estimate | None) -> Measure | None:
    return None if found is None else Measure(found.value, found.low, found.high, found.n, found.n_clusters)
