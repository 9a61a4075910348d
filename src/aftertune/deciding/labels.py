"""People's labels of answers in the estimates: joined to verdicts, and put in place of a judge's where they were given.

Labels are a sample of the answers. Each answer of a verdict table keeps the judge's verdict, and the verdict is read as
people read it: as the share of the labelled answers with this verdict to which people give the metric's label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.verdict_table import Bools, Floats, Ints, MetricVerdicts, VerdictTable
from aftertune.numbers import count
from aftertune.records import BASE_ARM, Metric
from aftertune.stats.prediction_powered import LEAST_LABELS, LabelledRate, labelled_rate

NOT_READ = {"accuracy": "held against a key", "choice": "read off the model's probabilities"}
"""Axes that nobody labels by reading: why not. So are those of leaks, found by registries of personal values."""


def not_read(metric: Metric) -> str:
    """Return why people cannot label a metric's answers by reading them; empty where they can."""
    if metric.axis.startswith("leak"):
        return "found by registries of personal values, not by reading"
    if metric.label is None:
        return "a value, not a label"
    return NOT_READ.get(metric.axis, "")


@dataclass(frozen=True, order=True)
class AnswerKey:
    """Identifies an answer of a run."""

    checkpoint: str
    benchmark: str
    subset: str
    prompt_id: str
    temperature: float
    sample: int


@dataclass(frozen=True, slots=True)
class AnswerLabel:
    """What people say of one answer on one axis."""

    answer: AnswerKey
    axis: str
    labels: tuple[str, ...]
    """Of each reader; a share of them counts where readers differ."""
    weight: float = 1.0
    """How many answers it stands for: those of its stratum, over the labelled ones among them."""


@dataclass(frozen=True)
class LabelledAnswers:
    """The labelled answers of one block; arrays of shape (labels,)."""

    subject: Ints
    """Row of the block's matrices."""
    prompt: Ints
    """Column of them."""
    called: Bools
    """Whether the judge gives the metric's label."""
    people: Floats
    """Share of the readers that give it."""
    weight: Floats


class JoinedLabels:
    """People's labels, found by the rows of a verdict table."""

    def __init__(self, table: VerdictTable, labels: Sequence[AnswerLabel]) -> None:
        self._by_axis: dict[str, dict[int, AnswerLabel]] = {}
        given: dict[str, dict[AnswerKey, AnswerLabel]] = defaultdict(dict)
        for label in labels:
            given[label.axis][label.answer] = label
        for axis, of_axis in given.items():
            rows = table.where(axis=axis)
            for name in ("checkpoint", "prompt_id"):
                known = [
                    table.values[name].index(v) for v in {getattr(k, name) for k in of_axis} & {*table.values[name]}
                ]
                rows = rows[np.isin(table.codes[name][rows], known)]
            columns = (
                table.column(name, rows)
                for name in ("checkpoint", "benchmark", "subset", "prompt_id", "temperature", "sample")
            )
            keys = (AnswerKey(*cells) for cells in zip(*columns, strict=True))
            self._by_axis[axis] = {
                int(row): of_axis[key] for row, key in zip(rows.tolist(), keys, strict=True) if key in of_axis
            }

    def of(self, verdicts: MetricVerdicts, subject: Ints, prompt: Ints) -> LabelledAnswers | None:
        """Return the labelled ones of a judge's verdicts on a metric; None where there is none.

        `subject` and `prompt` are the row and column of each verdict in its block. Answers that this judge could not
        judge are left out, and so is a metric of values, for which no label stands.
        """
        known = self._by_axis.get(verdicts.metric.axis, {})
        if not known or verdicts.metric.label is None:
            return None
        at = np.flatnonzero(np.isin(verdicts.rows, np.fromiter(known, dtype=np.int64, count=len(known))))
        at = at[verdicts.judged[at]]
        if not at.size:
            return None
        found = [known[int(row)] for row in verdicts.rows[at]]
        wanted = verdicts.metric.label
        return LabelledAnswers(
            subject=subject[at],
            prompt=prompt[at],
            called=verdicts.values[at] == 1,
            people=np.array([sum(one == wanted for one in each.labels) / len(each.labels) for each in found]),
            weight=np.array([each.weight for each in found]),
        )


@dataclass(frozen=True)
class PeoplesRate:
    """One side of an estimate by people's labels."""

    rate: LabelledRate

    def __call__(self, values: Floats) -> Floats:
        """Return outcomes by the judge (means over samples) as people would have read them, on average."""
        called, others = self.rate.called.rate, self.rate.others.rate
        return others + (called - others) * values

    def of_seeds(self, members: Sequence[int]) -> tuple[Floats, Floats]:
        """Return offset and noise of each member for `stats.prediction_powered.with_seed_errors`."""
        found = [self.rate.by_seed.get(member, (0.0, 0.0)) for member in members]
        return np.array([each[0] for each in found]), np.array([each[1] for each in found])

    def with_unjudged(self, judged_as: Floats, n_judged: Ints, n_asked: Ints, unjudged: float) -> Floats:
        """Return the same with a value for each sample that was not judged; NaN where nothing was asked."""
        read = np.where(n_judged > 0, self(judged_as), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n_asked > 0, (n_judged * read + (n_asked - n_judged) * unjudged) / n_asked, np.nan)


def peoples_rate(
    labelled: LabelledAnswers | None,
    members: Sequence[int],
    share: float,
    clusters: Ints,
    *,
    seeds: bool,
    confidence: float,
) -> PeoplesRate | int:
    """Return some subjects' rate by people's labels; where these are too few, their number.

    Args:
        labelled: Of the block.
        members: Rows of the subjects.
        share: By the judge alone.
        clusters: Of the block's prompts.
        seeds: Whether the subjects are training seeds that are a sample too.
        confidence: E.g. .95.
    """
    own = np.zeros(0, dtype=np.int64) if labelled is None else np.flatnonzero(np.isin(labelled.subject, list(members)))
    if labelled is None or own.size < LEAST_LABELS:
        return int(own.size)
    return PeoplesRate(
        labelled_rate(
            share,
            labelled.called[own],
            labelled.people[own],
            labelled.weight[own],
            clusters[labelled.prompt[own]],
            seeds=labelled.subject[own] if seeds else None,
            confidence=confidence,
        )
    )


JUDGE_ALONE = "by the judge alone"
"""How the part of a warning begins that says why labels were not used."""


def too_few(counts: Mapping[str, int]) -> str:
    """Return why labels were not used, from the number of them by arm."""
    said = [
        f"{f'{n:,}' if at else count(n, 'label')} of {'the base' if arm == BASE_ARM else arm}"
        for at, (arm, n) in enumerate(counts.items())
    ]
    are = "is" if [*counts.values()] == [1] else "are"
    return f"{JUDGE_ALONE}: {' and '.join(said)} {are} too few, at least {LEAST_LABELS} of each are needed"
