"""Every design in `studies/` is read and planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftertune.studies import design, refusals
from aftertune.studies.resolve import resolve
from aftertune.tuning.tune_job import TuneJob

FILES = sorted(
    path for path in (Path(__file__).parents[2] / "studies").glob("*.toml") if not path.stem.endswith(".paper")
)
NAMES = ["consistency", "hidden_costs", "privacy_collapse", "safety_drift"]


def test_the_four_studies_are_there() -> None:
    assert [path.stem for path in FILES] == NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_is_planned_with_the_seeds_that_a_conclusion_needs(path: Path) -> None:
    wanted = design.read(path)
    study = resolve(wanted)
    assert len(wanted.seeds) >= (3 if path.stem == "safety_drift" else 5)
    here = refusals.recipes_here(wanted, [])
    tunings = sum(recipe in here for arm in wanted.arms for recipe in wanted.recipes_of(arm))
    assert len(study.of(TuneJob)) == tunings * len(wanted.seeds) * len(wanted.bases)
    assert design.parse(design.dump(wanted), "again") == wanted


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_closes_with_tables_that_state_no_result(path: Path) -> None:
    tables = design.read(path).tables
    assert tables
    assert any(row.published for table in tables for row in table.rows)
    for table in tables:
        assert table.supports
        assert table.cannot
        assert not any(char.isdigit() and "%" in table.supports for char in table.supports)
