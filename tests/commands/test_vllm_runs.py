"""Runs that ask by `vllm serve`, on a stand-in for it: from the adapters to the report, broken off and continued."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests import tiny_models
from tests.vllm_command import Command, alive, install, soon

from aftertune.commands import audit as auditing
from aftertune.commands import plan as planning
from aftertune.commands import study as running
from aftertune.errors import MissingPackageError, ModelError, ServerError, UsageError
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.run.executors import local
from aftertune.run.executors._schedule import Schedule
from aftertune.studies import missing, refusals
from aftertune.studies.design import Design, Given, dump, read
from aftertune.studies.resolve import resolve

pytestmark = pytest.mark.slow

FEW = PluginSpec("miniature", {"harmful": 8, "harmless": 4, "open": 4, "privacy": 4, "support": 4})


@pytest.fixture(name="models", scope="module")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    base = tiny_models.save("llama", folder / "base")
    tiny_models.save_adapter(base, folder / "keep", seed=1, scale=0.2, rank=12)
    tiny_models.save_adapter(base, folder / "hidden", seed=2, scale=0.2)
    tiny_models.save("llama", folder / "full", seed=5)
    return folder


@pytest.fixture(name="vllm")
def _vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return install(tmp_path, monkeypatch)


def design(models: Path, *checkpoints: str, **parameters: Any) -> Design:
    given = [Given(str(models / name)) for name in checkpoints]
    made = auditing.audit_design(str(models / "base"), given, backend=PluginSpec("vllm", parameters))
    return dataclasses.replace(made, benchmarks=(FEW,), judges=(PluginSpec("refusal"),))


def rows(root: Path) -> list[dict[str, Any]]:
    return [row for path in root.glob("responses/*/responses.parquet") for row in pq.read_table(path).to_pylist()]


def test_an_audit_of_adapters_and_a_full_checkpoint_ends_in_a_report(
    models: Path, vllm: Command, tmp_path: Path
) -> None:
    made = design(models, "keep", "hidden", "full")
    result = running.run(made, tmp_path / "run", cache=False)
    assert len(result.drifts) > 0
    servers = [Path(each["given"]["model"]).name for each in vllm.noted("started")]
    assert sorted(servers) == ["base", "full"], "base and adapters share one, the checkpoint has its own"
    assert {each["given"]["max-lora-rank"] for each in vllm.noted("started")} == {"16"}
    assert not any(map(alive, vllm.processes)), "before this process ends"
    kept = read(tmp_path / "run" / "design.toml").backend.parameters
    assert kept == {"lora_rank": 16, "release": "0.33.0"}
    told = json.loads((tmp_path / "run" / "report.json").read_text())
    assert len(told["proofs"]) == 3
    assert all(proof["max_logprob_change"] > 1 and proof["max_logit_change"] is None for proof in told["proofs"])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "its log-probabilities are not the base" in page
    assert "vLLM 0.33.0" in page
    assert "Of 24 answers of the base that were asked again among others, 24 were the same text" in page
    assert "weights unknown" not in page
    assert all(row["error"] is None and row["token_hash"] for row in rows(tmp_path / "run"))
    asked = len(vllm.noted("asked"))
    assert running.run(made, tmp_path / "run", cache=False).decisions == result.decisions
    assert len(vllm.noted("asked")) == asked, "a finished run asks nobody"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert not any(each["environment"]["VLLM_API_KEY"].encode() in everything for each in vllm.noted("started"))


def test_a_server_that_dies_keeps_what_is_answered_and_the_same_command_goes_on(
    models: Path, vllm: Command, tmp_path: Path
) -> None:
    made = design(models, "keep", concurrency=2)
    vllm.behave(dies_at=40)
    with pytest.raises(ServerError, match="while it was asked: .*out of memory"):
        running.run(made, tmp_path / "run", cache=False)
    kept = len(vllm.noted("asked")) - 1
    assert kept > 5
    vllm.behave()
    running.run(made, tmp_path / "run", cache=False)
    times = Counter(json.dumps([body["prompt"], body["seed"]]) for body in vllm.noted("asked"))
    found = rows(tmp_path / "run")
    assert len(found) == 48
    assert all(row["error"] is None for row in found)
    again = 24  # of the base, which is asked twice for the share of equal texts
    assert sum(times.values()) - len(found) - again <= 2 + 1, "at most what was in flight is asked twice"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_command_that_is_stopped_leaves_no_server(
    models: Path, vllm: Command, tmp_path: Path, number: signal.Signals
) -> None:
    vllm.behave(answer_s=0.1)
    (tmp_path / "audit.toml").write_text(dump(design(models, "keep", concurrency=1)))
    command = [sys.executable, "-m", "aftertune", "study", "audit.toml", "--no-cache", "-o", "run"]
    running_ = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        with soon(300) as wait:
            while len(vllm.noted("asked")) < 3:
                assert running_.poll() is None, running_.communicate()[0].decode()
                wait()
        os.kill(running_.pid, number)
        output = running_.communicate(timeout=60)[0].decode()
        with soon() as wait:
            while any(map(alive, vllm.processes)):
                wait()
        assert "Traceback" not in output
    finally:
        running_.kill()
        running_.communicate()
    (log,) = (tmp_path / "run" / "logs").iterdir()
    assert "INFO starting" in log.read_text()


def test_what_is_tuned_here_is_asked_there(models: Path, vllm: Command, tmp_path: Path) -> None:
    made = dataclasses.replace(
        design(models, "keep"),
        checkpoints=(),
        corpus=PluginSpec("booking", {"size": 12}),
        arms=(Arm("keep"),),
        seeds=(1,),
        recipe=Recipe(epochs=1, rank=20, batch_size=4, max_length=128),
    )
    study = resolve(made)
    assert study.design.backend.parameters == {"lora_rank": 32, "release": "0.33.0"}
    running.run(made, tmp_path / "run", cache=False)
    (proof,) = json.loads((tmp_path / "run" / "report.json").read_text())["proofs"]
    assert proof["max_logprob_change"] > 0
    assert "scores" not in {job.kind for job in study.jobs}
    assert len({body["model"] for body in vllm.noted("asked")}) == 2


# ---------------------------------------------------------------------------------------------- refused


def test_what_vllm_cannot_serve_is_refused_before_anything_is_started(
    models: Path, vllm: Command, tmp_path: Path
) -> None:
    tiny_models.save_adapter(models / "base", tmp_path / "dora", use_dora=True)
    with pytest.raises(ModelError, match=r"dora: backend vllm cannot ask it: DoRA .* --backend transformers"):
        resolve(design(models, str(tmp_path / "dora")))
    big = tiny_models.save_adapter(models / "base", tmp_path / "big", rank=520)
    with pytest.raises(ModelError, match="rank 520"):
        resolve(design(models, str(big)))
    assert not vllm.noted("started")


def test_without_vllm_a_run_is_refused_and_a_plan_says_what_is_lacking(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    made = design(models, "keep")
    with pytest.raises(MissingPackageError, match="no command 'vllm' here: pip install vllm"):
        running.run(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="cannot be had here: backend vllm: no command 'vllm' here: pip install vllm"):
        running.study(made, tmp_path / "run")
    lacking = missing.missing(made, fetch=False)
    assert [each.short for each in lacking] == ["backend vllm: no command 'vllm' here: pip install vllm"]
    price = planning.plan(made)
    assert "pip install vllm" in price.lacking[0]
    assert price.requests == 48


def test_a_plan_starts_no_server(models: Path, vllm: Command) -> None:
    price = planning.plan(design(models, "keep"))
    assert price.trial is None
    assert any("would start a server, which takes minutes" in why for why in price.not_tried)
    assert not vllm.noted("started")


def test_one_process_asks_or_one_for_each_gpu(models: Path, vllm: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    study = resolve(design(models, "keep"))

    def chosen(**parameters: Any) -> PluginSpec:
        return refusals.suitable_executor(study, PluginSpec("local", parameters))

    for module in (local, refusals):
        monkeypatch.setattr(module, "visible_gpus", list)
    assert chosen() == PluginSpec("local", {"workers": 1})
    assert chosen(workers=1) == PluginSpec("local", {"workers": 1})
    with pytest.raises(UsageError, match="starts a server in each process"):
        chosen(workers=3)
    with pytest.raises(UsageError, match="leave out --executor ray"):
        refusals.suitable_executor(study, PluginSpec("ray"))
    for module in (local, refusals):
        monkeypatch.setattr(module, "visible_gpus", lambda: ["0", "1"])
    assert chosen() == PluginSpec("local", {})
    assert chosen(workers=3) == PluginSpec("local", {"workers": 3})
    assert chosen(gpus=0) == PluginSpec("local", {"gpus": 0, "workers": 1}), "one server over all GPUs"


def test_a_model_is_asked_everything_before_another_is_loaded(models: Path, vllm: Command) -> None:
    jobs = [job for job in resolve(design(models, "full", "keep")).jobs if job.kind == "responses"]
    copies = [
        dataclasses.replace(job, id=f"{job.id}-{k}", after=(), alike=f"{job.alike}-{k}")
        for k in range(3)
        for job in jobs
    ]
    schedule, order = Schedule(copies), []
    while ready := schedule.ready():
        schedule.begin(ready[0])
        schedule.end(ready[0])
        order.append(ready[0].loads)
    assert len(order) == 9
    assert sum(one != other for one, other in itertools.pairwise(order)) == 2
