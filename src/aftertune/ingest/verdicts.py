"""Verdicts of other tools: a table is checked and mapped onto the columns of `records.Verdict`.

Columns: `checkpoint, prompt, metric, value`, and optionally `cluster`, `seed` (training seed), `repeat` (sample),
`judge`, `worse` (`up` or `down`, per metric; `ingest.directions`), `message_hash` (of the messages as sent: pairs must
agree on it) and `answered_by` (`model`, or `filter` or `server` where one of these made the answer; `records.Author`).
`value` is 0/1 (or true/false) or a number; empty is unjudged. Logs of other tools are read as tables of this form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from aftertune.deciding.policy import Policy
from aftertune.errors import DataError, UsageError, near
from aftertune.ingest.directions import directions, is_share
from aftertune.ingest.missing_values import beside_shares, marks, no_share, or_grades, written
from aftertune.ingest.source_table import REQUIRED, Ints, Sources, SourceTable, number_of
from aftertune.numbers import count
from aftertune.pii.masking import shown
from aftertune.records import BASE_ARM, Author, Metric, Worse

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Verdicts:
    """Verdicts as `deciding.drift` takes them."""

    table: pa.Table
    """The columns of `records.Verdict` that drift needs."""
    metrics: tuple[Metric, ...]
    doubtful: frozenset[str]
    """Metrics whose direction hangs on the prompts, and of which nobody said it."""
    warnings: tuple[str, ...]


def read(
    sources: Sources,
    base: str,
    tuned: Sequence[str],
    policy: Policy,
    *,
    worse: Mapping[str, str] | None = None,
    allow_partial_overlap: bool = False,
) -> Verdicts:
    """Return the verdicts of a table on a base and its tuned checkpoints; other checkpoints are left out.

    Args:
        sources: CSV, JSONL or Parquet, or a log that `ingest.logs` recognises; or several of them.
        base: Name of the untuned model in the column `checkpoint`.
        tuned: Names of tuned checkpoints. Rows of one name with several training seeds are one recipe; so are names
            that differ only in the number of their own seed (`lora-s1`, `lora-s2`).
        policy: A rule's `worse` says the direction of a metric where the table does not.
        worse: Metric, or shell pattern on its name -> the direction that is worse, as the caller says it.
        allow_partial_overlap: Accept a metric that one of the checkpoints lacks; by default such a table is refused.

    The arm of a verdict is `base` or the name of the recipe. Raises UsageError for a name that is not in the table, for
    a metric of which nobody knows which way is worse, and for a missing file; DataError (file, line or row, column) for
    content that cannot be read.
    """
    if base in tuned or len(set(tuned)) < len(tuned):
        repeated = base if base in tuned else next(name for name in tuned if tuned.count(name) > 1)
        raise UsageError(f"checkpoint '{repeated}' is named twice; name the base once and each tuned checkpoint once")
    if not tuned:
        raise UsageError("name at least one tuned checkpoint")
    source = SourceTable(sources)
    known = source.values("checkpoint")
    for name in (base, *tuned):
        if name not in known:
            raise UsageError(
                f"{source.path}: no checkpoint '{name}' in it{near(name, [value for value in known if value])}"
            )
    _refuse_nameless_rows(source)
    source.keep(np.isin(source.codes["checkpoint"], [known.index(name) for name in (base, *tuned)]))
    for column in REQUIRED[1:-1]:
        source.refuse(column, lambda value: value in (None, ""), "is empty")
    source.refuse(
        "answered_by", lambda value: value not in (None, "", *get_args(Author)), "is none of model, server, filter"
    )
    value = source.numbers("value")
    _refuse_two_scales(source, value, base)
    value = _without_marks(source, value)
    _tell_scales(source, value)
    seed = _seeds(source, base)
    _refuse_repeated_rows(source, seed)
    _refuse_two_clusters(source)
    if not allow_partial_overlap:
        _refuse_missing_metrics(source)
    names = source.present("metric")
    way = directions(source.path, names, _stated_directions(source), worse or {}, policy)
    metrics = tuple(Metric("", "", name, None, way.worse[name]) for name in names)
    table = _verdict_table(source, base, tuned, seed, value)
    return Verdicts(table, metrics, way.doubtful, (*source.warnings, *way.warnings))


def _refuse_nameless_rows(source: SourceTable) -> None:
    """Raise DataError for rows of no checkpoint that say something: they would be left out in silence."""

    def is_empty(name: str) -> NDArray[np.bool_]:
        codes = [code for code, value in enumerate(source.values(name)) if value in (None, "")]
        return np.isin(source.codes[name], codes)

    blank = np.all([is_empty(name) for name in REQUIRED[1:]], axis=0)
    rows = np.flatnonzero(is_empty("checkpoint") & ~blank)
    if rows.size:
        raise DataError(
            f"{source.where(int(rows[0]))}: checkpoint is empty in {count(rows.size, 'row')}; write it into each "
            "(of merged cells a spreadsheet keeps the first alone)"
        )


def _without_marks(source: SourceTable, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values with those that only mark a missing one as NaN; a warning counts them."""
    value = value.copy()
    units, unit = np.unique(source.joint(("metric", "judge")), return_inverse=True)
    for code in range(units.size):
        own = np.flatnonzero(unit == code)
        found = marks(value[own])
        if not found:
            continue
        marked = own[np.isin(value[own], found)]
        metric = source.values("metric")[source.codes["metric"][own[0]]]
        source.warnings.append(
            f"{source.path}: {metric}: {written(found)} in {marked.size:,} of {own.size:,} rows stands for a missing "
            f"value, as the others show (first: {source.where(int(marked[0]))}): unjudged{or_grades(value[own])}"
        )
        value[marked] = np.nan
    return value


def _tell_scales(source: SourceTable, value: NDArray[np.float64]) -> None:
    """Raise DataError for a share of answers with a value that is none; warn where it may be one of a scale."""
    units, unit = np.unique(source.joint(("metric", "judge")), return_inverse=True)
    for code in range(units.size):
        own = np.flatnonzero(unit == code)
        seen = beside_shares(value[own])
        if not seen:
            continue
        first = source.where(int(own[np.isfinite(value[own]) & ~np.isin(value[own], (0.0, 1.0))][0]))
        metric = source.values("metric")[source.codes["metric"][own[0]]]
        if is_share(metric):
            raise DataError(f"{first}: {no_share(metric, seen)}")
        source.warnings.append(f"{source.path}: {no_share(metric, f'{seen} (first: {first})', refused=False)}")


def _refuse_two_scales(source: SourceTable, value: NDArray[np.float64], base: str) -> None:
    """Raise DataError for shares on one side and per cent on the other: a fall would read as a gain."""
    of_base = source.codes["checkpoint"] == source.values("checkpoint").index(base)
    known = np.isfinite(value)
    for code, metric in enumerate(source.values("metric")):
        own = known & (source.codes["metric"] == code)
        sides = {"the base": value[own & of_base], "the tuned": value[own & ~of_base]}
        if not all(side.size and side.min() >= 0 for side in sides.values()):
            continue
        (shares, less), (cents, more) = sorted(sides.items(), key=lambda side: float(side[1].max()))
        with np.errstate(over="ignore"):  # values so large are refused later
            apart = more.mean() > _PER_CENT * less.mean()
        apart &= not np.any((more > 0) & (more <= 1))
        if 0 < less.max() <= 1 and _PER_CENT <= more.max() <= 100 and apart:
            raise DataError(
                f"{source.path}: {metric}: the values of {shares} reach {less.max():g}, those of {cents} "
                f"{more.max():g}: shares and per cent? give both on one scale"
            )


_PER_CENT = 10.0
"""Least value, and least ratio of the means, from which one side is taken to be in per cent and the other in shares."""


def _seeds(source: SourceTable, base: str) -> Ints:
    """Return the training seed of each row, -1 if it has none. Raises DataError for a seed in only some rows."""
    source.refuse("seed", lambda value: _seed(value) is None, "is not a whole number, 0 or more")
    # Values of dropped rows may still be invalid.
    numbers = [_seed(value) for value in source.values("seed")]
    seeds = np.array([-1 if seed is None else seed for seed in numbers], dtype=np.int64)[source.codes["seed"]]
    names, checkpoints = source.values("checkpoint"), source.codes["checkpoint"]
    for code, own in _seeds_of_checkpoints(source, seeds).items():
        if len(own) > 1 and own[0] == -1:
            row = int(np.flatnonzero((checkpoints == code) & (seeds == -1))[0])
            raise DataError(f"{source.where(row)}: seed is empty, but other rows of '{names[code]}' have one")
        if names[code] == base and len(own) == 1:
            seeds[checkpoints == code] = -1  # the one base of all seeds, whatever its number
    return seeds


def _seeds_of_checkpoints(source: SourceTable, seeds: Ints) -> dict[int, list[int]]:
    """Return the sorted training seeds of each checkpoint, by its code."""
    by_checkpoint: dict[int, list[int]] = {}
    for code, seed in np.unique(np.stack([source.codes["checkpoint"], seeds]), axis=1).T.tolist():
        by_checkpoint.setdefault(code, []).append(seed)
    return by_checkpoint


def _seed(value: Any) -> int | None:
    """Return a training seed, -1 for an empty value, None for an invalid one."""
    number = number_of(value)
    if number is None or (number == number and (number < 0 or number != int(number) or number >= 2**63)):
        return None
    return -1 if number != number else int(number)


def _stated_directions(source: SourceTable) -> dict[str, Worse]:
    """Return the column `worse` by metric. Raises DataError for an invalid or contradictory value."""
    source.refuse("worse", lambda value: value not in (None, "", *get_args(Worse)), "is neither 'up' nor 'down'")
    directions: dict[str, Worse] = {}
    names, words = source.values("metric"), source.values("worse")
    pairs, first = np.unique(np.stack([source.codes["metric"], source.codes["worse"]]), axis=1, return_index=True)
    for (metric, word), row in zip(pairs.T.tolist(), first.tolist(), strict=True):
        if words[word] and directions.setdefault(names[metric], words[word]) != words[word]:
            raise DataError(
                f"{source.where(row)}: worse = '{words[word]}', but other rows of {names[metric]} say "
                f"'{directions[names[metric]]}'; give it one"
            )
    return directions


def _refuse_repeated_rows(source: SourceTable, seeds: Ints) -> None:
    """Raise DataError for a second row with the same key."""
    distinct, seed = np.unique(seeds, return_inverse=True)
    code = source.joint(("checkpoint", "metric", "judge", "prompt", "repeat"), (seed, distinct.size))
    order = np.argsort(code, kind="stable")
    repeated = np.flatnonzero(code[order][1:] == code[order][:-1])
    if repeated.size:
        row = int(order[1:][repeated].min())
        key = ", ".join(
            f"{name} '{shown(source.values(name)[source.codes[name][row]])}'"
            for name in ("checkpoint", "prompt", "metric")
        )
        raise DataError(
            f"{source.where(row)}: a second row for {key}; number samples in the column 'repeat', training seeds in "
            "'seed' and instruments in 'judge', and give two logs of one model names (NAME=LOG)"
        )


def _refuse_two_clusters(source: SourceTable) -> None:
    """Raise DataError for a prompt in two clusters."""
    unit = source.joint(("metric", "prompt"))
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    clusters = source.codes["cluster"]
    conflicts = np.flatnonzero(clusters != clusters[first][inverse])
    if conflicts.size:
        row, names = int(conflicts[0]), source.values("cluster")
        earlier = int(first[inverse[row]])
        raise DataError(
            f"{source.where(row)}: cluster = '{shown(names[clusters[row]] or '')}', but prompt "
            f"'{shown(source.values('prompt')[source.codes['prompt'][row]])}' stands in "
            f"'{shown(names[clusters[earlier]] or '')}' "
            f"in {source.where(earlier)}; give it one"
        )


def _refuse_missing_metrics(source: SourceTable) -> None:
    """Raise DataError for a metric (by one judge) that one checkpoint has and another lacks."""
    _, first, metric_code = np.unique(source.joint(("metric", "judge")), return_index=True, return_inverse=True)
    checkpoints, checkpoint = np.unique(source.codes["checkpoint"], return_inverse=True)
    counts = np.zeros((first.size, checkpoints.size), dtype=np.int64)
    np.add.at(counts, (metric_code, checkpoint), 1)
    for i, lacking in np.argwhere(counts == 0)[:1]:
        row = int(first[i])
        metric, judge = (source.values(name)[source.codes[name][row]] for name in ("metric", "judge"))
        raise DataError(
            f"{source.path}: {metric}: overlap too small: '{source.values('checkpoint')[checkpoints[lacking]]}' has no "
            f"row of it{f' by judge {judge}' if judge else ''}, another checkpoint has "
            f"{int(counts[i].max()):,}; ask all the same prompts, or allow partial overlap"
        )


def _arms(source: SourceTable, base: str, tuned: Sequence[str], seeds: Ints) -> list[str]:
    """Return the arm of each value of the column `checkpoint`."""
    names = source.values("checkpoint")
    stems: dict[str, list[str]] = {}
    for code, own in _seeds_of_checkpoints(source, seeds).items():
        name = names[code]
        if name in tuned and len(own) == 1 and own[0] >= 0:
            matches = list(re.finditer(rf"(?<!\d)0*{own[0]}(?!\d)", name))
            if matches:
                stems.setdefault(f"{name[: matches[-1].start()]}*{name[matches[-1].end() :]}", []).append(name)
    shared = {name: stem for stem, group in stems.items() if len(group) > 1 for name in group}
    # A tuned checkpoint may happen to be called `base`.
    return [
        BASE_ARM if name == base else f"{BASE_ARM} (tuned)" if name == BASE_ARM else shared.get(name, str(name))
        for name in names
    ]


def _verdict_table(
    source: SourceTable, base: str, tuned: Sequence[str], seeds: Ints, value: NDArray[np.float64]
) -> pa.Table:
    import pyarrow as pa

    def coded(codes: Ints, values: Sequence[Any]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values, pa.string()))

    def column(name: str) -> Any:
        return coded(source.codes[name], [value or "" for value in source.values(name)])

    zeros = np.zeros(value.size, dtype=np.int64)
    constant = {"base": base, "template": BASE_ARM}
    constant |= dict.fromkeys(("recipe", "benchmark", "subset", "system", "corpus", "judge_version"), "")
    distinct, seed = np.unique(seeds, return_inverse=True)
    # Every training seed of a name is a checkpoint of its own.
    several = {code for code, own in _seeds_of_checkpoints(source, seeds).items() if len(own) > 1}
    ids = [
        f"{name} seed {number}" if code in several else str(name)
        for code, name in enumerate(source.values("checkpoint"))
        for number in distinct
    ]
    return pa.table(
        {
            **{name: coded(zeros, [text]) for name, text in constant.items()},
            "arm": coded(source.codes["checkpoint"], _arms(source, base, tuned, seeds)),
            "train_seed": pa.array(seeds, mask=seeds < 0),
            "epoch": pa.nulls(value.size, pa.int64()),
            "checkpoint": coded(source.codes["checkpoint"] * distinct.size + seed, ids),
            "prompt_id": column("prompt"),
            "cluster": column("cluster"),
            "temperature": pa.DictionaryArray.from_arrays(pa.array(zeros.astype(np.int32)), pa.array([0.0])),
            "judge": column("judge"),
            "message_hash": column("message_hash"),
            "author": coded(source.codes["answered_by"], [by or "model" for by in source.values("answered_by")]),
            "axis": column("metric"),
            "label": pa.nulls(value.size, pa.string()),
            "status": coded(np.isfinite(value).astype(np.int64), ["abstain", "ok"]),
            "sample": source.codes["repeat"],
            "value": pa.array(value),
        }
    )
