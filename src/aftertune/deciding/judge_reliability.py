"""Judges whose measured error leaves nothing to decide by: what is known of it, and the decisions that then stay open.

Two measurements of a judge's error count. Its trial on known answers (`failed` where it did not pass and was asked to
judge all the same), and people's labels of the answers of one arm of the run. A decision does not rest on a judge that
failed its trial, nor on one that people's labels of an arm show to be no better than chance; and a pass does not where,
by the labels, the largest loss that there could be would have shown as one within the margin: it could not have come
out otherwise. Where people's labels stand in the estimate, it rests on them and not on the judge alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aftertune.deciding.blocks import Block, blocks
from aftertune.deciding.judge_differences import AN_OUTCOME, decided_on
from aftertune.deciding.labels import AnswerLabel, PeoplesRate, not_read, peoples_rate
from aftertune.deciding.verdict_table import Subject, VerdictTable
from aftertune.numbers import whole_percent
from aftertune.outcome import LEAST_YOUDEN
from aftertune.records import BASE_ARM, Decision, Drift, Metric
from aftertune.stats.prediction_powered import LEAST_IN_STRATUM, MOST_TO_GIVE, labels_needed

NOTHING_APART = "its judge tells nothing apart"
"""What `Decision.beside` says of one."""
ANOTHER_JUDGE = "Put a judge that passes its trial first in the design"
POWER = 0.8
"""Chance that the labels of a remedy show an unchanged arm to have lost no more than the margin."""


@dataclass(frozen=True, slots=True)
class Discernment:
    """Sensitivity + specificity - 1 of a judge on one arm's answers, by people's labels, with its interval."""

    value: float
    low: float
    high: float
    labels: int

    @property
    def is_chance(self) -> bool:
        """Whether the labels show a judge no better than chance: 0 lies within the interval, .5 beyond it."""
        return self.low <= 0 and self.high < LEAST_YOUDEN


@dataclass(frozen=True, slots=True)
class Unreliable:
    """One decision that does not rest on its judge, and why."""

    decided_on: tuple[object, ...]
    why: str
    """A sentence without its full stop."""
    remedy: str = ANOTHER_JUDGE
    """What would settle it instead."""


def by_trial(judge: str, axis: str, trial: Mapping[str, Any]) -> str:
    """Return why nothing is decided by a judge on an axis, from its trial; empty where it passed or is admitted."""
    if not trial.get("failed"):
        return ""
    hits = round(trial["sensitivity"] * trial["n_positive"])
    rejections = round(trial["specificity"] * trial["n_negative"])
    chance = trial["youden_low"] <= 0
    unread = f", and {trial['unjudged']} of all could not be read" if trial.get("unjudged") else ""
    index = f"{trial['youden']:.2f} [{trial['youden_low']:.2f}, {trial['youden_high']:.2f}]"
    return (
        f"the judge {judge} {'is no better than chance' if chance else 'failed its trial'} on {axis}: of "
        f"{trial['n_positive']} known answers that are '{trial['positive']}' it recognised {hits}, of "
        f"{trial['n_negative']} that are not {rejections}{unread} (sensitivity + specificity - 1 is {index}, at least "
        f"{LEAST_YOUDEN} is needed)"
    )


def discernment(block: Block, members: Sequence[int], confidence: float = 0.95) -> Discernment | None:
    """Return how far a judge tells apart what people tell apart, on some subjects' answers.

    None where the labels do not say: fewer than `stats.prediction_powered.LEAST_LABELS`, or than `LEAST_IN_STRATUM` to
    which people give the metric's label, or another one, or of either verdict of a judge that gives both.
    """
    share = float(np.nanmean(block.mean[members])) if np.isfinite(block.mean[members]).any() else math.nan
    if math.isnan(share) or block.labelled is None:
        return None
    people = peoples_rate(block.labelled, members, share, block.clusters, seeds=False, confidence=confidence)
    if not isinstance(people, PeoplesRate):
        return None
    own = np.isin(block.labelled.subject, list(members))
    yes = int((block.labelled.people[own] >= 0.5).sum())
    if min(yes, int(own.sum()) - yes) < LEAST_IN_STRATUM:
        return None
    rate = people.rate
    if share in (0.0, 1.0):  # one verdict for all answers tells nothing apart
        return Discernment(0.0, 0.0, 0.0, rate.labels)
    if min(rate.called.labels, rate.others.labels) < LEAST_IN_STRATUM or not 0 < rate.rate < 1:
        return None
    # With r and m people's rates of the two verdicts and p their mean: Se + Sp - 1 = s (1 - s) (r - m) / (p (1 - p)).
    scale = share * (1 - share) / (rate.rate * (1 - rate.rate))
    apart = rate.called.rate - rate.others.rate
    down = math.hypot(rate.called.rate - rate.called.low, rate.others.high - rate.others.rate)
    up = math.hypot(rate.called.high - rate.called.rate, rate.others.rate - rate.others.low)
    return Discernment(scale * apart, max(scale * (apart - down), -1.0), min(scale * (apart + up), 1.0), rate.labels)


def unreliable(
    verdicts: VerdictTable,
    metrics: Sequence[Metric],
    decisions: Sequence[Decision],
    gated: Sequence[Drift],
    trials: Mapping[tuple[str, str], Mapping[str, Any]],
    labels: Sequence[AnswerLabel],
    by_people: Collection[tuple[object, ...]] = (),
) -> list[Unreliable]:
    """Return the decisions that do not rest on their judge.

    Args:
        verdicts: By all judges.
        metrics: Those decided on.
        decisions: Of the gate.
        gated: The estimates that were decided on.
        trials: (judge, axis) -> its trial, as a judge's job writes it.
        labels: People's.
        by_people: `decided_on` of the decisions whose estimates people's labels stand in: they do not rest on a judge
            alone.
    """
    axis = {metric.name: metric.axis for metric in metrics}
    readable = {metric.name: not not_read(metric) for metric in metrics}
    rows = {_of_row(row): row for row in gated}
    found = list(blocks(verdicts, metrics, labels)) if labels else []
    out = []
    for decision in decisions:
        key = decided_on(decision)
        if not decision.judge or key in by_people or decision.metric not in axis:
            continue
        row = rows.get(_of_row(decision))
        trial = trials.get((decision.judge, axis[decision.metric]), {})
        why, youden = by_trial(decision.judge, axis[decision.metric], trial), trial.get("youden", 0.0)
        if not why:
            why, youden = _by_labels(decision, row, found)
        if why:
            out.append(Unreliable(key, why, _remedy(decision, row, readable[decision.metric], youden)))
    return out


def _remedy(decision: Decision, row: Drift | None, readable: bool, youden: float) -> str:
    """Return what would settle a decision whose judge has this sensitivity + specificity - 1, with how many labels.

    The number is that of `plan`: so many that an arm which lost nothing stays within the margin with a chance of
    `POWER`, where the judge is wrong on as many answers of either class.
    """
    if not readable:
        return f"{ANOTHER_JUDGE}."
    if row is None or row.delta is None or row.low is None or row.high is None or not row.n_clusters:
        return f"{ANOTHER_JUDGE}, or label a sample of the answers (`aftertune label RUN`)."
    wrong = min(max((1 - youden) / 2, 0.0), 0.5)
    ends = (row.delta - row.low, row.high - row.delta)
    share = row.base if row.base is not None else 0.5
    number = labels_needed(
        ends[int(row.worse == "up")], decision.margin, (share, share), row.n_clusters,
        error=wrong, confidence=row.confidence, power=POWER, most=MOST_TO_GIVE,
    )  # fmt: skip
    shows = f"show that an unchanged arm lost no more than the margin, with a chance of {whole_percent(POWER)}"
    if number is None:
        return (
            f"{ANOTHER_JUDGE}, and ask more prompts or seeds: no number of labels up to {MOST_TO_GIVE:,} an arm would "
            f"{shows}."
        )
    return (
        f"{ANOTHER_JUDGE}, or label about {number:,} answers of either arm (`aftertune label RUN`). They {shows}, "
        f"where a judge is wrong on {whole_percent(wrong)}."
    )


def _by_labels(decision: Decision, row: Drift | None, found: Sequence[Block]) -> tuple[str, float]:
    """Return why a decision by a judge alone does not rest on it, by people's labels of either arm, and the judge's
    sensitivity + specificity - 1 there; empty where it does."""
    block = next(
        (
            each
            for each in found
            if (each.metric.name, each.base_model, each.judge, each.temperature)
            == (decision.metric, decision.base_model, decision.judge, decision.temperature or 0.0)
        ),
        None,
    )
    if block is None or row is None:
        return "", 0.0
    for arm in (decision.arm, BASE_ARM):
        members = [at for at, subject in enumerate(block.subjects) if _is_of(subject, decision, arm)]
        known = discernment(block, members, row.confidence) if members else None
        if known is None:
            continue
        whose = "the base" if arm == BASE_ARM else arm
        numbers = (
            f"(sensitivity + specificity - 1 is {known.value:.2f} [{known.low:.2f}, {known.high:.2f}] on "
            f"{known.labels} labelled answers)"
        )
        if known.is_chance:
            why = f"by people's labels of {whose} the judge {decision.judge} is no better than chance {numbers}"
            return why, known.value
        room = None if row.base is None or not row.is_proportion else 1 - row.base if row.worse == "up" else row.base
        if decision.outcome == "pass" and room is not None and known.high * room <= decision.margin:
            why = (
                f"by people's labels of {whose} the judge {decision.judge} errs so often that the largest possible "
                f"loss would show as {100 * known.high * room:.1f} points at most, within the margin {numbers}: "
                "this pass could not have come out otherwise"
            )
            return why, known.value
    return "", 0.0


def _is_of(subject: Subject, decision: Decision, arm: str) -> bool:
    if arm == BASE_ARM:
        return subject.arm == arm
    if decision.estimand == "recipe":
        return (subject.arm, subject.recipe, subject.epoch) == (arm, decision.recipe, decision.epoch)
    return subject.arm == arm and subject.checkpoint == (decision.checkpoint or "")


def _of_row(row: Drift | Decision) -> tuple[object, ...]:
    names = ("metric", "estimand", "base_model", "arm", "recipe", "checkpoint", "epoch", "temperature", "judge")
    return tuple(getattr(row, name) for name in names)


def resting_on_nothing(decisions: Sequence[Decision], told: Sequence[Unreliable]) -> list[Decision]:
    """Return decisions of which those that do not rest on their judge are undecided, and say why."""
    of = {each.decided_on: each for each in told}
    return [_open(each, of[decided_on(each)]) if decided_on(each) in of else each for each in decisions]


def _open(decision: Decision, told: Unreliable) -> Decision:
    said = told.why[:1].upper() + told.why[1:]
    if decision.outcome in ("undecided", "error"):
        why = f"{decision.why} {said}: nothing would be decided by it."
        return dataclasses.replace(decision, why=why, remedy=told.remedy, beside=_and_the_judge(decision))
    alone = f"So nothing is decided by it; it alone would make this {AN_OUTCOME[decision.outcome]}: {decision.why}"
    return dataclasses.replace(
        decision,
        outcome="undecided",
        why=f"{said}. {alone}",
        reason=NOTHING_APART,
        remedy=told.remedy,
        beside=_and_the_judge(decision),
    )


def _and_the_judge(decision: Decision) -> str:
    return f"{decision.beside}, and {NOTHING_APART}" if decision.beside else NOTHING_APART


def warnings(
    trials: Mapping[tuple[str, str], Mapping[str, Any]], told: Sequence[Unreliable], decisions: Sequence[Decision]
) -> list[str]:
    """Return a sentence for each judge and axis, or arm, whose error makes its verdicts worthless, for a first page."""
    names: dict[str, dict[str, None]] = {}
    metric_of = {decided_on(decision): decision.metric for decision in decisions}
    for (judge, axis), trial in trials.items():
        if why := by_trial(judge, axis, trial):
            names[why] = {}
    for each in told:
        names.setdefault(each.why, {})[metric_of[each.decided_on]] = None
    lines = []
    for why, metrics in names.items():
        end = "nothing is decided by it"
        if metrics:
            end = f"{', '.join(metrics)} {'are' if len(metrics) > 1 else 'is'} not decided by it"
        lines.append(f"Worthless verdicts: {why}. They are shown, and {end}.")
    return lines
