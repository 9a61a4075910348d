"""The table of drifts has three forms, for windows of any width, with the same numbers in each."""

from __future__ import annotations

import re

import pytest

from aftertune.ingest.demo_table import demo_drift
from aftertune.reporting.terminal import drift_table

RESULT = demo_drift()


@pytest.mark.parametrize("width", [None, 110, 80, 60, 40])
def test_the_table_fits_and_holds_every_number(width: int | None) -> None:
    whole = " ".join(drift_table(RESULT.drifts, RESULT.decisions))
    lines = drift_table(RESULT.drifts, RESULT.decisions, width)
    assert all(len(line) <= (width or 200) for line in lines)
    assert sorted(re.findall(r"[-+]?\d+\.\d", " ".join(lines))) == sorted(re.findall(r"[-+]?\d+\.\d", whole))


def test_the_narrow_form_names_its_numbers() -> None:
    assert any(
        line.startswith("  keep: worse down, base 99.4, tuned 70.8,")
        for line in drift_table(RESULT.drifts, RESULT.decisions, 60)
    ), drift_table(RESULT.drifts, RESULT.decisions, 60)
