"""The page on repairs: which dose its rule takes, what it says of the targets, and that its studies can be resolved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
from perf import repair

from aftertune.deciding.repair import Cell, Difference, Frontier, Row, Share
from aftertune.plugins import PluginSpec
from aftertune.studies.resolve import resolve

METHODS = [PluginSpec("interpolation", {"shares": [share]}) for share in (0.75, 0.5, 0.25)]
HARMFUL, DRESSED = repair.SAFETY


def frontier(rates: Mapping[str, tuple[float, float]]) -> Frontier:
    """Return one with these rates of plain and dressed refusals of each recipe; the base refuses all."""

    def cells(plain: float, dressed: float) -> dict[str, Cell]:
        near = Difference(0.0, -0.01, 0.01, 100, 1)
        return {
            HARMFUL: Cell(1.0, 0.5, plain, near, near, "drift", restored=Share(2 * plain - 1, 2 * plain - 1.05, 1.2)),
            DRESSED: Cell(1.0, 0.5, dressed, near, near, "pass", restored=Share(2 * dressed - 1, None, None)),
            repair.OVER: Cell(0.1, 0.1, 0.1, near, near, "pass"),
            repair.LOSS: Cell(1.2, 0.6, 0.61, None, Difference(0.01, 0.005, 0.015, 50, 1)),
        }

    rows = [Row("embedded", "keep", name, cells(*each), 1.0, "cannot be told", "") for name, each in rates.items()]
    kinds = {"safety": [HARMFUL, DRESSED], "over_refusal": [repair.OVER], "task": [repair.LOSS]}
    kinds |= {"leaks": [], "privacy": [], "other": []}
    return Frontier("embedded", "keep", "lora", kinds, tuple(rows), (), "", ())


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({"0.75": (0.96, 0.96), "0.5": (1.0, 1.0), "0.25": (1.0, 1.0)}, 0.75),
        ({"0.75": (0.99, 0.94), "0.5": (0.96, 0.97), "0.25": (1.0, 1.0)}, 0.5),
        ({"0.75": (0.9, 0.6), "0.5": (0.8, 0.8), "0.25": (1.0, 0.7)}, 0.5),
    ],
    ids=["the smallest that is near", "near on both rates", "none is near: the highest lowest"],
)
def test_the_rule_takes_the_smallest_dose_that_is_near_the_base(
    rates: Mapping[str, tuple[float, float]], taken: float
) -> None:
    found = frontier({"lora": (0.5, 0.5), **{f"lora+interpolation-{dose}": each for dose, each in rates.items()}})
    spec, seen = repair.chosen(found, METHODS, repair.MAIL)
    assert spec.parameters == {"shares": [taken]}
    assert [round(each["short"], 6) for each in seen] == [round(1 - min(each), 6) for each in rates.values()]


def test_targets_are_reached_by_the_interval_or_by_the_value_alone() -> None:
    found = frontier({"lora": (0.5, 0.5), "lora+good": (1.0, 0.2), "lora+near": (0.96, 1.0), "lora+bad": (0.7, 1.0)})
    heads, _, good, near, bad = repair.targets(found)[2:]
    assert heads.split(" | ")[1] == "90 % of the lost refusals are back"
    assert "privacy" not in heads, "nothing of it was lost"
    assert good == "| `good` | shown | estimate | shown |", "dressed refusals were not lost, and do not count"
    assert near == "| `near` | estimate | estimate | shown |"
    assert bad == "| `bad` | no | estimate | shown |"


def test_lost_privacy_has_a_target_of_its_own() -> None:
    """What little of the refusals was lost beside it does not decide whether privacy is back."""
    plain = frontier({"lora": (0.5, 0.5), "lora+good": (0.6, 1.0)})
    near = Difference(0.0, -0.01, 0.01, 100, 1)
    rows = [
        dataclasses.replace(
            row,
            cells={**row.cells, repair.PRIVACY: Cell(1.0, 0.2, value, near, near, "drift", restored=share)},
        )
        for row, value, share in zip(plain.rows, (0.2, 0.9), (None, Share(0.88, 0.82, 0.94)), strict=True)
    ]
    kinds = {**plain.metrics, "privacy": [repair.PRIVACY]}
    found = dataclasses.replace(plain, rows=tuple(rows), metrics=kinds, lost=(repair.PRIVACY,))
    heads, _, good = repair.targets(found)[2:]
    assert heads.split(" | ")[2] == "80 % of the lost contextual privacy is back"
    assert good == "| `good` | no | shown | estimate | shown |"


@pytest.mark.parametrize("loss", [repair.MAIL, *repair.OTHERS.values()], ids=lambda loss: loss.name)
def test_each_loss_is_a_study_of_one_arm_on_prompts_that_no_dose_was_chosen_on(loss: repair.Loss) -> None:
    planned = repair.design("test", repair.SEEDS, METHODS[:1], loss=loss)
    study = resolve(planned)
    assert {arm.name for arm in planned.arms if arm.mitigations} == {loss.arm}
    assert len(planned.bases) == 1
    assert not set(planned.seeds) & set(repair.DEVELOPMENT)
    asked = {metric.name for metric in study.metrics}
    assert {*loss.counts, repair.OVER, repair.LOSS} <= asked
    assert set(repair.PARTS) >= set(repair.OTHERS)
