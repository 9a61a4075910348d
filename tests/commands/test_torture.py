"""A study that is killed or stopped at random moments and continued comes to the same bytes (`make torture` does more)."""

from __future__ import annotations

import errno
import fnmatch
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from perf import torture

from aftertune import shipped_models as embedded
from aftertune.cli import main
from aftertune.commands import decide as results
from aftertune.commands import status
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Recipe
from aftertune.run.job_folder import JobFolder
from aftertune.run.journal_writer import JournalWriter
from aftertune.studies.design import Design, dump

pytestmark = pytest.mark.slow


def test_three_kills_cost_no_answer_and_change_no_byte(
    finished: results.Result, small: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a study of which some cells are done: in the middle of an answer, of a judgement, and of the report."""
    monkeypatch.setattr(torture, "design", lambda: small)
    expected = torture.outcome(finished.root)
    study = torture.Torture(tmp_path / "run", workers=1)
    shutil.copytree(finished.root, study.root)
    for name in ("drift.parquet", "report.html", "decisions.json"):
        (study.root / name).unlink()
    for kind in ("responses", "verdicts"):
        shutil.rmtree(sorted((study.root / kind).iterdir())[0])
    monkeypatch.setattr(torture, "JOBS", {**torture.JOBS, "tune": 6, "ask": 7, "judge": 14})
    monkeypatch.setattr(torture, "ANSWERS", 60)
    chance = random.Random(11)
    for phase, delay in (("ask", 0.2), ("judge", 0.1), ("report", 0.5)):
        assert study.kill(phase, delay, chance), f"it ended before {phase}: {study.complaints}"
    study.finish()
    study.compare(expected)
    assert study.complaints == []
    assert len(study.kills) == 3
    assert all(kill.lost <= 64 for kill in study.kills)


def test_a_stop_is_one_line_and_leaves_nobody(
    finished: results.Result, small: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a study whose variants are composed: in the middle of a tuning, and of an answer."""
    monkeypatch.setattr(torture, "design", lambda: small)
    monkeypatch.setattr(torture, "JOBS", {**torture.JOBS, "tune": 2, "ask": 1})
    monkeypatch.setattr(torture, "ANSWERS", 20)
    study = torture.Torture(tmp_path / "run", workers=2)
    shutil.copytree(finished.root / "variants", study.root / "variants")
    for name in ("design.toml", "run.json", "study.json"):
        shutil.copy(finished.root / name, study.root)
    # As what a shell starts in the background, which ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for phase, how in (("tune", "Ctrl-C"), ("ask", "SIGTERM")):
            assert study.kill(phase, 0.1, random.Random(1), how), f"it ended before {phase}: {study.complaints}"
    finally:
        signal.signal(signal.SIGINT, before)
    assert study.complaints == [], "exit code or words"
    assert not any(torture.outliving(group) for group in study._groups)


def test_a_stop_that_comes_while_an_object_is_taken_down_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python lets no error out of there: the study of a torture went on to its end."""

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def go_on(_: Path) -> None:
        Dying()
        time.sleep(20)

    monkeypatch.setattr(status, "status", go_on)
    before, hook = time.monotonic(), sys.unraisablehook
    with pytest.raises(SystemExit) as stop:
        main(["status", "."])
    assert stop.value.code == 128 + signal.SIGTERM
    assert time.monotonic() - before < 10
    assert capsys.readouterr().err == "aftertune: stopped; the same command continues\n"
    assert sys.unraisablehook is hook


def test_a_second_command_is_refused_with_the_process_id(
    finished: results.Result, small: Design, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aftertune.run.run_folder import Run

    path = tmp_path / "small.toml"
    path.write_text(dump(small))
    with Run.open(finished.root).lock(), pytest.raises(SystemExit) as stop:
        main(["study", str(path), "-o", str(finished.root), "--quiet"])
    assert stop.value.code == 1
    said = capsys.readouterr().err.strip()
    assert said == (
        f"aftertune: {finished.root}: process {os.getpid()} works in this run; wait for it, or use another folder"
    )


TINY = Design(
    name="tiny",
    corpus=PluginSpec("booking", {"size": 8}),
    arms=(Arm("keep"),),
    recipe=Recipe(learning_rate=3e-3, epochs=1, batch_size=4),
    seeds=(1,),
    benchmarks=(PluginSpec("miniature", {"harmful": 4, "harmless": 4, "open": 4, "privacy": 4, "support": 4}),),
    judges=(PluginSpec("world"),),
    policy="research",
)
PHASES = {
    "compose": "variants/*/*.jsonl*",
    "people": "variants/*/*people.json*",
    "tune": "checkpoints/*/adapter_model.safetensors",
    "journal": "responses/*/journal",
    "respond": "responses/*/.responses.part",
    "judge": "verdicts/*/.verdicts.part",
    "done": "verdicts/*/*manifest.json*",
    "drift": "*drift.parquet*",
    "report": "*report.html*",
}
"""What is written -> its path in the run folder, as far as it is fixed."""


def test_a_full_disk_and_a_read_only_one_are_one_line_in_every_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each phase is refused twice and continued; the end is that of a study which nobody refused anything."""
    import safetensors.torch

    if not embedded.names():
        pytest.skip("no embedded model is built")
    design, run = tmp_path / "tiny.toml", tmp_path / "run"
    design.write_text(dump(TINY))
    sync, save = os.fsync, safetensors.torch.save_file
    refused: list[tuple[str, int]] = []

    def check(path: str) -> None:
        place = Path(path)
        pattern, number = refused[0] if refused else ("", 0)
        if refused and place.is_relative_to(run) and fnmatch.fnmatch(str(place.relative_to(run)), pattern):
            raise OSError(number, os.strerror(number), path)

    def fsync(file: int) -> None:
        check(str(Path(f"/proc/self/fd/{file}").readlink()))
        sync(file)

    def save_file(tensors: object, path: Path, **more: object) -> None:
        check(str(path))
        save(tensors, path, **more)

    def writer(folder: JobFolder, *, most: int = 0) -> JournalWriter:
        return JournalWriter(folder.append, seconds=0.0, most=most)  # these jobs end before the clock would write

    monkeypatch.setattr(JobFolder, "writer", writer)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(safetensors.torch, "save_file", save_file)

    def study(root: Path) -> tuple[object, str]:
        with pytest.raises(SystemExit) as stop:
            main(["study", str(design), "-o", str(root), "--quiet", "--workers", "1"])
        return stop.value.code, capsys.readouterr().err

    for phase, pattern in PHASES.items():
        for number, advice in ((errno.ENOSPC, "free some space"), (errno.EROFS, "make it writable")):
            refused[:] = [(pattern, number)]
            code, said = study(run)
            assert code == 1, f"{phase}: {said}"
            assert said.startswith(f"aftertune: {run}"), said
            assert said.endswith(f": {os.strerror(number)}; {advice} and run the same command again\n"), said
            assert said.count("\n") == 1
    refused.clear()
    assert study(run)[0] == study(tmp_path / "whole")[0] != 1
    assert torture.outcome(run) == torture.outcome(tmp_path / "whole")
    assert not list(run.rglob("*.part"))


@pytest.mark.parametrize("command", ["report", "drift", "export"])
def test_no_table_comes_of_a_run_that_is_not_done_or_not_as_it_was(
    command: str, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> str:
        more = ["-o", str(tmp_path / "shared"), "-q"] if command == "export" else []
        with pytest.raises(SystemExit) as stop:
            main([command, str(copy), *more])
        assert stop.value.code == 1
        return capsys.readouterr().err

    before = (copy / "drift.parquet").read_bytes()
    cell = sorted((copy / "verdicts").iterdir())[0]
    if command == "export":
        (copy / "drift.parquet").write_bytes(before[:900] + bytes([before[900] ^ 1]) + before[901:])
        assert "drift.parquet: damaged, or stopped while it was made; `aftertune report" in refused()
        assert not (tmp_path / "shared").exists()
        return
    (cell / "manifest.json").unlink()
    assert "1 of 29 jobs are not done yet ('judge " in refused()
    assert (copy / "drift.parquet").read_bytes() == before


def test_an_outcome_that_was_changed_is_not_told(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy / "decisions.json"
    path.write_text(path.read_text().replace('"outcome": "', '"outcome": "not '))
    with pytest.raises(SystemExit) as stop:
        main(["status", str(copy)])
    assert stop.value.code == 1
    assert "decisions.json: damaged" in capsys.readouterr().err


def test_an_error_of_the_system_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/file")

    monkeypatch.setattr(status, "status", refuse)
    with pytest.raises(SystemExit) as stop:
        main(["status", "."])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said == (
        "aftertune: /somewhere/file: refused: No space left on device; free some space and run the same command again\n"
    )
