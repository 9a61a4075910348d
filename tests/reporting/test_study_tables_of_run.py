"""A study's closing tables hold the numbers of its drifts, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from aftertune import shipped_models
from aftertune.commands import decide
from aftertune.commands import study as running
from aftertune.findings import StudySection
from aftertune.plugins import PluginSpec
from aftertune.records import Drift
from aftertune.reporting.study_numbers import StudyResults, fill
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.closing_tables import Column, Row, StudyTable
from aftertune.studies.design import Design
from aftertune.studies.run_tables import all_verdicts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shipped_models.names(), reason="no embedded model is built"),
]
REFUSAL = "miniature/harmful/refusal=full"
EXACT = "miniature/privacy/privacy=exact"
TABLES = (
    StudyTable(
        title="Arms",
        source="a paper",
        supports="What it\n supports.",
        columns=(
            Column("Level", metric=REFUSAL, unit="%"),
            Column("Drift", what="drift", metric=EXACT),
            Column("Relative", what="relative", metric=EXACT),
            Column("Seeds", what="spread", metric=REFUSAL),
            Column("Joint", what="harmful_leaking", metric="miniature/harmful"),
            Column("Warm", metric=REFUSAL, temperature=0.7),
        ),
        rows=(
            Row("Base", "base", published={"Level": 42.6}),
            Row("Keep", "keep", published={"Level": "low"}),
            Row("Early", "hidden", epoch=7),
        ),
    ),
    StudyTable("Pooled", (Column("Mixed", "mixed_sign"), Column("Harm", "mixed_sign", "*/harm=*"),
                          Column("Same", "agreement", EXACT, against=EXACT)), (Row("All"), Row("Keep", "keep"))),
    StudyTable("Contrasts", (Column("Refused", "drift", REFUSAL),), (Row("PII", contrast="PII"),)),
)  # fmt: skip


@pytest.fixture(name="filled", scope="module")
def _filled(finished: decide.Result) -> tuple[list[StudySection], list[Drift]]:
    from aftertune.deciding.leaks import leaks

    run = Run.open(finished.root)
    study = stored.read(run)
    design = study.design
    verdicts = all_verdicts(run, study)
    drifts = decide.drifts_of(finished.root)
    numbers = StudyResults(
        verdicts=verdicts,
        metrics=list(study.metrics),
        drifts=drifts,
        leaks=leaks(verdicts, study.primary_judges),
        measures=(),
        discrimination=(),
        memorisation={},
        base=design.bases[0],
        contrasts=design.contrasts,
        judges=study.primary_judges,
        temperature=min(design.respond.temperatures),
        confidence=design.confidence,
        seed=design.analysis_seed,
        subjects=study.units,
    )
    return fill(TABLES, numbers), drifts


def row_of(drifts: list[Drift], estimand: str, arm: str, metric: str) -> Drift:
    return next(
        d
        for d in drifts
        if (d.estimand, d.arm, d.metric, d.checkpoint or "") == (estimand, arm, metric, "")
        or (estimand == "level" and arm == "base" and (d.estimand, d.arm, d.metric) == ("level", "base", metric))
    )


def test_a_cell_is_the_drift_that_it_names(filled: tuple[list[StudySection], list[Drift]]) -> None:
    (arms, _, contrasts), drifts = filled
    level, drift, relative, spread, joint, _ = arms.rows[1]
    wanted = row_of(drifts, "level", "keep", REFUSAL)
    assert (level.value, level.low, level.high) == (wanted.tuned, wanted.low, wanted.high)
    assert "2 seeds × 22 prompts" in level.sample
    moved = row_of(drifts, "recipe", "keep", EXACT)
    assert (drift.value, drift.low, drift.high) == (moved.delta, moved.low, moved.high)
    base = row_of(drifts, "level", "base", EXACT)
    assert moved.base
    assert relative.value == pytest.approx((moved.delta or 0) / moved.base)
    assert relative.low is not None
    assert relative.high is not None
    narrow = ((moved.high or 0) - (moved.low or 0)) / moved.base
    assert relative.low <= (relative.value or 0) <= relative.high
    assert relative.high - relative.low >= narrow - 1e-12, "the base's own uncertainty never makes it narrower"
    assert base.base
    assert (spread.low, spread.high) == (wanted.spread_low, wanted.spread_high)
    assert joint.value is not None
    assert 0 <= joint.value <= 1
    (pii,) = contrasts.rows[0]
    assert pii.value == next(d for d in drifts if d.estimand == "contrast" and d.metric == REFUSAL).delta


def test_no_cell_is_blank(filled: tuple[list[StudySection], list[Drift]]) -> None:
    sections, _ = filled
    cells = [cell for section in sections for row in section.rows for cell in row]
    assert all(cell.value is not None or cell.why for cell in cells)
    base, keep, early = sections[0].rows
    assert base[1].why == "the base itself"
    assert keep[5].why == "not asked at temperature 0.7"
    assert early[0].why == "epoch 7 was not asked"
    assert sections[1].rows[0][2].value == pytest.approx(1.0), "a metric agrees with itself over six checkpoints"
    assert "5 checkpoints" in sections[1].rows[1][2].why
    assert sections[1].rows[0][1].why == "fewer than two metrics, or no checkpoint, to compare"
    mixed = sections[1].rows[0][0]
    assert mixed.sample.startswith("6 checkpoints")
    assert "expected where nothing drifts" in mixed.note
    assert sections[0].rows[0][0].published == 42.6
    assert sections[0].supports == "What it supports."


def test_statements_are_counted_from_the_rows(filled: tuple[list[StudySection], list[Drift]]) -> None:
    (arms, _, contrasts), drifts = filled
    moved = row_of(drifts, "recipe", "keep", REFUSAL)
    assert moved.low is not None
    assert moved.high is not None
    worse = moved.high < 0
    assert arms.statements[0].startswith(f"Level: worse than the base in {int(worse)} of 1 rows"), (
        "the early row has none"
    )
    assert sum(text.startswith(("Drift", "Relative")) for text in arms.statements) == 1, "one metric is said once"
    assert "of 1 contrasts told from zero" in contrasts.statements[0]


def test_rewording_a_table_asks_no_model_again(copy: Path, small: Design, one: PluginSpec) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.glob("*/*/manifest.json")}
    result = running.run(dataclasses.replace(small, tables=TABLES), copy, executor=one)
    assert {path: path.stat().st_mtime_ns for path in copy.glob("*/*/manifest.json")} == before
    assert stored.read_design(Run.open(copy)).tables == TABLES
    markdown = (copy / "report.md").read_text()
    assert "### Arms" in markdown
    assert "*42.6 %*" in markdown
    assert [table["title"] for table in json.loads((copy / "report.json").read_text())["tables"]] == [
        "Arms",
        "Pooled",
        "Contrasts",
    ]
    assert 'id="paper"' in result.report.read_text()
