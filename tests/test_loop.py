"""The loop that a text ends in, against a slow reading of what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aftertune.text import Loop, loop


def slow(sequence: list[str], longest: int) -> Loop | None:
    """Every period, each in full."""
    best: Loop | None = None
    for period in range(1, min(longest, len(sequence) // 2) + 1):
        same = [one == two for one, two in zip(sequence[period:], sequence, strict=False)][::-1]
        length = period + (same.index(False) if False in same else len(same))
        if length >= 2 * period and (best is None or length > best.length + period):
            best = Loop(period, length)
    return best


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("ab"), max_size=5), st.integers(0, 8))
def test_the_loop_is_that_of_a_slow_reading(start: list[str], unit: list[str], rounds: int) -> None:
    for sequence in (start + unit * rounds, unit * rounds, unit * rounds + start):
        assert loop(sequence, 6) == slow(sequence, 6)


def test_the_shortest_period_that_covers_most_is_taken() -> None:
    assert loop(["x", *"abab" * 3]) == Loop(2, 12)
    assert loop(list("aaaa")) == Loop(1, 4)
    assert loop(list("abcd")) is None
