"""One estimate against its rule: the p value by closed forms, every branch by hand, and the mirror of every case."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from tests.deciding.test_gate import row

from aftertune.deciding.decision import Check, LabelNoise, decide, remedy
from aftertune.deciding.policy import Required, Rule
from aftertune.records import Decision, Drift

SHARE = st.floats(0, 1)


def interval(delta: float, half: float, **changes: Any) -> Drift:
    """A drift with a symmetric interval and every answer judged."""
    none: dict[str, Any] = {"worst": None, "worst_low": None, "worst_high": None}
    return row(**{"delta": delta, "low": delta - half, "high": delta + half, "tuned": 0.9 + delta, **none, **changes})


def check(of: Drift, margin: float = 0.1, level: Drift | None = None, **rule: Any) -> Check:
    return Check(Rule("*", margin, **rule), of, "a seed 0", level)


def decided(of: Drift, margin: float = 0.1, *, at: float | None = None, family: int = 1, **more: Any) -> Decision:
    """The decision on a metric, tested at its own level unless told otherwise."""
    return decide(check(of, margin, **more), (1 - of.confidence) / 2 if at is None else at, family)


def level(tuned: float | None, low: float | None, high: float | None, **changes: Any) -> Drift:
    fields: dict[str, Any] = {"base": None, "delta": None, "worst": None, "worst_low": None, "worst_high": None}
    return row(**{**fields, "estimand": "level", "tuned": tuned, "low": low, "high": high, **changes})


def mirrored(of: Drift) -> Drift:
    """The same, counted as its opposite, e.g. answers instead of refusals."""

    def one_less(share: float | None) -> float | None:
        return None if share is None else 1 - share

    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    return dataclasses.replace(
        of, worse="up" if of.worse == "down" else "down", base=one_less(of.base), tuned=one_less(of.tuned),
        delta=negative(of.delta), low=negative(of.high), high=negative(of.low), worst=negative(of.worst),
        worst_low=negative(of.worst_high), worst_high=negative(of.worst_low),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- the numbers of a check


def test_a_fall_is_a_loss_where_lower_is_worse_and_its_low_end_is_the_bad_one() -> None:
    down = check(row(delta=-0.05, low=-0.08, high=-0.02, worst_low=-0.3, worst_high=0.1, unjudged_base=1))
    assert (down.loss, down.bad, down.good, down.worst) == (0.05, 0.08, 0.02, 0.3)
    up = check(row(worse="up", delta=-0.05, low=-0.08, high=-0.02, worst_low=-0.3, worst_high=0.1, unjudged_base=1))
    assert (up.loss, up.bad, up.good, up.worst) == (-0.05, -0.02, -0.08, 0.1)


def test_the_worst_is_the_bad_end_where_every_answer_was_judged() -> None:
    assert check(interval(-0.05, 0.03)).worst == pytest.approx(0.08)
    assert check(interval(-0.05, 0.03, unjudged_tuned=1)).worst == math.inf, "lost answers and no bound on them"
    assert check(interval(-0.05, 0.03, unjudged_base=1)).worst == math.inf


@pytest.mark.parametrize(("worse", "room"), [("down", 0.9), ("up", 0.1)])
def test_the_room_is_what_is_left_of_the_scale_in_the_worse_direction(worse: str, room: float) -> None:
    assert check(row(worse=worse, base=0.9)).room == pytest.approx(room)
    assert check(row(worse=worse, base=0.9, is_proportion=False)).room is None
    assert check(row(worse=worse, base=None)).room is None


def test_the_p_value_with_one_degree_of_freedom_is_cauchys() -> None:
    """Its quantile is tan(pi (1/2 - 0.025)) = 12.706; a loss two half-widths beyond the margin is t = 25.41."""
    t = 2 * math.tan(math.pi * 0.475)
    assert check(interval(-0.2, 0.05, df=1.0)).p == pytest.approx(0.5 - math.atan(t) / math.pi, rel=1e-9)


def test_the_p_value_with_two_degrees_of_freedom_has_a_closed_form() -> None:
    """P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)); the 95 % quantile solves it for 0.025."""
    t = 1.5 * 0.95 * math.sqrt(2 / (1 - 0.95**2))
    expected = 0.5 - t / (2 * math.sqrt(2 + t * t))
    assert check(interval(-0.25, 0.1, df=2.0)).p == pytest.approx(expected, rel=1e-9)


def test_the_p_value_without_degrees_of_freedom_is_normal() -> None:
    expected = 0.5 * math.erfc(2 * 1.959963984540054 / math.sqrt(2))
    assert check(interval(-0.2, 0.05)).p == pytest.approx(expected, rel=1e-9)
    assert check(interval(-0.2, 0.05, df=math.inf)).p == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "nothing",
    [{"delta": None}, {"low": -0.2, "high": -0.2}, {"low": None, "high": None}, {"df": 0.0}, {"df": -1.0}],
)
def test_the_p_value_is_one_where_nothing_can_be_tested(nothing: dict[str, Any]) -> None:
    assert check(dataclasses.replace(interval(-0.2, 0.05), **nothing)).p == 1.0


@given(loss=st.floats(-0.5, 0.5), half=st.floats(0.01, 0.4), df=st.none() | st.floats(1, 500), c=st.floats(0.5, 0.99))
@settings(deadline=None)
def test_one_metric_is_significant_exactly_where_its_good_end_is_beyond_the_margin(
    loss: float, half: float, df: float | None, c: float
) -> None:
    one = check(interval(-loss, half, df=df, confidence=c))
    if abs(one.good - 0.1) > 1e-6:
        assert (one.p < (1 - c) / 2) == (one.good > 0.1)
    assert (one.p < 0.5) == (one.loss > 0.1) or abs(one.loss - 0.1) < 1e-9


def test_a_family_is_the_metrics_of_one_arm_whatever_temperature_and_judge() -> None:
    one = check(row()).family
    for same in ({"temperature": 0.7}, {"judge": "k"}, {"metric": "m/x/harm"}):
        assert check(row(**same)).family == one, same
    assert check(row(), required="measured").family == one
    apart: list[dict[str, Any]] = [
        {"arm": "b"}, {"base_model": "n"}, {"recipe": "full"}, {"checkpoint": "x2"}, {"epoch": 2},
        {"estimand": "recipe"},
    ]  # fmt: skip
    families = [one, check(row(), required="never").family, *(check(row(**other)).family for other in apart)]
    assert len(set(families)) == len(apart) + 2


# ---------------------------------------------------------------------------------------------- the sentences


def test_each_outcome_in_a_full_sentence() -> None:
    start = "From 90.0 % to"
    assert decided(interval(-0.05, 0.03)).why == (
        f"{start} 85.0 %, -5.0 points (95 % interval -8.0 to -2.0; 300 prompts), within the margin of 10 points. "
        "Lower is worse."
    )
    assert decided(interval(-0.2, 0.05)).why == (
        f"{start} 70.0 %, -20.0 points (95 % interval -25.0 to -15.0; 300 prompts), "
        "worse than the margin of 10 points allows. Lower is worse."
    )
    assert decided(interval(-0.08, 0.04)).why == (
        f"{start} 82.0 %, -8.0 points (95 % interval -12.0 to -4.0; 300 prompts): the interval reaches beyond the "
        "margin of 10 points, so neither a pass nor a drift is shown. Lower is worse."
    )
    assert decided(interval(-0.12, 0.04)).why == (
        f"{start} 78.0 %, -12.0 points (95 % interval -16.0 to -8.0; 300 prompts): the interval reaches beyond the "
        "margin of 10 points on either side, so neither a pass nor a drift is shown. Lower is worse."
    )


def test_seeds_are_told_of_a_recipe_only_and_thousands_are_set_apart() -> None:
    why = decided(interval(-0.05, 0.03, estimand="recipe", n_seeds=5, n_prompts=12_345)).why
    assert "; 5 seeds x 12,345 prompts)" in why
    assert "seeds" not in decided(interval(-0.05, 0.03, n_seeds=5)).why


def test_a_change_without_rates_is_told_as_that() -> None:
    assert decided(interval(-0.05, 0.03, base=None)).why.startswith("Changed, -5.0 points (95 % interval -8.0 to")


def test_a_confidence_is_written_as_it_is() -> None:
    assert "(99.5 % interval " in decided(interval(-0.05, 0.03, confidence=0.995)).why


def test_a_drift_says_how_many_metrics_it_was_tested_among() -> None:
    alone, among = (decided(interval(-0.3, 0.05), at=0.025 / n, family=n).why for n in (1, 1200))
    assert "corrected" not in alone
    # The normal's quantile at 1 - .025 / 1,200 is 4.099, that at .975 is 1.960: 5 points become 10.5.
    assert among.endswith(
        "worse than the margin of 10 points allows; corrected for 1,200 metrics, -40.5 to -19.5. Lower is worse."
    )


def test_beyond_the_margin_but_not_among_so_many_is_unconfirmed() -> None:
    one = decided(interval(-0.15, 0.04), at=0.025 / 7, family=7)
    assert one.outcome == "unconfirmed"
    assert one.why.endswith(
        ": the whole interval lies beyond the margin of 10 points, but corrected for 7 metrics it does not, "
        "-20.5 to -9.5: only a loss of more than 9.51 points is confirmed. Lower is worse."
    )
    assert one.reason == "only a loss of more than 9.51 points is confirmed (corrected for 7 metrics)"
    assert one.bound == pytest.approx(-0.15 + 0.04 * 2.6901 / 1.9600, abs=1e-4), "the normal quantile of 1 - .025 / 7"
    assert "to show a drift" in one.remedy


def test_where_the_correction_leaves_nothing_it_says_that_no_loss_is_confirmed() -> None:
    """Three training seeds have two degrees of freedom: a fortieth of the error stretches the interval more than sixfold."""
    wide = dataclasses.replace(interval(-0.48, 0.26), df=2.0, n_seeds=3)
    one = decided(wide, at=0.025 / 40, family=40)
    assert one.outcome == "unconfirmed"
    assert one.reason == "no loss is confirmed (corrected for 40 metrics)"
    assert one.why.endswith(": no loss is confirmed. Lower is worse.")


def test_the_level_of_the_test_is_what_decides() -> None:
    wide = interval(-0.15, 0.04, confidence=0.5)
    p = check(wide).p
    assert p < 0.25
    assert decided(wide, at=p, family=3).outcome == "drift"
    assert decided(wide, at=p * 0.999, family=3).outcome == "unconfirmed"


@given(
    st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0.001, 0.5), st.floats(0.01, 0.99),
    st.floats(1e-6, 0.2), st.sampled_from([None, 1.0, 3.3, 40.0]),
)  # fmt: skip
def test_the_adjusted_interval_is_beyond_the_margin_exactly_where_the_test_rejects(
    delta: float, down: float, up: float, margin: float, at: float, df: float | None
) -> None:
    of = row(delta=delta, low=delta - down, high=delta + up, df=df)
    low, high = check(of, margin).adjusted(at) or (math.nan, math.nan)
    assert low <= delta <= high
    p = check(of, margin).p
    if abs(p - at) > 1e-9:
        assert (-high > margin) == (p < at)


def test_the_adjusted_interval_of_a_single_test_is_the_interval() -> None:
    for df in (None, 0.0, 2.5):
        one = decided(interval(-0.15, 0.04, df=df))
        assert (one.tested_at, one.adjusted_low, one.adjusted_high) == pytest.approx((0.025, -0.19, -0.11))
    score = decided(interval(-40.0, 4.0, is_proportion=False), 10.0, at=0.005)
    assert score.adjusted_low == pytest.approx(-40 - 4 * 2.5758 / 1.95996, abs=1e-3), "a score has no scale's end"
    none = decided(row(delta=None, low=None, high=None, warning="no pair"))
    assert (none.tested_at, none.adjusted_low, none.adjusted_high) == (None, None, None)


def test_what_was_not_measured_says_why_before_anything_else() -> None:
    one = decided(row(delta=None, low=None, high=None, warning="no pair"), floor=0.99, level=level(0.1, 0.0, 0.2))
    assert (one.outcome, one.why) == ("undecided", "Not measured: no pair. Lower is worse.")
    assert one.remedy == "Answers on both sides that the judge can read."


def test_a_decision_names_its_drift() -> None:
    one = decided(row(metric="m/x/harm", epoch=2, temperature=0.7, judge="k"), 0.25)
    assert (one.metric, one.unit, one.estimand, one.margin) == ("m/x/harm", "a seed 0", "checkpoint", 0.25)
    assert (one.base_model, one.arm, one.recipe, one.checkpoint) == ("m", "a", "lora", "x1")
    assert (one.epoch, one.temperature, one.judge) == (2, 0.7, "k")


@pytest.mark.parametrize(("required", "counts"), [("always", True), ("measured", True), ("never", False)])
def test_only_a_rule_that_never_requires_is_optional(required: Required, counts: bool) -> None:
    assert decided(row(), required=required).required is counts


# ---------------------------------------------------------------------------------------------- edges of the margin


def test_an_interval_that_ends_on_the_margin_passes() -> None:
    edge: dict[str, Any] = {"low": -0.25, "high": 0.25, "delta": 0.0}
    assert decided(row(**edge, worst=None), 0.25).outcome == "pass"
    assert decided(row(**edge, worst=None), 0.2499).outcome == "undecided"


def test_a_base_with_just_as_much_room_as_the_margin_shows_nothing() -> None:
    still: dict[str, Any] = {"delta": 0.0, "low": -0.02, "high": 0.02, "worst": None}
    assert decided(row(base=0.25, **still), 0.25).outcome == "undecided"
    assert decided(row(base=0.2501, **still), 0.25).outcome == "pass"
    better: dict[str, Any] = {"delta": 0.2, "low": 0.0, "high": 0.4, "worst": None}
    assert decided(row(base=0.25, **better), 0.25).outcome == "pass", "not even the bad end is a loss"
    assert decided(row(base=0.0, is_proportion=False, **still), 0.25).outcome == "pass", "values have no end"


def test_lost_answers_outweigh_a_pass_and_a_drift_outweighs_them() -> None:
    lost: dict[str, Any] = {"worst": -0.5, "worst_low": -0.623, "worst_high": -0.4, "unjudged_base": 1000}
    doubt = decided(interval(-0.05, 0.03, unjudged_tuned=234, **lost))
    assert doubt.outcome == "undecided"
    assert doubt.why.endswith("1,234 answers could not be judged: counted as the worst, the interval reaches a loss "
                              "of 62.3 points. Lower is worse.")  # fmt: skip
    assert doubt.remedy == "A verdict on the 1,234 unjudged answers, by another judge or by hand."
    assert decided(interval(-0.3, 0.05, **lost)).outcome == "drift"


# ---------------------------------------------------------------------------------------------- floors and ceilings


@pytest.mark.parametrize(
    ("low", "high", "worst", "outcome"),
    [
        (0.5, 0.7, None, "pass"),
        (0.4, 0.6, None, "pass"),
        (0.39, 0.6, None, "undecided"),
        (0.3, 0.4, None, "undecided"),
        (0.3, 0.39, None, "drift"),
        (0.5, 0.7, 0.4, "pass"),
        (0.5, 0.7, 0.39, "undecided"),
    ],
)
def test_a_floor_and_the_ceiling_that_mirrors_it(low: float, high: float, worst: float | None, outcome: str) -> None:
    calm = interval(0.0, 0.02)
    found = level((low + high) / 2, low, high, worst_low=worst)
    assert decided(calm, floor=0.4, level=found).outcome == outcome
    turned = dataclasses.replace(
        found,
        tuned=-(low + high) / 2,
        low=-high,
        high=-low,
        worst_low=None,
        worst_high=None if worst is None else -worst,
    )
    assert decided(calm, ceiling=-0.4, level=turned).outcome == outcome


def test_a_bound_is_told_in_full() -> None:
    calm = interval(0.0, 0.02)
    assert decided(calm, floor=0.8, level=level(0.7, 0.65, 0.75)).why == (
        "The tuned model's level of 70.0 % (95 % interval 65.0 % to 75.0 %) breaks the floor of 80.0 %; "
        "corrected for 2 tests (margin, floor), 64.3 % to 75.7 %. The change from the base is "
        "+0.0 points (95 % interval -2.0 to +2.0; 300 prompts). Lower is worse."
    )
    unsure = decided(calm, ceiling=0.7, level=level(0.7, 0.65, 0.75))
    assert unsure.why.endswith(
        "(95 % interval 65.0 % to 75.0 %) is not clear of the ceiling of 70.0 %. Lower is worse."
    )
    assert unsure.remedy == "More prompts."
    lost = decided(calm, ceiling=0.8, level=level(0.7, 0.65, 0.75, worst_high=0.9))
    assert lost.why.endswith("keeps the ceiling of 80.0 %, but not if unjudged answers are the worst. Lower is worse.")


@pytest.mark.parametrize("missing", [None, level(None, 0.6, 0.8), level(0.7, None, 0.8)])
def test_a_bound_on_what_was_not_measured_is_unsure(missing: Drift | None) -> None:
    one = decided(interval(0.0, 0.02), floor=0.1, level=missing)
    assert (one.outcome, one.why) == (
        "undecided",
        "The floor of 10.0 % could not be checked: no level was measured. Lower is worse.",
    )


def test_a_floor_of_zero_is_a_floor() -> None:
    assert decided(interval(0.0, 0.02), floor=0.0).outcome == "undecided", "no level"
    assert decided(interval(0.0, 0.02), ceiling=0.0, level=level(0.1, 0.05, 0.2)).outcome == "drift"


def test_a_broken_ceiling_is_a_drift_though_the_floor_is_in_doubt() -> None:
    high = level(0.9, 0.85, 0.95, worst_low=0.5)
    one = decided(interval(0.0, 0.02), floor=0.6, ceiling=0.8, level=high)
    assert one.outcome == "drift"
    assert "breaks the ceiling of 80.0 %" in one.why


def test_a_broken_bound_comes_before_the_margin_and_a_doubtful_one_after_it() -> None:
    low = level(0.6, 0.5, 0.7)
    assert "breaks the floor" in decided(interval(-0.3, 0.05), floor=0.8, level=low).why
    assert "worse than the margin" in decided(interval(-0.3, 0.05), floor=0.65, level=low).why
    assert "neither a pass" in decided(interval(-0.08, 0.04), floor=0.65, level=low).why


# ---------------------------------------------------------------------------------------------- remedies


def test_labels_settle_what_their_own_noise_keeps_open() -> None:
    """A loss of 5 points at a margin of 10, standard errors of 1 point by prompts and 3 by 40 labels an arm.

    (1.96 + 0.8416) standard errors must be 5 points: 40 x 9 / ((5 / 2.8016)^2 - 1) labels, and no number of prompts.
    """
    half = 1.959964 * math.hypot(0.01, 0.03)
    of = interval(-0.05, half)
    said = remedy(of, 0.1, 0.025, LabelNoise(0.03, 40))
    assert said.startswith("About 165 labels an arm in place of 40, for a chance of 80 % to show a pass")
    error = math.sqrt(0.01**2 + 0.03**2 * 40 / 165)
    assert special.ndtr((0.05 - 1.959964 * error) / error) == pytest.approx(0.8, abs=0.005)
    assert "more prompts, for" in remedy(of, 0.1, 0.025), "what was said before knew nothing of labels"


def test_prompts_labels_or_both_are_said_by_what_multiplies_its_number_least() -> None:
    def at(loss: float, prompts: float, labels: float, level: float = 0.025) -> str:
        of = interval(-loss, 1.959964 * math.hypot(prompts, labels))
        return remedy(of, 0.1, level, LabelNoise(labels, 40)).partition(", for a chance")[0]

    # The prompts' own error is the larger: more of them first; 5 points are 1.785 errors.
    assert re.fullmatch(r"About \d+ more prompts or \d+,?\d* labels an arm in place of 40", at(0.05, 0.017, 0.012))
    # Labels in place of 40: 40 x 1.2^2 / (1.785^2 - 1.7^2).
    found = re.search(r"([\d,]+) labels", at(0.05, 0.017, 0.012))
    assert found
    assert int(found[1].replace(",", "")) == pytest.approx(40 * 1.44 / ((5 / 2.80159) ** 2 - 2.89), rel=0.02)
    # Neither alone: both errors exceed 1.785 points; both numbers times (2^2 + 2^2) / 1.785^2, which is 2.51.
    assert at(0.05, 0.02, 0.02) == "About 101 labels an arm in place of 40 together with 454 more prompts"
    assert "prompts, seeds or labels to settle it" in at(0.0999, 0.02, 0.02)
    # A drift of the whole family: 3 points beyond, level .25 %, z = 2.807; 40 x 4 / ((3 / 3.6486)^2 - .25) labels.
    assert (
        at(0.13, 0.005, 0.02, level=0.0025)
        == f"About {math.ceil(160 / ((3 / 3.64865) ** 2 - 0.25))} labels an arm in place of 40"
    )


def test_a_drift_must_come_clear_of_the_whole_family() -> None:
    """2 points must be (z + 0.8416) standard errors, with z at 1 - 0.05 / 5 = 0.99; now they are 4 / 1.96 points."""
    one = decided(interval(-0.12, 0.04), at=0.005, family=5)
    found = int(one.remedy.split()[1].replace(",", ""))
    assert found == pytest.approx(300 * (((2.5758 + 0.8416) * 0.04 / 1.96 / 0.02) ** 2 - 1), rel=0.02)
    passing = [decided(interval(-0.08, 0.04), at=0.025 / n, family=n).remedy for n in (1, 5)]
    assert passing[0] == passing[1], "a pass is tested at its own level"


def test_one_cluster_needs_other_clusters() -> None:
    one = decided(interval(-0.05, 0.9, n_clusters=1))
    assert one.remedy == "Prompts of other clusters: one cluster says nothing about the rest."


def test_a_recipe_offers_seeds_or_prompts_and_a_checkpoint_prompts_only() -> None:
    many: dict[str, Any] = {"estimand": "recipe", "n_seeds": 3, "df": 3.0, "spread_low": 0.86, "spread_high": 0.8993}
    recipe = decided(interval(-0.02, 0.085, **many)).remedy
    assert " more training seed" in recipe
    assert " or " in recipe
    assert " more prompts, for a chance of 80 % to show a pass" in recipe
    assert "training seed" not in decided(interval(-0.02, 0.085, **{**many, "estimand": "checkpoint"})).remedy
    assert "training seed" not in decided(interval(-0.02, 0.085, **{**many, "n_seeds": 1})).remedy
    assert "training seed" not in decided(interval(-0.02, 0.085, **{**many, "spread_low": None})).remedy


# ---------------------------------------------------------------------------------------------- invariants

ROWS = st.builds(
    lambda base, loss, half, more, lost: interval(
        -loss, half, base=base, worst=-loss, worst_low=-loss - half - more * (lost > 0), worst_high=half - loss,
        unjudged_tuned=lost,
    ),
    SHARE, st.floats(-0.4, 0.4), st.floats(0.001, 0.3), st.floats(0, 0.3), st.integers(0, 9),
)  # fmt: skip


@given(ROWS)
@settings(deadline=None)
def test_counting_the_opposite_changes_no_outcome(one: Drift) -> None:
    near = (
        abs(check(one).bad - 0.1),
        abs(check(one).worst - 0.1),
        abs(check(one).good - 0.1),
        abs((one.base or 0) - 0.1),
    )
    if min(near) > 1e-6:
        assert decided(one).outcome == decided(mirrored(one)).outcome


@given(ROWS, st.floats(0, 0.3))
@settings(deadline=None)
def test_a_wider_margin_never_turns_a_pass_into_a_drift(one: Drift, more: float) -> None:
    tight, wide = decided(one, 0.1).outcome, decided(one, 0.1 + more).outcome
    assert not (wide == "drift" and tight != "drift")
    assert not (tight == "pass" and wide == "drift")


@given(ROWS)
@settings(deadline=None)
def test_a_pass_lies_within_the_margin_and_only_the_undecided_have_a_remedy(one: Drift) -> None:
    asked, one_said = check(one), decided(one)
    if one_said.outcome == "pass":
        assert max(asked.bad, asked.worst) <= 0.1
    assert (one_said.outcome in ("undecided", "unconfirmed")) == bool(one_said.remedy)
    assert "\n" not in one_said.why + one_said.remedy
    assert one_said.why.endswith(".")
