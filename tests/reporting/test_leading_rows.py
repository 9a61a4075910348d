"""Which rows lead, which way is worse, and how numbers are written: the definitions at their edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import direction, headline
from aftertune.numbers import (
    PAGE,
    SHARES,
    TEXT,
    VALUES,
    counts,
    decimals,
    finite,
    p_value,
    row_decimals,
    sample,
    scale_of,
    whole_percent,
)
from aftertune.records import Decision, Drift, Worse

Row = Callable[..., Drift]
Decide = Callable[..., Decision]
WORSE = st.sampled_from(["up", "down"])
FINITE = st.floats(-1e6, 1e6)


# ---------------------------------------------------------------------------------------------- which rows lead


@dataclass(frozen=True)
class Setting:
    name: str
    temperature: float
    epoch: int | None


SETTINGS = st.builds(
    Setting, st.sampled_from("ab"), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([None, 0, 1, 2, 10])
)


@given(st.lists(SETTINGS, max_size=10))
def test_each_group_leads_with_its_lowest_temperature_and_there_its_last_epoch(rows: list[Setting]) -> None:
    wanted = []
    for row in rows:
        own = [other for other in rows if other.name == row.name]
        coldest = [other for other in own if other.temperature == min(each.temperature for each in own)]
        epochs = {other.epoch for other in coldest}
        last = None if None in epochs else max(epoch for epoch in epochs if epoch is not None)
        if row in coldest and row.epoch == last:
            wanted.append(row)
    assert headline.main_setting(rows, lambda row: row.name) == wanted


def test_rows_that_differ_in_base_recipe_or_judge_lead_each_for_itself(drift: Row) -> None:
    late = drift(epoch=3)
    others = [drift(epoch=1, **change) for change in ({"base_model": "b"}, {"recipe": "full"}, {"judge": "j"},
                                                      {"metric": "m/x/harm=yes"}, {"arm": "hide"})]  # fmt: skip
    assert headline.headline([late, drift(epoch=1), *others]) == [late, *others]


def test_a_recipe_replaces_the_checkpoints_of_its_own_metric_and_judge_only(drift: Row) -> None:
    recipe = drift()
    single = {"estimand": "checkpoint", "checkpoint": "c", "train_seed": 1}
    same, metric, judge = drift(**single), drift(**single, metric="m/x/harm=yes"), drift(**single, judge="j")
    assert headline.strongest([same, metric, recipe, judge]) == [metric, recipe, judge]
    assert headline.strongest([drift(estimand="level"), drift(estimand="contrast")]) == []


def test_an_early_recipe_leads_although_there_is_a_later_checkpoint(drift: Row) -> None:
    recipe = drift(epoch=1, temperature=0.7)
    assert headline.headline([drift(estimand="checkpoint", checkpoint="c", epoch=3, temperature=0.0), recipe]) == [
        recipe
    ]


def test_two_judges_that_decide_both_lead_and_other_metrics_keep_all_theirs(drift: Row, decision: Decide) -> None:
    rows = [drift(judge=judge) for judge in "abc"]
    free = [drift(metric="m/x/harm=yes", judge=judge) for judge in "abc"]
    made = [decision(judge=judge) for judge in "ac"]
    assert headline.headline([*rows, *free], made) == [rows[0], rows[2], *free]


def test_a_decision_on_what_was_never_measured_silences_no_judge(drift: Row, decision: Decide) -> None:
    rows = [drift(judge=judge) for judge in "ab"]
    for change in ({"arm": "never"}, {"judge": "z"}, {"epoch": 9}, {"temperature": 0.7}, {"base_model": "z"}):
        assert headline.headline(rows, [decision(**{"judge": "a", **change})]) == rows, change


def test_a_judge_heard_for_one_arm_is_heard_for_all(drift: Row, decision: Decide) -> None:
    rows = [drift(judge=judge, arm=arm) for arm in ("keep", "hide") for judge in "ab"]
    assert headline.headline(rows, [decision(judge="b", arm="keep")]) == [rows[1], rows[3]]


def test_contrasts_lead_at_their_own_last_setting_in_their_order(drift: Row) -> None:
    rows = {
        (arm, epoch): drift(estimand="contrast", arm=arm, epoch=epoch) for epoch in (1, 2) for arm in ("b - a", "a")
    }
    alone = drift(estimand="contrast", arm="c - a", epoch=1, temperature=0.7)
    found = headline.contrasts([drift(epoch=9), *rows.values(), alone])
    assert found == [rows["b - a", 2], rows["a", 2], alone]
    assert headline.contrasts([]) == headline.headline([]) == []


def test_a_decision_and_its_drift_have_one_subject(drift: Row, decision: Decide) -> None:
    row = drift(epoch=3, checkpoint="c", temperature=0.7)
    same: dict[str, Any] = {"epoch": 3, "checkpoint": "c", "temperature": 0.7}
    assert headline.subject(row) == headline.subject(decision(**same, unit="any name", arm="keep", outcome="pass"))
    for change in ({"metric": "x"}, {"estimand": "level"}, {"base_model": "x"}, {"arm": "x"}, {"recipe": "x"},
                   {"checkpoint": None}, {"epoch": None}, {"temperature": 0.0}, {"judge": "x"}):  # fmt: skip
        assert headline.subject(row) != headline.subject(decision(**{**same, **change})), change


# ---------------------------------------------------------------------------------------------- which way is worse


@pytest.mark.parametrize(
    ("low", "high", "up"),
    [(0.1, 0.3, "worse"), (-0.3, -0.1, "better"), (-0.1, 0.1, ""), (0.0, 0.3, ""), (-0.3, 0.0, ""), (0.0, 0.0, "")],
)
def test_an_interval_that_touches_zero_shows_nothing(low: float, high: float, up: str) -> None:
    assert direction.of_interval(low, high, "up") == up
    assert direction.of_interval(low, high, "down") == {"worse": "better", "better": "worse", "": ""}[up]


@pytest.mark.parametrize(
    ("worse", "low", "high", "wanted"),
    [("up", 0.1, 0.3, 0.1), ("down", 0.1, 0.3, -0.3), ("up", -0.3, -0.1, -0.3), ("down", -0.3, -0.1, 0.1)],
)
def test_the_good_end_is_the_smaller_loss(worse: Worse, low: float, high: float, wanted: float) -> None:
    assert direction.good_end(low, high, worse) == wanted
    assert direction.good_end(low, None, worse) is None
    assert wanted == min(direction.loss(low, worse), direction.loss(high, worse))


@given(FINITE, WORSE)
def test_a_loss_is_the_difference_with_the_sign_of_worse(delta: float, worse: Worse) -> None:
    assert direction.loss(delta, worse) == (delta if worse == "up" else -delta)
    assert direction.loss(None, worse) == 0
    assert direction.loss(delta, "up") == -direction.loss(delta, "down")


def test_the_ways_in_words() -> None:
    assert (direction.words("up"), direction.words("down")) == ("higher is worse", "lower is worse")
    assert (direction.sign("up"), direction.sign("down")) == (1, -1)


@given(st.booleans(), st.booleans(), WORSE)
def test_a_label_goes_the_way_of_the_change_in_its_count(before: bool, after: bool, worse: Worse) -> None:
    change = int(after) - int(before)
    assert direction.of_label(before, after, worse) == direction.of_interval(change, change, worse)


# ---------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("error", "digits"),
    [(10.01, 0), (9.99, 1), (1.0001, 1), (0.11, 1), (0.099, 2), (0.011, 2), (0.0099, 3), (0.0011, 3), (1e-9, 3)],
)
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99])
def test_decimals_follow_the_standard_error_whatever_the_confidence(
    error: float, digits: int, confidence: float
) -> None:
    half = error * NormalDist().inv_cdf((1 + confidence) / 2)
    assert decimals(-half, half, confidence) == digits


@pytest.mark.parametrize(
    ("low", "high"), [(None, 1.0), (1.0, None), (math.nan, 1.0), (0.0, math.inf), (2.0, 2.0), (3.0, 2.0)]
)
def test_without_an_interval_there_is_one_decimal(low: float | None, high: float | None) -> None:
    assert decimals(low, high) == 1


def test_a_rows_decimals_are_those_of_its_scale_and_confidence(drift: Row) -> None:
    row = drift(low=-0.002, high=0.002)
    assert row_decimals(row, SHARES) == 1, "the standard error is 0.102 points"
    assert row_decimals(row, VALUES) == 3
    assert row_decimals(drift(low=-0.002, high=0.002, confidence=0.99), SHARES) == 2, "0.078 points"


@given(FINITE, st.integers(0, 3), st.booleans())
def test_a_number_reads_back_to_its_digits_and_zero_has_no_sign(value: float, digits: int, signed: bool) -> None:
    text = PAGE.number(value, digits, signed=signed)
    back = float(text.replace("−", "-").replace(",", ""))
    assert abs(back - value) <= 0.5 * 10.0**-digits + 1e-9
    assert (text[0] == "−") == (back < 0)
    assert (text[0] == "+") == (signed and back > 0)
    assert len(text.partition(".")[2]) == digits


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TEXT.number(1_234_567.0, 0), "1,234,567"), (PAGE.number(-1_234.56, 1), "−1,234.6"), (TEXT.number(0.0, 2), "0.00"),
        (PAGE.number(-math.inf, 1), "–"), (TEXT.number(math.nan, 1), "-"), (PAGE.interval(-1.0, -0.5, 2), "[−1.00, −0.50]"),
        (PAGE.estimate(None, 0.1, 0.2, SHARES, unit=" %"), "not measured"),
        (PAGE.estimate(0.5, None, 0.2, SHARES, unit=" %"), "50.0 % no interval"),
        (PAGE.estimate(0.0, -0.1, 0.1, SHARES, signed=True), "0.0 [−10.0, 10.0]"),
        (PAGE.from_to(None, 0.5, SHARES, 1), "– → 50.0 %"), (TEXT.from_to(0.25, -0.5, VALUES, 2), "0.25 → -0.50"),
        (PAGE.span(-0.5, 0.5, VALUES, 1), "−0.5 to 0.5"), (PAGE.short(0.1 + 0.2), "0.3"), (TEXT.short(1_000_000.0), "1e+06"),
        (PAGE.margin(-0.05, SHARES), "5 points"), (TEXT.margin(0.0, SHARES), "0 points"), (TEXT.size(2.5, VALUES), "2.5"),
        (PAGE.rate(-0.5, VALUES), "−0.5"), (PAGE.shift(0.5, VALUES), "+0.5"), (TEXT.shift(-0.5, SHARES), "-50.0"),
        (p_value(0.0), "<.001"), (p_value(0.000999), "<.001"), (p_value(0.001), ".001"), (p_value(0.5), ".500"),
        (p_value(math.nan), "–"), (whole_percent(0.0), "0 %"), (whole_percent(0.999), "100 %"),
        (counts(iter([5, 5])), "5"), (counts([1_000, 20, 300]), "20 to 1,000"),
    ],
)  # fmt: skip
def test_numbers_at_their_edges(text: str, wanted: str) -> None:
    assert text == wanted


def test_there_is_a_number_to_show_where_it_is_finite() -> None:
    assert [finite(value) for value in (0.0, -1.0, None, math.nan, math.inf, -math.inf)] == [True, True, *[False] * 4]


def test_scales(drift: Row) -> None:
    assert (SHARES.is_percent, VALUES.is_percent) == (True, False)
    assert (SHARES(0.0), VALUES(None)) == (0.0, None)
    assert scale_of(drift(is_proportion=False)) is VALUES


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"n_seeds": 0}, "440 prompts, 44 clusters"),
        ({"n_prompts": 1_440, "n_clusters": 1_044}, "5 seeds × 1,440 prompts, 1,044 clusters"),
        ({"n_clusters": 0}, "5 seeds × 440 prompts"),
        ({"n_clusters": 440}, "5 seeds × 440 prompts"),
        ({"n_seeds": 1, "n_samples": 2}, "1 seed × 440 prompts × 2 samples, 44 clusters"),
    ],
)
def test_clusters_are_said_where_they_are_fewer_than_prompts(drift: Row, changes: dict[str, int], text: str) -> None:
    assert sample(drift(**changes)) == text
