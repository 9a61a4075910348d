"""Blocks of a verdict table: dense matrices, subjects x prompts, one per metric, base, judge and temperature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aftertune.deciding.labels import AnswerLabel, JoinedLabels, LabelledAnswers
from aftertune.deciding.verdict_table import (
    SUBJECT,
    UNIT,
    Bools,
    Floats,
    Ints,
    MetricVerdicts,
    Subject,
    VerdictTable,
    base_rows,
    own_base,
)
from aftertune.errors import DataError, DesignError
from aftertune.records import BASE_ARM, Metric

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_SCORE = 100.0
"""Top of the scale that scores beyond 1 are taken to be of."""
LARGEST = 1e100
"""Largest absolute value allowed: the squares of larger differences overflow."""


@dataclass(frozen=True)
class Block:
    """The verdicts of one judge on one metric, for one base and its checkpoints at one temperature.

    Matrices have shape (subjects, prompts); a prompt is one (prompt_id, system, message_hash).
    """

    metric: Metric
    base_model: str
    judge: str
    temperature: float
    subjects: tuple[Subject, ...]
    templates: tuple[frozenset[str], ...]
    """Chat templates of each subject."""
    prompt_ids: Ints
    """Codes, shape (prompts,): equal for a prompt that was sent in two forms."""
    clusters: Ints
    """Codes, shape (prompts,)."""
    n_asked: Ints
    """Samples per prompt, judged or not."""
    n_judged: Ints
    """Samples per prompt that were judged."""
    mean: Floats
    """Mean over the judged samples; NaN where there is none."""
    worst: Floats
    """Mean over all samples, each that is unjudged or unseen counted as the worst; NaN where not asked."""
    best: Floats
    """The same with each of these counted as the best."""
    n_unseen: Ints
    """Judged samples per prompt that the server or its content filter made, not the model."""
    n_filtered: Ints
    """Those that the content filter made."""
    seen: Floats
    """Mean over the judged samples that no content filter made; NaN where there is none."""
    known: Floats
    """Mean over the judged samples that the model itself made; NaN where there is none."""
    bounds: tuple[float, float]
    """Least and largest value, 0 and 1 at least."""
    ends: tuple[float, float] | None
    """Ends of the scale, which a value that nobody knows may have: of shares and values among 0 to 1 these, of others
    among 0 to 100 these; None where values lie beyond, so that no end is known."""
    is_proportion: bool
    """Whether every judged outcome is 0 or 1."""
    labelled: LabelledAnswers | None = None
    """The answers among them that people labelled too."""

    def bases(self, members: Sequence[int]) -> list[int] | None:
        """Return the row of the base that each member is compared with (see `own_base`).

        Args:
            members: Rows of subjects.

        Returns:
            One row per member, or None if the base was not asked at this temperature.

        Raises:
            DesignError: The base has training seeds, but not the seed of one of the members.
        """
        bases = base_rows(self.subjects)
        rows = [own_base(self.subjects[i], bases) for i in members]
        seeds = sorted({seed for _, seed in bases if seed is not None})
        for i, row in zip(members, rows, strict=True):
            if row is None and seeds:
                raise DesignError(
                    f"{self.metric.name}: the base has training seeds {', '.join(map(str, seeds))}, but not the "
                    f"{self.subjects[i].train_seed} of '{self.subjects[i].arm}'; give the base the same seeds, or none"
                )
        known = [row for row in rows if row is not None]
        return known if len(known) == len(rows) else None

    @property
    def width(self) -> float:
        """Largest possible difference between two values."""
        return self.bounds[1] - self.bounds[0]


def blocks(
    verdicts: pa.Table | VerdictTable, metrics: Sequence[Metric], labels: Sequence[AnswerLabel] = ()
) -> Iterator[Block]:
    """Yield the blocks of a verdict table in the order of the metrics, then of base, judge and temperature.

    A judge that occurs in two versions is two judges, named with their versions. `labels` are people's, of answers in
    the table.

    Raises:
        DataError: A column is missing, a response has two verdicts on one axis, a prompt is in two clusters, or a
            value lies beyond `LARGEST`.
        DesignError: Two bases have the same name.
    """
    table = VerdictTable.of(verdicts)
    joined = JoinedLabels(table, labels)
    for own in table.of_metrics(metrics):
        for judge, verdicts_of_judge in verdicts_by_judge(table, own):
            yield _block(table, judge, verdicts_of_judge, joined)


def verdicts_by_judge(table: VerdictTable, own: MetricVerdicts) -> Iterator[tuple[str, MetricVerdicts]]:
    """Yield a metric's verdicts by base, judge and temperature, with what the judge is called in estimates."""
    code, firsts = table.joint(("base", "judge", "judge_version", "temperature"), own.rows)
    versions = {(table.at("judge", row), table.at("judge_version", row)) for row in firsts}
    for group, first in enumerate(firsts):
        chosen = np.flatnonzero(code == group)
        judge = table.at("judge", first)
        if sum(name == judge for name, _ in versions) > 1:
            judge = f"{judge} {table.at('judge_version', first)}"
        yield judge, own.some(chosen)


def _block(table: VerdictTable, judge: str, verdicts: MetricVerdicts, labels: JoinedLabels) -> Block:
    metric, rows = verdicts.metric, verdicts.rows
    subject, subject_rows = table.joint(SUBJECT, rows)
    unit, unit_rows = table.joint(UNIT, rows)
    subjects = tuple(table.subject(row) for row in subject_rows)
    context = f"{metric.name}, judge {judge}"
    _refuse_two_bases(subjects, context)
    shape = (len(subjects), unit_rows.size)
    cell = subject * shape[1] + unit
    if np.unique(cell * (table.sample.max() + 1) + table.sample[rows]).size < rows.size:
        raise DataError(f"{context}: a response has two verdicts on the axis {metric.axis}; each must be judged once")
    values = verdicts.values[verdicts.judged]
    if values.size and np.abs(values).max() > LARGEST:
        raise DataError(
            f"{context}: a value of {values[np.argmax(np.abs(values))]:g}; values must lie within +-{LARGEST:g}, leave "
            "it empty where nothing could be judged"
        )

    def total(mask: Bools | None, weights: Floats | None) -> Floats:
        cells = cell if mask is None else cell[mask]
        return np.bincount(cells, weights, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    n_asked, n_judged, sums = total(None, None), total(verdicts.judged, None), total(verdicts.judged, values)
    bounds = (0.0, 1.0)
    if metric.label is None and values.size:
        bounds = (min(0.0, float(values.min())), max(1.0, float(values.max())))
    ends = _ends(bounds)
    bad, good = (ends or bounds) if metric.worse == "down" else (ends or bounds)[::-1]
    known = verdicts.judged & ~verdicts.unseen
    own, unknown = total(known, verdicts.values[known]), n_asked - total(known, None)
    unfiltered = verdicts.judged & ~verdicts.filtered
    n_unfiltered = total(unfiltered, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n_judged > 0, sums / n_judged, np.nan)
        worst = np.where(n_asked > 0, (own + unknown * bad) / n_asked, np.nan)
        best = np.where(n_asked > 0, (own + unknown * good) / n_asked, np.nan)
        known_mean = np.where(n_asked > unknown, own / (n_asked - unknown), np.nan)
        seen = np.where(n_unfiltered > 0, total(unfiltered, verdicts.values[unfiltered]) / n_unfiltered, np.nan)
    # One number sorts 30 times as fast as a pair of them.
    several = len(table.values["template"])
    pairs = np.divmod(np.unique(subject * several + table.codes["template"][rows]), several)
    return Block(
        metric=metric,
        base_model=table.at("base", rows[0]),
        judge=judge,
        temperature=float(table.at("temperature", rows[0])),
        subjects=subjects,
        templates=tuple(
            frozenset(table.values["template"][code] for code in pairs[1][pairs[0] == i]) for i in range(shape[0])
        ),
        prompt_ids=table.codes["prompt_id"][unit_rows].astype(np.int64),
        clusters=_clusters(table, rows, unit, unit_rows, context),
        n_asked=n_asked.astype(np.int64),
        n_judged=n_judged.astype(np.int64),
        mean=mean,
        worst=worst,
        best=best,
        n_unseen=total(verdicts.unseen, None).astype(np.int64),
        n_filtered=(n_judged - n_unfiltered).astype(np.int64),
        seen=seen,
        known=known_mean,
        bounds=bounds,
        ends=ends,
        is_proportion=metric.label is not None or bool(np.isin(values, (0.0, 1.0)).all()),
        labelled=labels.of(verdicts, subject, unit),
    )


def _ends(bounds: tuple[float, float]) -> tuple[float, float] | None:
    """Return the ends of the scale that values within these bounds are taken to be of; see `Block.ends`."""
    return next(((0.0, top) for top in (1.0, LARGEST_SCORE) if bounds[0] >= 0 and bounds[1] <= top), None)


def _refuse_two_bases(subjects: Sequence[Subject], context: str) -> None:
    bases = [(s.corpus, s.train_seed) for s in subjects if s.arm == BASE_ARM]
    ambiguous = any(seed is None and sum(name == corpus for name, _ in bases) > 1 for corpus, seed in bases)
    if ambiguous or len(set(bases)) < len(bases):
        raise DesignError(
            f"{context}: two checkpoints are called '{BASE_ARM}' for one base; give one of them an arm name"
        )


def _clusters(table: VerdictTable, rows: Ints, unit: Ints, unit_rows: Ints, context: str) -> Ints:
    """Return the cluster code of each prompt. Raises DataError for a prompt in two clusters."""
    codes = table.codes["cluster"]
    conflicts = np.flatnonzero(codes[rows] != codes[unit_rows][unit])
    if conflicts.size:
        row = rows[conflicts[0]]
        raise DataError(
            f"{context}: prompt '{table.at('prompt_id', row)}' stands in two clusters, "
            f"'{table.at('cluster', row)}' and '{table.at('cluster', unit_rows[unit[conflicts[0]]])}'; give it one"
        )
    return table.clusters(unit_rows)
