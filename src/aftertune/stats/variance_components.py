"""Where the spread of one metric comes from: training seeds, prompts, both together, sampling, judges.

Analysis of variance of a balanced layout, seeds x prompts x samples x judges, all of them random effects. For balanced
data its estimates are those of restricted maximum likelihood as long as none is negative.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from aftertune.stats.estimate import Floats

Source = Literal["seed", "prompt", "seed x prompt", "sampling", "judge", "judge x answer"]
"""`judge x answer` is how a judge deviates on one answer beyond its own leniency: its noise."""
ORDER: tuple[Source, ...] = ("seed", "prompt", "seed x prompt", "sampling", "judge", "judge x answer")


@dataclass(frozen=True, slots=True)
class Component:
    """One variance component with its interval."""

    sources: tuple[Source, ...]
    """Several where the layout cannot separate them."""
    variance: float
    """Variance of the value of a single answer; 0 where the estimate was negative."""
    low: float
    high: float
    df: float
    """Degrees of freedom of its mean square."""

    @property
    def source(self) -> str:
        """Name of the source, or of several joined by ` + `."""
        return " + ".join(self.sources)

    @property
    def sd(self) -> float:
        """Standard deviation, in the unit of the values."""
        return math.sqrt(self.variance)


@dataclass(frozen=True, slots=True)
class _MeanSquare:
    """A mean square and its degrees of freedom."""

    value: float
    df: float


def components(values: Floats, *, confidence: float = 0.95) -> list[Component]:
    """Return the variance components of a layout with shape (seeds, prompts, samples, judges).

    Args:
        values: One number per answer and judge; NaN where there is none. Prompts that lack any are left out.
        confidence: Confidence of each interval by itself.

    The model is y = mean + seed + prompt + seed x prompt + sampling (within seed and prompt) + judge + judge x answer,
    all random and independent (Searle, Casella and McCulloch, Variance Components, 1992, chapter 4). An axis of length
    1 has no component of its own: with one sample, `seed x prompt` contains the sampling too; with one seed, `prompt`
    contains `seed x prompt`. Intervals are the modified large-sample ones (Burdick and Graybill, Confidence Intervals
    on Variance Components, 1992, section 3.3; exact for a single mean square), never of width zero unless nothing
    varies at all.

    Raises ValueError for a wrong shape, or fewer than two prompts with all their values. The interval of a source with
    fewer than 5 levels says little more than "wide"; intervals of 0/1 outcomes are approximate, since they assume
    normal effects. Prompts count as independent here, so the interval of `prompt` is too short if clusters differ.
    """
    if values.ndim != 4:
        raise ValueError(f"need (seeds, prompts, samples, judges), got shape {values.shape}")
    values = values[:, np.isfinite(values).all(axis=(0, 2, 3))]
    a, b, c, d = values.shape
    if b < 2 or a * c * d == 0:
        raise ValueError(f"need at least two prompts with all of their values, got {b}")
    grand = values.mean()
    answer = values.mean(axis=3)
    cell = answer.mean(axis=2)
    seed, prompt, judge = cell.mean(axis=1), cell.mean(axis=0), values.mean(axis=(0, 1, 2))
    by_answer = _MeanSquare(
        float(((values - answer[..., None] - judge + grand) ** 2).sum()) / max((a * b * c - 1) * (d - 1), 1),
        (a * b * c - 1) * (d - 1),
    )
    by_sample = _MeanSquare(
        d * float(((answer - cell[..., None]) ** 2).sum()) / max(a * b * (c - 1), 1), a * b * (c - 1)
    )
    by_both = _MeanSquare(
        c * d * float(((cell - seed[:, None] - prompt + grand) ** 2).sum()) / max((a - 1) * (b - 1), 1),
        (a - 1) * (b - 1),
    )
    by_prompt = _MeanSquare(a * c * d * float(((prompt - grand) ** 2).sum()) / (b - 1), b - 1)
    by_seed = _MeanSquare(b * c * d * float(((seed - grand) ** 2).sum()) / max(a - 1, 1), a - 1)
    by_judge = _MeanSquare(a * b * c * float(((judge - grand) ** 2).sum()) / max(d - 1, 1), d - 1)

    # Each level's expected mean square contains those below it; sources whose level the layout lacks are in the next.
    levels: list[tuple[Source, _MeanSquare, int]] = [
        ("judge x answer", by_answer, 1),
        ("sampling", by_sample, d),
        ("seed x prompt", by_both, c * d),
        ("prompt", by_prompt, a * c * d),
    ]
    below: _MeanSquare | None = None
    lacking: list[Source] = []
    rows: list[Component] = []
    for source, square, size in levels:
        if square.df == 0:
            lacking.insert(0, source)
            continue
        rows.append(_component((source, *lacking), square, below, size, confidence))
        below, lacking = square, []
    if a > 1:
        rows.append(_component(("seed",), by_seed, by_both, b * c * d, confidence))
    if d > 1:
        rows.append(_component(("judge",), by_judge, by_answer, a * b * c, confidence))
    return sorted(rows, key=lambda row: ORDER.index(row.sources[0]))


def _component(
    sources: tuple[Source, ...], square: _MeanSquare, below: _MeanSquare | None, size: int, confidence: float
) -> Component:
    """Return (square - below) / size with its interval."""
    less = below or _MeanSquare(0.0, math.inf)
    value = max(square.value - less.value, 0.0) / size
    low, high = mls_interval([(1 / size, square.value, square.df), (-1 / size, less.value, less.df)], confidence)
    return Component(sources, value, max(low, 0.0), max(high, value, 0.0), square.df)


def mls_interval(terms: Sequence[tuple[float, float, float]], confidence: float = 0.95) -> tuple[float, float]:
    """Return the modified large-sample interval for a sum of expected mean squares.

    Args:
        terms: (coefficient, mean square, degrees of freedom) each; infinite degrees of freedom mean a known constant.
        confidence: E.g. .95.

    Source: Ting, Burdick, Graybill, Jeyaratnam and Lu, Journal of Statistical Computation and Simulation 35 (1990)
    135-143, as in Burdick and Graybill (1992), section 3.3. For one term it is the exact chi-square interval.
    """
    tail = (1 - confidence) / 2
    plus = [(c * s, n) for c, s, n in terms if c > 0]
    minus = [(-c * s, n) for c, s, n in terms if c < 0 and s > 0]
    centre = sum(x for x, _ in plus) - sum(x for x, _ in minus)
    down = _spread(plus, minus, tail)
    up = _spread(minus, plus, tail)
    return centre - math.sqrt(max(down, 0.0)), centre + math.sqrt(max(up, 0.0))


def _spread(falls: Sequence[tuple[float, float]], rises: Sequence[tuple[float, float]], tail: float) -> float:
    """Return the squared distance from the centre to the limit at which `falls` are smaller and `rises` larger."""
    total = sum((_g(n, tail) * x) ** 2 for x, n in falls) + sum((_h(n, tail) * x) ** 2 for x, n in rises)
    for (x, n), (y, m) in itertools.product(falls, rises):
        f = float(special.fdtri(n, m, 1 - tail)) if math.isfinite(m) else _chi(n, tail)
        if math.isfinite(n) and f > 0:
            total += ((f - 1) ** 2 - _g(n, tail) ** 2 * f**2 - _h(m, tail) ** 2) / f * x * y
    return total


def _chi(df: float, tail: float) -> float:
    """Return the upper quantile of chi-square over its degrees of freedom."""
    return float(special.chdtri(df, tail)) / df if math.isfinite(df) else 1.0


def _g(df: float, tail: float) -> float:
    return 1 - 1 / _chi(df, tail)


def _h(df: float, tail: float) -> float:
    return 1 / _chi(df, 1 - tail) - 1
