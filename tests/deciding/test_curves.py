import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.verdict_tables import REFUSAL, made, verdicts

from aftertune.deciding.curves import bands
from aftertune.deciding.drift import drift
from aftertune.findings import Findings
from aftertune.reporting.report import report


def table(seeds: tuple[int | None, ...], epochs: tuple[int, ...], temperatures: tuple[float, ...] = (0.0,)) -> Any:
    rng, groups = np.random.default_rng(3), []
    clusters = [f"c{i // 4}" for i in range(80)]
    for temperature in temperatures:
        common: dict[str, Any] = {"clusters": clusters, "temperature": temperature}
        groups.append(verdicts((rng.random(80) < 0.9).astype(int).tolist(), **common))
        for seed in seeds:
            for epoch in epochs:
                outcomes = (rng.random(80) < 0.9 - 0.2 * epoch).astype(int).tolist()
                groups.append(verdicts(outcomes, arm="a", seed=seed, epoch=epoch, **common))
    return made(*groups)


def key(row: Any) -> tuple[Any, ...]:
    return (row.metric, row.estimand, row.arm, row.recipe, row.checkpoint, row.epoch, row.temperature, row.judge)


@pytest.mark.parametrize(("seeds", "estimand"), [((0, 1, 2), "recipe"), ((0,), "checkpoint"), ((None,), "checkpoint")])
def test_a_band_belongs_to_its_drift_and_is_wider(seeds: tuple[int | None, ...], estimand: str) -> None:
    verdict_table = table(seeds, (1, 2, 3))
    found = bands(verdict_table, [REFUSAL], seed=0)
    assert [(one.epoch, one.over, one.n_points, one.estimand) for one in found] == [
        (epoch, "epoch", 3, estimand) for epoch in (1, 2, 3)
    ]
    rows = {key(row): row for row in drift(verdict_table, [REFUSAL], seed=0)}
    for one in found:
        row = rows[key(one)]
        assert row.low is not None
        assert row.high is not None
        assert one.delta == pytest.approx(row.delta)
        assert one.low < row.low < row.high < one.high
        assert one.high - one.low < 2 * (row.high - row.low)
    assert bands(verdict_table, [REFUSAL], seed=0) == found


def test_temperatures_are_a_curve_of_their_own() -> None:
    found = bands(table((0, 1, 2), (1, 2), (0.0, 0.7)), [REFUSAL], seed=0)
    assert sorted((one.over, one.temperature, one.epoch) for one in found) == sorted(
        [("epoch", t, e) for t in (0.0, 0.7) for e in (1, 2)]
        + [("temperature", t, e) for t in (0.0, 0.7) for e in (1, 2)]
    )


def test_points_with_other_seeds_or_without_a_judged_pair_have_no_band() -> None:
    ragged = made(
        verdicts([1, 0, 1, 1]),
        verdicts([1, 0, 0, 1], arm="a", seed=0, epoch=1),
        verdicts([1, 1, 0, 1], arm="a", seed=1, epoch=1),
        verdicts([0, 0, 0, 1], arm="a", seed=0, epoch=2),
    )
    assert bands(ragged, [REFUSAL], seed=0) == []
    unread = made(
        verdicts([1, 0, 1, 1]),
        verdicts([1, 0, 0, 1], arm="a", seed=0, epoch=1),
        verdicts([None] * 4, arm="a", seed=0, epoch=2),
    )
    assert bands(unread, [REFUSAL], seed=0) == []


def test_bands_never_have_width_zero() -> None:
    still = made(
        *(
            verdicts([1] * 30, arm=arm, seed=s, epoch=e)
            for arm, s, e in (("base", None, None), ("a", 0, 1), ("a", 0, 2), ("a", 1, 1), ("a", 1, 2))
        )
    )
    found = bands(still, [REFUSAL], seed=0)
    assert len(found) == 2
    assert all(one.low < 0 < one.high for one in found)


def test_the_page_tells_bands_from_single_intervals() -> None:
    verdict_table = table((0, 1, 2), (1, 2))
    findings = Findings(
        title="t",
        kind="study",
        outcome="undecided",
        drifts=drift(verdict_table, [REFUSAL], seed=0),
        metrics=[REFUSAL],
        bands=bands(verdict_table, [REFUSAL], seed=0),
    )
    page = report(findings)
    assert page.html.count('class="band"') == 2
    assert "simultaneous band" in page.html
    assert '"over": "epoch"' in page.json
    without = report(dataclasses.replace(findings, bands=()))
    assert 'class="band"' not in without.html
