"""What a few steps, or half of a training, tell of its end: readouts that are cheaper than the training itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tools.forecast.fit import LEAST_GROUPS
from tools.forecast.groups import codes
from tools.forecast.table import Row

from aftertune.stats.group_prediction import RankCorrelation, rank_correlation

LOOKS: dict[str, Callable[[Row], float]] = {
    "a probe of a few steps": lambda row: row.probe,
    "half": lambda row: row.half,
}
"""What is looked at -> the mean readout then; nan where there was no such look."""
OUTCOMES = ("readout", "refusal")


@dataclass(frozen=True)
class Early:
    """How well the readout of one look predicts one outcome."""

    look: str
    outcome: str
    variants: int
    groups: int
    found: RankCorrelation | None
    """None with fewer groups than a forecast needs."""


def early(rows: Sequence[Row], seed: int = 0, draws: int = 2_000) -> list[Early]:
    """Return, for each look and outcome, the rank correlation of the readout's change then with the change at the end.

    Nothing is fitted: a readout that falls is held to predict refusals that fall, so p is of whole groups' outcomes
    permuted, without a fit to be made anew.
    """
    rng = np.random.default_rng(seed)
    made = []
    for look, read in LOOKS.items():
        for outcome in OUTCOMES:
            kept = [row for row in rows if not math.isnan(read(row)) and not math.isnan(row.drift(outcome))]
            of = codes([row.corpora for row in kept])
            groups = len(set(of.tolist()))
            found = None
            if groups >= LEAST_GROUPS:
                moved = np.array([read(row) - row.before["readout"] for row in kept])
                found = rank_correlation(moved, np.array([row.drift(outcome) for row in kept]), of, rng, draws)
            made.append(Early(look, outcome, len(kept), groups, found))
    return made
