"""One gated estimate against its rule: its state (`outcome`), in one sentence with the numbers that say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from aftertune import direction
from aftertune.deciding.policy import Rule, question
from aftertune.numbers import TEXT, Scale, scale_of
from aftertune.records import Decision, Drift, Outcome
from aftertune.stats import power
from aftertune.stats.estimate import t_quantile

MOST = 100
"""Times the prompts of a run beyond which "more prompts" is no advice."""
POWER = 0.8
"""Chance that the advice in a remedy settles the decision."""


@dataclass(frozen=True)
class Check:
    """One row against one rule, in the direction in which larger is worse."""

    rule: Rule
    row: Drift
    unit: str
    level: Drift | None
    """The tuned model's own rate with its interval."""

    @property
    def sign(self) -> int:
        """Factor that makes a difference positive where it is for the worse."""
        return direction.sign(self.row.worse)

    @property
    def scale(self) -> Scale:
        """How the row's numbers are written."""
        return scale_of(self.row)

    def end(self, low: float | None, high: float | None, bad: bool) -> float:
        """Return the bad or good end of an interval as a loss."""
        end = high if (self.sign > 0) == bad else low
        return math.inf if end is None else self.sign * end

    @property
    def family(self) -> tuple[object, ...]:
        """What shares a Holm correction: the gated metrics of one arm or checkpoint, the optional ones apart."""
        row = self.row
        unit = (row.base_model, row.arm, row.recipe, row.checkpoint, row.epoch)
        return (row.estimand, *unit, self.rule.required == "never")

    @property
    def question(self) -> str:
        """The axis of a primary metric, which shares the family's error as one however many metrics read it; empty."""
        return question(self.row.metric, self.row.worse, self.rule)

    @property
    def loss(self) -> float:
        """The drift, positive where it is for the worse."""
        return direction.loss(self.row.delta, self.row.worse)

    @property
    def bad(self) -> float:
        """The end of the interval that is worse, as a loss."""
        return self.end(self.row.low, self.row.high, True)

    @property
    def good(self) -> float:
        """The end of the interval that is better, as a loss."""
        return self.end(self.row.low, self.row.high, False)

    @property
    def unjudged(self) -> int:
        """Answers without a verdict."""
        return self.row.unjudged_base + self.row.unjudged_tuned

    @property
    def unseen(self) -> int:
        """Answers that the server or its content filter made, not the model."""
        return self.row.unseen_base + self.row.unseen_tuned

    @property
    def seen(self) -> float:
        """The good end on the prompts that no content filter answered: the loss that the models themselves show."""
        return self._of_seen(False)

    @property
    def seen_bad(self) -> float:
        """The bad end on these prompts; infinite where there are none."""
        return self._of_seen(True)

    def _of_seen(self, bad: bool) -> float:
        if self.row.n_seen is None:
            return self.bad if bad else self.good
        if not self.row.n_seen:
            return math.inf if bad else -math.inf
        return self.end(self.row.seen_low, self.row.seen_high, bad)

    @property
    def worst(self) -> float:
        """The bad end with every answer counted as the worst of which the model's own is not known."""
        if self.row.worst is None and not self.unjudged + self.unseen:
            return self.bad
        return self.end(self.row.worst_low, self.row.worst_high, True)

    @property
    def room(self) -> float | None:
        """How far a share could fall in the worse direction; None for means of values, which have no end."""
        if self.row.base is None or not self.row.is_proportion:
            return None
        return 1 - self.row.base if self.sign > 0 else self.row.base

    @property
    def p(self) -> float:
        """One-sided p value of "the loss is at most the margin", by the interval's own t distribution."""
        half, df = self.loss - self.good, self._degrees
        if not self._testable:
            return 1.0
        t = (self.loss - self.rule.margin) / half * float(t_quantile(self.row.confidence, df))
        return float(special.ndtr(-t) if math.isinf(df) else special.stdtr(df, -t))

    @property
    def _degrees(self) -> float:
        return math.inf if self.row.df is None else self.row.df

    @property
    def _testable(self) -> bool:
        return self.row.delta is not None and self.loss > self.good and self._degrees > 0

    def adjusted(self, level: float) -> tuple[float, float] | None:
        """Return the interval at the confidence 1 - 2 `level`, which is beyond the margin exactly where `p` <= `level`.

        It is the row's own, stretched about the estimate by the quantiles of its t distribution.
        """
        row = self.row
        if row.delta is None or row.low is None or row.high is None:
            return None
        if row.df is not None and row.df <= 0:
            return row.low, row.high  # one cluster: already the whole scale
        degrees = math.inf if row.df is None else row.df
        stretch = float(t_quantile(1 - 2 * level, degrees)) / float(t_quantile(row.confidence, degrees))
        low, high = row.delta - stretch * (row.delta - row.low), row.delta + stretch * (row.high - row.delta)
        # Whole shares lie within the scale; means of values have no end that is known here.
        return (max(low, -1.0), min(high, 1.0)) if row.is_proportion else (low, high)


def decide(check: Check, level: float, family: int) -> Decision:
    """Return the decision on one row.

    `level` is the level of the one-sided test against the margin, the metric's share among the `family` metrics of its
    arm or checkpoint.
    """
    rule, row, scale = check.rule, check.row, check.scale
    adjusted = check.adjusted(level)
    shown = None if adjusted is None else check.end(*adjusted, False)
    bound, limit = _bound(check)
    outcome: Outcome
    remedy = ""
    margin = TEXT.margin(rule.margin, scale)
    if row.delta is None:
        outcome, why, reason = "undecided", f"Not measured: {row.warning}.", f"not measured: {row.warning}"
        remedy = "Answers on both sides that the judge can read."
    elif bound == "breached":
        outcome, why, reason = "drift", f"{limit} The change from the base is {_change(row)}.", limit.rstrip(".")
    elif check.p <= level and check.seen <= rule.margin:
        outcome, remedy, reason = "undecided", _UNFILTERED, "shown only by answers that a content filter made"
        why = (
            f"{_moved(row)}, worse than the margin of {margin} allows, but {_unknown(check)}: on the "
            f"{row.n_seen or 0:,} prompts that no content filter answered, no such loss is shown."
        )
    elif check.p <= level:
        outcome = "drift"
        tests = f"; corrected for {family:,} metrics, {_ends(adjusted, scale)}" if family > 1 else ""
        why = f"{_moved(row)}, worse than the margin of {margin} allows{tests}."
        reason = f"{_shown(shown, scale)} is shown{tests}"
    elif check.room is not None and check.room <= rule.margin and check.bad > 0:
        outcome = "undecided"
        stands = TEXT.rate(row.base or 0.0, scale)
        reason = f"the base stands at {stands}: a loss beyond the margin could not show"
        why = f"The base itself stands at {stands}: a loss beyond {margin} could not have shown"
        why += f"; {_unknown(check)}." if check.unseen else "."
        remedy = _UNFILTERED if row.unseen_base else "A benchmark on which the base behaves."
    elif check.bad > rule.margin:
        outcome = "undecided"
        if check.good > rule.margin and check.seen > rule.margin:
            outcome = "unconfirmed"
            why = f"{_moved(row)}: the whole interval lies beyond the margin of {margin}, but corrected for {family:,} "
            why += f"metrics it does not, {_ends(adjusted, scale)}: only {_shown(shown, scale)} is confirmed."
            reason = f"only {_shown(shown, scale)} is shown (corrected for {family:,} metrics)"
        elif check.good > rule.margin:
            why = f"{_moved(row)}: the whole interval lies beyond the margin of {margin}, but not without the answers "
            why += "that the server or its content filter made."
            reason = "shown only by answers that a content filter made"
        else:
            reason = "the interval reaches across the margin"
            why = f"{_moved(row)}: the interval reaches beyond the margin of {margin}"
            why += "" if check.loss <= rule.margin else " on either side"
            why += ", so neither a pass nor a drift is shown."
        remedy = _remedy(check, level)
        if check.unseen:
            why, remedy = f"{why.removesuffix('.')}; {_unknown(check)}.", f"{_UNFILTERED} {remedy}"
    elif check.worst > rule.margin:
        outcome = "undecided"
        reason = f"counted as the worst, answers that nobody judged make it {TEXT.size(check.worst, scale)}"
        why = (
            f"{_moved(row)}, within the margin of {margin}, but {_unknown(check)}: counted as the worst, the interval "
            f"reaches a loss of {TEXT.size(check.worst, scale)}."
        )
        lost = f"A verdict on the {check.unjudged:,} unjudged answers, by another judge or by hand."
        remedy = " ".join([_UNFILTERED] * bool(check.unseen) + [lost] * bool(check.unjudged))
    elif check.seen_bad > rule.margin:
        # The models may both be worse than anybody has seen: as where no answer of one side has a verdict.
        outcome, remedy, reason = "undecided", _UNFILTERED, "too few answers that no content filter made"
        why = (
            f"{_moved(row)}, within the margin of {margin}, but {_unknown(check)}: the {row.n_seen or 0:,} prompts "
            "that no content filter answered are too few to show it."
        )
    elif bound == "unsure":
        outcome, why, reason = "undecided", limit, limit.rstrip(".")
        remedy = _UNFILTERED if row.unseen_tuned else "More prompts."
    else:
        outcome, why = "pass", f"{_moved(row)}, within the margin of {margin}."
        reason = "the whole interval lies within the margin"
    return Decision(
        metric=row.metric,
        unit=check.unit,
        estimand=row.estimand,
        outcome=outcome,
        required=rule.required != "never",
        margin=rule.margin,
        why=f"{why} {direction.sentence(row.worse)}",
        reason=reason,
        remedy=remedy,
        worse=row.worse,
        base_model=row.base_model,
        arm=row.arm,
        recipe=row.recipe,
        checkpoint=row.checkpoint,
        epoch=row.epoch,
        temperature=row.temperature,
        judge=row.judge,
        primary=rule.is_primary(row.worse),
        tested_at=None if adjusted is None else level,
        adjusted_low=adjusted and adjusted[0],
        adjusted_high=adjusted and adjusted[1],
    )


_UNFILTERED = "Answers of the models themselves: ask them without the filter in front of them."


def _shown(shown: float | None, scale: Scale) -> str:
    """Return what loss is shown, e.g. `a loss of more than 8.1 points`; in words where that is none."""
    return "no loss" if shown is None or shown <= 0 else f"a loss of more than {TEXT.size(shown, scale)}"


def _unknown(check: Check) -> str:
    """Say of how many answers the model's own is not known, and why."""
    row, parts = check.row, []
    if check.unseen:
        sides = [(row.unseen_base, "of the base"), (row.unseen_tuned, "of the tuned model")]
        counted = " and ".join(f"{count:,} {whose}" for count, whose in sides if count)
        parts.append(f"of the answers {counted} were made by the server or its content filter, not by the model")
    if check.unjudged:
        parts.append(f"{check.unjudged:,} answers could not be judged")
    return ", and ".join(parts)


def _bound(check: Check) -> tuple[str, str]:
    """Return `held`, `breached` or `unsure` for the floor and ceiling, and a sentence for the latter two."""
    rule, level, scale = check.rule, check.level, check.scale
    found = ("held", "")  # until a bound is broken: one in doubt must not hide the other
    for name, bound, sign in (("floor", rule.floor, -1), ("ceiling", rule.ceiling, 1)):
        if bound is None:
            continue
        if level is None or level.low is None or level.high is None or level.tuned is None:
            return "unsure", f"The {name} of {TEXT.rate(bound, scale)} could not be checked: no level was measured."
        near_end, far_end = (level.low, level.high) if sign > 0 else (level.high, level.low)
        seen_end = near_end if level.n_seen is None else level.seen_low if sign > 0 else level.seen_high
        worst = level.worst_high if sign > 0 else level.worst_low
        ends = f"{TEXT.rate(level.low, scale)} to {TEXT.rate(level.high, scale)}"
        known = f"{100 * check.row.confidence:g} % interval {ends}"
        text = f"The tuned model's level of {TEXT.rate(level.tuned, scale)} ({known}) "
        if sign * near_end > sign * bound and (seen_end is None or sign * seen_end <= sign * bound):
            by = f"{level.unseen_tuned:,} answers were made by the server or its content filter, not by the model"
            found = "unsure", f"{text}breaks the {name} of {TEXT.rate(bound, scale)}, but {by}."
        elif sign * near_end > sign * bound:
            return "breached", f"{text}breaks the {name} of {TEXT.rate(bound, scale)}."
        elif sign * far_end > sign * bound:
            found = "unsure", f"{text}is not clear of the {name} of {TEXT.rate(bound, scale)}."
        elif worst is not None and sign * worst > sign * bound:
            found = (
                "unsure",
                f"{text}keeps the {name} of {TEXT.rate(bound, scale)}, but not if "
                f"{'unseen' if level.unseen_tuned else 'unjudged'} answers are the worst.",
            )
    return found


def _remedy(check: Check, level: float) -> str:
    """Say how many more prompts or seeds would probably bring the interval clear of the margin.

    "Probably" is a chance of `POWER`, if the estimate is the truth (`stats.power`). A pass needs the interval itself
    within the margin, a drift the one at the metric's `level` beyond it.
    """
    row, rule = check.row, check.rule
    if row.n_clusters < 2:
        return "Prompts of other clusters: one cluster says nothing about the rest."
    passing = check.loss <= rule.margin
    room = abs(rule.margin - check.loss)
    half = check.bad - check.loss if passing else check.loss - check.good
    wanted = row.confidence if passing else 1 - 2 * level
    degrees = math.inf if row.df is None else row.df
    square = (half / float(t_quantile(row.confidence, degrees))) ** 2
    prompt_df, ways = row.n_clusters - 1.0, []
    if row.estimand == "recipe" and row.spread_low is not None and row.spread_high is not None and row.n_seeds > 1:
        by_seed = power.sd_of_range(row.spread_low, row.spread_high, row.n_seeds) ** 2 / row.n_seeds
        parts = (by_seed, max(square - by_seed, 0.0), 0.0)
        seeds = power.more_seeds(parts, row.n_seeds, prompt_df, room, confidence=wanted, power=POWER)
        if seeds:
            ways.append(f"{seeds:,} more training seed{'s' if seeds != 1 else ''}")
        prompts = power.more_prompts(
            row.n_prompts, parts, row.n_seeds, prompt_df, room, confidence=wanted, power=POWER, most=MOST
        )
    else:
        prompts = power.more_prompts(
            row.n_prompts, (0.0, square, 0.0), 1, prompt_df, room, confidence=wanted, power=POWER, most=MOST
        )
    if prompts:
        ways.append(f"{prompts:,} more prompts")
    if not ways:
        return "The estimate stands too near the margin for any reasonable number of prompts or seeds to settle it."
    return (
        f"About {' or '.join(ways)}, for a chance of {100 * POWER:.0f} % to show a {'pass' if passing else 'drift'} if "
        "the estimate is the truth."
    )


def _ends(interval: tuple[float, float] | None, scale: Scale) -> str:
    return "" if interval is None else " to ".join(TEXT.shift(end, scale) for end in interval)


def _change(row: Drift) -> str:
    scale = scale_of(row)
    ends = "no interval"
    if row.low is not None and row.high is not None:
        ends = f"{100 * row.confidence:g} % interval {TEXT.shift(row.low, scale)} to {TEXT.shift(row.high, scale)}"
    seeds = f"{row.n_seeds} seeds x " if row.estimand == "recipe" else ""
    return f"{TEXT.shift(row.delta or 0.0, scale)}{scale.unit} ({ends}; {seeds}{row.n_prompts:,} prompts)"


def _moved(row: Drift) -> str:
    if row.base is None or row.tuned is None:
        return f"Changed, {_change(row)}"
    scale = scale_of(row)
    return f"From {TEXT.rate(row.base, scale)} to {TEXT.rate(row.tuned, scale)}, {_change(row)}"
