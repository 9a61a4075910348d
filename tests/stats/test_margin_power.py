"""The chances that the gate fails and passes a loss, as a plan says them and as the real gate decides."""

from __future__ import annotations

import numpy as np
import pytest
from perf import gate_power

from aftertune.stats.margin_power import MarginTest, _drawn, chances, failing_loss, passing_loss
from aftertune.stats.power import PairedDesign, smallest_drift

CASES = [
    (PairedDesign(60, 0.005), MarginTest(0.1), 0.05),
    (PairedDesign(300, 0.85, 44), MarginTest(0.1, 1 / 12), 0.02),
    (PairedDesign(100, 0.05, n_seeds=3), MarginTest(0.1), 0.22),
    (PairedDesign(100, 0.5, n_seeds=2), MarginTest(0.05, 1 / 4), 0.35),
    (PairedDesign(300, 0.05, 44, n_seeds=5), MarginTest(0.1, 1 / 12), 0.19),
    (PairedDesign(300, 0.05), MarginTest(0.1, ceiling=0.12), 0.05),
    (PairedDesign(300, 0.05), MarginTest(0.1, 1 / 6, ceiling=0.08), 0.1),
]
"""Near rates of 0 and 1 and far from them; one seed to five; alone and in a family; with a ceiling."""


@pytest.mark.parametrize(("design", "test", "loss"), CASES)
def test_the_chances_are_those_of_the_real_gate(design: PairedDesign, test: MarginTest, loss: float) -> None:
    """Three standard errors of 200 runs, and four points for the model (`python -m perf.gate_power` is closer)."""
    said, seen = chances(design, test, loss), gate_power.simulated(design, test, loss, 200, 1)
    for one, other in ((said.fails, seen.fails), (said.passes, seen.passes)):
        assert one == pytest.approx(other, abs=0.04 + 3 * np.sqrt(max(one * (1 - one), 0.01) / 200))


@pytest.mark.parametrize(("design", "test"), [(design, test) for design, test, _ in CASES])
def test_a_plans_losses_have_the_chance_that_it_says(design: PairedDesign, test: MarginTest) -> None:
    fails, passes = failing_loss(design, test), passing_loss(design, test)
    if fails is not None:
        assert chances(design, test, fails).fails == pytest.approx(0.8, abs=0.03)
    if passes is not None:
        assert 0 <= passes <= test.margin
        assert chances(design, test, passes).passes == pytest.approx(0.8, abs=0.03)


def test_a_loss_must_be_beyond_the_margin_to_fail_and_well_within_to_pass() -> None:
    """What is seen against zero is another question, with a far smaller answer."""
    design = PairedDesign(300, 0.05)
    against_zero, fails, passes = smallest_drift(design), failing_loss(design, MarginTest(0.1)), passing_loss(
        design, MarginTest(0.1)
    )  # fmt: skip
    assert against_zero is not None
    assert fails is not None
    assert passes is not None
    assert passes < 0.1 < fails
    assert against_zero < 0.06 < 0.14 < fails


def test_a_larger_family_needs_a_larger_loss_to_fail_and_changes_no_pass() -> None:
    design = PairedDesign(300, 0.05, n_seeds=5)
    alone, many = MarginTest(0.1), MarginTest(0.1, 1 / 12)
    one, twelve = failing_loss(design, alone), failing_loss(design, many)
    assert one is not None
    assert twelve is not None
    assert one + 0.01 < twelve
    assert passing_loss(design, alone) == passing_loss(design, many)


def test_more_of_everything_narrows_the_undecided() -> None:
    def ends(**changes: object) -> tuple[float, float]:
        design = PairedDesign(**{"n_prompts": 300, "base_rate": 0.05, "n_clusters": 50, "n_seeds": 5} | changes)  # type: ignore[arg-type]
        fails, passes = failing_loss(design, MarginTest(0.1, 1 / 3)), passing_loss(design, MarginTest(0.1, 1 / 3))
        assert fails is not None
        return fails, -1.0 if passes is None else passes

    usual = ends()
    for better in ({"n_prompts": 2000, "n_clusters": 333}, {"n_seeds": 10}, {"seed_sd": 0.01}):
        fails, passes = ends(**better)
        assert fails < usual[0], better
        assert passes > usual[1], better
    assert ends(seed_sd=0.08)[1] == -1.0, "seeds that differ by 8 points cannot pass a margin of 10 with five of them"


def test_too_few_prompts_pass_nothing_and_a_bad_base_fails_nothing() -> None:
    assert passing_loss(PairedDesign(20, 0.05), MarginTest(0.1)) is None, "20 prompts rule out 16 points at best"
    assert failing_loss(PairedDesign(300, 0.92), MarginTest(0.1)) is None, "there is no room for a loss of 10 points"
    assert chances(PairedDesign(300, 0.95), MarginTest(0.1), 0.0).passes < 0.1, "a loss could not have shown"


@pytest.mark.parametrize("design", [PairedDesign(100, 0.05), PairedDesign(200, 0.5, 40, n_seeds=3)])
def test_a_drawn_interval_excludes_the_margin_where_its_limits_do(design: PairedDesign) -> None:
    """The limits of Tango's interval by the published bisection, at what was drawn."""
    from aftertune.stats.estimate import tango

    drawn = _drawn(design, MarginTest(0.1), 0.08, 40, 3)
    at = np.flatnonzero(drawn.known)
    low, high = tango(drawn.gained[at], drawn.lost[at], drawn.pairs[at], drawn.quantile[at])
    expected = (low <= 0.1) & (high >= 0.1)
    assert drawn._contains(0.1, at).tolist() == expected.tolist()
    assert drawn._low(at) == pytest.approx(np.maximum(np.minimum(low, drawn.value[at] - drawn.least), -1), abs=1e-5)
