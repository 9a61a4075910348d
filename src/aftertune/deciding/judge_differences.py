"""Judges of one axis on the same answers: how far they are apart, paired by answer, and whether that is noise.

The gate listens to one judge. Where another one read the same answers and gives another rate, or another drift, beyond
the interval of their difference, the decision says so: one of the two is wrong, and the statistics cannot tell which.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.blocks import verdicts_by_judge
from aftertune.deciding.verdict_table import (
    SUBJECT,
    UNIT,
    Floats,
    Ints,
    MetricVerdicts,
    Subject,
    VerdictTable,
    base_rows,
    own_base,
)
from aftertune.findings import JudgeDifference, PairedDifference
from aftertune.numbers import SHARES, TEXT, VALUES, Scale, count
from aftertune.records import Decision, Metric, Outcome
from aftertune.stats import matrix, multiplicity
from aftertune.stats.estimate import Estimate

WIDER = 3.0
"""Ratings from 0 to 10 and from 0 to 100 are told apart, those from 3 to 97 and from 0 to 100 are not."""
AN_OUTCOME: Mapping[Outcome, str] = {
    "pass": "a pass",
    "drift": "a drift",
    "unconfirmed": "beyond the margin, not confirmed",
    "undecided": "undecided",
    "error": "an error",
}
OtherOutcome = Callable[[Decision, str], Outcome | None]
"""What would be decided, were it for another judge; None where that is not known."""


def why_not_comparable(label: str | None, first: tuple[str, frozenset[str]], second: tuple[str, frozenset[str]]) -> str:
    """Return why the shares of `label` by two judges (name, labels that it gives) mean different things; else empty.

    Both must give the label. A judge that gave a single one, which the other gives too, may just not have needed it.
    """
    for (_, labels), (name, others) in ((first, second), (second, first)):
        silent = len(others) == 1 and others <= labels
        if label is not None and label not in others and not silent:
            given = ", ".join(f"'{each}'" for each in sorted(others)) or "none at all"
            return f"{name} has no label '{label}' (it gives {given})"
    return ""


def same_scale(ranges: Collection[tuple[float, float]]) -> bool:
    """Return whether values of these ranges (least, largest) can be of one scale: all are shares, or none is and the
    widest is at most `WIDER` times as wide as the narrowest."""
    shares = [low >= 0 and high <= 1 for low, high in ranges]
    widths = [high - low for low, high in ranges]
    return all(shares) or (not any(shares) and max(widths) <= WIDER * min(widths))


def labels_by_judge(table: VerdictTable, known: Mapping[str, str]) -> dict[tuple[str, str], frozenset[str]]:
    """Return (judge, axis) -> the labels that it gave there; `known`: axis -> one that every judge of it knows."""
    rows = table.where(status="ok")
    rows = rows[~table.equals("label", None)[rows]]
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in table.joint(("judge", "axis", "label"), rows)[1]:
        axis = table.at("axis", row)
        found[table.at("judge", row), axis] |= {table.at("label", row)} | ({known[axis]} if axis in known else set())
    return {key: frozenset(labels) for key, labels in found.items()}


def judge_differences(
    verdicts: VerdictTable,
    metrics: Sequence[Metric],
    decisions: Sequence[Decision],
    *,
    known: Mapping[str, str],
    outcome_by: OtherOutcome,
    confidence: float = 0.95,
) -> list[JudgeDifference]:
    """Return, for each decision, the difference of every other judge of its metric from the one that it listens to.

    Only answers that both judged count: the tuned model's for the rate, and pairs with the base's for the drift.
    Prompts are the sample of a checkpoint, training seeds and prompts that of a recipe. Judges are told apart where the
    interval of their difference excludes zero: of twenty that are equally good one is, by chance. So it is also said
    whether Holm's correction, over all differences of one arm or checkpoint, leaves it.

    Args:
        verdicts: By all judges.
        metrics: Those decided on.
        decisions: Of the gate.
        known: Axis -> a label that every judge of the axis knows, given or not.
        outcome_by: Says what would be decided by another judge.
        confidence: Of each interval by itself.
    """
    labels = labels_by_judge(verdicts, known)
    wanted = {metric.name: metric for metric in metrics}
    by_metric: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        if decision.metric in wanted and decision.judge:
            by_metric[decision.metric].append(decision)
    differences: list[JudgeDifference] = []
    for own in verdicts.of_metrics([wanted[name] for name in by_metric]):
        groups: dict[tuple[str, float], dict[str, MetricVerdicts]] = defaultdict(dict)
        for judge, each in verdicts_by_judge(verdicts, own):
            first = int(each.rows[0])
            groups[verdicts.at("base", first), float(verdicts.at("temperature", first))][judge] = each
        for decision in by_metric[own.metric.name]:
            judges = groups.get((decision.base_model, decision.temperature or 0.0), {})
            for other in judges if decision.judge in judges else ():
                if other != decision.judge:
                    mine, theirs = judges[decision.judge], judges[other]
                    difference = _difference(verdicts, decision, mine, theirs, labels, confidence)
                    named = dataclasses.replace(difference, other=other, other_outcome=outcome_by(decision, other))
                    differences.append(named)
    return _adjusted(differences, decisions, 1 - confidence)


def with_disagreements(decisions: Sequence[Decision], differences: Sequence[JudgeDifference]) -> list[Decision]:
    """Return decisions whose `why` ends with what another judge says where the two are told apart."""
    told = defaultdict(list)
    for each in differences:
        if each.told_apart:
            told[_key(each)].append(sentence(each))
    return [
        dataclasses.replace(decision, why=" ".join([decision.why, *told[_key(decision)]]))
        if _key(decision) in told
        else decision
        for decision in decisions
    ]


def sentence(difference: JudgeDifference) -> str:
    """Return what two judges give for the same answers, in one sentence with the numbers."""
    scale = SHARES if difference.is_proportion else VALUES
    mine, other = difference.judge, difference.other
    text = "Judges disagree on the same answers: "
    if (rate := difference.rate) is not None:
        text += f"{mine} reads {TEXT.rate(rate.value, scale)}, {other} {TEXT.rate(rate.other, scale)} "
        text += f"({_apart(rate, scale)})"
    if (drift := difference.drift) is not None:
        text += f"; their drifts are {TEXT.shift(drift.value, scale)} and {TEXT.shift(drift.other, scale)}{scale.unit} "
        text += f"({_apart(drift, scale)})"
    if difference.changes_outcome:
        text += f"; by {other} this would be {AN_OUTCOME[difference.other_outcome or 'error']}"
    return f"{text}."


def _apart(pair: PairedDifference, scale: Scale) -> str:
    ends = f"{TEXT.shift(pair.low, scale)} to {TEXT.shift(pair.high, scale)}"
    return f"{TEXT.shift(pair.delta, scale)}{scale.unit}, {100 * pair.confidence:g} % interval {ends}"


def summary(differences: Sequence[JudgeDifference], name_of: Callable[[JudgeDifference], str]) -> str:
    """Return how many checks two judges disagree on, and the one that matters most; empty where they nowhere do."""
    compared = {_key(each) for each in differences if each.rate is not None}
    apart = [each for each in differences if each.told_apart]
    if not apart:
        return ""
    checks, otherwise = ({_key(each) for each in some} for some in (apart, [d for d in apart if d.changes_outcome]))
    corrected = {_key(each) for each in apart if each.corrected}
    text = (
        f"Judges disagree beyond the interval of their difference on {len(checks):,} of "
        f"{count(len(compared), 'check')} that several judges read ({len(corrected):,} after Holm's correction)"
    )
    if otherwise:
        text += f"; {len(otherwise):,} would be decided otherwise by another judge"
    worst = max(apart, key=lambda each: (each.corrected, each.changes_outcome, each.required, each.size))
    return f"{text}. Largest: {name_of(worst)}. {sentence(worst)}"


# ---------------------------------------------------------------------------------------------- one pair of judges


@dataclass(frozen=True)
class _Paired:
    """The answers that two judges both judged, as matrices (subjects, prompts); NaN where there is none."""

    subjects: tuple[Subject, ...]
    clusters: Ints
    first: Floats
    second: Floats
    same: Floats
    """Share of the samples that both read alike."""
    bounds: tuple[float, float]


def _paired(table: VerdictTable, first: MetricVerdicts, second: MetricVerdicts) -> _Paired | None:
    rows = [each.rows[each.judged] for each in (first, second)]
    values = [each.values[each.judged] for each in (first, second)]
    whole = np.concatenate(rows)
    unit = table.joint((*SUBJECT, *UNIT), whole)[0]
    samples = int(table.sample.max()) + 1
    keys, answer = np.unique(unit * samples + table.sample[whole], return_inverse=True)
    place = np.full((2, keys.size), -1, dtype=np.int64)
    place[0, answer[: rows[0].size]] = np.arange(rows[0].size)
    place[1, answer[rows[0].size :]] = np.arange(rows[1].size)
    place = place[:, (place >= 0).all(axis=0)]
    if not place.shape[1]:
        return None
    shared, mine, theirs = rows[0][place[0]], values[0][place[0]], values[1][place[1]]
    subject, subject_rows = table.joint(SUBJECT, shared)
    prompt, prompt_rows = table.joint(UNIT, shared)
    shape = (subject_rows.size, prompt_rows.size)
    cell = subject * shape[1] + prompt
    n = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    def mean(weights: Floats) -> Floats:
        sums = np.bincount(cell, weights, minlength=shape[0] * shape[1]).reshape(shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n > 0, sums / n, np.nan)

    every = np.concatenate(values)
    return _Paired(
        subjects=tuple(table.subject(int(row)) for row in subject_rows),
        clusters=table.clusters(prompt_rows),
        first=mean(mine),
        second=mean(theirs),
        same=mean((mine == theirs).astype(np.float64)),
        bounds=(min(0.0, float(every.min())), max(1.0, float(every.max()))),
    )


def _difference(
    table: VerdictTable,
    decision: Decision,
    mine: MetricVerdicts,
    theirs: MetricVerdicts,
    labels: Mapping[tuple[str, str], frozenset[str]],
    confidence: float,
) -> JudgeDifference:
    metric = mine.metric
    about = JudgeDifference(
        **{name: getattr(decision, name) for name in KEY},
        required=decision.required,
        judge=decision.judge,
        other="",
        outcome=decision.outcome,
        margin=decision.margin,
    )
    sets = [_labels(table, each, labels) for each in (mine, theirs)]
    why = why_not_comparable(metric.label, *sets) or _other_scale(metric, mine, theirs)
    paired = None if why else _paired(table, mine, theirs)
    if paired is None:
        return dataclasses.replace(about, why=why or "they judged no answer in common")
    members = [i for i, subject in enumerate(paired.subjects) if _is_member(subject, decision)]
    bases = base_rows(paired.subjects)
    own = [own_base(paired.subjects[i], bases) for i in members]
    width = paired.bounds[1] - paired.bounds[0]
    first, second = paired.first[members], paired.second[members]
    rate = _pair(first, second, paired.clusters, width, confidence) if members else None
    if rate is None:
        return dataclasses.replace(about, why="they judged no answer of this model in common")
    drift = None
    if all(base is not None for base in own):
        rows = [base for base in own if base is not None]
        mine_moved, theirs_moved = first - paired.first[rows], second - paired.second[rows]
        drift = _pair(mine_moved, theirs_moved, paired.clusters, 2 * width, confidence)
    values = np.concatenate([each.values[each.judged] for each in (mine, theirs)])
    return dataclasses.replace(
        about,
        rate=rate,
        drift=drift,
        same=float(np.nanmean(paired.same[members])),
        is_proportion=metric.label is not None or bool(np.isin(values, (0.0, 1.0)).all()),
        n_seeds=len(members) if decision.estimand == "recipe" else 1,
    )


def _labels(
    table: VerdictTable, verdicts: MetricVerdicts, labels: Mapping[tuple[str, str], frozenset[str]]
) -> tuple[str, frozenset[str]]:
    judge = table.at("judge", int(verdicts.rows[0]))
    return judge, labels.get((judge, verdicts.metric.axis), frozenset())


def _other_scale(metric: Metric, mine: MetricVerdicts, theirs: MetricVerdicts) -> str:
    """Return why two judges' values cannot be compared: shares of one and ratings of another are no one scale."""
    ranges = [each.values[each.judged] for each in (mine, theirs)]
    if metric.label is not None or not all(values.size for values in ranges):
        return ""
    ends = [(float(values.min()), float(values.max())) for values in ranges]
    if same_scale(ends):
        return ""
    written = [f"{low:g} to {high:g}" for low, high in ends]
    return f"their values may be of different scales ({written[0]} and {written[1]})"


def _is_member(subject: Subject, decision: Decision) -> bool:
    if decision.estimand == "recipe":
        key = (subject.arm, subject.recipe, subject.epoch)
        return subject.train_seed is not None and key == (decision.arm, decision.recipe, decision.epoch)
    return subject.arm == decision.arm and subject.checkpoint == (decision.checkpoint or "")


def _pair(first: Floats, second: Floats, clusters: Ints, scale: float, confidence: float) -> PairedDifference | None:
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any(axis=1).all():
        return None
    estimate: Estimate | None = matrix.difference(
        np.where(known, second - first, np.nan), clusters, confidence=confidence, scale=scale
    )
    assert estimate is not None
    counts = known.sum(axis=1)
    mean = [float((np.where(known, values, 0.0).sum(axis=1) / counts).mean()) for values in (first, second)]
    return PairedDifference(
        value=mean[0],
        other=mean[1],
        delta=estimate.value,
        low=estimate.low,
        high=estimate.high,
        confidence=confidence,
        p=estimate.p,
        p_adjusted=estimate.p,
        n_prompts=estimate.n,
        n_clusters=estimate.n_clusters,
    )


# ---------------------------------------------------------------------------------------------- families

KEY = ("metric", "unit", "estimand", "base_model", "arm", "recipe", "checkpoint", "epoch", "temperature")
"""Fields that a decision and the differences from its judge share."""


def decided_on(decision: Decision) -> tuple[object, ...]:
    """Return what names what is decided on, whoever judged it: not the unit, which may be called by its judge."""
    return tuple(getattr(decision, name) for name in KEY if name != "unit")


def _key(about: Decision | JudgeDifference) -> tuple[object, ...]:
    return (*(getattr(about, name) for name in KEY), about.judge)


def _adjusted(
    differences: Sequence[JudgeDifference], decisions: Iterable[Decision], alpha: float
) -> list[JudgeDifference]:
    """Return the differences with Holm's p values over those of one arm or checkpoint, in the decisions' order."""
    families: dict[tuple[object, ...], list[tuple[int, str]]] = defaultdict(list)
    result = list(differences)
    for position, each in enumerate(result):
        family = (each.estimand, each.base_model, each.arm, each.recipe, each.checkpoint, each.epoch)
        families[family] += [
            (position, name) for name in ("rate", "drift") if (known := getattr(each, name)) and known.p is not None
        ]
    for members in families.values():
        p = multiplicity.holm([getattr(result[position], name).p for position, name in members])
        for (position, name), adjusted in zip(members, p, strict=True):
            pair: PairedDifference = getattr(result[position], name)
            pair = dataclasses.replace(pair, p_adjusted=adjusted, corrected=pair.told_apart and adjusted <= alpha)
            result[position] = (
                dataclasses.replace(result[position], rate=pair)
                if name == "rate"
                else dataclasses.replace(result[position], drift=pair)
            )
    order = {_key(decision): position for position, decision in enumerate(decisions)}
    return sorted(result, key=lambda each: order[_key(each)])
