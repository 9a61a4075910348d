"""Would seed variances that borrow from the other arms keep the stated error? `python -m perf.moderated`.

With K training seeds, each arm and metric estimates the variance of its drift between seeds from K - 1 degrees of
freedom. Moderated variances (Smyth, Statistical Applications in Genetics and Molecular Biology 3 (2004) 3) shrink each
to a prior that all arms and metrics of the study make, and add the prior's degrees of freedom to its own. Here studies
without any drift are drawn, arms x metrics x seeds, and it is counted how often an interval of 95 % leaves out the
truth:

- `own`: Student's t with the arm's own variance.
- `moderated`: the prior by moments of the log variances (equation 10 of the paper and those before it), with the
  binomial variance of the metric's rate as trend, and the correlation of the metrics taken off (`_prior`).
- `robust`: the same, with a prior from the other arms alone, and an arm's own variance where it is too large for that
  prior at 5 %, as in Phipson et al., Annals of Applied Statistics 10 (2016) 946-963, in spirit: outliers neither shape
  the prior nor are shrunk to it.

- `held`: the others' prior with half a degree of freedom, however alike they are, at their geometric mean; an arm's own
  variance where it is too large for that at 20 %. Chosen among priors of a half and of one degree and rules at none, 5
  and 20 % as the one that comes nearest to keeping its error.

A cell's first line is about the ordinary arms; where one arm is wilder than the rest, a second one is about that arm.
`width` is the mean width of the interval over that with a known variance. `--level 0.0134` is that of a primary
metric of the gate (.67 % on either side). It ends with exit code 0: a method that does
not keep its error is a finding, and is not used (docs/statistics.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from aftertune.stats.estimate import Floats

RUNS = 4000
SPREAD = 0.03
"""Standard deviation of the true rate between training seeds, at a rate of one half."""
LEVEL = 0.05


@dataclass(frozen=True)
class Cell:
    """A study in which nothing drifted."""

    name: str
    seeds: int
    arms: int = 4
    metrics: int = 6
    rates: tuple[float, ...] = (0.5,)
    """Of the metrics, in turn."""
    correlation: float = 0.5
    """Of the metrics of one seed."""
    unequal: float = 1.0
    """Each arm and metric has a standard deviation that is up to this many times larger or smaller."""
    wild: float = 1.0
    """How much wider the seeds of the first arm spread."""
    wild_everywhere: bool = False
    """Whether in all of its metrics, or in the first alone."""
    prompts: int = 176


@dataclass(frozen=True)
class Found:
    """Of the intervals of some arms: the share that leaves out the truth, and the width, by method."""

    missed: tuple[float, ...]
    width: tuple[float, ...]


def drawn(cell: Cell, runs: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return the observed drifts, shape (runs, arms, metrics, seeds), their true standard deviations and the trend.

    A seed's true rate is normal about the metric's, its observed one binomial over the prompts; at rates near 0 and 1
    the true rates spread as the binomial variance does. The trend has shape (metrics,).
    """
    shape = (runs, cell.arms, cell.metrics)
    rate = np.resize(np.asarray(cell.rates), cell.metrics)
    spread = SPREAD * np.sqrt(4 * rate * (1 - rate)) * np.ones(shape)
    spread = spread * cell.unequal ** rng.uniform(-1, 1, shape)
    if cell.wild_everywhere:
        spread[:, 0] *= cell.wild
    else:
        spread[:, 0, 0] *= cell.wild
    common = rng.normal(size=(*shape[:2], 1, cell.seeds))
    alone = rng.normal(size=(*shape, cell.seeds))
    true = np.sqrt(cell.correlation) * common + np.sqrt(1 - cell.correlation) * alone
    rates = np.clip(rate[:, None] + spread[..., None] * true, 0.0, 1.0)
    seen = rng.binomial(cell.prompts, rates) / cell.prompts
    # What clipping does to the mean is no drift: the truth is the mean of the clipped rates.
    centre = rate[:, None] if rate.min() > 0.1 and rate.max() < 0.9 else rates.mean((0, 3), keepdims=True)
    known = np.sqrt(spread**2 + rate * (1 - rate) / cell.prompts)
    return seen - centre, known, rate * (1 - rate)


def _prior(log_ratio: Floats, df: int, correlation: float) -> tuple[Floats, Floats]:
    """Return the prior's log variance over the trend, and its degrees of freedom (infinite where none is left over).

    `log_ratio` has shape (runs, variances). Metrics of one arm whose values correlate by r have log variances that
    correlate by about r squared, which makes their sample variance too small by that share within an arm.
    """
    e = log_ratio - special.digamma(df / 2) + np.log(df / 2)
    mean = e.mean(1)
    left = e.var(1, ddof=1) / (1 - correlation**2) - special.polygamma(1, df / 2)
    prior_df = np.where(left > 0, 2 * _inverse_trigamma(np.maximum(left, 1e-8)), np.inf)
    finite = np.isfinite(prior_df)
    half = np.where(finite, prior_df, 2.0) / 2
    return mean + np.where(finite, special.digamma(half) - np.log(half), 0.0), prior_df


def _inverse_trigamma(y: Floats) -> Floats:
    """Return x with trigamma(x) = y by Newton's method on 1 / trigamma (the appendix of the paper)."""
    x = 0.5 + 1 / y
    for _ in range(20):
        value = special.polygamma(1, x)
        x = x + value * (1 - value / y) / special.polygamma(2, x)
    return x


def _shrunk(variance: Floats, df: int, prior: Floats, prior_df: Floats) -> tuple[Floats, Floats]:
    """Return moderated variances and their degrees of freedom, each of the shape of `variance`."""
    finite = np.isfinite(prior_df)
    weight = np.where(finite, prior_df, 0.0)
    mixed = np.where(finite, (weight * prior + df * variance) / (weight + df), prior)
    return mixed, np.where(finite, weight + df, 1e6) * np.ones_like(variance)


def intervals(seen: Floats, trend: Floats, correlation: float, level: float) -> Iterator[Floats]:
    """Yield the half width of each interval, shape (runs, arms, metrics), by each method."""
    runs, arms, _, seeds = seen.shape
    df = seeds - 1
    # A metric whose seeds agree to the prompt has no logarithm of a variance: half a prompt's is the least.
    variance = np.maximum(seen.var(3, ddof=1), 1e-6)
    ratio = np.log(variance / trend)

    def half(values: Floats, freedom: Floats | int) -> Floats:
        widths: Floats = stats.t.ppf(1 - level / 2, freedom) * np.sqrt(values / seeds)
        return widths

    def apart(own: Floats, prior: Floats, prior_df: Floats, outlier: Any) -> Floats:
        shrunk, shrunk_df = _shrunk(own, df, prior, prior_df)
        return half(np.where(outlier, own, shrunk), np.where(outlier, df, shrunk_df))

    yield half(variance, df)
    prior, prior_df = _prior(ratio.reshape(runs, -1), df, correlation)
    yield half(*_shrunk(variance, df, np.exp(prior)[:, None, None] * trend, prior_df[:, None, None]))
    robust, held = np.empty_like(variance), np.empty_like(variance)
    for arm in range(arms):
        others = (np.delete(ratio, arm, axis=1) if arms > 1 else ratio).reshape(runs, -1)
        own = variance[:, arm]
        prior, prior_df = _prior(others, df, correlation)
        expected = np.exp(prior)[:, None] * trend
        freedom = np.where(np.isfinite(prior_df), prior_df, 1e6)[:, None]
        robust[:, arm] = apart(own, expected, prior_df[:, None], stats.f.sf(own / expected, df, freedom) < 0.05)
        typical = np.exp(others.mean(1) - special.digamma(df / 2) + np.log(df / 2))[:, None] * trend
        half_a_degree = np.full((runs, 1), 0.5)
        held[:, arm] = apart(own, typical, half_a_degree, stats.chi2.sf(df * own / typical, df) < 0.2)
    yield robust
    yield held


def simulated(cell: Cell, runs: int, level: float = LEVEL, seed: int = 0) -> tuple[Found, Found | None]:
    """Return what is found of the ordinary arms' metrics, and of those that are wilder, if there are any."""
    seen, known, trend = drawn(cell, runs, np.random.default_rng(seed))
    off = np.abs(seen.mean(3))
    halves = list(intervals(seen, trend, cell.correlation, level))
    wild = np.zeros(seen.shape[1:3], bool)
    if cell.wild != 1:
        wild[0, : cell.metrics if cell.wild_everywhere else 1] = True
    fixed = stats.norm.ppf(1 - level / 2) * known / np.sqrt(cell.seeds)

    def of(those: np.ndarray[Any, Any]) -> Found:
        missed = [float((off > half)[:, those].mean()) for half in halves]
        width = [float((half / fixed)[:, those].mean()) for half in halves]
        return Found(tuple(missed), tuple(width))

    return of(~wild), of(wild) if wild.any() else None


def cells() -> Iterator[Cell]:
    """Yield what is simulated."""
    for seeds in (2, 3, 5):
        yield Cell("alike", seeds)
        yield Cell("metrics of several rates", seeds, rates=(0.02, 0.5, 0.98))
        yield Cell("up to twice wider or narrower", seeds, unequal=2.0)
        yield Cell("metrics that correlate by .9", seeds, correlation=0.9)
        yield Cell("one arm", seeds, arms=1)
        yield Cell("ten arms", seeds, arms=10)
        for wild in (2.0, 3.0, 10.0):
            yield Cell(f"one metric of one arm {wild:g} times wider", seeds, wild=wild)
            yield Cell(f"all metrics of one arm {wild:g} times wider", seeds, wild=wild, wild_everywhere=True)
        yield Cell("the same in ten arms, 3 times wider", seeds, arms=10, wild=3.0, wild_everywhere=True)


def main(runs: int, level: float) -> int:
    """Print the table."""
    confidence = f"{100 * (1 - level):.4g} %"
    print(
        f"{runs:,} studies a row. Intervals of {confidence} that leave out the truth, per cent; in brackets, widths.\n"
    )
    print(
        "| seeds | study | arms | own | moderated | robust | held |\n| ---: | --- | --- | ---: | ---: | ---: | ---: |"
    )
    for cell in cells():
        for who, found in zip(("ordinary", "wild"), simulated(cell, runs, level), strict=True):
            if found is not None:
                shown = " | ".join(f"{100 * m:.1f} ({w:.1f})" for m, w in zip(found.missed, found.width, strict=True))
                print(f"| {cell.seeds} | {cell.name} | {who} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--level", type=float, default=LEVEL, help="share of intervals that may leave out the truth")
    given = parser.parse_args()
    sys.exit(main(given.runs, given.level))
