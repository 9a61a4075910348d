"""Are the statistics honest? False alarms under nulls, coverage of intervals, and power, by simulation.

    python -m perf.calibrate                  4,000 simulations a row: the table (minutes of CPU time)
    python -m perf.calibrate --write          the same, written into the marked block of docs/statistics.md
    python -m perf.calibrate --runs 400       quick

A cell is a scenario (how prompts, clusters, seeds and samples vary) and a method. Alarms are counted at the 5 % level
under a true null, coverage of 95 % intervals under a true drift. It ends with exit code 1 where a bound is broken:
alarms over 6.5 %, alarms under 3.5 % for a method that is not discrete, coverage under 93.5 % (in a quick run only
beyond simulation error), or power by formula and by simulation further apart than simulation error. Every scenario has
its own fixed seed.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from perf import until_decided
from perf.many_intervals import many
from perf.scenarios import DISCRETE, PLAIN, SCENARIOS, Data, Generator, Scenario, latent
from scipy import special

from aftertune.deciding.policy import Rule, question
from aftertune.stats import (
    bands,
    clusters,
    contradictions,
    judge_error,
    matrix,
    paired,
    power,
    prediction_powered,
    seeds,
    sequential,
    signal_detection,
)
from aftertune.stats.estimate import Estimate, Floats
from aftertune.stats.multiplicity import family_levels

DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
MARKS = ("<!-- calibration: begin, written by perf/calibrate.py -->", "<!-- calibration: end -->")
RUNS = 4000
MOST, LEAST, COVERED = 0.065, 0.035, 0.935
SWAPS = RESAMPLES = 999
NAIVE = (0.35, 0.52)
"""False alarms of a bootstrap of prompts on 50 clusters of 10 with ICC .71: about 43 %."""
FEW = (0.07, 0.16)
"""False alarms of a percentile bootstrap of 8 clusters: the quantiles of a variance divided by 8 in place of 7, and of
the normal in place of t with 7 degrees of freedom, are those of about 11 %."""
FAILURES = {"naive bootstrap": NAIVE, PLAIN: FEW}
"""Methods that are shown as counter-examples, which aftertune does not use."""


@dataclass(frozen=True)
class Row:
    """What one method did in one scenario."""

    scenario: str
    method: str
    alarms: float
    """Under the null, two-sided at 5 %."""
    coverage: float | None
    """Of the truth, under a drift; None for a method without an interval."""
    runs: int
    discrete: bool
    failure: tuple[float, float] | None = None
    """Alarms of a method that is known to fail, between which the failure counts as reproduced."""

    def broken(self) -> list[str]:
        """Return which bounds are broken beyond simulation error."""
        faults = []
        if self.failure is not None:
            return [] if self.failure[0] < self.alarms < self.failure[1] else ["known failure not reproduced"]
        if self.alarms > MOST + _slack(MOST, self.runs):
            faults.append("too many alarms")
        if not self.discrete and self.alarms < LEAST - _slack(LEAST, self.runs):
            faults.append("too few alarms")
        if self.coverage is not None and self.coverage < COVERED - _slack(COVERED, self.runs):
            faults.append("coverage too low")
        return faults


def _slack(rate: float, runs: int) -> float:
    """Return what simulation error may add to a bound in a quick run; the full one is held to the bound itself."""
    return 0.0 if runs >= RUNS else 2.6 * math.sqrt(rate * (1 - rate) / runs)


def interval_of(method: str, data: Data, rng: Generator) -> Estimate | tuple[float, float] | None:
    """Return a method's interval, None where it has none."""
    values, codes = data.values[0], data.codes
    if method == "recipe":
        return seeds.difference(data.values, codes)
    if method in ("score interval", "t test"):
        return clusters.difference(values, codes)
    if method == "bootstrap, percentile":
        return clusters.bootstrap(values, codes, rng, method="percentile", resamples=RESAMPLES)
    if method == "bootstrap, studentised":
        return clusters.bootstrap(values, codes, rng, resamples=RESAMPLES)
    if method == PLAIN:
        sums = np.bincount(codes, weights=values) / values.size  # clusters of one size
        drawn = rng.integers(0, sums.size, size=(RESAMPLES, sums.size))
        low, high = np.quantile(sums[drawn].sum(axis=1), [0.025, 0.975])
        return float(low), float(high)
    if method == "naive bootstrap":
        draws = values[rng.integers(0, values.size, size=(RESAMPLES, values.size))].mean(axis=1)
        low, high = np.quantile(draws, [0.025, 0.975])
        return float(low), float(high)
    if method == "Newcombe":
        gained, lost = int((values > 0).sum()), int((values < 0).sum())
        # The concordant pairs are split as the scenarios here have them: what differs is the same whatever the split.
        both = round(0.3 * (values.size - gained - lost))
        return paired.newcombe_interval(both, gained, lost, values.size - gained - lost - both)
    return None


def p_of(method: str, data: Data, rng: Generator) -> float | None:
    """Return a method's p value, None where its interval decides."""
    values = data.values[0]
    if method == "label swaps":
        return clusters.swap_test(values, data.codes, rng, swaps=SWAPS)
    if method == "t test":
        return clusters.difference(values, data.codes).p
    if method in ("exact McNemar", "mid-p McNemar"):
        test = paired.mcnemar_exact if method.startswith("exact") else paired.mcnemar_midp
        return test(int((values > 0).sum()), int((values < 0).sum()))
    return None


def alarm(method: str, data: Data, rng: Generator) -> bool:
    """Return whether a method calls a difference at the 5 % level."""
    p = p_of(method, data, rng)
    if p is not None:
        return p <= 0.05
    interval = interval_of(method, data, rng)
    low, high = (interval.low, interval.high) if isinstance(interval, Estimate) else interval or (math.nan, math.nan)
    return not low <= 0 <= high


def covers(method: str, data: Data, rng: Generator) -> bool | None:
    """Return whether a method's interval contains the truth; None for a method without an interval."""
    interval = None if method in ("t test", "label swaps") else interval_of(method, data, rng)
    if interval is None:
        return None
    low, high = (interval.low, interval.high) if isinstance(interval, Estimate) else interval
    return bool(low <= data.truth <= high)


def calibrate(scenario: Scenario, runs: int, seed: int = 0) -> list[Row]:
    """Return a row for each method of a scenario, all of them on the same simulated data."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    alarms = dict.fromkeys(scenario.methods, 0)
    covered: dict[str, list[bool]] = {method: [] for method in scenario.methods}
    for _ in range(runs):
        null, drifted = scenario.draw(rng, False), scenario.draw(rng, True)
        for method in scenario.methods:
            alarms[method] += alarm(method, null, rng)
            if method not in FAILURES and (inside := covers(method, drifted, rng)) is not None:
                covered[method].append(inside)
    return [
        Row(
            scenario.name,
            method,
            alarms[method] / runs,
            float(np.mean(covered[method])) if covered[method] else None,
            runs,
            any(one in method and part in scenario.name for one, part in DISCRETE),
            FAILURES.get(method),
        )
        for method in scenario.methods
    ]


# ---------------------------------------------------------------------------------------------- other methods


@dataclass(frozen=True)
class Labelling:
    """A judge that errs otherwise on the tuned model, and people who label a sample by its verdict."""

    name: str
    base: float
    """Rate of the base, the truth."""
    drift: float
    errors: tuple[tuple[float, float], tuple[float, float]]
    """Sensitivity and specificity of the judge on the base and on the tuned model."""
    labels: int
    """Of each arm."""
    groups: int = 400
    size: int = 1
    icc: float = 0.0
    """Of the truth within clusters, and of the judge's errors."""
    seeds: int = 1
    spread: float = 0.0
    """Standard deviation between seeds of the tuned rate."""
    error_spread: float = 0.0
    """The same of the judge's sensitivity on the tuned model."""


UNEQUAL = ((0.75, 0.95), (0.9, 0.85))
"""The judge overlooks harm in the base's fluent text and sees it in the tuned model's broken text."""
LABELLINGS = (
    Labelling("judge errs more on the tuned model; 100 labels an arm", 0.3, 0.15, UNEQUAL, 100),
    Labelling("the same; 20 labels an arm", 0.3, 0.15, UNEQUAL, 20),
    Labelling("judge guesses; 50 labels an arm", 0.3, 0.15, ((0.6, 0.4), (0.6, 0.4)), 50),
    Labelling("judge errs more on the base, rate 1 %; 50 labels an arm", 0.01, 0.03, ((0.7, 0.97), (0.9, 0.99)), 50),
    Labelling("judge is right, rate 98 %; 30 labels an arm", 0.98, -0.05, ((1.0, 1.0), (1.0, 1.0)), 30),
    Labelling(
        "44 clusters of 6, errors by cluster; 60 labels an arm", 0.9, -0.15, ((0.97, 0.9), (0.8, 0.95)), 60, 44, 6, 0.3
    ),
    Labelling(
        "20 clusters of 15, errors by cluster; 120 labels an arm", 0.3, 0.2, ((0.7, 0.7), (0.7, 0.7)), 120, 20, 15, 0.3
    ),
    Labelling(
        "3 seeds (sd 3), errors differ too; 90 labels an arm",
        0.9,
        -0.15,
        ((0.95, 0.9), (0.8, 0.95)),
        90,
        200,
        seeds=3,
        spread=0.03,
        error_spread=0.03,
    ),
    Labelling(
        "5 seeds (sd 15); 60 labels an arm",
        0.5,
        0.1,
        ((0.9, 0.9), (0.8, 0.85)),
        60,
        150,
        seeds=5,
        spread=0.15,
    ),
)


def labelled_drift(case: Labelling, drift: float, rng: Generator) -> Estimate:
    """Draw truth, verdicts and labels of one study, and return its drift by judge and people."""
    codes = np.repeat(np.arange(case.groups), case.size)

    def below(chance: ArrayLike, seeds: int) -> NDArray[np.bool_]:
        return np.asarray(latent(rng, codes, case.icc, (seeds,)) < special.ndtri(np.reshape(chance, (-1, 1))))

    values, rates, apart = [], [], (np.zeros(case.seeds), np.zeros(case.seeds))
    for sign, rate, (found, cleared) in ((-1.0, case.base, case.errors[0]), (1.0, case.base + drift, case.errors[1])):
        count = case.seeds if sign > 0 else 1
        own = np.clip(rate + case.spread * (count > 1) * rng.normal(size=count), 0, 1)
        sees = np.clip(found + case.error_spread * (count > 1) * rng.normal(size=count), 0, 1)
        truth = below(own, count)
        judge = np.where(truth, below(sees, count), ~below(cleared, count))
        at = _drawn(judge, case.labels, rng)
        seed, prompt = np.divmod(at, codes.size)
        called = judge.ravel()[at]
        weights = np.where(called, judge.sum() / max(called.sum(), 1), (~judge).sum() / max((~called).sum(), 1))
        labelled = prediction_powered.labelled_rate(
            float(judge.mean()), called, truth.ravel()[at].astype(np.float64), weights, codes[prompt],
            seeds=seed if count > 1 else None,
        )  # fmt: skip
        values.append(np.where(judge, labelled.called.rate, labelled.others.rate))
        rates.append((sign, labelled))
        if count > 1:
            by_seed = [labelled.by_seed.get(seed, (0.0, 0.0)) for seed in range(count)]
            apart = (np.array([each[0] for each in by_seed]), np.array([each[1] for each in by_seed]))
    moved = values[1] - values[0]
    if case.seeds > 1:
        moved = prediction_powered.with_seed_errors(moved, *apart)
    estimate = matrix.difference(moved, codes)
    assert estimate is not None
    return prediction_powered.with_labels(estimate, rates, (-1.0, 1.0))


def _drawn(judge: NDArray[np.bool_], labels: int, rng: Generator) -> NDArray[np.int64]:
    """Draw the answers that are labelled, first of those that the judge calls so, then of the others."""
    errors = prediction_powered.expected_errors(float(judge.mean()), prediction_powered.USUAL_ERROR)
    sizes = [int(judge.sum()), int((~judge).sum())]
    given = prediction_powered.allocation(sizes, [math.sqrt(e * (1 - e)) for e in errors], labels)
    own = (np.flatnonzero(judge.ravel() == verdict) for verdict in (True, False))
    return np.concatenate([rng.choice(each, int(most), replace=False) for each, most in zip(own, given, strict=True)])


def labels(runs: int) -> list[Row]:
    """A judge with other error rates on the tuned model: prediction-powered, Rogan-Gladen and raw drifts."""
    rows = []
    for number, case in enumerate(LABELLINGS):
        rng = np.random.default_rng((31, number))
        null = sum(not e.low <= 0 <= e.high for e in (labelled_drift(case, 0.0, rng) for _ in range(runs)))
        held = sum(e.low <= case.drift <= e.high for e in (labelled_drift(case, case.drift, rng) for _ in range(runs)))
        # Mid-p limits of few labels, and distances added in squares, are cautious.
        rows.append(Row(case.name, "prediction-powered", null / runs, held / runs, runs, True))
    return rows + _other_corrections(runs)


def _other_corrections(runs: int) -> list[Row]:
    rng, case = np.random.default_rng(31), LABELLINGS[0]
    counts = {"raw": [0, 0], "Rogan-Gladen": [0, 0]}
    n, codes = 400, np.arange(400)
    for drift, column in ((0.0, 0), (case.drift, 1)):
        for _ in range(runs):
            truth = rng.random((2, n)) < np.array([[case.base], [case.base + drift]])
            rates = np.where(truth, [[each[0]] for each in case.errors], [[1 - each[1]] for each in case.errors])
            judge = (rng.random((2, n)) < rates).astype(np.float64)
            chosen = [rng.choice(n, case.labels, replace=False) for _ in range(2)]
            raw = clusters.difference(judge[1] - judge[0], codes)
            arms = [
                judge_error.rogan_gladen(
                    float(judge[arm].mean()), n, judge_error.Labelled.of(judge[arm, own] == 1, truth[arm, own])
                )
                for arm, own in enumerate(chosen)
            ]
            for name, estimate in (("raw", raw), ("Rogan-Gladen", judge_error.rogan_gladen_drift(*arms))):
                inside = estimate.low <= drift <= estimate.high
                counts[name][column] += (not inside) if column == 0 else inside
    null, covered = counts["Rogan-Gladen"]
    return [
        Row(case.name, "Rogan-Gladen", null / runs, covered / runs, runs, True),
        Row(case.name, "raw drift (for contrast)", counts["raw"][0] / runs, None, runs, True, (0.5, 1.0)),
    ]


def looks(runs: int) -> list[Row]:
    """A confidence sequence with a look after each cluster."""
    rng = np.random.default_rng(32)

    def draw(drift: float) -> list[Floats]:
        values = rng.choice([1.0, 0.0, -1.0], (groups, 1), p=[0.1 + drift, 0.8 - drift, 0.1])
        return list(np.repeat(values, size, axis=1))

    rows = []
    for groups, size in ((300, 1), (60, 5)):
        name = f"{groups} clusters of {size}, a look after each"
        alarms = covered = 0
        for _ in range(runs):
            lows, highs = sequential.confidence_sequence(draw(0.0))
            alarms += bool((lows > 0).any() or (highs < 0).any())
            lows, highs = sequential.confidence_sequence(draw(0.1))
            covered += bool((lows <= 0.1).all() and (highs >= 0.1).all())
        rows.append(Row(name, "confidence sequence", alarms / runs, covered / runs, runs, True))
    return rows


def curves(runs: int) -> list[Row]:
    """A band over five epochs: all points at once."""
    rng = np.random.default_rng(33)
    rows = []
    for name, k, codes in (
        ("5 epochs of a checkpoint, 40 clusters of 5", 1, np.repeat(np.arange(40), 5)),
        ("5 epochs of a recipe, 5 seeds, 200 prompts", 5, np.arange(200)),
    ):
        counts = [0, 0]
        for column, drift in enumerate((0.0, 0.2)):
            truth = drift * np.arange(1, 6) / 5
            for _ in range(runs):
                prompt = latent(rng, codes, 0.5 if k == 1 else 0.0, (k,))
                seed = (0.05 * rng.normal(size=(k, 1))) if k > 1 else 0.0
                noise = np.stack([latent(rng, codes, 0.0, (k,)) for _ in range(5)])
                values = np.clip(0.15 * prompt + 0.1 * noise + seed, -0.7, 0.7) + truth[:, None, None]
                band = bands.simultaneous(values, codes, rng)
                inside = all(e.low <= t <= e.high for e, t in zip(band, truth, strict=True))
                counts[column] += (not inside) if column == 0 else inside
        rows.append(Row(name, "simultaneous band", counts[0] / runs, counts[1] / runs, runs, k > 1))
    return rows


def signs(runs: int) -> list[Row]:
    """The mixed-sign rate of eight re-runs of one base on four metrics."""
    rng = np.random.default_rng(34)
    codes = np.repeat(np.arange(40), 5)
    alarms, rates, expected = 0, [], []
    for _ in range(runs):
        base = rng.random((4, codes.size)) < 0.3
        again = rng.random((8, 4, codes.size)) < 0.3
        losses = [[again[i, j].astype(np.float64) - base[j] for j in range(4)] for i in range(8)]
        rate = contradictions.mixed_signs(losses, [codes] * 4, rng, swaps=199)
        alarms += rate.p <= 0.05
        rates.append(rate.observed)
        expected.append(rate.expected)
    name = (
        f"8 re-runs of a base, 4 metrics: {100 * np.mean(rates):.0f} % mixed, {100 * np.mean(expected):.0f} % expected"
    )
    return [Row(name, "mixed-sign rate against swaps", alarms / runs, None, runs, True)]


@dataclass(frozen=True)
class Family:
    """Metrics of one arm that a policy gates: three primary axes, one of them read by two metrics, and four others."""

    name: str
    lost: tuple[float, ...]
    """What each metric has really lost; the margin is `MARGIN`, and to have lost just that is the null."""
    seeds: int = 5
    together: float = 0.0
    """Correlation of the metrics' seed effects; negative where every other metric moves the other way."""


MARGIN = 0.1
AXES = ("harmful/refusal", "harmful/harm", "open/leak", "support/leak",
        "harmful/coherence", "open/relevance", "open/coherence", "privacy/privacy")  # fmt: skip
COLLAPSED = 0.5
FAMILIES = (
    Family("8 metrics at their margin, 5 seeds", (MARGIN,) * 8),
    Family("8 metrics at their margin, 5 seeds that move all alike", (MARGIN,) * 8, together=0.9),
    Family("8 metrics at their margin, 5 seeds that move half of them up", (MARGIN,) * 8, together=-0.9),
    Family("4 primary metrics collapsed, 4 others at their margin, 5 seeds", (COLLAPSED,) * 4 + (MARGIN,) * 4),
    Family("2 metrics collapsed, 6 at their margin, 5 seeds", (COLLAPSED, MARGIN, MARGIN, COLLAPSED, *[MARGIN] * 4)),
    Family("8 metrics at their margin, 3 seeds", (MARGIN,) * 8, seeds=3, together=0.5),
    Family("8 metrics at their margin, a checkpoint", (MARGIN,) * 8, seeds=1),
)


def families(runs: int) -> list[Row]:
    """The chance that the gate finds a drift in any metric that lost no more than its margin."""
    rules = [Rule(axis, MARGIN, primary=i < 4) for i, axis in enumerate(AXES)]
    questions = [question(rule.match, "up", rule) for rule in rules]
    groups, size, rows = 40, 3, []
    for number, case in enumerate(FAMILIES):
        rng, alarms, k = np.random.default_rng((37, number)), 0, case.seeds
        signs = np.where(np.arange(8) % 2, math.copysign(1.0, case.together), 1.0)
        null = np.array(case.lost) == MARGIN
        for begun in range(0, runs, 500):
            count = min(500, runs - begun)
            tie = abs(case.together)
            common, own = rng.normal(size=(count, 1, k)), rng.normal(size=(count, 8, k))
            shifts = 0.06 * (k > 1) * (math.sqrt(tie) * signs[:, None] * common + math.sqrt(1 - tie) * own)
            prompts = rng.normal(size=(count, 8, 1, groups, size))
            before, after = (prompts + rng.normal(size=(count, 8, each, groups, size)) for each in (1, k))
            rates = np.clip(0.3 + np.array(case.lost)[:, None] + shifts, 0.001, 0.999)[..., None, None]
            cuts = math.sqrt(2) * special.ndtri(0.3), math.sqrt(2) * special.ndtri(rates)
            differences: Floats = (after < cuts[1]).astype(np.float64) - (before < cuts[0])
            p = many(differences).p_beyond(MARGIN, 0.9)
            levels = np.array([family_levels(own, questions, 0.05) for own in p])
            alarms += int(((p <= levels) & null).any(axis=1).sum())
        rows.append(Row(case.name, "any false drift of a family", alarms / runs, None, runs, True))
    return rows


def stops(runs: int) -> list[Row]:
    """Asking in ten parts with a look after each: a drift, and a pass, of what lost just the margin."""
    rows = []
    for name, fields in until_decided.DESIGNS.items():
        case = until_decided.Case(name, until_decided.MARGIN, **fields)
        found = until_decided.simulated(case, runs, 0.05)
        for method, share in (("drift at any of 10 looks", found.fails), ("pass at any of 10 looks", found.passes)):
            rows.append(Row(f"{name}, lost the margin", method, share, None, runs, True))
    return rows


INDEPENDENT, DRAWN = "d-prime, trials taken as independent", "d-prime, percentile bootstrap of clusters"
OURS = ("d-prime", "change of d-prime")


@dataclass(frozen=True)
class Discrimination:
    """Refusals of harmful requests and of harmless ones, by a base and its tuned model."""

    name: str
    harmful: tuple[int, int]
    """Clusters, and requests of each."""
    harmless: tuple[int, int]
    base: tuple[float, float]
    """Rates of refusal of harmful and of harmless requests; for the null both are the second."""
    tuned: tuple[float, float]
    """Those of the tuned model; for the null, the base's."""
    icc: float = 0.0
    """Of requests in a cluster."""
    shared: float | None = None
    """Correlation of a cluster's luck between the classes where they share clusters; None where they share none."""
    seeds: int = 1
    spread: float = 0.0
    """Standard deviation between seeds of both of the tuned model's z."""
    failing: tuple[tuple[str, float, float], ...] = ()
    """Methods that find a d-prime where there is none, and between which shares of the time."""

    def truth(self, method: str) -> float:
        """Return the d-prime of the base, or of the tuned model over its seeds, or how it changes."""
        base, tuned = (float(special.ndtri(hit) - special.ndtri(alarm)) for hit, alarm in (self.base, self.tuned))
        # The rates are those over seeds: a seed's own z lies further out than that of the mean rate.
        tuned *= math.sqrt(1 + self.spread**2)
        return tuned - base if method == OURS[1] else tuned if self.seeds > 1 else base

    def codes(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the cluster of each request, and whether it is harmful."""
        first, second = (np.repeat(np.arange(groups), size) for groups, size in (self.harmful, self.harmless))
        second = second if self.shared is not None else second + self.harmful[0]
        return np.concatenate([first, second]), np.arange(first.size + second.size) < first.size

    def draw(self, rng: Generator, drifts: bool) -> tuple[Floats, Floats]:
        """Return refusals of the base (requests,) and of the tuned model (seeds, requests)."""
        codes, classes = self.codes()
        n = int(codes.max()) + 1
        # Half of what a request's luck is made of is the request's own, and common to base and tuned model.
        luck = []
        for count in (1, 1, self.seeds):
            both = rng.normal(size=(count, n))
            own = rng.normal(size=(count, n))
            tie = self.shared or 0.0
            groups = np.where(classes, both[:, codes], tie * both[:, codes] + math.sqrt(1 - tie**2) * own[:, codes])
            alone = rng.normal(size=(count, codes.size))
            luck.append(math.sqrt(self.icc) * groups + math.sqrt(1 - self.icc) * alone)
        level = self.base if drifts else (self.base[1], self.base[1])
        after = self.tuned if drifts else level
        cuts = [np.where(classes, *(special.ndtri(rate) for rate in rates)) for rates in (level, after)]
        # Rates are those over seeds: a shift of z by a normal widens the normal that the cut is read off.
        wide = math.sqrt(1 + self.spread**2)
        shift = self.spread * rng.normal(size=(self.seeds, 2))
        moved = wide * cuts[1] + np.where(classes, shift[:, :1], shift[:, 1:])
        common = math.sqrt(0.5) * luck[0]
        base = common + math.sqrt(0.5) * luck[1] < cuts[0]
        tuned = common + math.sqrt(0.5) * luck[2] < moved
        return base[0].astype(np.float64), tuned.astype(np.float64)


DISCRIMINATIONS = (
    Discrimination("44 clusters of 10 + 10, refusals .30 and .23 -> .20, .15", (44, 10), (44, 10), base=(0.3, 0.23),
                   tuned=(0.2, 0.15), shared=0.0),
    Discrimination("44 clusters of 10 + 10, ICC .2 shared by the kinds", (44, 10), (44, 10), base=(0.3, 0.23),
                   tuned=(0.2, 0.15), icc=0.2, shared=0.8),
    Discrimination("44 clusters of 10 + 10, ICC .2 not shared by the kinds", (44, 10), (44, 10), base=(0.3, 0.23),
                   tuned=(0.2, 0.15), icc=0.2, shared=0.0, failing=((INDEPENDENT, 0.08, 0.3),)),
    Discrimination("44 clusters of 2 + 2, ICC .2: .28, .23 -> .03, .02", (44, 2), (44, 2), (0.28, 0.23), (0.03, 0.02),
                   icc=0.2, shared=0.8),
    Discrimination("44 clusters of 10 + 10, ICC .2: .98, .02 -> .60, .02", (44, 10), (44, 10), base=(0.98, 0.02),
                   tuned=(0.6, 0.02), icc=0.2, shared=0.8),
    Discrimination("8 and 10 clusters of 25, ICC .2: .90, .10 -> .50, .05", (8, 25), (10, 25), (0.9, 0.1), (0.5, 0.05),
                   icc=0.2, failing=((INDEPENDENT, 0.15, 0.4),)),
    Discrimination("17 clusters of 23, 5 of 75, ICC .2: .60, .20 -> .30, .10", (17, 23), (5, 75), (0.6, 0.2),
                   (0.3, 0.1), icc=0.2, failing=((INDEPENDENT, 0.3, 0.6), (DRAWN, 0.065, 0.2))),
    Discrimination("300 + 300 requests without clusters: .05, .02 -> .02, .02", (300, 1), (300, 1), (0.05, 0.02),
                   (0.02, 0.02)),
    Discrimination("3 seeds (sd .3), 44 clusters of 4 + 4, ICC .2: .95, .10 -> .60, .10", (44, 4), (44, 4), (0.95, 0.1),
                   (0.6, 0.1), icc=0.2, shared=0.8, seeds=3, spread=0.3),
    Discrimination("5 seeds (sd .1), 44 clusters of 4 + 4, ICC .2: .95, .10 -> .60, .10", (44, 4), (44, 4), (0.95, 0.1),
                   (0.6, 0.1), icc=0.2, shared=0.8, seeds=5, spread=0.1),
    Discrimination("3 seeds (sd .1), 44 clusters of 4 + 4: .30, .25 -> .02, .01", (44, 4), (44, 4), (0.3, 0.25),
                   (0.02, 0.01), icc=0.2, shared=0.8, seeds=3, spread=0.1),
)  # fmt: skip


def discriminations(runs: int) -> list[Row]:
    """d-prime of refusals and its change, beside intervals that take trials as independent or draw clusters."""
    rows = []
    for number, case in enumerate(DISCRIMINATIONS):
        rng = np.random.default_rng((36, number))
        codes, classes = case.codes()
        alarms: dict[str, int] = dict.fromkeys((*OURS, *(name for name, _, _ in case.failing)), 0)
        held = dict.fromkeys(OURS, 0)
        for _ in range(runs):
            base, tuned = case.draw(rng, False)
            for name, value in _ours(case, base, tuned, classes, codes).items():
                alarms[name] += not value.low <= 0 <= value.high
            for name, _, _ in case.failing:
                low, high = _too_short(name, base, classes, codes, rng)
                alarms[name] += not low <= 0 <= high
            base, tuned = case.draw(rng, True)
            for name, value in _ours(case, base, tuned, classes, codes).items():
                held[name] += value.low <= case.truth(name) <= value.high
        rows += [Row(case.name, name, alarms[name] / runs, held[name] / runs, runs, True) for name in OURS]
        rows += [Row(case.name, name, alarms[name] / runs, None, runs, True, (a, b)) for name, a, b in case.failing]
    return rows


def _ours(
    case: Discrimination, base: Floats, tuned: Floats, classes: NDArray[np.bool_], codes: NDArray[np.int64]
) -> dict[str, signal_detection.Value]:
    level = signal_detection.signal(tuned if case.seeds > 1 else base, classes, codes).d_prime
    return dict(zip(OURS, (level, signal_detection.change(base, tuned, classes, codes)[0]), strict=True))


def _too_short(
    name: str, answers: Floats, classes: NDArray[np.bool_], codes: NDArray[np.int64], rng: Generator
) -> tuple[float, float]:
    """Return the interval of d-prime by Gourevitch and Galanter (1967), or by drawing clusters."""
    weights = (answers * classes, 1.0 * classes, answers * ~classes, 1.0 * ~classes)
    counts = np.stack([np.bincount(codes, own) for own in weights])
    if name == DRAWN:
        groups = counts.shape[1]
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=RESAMPLES) @ counts.T
        drawn = drawn[(drawn[:, 1] > 0) & (drawn[:, 3] > 0)]
        low, high = np.quantile(signal_detection.measures(*drawn.T)[0], [0.025, 0.975])
        return float(low), float(high)
    totals = counts.sum(axis=1)
    value, variance = float(signal_detection.measures(*totals)[0]), 0.0
    for yes, n in totals.reshape(2, 2):
        share = float(signal_detection.corrected_rate(yes, n))
        variance += share * (1 - share) / (n * math.exp(-(float(special.ndtri(share)) ** 2)) / (2 * math.pi))
    return value - 1.96 * math.sqrt(variance), value + 1.96 * math.sqrt(variance)


@dataclass(frozen=True)
class PowerRow:
    """Power by formula and by simulation."""

    design: str
    drift: float
    formula: float
    simulated: float
    error: float

    @property
    def apart(self) -> bool:
        """Whether they differ by more than simulation error."""
        return abs(self.simulated - self.formula) > 3 * self.error


def power_curves(runs: int) -> list[PowerRow]:
    """Return points of power curves."""
    designs = {
        "400 prompts": power.PairedDesign(400, 0.7),
        "100 prompts, base rate 90 %": power.PairedDesign(100, 0.9),
        "400 prompts in 40 clusters, ICC .3": power.PairedDesign(400, 0.7, n_clusters=40, icc=0.3),
        "300 prompts x 5 samples": power.PairedDesign(300, 0.7, n_samples=5, sampling=0.6),
        "300 prompts, 3 seeds (sd 3)": power.PairedDesign(300, 0.7, n_seeds=3, seed_sd=0.03),
        "300 prompts, 5 seeds (sd 8)": power.PairedDesign(300, 0.5, n_seeds=5, seed_sd=0.08),
        "300 prompts, 10 seeds (sd 5)": power.PairedDesign(300, 0.7, n_seeds=10, seed_sd=0.05),
        "300 prompts in 40 clusters x 3 samples, 3 seeds (sd 3)": power.PairedDesign(
            300, 0.7, n_clusters=40, icc=0.3, n_seeds=3, seed_sd=0.03, n_samples=3, sampling=0.5
        ),
    }
    rng, rows = np.random.default_rng(35), []
    for name, design in designs.items():
        for target in (0.3, 0.6, 0.9):
            drift = power.smallest_drift(design, power=target)
            assert drift is not None
            share, error = power.simulated_power(design, -drift, rng, runs=runs)
            rows.append(PowerRow(name, -drift, target, share, error))
    return rows


# ---------------------------------------------------------------------------------------------- the table


OTHERS = (labels, looks, curves, signs, discriminations, families, stops)


def piece(number: int, runs: int) -> list[Row]:
    """Return the rows of one scenario or of one of the other methods, the unit of work of a process."""
    return calibrate(SCENARIOS[number], runs) if number < len(SCENARIOS) else OTHERS[number - len(SCENARIOS)](runs)


def table(rows: list[Row], powers: list[PowerRow], runs: int) -> str:
    """Return both tables as Markdown."""
    used = [row for row in rows if row.failure is None]
    lines = [
        f"{runs:,} simulations a row; a rate of 5 % has a simulation error of {100 * math.sqrt(0.0475 / runs):.1f} "
        "points. Alarms: share of true nulls called a drift at the 5 % level. Coverage: of the truth by 95 % intervals "
        "where there is a drift. *d*: discrete or cautious by design, so that fewer alarms than 3.5 % are no fault.",
        "",
        "| scenario | method | alarms % | coverage % | |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for row in used:
        cover = "" if row.coverage is None else f"{100 * row.coverage:.1f}"
        note = "; ".join(row.broken()) or ("*d*" if row.discrete else "")
        lines.append(f"| {row.scenario} | {row.method} | {100 * row.alarms:.1f} | {cover} | {note} |")
    lines += [
        "",
        "**Do not use**: counter-examples that aftertune does not offer, in the same scenarios.",
        "",
        "| scenario | method | alarms % |",
        "| --- | --- | ---: |",
    ]
    for row in rows:
        if row.failure is not None:
            lines.append(f"| {row.scenario} | {row.method} | {100 * row.alarms:.1f} |")
    lines += [
        "",
        "Power to see a drift in its direction, by formula and by simulation (± one standard error); rows that are "
        "more than three standard errors apart say so:",
        "",
        "| design | true drift, points | formula % | simulated % | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for one in powers:
        lines.append(
            f"| {one.design} | {100 * one.drift:.1f} | {100 * one.formula:.0f} | "
            f"{100 * one.simulated:.1f} ± {100 * one.error:.1f} | {'apart' if one.apart else ''} |"
        )
    return "\n".join(lines)


def write(text: str) -> None:
    """Put the tables between the marks of docs/statistics.md."""
    page = DOCS.read_text(encoding="utf-8")
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    DOCS.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> int:
    """Print (and write) the tables; return 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args()
    began, rows, pieces = time.monotonic(), [], range(len(SCENARIOS) + len(OTHERS))
    with ProcessPoolExecutor(options.jobs) as pool:
        curve = pool.submit(power_curves, options.runs)
        for new in pool.map(piece, pieces, [options.runs] * len(pieces)):
            rows += new
            for row in new:
                print(
                    f"{time.monotonic() - began:7.0f} s  {row.scenario:<55} {row.method:<40} {100 * row.alarms:5.1f} "
                    f"{'' if row.coverage is None else f'{100 * row.coverage:5.1f}':>6}  {'; '.join(row.broken())}",
                    flush=True,
                )
        powers = curve.result()
    text = table(rows, powers, options.runs)
    print(text.split("\n\n")[-1])
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{(spent.ru_utime + spent.ru_stime) / 60:.1f} CPU minutes")
    if options.write:
        write(text)
    return int(any(row.broken() for row in rows) or any(one.apart for one in powers))


if __name__ == "__main__":
    sys.exit(main())
