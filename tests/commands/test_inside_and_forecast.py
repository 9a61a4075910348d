"""Analyses and predictors are part of a study: jobs of their own, numbers in its report, refused where they cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.conftest import ONE, SMALL, small_design

from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.errors import UsageError
from aftertune.forecasting.predict_job import PredictJob
from aftertune.inside.analyse_job import AnalyseJob
from aftertune.inside.read_job import ReadJob
from aftertune.plugins import PluginSpec
from aftertune.records import Arm
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Design, dump, parse
from aftertune.studies.resolve import resolve

DIRECTION, NOVELTY = PluginSpec("refusal_direction"), PluginSpec("token_novelty")


def design(**changes: object) -> Design:
    fields: dict[str, object] = {
        "arms": (Arm("keep"), Arm("own", answers="self_generated")),
        "seeds": (1,),
        "judges": (PluginSpec("world"),),
        "contrasts": (),
        "analyses": (DIRECTION,),
        "predictors": (NOVELTY,),
    }
    return small_design(**{**fields, **changes})


@pytest.fixture(name="looked", scope="module")
def _looked(tmp_path_factory: pytest.TempPathFactory) -> results.Result:
    return running.run(design(), tmp_path_factory.mktemp("looked") / "run", executor=ONE)


def test_each_model_is_read_once_and_each_checkpoint_compared(looked: results.Result) -> None:
    study = stored.read(Run.open(looked.root))
    assert {job.subject.arm for job in study.of(ReadJob)} == {"base", "keep", "own"}
    assert len(study.of(AnalyseJob)) == 2
    assert {job.arm for job in study.of(PredictJob)} == {"keep", "own"}
    report = json.loads((looked.root / "report.json").read_text())
    cosines = [row for row in report["inside"] if row["quantity"] == "cosine"]
    assert {row["layer"] for row in cosines} == {1, 2, 3, 4}, "the last token is the template's: layer 0 tells nothing"
    known = [row for row in cosines if row["value"] is not None]
    assert known
    assert all(-1 <= row["value"] <= 1 and row["n_pairs"] > 0 for row in known)
    novelty = {row["arm"]: row for row in report["forecasts"]}
    assert novelty["keep"]["value"] > novelty["own"]["value"], (
        "the base's own answers hold fewer tokens that it never says"
    )
    assert all(row["low"] < row["value"] < row["high"] for row in novelty.values())
    page = (looked.root / "report.html").read_text()
    assert "Inside the models" in page


def test_their_rows_are_tables_of_the_run(looked: results.Result) -> None:
    run, report = looked.run, json.loads((looked.root / "report.json").read_text())
    assert run.inside.num_rows == len(report["inside"]) > 0
    assert set(run.inside["arm"].to_pylist()) == {"keep", "own"}
    values = {row["arm"]: row["value"] for row in run.forecasts.to_pylist()}
    assert values == {row["arm"]: pytest.approx(row["value"]) for row in report["forecasts"]}


def test_the_report_needs_neither_models_nor_plugins(
    looked: results.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copytree(looked.root, tmp_path / "elsewhere"))
    monkeypatch.setattr("aftertune.plugins.load", lambda *_: pytest.fail("looked up a plugin"))
    before = json.loads((looked.root / "report.json").read_text())
    results.again(moved)
    after = json.loads((moved / "report.json").read_text())
    assert after["inside"] == before["inside"]
    assert after["forecasts"] == before["forecasts"]


def test_a_design_names_them_and_ids_hold_their_parameters() -> None:
    assert parse(dump(design()), "x") == design()
    one, other = (
        {job.id for job in resolve(design(analyses=(PluginSpec("refusal_direction", parameters),))).of(AnalyseJob)}
        for parameters in ({}, {"harmless": "open"})
    )
    assert one.isdisjoint(other)


def test_what_can_read_nothing_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no analysis called 'refusal_directions' .*did you mean 'refusal_direction'"):
        resolve(design(analyses=(PluginSpec("refusal_directions"),)))
    only_open = PluginSpec("refusal_direction", {"harmful": "nowhere"})
    with pytest.raises(UsageError, match="reads none of this design's benchmarks"):
        resolve(design(analyses=(only_open,), benchmarks=(SMALL,)))
