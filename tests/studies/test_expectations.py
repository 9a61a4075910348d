"""Whether a published finding shows is a rule on an interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import UsageError
from aftertune.studies import expectations


@pytest.mark.parametrize(
    ("rule", "low", "high", "shown"),
    [
        ("down", -20, -1, "shows"), ("down", -20, 0, "open"), ("down", 1, 5, "does not show"),
        ("up", 1, 5, "shows"), ("up", -1, 5, "open"), ("up", -5, -1, "does not show"),
        ("under 10", 2, 9.9, "shows"), ("under 10", 2, 10, "open"), ("under 10", 10, 30, "does not show"),
        ("over 10", 10.1, 30, "shows"), ("over 10", 5, 30, "open"), ("over 10", 0, 10, "does not show"),
        ("within 1.5", -1.5, 1.5, "shows"), ("within 1.5", -4, 1, "open"), ("within 1.5", 1.6, 9, "does not show"),
        ("within 5", -9, -6, "does not show"), ("under -15", -60, -20, "shows"), ("under -15", -60, 0, "open"),
        ("under -15", -15, 2, "does not show"), ("over -5", -4.5, 2, "shows"), ("beyond chance", 3, 3, "shows"),
        ("beyond chance", 0, 0, "does not show"), ("beyond chance", -2, -2, "does not show"),
    ],
)  # fmt: skip
def test_a_rule_shows_fails_or_stays_open(rule: str, low: float, high: float, shown: str) -> None:
    assert expectations.read(rule, "x").shown(low, high) == shown


@pytest.mark.parametrize(
    "text",
    ["", "falls", "Down", "under", "under ten", "under --5", "within -5", "down 5", "within 5 %", "over 1e3", 10, None],
)
def test_any_other_text_is_refused(text: object) -> None:
    with pytest.raises(UsageError, match="row 'a': .* is no rule: give `down`"):
        expectations.read(text, "row 'a'")


@given(
    st.sampled_from(["down", "up", "under 10", "over 10", "within 10"]),
    st.floats(-100, 100),
    st.floats(0, 50),
    st.floats(0, 1),
)
def test_a_narrower_interval_never_turns_a_finding_round(rule: str, low: float, width: float, share: float) -> None:
    wanted = expectations.read(rule, "x")
    wide, narrow = (
        wanted.shown(low, low + width),
        wanted.shown(low + share * width / 2, low + width - share * width / 2),
    )
    assert wide in ("open", narrow)
