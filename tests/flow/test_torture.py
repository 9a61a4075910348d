"""A study that is killed or stopped at random moments and continued comes to the same bytes (`make torture` does more)."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from perf import torture

from aftertune.design.study import Design, dump
from aftertune.flow import pipeline


@pytest.mark.slow
def test_three_kills_cost_no_answer_and_change_no_byte(
    finished: pipeline.Result, small: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr(torture, "CELLS", {**torture.CELLS, "tune": 6, "respond": 7, "judge": 14})
    monkeypatch.setattr(torture, "PER_CELL", 60)
    chance = random.Random(11)
    for phase, delay in (("respond", 0.2), ("judge", 0.1), ("report", 0.5)):
        assert study.kill(phase, delay, chance), f"it ended before {phase}: {study.complaints}"
    study.finish()
    study.compare(expected)
    assert study.complaints == []
    assert len(study.kills) == 3
    assert all(kill.lost <= 64 for kill in study.kills)


def test_a_stop_is_one_line_and_leaves_nobody(
    finished: pipeline.Result, small: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a study whose variants are composed: in the middle of a tuning, and of an answer."""
    monkeypatch.setattr(torture, "design", lambda: small)
    monkeypatch.setattr(torture, "CELLS", {**torture.CELLS, "tune": 2, "respond": 1})
    monkeypatch.setattr(torture, "PER_CELL", 20)
    study = torture.Torture(tmp_path / "run", workers=2)
    shutil.copytree(finished.root / "variants", study.root / "variants")
    for name in ("design.toml", "run.json"):
        shutil.copy(finished.root / name, study.root)
    # As what a shell starts in the background, which ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for phase, how in (("tune", "Ctrl-C"), ("respond", "SIGTERM")):
            assert study.kill(phase, 0.1, random.Random(1), how), f"it ended before {phase}: {study.complaints}"
    finally:
        signal.signal(signal.SIGINT, before)
    assert study.complaints == [], "exit code or words"
    assert not any(torture.outliving(group) for group in study._groups)


def test_a_second_command_is_refused_with_the_process_id(
    finished: pipeline.Result, small: Design, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from aftertune.cli import main
    from aftertune.store.run import Run

    path = tmp_path / "small.toml"
    path.write_text(dump(small))
    with Run.open(finished.root).lock(), pytest.raises(SystemExit) as stop:
        main(["study", str(path), "-o", str(finished.root), "--quiet"])
    assert stop.value.code == 1
    said = capsys.readouterr().err.strip()
    assert said == (
        f"aftertune: {finished.root}: process {os.getpid()} works in this run; wait for it, or use another folder"
    )


def test_an_error_of_the_system_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from aftertune.cli import main

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/file")

    monkeypatch.setattr(pipeline, "status", refuse)
    with pytest.raises(SystemExit) as stop:
        main(["status", "."])
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert said == (
        "aftertune: /somewhere/file: refused: No space left on device; free some space and run the same command again\n"
    )
