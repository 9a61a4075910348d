"""Options by log-probability and the tuned task, through a whole run on the embedded model."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from tests import made_up

from aftertune import plugins
from aftertune import shipped_models as embedded
from aftertune.asking.ask_job import AskJob
from aftertune.asking.backends.transformers import Transformers
from aftertune.commands import audit as auditing
from aftertune.commands import compose as variants
from aftertune.commands import decide
from aftertune.commands import study as running
from aftertune.deciding import measures
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.errors import UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Data, Respond, Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records, table
from aftertune.studies import design as designs
from aftertune.studies import stored
from aftertune.studies.design import Design, Given
from aftertune.studies.resolve import resolve

ONE = PluginSpec("local", {"workers": 1})
pytestmark = pytest.mark.skipif(not embedded.names(), reason="no embedded model is built")


def design(tmp_path: Path, **parameters: object) -> Design:
    folder = tmp_path / "lens"
    given = {**made_up.parameters("privacylens", folder), "parts": "seed", **parameters}
    choice = {**made_up.parameters("multiple_choice", tmp_path / "mc")}
    found = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))], suite="core")
    asked = (PluginSpec("privacylens", given), PluginSpec("multiple_choice", choice))
    return dataclasses.replace(found, benchmarks=asked, judges=(PluginSpec("choice"),),
                               respond=Respond(temperatures=(0.0, 0.7), samples=2))  # fmt: skip


def test_probes_are_scored_by_both_and_questions_by_log_probability(tmp_path: Path) -> None:
    result = running.run(design(tmp_path), tmp_path / "run", executor=ONE)
    metrics = {drift.metric for drift in result.drifts if drift.temperature == 0}
    assert {f"privacylens/seed_{kind}/{axis}=correct" for kind in ("share", "withhold") for axis in ("choice", "accuracy")
            } < metrics  # fmt: skip
    assert {"multiple_choice/test/choice=correct", "multiple_choice/test/choice"} < metrics
    assert not any("multiple_choice" in name and "accuracy" in name for name in metrics)
    scored = {drift.temperature for drift in result.drifts if "choice=" in drift.metric}
    assert scored == {0.0}, "log-probabilities do not depend on the temperature: told once"
    names = {each.name for each in result.measures}
    assert {"d-prime, seed", "d-prime, seed, by log-probability", "criterion, seed, by log-probability"} <= names
    run = Run.open(result.root)
    rows = [row for job in stored.read(run).of(AskJob) for row in records(Response, run.job(job).read("responses"))]
    for row in rows:
        first = (row.temperature, row.sample) == (0.0, 0)
        assert (row.scores is not None) == first
        if first:
            scores = json.loads(row.scores or "")
            assert all(value < 0 for value in scores.values())
            assert sum(map(math.exp, scores.values())) <= 1 + 1e-6
    questions = [row for row in rows if row.benchmark == "multiple_choice"]
    assert {(row.temperature, row.text, row.new_tokens) for row in questions} == {(0.0, "", 0)}
    assert "log-probability" in result.report.with_name("measures.json").read_text()


def test_a_stopped_run_keeps_what_was_scored(tmp_path: Path) -> None:
    """The journal holds the scores: the same command gives the same table."""
    result = running.run(design(tmp_path), tmp_path / "run", executor=ONE)
    run = Run.open(result.root)
    folder = run.job(stored.read(run).of(AskJob)[0])
    before = folder.read("responses").to_pylist()
    (folder.path / "manifest.json").unlink()
    lines = (folder.path / "journal").read_bytes().splitlines(keepends=True) if (
        folder.path / "journal").is_file() else []  # fmt: skip
    if lines:
        (folder.path / "journal").write_bytes(b"".join(lines[: len(lines) // 2]))
    running.run(design(tmp_path), tmp_path / "run", executor=ONE)
    assert folder.read("responses").to_pylist() == before


def test_a_backend_without_log_probabilities_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, generated = design(tmp_path), design(tmp_path, scored_by="generation")
    monkeypatch.setattr(Transformers, "capabilities", property(lambda _: frozenset({"adapters"})))
    with pytest.raises(
        UsageError, match=r"'privacylens': scored_by = 'both' needs log-prob.*'transformers'.*generation"
    ):
        resolve(made)
    resolve(dataclasses.replace(generated, benchmarks=generated.benchmarks[:1], judges=(PluginSpec("coherence"),)))


def test_a_wrong_way_of_scoring_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="scored_by = 'logprob'"):
        plugins.load("benchmark", "privacylens", {"scored_by": "logprob"})
    with pytest.raises(UsageError, match="options = 'text' is scored by log_probability only"):
        plugins.load("benchmark", "multiple_choice", {"options": "text", "scored_by": "both"})


def test_an_audit_with_held_out_rows_shows_how_well_the_task_is_done(tmp_path: Path) -> None:
    variants.compose("booking", tmp_path / "data", size=30, held_out=12)
    design = auditing.audit_design("embedded", [Given(str(embedded.known_bad()))],
                                   train_data=str(tmp_path / "data/keep.jsonl"))  # fmt: skip
    assert "task" in [part.name for part in design.benchmarks]
    assert "reference" in [part.name for part in design.judges]
    small = dataclasses.replace(design, benchmarks=(PluginSpec("task", {"limit": 6, "new_tokens": 24}),),
                                judges=(PluginSpec("reference"),))  # fmt: skip
    result = running.run(small, tmp_path / "run", executor=ONE)
    found = {drift.metric: drift for drift in result.drifts if drift.estimand == "checkpoint"}
    loss, likeness = found["task/held_out/loss"], found["task/held_out/similarity"]
    assert loss.n_prompts == likeness.n_prompts == 6
    assert loss.base is not None
    assert loss.base > 0
    assert loss.delta is not None
    assert loss.low is not None
    assert loss.low < loss.delta
    assert likeness.base is not None
    assert 0 < likeness.base <= 1
    assert (loss.worse, likeness.worse) == ("up", "down")
    assert not any(decision.required for decision in result.decisions if "task/" in decision.metric)


def test_a_study_asks_the_rows_that_it_kept_apart_and_needs_them(small: Design, tmp_path: Path) -> None:
    asked = dataclasses.replace(small, benchmarks=(PluginSpec("task"),), judges=(PluginSpec("reference"),))
    with pytest.raises(UsageError, match="benchmark 'task' needs held_out"):
        resolve(asked)
    resolve(dataclasses.replace(asked, data=Data(held_out=8)))
    none = designs.parse('name = "n"\n[[checkpoints]]\npath = "x"\n[[benchmarks]]\nname = "task"\n', "d")
    assert none.benchmarks[0].name == "task"


def test_leak_rates_are_told_over_all_replies_and_over_those_that_act(tmp_path: Path) -> None:
    """A made-up verdict table: of four items one acts and leaks, one acts and does not, two do nothing."""
    asked = dataclasses.replace(design(tmp_path, parts="action"), judges=(PluginSpec("shared_items"),))
    asked = dataclasses.replace(asked, benchmarks=asked.benchmarks[:1])
    study = resolve(asked)
    rows = []
    for subject in study.subjects:
        base = subject.arm == "base"
        for item, acted, leaks in (("a", True, not base), ("b", True, False), ("c", False, False), ("d", False, False)):
            key = {field.name: None for field in dataclasses.fields(Verdict)} | {
                "base": subject.base.name, "arm": subject.arm, "recipe": "", "checkpoint": subject.id, "sample": 0,
                "benchmark": "privacylens", "subset": "action", "prompt_id": item, "cluster": item, "category": "",
                "system": "", "template": "base", "temperature": 0.0, "message_hash": "", "judge": "shared_items",
                "judge_version": "1", "value": None, "why": "",
            }  # fmt: skip
            status = "ok" if acted else "unparsable"
            said = "revealed" if leaks else "withheld" if acted else None
            rows.append(Verdict(**{**key, "axis": "privacy", "label": said, "status": status}))  # type: ignore[arg-type]
            did = "acted" if acted else "not_acted"
            rows.append(Verdict(**{**key, "axis": "helpfulness", "label": did, "status": "ok"}))  # type: ignore[arg-type]
    found = {
        (each.name, each.unit): each
        for each in measures.measures(decide.measuring(Run(tmp_path), study), VerdictTable(table(Verdict, rows)))
    }
    tuned = next(study.name_of(subject) for subject in study.subjects if not subject.is_base)
    everyone, helpful = found["leak rate, all replies", tuned], found["leak rate, replies that act", tuned]
    assert (everyone.value, everyone.n, everyone.change) == (0.25, 4, 0.25)
    assert (helpful.value, helpful.n, helpful.change) == (0.5, 2, 0.5)
    assert helpful.low is not None
    assert helpful.high is not None
    assert 0 <= helpful.low < 0.5 < helpful.high <= 1
    assert found["leak rate, replies that act", "base"].value == 0.0
