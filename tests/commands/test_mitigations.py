"""A mitigation is part of how a model is tuned: its further weights are checkpoints of one training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.conftest import small_design

from aftertune.asking.ask_job import AskJob
from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Recipe
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.closing_tables import Column, Row, StudyTable
from aftertune.studies.design import Design, dump, parse
from aftertune.studies.resolve import resolve
from aftertune.tuning.tune_job import TuneJob

REFUSAL = "miniature/harmful/refusal=full"
HALF = "lora+interpolation-0.5"


def design(**changes: object) -> Design:
    fields: dict[str, object] = {
        "arms": (Arm("keep"),),
        "recipe": Recipe(
            learning_rate=8e-3, epochs=1, batch_size=8, mitigation=PluginSpec("interpolation", {"shares": [0.05, 0.5]})
        ),
        "judges": (PluginSpec("world"),),
        "contrasts": (Contrast("half", {f"keep/{HALF}": 1.0, "keep/lora": -1.0}),),
    }
    return small_design(**{**fields, **changes})


@pytest.fixture(name="mitigated", scope="module")
def _mitigated(tmp_path_factory: pytest.TempPathFactory) -> results.Result:
    return running.run(
        design(), tmp_path_factory.mktemp("mitigated") / "run", executor=PluginSpec("local", {"workers": 1})
    )


def test_further_weights_are_asked_and_cost_no_training(mitigated: results.Result) -> None:
    study = stored.read(Run.open(mitigated.root))
    assert len(study.of(TuneJob)) == 2, "one for each seed"
    asked = {(job.subject.recipe, job.subject.train_seed) for job in study.of(AskJob) if not job.subject.is_base}
    names = ("lora", "lora+interpolation-0.05", HALF)
    assert asked == {(name, seed) for name in names for seed in (1, 2)}
    for job in study.of(AskJob):
        proof = Run.open(mitigated.root).job(job).info()["proof"]
        assert job.subject.is_base or proof["max_logit_change"] > 0, "each is proved to be applied"
    logits = {
        job.subject.recipe: Run.open(mitigated.root).job(job).info()["proof"]["max_logit_change"]
        for job in study.of(AskJob)
        if job.subject.train_seed == 1
    }
    assert logits["lora+interpolation-0.05"] < logits[HALF] < logits["lora"]


def test_each_set_of_weights_has_its_own_estimate_and_name(mitigated: results.Result) -> None:
    rows = {row.recipe: row for row in mitigated.drifts if row.estimand == "recipe" and row.metric == REFUSAL}
    assert set(rows) == {"lora", "lora+interpolation-0.05", HALF}
    assert all(row.n_seeds == 2 and row.low is not None for row in rows.values())
    slight = rows["lora+interpolation-0.05"]
    assert abs(slight.delta or 0) <= abs(rows["lora"].delta or 0), "a twentieth of the update does less"
    assert any(row.estimand == "contrast" and HALF in row.arm for row in mitigated.drifts)
    page = (mitigated.root / "report.md").read_text()
    assert f"keep, {HALF}" in page


def test_a_design_with_a_mitigation_is_written_and_read_back() -> None:
    assert parse(dump(design()), "x") == design()
    study = resolve(design())
    other = resolve(design(recipe=dataclasses.replace(design().recipe, mitigation=None), contrasts=()))
    assert {job.id for job in study.of(TuneJob)}.isdisjoint(job.id for job in other.of(TuneJob))


def test_weights_that_a_mitigation_does_not_make_are_refused_with_the_near_miss() -> None:
    wrong = (Contrast("half", {"keep/lora+interpolation-0.6": 1.0, "keep/lora": -1.0}),)
    with pytest.raises(UsageError, match=r"did you mean 'lora\+interpolation-0.5'"):
        resolve(design(contrasts=wrong))
    table = StudyTable("T", (Column("R", metric=REFUSAL),), (Row("x", "keep", recipe="lora+average"),))
    with pytest.raises(UsageError, match=r"no recipe 'lora\+average'"):
        resolve(design(tables=(table,)))
    with pytest.raises(UsageError, match="shares"):
        resolve(design(recipe=Recipe(mitigation=PluginSpec("interpolation", {"shares": [1.5]}))))


def test_a_mitigation_whose_needs_no_study_meets_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aftertune.tuning.mitigations.interpolation import Interpolation

    monkeypatch.setattr(Interpolation, "needs", frozenset({"own_refusals"}))
    with pytest.raises(UsageError, match="needs own_refusals"):
        running.run(design(), tmp_path / "run")
