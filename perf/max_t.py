"""Would tests that use how metrics depend on each other keep the family's error? `python -m perf.max_t [--runs N]`.

An arm's metrics are measured on the same training seeds, so they move together, and Holm's procedure, which allows for
any dependence, asks for more than it must. Step-down max-t (Westfall and Young 1993; Romano and Wolf, Journal of the
American Statistical Association 100 (2005) 94-108) takes the quantile of the largest of the statistics instead. Here
nothing drifted, and it is counted how often any metric of a family is called a loss, at 2.5 % one-sided:

- `Holm`: each metric's t over seeds, by Holm.
- `max-t`: the quantile of the largest t among draws of seeds that are normal with the correlation of the metrics
  that the run's own seeds show. Where nothing drifted any error is one of the first step, so only that is made.
- `known`: the same with the true correlation, which nobody has.

`quantile` is the mean of what the largest t must exceed, for the three.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from scipy import stats

from aftertune.stats.estimate import Floats

RUNS, DRAWS = 2000, 2000
ALPHA = 0.025


def t_of(seen: Floats) -> Floats:
    """Return Student's t of each metric over seeds, the last axis but one; shape without it."""
    value: Floats = seen.mean(-2) / (seen.std(-2, ddof=1) / np.sqrt(seen.shape[-2]))
    return value


def largest(factor: Floats, seeds: int, rng: np.random.Generator, draws: int) -> float:
    """Return the quantile of the largest t of metrics whose values are normals, shape (draws, seeds, k), @ factor."""
    normal = rng.normal(size=(draws, seeds, factor.shape[0]))
    return float(np.quantile(t_of(normal @ factor).max(-1), 1 - ALPHA))


def errors(metrics: int, seeds: int, correlation: float, runs: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """Return the family errors of Holm, max-t and max-t with the true correlation, and the mean quantiles of each."""
    rng = np.random.default_rng(seed)
    true = np.full((metrics, metrics), correlation) + (1 - correlation) * np.eye(metrics)
    factor: Floats = np.asarray(np.linalg.cholesky(true).T, dtype=np.float64)
    known = largest(factor, seeds, rng, 20 * DRAWS)
    holm = float(stats.t.isf(ALPHA / metrics, seeds - 1))
    alarms, quantiles = np.zeros(3), np.zeros(3)
    for _ in range(runs):
        seen = rng.normal(size=(seeds, metrics)) @ factor
        centred = seen - seen.mean(0)
        shown: Floats = centred / np.sqrt((centred**2).sum(0))
        limits = np.array([holm, largest(shown, seeds, rng, DRAWS), known])
        alarms += float(t_of(seen).max()) > limits
        quantiles += limits
    return [float(each) for each in alarms / runs], [float(each) for each in quantiles / runs]


def main(runs: int) -> int:
    """Print the table."""
    print(f"{runs:,} families a row; any false loss, per cent (stated: 2.5). In brackets the quantile.\n")
    print("| metrics | seeds | correlation | Holm | max-t | known |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
    for metrics in (3, 14):
        for seeds in (3, 5, 10):
            for correlation in (0.0, 0.5, 0.9):
                found = zip(*errors(metrics, seeds, correlation, runs), strict=True)
                shown = " | ".join(f"{100 * error:.1f} ({limit:.1f})" for error, limit in found)
                print(f"| {metrics} | {seeds} | {correlation:g} | {shown} |", flush=True)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    sys.exit(main(parser.parse_args().runs))
