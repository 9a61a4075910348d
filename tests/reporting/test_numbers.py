"""One form of a number: the same digits in every medium, only the minus sign and the mark of a missing one differ."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune import direction
from aftertune.numbers import (
    MINUS,
    NOT_MEASURED,
    PAGE,
    SHARES,
    TEXT,
    VALUES,
    Form,
    Scale,
    count,
    counts,
    decimals,
    p_value,
    sample,
    scale_of,
    whole_percent,
)
from aftertune.records import Drift, Worse
from aftertune.reporting.terminal import decision_lines, drift_table

Row = Callable[..., Drift]
REALS = st.floats(-2, 2)


@given(REALS, REALS, REALS, st.sampled_from([SHARES, VALUES]), st.booleans())
def test_media_differ_in_the_minus_sign_only(value: float, low: float, high: float, scale: Scale, signed: bool) -> None:
    page = PAGE.estimate(value, low, high, scale, unit=scale.unit, signed=signed)
    assert page.replace(MINUS, "-") == TEXT.estimate(value, low, high, scale, unit=scale.unit, signed=signed)
    assert "-" not in page
    assert float(page.split()[0].replace(MINUS, "-").replace(",", "")) == pytest.approx(value * scale.factor, abs=0.51)


def test_a_drift_is_written_with_its_levels_and_interval(drift: Row) -> None:
    row = drift(base=0.9704, tuned=0.5421, delta=-0.4283, low=-0.519, high=-0.337)
    assert PAGE.change(row, SHARES) == "−42.8 points [−51.9, −33.7]"
    assert TEXT.change(row, SHARES, unit=False) == "-42.8 [-51.9, -33.7]"
    assert PAGE.levels(row, SHARES) == "97.0 → 54.2 %"
    assert TEXT.change(drift(delta=None, low=None, high=None), SHARES) == NOT_MEASURED
    assert TEXT.change(drift(low=None, high=None, delta=0.1), SHARES) == "+10.0 points no interval"
    wide = drift(delta=-0.5, low=-0.9, high=-0.1)
    assert TEXT.change(wide, SHARES) == "-50 points [-90, -10]", "an error of 20 points allows no decimals"


def test_a_scale_is_of_shares_where_all_rows_are(drift: Row) -> None:
    shares, values = drift(), drift(is_proportion=False)
    assert scale_of(shares, shares) is SHARES
    assert scale_of(shares, values) is VALUES
    assert SHARES(0.5) == 50
    assert VALUES(0.5) == 0.5
    assert SHARES(None) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TEXT.rate(0.6294, SHARES), "62.9 %"),
        (TEXT.rate(0.6294, VALUES), "0.629"),
        (TEXT.shift(0.0312, SHARES), "+3.1"),
        (TEXT.shift(-0.0312, VALUES), "-0.0312"),
        (PAGE.shift(-0.0312, VALUES), "−0.0312"),
        (TEXT.size(0.1234, SHARES), "12.3 points"),
        (TEXT.shift(0.02486, SHARES, limit=0.0249), "+2.486"),
        (TEXT.shift(-0.10004, SHARES, limit=-0.1), "-10.004"),
        (TEXT.shift(-0.1, SHARES, limit=-0.1), "-10.0"),
        (TEXT.shift(0.1 + 1e-16, SHARES, limit=0.1), "+10.0"),
        (TEXT.shift(1235.2, VALUES, limit=1235.4), "+1235"),
        (TEXT.rate(0.8004, SHARES, limit=0.8), "80.04 %"),
        (TEXT.size(0.09996, SHARES, limit=0.1), "9.996 points"),
        (TEXT.limit(0.8, SHARES), "80.0 %"),
        (TEXT.limit(0.8125, SHARES), "81.25 %"),
        (TEXT.limit(2.5, VALUES), "2.5"),
        (TEXT.margin(0.05, SHARES), "5 points"),
        (TEXT.margin(0.123456, SHARES), "12.3456 points"),
        (PAGE.margin(0.1235, SHARES, unit=False), "12.35"),
        (TEXT.margin(5.0, VALUES), "5"),
        (PAGE.span(0.5, 0.78, SHARES, 1), "50.0 to 78.0 %"),
        (PAGE.short(-20.0), "−20"),
        (PAGE.short(-1e-15), "0"),
        (TEXT.interval(None, 1.0, 1), "no interval"),
        (TEXT.interval(1.0, math.inf, 1), "no interval"),
        (Form("~", "?").number(-1.0, 1), "~1.0"),
        (Form("~", "?").number(None, 1), "?"),
        (PAGE.estimate(0.638, 0.6379, 0.6381, SHARES, most=1), "63.8 [63.8, 63.8]"),
        (p_value(0.0004), "<.001"),
        (p_value(0.04), ".040"),
        (p_value(1.0), "1"),
        (p_value(None), "–"),
        (whole_percent(0.8), "80 %"),
        (count(1, "prompt"), "1 prompt"),
        (count(2400, "prompt"), "2,400 prompts"),
        (counts([300, 180]), "180 to 300"),
        (counts([300]), "300"),
    ],
)
def test_forms(text: str, wanted: str) -> None:
    assert text == wanted


@given(st.floats(0.002, 90))
def test_one_digit_of_the_error_is_shown(half: float) -> None:
    error = half / 1.959964
    digits = decimals(-half, half)
    assert 0 <= digits <= 3
    if 0.001 <= error < 10:
        assert round(error, digits) > 0
    assert decimals(half, -half) == decimals(None, half) == 1


def test_a_sample_counts_what_there_is(drift: Row) -> None:
    assert sample(drift()) == "5 seeds × 440 prompts, 44 clusters"
    assert sample(drift(n_seeds=1, n_samples=3, n_clusters=440)) == "1 seed × 440 prompts × 3 samples"


@given(st.floats(-1, 1), st.floats(0, 1), st.sampled_from(["up", "down"]))
def test_directions_agree_with_each_other(delta: float, half: float, worse: Worse) -> None:
    low, high = delta - half, delta + half
    way = direction.of_interval(low, high, worse)
    least = direction.good_end(low, high, worse)
    assert least is not None
    assert (way == "worse") == (least > 0)
    assert (way == "worse") <= (direction.loss(delta, worse) > 0)
    assert (way == "better") <= (direction.loss(delta, worse) < 0)
    assert direction.words(worse).startswith("higher" if direction.sign(worse) > 0 else "lower")


def test_a_label_that_appears_is_worse_where_more_of_it_is() -> None:
    assert direction.of_label(False, True, "up") == direction.of_label(True, False, "down") == "worse"
    assert direction.of_label(True, False, "up") == direction.of_label(False, True, "down") == "better"
    assert direction.of_label(True, True, "up") == ""
    assert direction.good_end(None, 1.0, "up") is None


# ---------------------------------------------------------------------------------------------- in the terminal


def test_a_terminal_has_the_pages_numbers_in_ascii(drift: Row) -> None:
    rows = [drift(), drift(arm="a-much-longer-arm", base=1.0, tuned=0.9, delta=-0.1, low=-0.14, high=-0.06),
            drift(arm="lost", base=None, tuned=None, delta=None, low=None, high=None, n_seeds=0)]  # fmt: skip
    head, *lines = drift_table(rows, ())
    assert all(line.isascii() for line in lines)
    for row, line in zip(rows[:2], lines, strict=False):
        value, interval = TEXT.change(row, SHARES, unit=False).split(" ", 1)
        assert f"{value}  {interval}" in line
        assert line.index(interval) == head.index("interval")
    assert NOT_MEASURED in lines[2]


def test_a_narrow_terminal_gives_each_metric_its_line(drift: Row) -> None:
    rows = [drift(arm=arm, metric=metric) for metric in ("suite/a/b=c", "suite/d/e=f") for arm in ("keep", "mask")]
    wide = drift_table(rows, (), 400)
    assert wide == drift_table(rows, ())
    narrow = drift_table(rows, (), max(map(len, wide)) - 1)
    assert [line for line in narrow[1:] if not line.startswith("  ")] == ["suite/a/b=c", "suite/d/e=f"]
    assert max(map(len, narrow)) < max(map(len, wide))
    assert drift_table([], ()) == ["no drift could be estimated"]


def test_the_worst_required_decision_speaks_for_its_unit(decision: Callable[..., object]) -> None:
    made = [decision(outcome="pass", why="Fine."), decision(outcome="drift", why="Gone.", remedy="Undo."),
            decision(outcome="drift", why="Away."), decision(outcome="pass", why="Never.", required=False),
            decision(unit="b", outcome="pass", why="Good.", metric="b/c/harm=yes")]  # fmt: skip
    assert decision_lines("drift", made) == [  # type: ignore[arg-type]
        "",
        "decision: DRIFT",
        "  keep: drift (2 of 3 checks). miniature/harmful/refusal=full: Gone. Undo.",
        "  b: pass. b/c/harm=yes: Good.",
    ]
    assert len(decision_lines("drift", made, 12)) > 4  # type: ignore[arg-type]


def test_an_optional_check_that_decides_is_shown(decision: Callable[..., object]) -> None:
    made = [decision(outcome="pass", why="Fine."), decision(outcome="drift", why="Gone.", required=False)]
    assert decision_lines("drift", made)[2:] == [  # type: ignore[arg-type]
        "  keep: drift (1 of 2 checks). miniature/harmful/refusal=full (optional): Gone."
    ]
