"""What drift says beside its estimates: where the spread comes from, and which metrics contradict each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding.contradictions import contradictions, mixed_signs
from aftertune.deciding.drift import drift
from aftertune.deciding.variance_sources import spreads
from aftertune.records import Metric, Verdict
from aftertune.stats.variance_components import components

HARM = Metric("suite", "harmful", "harm", None, "up")


def harm(rng: np.random.Generator, arm: str, seed: int | None, shift: float, samples: int = 1) -> list[Verdict]:
    rows: list[Verdict] = []
    for sample in range(samples):
        values = np.clip(0.4 + shift + 0.1 * rng.normal(size=60), 0, 1)
        rows += verdicts([float(v) for v in values], arm=arm, seed=seed, sample=sample, value=True, axis="harm")
    return rows


def test_seed_spread_is_found_by_name() -> None:
    rng = np.random.default_rng(0)
    shifts = (-0.15, 0.0, 0.15, 0.3, -0.3)
    table = made(harm(rng, "base", None, 0), *(harm(rng, "keep", s, d, 3) for s, d in enumerate(shifts)))
    found = {one.source: one for one in spreads(table, [HARM])}
    assert set(found) == {"seed", "prompt", "seed x prompt", "sampling + judge x answer"}
    seed = found["seed"]
    assert seed.low < np.var(shifts, ddof=1) < seed.high
    assert seed.part > 0.6
    assert (seed.n_seeds, seed.n_prompts, seed.n_samples, seed.n_judges) == (5, 60, 3, 1)
    assert sum(one.part for one in found.values()) == pytest.approx(1)
    assert found["sampling + judge x answer"].variance == pytest.approx(0.01, rel=0.25)


def test_spreads_are_the_components_of_the_differences() -> None:
    rng = np.random.default_rng(1)
    base, tuned = rng.random(30) < 0.7, rng.random((3, 30)) < 0.5
    table = made(
        verdicts(list(base.astype(int))),
        *(verdicts([int(v) for v in row], arm="keep", seed=s) for s, row in enumerate(tuned)),
    )
    ours = [(one.source, one.variance, one.low, one.high) for one in spreads(table, [REFUSAL])]
    theirs = components((tuned.astype(float) - base)[:, :, None, None])
    assert ours == [(one.source, one.variance, one.low, one.high) for one in theirs]
    assert all("only 3 training seeds" in one.warning for one in spreads(table, [REFUSAL]))


def test_two_judges_are_a_source_and_one_answer_is_none() -> None:
    rng = np.random.default_rng(2)
    rows = [*harm(rng, "base", None, 0), *harm(rng, "keep", 1, 0.1), *harm(rng, "keep", 2, 0.1)]
    again = [
        dataclasses.replace(row, judge="other", value=(row.value or 0) + (0.3 if row.arm == "keep" else 0))
        for row in rows
    ]
    found = {one.source: one for one in spreads(made(rows, again), [HARM])}
    assert found["judge"].variance == pytest.approx(0.3**2 / 2, rel=0.05)
    assert found["judge"].n_judges == 2
    assert spreads(made(harm(rng, "base", None, 0), harm(rng, "keep", 1, 0)), [HARM]) == []


def test_real_movements_in_opposite_directions_are_told_from_noise() -> None:
    rng = np.random.default_rng(3)
    base = list((rng.random(200) < 0.5).astype(int))
    better, noise = ([int(x) for x in rng.random(200) < rate] for rate in (0.95, 0.5))
    rows = [verdicts(base), verdicts(better, arm="keep", seed=1), verdicts(noise, arm="other", seed=1)]
    harms = [
        [dataclasses.replace(row, axis="harm", label=None, value=float(rng.random() < rate)) for row in own]
        for own, rate in zip(rows, (0.2, 0.6, 0.2), strict=True)
    ]
    table = made(*rows, *harms)
    metrics = [REFUSAL, HARM]
    mixed = mixed_signs(table, metrics, seed=0)
    (one,) = mixed
    assert (one.n_checkpoints, one.n_metrics) == (2, 2)
    assert 0.2 < one.expected < 0.7
    assert one.low <= one.expected <= one.high
    (found,) = contradictions(drift(table, metrics, seed=0), mixed)
    assert found.unit == "keep seed 1"
    assert (found.better, found.worse) == ((REFUSAL.name,), (HARM.name,))
    assert "where nothing drifts at all" in found.why
    assert mixed_signs(table, [REFUSAL], seed=0) == []
    assert mixed_signs(table, metrics, seed=0, counts=lambda name, _: name == REFUSAL.name) == []


def test_two_names_of_one_thing_never_contradict() -> None:
    rng = np.random.default_rng(4)
    table = made(
        verdicts(list((rng.random(100) < 0.5).astype(int))),
        verdicts(list((rng.random(100) < 0.5).astype(int)), arm="keep", seed=1),
    )
    # Fewer refusals and more answers are the same event.
    (one,) = mixed_signs(table, [REFUSAL, OVER], seed=0)
    assert (one.observed, one.expected) == (0.0, 0.0)


def test_exploration_has_its_own_adjustment() -> None:
    rng = np.random.default_rng(5)
    table = made(
        verdicts(list((rng.random(100) < 0.5).astype(int))),
        *(verdicts(list((rng.random(100) < 0.3).astype(int)), arm="keep", seed=s) for s in range(3)),
    )
    rows = [row for row in drift(table, [REFUSAL, OVER], seed=0) if row.estimand == "checkpoint"]
    assert all(row.p is not None and row.q is not None and row.p <= row.q for row in rows)
    assert max(row.q or 0 for row in rows) <= 6 * min(row.p or 1 for row in rows) + max(row.p or 0 for row in rows)


def test_contradictions_of_several_bases_and_recipes_are_told_apart() -> None:
    rng = np.random.default_rng(6)
    rows: list[Verdict] = []
    for base in ("m", "n"):
        rows += [dataclasses.replace(v, base=base) for v in [*verdicts([0] * 60), *harm(rng, "base", None, 0)]]
        for recipe, seed in ((r, s) for r in ("lora", "full") for s in (1, 2, 3)):
            own = [*verdicts([1] * 60, arm="x", seed=seed), *harm(rng, "x", seed, 0.3)]
            own = own if recipe == "lora" else [v for v in own if v.axis == "refusal"] + harm(rng, "x", seed, 0.0)
            rows += [dataclasses.replace(v, base=base, recipe=recipe, checkpoint=f"{recipe}-{seed}") for v in own]
    found = contradictions(drift(made(rows), [REFUSAL, HARM], seed=0))
    assert [one.unit for one in found] == ["x, m, lora", "x, n, lora"], "full tuning does more harm on neither base"
