"""The tables that other tools are asked about: nothing drifts in them, and they are the same in each run."""

from __future__ import annotations

import numpy as np
import pytest
from perf import peers


@pytest.mark.parametrize("name", peers.SCENARIOS)
def test_base_and_tuned_have_the_same_rate(name: str) -> None:
    base, tuned, clusters = peers.drawn(name, 400)
    many, size, _, seeds, of_seeds = peers.SCENARIOS[name]
    assert base.shape == (400, many * size)
    assert tuned.shape == (400, seeds, many * size)
    assert len(set(clusters.tolist())) == many
    # The error of the mean over all tables, whose clusters and seeds are independent.
    units = 400 * min(many, seeds if of_seeds else many)
    assert base.mean() == pytest.approx(peers.RATE, abs=0.01)
    assert tuned.mean() == pytest.approx(peers.RATE, abs=4 * 0.4 / np.sqrt(units))
    again = peers.drawn(name, 400)
    assert all(np.array_equal(one, other) for one, other in zip(again, (base, tuned, clusters), strict=True))


def test_the_page_shows_shares_with_intervals_and_who_was_not_asked() -> None:
    rows = {"aftertune": {name: [5, 100] for name in peers.SCENARIOS}, "evalsig": {}}
    text = peers.page({"evalsig": "not installed: ERROR: no"}, rows, {"aftertune": "no change"})
    assert text.count("| 5.0 % [2.2, 11.2] ") == len(peers.SCENARIOS)
    assert "| evalsig | not installed: ERROR: no |" in text
    assert "Tables each: 100." in text


def test_the_page_has_a_place_for_what_is_measured() -> None:
    text = peers.PAGE.read_text(encoding="utf-8")
    assert text.count(peers.BEGIN) == text.count(peers.END) == 1
    assert text.index(peers.BEGIN) < text.index(peers.END)
