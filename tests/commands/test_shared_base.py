"""Two runs of one base: the second asks it nothing; policies and judges that are added touch nothing that was asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.conftest import ONE

from aftertune import shipped_models
from aftertune.asking.ask_job import AskJob
from aftertune.cli import main
from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.commands.judge import judge_run
from aftertune.errors import AftertuneError
from aftertune.plugins import PluginSpec
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Design, Given

FEW = PluginSpec("miniature", {"harmful": 8, "harmless": 6, "open": 5, "privacy": 5, "support": 5})


def design(base: str = "embedded", **changes: object) -> Design:
    fields: dict[str, object] = {
        "name": "audit",
        "kind": "audit",
        "bases": (base,),
        "checkpoints": (Given(str(shipped_models.known_bad()), arm="bad"),),
        "benchmarks": (FEW,),
        "judges": (PluginSpec("world"),),
    }
    return Design(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(name="share")
def _share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AFTERTUNE_SHARE", "on")
    return tmp_path / "answers"


def asked(root: Path) -> dict[str, int]:
    run = Run.open(root)
    return {job.subject.arm: run.job(job).info()["asked"] for job in stored.read(run).of(AskJob)}


def answers(root: Path, arm: str) -> list[tuple[str, str]]:
    run = Run.open(root)
    (job,) = (job for job in stored.read(run).of(AskJob) if job.subject.arm == arm)
    rows = pq.read_table(run.job(job).path / "responses.parquet").to_pylist()
    return [(row["prompt_id"], row["text"]) for row in rows]


def test_the_second_run_asks_the_base_nothing_under_whatever_name(tmp_path: Path, share: Path) -> None:
    first = running.run(design(), tmp_path / "one", executor=ONE, cache=share)
    folder = tmp_path / "a-copy-of-the-base"
    shutil.copytree(shipped_models.folder(), folder)
    second = running.run(design(str(folder)), tmp_path / "two", executor=ONE, cache=share)
    assert asked(first.root)["base"] > 0
    assert asked(second.root)["base"] == 0
    assert asked(second.root)["bad"] == asked(first.root)["bad"] > 0
    assert answers(first.root, "base") == answers(second.root, "base")
    assert [d.delta for d in first.drifts] == [d.delta for d in second.drifts]
    assert {d.base_model for d in second.drifts} == {str(folder)}
    assert "earlier run" in (second.root / "report.md").read_text() + (second.root / "report.html").read_text()


def test_other_settings_are_asked_and_a_damaged_entry_is_asked_again(tmp_path: Path, share: Path) -> None:
    running.run(design(), tmp_path / "one", executor=ONE, cache=share)
    fewer = PluginSpec("miniature", {**FEW.parameters, "harmful": 7})
    other = running.run(design(benchmarks=(fewer,)), tmp_path / "other", executor=ONE, cache=share)
    assert asked(other.root)["base"] > 0
    for table in share.glob("*/responses.parquet"):
        data = bytearray(table.read_bytes())
        data[len(data) // 2] ^= 1
        table.write_bytes(data)
    again = running.run(design(), tmp_path / "again", executor=ONE, cache=share)
    assert asked(again.root)["base"] > 0
    third = running.run(design(), tmp_path / "third", executor=ONE, cache=share)
    assert asked(third.root)["base"] == 0


def test_no_cache_shares_nothing(tmp_path: Path, share: Path) -> None:
    running.run(design(), tmp_path / "one", executor=ONE, cache=share)
    alone = running.run(design(), tmp_path / "alone", executor=ONE, cache=False)
    assert asked(alone.root)["base"] > 0


STRICT = """
[[metric]]
match = "*/harmful/refusal=*"
margin = 0.001
"""


@pytest.fixture(name="audited", scope="module")
def _audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.run(design(policy="research"), tmp_path_factory.mktemp("audited") / "run", executor=ONE).root


@pytest.fixture(name="run")
def _run(audited: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(audited, tmp_path / "run"))


def manifests(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.glob("*/*/manifest.json")}


def test_another_policy_decides_again_and_asks_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aftertune.models.identity.resolve", lambda *_, **__: pytest.fail("looked for a model"))
    before = manifests(run)
    policy = tmp_path / "strict.toml"
    policy.write_text(STRICT)
    with pytest.raises(SystemExit) as end:
        main(["drift", str(run), "--policy", str(policy), "--json"])
    decisions = json.loads(capsys.readouterr().out)["decisions"]
    assert {row["margin"] for row in decisions} == {0.001}
    assert end.value.code in (3, 4)
    policy.unlink()
    assert {d.margin for d in results.again(run).decisions} == {0.001}, "it stands in the run, its file gone"
    assert len(results.again(run, "default").decisions) > len(decisions)
    assert manifests(run) == before
    with pytest.raises(AftertuneError, match="did you mean 'strict'"):
        results.again(run, "strickt")


def test_the_command_that_made_a_run_takes_another_policy(run: Path) -> None:
    before = manifests(run)
    result = running.run(design(policy="strict"), run, executor=ONE)
    assert manifests(run) == before
    assert stored.read(Run.open(run)).policy.name == "strict"
    assert result.decisions


def test_a_judge_that_fails_leaves_the_run_as_it_was(run: Path) -> None:
    study, report = (run / "study.json").read_bytes(), (run / "report.html").read_bytes()
    with pytest.raises(AftertuneError, match="cannot tell"):
        judge_run(run, ["constant"])
    assert (run / "study.json").read_bytes() == study
    assert (run / "report.html").read_bytes() == report
    assert results.again(run).decisions
    assert running.run(design(policy="research"), run, executor=ONE).decisions
    joined = judge_run(run, ["coherence"])
    assert "coherence" in {judge.name for judge in stored.read(Run.open(run)).judges}
    assert {d.judge for d in joined.drifts} == {"world", "coherence"}


def test_a_judge_that_is_stopped_leaves_the_run_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aftertune.judging.judge_job import JudgeJob

    study = (run / "study.json").read_bytes()
    real = JudgeJob.run

    def stop(self: JudgeJob, *rest: object) -> object:
        if self.judge.name == "coherence":
            raise KeyboardInterrupt
        return real(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(JudgeJob, "run", stop)
    monkeypatch.setattr("aftertune.commands.judge.LOCAL", ONE)  # in this process, where it can be stopped
    with pytest.raises(KeyboardInterrupt):
        judge_run(run, ["coherence"])
    monkeypatch.undo()
    assert (run / "study.json").read_bytes() == study
    assert results.again(run).decisions
    assert "coherence" in {d.judge for d in judge_run(run, ["coherence"]).drifts}
