"""Verdicts made elsewhere: a table read by column, checked, and mapped onto the columns of `records.Verdict`.

Columns: `checkpoint, prompt, metric, value`, and where there are such `cluster`, `seed` (training seed), `repeat`
(sample), `judge`, `worse` (`up` or `down`, per metric) and `message_hash` (of the messages as sent: pairs agree on it).
`value` is 0/1 (or true/false) or a number; empty is unjudged. A million rows are read by Arrow, never row by row; only
where that fails is a file read again row by row, to name the line. Logs of other tools are read as such tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from aftertune.errors import DataError, UsageError, near
from aftertune.ingest.columns import REQUIRED, Given, Ints, Source, number_of
from aftertune.records import BASE_ARM, Metric, Worse

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Verdicts:
    """A table of verdicts, as `steps.drift` takes it."""

    table: pa.Table
    """The columns of `records.Verdict` that drift needs."""
    metrics: tuple[Metric, ...]
    warnings: tuple[str, ...]


def read(
    given: Given,
    base: str,
    tuned: Sequence[str],
    worse: Callable[[str, Worse], Worse],
    *,
    allow_partial_overlap: bool = False,
) -> Verdicts:
    """Return the verdicts on a base and its tuned checkpoints that a table holds; other checkpoints are left out.

    Args:
        given: CSV, JSONL or Parquet, or a log that `ingest.logs` knows; or several of them.
        base: The untuned model's name in the column `checkpoint`.
        tuned: Names of tuned checkpoints. Rows of one name with several training seeds are one recipe; so are names
            that differ in nothing but their own seed's number (`lora-s1`, `lora-s2`).
        worse: Gives the worse direction of a metric by its name and by what the table says of it (else `up`).
        allow_partial_overlap: Take a metric that one of the checkpoints lacks; without it such a table is refused.

    A verdict's arm is `base` or the recipe's name. Raises UsageError for a name that the table does not hold and for
    a missing file, DataError (file, line or row, column) for what cannot be read.
    """
    if base in tuned or len(set(tuned)) < len(tuned):
        raise UsageError(f"checkpoint '{base if base in tuned else tuned[0]}' is named twice; name the base once and "
                         "each tuned checkpoint once")  # fmt: skip
    if not tuned:
        raise UsageError("name at least one tuned checkpoint")
    source = Source(given)
    known = source.values("checkpoint")
    for name in (base, *tuned):
        if name not in known:
            raise UsageError(
                f"{source.path}: no checkpoint '{name}' in it{near(name, [value for value in known if value])}"
            )
    source.keep(np.isin(source.codes["checkpoint"], [known.index(name) for name in (base, *tuned)]))
    for column in REQUIRED[:-1]:
        source.refuse(column, lambda value: value in (None, ""), "is empty")
    value = source.numbers("value")
    seed = _seeds(source, base)
    _twice(source, seed)
    _one_cluster(source)
    if not allow_partial_overlap:
        _all_measured(source)
    stated = _stated(source)
    metrics = tuple(
        Metric("", "", name, None, worse(name, stated.get(name) or "up")) for name in source.present("metric")
    )
    return Verdicts(_mapped(source, base, tuned, seed, value), metrics, tuple(source.warnings))


def _seeds(source: Source, base: str) -> Ints:
    """Return the training seed of each row, -1 where it has none. Raises DataError for a seed in some rows only."""
    wrong = "is not a whole number, 0 or more"
    source.refuse("seed", lambda value: _seed(value) is None, wrong)
    # What is refused above may still be known from rows that are not kept.
    known = [_seed(value) for value in source.values("seed")]
    seeds = np.array([-1 if seed is None else seed for seed in known], dtype=np.int64)[source.codes["seed"]]
    names, checkpoints = source.values("checkpoint"), source.codes["checkpoint"]
    for code, kinds in _held(source, seeds).items():
        if len(kinds) > 1 and kinds[0] == -1:
            row = int(np.flatnonzero((checkpoints == code) & (seeds == -1))[0])
            raise DataError(f"{source.where(row)}: seed is empty, but other rows of '{names[code]}' have one")
        if names[code] == base and len(kinds) == 1:
            seeds[checkpoints == code] = -1  # one base for all, whatever number it was given
    return seeds


def _held(source: Source, seeds: Ints) -> dict[int, list[int]]:
    """Return the training seeds of each checkpoint that occurs, by its code, sorted."""
    found: dict[int, list[int]] = {}
    for code, seed in np.unique(np.stack([source.codes["checkpoint"], seeds]), axis=1).T.tolist():
        found.setdefault(code, []).append(seed)
    return found


def _seed(value: Any) -> int | None:
    number = number_of(value)
    if number is None or (number == number and (number < 0 or number != int(number) or number >= 2**63)):
        return None
    return -1 if number != number else int(number)


def _stated(source: Source) -> dict[str, Worse]:
    """Return what the column `worse` says of each metric. Raises DataError for another word, or for two of them."""
    source.refuse("worse", lambda value: value not in (None, "", *get_args(Worse)), "is neither 'up' nor 'down'")
    found: dict[str, Worse] = {}
    names, words = source.values("metric"), source.values("worse")
    pairs, first = np.unique(np.stack([source.codes["metric"], source.codes["worse"]]), axis=1, return_index=True)
    for (metric, word), row in zip(pairs.T.tolist(), first.tolist(), strict=True):
        if words[word] and found.setdefault(names[metric], words[word]) != words[word]:
            raise DataError(f"{source.where(row)}: worse = '{words[word]}', but other rows of {names[metric]} say "
                            f"'{found[names[metric]]}'; give it one")  # fmt: skip
    return found


def _twice(source: Source, seeds: Ints) -> None:
    """Refuse a verdict that stands twice."""
    kinds, seed = np.unique(seeds, return_inverse=True)
    code = source.joint(("checkpoint", "metric", "judge", "prompt", "repeat"), (seed, kinds.size))
    order = np.argsort(code, kind="stable")
    again = np.flatnonzero(code[order][1:] == code[order][:-1])
    if again.size:
        row = int(order[1:][again].min())
        key = ", ".join(
            f"{name} '{source.values(name)[source.codes[name][row]]}'" for name in ("checkpoint", "prompt", "metric")
        )
        raise DataError(
            f"{source.where(row)}: a second row for {key}; number samples in the column 'repeat', training seeds in "
            "'seed' and instruments in 'judge', and give two logs of one model names (NAME=LOG)"
        )


def _one_cluster(source: Source) -> None:
    """Refuse a prompt that stands in two clusters."""
    unit = source.joint(("metric", "prompt"))
    _, first, inverse = np.unique(unit, return_index=True, return_inverse=True)
    clusters = source.codes["cluster"]
    other = np.flatnonzero(clusters != clusters[first][inverse])
    if other.size:
        row, names = int(other[0]), source.values("cluster")
        earlier = int(first[inverse[row]])
        raise DataError(
            f"{source.where(row)}: cluster = '{names[clusters[row]] or ''}', but prompt "
            f"'{source.values('prompt')[source.codes['prompt'][row]]}' stands in '{names[clusters[earlier]] or ''}' "
            f"in {source.where(earlier)}; give it one"
        )


def _all_measured(source: Source) -> None:
    """Refuse a metric that one checkpoint has (by one judge) and another has not."""
    have = source.joint(("metric", "judge"))
    _, first, kind = np.unique(have, return_index=True, return_inverse=True)
    checkpoints, arm = np.unique(source.codes["checkpoint"], return_inverse=True)
    counts = np.zeros((first.size, checkpoints.size), dtype=np.int64)
    np.add.at(counts, (kind, arm), 1)
    for place, other in np.argwhere(counts == 0)[:1]:
        row = int(first[place])
        metric, judge = (source.values(name)[source.codes[name][row]] for name in ("metric", "judge"))
        raise DataError(
            f"{source.path}: {metric}: overlap too small: '{source.values('checkpoint')[checkpoints[other]]}' has no "
            f"row of it{f' by judge {judge}' if judge else ''}, another checkpoint has "
            f"{int(counts[place].max()):,}; ask all the same prompts, or allow partial overlap"
        )


def _arms(source: Source, base: str, tuned: Sequence[str], seeds: Ints) -> list[str]:
    """Return the arm of each value of the column `checkpoint`."""
    names = source.values("checkpoint")
    stems: dict[str, list[str]] = {}
    for code, own in _held(source, seeds).items():
        name = names[code]
        if name in tuned and len(own) == 1 and own[0] >= 0:
            found = list(re.finditer(rf"(?<!\d)0*{own[0]}(?!\d)", name))
            if found:
                stems.setdefault(f"{name[: found[-1].start()]}*{name[found[-1].end() :]}", []).append(name)
    shared = {name: stem for stem, group in stems.items() if len(group) > 1 for name in group}
    # An arm that happens to be called as the base's arm is, is not the base.
    return [
        BASE_ARM if name == base else f"{BASE_ARM} (tuned)" if name == BASE_ARM else shared.get(name, str(name))
        for name in names
    ]


def _mapped(source: Source, base: str, tuned: Sequence[str], seeds: Ints, value: NDArray[np.float64]) -> pa.Table:
    import pyarrow as pa

    def coded(codes: Ints, values: Sequence[Any]) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values, pa.string()))

    def column(name: str) -> Any:
        return coded(source.codes[name], [value or "" for value in source.values(name)])

    nothing = np.zeros(value.size, dtype=np.int64)
    none = pa.nulls(value.size, pa.int64())
    constant = {
        "base": base,
        **dict.fromkeys(("recipe", "benchmark", "subset", "system", "corpus"), ""),
    }
    constant |= {"template": BASE_ARM, "judge_version": ""}
    kinds, seed = np.unique(seeds, return_inverse=True)
    names = source.values("checkpoint")
    # Every training seed of a name is a checkpoint of its own.
    several = {code for code, own in _held(source, seeds).items() if len(own) > 1}
    ids = [f"{name} seed {kind}" if code in several else str(name) for code, name in enumerate(names) for kind in kinds]
    return pa.table(
        {
            **{name: coded(nothing, [text]) for name, text in constant.items()},
            "arm": coded(source.codes["checkpoint"], _arms(source, base, tuned, seeds)),
            "train_seed": pa.array(seeds, mask=seeds < 0),
            "epoch": none,
            "checkpoint": coded(source.codes["checkpoint"] * kinds.size + seed, [str(text) for text in ids]),
            "prompt_id": column("prompt"),
            "cluster": column("cluster"),
            "temperature": pa.DictionaryArray.from_arrays(pa.array(nothing.astype(np.int32)), pa.array([0.0])),
            "judge": column("judge"),
            "message_hash": column("message_hash"),
            "axis": column("metric"),
            "label": pa.nulls(value.size, pa.string()),
            "status": coded(np.isfinite(value).astype(np.int64), ["abstain", "ok"]),
            "sample": source.codes["repeat"],
            "value": pa.array(value),
        }
    )
