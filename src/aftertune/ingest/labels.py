"""Several judges over the same stored responses, and people's labels for them: how far do they agree, and where not?"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aftertune.asking.ask_job import AskJob
from aftertune.commands.decide import all_verdicts
from aftertune.data import table_files as rows
from aftertune.errors import DataError
from aftertune.records import Response
from aftertune.reporting.gather import cards_and_mask
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.stats.agreement import Agreement, cohen_kappa, krippendorff_alpha
from aftertune.stats.paired import wilson
from aftertune.studies import stored
from aftertune.studies.study import Study
from aftertune.text import excerpt

PEOPLE = "people"
"""The name of the rater that a table of labels is."""
LISTED = 20
"""Disagreements listed per axis."""
FEW = 10
"""Clusters under which an interval is warned of."""

Unit = tuple[str, str, str, str, float, int]
"""checkpoint, benchmark, subset, prompt_id, temperature, sample."""


def agree(root: Path, labels: Path | None = None) -> dict[str, Any]:
    """Return how far a run's judges agree (`aftertune agree RUN`); no model and no judge is asked.

    Args:
        root: A run folder with verdicts.
        labels: CSV, JSONL or Parquet with `prompt_id`, `axis`, `label` and `arm` or `checkpoint`; optional columns
            `benchmark`, `temperature`, `sample` tell answers apart. People become one more rater, `people`.

    Returns:
        `axes`: one row per axis with two raters or more: `raters`, Krippendorff's `alpha` of the labels and
        `alpha_values` of the values (None with a reason where there are none), Cohen's `kappa` of each pair,
        `disagreements` in all and `listed` (masked). `people`: per axis, label, judge and arm the sensitivity and
        specificity of label against rest, with Wilson intervals (prompts taken as independent).

    Raises:
        UsageError, DataError: A broken table, a label whose answer is not in the run or is not told apart.
        StoreError: No verdicts.
    """
    run = Run.open(root)
    study = stored.read(run)
    found = _ratings(all_verdicts(run, study))
    if labels is not None:
        _add_people(found, labels)
    rng = np.random.default_rng(study.design.analysis_seed)
    axes = [_axis(run, study, name, axis, rng) for name, axis in sorted(found.items()) if len(axis.raters) > 1]
    return {"axes": axes, "people": [row for name, axis in sorted(found.items()) for row in _against(name, axis)]}


class _Axis:
    """All that was said on one axis."""

    def __init__(self) -> None:
        self.labels: dict[Unit, dict[str, str]] = defaultdict(dict)
        self.values: dict[Unit, dict[str, float]] = defaultdict(dict)
        self.cluster: dict[Unit, str] = {}
        self.arm: dict[Unit, str] = {}
        self.unjudged: dict[str, int] = defaultdict(int)

    @property
    def raters(self) -> list[str]:
        return sorted({*itertools.chain(*self.labels.values()), *itertools.chain(*self.values.values())})


def _ratings(verdicts: Any) -> dict[str, _Axis]:
    names = ("checkpoint", "benchmark", "subset", "prompt_id", "temperature", "sample", "axis", "judge", "label",
             "value", "status", "cluster", "arm")  # fmt: skip
    found: dict[str, _Axis] = defaultdict(_Axis)
    columns: dict[str, list[Any]] = verdicts.select(names).to_pydict()
    said: Any = zip(*[columns[name] for name in names], strict=True)
    for *key, axis, judge, label, value, status, cluster, arm in said:
        unit: Unit = tuple(key)
        here = found[axis]
        here.cluster[unit], here.arm[unit] = f"{unit[1]}/{cluster}", arm
        if status != "ok":
            here.unjudged[judge] += 1
            continue
        if label is not None:
            here.labels[unit][judge] = label
        if value is not None:
            here.values[unit][judge] = value
    return dict(found)


def _add_people(found: Mapping[str, _Axis], path: Path) -> None:
    for line, row in rows.read(path, ("prompt_id", "axis", "label")):
        where = f"{path}:{line}"
        axis, label = str(row["axis"]), row["label"]
        if axis not in found:
            raise DataError(f"{where}: axis '{axis}' was not judged in this run (there are {', '.join(sorted(found))})")
        if not isinstance(label, str) or not label:
            raise DataError(f"{where}: label is empty")
        if not row.get("arm") and not row.get("checkpoint"):
            raise DataError(f"{where}: needs a column arm or checkpoint")
        here = found[axis]
        names = ("arm", "checkpoint", "benchmark", "prompt_id", "temperature", "sample")
        given = {name: row[name] for name in names if row.get(name) not in (None, "")}
        fits = [
            unit for unit in here.cluster if all(_same(_part(here, unit, name), value) for name, value in given.items())
        ]
        if "temperature" not in given and fits:
            coldest = min(unit[4] for unit in fits)
            fits = [unit for unit in fits if unit[4] == coldest and (unit[5] == 0 or "sample" in given)]
        if not fits:
            raise DataError(f"{where}: no answer of this run is {given}")
        if len(fits) > 1:
            raise DataError(f"{where}: {len(fits)} answers are {given}: tell them apart by checkpoint or benchmark")
        here.labels[fits[0]][PEOPLE] = label


def _part(axis: _Axis, unit: Unit, name: str) -> str | float:
    if name == "arm":
        return axis.arm[unit]
    return unit[("checkpoint", "benchmark", "subset", "prompt_id", "temperature", "sample").index(name)]


def _same(have: str | float, given: object) -> bool:
    """Compare as text, numbers by their value: a CSV's `0` is the temperature 0.0."""
    if isinstance(have, str):
        return have == str(given)
    try:
        return float(str(given)) == have
    except ValueError:
        return False


# ---------------------------------------------------------------------------------------------- agreement


def _axis(run: Run, study: Study, name: str, axis: _Axis, rng: np.random.Generator) -> dict[str, Any]:
    raters = axis.raters
    differing = [unit for unit, said in sorted(axis.labels.items()) if len(set(said.values())) > 1]
    return {
        "axis": name,
        "raters": raters,
        "unjudged": {rater: axis.unjudged.get(rater, 0) for rater in raters if rater != PEOPLE},
        "alpha": _alpha(axis, axis.labels, raters, rng),
        "alpha_values": _alpha(axis, axis.values, raters, rng),
        "kappa": [row for pair in itertools.combinations(raters, 2) if (row := _kappa(axis, *pair))],
        "disagreements": len(differing),
        "listed": _listed(run, study, axis, differing[:LISTED]),
    }


def _alpha(
    axis: _Axis, said: Mapping[Unit, Mapping[str, Any]], raters: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    units = [unit for unit, row in sorted(said.items()) if len(row) > 1]
    if not units:
        return {"value": None, "n": 0, "why": "no answer has two ratings"}
    labels = {label: k for k, label in enumerate(sorted({v for u in units for v in said[u].values()}, key=str))}
    nominal = all(isinstance(label, str) for label in labels)
    ratings = np.array(
        [[np.nan if r not in said[u] else labels[said[u][r]] if nominal else said[u][r] for r in raters] for u in units]
    )
    clusters = np.unique([axis.cluster[unit] for unit in units], return_inverse=True)[1]
    found = krippendorff_alpha(ratings, clusters, rng, level="nominal" if nominal else "interval")
    row = _row(found, "all ratings are the same: nothing could differ")
    count = int(clusters.max()) + 1
    return {**row, "clusters": count, "warning": f"{count} clusters only" if count < FEW else ""}


def _row(found: Agreement, why: str) -> dict[str, Any]:
    if math.isnan(found.value):
        return {"value": None, "low": found.low, "high": found.high, "n": found.n, "why": why}
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _kappa(axis: _Axis, first: str, second: str) -> dict[str, Any] | None:
    pairs = [(said[first], said[second]) for said in axis.labels.values() if first in said and second in said]
    if not pairs:
        return None
    found = cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    same = sum(a == b for a, b in pairs) / len(pairs)
    return {"raters": [first, second], "same": same, **_row(found, "both give one label only")}


def _listed(run: Run, study: Study, axis: _Axis, units: Sequence[Unit]) -> list[dict[str, Any]]:
    """Return the answers that raters differ on, personal values masked."""
    if not units:
        return []
    mask = cards_and_mask(run, study)[1]
    wanted = set(units)
    texts: dict[Unit, str] = {}
    for job in study.of(AskJob):
        if not any(unit[0] == job.subject.id for unit in wanted):
            continue
        for row in records(Response, run.job(job).read("responses")):
            unit = (row.checkpoint, row.benchmark, row.subset, row.prompt_id, row.temperature, row.sample)
            if unit in wanted:
                texts[unit] = row.text
    names = ("checkpoint", "benchmark", "subset", "prompt_id", "temperature", "sample")
    return [
        {
            **dict(zip(names, unit, strict=True)),
            "arm": axis.arm[unit],
            "labels": dict(sorted(axis.labels[unit].items())),
            "text": mask(texts.get(unit, ""))[:300],
        }
        for unit in units
    ]


# ---------------------------------------------------------------------------------------------- people


def _against(name: str, axis: _Axis) -> list[dict[str, Any]]:
    """Return each judge's sensitivity and specificity on what people labelled, per arm."""
    labelled = {unit: said[PEOPLE] for unit, said in axis.labels.items() if PEOPLE in said}
    found = []
    for label in sorted(set(labelled.values())):
        for judge in sorted({*axis.unjudged, *axis.raters} - {PEOPLE}):
            for arm in sorted({axis.arm[unit] for unit in labelled}):
                units = [unit for unit in labelled if axis.arm[unit] == arm]
                said = {unit: axis.labels[unit].get(judge) for unit in units}
                yes = [said[unit] for unit in units if labelled[unit] == label and said[unit] is not None]
                no = [said[unit] for unit in units if labelled[unit] != label and said[unit] is not None]
                found.append(
                    {
                        "axis": name, "label": label, "judge": judge, "arm": arm,
                        "sensitivity": _share(sum(given == label for given in yes), len(yes)),
                        "specificity": _share(sum(given != label for given in no), len(no)),
                        "unjudged": sum(given is None for given in said.values()),
                    }
                )  # fmt: skip
    return found


def _share(hits: int, n: int) -> dict[str, Any]:
    if n == 0:
        return {"value": None, "n": 0, "why": "people labelled none of this class here"}
    low, high = wilson(hits, n)
    return {"value": hits / n, "low": low, "high": high, "n": n, "warning": "few labels" if n < 30 else ""}


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return what `agree` found as lines of text."""
    out = []
    for row in found["axes"]:
        out.append(f"{row['axis']}: {', '.join(row['raters'])}; {row['disagreements']} disagreements on labels")
        for name in ("alpha", "alpha_values"):
            if row[name]["n"]:
                out.append(f"  {name:<14} {_said(row[name])}")
        out += [f"  kappa          {_said(pair)}  {' v '.join(pair['raters'])}" for pair in row["kappa"]]
        for each in row["listed"]:
            labels = ", ".join(f"{rater} {excerpt(label or 'none')}" for rater, label in each["labels"].items())
            out.append(f"    {each['arm']} {excerpt(each['prompt_id'])}: {labels}: {excerpt(each['text'], 100)!r}")
    for row in found["people"]:
        out.append(
            f"{row['judge']} on {row['axis']}={row['label']} in {row['arm']}: sensitivity {_said(row['sensitivity'])}, "
            f"specificity {_said(row['specificity'])}, unjudged {row['unjudged']}"
        )
    return out or ["nothing to compare: one judge per axis, and no labels (--labels FILE)"]


def _said(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"not known ({row['why']})"
    warning = f" ({row['warning']})" if row.get("warning") else ""
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}] n {row['n']}{warning}"
