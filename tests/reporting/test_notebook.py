"""A run in a notebook: its numbers in a reader's units, intervals where they belong, and no text that acts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.calls import decision, drift

from aftertune.outcome import words
from aftertune.records import Decision, Drift, Outcome
from aftertune.reporting.notebook import COLOURS, MOST, NEUTRAL, escaped, fragment, tally

OUTCOMES: tuple[Outcome, ...] = ("pass", "drift", "unconfirmed", "undecided", "error")


def rows(drifts: Sequence[Drift], decisions: Sequence[Decision] = ()) -> list[list[str]]:
    """The cells of each row of the table, without the drawing."""
    html = fragment("t", [], drifts, decisions)
    found = re.findall(r"<tr>(<td>.*?)</tr>", html)
    return [re.findall(r"<td>(.*?)</td>", row) for row in found]


def places(html: str, name: str) -> list[float]:
    return [float(each) for each in re.findall(rf'\b{name}="([\d.]+)%"', html)]


def test_shares_are_in_per_cent_and_points() -> None:
    """A standard error of 5 points, of which the first digit is shown: one decimal at least below 10."""
    (cells,) = rows([drift()])
    assert cells[:7] == ["refusal", "keep seed 1", "75.0", "50.0", "\u221225.0", "[\u221235.0, \u221215.0]", "2,400"]
    assert cells[8] == "", "nobody decided"


def test_means_are_as_they_are() -> None:
    (cells,) = rows([drift(is_proportion=False)])
    assert cells[2:6] == ["0.75", "0.50", "\u22120.25", "[\u22120.35, \u22120.15]"]


def test_a_rise_has_its_sign() -> None:
    (cells,) = rows([drift(base=0.5, tuned=0.75, delta=0.25, low=0.15, high=0.35)])
    assert cells[4:6] == ["+25.0", "[15.0, 35.0]"]


def test_what_was_not_measured_is_said_and_not_drawn() -> None:
    nothing = {"base": None, "tuned": None, "delta": None, "low": None, "high": None}
    html = fragment("t", [], [drift(**nothing)], [])
    assert "<td>\u2013</td><td>\u2013</td><td>\u2013</td><td>not measured</td>" in html
    assert "<circle" not in html
    assert "nan" not in html.lower()


def test_an_estimate_without_an_interval_is_a_point() -> None:
    html = fragment("t", [], [drift(low=None, high=None)], [])
    assert "<td>no interval</td>" in html
    (x,) = places(html, "cx")
    zero, low = places(html, "x1")
    assert low == x == places(html, "x2")[1]
    assert x < zero


@given(
    st.floats(-1, 1, allow_subnormal=False), st.floats(0, 0.5, allow_subnormal=False),
    st.floats(0, 0.5, allow_subnormal=False),
)  # fmt: skip
def test_a_bar_stands_on_the_side_of_zero_of_its_drift(delta: float, below: float, above: float) -> None:
    html = fragment("t", [], [drift(delta=delta, low=delta - below, high=delta + above)], [])
    (mid,) = places(html, "cx")
    (zero, low), high = places(html, "x1"), places(html, "x2")[1]
    assert 0 <= low <= mid <= high <= 100
    if abs(delta) > 0.01:
        assert (mid > zero) == (delta > 0)
        assert (mid < zero) == (delta < 0)


def test_bars_of_one_metric_share_an_axis_and_those_of_another_have_their_own() -> None:
    small = drift(arm="small", delta=-0.05, low=-0.06, high=-0.04)
    mean = drift(metric="length", is_proportion=False, delta=-2000.0, low=-3000.0, high=-1000.0)
    html = fragment("t", [], [drift(), small, mean], [])
    large_at, small_at, _ = places(html, "cx")
    zeros = places(html, "x1")[::2]
    assert zeros[0] == zeros[1]
    assert (zeros[0] - small_at) * 5 == pytest.approx(zeros[0] - large_at, abs=0.1), "5 points against 25"
    assert zeros[0] - large_at > 40, "not dwarfed by a metric of thousands"


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_row_has_the_colour_and_the_word_of_its_decision(outcome: Outcome) -> None:
    row = drift()
    html = fragment("t", [], [row], [decision(row, outcome)])
    assert f'<td><span style="color:{COLOURS[outcome]}">{words(outcome)}</span></td>' in html
    assert f'fill="{COLOURS[outcome]}"' in html


def test_a_decision_on_another_row_does_not_colour_this_one() -> None:
    first, second = drift(arm="keep"), drift(arm="other")
    decided, undecided = rows([first, second], [decision(first)])
    assert "drift" in decided[8]
    assert undecided[8] == ""
    assert f'fill="{NEUTRAL}"' in undecided[7]


def test_forty_rows_are_shown_and_the_rest_is_counted() -> None:
    many = [drift(arm=f"a{index}") for index in range(MOST + 1)]
    assert len(rows(many)) == MOST
    assert "<p>1 more rows</p>" in fragment("t", [], many, [])
    assert len(rows(many[:MOST])) == MOST
    assert "more rows" not in fragment("t", [], many[:MOST], [])


def test_without_drifts_there_is_no_table() -> None:
    assert fragment("t", ["one", "two"], [], []) == "<div><b>t</b><ul><li>one</li><li>two</li></ul></div>"
    assert "<table" not in fragment("t", [], [drift(estimand="level")], []), "a level is no drift"


@given(st.text())
def test_no_text_can_leave_its_place(text: str) -> None:
    html = fragment(text, [text], [drift(arm=text, metric=text)], [])
    bare = fragment("", [""], [drift(arm="", metric="")], [])
    assert re.findall(r"<[^>]*>", re.sub(r"\d+\.?\d*%", "%", html)) == re.findall(
        r"<[^>]*>", re.sub(r"\d+\.?\d*%", "%", bare)
    ), "the same tags as without any text"
    assert not set(escaped(text)) & set("<>\"'\x1b\u202e\u200b")


def test_a_text_is_cut_before_it_is_escaped() -> None:
    assert escaped("<" * 3000) == "&lt;" * 2000
    assert escaped("a\x1b[31mb\u202e&'\"") == "ab&amp;&#x27;&quot;"


# ---------------------------------------------------------------------------------------------- tally


def test_decisions_are_counted_with_the_worst_first() -> None:
    made = [decision(drift(), each) for each in ("pass", "drift", "pass", "undecided", "error", "pass")]
    assert tally(made) == "6 checks: 1 error, 1 drift, 1 undecided, 3 pass"
    assert tally(made[:1]) == "1 check: 1 pass"


def test_what_is_not_required_is_not_counted() -> None:
    free = decision(drift(), "drift", required=False)
    assert tally([free, decision(drift(), "pass")]) == "1 check: 1 pass; optional: 1 drift", "it decides nevertheless"
    assert tally([free]) == "nothing required; optional: 1 drift"
    assert tally([decision(drift(), "pass", required=False)]) == tally([]) == "nothing gated"


@given(st.lists(st.tuples(st.sampled_from(OUTCOMES), st.booleans()), max_size=30))
def test_counts_add_up_to_the_checks(made: list[tuple[Outcome, bool]]) -> None:
    line = tally([decision(drift(), outcome, required=required) for outcome, required in made])
    whole, _, optional = line.partition("; optional: ")
    total, *parts = map(int, re.findall(r"\d+", whole)) if not whole.startswith("nothing") else [0]
    assert total == sum(parts) == sum(required for _, required in made)
    deciding = sum(not required and outcome in ("drift", "error") for outcome, required in made)
    assert sum(map(int, re.findall(r"\d+", optional))) == deciding
