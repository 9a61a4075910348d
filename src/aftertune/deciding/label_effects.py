"""What people's labels changed: each estimate that is decided on, by the judge alone and with the labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from aftertune import direction
from aftertune.deciding.blocks import Block, blocks
from aftertune.deciding.decision import LabelNoise, remedy
from aftertune.deciding.judge_differences import AN_OUTCOME, decided_on
from aftertune.deciding.labels import JUDGE_ALONE, AnswerLabel, PeoplesRate, peoples_rate
from aftertune.deciding.verdict_table import Subject, VerdictTable
from aftertune.findings import JudgeError, LabelEffect
from aftertune.numbers import SHARES, TEXT, count
from aftertune.records import BASE_ARM, Decision, Drift, Metric
from aftertune.stats.estimate import t_quantile

Key = tuple[object, ...]


def label_effects(
    verdicts: VerdictTable,
    metrics: Sequence[Metric],
    labels: Sequence[AnswerLabel],
    judged: tuple[Sequence[Drift], Sequence[Decision]],
    labelled: tuple[Sequence[Drift], Sequence[Decision]],
) -> list[LabelEffect]:
    """Return what labels changed of each decision whose estimate uses them.

    Args:
        verdicts: By all judges.
        metrics: Those decided on.
        labels: People's.
        judged: Drifts and decisions by the judges alone.
        labelled: The same with the labels.
    """
    before = {_key(row): row for row in judged[0]}
    after = {_key(row): row for row in labelled[0]}
    outcomes = {decided_on(each): each.outcome for each in judged[1]}
    found = list(blocks(verdicts, metrics, labels))
    effects = []
    for decision in labelled[1]:
        key = _key(decision)
        one, other = before.get(key), after.get(key)
        if one is None or other is None or one.method == other.method:
            continue
        errors = _errors(found, other)
        if errors is None or one.delta is None or other.delta is None:
            continue
        effects.append(
            LabelEffect(
                metric=decision.metric,
                unit=decision.unit,
                estimand=decision.estimand,
                temperature=decision.temperature,
                worse=other.worse,
                judge=decision.judge,
                confidence=other.confidence,
                judged=one.delta,
                judged_low=one.low or 0.0,
                judged_high=one.high or 0.0,
                judged_outcome=outcomes[decided_on(decision)],
                delta=other.delta,
                low=other.low or 0.0,
                high=other.high or 0.0,
                outcome=decision.outcome,
                base=errors[0],
                tuned=errors[1],
            )
        )
    return effects


def judge_errors(verdicts: VerdictTable, metrics: Sequence[Metric], labels: Sequence[AnswerLabel]) -> dict[str, float]:
    """Return metric -> share of the answers on which its judges are wrong, in the arm with the most, by labels."""
    found: dict[str, float] = {}
    for block in blocks(verdicts, metrics, labels):
        for arm in {subject.arm for subject in block.subjects}:
            members = [i for i, subject in enumerate(block.subjects) if subject.arm == arm]
            share = float(np.nanmean(block.mean[members]))
            people = peoples_rate(block.labelled, members, share, block.clusters, seeds=False, confidence=0.95)
            if isinstance(people, PeoplesRate):
                called, others = people.rate.called, people.rate.others
                wrong = called.share * (1 - called.rate) + others.share * others.rate
                found[block.metric.name] = max(wrong, found.get(block.metric.name, 0.0))
    return found


def _key(about: Drift | Decision) -> Key:
    names = ("metric", "estimand", "base_model", "arm", "recipe", "checkpoint", "epoch", "temperature", "judge")
    return tuple(getattr(about, name) for name in names)


def _errors(found: Sequence[Block], row: Drift) -> tuple[JudgeError, JudgeError] | None:
    """Return what labels say of the judge in the base and in the tuned model of an estimate."""
    for block in found:
        if (block.metric.name, block.base_model, block.judge, block.temperature) != (
            row.metric, row.base_model, row.judge, row.temperature,
        ):  # fmt: skip
            continue
        members = [i for i, subject in enumerate(block.subjects) if _is_of(subject, row)]
        bases = block.bases(members)
        if not members or bases is None:
            return None
        sides = []
        for name, rows in ((BASE_ARM, list(dict.fromkeys(bases))), (row.arm, members)):
            seeds = row.estimand == "recipe" and len(rows) > 1
            share = float(np.nanmean(block.mean[rows]))
            people = peoples_rate(block.labelled, rows, share, block.clusters, seeds=seeds, confidence=row.confidence)
            if not isinstance(people, PeoplesRate):
                return None
            called, others = people.rate.called, people.rate.others
            sides.append(
                JudgeError(
                    arm=name, labels=people.rate.labels, called=called.share, right=called.rate, right_low=called.low,
                    right_high=called.high, missed=others.rate, missed_low=others.low, missed_high=others.high,
                )
            )  # fmt: skip
        return sides[0], sides[1]
    return None


def _is_of(subject: Subject, row: Drift) -> bool:
    if row.estimand == "recipe":
        of = (subject.arm, subject.recipe, subject.epoch)
        return subject.train_seed is not None and of == (row.arm, row.recipe, row.epoch)
    return subject.arm == row.arm and subject.checkpoint == (row.checkpoint or "")


def with_label_effects(
    decisions: Sequence[Decision], effects: Sequence[LabelEffect], rows: Sequence[Drift]
) -> list[Decision]:
    """Return decisions whose `why` ends with what the judge alone gives, and whose `remedy` knows the labels' noise.

    `rows` are the estimates with labels. Where more prompts or seeds would settle a decision, labels may too, or alone.
    """
    found = {(each.metric, each.unit, each.estimand, each.temperature): each for each in effects}
    of = {_key(row): row for row in rows}
    told = []
    for decision in decisions:
        effect = found.get((decision.metric, decision.unit, decision.estimand, decision.temperature))
        if effect is not None:
            why = f"{decision.why} Judge and people: {sentence(effect)}"
            decision = dataclasses.replace(decision, why=why, remedy=_remedy(decision, effect, of[_key(decision)]))
        told.append(decision)
    return told


def _remedy(decision: Decision, effect: LabelEffect, row: Drift) -> str:
    """Return what would settle a decision, the labels' part of its error told from that of prompts and seeds."""
    if decision.tested_at is None or not decision.remedy:
        return decision.remedy
    plain = remedy(row, decision.margin, decision.tested_at)
    if not decision.remedy.endswith(plain):
        return decision.remedy  # something else keeps it open
    # The prompts' part is that of the judge's own estimate, as far as people's rates tell its verdicts apart.
    slopes = [side.right - side.missed for side in (effect.base, effect.tuned)]
    slope = min(max(*slopes, 0.0), 1.0)
    upwards = (direction.loss(row.delta, row.worse) <= decision.margin) == (row.worse == "up")
    half = effect.high - effect.delta if upwards else effect.delta - effect.low
    alone = effect.judged_high - effect.judged if upwards else effect.judged - effect.judged_low
    quantile = float(t_quantile(row.confidence, math.inf if row.df is None else row.df))
    error = math.sqrt(max(half**2 - (slope * alone) ** 2, 0.0)) / quantile
    noise = LabelNoise(error, min(effect.base.labels, effect.tuned.labels))
    return decision.remedy.removesuffix(plain) + remedy(row, decision.margin, decision.tested_at, noise)


def sentence(effect: LabelEffect) -> str:
    """Return what labels changed about one estimate, in one sentence with the numbers."""
    text = (
        f"{_estimate(effect.judged, effect.judged_low, effect.judged_high)} points by {effect.judge} alone, "
        f"{_estimate(effect.delta, effect.low, effect.high)} points with {effect.base.labels:,} labels of the base and "
        f"{effect.tuned.labels:,} of {effect.unit}"
    )
    if effect.overturned:
        text += f": {AN_OUTCOME[effect.outcome]}, where the judge alone gives {AN_OUTCOME[effect.judged_outcome]}"
    return f"{text}."


def error_sentence(effect: LabelEffect) -> str:
    """Return how far people agree with the judge in either arm."""
    parts = []
    for each in (effect.base, effect.tuned):
        said = []
        if each.called > 0:
            said.append(f"confirm {_rate(each.right, each.right_low, each.right_high)} of what it calls so")
        if each.called < 1:
            said.append(f"add {_rate(each.missed, each.missed_low, each.missed_high)} of the rest")
        parts.append(f"of {'the base' if each.arm == BASE_ARM else each.arm}, people {' and '.join(said)}")
    return "; ".join(parts)


def summary(effects: Sequence[LabelEffect]) -> str:
    """Return how many decisions rest on labels, and how many they changed; empty without any."""
    if not effects:
        return ""
    changed = sum(each.overturned for each in effects)
    said = "none of them" if not changed else f"{changed:,} of them"
    return f"People's labels stand in {count(len(effects), 'decision')}; {said} would be another by the judge alone."


def unused(drifts: Sequence[Drift], decisions: Sequence[Decision]) -> str:
    """Return which of the estimates that are decided on have labels that are too few to be used; empty without any."""
    decided = {(each.metric, each.estimand, each.arm) for each in decisions}
    said = {
        f"{row.metric}, {row.arm} ({part})"
        for row in drifts
        if (row.metric, row.estimand, row.arm) in decided
        for part in row.warning.split("; ")
        if part.startswith(JUDGE_ALONE)
    }
    named = ", ".join(sorted(said)[:_NAMED]) + (f" and {len(said) - _NAMED:,} more" if len(said) > _NAMED else "")
    return f"People's labels are not used for {named}." if said else ""


_NAMED = 3
"""Estimates that a warning names."""


def lines(effects: Sequence[LabelEffect]) -> list[str]:
    """Return what labels changed as lines of text."""
    return [
        f"labels: {each.metric}, {each.unit}: {sentence(each)} Judge {each.judge}: {error_sentence(each)}."
        for each in effects
    ]


def _estimate(value: float, low: float, high: float) -> str:
    return f"{TEXT.shift(value, SHARES)} [{TEXT.shift(low, SHARES)}, {TEXT.shift(high, SHARES)}]"


def _rate(value: float, low: float, high: float) -> str:
    return f"{TEXT.rate(value, SHARES)} [{100 * low:.0f}, {100 * high:.0f}]"
