"""`aftertune label`: what reaches the library, what is printed, and labels typed at the terminal."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from tests.cli.calls import Call, Terminal

from aftertune.commands import label as library
from aftertune.commands.label import Part, ReadersAgreement, Sheet
from aftertune.data import table_files
from aftertune.ingest.agreement import RunAgreement


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture(name="sheet")
def _sheet(tmp_path: Path) -> Sheet:
    table_files.write(
        tmp_path / "s1.csv",
        [
            {"item": f"s1-{n}", "question": "refusal", "choices": "full | partial | none", "prompt": f"How {n}?",
             "answer": text, "label": "", "note": ""}
            for n, text in enumerate(("I can't.", "Sure:\n\x1b[31mred", ""), start=1)
        ],
    )  # fmt: skip
    parts = (
        Part("b/s/refusal=full", "mine", 176, 30, "as asked for"),
        Part("b/s/refusal=full", "base", 176, 30, "as asked for"),
    )
    return Sheet(
        "s1", tmp_path / "s1.csv", tmp_path / "s1.html", Path("run/labels/s1.json"), 3, parts, True, ("b/s/leak: no",)
    )


def test_options_reach_the_library_and_the_sheet_is_told(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, sheet: Sheet
) -> None:
    monkeypatch.setattr(library, "make_sheet", call := Call(sheet))
    out = terminal("label", "run", "--per-arm", "30", "--metric", "a*", "--metric", "b", "--seed", "4", "-o", "x").out
    assert call.args == (Path("run"),)
    assert call.options == {"per_arm": 30, "metrics": ["a*", "b"], "seed": 4, "reveal": False, "out": Path("x")}
    assert "  b/s/refusal=full: mine 30 of 176, base 30 of 176 (as asked for)" in out.splitlines()
    assert "not on the sheet: b/s/leak: no" in out
    assert "aftertune drift run --labels FILE.csv" in out
    told = json.loads(terminal("label", "run", "--json").out)
    assert (told["items"], told["masked"], told["parts"][0]["labels"]) == (3, True, 30)


def test_readers_are_compared_and_what_they_differ_on_is_a_sheet(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, sheet: Sheet
) -> None:
    monkeypatch.setattr(library, "readers", call := Call(ReadersAgreement(RunAgreement((), ()), sheet)))
    out = terminal("label", "run", "--readers", "a.csv", "--readers", "b.csv").out
    assert call.args == (Path("run"), [Path("a.csv"), Path("b.csv")])
    assert "to settle: 3 answers" in out
    assert "--labels a.csv --labels b.csv --labels SETTLED.csv" in out
    assert json.loads(terminal("label", "run", "--readers", "a.csv", "--json").out)["sheet"]["items"] == 3
    ended = terminal("label", "run", "--readers", "a.csv", "--per-arm", "3")
    assert (ended.code, "--per-arm makes a sheet" in ended.err) == (2, True)


def test_labels_are_typed_written_at_once_and_continued(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, sheet: Sheet
) -> None:
    monkeypatch.setattr(library, "make_sheet", Call(sheet))
    written = sheet.csv.with_name("s1-labels.csv")

    def type_in(*lines: str) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return terminal("label", "run", "--terminal").out

    out = type_in("7", "1", "q")
    assert "a number from 1 to 3, Enter, b or q" in out
    assert "\x1b" not in out
    assert out.endswith(f"1 of 3 labelled: {written}\n")
    out = type_in("", "b", "3", "2")
    assert "2 of 3 (s1-2)" in out, "it goes on where it stopped"
    assert "(no text)" in out
    assert out.endswith(f"3 of 3 labelled: {written}\n")
    with written.open(newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["full", "none", "partial"]
    assert "3 of 3 labelled" in type_in()
    assert "leave --json out" in terminal("label", "run", "--terminal", "--json").err
