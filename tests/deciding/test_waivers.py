"""Waivers: who accepts which loss until when; whatever is missing or does not hold is said."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deciding.test_gate import row
from tests.reporting.conftest import decision, drift

from aftertune.deciding.gate import gate
from aftertune.deciding.judge_differences import decided_on
from aftertune.deciding.judge_reliability import Unreliable, resting_on_nothing
from aftertune.deciding.policy import Policy, Rule
from aftertune.deciding.waivers import Waiver, read, unused
from aftertune.errors import UsageError

DAY = datetime.date(2027, 3, 31)
GOOD: dict[str, str] = {
    "metric": '"*/harmful/refusal=full"', "up_to": "0.4", "by": '"Ana"', "until": "2027-03-31", "why": '"until June"',
}  # fmt: skip


def written(folder: Path, **changes: str | None) -> Path:
    table = {**GOOD, **changes}
    file = folder / "waivers.toml"
    file.write_text("[[waiver]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items() if value is not None))
    return file


def waiver(**changes: Any) -> Waiver:
    fields: dict[str, Any] = {"metric": "*/harmful/refusal=full", "up_to": 0.4, "by": "Ana", "until": DAY, "why": "so"}
    return Waiver(**{**fields, **changes})


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    (one,) = read(written(tmp_path, run='"adapter-*"'))
    assert one == Waiver("*/harmful/refusal=full", 0.4, "Ana", DAY, "until June", run="adapter-*")
    (tmp_path / "empty.toml").write_text("")
    assert read(tmp_path / "empty.toml") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"by": None}, "`by` must say who accepts it"),
        ({"by": '" "'}, "`by` must say who accepts it"),
        ({"why": None}, "`why` must say why"),
        ({"until": None}, "a waiver without end is a policy"),
        ({"until": '"2027-03-31"'}, "`until` must be a day"),
        ({"until": "2027-03-31T00:00:00Z"}, "`until` must be a day"),
        ({"up_to": None}, "`up_to` must be the largest loss"),
        ({"up_to": "-0.1"}, "`up_to` must be"),
        ({"up_to": "inf"}, "`up_to` must be"),
        ({"up_to": "true"}, "`up_to` must be"),
        ({"metric": "3"}, "`metric` must say which metric"),
        ({"arm": "[]"}, "`arm` must be a name"),
        ({"untl": "2027-03-31"}, "unknown key 'untl'"),
    ],
)
def test_what_is_missing_or_wrong_is_one_line_with_its_key(
    tmp_path: Path, changes: dict[str, str | None], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(written(tmp_path, **changes))
    assert said in str(caught.value)
    assert "number 1" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["waiver = 3", "[[wavier]]\nby = 'x'", "waiver = [1]", "not toml at all"])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.toml").write_text(text)
    with pytest.raises(UsageError, match=r"w\.toml"):
        read(tmp_path / "w.toml")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "gone.toml")


def test_a_waiver_holds_until_its_day_for_a_loss_no_larger_than_it_accepts() -> None:
    lost = drift(delta=-0.33, low=-0.36, high=-0.3, unjudged_base=0, unjudged_tuned=0)
    assert waiver().refusal(decision(), lost, DAY) == ""
    assert waiver().refusal(decision(), lost, DAY + datetime.timedelta(1)) == "ended on 2027-03-31"
    assert waiver(up_to=0.3).refusal(decision(), lost, DAY) == "accepts 0.3, and the loss is 0.33"
    assert waiver(up_to=0.34).refusal(decision(), lost, DAY) == "accepts 0.34, and the loss may be 0.36"
    gained = drift(delta=0.2, low=0.1, high=0.3, unjudged_base=0, unjudged_tuned=0)
    assert waiver(up_to=0.0).refusal(decision(), gained, DAY) == "", "a gain is no loss"
    assert waiver().refusal(decision(), None, DAY) == "nothing was measured"
    assert waiver().refusal(decision(outcome="error"), lost, DAY) == "nothing was measured"


FLOOR = Policy("p", (Rule("*", 0.1, floor=0.8),))


@pytest.mark.parametrize(
    ("loss", "level", "outcome"),
    [
        ((0.03, 0.01), (0.82, 0.75, 0.89), "undecided"),  # within the margin, and perhaps below the floor
        ((0.12, 0.04), (0.82, 0.75, 0.89), "undecided"),  # across the margin, and perhaps below the floor
        ((0.13, 0.11), (0.5, 0.45, 0.55), "drift"),  # beyond the margin, and below the floor
        ((0.03, 0.01), (0.5, 0.45, 0.55), "drift"),
        ((0.12, 0.04), None, "undecided"),  # no level was measured
    ],
)
def test_a_waiver_does_not_hold_where_a_floor_is_broken_or_may_be(
    loss: tuple[float, float], level: tuple[float, float, float] | None, outcome: str
) -> None:
    ends = {"low": -loss[0], "high": -loss[1], "worst_low": -loss[0], "worst_high": -loss[1]}
    lost = row(delta=-sum(loss) / 2, worst=-sum(loss) / 2, **ends)
    levels = []
    if level is not None:
        tuned, low, high = level
        levels = [row(estimand="level", delta=None, base=None, tuned=tuned, low=low, high=high, worst_low=low)]
    (found,) = gate([lost, *levels], FLOOR)
    assert found.outcome == outcome
    refused = waiver(metric="*", up_to=0.15).refusal(found, lost, DAY)
    assert refused == "a floor or ceiling of the policy is not kept, or not shown to be, of which it says nothing"
    kept = row(estimand="level", delta=None, base=None, tuned=0.95, low=0.9, high=0.98, worst_low=0.9)
    (clear,) = gate([lost, kept], FLOOR)
    assert waiver(metric="*", up_to=0.15).refusal(clear, lost, DAY) == ""


def test_a_waiver_does_not_hold_for_a_loss_that_only_a_worthless_judge_shows() -> None:
    for delta in (-0.05, -0.1):  # by the judge a pass, and undecided
        lost = row(delta=delta, low=delta - 0.03, high=delta + 0.03, worst=None)
        (found,) = gate([lost], Policy("p", (Rule("*", 0.1),)))
        (open_,) = resting_on_nothing([found], [Unreliable(decided_on(found), "the judge guesses")])
        assert open_.outcome == "undecided"
        refused = waiver(metric="*", up_to=0.15).refusal(open_, lost, DAY)
        assert refused == "its judge tells nothing apart, of which it says nothing"
        assert waiver(metric="*", up_to=0.15).refusal(found, lost, DAY) == ""


def test_a_waiver_is_about_the_runs_arms_and_metrics_that_fit() -> None:
    one = decision(unit="keep")
    assert waiver().about("run", one)
    assert waiver(run="r*", arm="k?ep").about("run", one)
    assert not waiver(run="other").about("run", one)
    assert not waiver(arm="other").about("run", one)
    assert not waiver(metric="*/harmless/*").about("run", one)
    assert unused([waiver(), waiver(by="Bo")], [waiver()]) == [waiver(by="Bo")]


@given(st.floats(0, 1), st.floats(-1, 1), st.floats(0, 0.5), st.integers(0, 1), st.sampled_from(["up", "down"]))
def test_no_waiver_covers_more_than_it_says(up_to: float, delta: float, half: float, lost: int, worse: Any) -> None:
    ends = {"low": delta - half, "high": delta + half, "worst_low": delta - 2 * half, "worst_high": delta + 2 * half}
    row = drift(delta=delta, worse=worse, unjudged_base=0, unjudged_tuned=lost, **ends)
    held = waiver(up_to=up_to).refusal(decision(), row, DAY) == ""
    most = delta + (1 + lost) * half if worse == "up" else (1 + lost) * half - delta
    assert held == (most <= up_to)
