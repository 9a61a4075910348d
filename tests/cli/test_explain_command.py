"""`aftertune explain`: what reaches the library, what is printed, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.calls import Call, Terminal

from aftertune.commands import explain as module
from aftertune.commands.explain import Explained
from aftertune.inside.explanation import Explanation

FOUND = Explanation(
    title="demo", confidence=0.95, openings={}, readouts=(), twins=(), directions=(), effects=(), notes=("as it is",)
)
EXPLAINED = Explained(FOUND, ("Nothing moved.", "as it is"), Path("run/explanation.html"))


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


def test_it_prints_what_was_found_and_ends_well(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "explain", Call(EXPLAINED))
    ended = terminal("explain", "run", "--quiet")
    assert ended.code == 0
    assert ended.out == "Nothing moved.\n\n- as it is\n\nreport: run/explanation.html\n"


def test_options_reach_the_library(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(EXPLAINED)
    monkeypatch.setattr(module, "explain", call)
    terminal(
        "explain", "run", "--arm", "keep", "--arm", "swap", "--pairs", "0", "--prompts", "9", "--draws", "3",
        "--workers", "2", "-q",
    )  # fmt: skip
    assert call.args == (Path("run"),)
    assert call.options == {"arms": ["keep", "swap"], "pairs": 0, "prompts": 9, "draws": 3, "workers": 2}
    terminal("explain", "run", "-q")
    assert (call.options["arms"], call.options["pairs"]) == ((), None)


def test_the_json_is_all_that_is_printed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "explain", Call(EXPLAINED))
    printed = json.loads(terminal("explain", "run", "-q", "--json").out)
    assert printed["headline"] == "Nothing moved."
    assert printed["report"] == "run/explanation.html"
    assert printed["notes"] == ["as it is"]
