"""Does the gate fail and pass as often as `aftertune plan` says? `python -m perf.gate_power [--runs N]`.

Over a grid of seeds, prompts, clusters, rates and families, outcomes of a base and its tuned models are drawn, every
run is decided by the real gate, and the shares are compared with the predicted chances at the losses that the plan
would print, and halfway to the margin. It ends with exit code 1 where one is more than `MOST` points off.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aftertune.deciding.gate import gate
from aftertune.deciding.policy import Policy, Rule
from aftertune.records import Drift
from aftertune.stats import matrix
from aftertune.stats.estimate import Floats
from aftertune.stats.margin_power import Chances, MarginTest, chances, failing_loss, passing_loss
from aftertune.stats.power import PairedDesign

RUNS = 600
MOST = 0.08
"""Largest difference that is allowed between a predicted and a simulated chance, beside simulation error."""


@dataclass(frozen=True)
class Pair:
    """Outcomes of one metric for the base and the tuned models, shape (seeds, prompts): the base as each is paired."""

    base: Floats
    tuned: Floats


def drawn(design: PairedDesign, loss: float, rng: np.random.Generator) -> tuple[Pair, Floats]:
    """Draw 0/1 outcomes (1 is worse) as a design states them, and the clusters of the prompts.

    Each prompt has a latent place in (0, 1): low ones are gained, high ones lost. Prompts of a cluster share theirs
    with chance sqrt(icc), seeds share theirs by whole clusters with chance sqrt(shared).
    """
    n, k = design.n_prompts, design.n_seeds
    count = n if design.n_clusters is None else design.n_clusters
    codes = np.arange(n) * count // n

    def places(rows: int) -> Floats:
        common = rng.random((rows, count))[:, codes]
        return np.where(rng.random((rows, n)) < np.sqrt(design.icc), common, rng.random((rows, n)))

    place = places(1)
    if k > 1:
        together = rng.random((k, count))[:, codes] < np.sqrt(design.shared)
        place = np.where(together, place, places(k))
    p = design.base_rate
    true = np.clip(loss + (design.seed_sd * rng.normal(size=(k, 1)) if k > 1 else 0.0), -p, 1 - p) * np.ones((k, 1))
    discordant = np.maximum(2 * p * (1 - p) * (1 - design.agreement), np.abs(true))
    gained, lost = (discordant + true) / 2, (discordant - true) / 2
    up, down = place < gained, place > 1 - lost
    neither = rng.random((k, n)) < (p - lost) / np.maximum(1 - gained - lost, 1e-9)
    base = np.where(up, 0.0, np.where(down, 1.0, neither))
    tuned = np.where(up, 1.0, np.where(down, 0.0, neither))
    return Pair(base, tuned), codes.astype(np.float64)


def row(name: str, pair: Pair, codes: Floats, confidence: float, *, level: bool = False) -> Drift:
    """Return the drift of a pair, or the tuned models' level, as a run would have it."""
    groups = codes.astype(np.intp)
    seeds = pair.tuned.shape[0]
    values = pair.tuned if level else pair.tuned - pair.base
    estimate = (matrix.level if level else matrix.difference)(values, groups, confidence=confidence)
    assert estimate is not None
    estimand = "recipe" if seeds > 1 else "checkpoint"
    return Drift(
        metric=name, worse="up", estimand="level" if level else estimand, base_model="m", arm="a", recipe="r",  # type: ignore[arg-type]
        checkpoint=None if seeds > 1 else "c", train_seed=None, epoch=None, temperature=0.0, judge="j",
        base=None if level else float(pair.base.mean()), tuned=float(pair.tuned.mean()),
        delta=None if level else estimate.value, low=estimate.low, high=estimate.high, confidence=confidence,
        p=estimate.p, p_adjusted=None, worst=None, worst_low=None, worst_high=None, spread_low=None, spread_high=None,
        n_prompts=estimate.n, n_clusters=estimate.n_clusters, n_seeds=seeds, n_samples=1, unjudged_base=0,
        unjudged_tuned=0, method="", warning="", df=estimate.df,
    )  # fmt: skip


def simulated(design: PairedDesign, test: MarginTest, loss: float, runs: int, seed: int) -> Chances:
    """Return how often the real gate fails and passes a loss; the family's other metrics do not change."""
    rng = np.random.default_rng(seed)
    rule = Rule("b/m0/harm=yes", test.margin, floor=test.floor, ceiling=test.ceiling)
    policy = Policy("simulated", (rule, Rule("*", test.margin)))
    others = [row("b/other/harm=yes", *drawn(design, 0.0, rng), test.confidence) for _ in range(20)]
    failed = passed = 0
    for run in range(runs):
        pair, codes = drawn(design, loss, rng)
        rows = [row(rule.match, pair, codes, test.confidence)]
        if test.floor is not None or test.ceiling is not None:
            rows.append(row(rule.match, pair, codes, test.confidence, level=True))
        for number in range(1, round(1 / test.share)):
            other = others[(run + number) % len(others)]
            rows.append(dataclasses.replace(other, metric=f"b/m{number}/harm=yes"))
        decision = next(each for each in gate(rows, policy) if each.metric == rule.match)
        failed += decision.outcome == "drift"
        passed += decision.outcome == "pass"
    return Chances(failed / runs, passed / runs)


def grid() -> Iterator[tuple[PairedDesign, MarginTest]]:
    """Yield designs and tests: rates near 0 and 1, few and many prompts, one seed to ten."""
    for seeds, (prompts, groups), rate in itertools.product(
        (1, 2, 3, 5, 10), ((60, None), (100, None), (300, None), (300, 44), (1000, 200)), (0.005, 0.05, 0.5, 0.85)
    ):
        for margin, family in ((0.1, 1), (0.1, 12), (0.05, 4)):
            yield PairedDesign(prompts, rate, groups, n_seeds=seeds), MarginTest(margin, 1 / family)
    for seeds in (1, 5):
        yield PairedDesign(300, 0.05, None, n_seeds=seeds), MarginTest(0.1, ceiling=0.12)
        yield PairedDesign(300, 0.05, None, n_seeds=seeds), MarginTest(0.2, 1 / 3, ceiling=0.2)


def losses(design: PairedDesign, test: MarginTest) -> list[float]:
    """Return the losses at which a plan is tested: those that it prints, and half the margin."""
    half = min(test.margin, 1 - design.base_rate) / 2
    found = [failing_loss(design, test), passing_loss(design, test), half]
    return sorted({round(loss, 4) for loss in found if loss is not None})


def main(runs: int, every: int) -> float:
    """Print the grid; return the largest difference beyond what simulation error explains."""
    worst, differences = 0.0, []
    print("seeds prompts clusters  rate margin family ceiling   loss  fails said/seen  passes said/seen")
    for number, (design, test) in enumerate(grid()):
        if number % every:
            continue
        for loss in losses(design, test):
            said, seen = chances(design, test, loss), simulated(design, test, loss, runs, number)
            pairs = ((said.fails, seen.fails), (said.passes, seen.passes))
            error = 2.5 * np.sqrt(0.16 / runs)
            off = max(abs(a - b) for a, b in pairs)
            differences += [abs(a - b) for a, b in pairs]
            worst = max(worst, off - error)
            print(
                f"{design.n_seeds:5} {design.n_prompts:7} {design.n_clusters or '-':>8} {design.base_rate:5.3f} "
                f"{test.margin:6.2f} {round(1 / test.share):6} "
                f"{'-' if test.ceiling is None else test.ceiling:>7} {loss:6.3f}   "
                f"{said.fails:5.3f} {seen.fails:5.3f}       {said.passes:5.3f} {seen.passes:5.3f}"
                + ("  <-" if off > MOST else ""),
                flush=True,
            )
    print(f"{len(differences)} chances: {100 * float(np.mean(differences)):.1f} points off on average, ", end="")
    print(f"9 of 10 within {100 * float(np.quantile(differences, 0.9)):.1f}, at most {100 * max(differences):.1f}")
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--every", type=int, default=1, help="take every so-manieth row of the grid")
    options = parser.parse_args()
    sys.exit(main(options.runs, options.every) > MOST)
