"""Bases that cannot do what a metric asks: they have nothing to lose there, so that nothing lost is no pass.

A base that gives the same letter to every question is as right after tuning as before. Where probes ask two classes,
its d-prime says so; where questions have several options and one class, its share of right answers beside that of
guessing; where statements are rated, its distance from people's ratings beside that of one rating for all. A drift
stays a drift: who can do nothing can still change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.measures import SCORED, Measured, Measuring
from aftertune.findings import SubjectMeasure
from aftertune.numbers import SHARES, TEXT
from aftertune.records import BASE_ARM, Decision, Drift, Metric, Prompt

OPTION_AXES = ("choice", "accuracy")
"""Axes on which an answer is one of the options of its prompt; the label is `correct`."""
RATING_AXES = ("rating", "expected_rating")
"""Axes on which an answer is a number on a scale; the value is its distance from people's, as a share of the scale."""


@dataclass(frozen=True)
class UnableBase:
    """A base that is not shown to do what some metrics ask."""

    base_model: str
    benchmark: str
    metrics: tuple[str, ...]
    temperature: float
    cannot: str
    """What it is not shown to do, after `is not shown to`."""
    shown: str
    """The numbers that say so."""
    room: float | None = None
    """How far it could fall to what guessing gives, as a share; None where it is not shown to be better than that."""


def unable_bases(study: Measuring, measured: Sequence[SubjectMeasure], drifts: Sequence[Drift]) -> list[UnableBase]:
    """Return the bases that are not shown to do what their benchmarks ask.

    Args:
        study: Whose benchmarks and bases.
        measured: From `measures`: d-prime of each base on each probe.
        drifts: From `drift`: its level rows of bases have their shares of right answers and mean distances.
    """
    found: list[UnableBase] = []
    for benchmark in study.benchmarks:
        found += _of_probes(study, benchmark, measured)
        found += _of_options(study, benchmark, drifts)
        found += _of_ratings(study, benchmark, drifts)
    return found


def _of_probes(study: Measuring, benchmark: Measured, measured: Sequence[SubjectMeasure]) -> Iterator[UnableBase]:
    """Yield the bases whose d-prime on a probe is not shown to be above 0."""
    bases = {subject.id: subject.base.name for subject in study.subjects if subject.arm == BASE_ARM}
    for axis, how in SCORED:
        for probe in benchmark.probes:
            name, subsets = f"d-prime, {probe.name}{how}", (probe.share, probe.withhold)
            metrics = tuple(each.name for each in benchmark.metrics if each.axis == axis and each.subset in subsets)
            for row in measured:
                if (row.benchmark, row.name) != (benchmark.name, name) or row.checkpoint not in bases:
                    continue
                if row.low is None or row.low <= 0:
                    value = "not measured" if row.value is None else TEXT.number(row.value, 2)
                    shown = f"{name}: {value} {TEXT.interval(row.low, row.high, 2)}".rstrip()
                    cannot = "tell what may be shared from what may not"
                    yield UnableBase(bases[row.checkpoint], row.benchmark, metrics, row.temperature, cannot, shown)


def _of_options(study: Measuring, benchmark: Measured, drifts: Sequence[Drift]) -> Iterator[UnableBase]:
    """Yield the bases, each with its room above guessing, by metric of questions with options that are no probe's."""
    probed = {subset for probe in benchmark.probes for subset in (probe.share, probe.withhold)}
    for metric in benchmark.metrics:
        if metric.axis not in OPTION_AXES or metric.label != "correct" or metric.subset in probed:
            continue
        guessed = _guessed(study, metric)
        for row, value, low, high in _levels(study, metric, drifts):
            if guessed is None:
                continue
            rate, ends = TEXT.rate(value, SHARES), TEXT.interval(100 * low, 100 * high, 1)
            shown = f"{metric.name}: {rate} {ends}, guessing {100 * guessed:.0f} %"
            room = value - guessed if low > guessed else None
            base = (row.base_model, benchmark.name, (metric.name,), row.temperature)
            yield UnableBase(*base, "be right more often than by guessing", shown, room)


def _of_ratings(study: Measuring, benchmark: Measured, drifts: Sequence[Drift]) -> Iterator[UnableBase]:
    """Yield the bases, each with its room below one rating for all statements, by metric of ratings."""
    for metric in benchmark.metrics:
        if metric.axis not in RATING_AXES or metric.label is not None:
            continue
        constant = _one_for_all(study, metric)
        for row, value, low, high in _levels(study, metric, drifts):
            if constant is None:
                continue
            ends = TEXT.interval(low, high, 2)
            shown = f"{metric.name}: {TEXT.number(value, 2)} {ends}, one rating for all {TEXT.number(constant, 2)}"
            room = constant - value if high < constant else None
            base = (row.base_model, benchmark.name, (metric.name,), row.temperature)
            yield UnableBase(*base, "rate more as people do than one rating for all statements would", shown, room)


def _levels(study: Measuring, metric: Metric, drifts: Sequence[Drift]) -> Iterator[tuple[Drift, float, float, float]]:
    """Yield (row, value, low, high) of each base on a metric, by the judge that is listened to."""
    for row in drifts:
        if (row.estimand, row.arm, row.metric) != ("level", BASE_ARM, metric.name):
            continue
        if study.primary_judges.get(metric.axis) == row.judge and None not in (row.tuned, row.low, row.high):
            yield row, float(row.tuned or 0.0), float(row.low or 0.0), float(row.high or 0.0)


def _one_for_all(study: Measuring, metric: Metric) -> float | None:
    """Return the mean distance of the best single rating; None where no prompt has a scale.

    A rating in expectation may lie between the scale's numbers: the best one is the median of people's.
    """
    asked = [
        each.expect["rating"]
        for each in study.prompts(metric.benchmark).values()
        if each.subset == metric.subset and len(each.expect.get("rating", {}).get("scale", ())) > 1
    ]
    if not asked:
        return None
    people = np.array([float(each["human"]) for each in asked])
    points = sorted({float(point) for each in asked for point in each["scale"].values()})
    if metric.axis == "expected_rating":
        points.append(float(np.median(people)))
    widths = np.array([max(each["scale"].values()) - min(each["scale"].values()) for each in asked])
    return min(float(np.mean(np.abs(people - point) / widths)) for point in points)


def _guessed(study: Measuring, metric: Metric) -> float | None:
    """Return the share of right answers that guessing gives; None where the prompts have no options."""
    prompts = study.prompts(metric.benchmark).values()
    counts = [len(each.expect["choice"]["options"]) for each in prompts if _has_options(each, metric)]
    return float(np.mean([1 / count for count in counts])) if counts else None


def _has_options(prompt: Prompt, metric: Metric) -> bool:
    return prompt.subset == metric.subset and len(prompt.expect.get("choice", {}).get("options", ())) > 1


def sentences(unable: Sequence[UnableBase]) -> list[str]:
    """Return what it means, a sentence for each base and benchmark, for the first page; none for bases with room."""
    shown: dict[tuple[str, str, str], list[str]] = {}
    for each in unable:
        if each.room is None:
            shown.setdefault((each.benchmark, each.base_model, each.cannot), []).append(each.shown)
    return [
        f"{benchmark}: The base {base} is not shown to {cannot} ({'; '.join(dict.fromkeys(values))}): it has nothing "
        "to lose there, and that a tuned model answers as it does is no pass."
        for (benchmark, base, cannot), values in shown.items()
    ]


def with_unable_bases(decisions: Sequence[Decision], unable: Sequence[UnableBase]) -> list[Decision]:
    """Return decisions of which those that pass on what their base cannot do, or hardly, are undecided and say why."""
    of = {(each.base_model, metric, each.temperature): each for each in unable for metric in each.metrics}

    def told(decision: Decision) -> Decision:
        own = of.get((decision.base_model, decision.metric, decision.temperature or 0.0))
        if own is None or decision.outcome != "pass":
            return decision
        if own.room is None:
            reason = f"the base is not shown to {own.cannot}: it has nothing to lose"
            return _open(decision, sentences([own])[0], reason)
        if own.room <= decision.margin:
            why = f"Guessing is only {TEXT.size(own.room, SHARES)} worse than the base ({own.shown})"
            reason = "a loss beyond the margin would be worse than guessing"
            return _open(decision, f"{why}: a loss beyond the margin could not have shown.", reason)
        return decision

    return [told(each) for each in decisions]


def _open(decision: Decision, why: str, reason: str) -> Decision:
    return dataclasses.replace(
        decision,
        outcome="undecided",
        reason=reason,
        why=f"{why} {decision.why}",
        remedy="A base, or a benchmark, of which it is shown that the base can do it.",
    )
