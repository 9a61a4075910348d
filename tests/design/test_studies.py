"""Every design in `studies/` is read and planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftertune import design, plan, refusals

FILES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))


def test_there_are_studies() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_is_planned_with_the_seeds_that_a_conclusion_needs(path: Path) -> None:
    wanted = design.read(path)
    made = plan.make(wanted)
    assert len(wanted.seeds) >= 5
    here = refusals.left_in(wanted, [])
    tunings = sum(recipe in here for arm in wanted.arms for recipe in wanted.recipes_of(arm))
    assert len(made.of("checkpoints")) == tunings * len(wanted.seeds) * len(wanted.bases)
    assert design.parse(design.dump(wanted), "again") == wanted
