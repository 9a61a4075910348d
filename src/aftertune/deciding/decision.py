"""One gated estimate against its rule: its state (`outcome`), in one sentence with the numbers that say so."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

from aftertune import direction
from aftertune.deciding.policy import Rule, question
from aftertune.numbers import TEXT, Scale, count, scale_of
from aftertune.records import Decision, Drift, Outcome
from aftertune.stats import power
from aftertune.stats.estimate import t_quantile

MOST = 100
"""Times the prompts of a run beyond which "more prompts" is no advice."""
MOST_TIMES_LABELS = 20
"""Times the labels that are there beyond which "more labels" is no advice."""
NO_LOSS = "no loss"
BOUND = "a floor or ceiling of the policy is not kept, or not shown to be"
"""What `Decision.beside` says of one."""
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
        """How far the base could get worse; None for means of values of a scale whose end is not known."""
        if self.row.base is None or not self.row.is_proportion:
            return self.row.room
        return 1 - self.row.base if self.sign > 0 else self.row.base

    @property
    def bounds(self) -> list[Bound]:
        """The floor and the ceiling that the policy sets."""
        ends = (Bound("floor", self.rule.floor, -1, self.level), Bound("ceiling", self.rule.ceiling, 1, self.level))
        return [each for each in ends if each.at is not None]

    @property
    def tests(self) -> int:
        """How many tests call a drift, and share the metric's error: the margin's, the floor's and the ceiling's."""
        return 1 + len(self.bounds)

    @property
    def p(self) -> float:
        """One-sided p value of "nothing is broken", that of the `tests` together (Bonferroni)."""
        return min(1.0, self.tests * min([self.p_margin, *(each.p for each in self.bounds)]))

    @property
    def p_margin(self) -> float:
        """One-sided p value of "the loss is at most the margin", by the interval's own t distribution."""
        if self.row.delta is None:
            return 1.0
        return _beyond(self.loss - self.rule.margin, self.loss - self.good, self.row)

    def adjusted(self, level: float) -> tuple[float, float] | None:
        """Return the interval at the confidence 1 - 2 `level`, which is beyond the margin exactly where `p` <= `level`.

        It is the row's own, stretched about the estimate by the quantiles of its t distribution.
        """
        row = self.row
        if row.delta is None or row.low is None or row.high is None:
            return None
        # Whole shares lie within the scale; means of values have no end that is known here.
        least, most = (-1.0, 1.0) if row.is_proportion else (-math.inf, math.inf)
        stretch = _stretch(row, level)
        low, high = row.delta - stretch * (row.delta - row.low), row.delta + stretch * (row.high - row.delta)
        return max(low, least), min(high, most)


@dataclass(frozen=True)
class Bound:
    """A floor or ceiling of the tuned model's own level."""

    name: str
    at: float | None
    sign: int
    """1 for a ceiling, -1 for a floor."""
    level: Drift | None

    @property
    def ends(self) -> tuple[float, float, float] | None:
        """The level, the end of its interval towards the bound's good side, and the other; None where unmeasured."""
        level = self.level
        if level is None or level.low is None or level.high is None or level.tuned is None:
            return None
        return (level.tuned, *((level.low, level.high) if self.sign > 0 else (level.high, level.low)))

    @property
    def p(self) -> float:
        """One-sided p value of "the level keeps the bound", by the interval's own t distribution."""
        if self.ends is None or self.at is None or self.level is None:
            return 1.0
        tuned, near, _ = self.ends
        return _beyond(self.sign * (tuned - self.at), self.sign * (tuned - near), self.level)

    def adjusted(self, level: float) -> tuple[float, float]:
        """Return the level's interval at the confidence 1 - 2 `level`, low end first."""
        assert self.level is not None
        assert self.ends is not None
        tuned, near, far = self.ends
        stretch = _stretch(self.level, level)
        ends = sorted(tuned + stretch * (end - tuned) for end in (near, far))
        return (max(ends[0], 0.0), min(ends[1], 1.0)) if self.level.is_proportion else (ends[0], ends[1])


def _degrees(row: Drift) -> float:
    return math.inf if row.df is None else row.df


def _beyond(distance: float, half: float, row: Drift) -> float:
    """Return the one-sided p value of an estimate `distance` beyond a bound, its interval's end `half` from it."""
    df = _degrees(row)
    if half <= 0 or df <= 0:
        return 1.0
    t = distance / half * float(t_quantile(row.confidence, df))
    return float(special.ndtr(-t) if math.isinf(df) else special.stdtr(df, -t))


def _stretch(row: Drift, level: float) -> float:
    """Return how many times as wide an interval is at the confidence 1 - 2 `level`."""
    if _degrees(row) <= 0:
        return 1.0  # one cluster: already the whole scale
    return float(t_quantile(1 - 2 * level, _degrees(row))) / float(t_quantile(row.confidence, _degrees(row)))


def decide(check: Check, level: float, family: int) -> Decision:
    """Return the decision on one row.

    `level` is the error of the one-sided tests of one metric, its share among the `family` metrics of its arm or
    checkpoint. What it is tested at against the margin, floor and ceiling is that, divided by how many these are.
    """
    rule, row, scale = check.rule, check.row, check.scale
    level /= check.tests
    several = family * check.tests > 1
    corrected = _corrected(check, family)
    adjusted = check.adjusted(level)
    shown = None if adjusted is None else check.end(*adjusted, False)
    bound, limit = _bound(check, level, corrected if several else "")
    outcome: Outcome
    settles = ""
    margin = TEXT.margin(rule.margin, scale)
    if row.delta is None:
        outcome, why, reason = "undecided", f"Not measured: {row.warning}.", f"not measured: {row.warning}"
        settles = "Answers on both sides that the judge can read."
    elif bound == "breached":
        outcome, why, reason = "drift", f"{limit} The change from the base is {_change(check)}.", limit.rstrip(".")
    elif bound == "unconfirmed" and not (check.p_margin <= level and check.seen > rule.margin):
        outcome, why, reason, settles = "unconfirmed", limit, limit.rstrip("."), "More prompts, or training seeds."
    elif check.p_margin <= level and check.seen <= rule.margin:
        outcome, settles, reason = "undecided", _UNFILTERED, "shown only by answers that a content filter made"
        why = (
            f"{_moved(check)}, worse than the margin of {margin} allows, but {_unknown(check)}: on the "
            f"{row.n_seen or 0:,} prompts that no content filter answered, no such loss is shown."
        )
    elif check.p_margin <= level:
        outcome = "drift"
        tests = f"; {corrected}, {_ends(check, adjusted)}" if several else ""
        why = f"{_moved(check)}, worse than the margin of {margin} allows{tests}."
        reason = f"{_shown(check, shown)} is shown{tests}"
    elif check.room is not None and check.room <= rule.margin and check.bad > 0:
        outcome = "undecided"
        stands = TEXT.rate(row.base or 0.0, scale)
        reason = f"the base stands at {stands}: a loss beyond the margin could not show"
        why = f"The base itself stands at {stands}: a loss beyond {margin} could not have shown"
        why += f"; {_unknown(check)}." if check.unseen else "."
        settles = _UNFILTERED if row.unseen_base else "A benchmark on which the base behaves."
    elif check.bad > rule.margin:
        outcome = "undecided"
        if check.good > rule.margin and check.seen > rule.margin:
            outcome = "unconfirmed"
            why = (
                f"{_moved(check)}: the whole interval lies beyond the margin of {margin}, but {corrected} it does not, "
            )
            why += f"{_ends(check, adjusted)}: {_no_more_than(check, shown)} is confirmed."
            reason = f"{_no_more_than(check, shown)} is confirmed ({corrected})"
        elif check.good > rule.margin:
            why = (
                f"{_moved(check)}: the whole interval lies beyond the margin of {margin}, but not without the answers "
            )
            why += "that the server or its content filter made."
            reason = "shown only by answers that a content filter made"
        else:
            reason = "the interval reaches across the margin"
            why = f"{_moved(check)}: the interval reaches beyond the margin of {margin}"
            why += "" if check.loss <= rule.margin else " on either side"
            why += ", so neither a pass nor a drift is shown."
        settles = remedy(row, rule.margin, level)
        if check.unseen:
            why, settles = f"{why.removesuffix('.')}; {_unknown(check)}.", f"{_UNFILTERED} {settles}"
    elif check.worst > rule.margin:
        outcome = "undecided"
        worst = _size(check, check.worst)
        reason = f"counted as the worst, answers that nobody judged make it {worst}"
        reaches = f"counted as the worst, the interval reaches a loss of {worst}"
        if math.isinf(check.worst):
            reason = "answers that nobody judged may be anything"
            reaches = "they may be anything, since no end of the scale is known"
        why = f"{_moved(check)}, within the margin of {margin}, but {_unknown(check)}: {reaches}."
        lost = f"A verdict on the {count(check.unjudged, 'unjudged answer')}, by another judge or by hand."
        settles = " ".join([_UNFILTERED] * bool(check.unseen) + [lost] * bool(check.unjudged))
    elif check.seen_bad > rule.margin:
        # The models may both be worse than anybody has seen: as where no answer of one side has a verdict.
        outcome, settles, reason = "undecided", _UNFILTERED, "too few answers that no content filter made"
        why = (
            f"{_moved(check)}, within the margin of {margin}, but {_unknown(check)}: the {row.n_seen or 0:,} prompts "
            "that no content filter answered are too few to show it."
        )
    elif bound == "unsure":
        outcome, why, reason = "undecided", limit, limit.rstrip(".")
        settles = _UNFILTERED if row.unseen_tuned else "More prompts."
    else:
        outcome, why = "pass", f"{_moved(check)}, within the margin of {margin}."
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
        remedy=settles,
        beside="" if bound == "held" else BOUND,
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


def _corrected(check: Check, family: int) -> str:
    """Return what a test's level allows for, e.g. `corrected for 6 metrics`."""
    own = f"{check.tests} tests ({', '.join(['margin', *(bound.name for bound in check.bounds)])})"
    if check.tests == 1:
        return f"corrected for {family:,} metrics"
    return f"corrected for {own}" if family == 1 else f"corrected for {family:,} metrics and {own} of this one"


_UNFILTERED = "Answers of the models themselves: ask them without the filter in front of them."


def _shown(check: Check, shown: float | None) -> str:
    """Return what loss is shown, e.g. `a loss of more than 8.1 points`; in words where that is none."""
    return NO_LOSS if shown is None or shown <= 0 else f"a loss of more than {_size(check, shown)}"


def _size(check: Check, loss: float) -> str:
    return TEXT.size(loss, check.scale, limit=check.rule.margin)


def _no_more_than(check: Check, shown: float | None) -> str:
    """Return the same where it is less than the margin: `only a loss of more than 8.1 points`, or `no loss`."""
    said = _shown(check, shown)
    return said if said == NO_LOSS else f"only {said}"


def _unknown(check: Check) -> str:
    """Say of how many answers the model's own is not known, and why."""
    row, parts = check.row, []
    if check.unseen:
        sides = [(row.unseen_base, "of the base"), (row.unseen_tuned, "of the tuned model")]
        counted = " and ".join(f"{count:,} {whose}" for count, whose in sides if count)
        parts.append(f"of the answers {counted} were made by the server or its content filter, not by the model")
    if check.unjudged:
        parts.append(f"{count(check.unjudged, 'answer')} could not be judged")
    return ", and ".join(parts)


def _bound(check: Check, at: float, corrected: str) -> tuple[str, str]:
    """Return `held`, `breached`, `unconfirmed` or `unsure` for the floor and ceiling, and a sentence for all but the
    first; each is tested at the level `at`, which is `corrected` for others where that is not empty."""
    scale = check.scale
    found = ("held", "")  # until a bound is broken: one in doubt must not hide the other
    for bound in check.bounds:
        level, sign = bound.level, bound.sign
        assert bound.at is not None
        said = f"the {bound.name} of {TEXT.limit(bound.at, scale)}"
        if bound.ends is None or level is None:
            return "unsure", f"{said.capitalize()} could not be checked: no level was measured."
        tuned, near_end, far_end = bound.ends
        seen_end = near_end if level.n_seen is None else level.seen_low if sign > 0 else level.seen_high
        worst = level.worst_high if sign > 0 else level.worst_low
        ends = " to ".join(TEXT.rate(end, scale, limit=bound.at) for end in sorted((near_end, far_end)))
        known = f"{100 * level.confidence:g} % interval {ends}"
        text = f"The tuned model's level of {TEXT.rate(tuned, scale)} ({known}) "
        broken, beyond = bound.p <= at, sign * near_end > sign * bound.at
        tests = ""
        if corrected and beyond:
            low, high = bound.adjusted(at)
            tests = f"{corrected}, {' to '.join(TEXT.rate(end, scale, limit=bound.at) for end in (low, high))}"
        if (broken or beyond) and (seen_end is None or sign * seen_end <= sign * bound.at):
            by = f"{count(level.unseen_tuned, 'answer')} came from the server or its content filter, not from the model"
            found = _worse_of(found, ("unsure", f"{text}breaks {said}, but {by}."))
        elif broken:
            return "breached", f"{text}breaks {said}{'; ' if tests else ''}{tests}."
        elif beyond:
            found = "unconfirmed", f"{text}lies beyond {said}, which is not confirmed: {tests}."
        elif sign * far_end > sign * bound.at:
            found = _worse_of(found, ("unsure", f"{text}is not clear of {said}."))
        elif (sign * worst > sign * bound.at) if worst is not None else level.unjudged_tuned + level.unseen_tuned > 0:
            unknown = "unseen" if level.unseen_tuned else "unjudged"
            found = _worse_of(found, ("unsure", f"{text}keeps {said}, but not if {unknown} answers are the worst."))
    return found


def _worse_of(found: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    return found if found[0] == "unconfirmed" else other


@dataclass(frozen=True, slots=True)
class LabelNoise:
    """What people's labels add to an estimate's standard error."""

    error: float
    """Standard error by the labels alone."""
    labels: int
    """Labels of the arm that has fewer."""


def remedy(row: Drift, margin: float, level: float, noise: LabelNoise | None = None) -> str:
    """Say how many more prompts, seeds or labels would probably bring the interval clear of the margin.

    "Probably" is a chance of `POWER`, if the estimate is the truth (`stats.power`). A pass needs the interval itself
    within the margin, a drift the one at the metric's `level` beyond it. More prompts or seeds leave the noise of the
    labels as it is, and the other way round; what multiplies its own number least stands first.
    """
    if row.n_clusters < 2:
        return "Prompts of other clusters: one cluster says nothing about the rest."
    sign = direction.sign(row.worse)
    loss, ends = direction.loss(row.delta, row.worse), (row.low or 0.0, row.high or 0.0)
    passing = loss <= margin
    room = abs(margin - loss)
    half = max(sign * end for end in ends) - loss if passing else loss - min(sign * end for end in ends)
    wanted = row.confidence if passing else 1 - 2 * level
    square = (half / float(t_quantile(row.confidence, _degrees(row)))) ** 2
    reach = float(t_quantile(wanted, math.inf)) + float(special.ndtri(POWER))
    by_labels = min(noise.error**2, square) if noise else 0.0
    own, spare = square - by_labels, (room / reach) ** 2
    ways: list[tuple[float, str]] = []
    if noise and by_labels and spare > own:
        needed = max(math.ceil(noise.labels * by_labels / (spare - own)), noise.labels + 1)
        if needed <= MOST_TIMES_LABELS * noise.labels:
            ways.append((needed / noise.labels, f"{needed:,} labels an arm in place of {noise.labels:,}"))
    if spare > by_labels:
        ways += _more_data(row, own, math.sqrt(spare - by_labels) * reach, wanted)
    if not ways and by_labels and own and spare > 0 and noise and (times := square / spare) <= MOST_TIMES_LABELS:
        more = math.ceil(row.n_prompts * (times - 1))
        both = f"{math.ceil(noise.labels * times):,} labels an arm in place of {noise.labels:,} together with "
        ways.append((times, f"{both}{more:,} more prompt{'s' if more != 1 else ''}"))
    if not ways:
        lacking = "prompts, seeds or labels" if noise else "prompts or seeds"
        return f"The estimate stands too near the margin for any reasonable number of {lacking} to settle it."
    return (
        f"About {' or '.join(way for _, way in sorted(ways))}, for a chance of {100 * POWER:.0f} % to show a "
        f"{'pass' if passing else 'drift'} if the estimate is the truth."
    )


def _more_data(row: Drift, square: float, room: float, wanted: float) -> list[tuple[float, str]]:
    """Return how many more seeds, and prompts, bring an estimate clear of what is `room` away.

    `square` is its variance. Each stands behind what it multiplies their number by.
    """
    prompt_df, ways = row.n_clusters - 1.0, []
    parts, n_seeds = (0.0, square, 0.0), 1
    if row.estimand == "recipe" and row.spread_low is not None and row.spread_high is not None and row.n_seeds > 1:
        n_seeds = row.n_seeds
        by_seed = power.sd_of_range(row.spread_low, row.spread_high, n_seeds) ** 2 / n_seeds
        parts = (by_seed, max(square - by_seed, 0.0), 0.0)
        seeds = power.more_seeds(parts, n_seeds, prompt_df, room, confidence=wanted, power=POWER)
        if seeds:
            ways.append((1 + seeds / n_seeds, f"{seeds:,} more training seed{'s' if seeds != 1 else ''}"))
    prompts = power.more_prompts(
        row.n_prompts, parts, n_seeds, prompt_df, room, confidence=wanted, power=POWER, most=MOST
    )
    if prompts:
        ways.append((1 + prompts / row.n_prompts, f"{prompts:,} more prompt{'s' if prompts != 1 else ''}"))
    return ways


def _ends(check: Check, interval: tuple[float, float] | None) -> str:
    limit = check.sign * check.rule.margin
    return "" if interval is None else " to ".join(TEXT.shift(end, check.scale, limit=limit) for end in interval)


def _change(check: Check) -> str:
    row, scale = check.row, check.scale
    ends = "no interval"
    if row.low is not None and row.high is not None:
        ends = f"{100 * row.confidence:g} % interval {_ends(check, (row.low, row.high))}"
    seeds = f"{row.n_seeds} seeds x " if row.estimand == "recipe" else ""
    prompts = count(row.n_prompts, "prompt")
    return f"{TEXT.shift(row.delta or 0.0, scale)}{scale.unit} ({ends}; {seeds}{prompts})"


def _moved(check: Check) -> str:
    row, scale = check.row, check.scale
    if row.base is None or row.tuned is None:
        return f"Changed, {_change(check)}"
    return f"From {TEXT.rate(row.base, scale)} to {TEXT.rate(row.tuned, scale)}, {_change(check)}"
