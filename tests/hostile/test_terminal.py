"""No command lets a name, a response or an error act on a terminal, and the live table leaves nothing behind."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.hostile import screen

from aftertune.cli import main
from aftertune.commands import status

NASTY = "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x9b31m \u202egnp.exe \u2066x \x00\x08\r\nnext\u2028line \ud800"
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

LIVE = """
import os, sys, time
from aftertune.cli.app import progress_on, tell
from aftertune.run.progress import Row, RunStatus

class Made:
    def status(self, *, fresh=False):
        kinds = ("variants", "checkpoints", "scores", "responses", "verdicts")
        labels = ("tune \\x1b[2Jkeep seed 1 of a long name that goes on", "ask \\u202ebase " + "x" * 90, "[bold]c[/bold]")
        return RunStatus(tuple(Row(kind, 300, 120, 3, 123456.0, 1.0) for kind in kinds), labels, 900.0)

with progress_on(False) as progress:
    progress.follow(Made())
    for done in range(30):
        progress("a job \\x1b[31m", done, 300)
        time.sleep(0.05)
        if done == 12:
            os.system("printf 'a worker \\\\033[2J\\\\033[31msays this\\\\n' 1>&2")
            os.system("printf '10%%%%\\\\r20%%%%\\\\r100%%%% of a bar\\\\n' 1>&2")
            print("a library prints this \\x1b[5A")
            tell("a warning")
    %s
print("the result")
"""


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (200, 50), (80, 6)])
def test_the_live_table_fits_and_is_gone_when_the_work_is_done(width: int, height: int) -> None:
    terminal, snapshots, status = screen.run(["-c", LIVE % ""], width, height)
    assert status == 0
    assert not terminal.hidden
    assert terminal.text.splitlines() == [
        "a worker says this",
        "100% of a bar",
        "a library prints this",
        "aftertune: a warning",
        "the result",
    ]
    during = [text for text in snapshots if "30/300" in text or "/300" in text]
    assert during, snapshots
    for text in during:
        lines = text.splitlines()
        assert (
            len(lines)
            - sum("worker" in line or "bar" in line or "library" in line or "warning" in line for line in lines)
            <= height
        )
        assert sum("/300" in line for line in lines) == 1, "one bar, no ghost of an earlier one"
        assert text.count("variants") == (height > 6)
        if height > 6:
            assert "checkpoints   120        3      177" in re.sub(" +$", "", text, flags=re.M)
            assert ("123,456" in text) == (width >= 60)


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "raise RuntimeError('\\x1b[2J boom \\u202e')"])
def test_what_breaks_off_leaves_a_usable_terminal(ending: str) -> None:
    terminal, _, status = screen.run(
        ["-c", f"import sys, aftertune.cli as c; sys.excepthook = c._unexpected\n{LIVE % ending}"], 80, 24
    )
    assert status != 0
    assert not terminal.hidden
    assert "variants" not in terminal.text
    assert "/300" not in terminal.text
    assert "Traceback" in terminal.text


def test_an_error_that_nobody_expected_acts_on_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("\x1b[2J boom \u202e")

    monkeypatch.setattr(status, "status", broken)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(RuntimeError) as error:
        main(["status", "."])
    sys.excepthook(error.type, error.value, error.tb)
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert " boom " in said
    assert not ACTS.search(said)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_that_wants_no_colours_gets_none(env: dict[str, str]) -> None:
    terminal, snapshots, status = screen.run(["-c", LIVE.replace("progress.follow(Made())", "") % ""], 80, 24, env)
    assert status == 0
    assert terminal.text.endswith("the result")
    if "TERM" in env:
        assert not any("/300" in text for text in snapshots), "no cursor can be moved there"


# ---------------------------------------------------------------------------------------------- each command


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command; returns all that it printed, which must be harmless."""
    with pytest.raises(SystemExit):
        main([*arguments])
        sys.exit(0)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not ACTS.search(text), ACTS.search(text)
        text.encode("utf-8")
    assert "Traceback" not in captured.err
    return captured.out + captured.err


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_drift_of_a_table_with_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, tuned, metric = (f"{name} {NASTY.replace(chr(0xD800), '')}" for name in ("base", "tuned", "harm"))
    rows = [
        {
            "checkpoint": model,
            "prompt": f"{n} {NASTY}",
            "metric": metric,
            "value": (n + (model == tuned)) % 3 == 0,
            "cluster": f"{n % 7}{NASTY}",
            "judge": NASTY,
        }
        for model in (base, tuned)
        for n in range(40)
    ]
    path = table(tmp_path / "t.jsonl", rows)
    for more in ((), ("--json",)):
        text = output_of(
            capsys, "drift", "--verdicts", path, "--base", base.replace("\x00", ""), "--tuned", tuned, *more
        )
        assert text
    text = output_of(capsys, "drift", "--verdicts", path, "--base", base, "--tuned", tuned)
    assert "gnp.exe" in text
    output_of(capsys, "drift", "--verdicts", path, "--base", "nobody\x1b[2J", "--tuned", tuned)


def test_judge_agree_and_personal_data_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mail = "ada.lovelace@example.org"
    rows = [
        {
            "prompt": f"How {n}? {NASTY}",
            "response": f"Sure {NASTY}: write to Ada Lovelace, {mail}.",
            "prompt_id": f"{n}{NASTY}",
            "arm": NASTY,
        }
        for n in range(4)
    ]
    path = table(tmp_path / "r\u202e\x1b[2J.jsonl", rows)
    assert "verdicts" in output_of(capsys, "judge", path, "--judge", "refusal", "-o", str(tmp_path / "v\x1b[31m.csv"))
    chats = [{"messages": [{"role": "user", "content": f"I am Ada Lovelace, {mail} {NASTY}"},
                           {"role": "assistant", "content": f"Hello Ada Lovelace {NASTY}"}], "id": NASTY}]  # fmt: skip
    tuned = table(tmp_path / "chats.jsonl", chats)
    for reveal in ((), ("--reveal",)):
        assert "EMAIL" in output_of(capsys, "pii", "scan", tuned, *reveal)
    registry = str(tmp_path / "reg.json")
    output_of(capsys, "pii", "registry", tuned, "-o", registry)
    for reveal in ((), ("--reveal",)):
        output_of(capsys, "pii", "match", registry, path, *reveal, "--quiet")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "\u202e\x1b[2J"}\n{"\u202e')
    for command in (("pii", "scan"), ("pii", "registry", "-o", str(tmp_path / "x"))):
        output_of(capsys, *command, str(broken))


def test_ingest_of_logs_with_hostile_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = [
        {
            "doc_id": n,
            "target": NASTY,
            "arguments": [[NASTY, NASTY]],
            "resps": [[NASTY]],
            "filtered_resps": [NASTY],
            "acc": float(n % 2),
            "metrics": ["acc"],
            "doc": {"q": NASTY},
        }
        for n in range(5)
    ]
    (tmp_path / "m\x1b[31m\u202e").mkdir()
    path = table(tmp_path / "m\x1b[31m\u202e" / "samples_task\u202e_2025-01-01T00-00-00.jsonl", log)
    output_of(capsys, "ingest", path, "-o", str(tmp_path / "out\x1b[2J.csv"))
    output_of(capsys, "ingest", str(tmp_path / "no\x1b[2J\u202e.jsonl"), "-o", str(tmp_path / "o.csv"))


def test_errors_that_quote_what_is_hostile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    design = tmp_path / "d\x1b[2J.toml"
    lines = ['name = "x\\u001b[2J"', '"k\\u202e" = 1', 'bases = ["\\u001b[31m"]', '[[judges]]\nname = "\\u202e"',
             '[[benchmarks]]\nname = "x"\n"\\u001b" = 1', '[[checkpoints]]\npath = "\\u001b[2J\\u202e"',
             "\x1b[2J = \u202e"]  # fmt: skip
    for line in lines:
        design.write_text(line)
        for command in ("plan", "study"):
            assert "aftertune: " in output_of(capsys, command, str(design))
    for words in (["status"], ["report"], ["drift"], ["agree"], ["export", "-o", str(tmp_path / "e")]):
        output_of(capsys, *words, str(tmp_path / "no\x1b[2J\u202erun"))
    output_of(capsys, "show", "judge", "x\x1b[2J")
    output_of(capsys, "fetch", "x\x1b[2J\u202e")
    output_of(capsys, "audit", "no\x1b[2J", "\u202ex", "-o", str(tmp_path / "a"))
    output_of(capsys, "compose", "no\x1b[2J\u202e.jsonl", "-o", str(tmp_path / "c"))


def test_status_of_a_run_whose_records_were_made_hostile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aftertune.plugins import PluginSpec
    from aftertune.studies import stored
    from aftertune.studies.design import Design, Given
    from aftertune.studies.resolve import resolve

    declared = {name: {"asked": name, "root": NASTY[:-1]} for name in ("base", "tuned")}
    design = Design(
        name="x",
        checkpoints=(Given("tuned", arm="a"),),
        bases=("base",),
        backend=PluginSpec("endpoint", {"url": "http://127.0.0.1:9/v1", "served": declared}),
        benchmarks=(PluginSpec("miniature", {"harmful": 4}),),
        judges=(PluginSpec("refusal"),),
    )
    run = stored.begin(tmp_path / "run", resolve(design, design), {"started": NASTY}).root
    (run / "failure.json").write_text(json.dumps({"time": 1.0, "label": NASTY, "job": NASTY, "error": NASTY * 50}))
    (run / "log.jsonl").write_text(
        json.dumps({"time": "2025-01-01T00:00:00+00:00", "level": "info", "event": NASTY, "job": NASTY}) + "\n"
    )
    (run / "decisions.json").write_text(json.dumps({"outcome": NASTY, "decisions": []}))
    text = output_of(capsys, "status", str(run))
    assert "failed last" in text
    assert "red" in text
    output_of(capsys, "status", str(run), "--json")


def test_a_csv_with_hostile_heads_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[NASTY[:-1], "b"], ["1", NASTY[:-1]]])
    text = output_of(capsys, "judge", str(path), "--judge", "refusal", "-o", str(tmp_path / "o.csv"))
    assert text.count("\n") == 1
