"""`aftertune mitigate`: what reaches the library, what is printed where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import RESULT, Call, Terminal

from aftertune.commands import mitigate as module
from aftertune.commands.mitigate import Repair
from aftertune.deciding.repair import KINDS, Cell, Difference, Frontier, Row

SAFE = "suite/harmful/refusal=full"


def repair(outcome: Any) -> Repair:
    cells = {SAFE: Cell(1.0, 0.6, 0.98, Difference(-0.02, -0.05, 0.01, 200, 3), None, "pass")}
    rows = (
        Row("m", "keep", "lora", cells, 8.0, "does not repair", f"{SAFE} drifts from the base"),
        Row("m", "keep", "lora+kl", cells, 12.0, "repairs", ""),
    )
    metrics = {kind: [SAFE] if kind == "safety" else [] for kind in KINDS}
    found = Frontier("m", "keep", "lora", metrics, rows, (), "lora+kl", ())
    adapters = (Path("run-repair/repaired/keep-seed-1"),)
    return Repair(
        outcome, (found,), Path("run-repair"), Path("run-repair/repair.md"), adapters, ("regmean: no data",),
        ("the task is not measured",), RESULT,
    )  # fmt: skip


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.mark.parametrize(("outcome", "code"), [("pass", 0), ("drift", 3), ("undecided", 4)])
def test_it_prints_the_frontier_and_ends_by_what_came_of_it(
    outcome: str, code: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "mitigate", Call(repair(outcome)))
    ended = terminal("mitigate", "run", "--quiet")
    assert ended.code == code
    assert "Recommended: `kl`, the cheapest that repairs." in ended.out
    assert "| `kl` | 98 % (" in ended.out
    assert "repaired: run-repair/repaired/keep-seed-1" in ended.out
    assert ended.out.rstrip().endswith("report: run-repair/repair.md")
    assert ended.err == "aftertune: not tried: regmean: no data\naftertune: note: the task is not measured\n"


def test_options_reach_the_library(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(repair("pass"))
    monkeypatch.setattr(module, "mitigate", call)
    terminal(
        "mitigate", "run", "--methods", "regmean:weight=3", "--methods", "interpolation", "--arm", "keep", "--own", "core",
        "--task-margin", "0.05", "-o", "there", "--workers", "2", "--no-cache", "-q",
    )  # fmt: skip
    assert call.args == (Path("run"), Path("there"))
    assert call.options == {
        "methods": ["regmean:weight=3", "interpolation"], "arms": ["keep"], "own": "core", "task_margin": 0.05,
        "workers": 2, "cache": False,
    }  # fmt: skip
    terminal("mitigate", "run", "-q")
    assert call.args == (Path("run"), None)
    assert (call.options["methods"], call.options["arms"]) == ((), ())


def test_the_json_is_all_that_is_printed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "mitigate", Call(repair("pass")))
    printed = json.loads(terminal("mitigate", "run", "-q", "--json").out)
    assert printed["outcome"] == "pass"
    assert printed["adapters"] == ["run-repair/repaired/keep-seed-1"]
    (found,) = printed["frontiers"]
    assert found["recommended"] == "lora+kl"
    assert found["rows"][1]["cells"][SAFE]["to_base"]["low"] == -0.05
    assert (printed["left_out"], printed["notes"]) == (["regmean: no data"], ["the task is not measured"])
