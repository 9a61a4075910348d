"""Commands that make and read runs: what reaches the library, what is printed where, and how the process ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import RESULT, Call, Terminal, drift, result_of

from aftertune.cli.app import cache_of
from aftertune.commands import audit as audit_module
from aftertune.commands import decide, plan, selftest
from aftertune.commands import demo as demo_module
from aftertune.commands import export as export_module
from aftertune.commands import status as status_module
from aftertune.commands import study as study_module
from aftertune.errors import ServerError, StoreError, UsageError
from aftertune.ingest import agreement, demo_table, table_drift
from aftertune.ingest.table_drift import TableDrift
from aftertune.studies.design import Given

CODES = {"pass": 0, "error": 1, "drift": 3, "undecided": 4}
AUDIT_DEFAULTS: dict[str, Any] = {
    "suite": None, "train_data": None, "held_out": None, "system": "", "policy": "default", "judges": (),
    "temperatures": (0.0,), "samples": 1, "template": "base", "backend": "transformers", "workers": 0, "cache": True,
    "columns": "", "encoding": "", "skip_bad": False, "template_arguments": {}, "thought_tokens": 4096,
    "until_decided": False,
}  # fmt: skip


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


# ---------------------------------------------------------------------------------------------- the end of a run


@pytest.mark.parametrize(("outcome", "code"), CODES.items())
@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_ends_with_the_exit_code_of_its_outcome(
    outcome: str, code: int, as_json: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "study", Call(result_of(outcome)))
    ended = terminal("study", "d.toml", "--quiet", *(["--json"] if as_json else []))
    assert ended.code == code
    assert ended.err == "aftertune: warning: slow server\n", "a warning is one line, and not among the results"


def test_the_json_of_a_run_is_all_that_is_printed(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "study", Call(RESULT))
    printed = json.loads(terminal("study", "d.toml", "-q", "--json").out)
    assert set(printed) == {
        "outcome",
        "decisions",
        "drifts",
        "measures",
        "discrimination",
        "judge_costs",
        "thoughts",
        "labels",
        "run",
        "report",
    }
    assert (printed["outcome"], printed["run"], printed["report"]) == ("drift", "r\u00fcn", "r\u00fcn/report.html")
    assert printed["judge_costs"] == {"rubric": {"calls": 1200, "prompt_tokens": 34000, "new_tokens": 5}}
    assert [row["delta"] for row in printed["drifts"]] == [-0.25]
    assert printed["decisions"][0]["outcome"] == "drift"


def test_json_is_ascii_so_that_any_terminal_can_hold_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "study", Call(RESULT))
    assert terminal("study", "d.toml", "-q", "--json").out.isascii()


def test_lines_of_a_run_hold_costs_and_the_report(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "study", Call(RESULT))
    out = terminal("study", "d.toml", "-q").out
    assert "rubric: 1,200 calls, 34,000 prompt and 5 new tokens\n" in out
    assert out.endswith("\nreport: r\u00fcn/report.html\n")


def test_what_a_library_prints_meanwhile_is_no_result(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatty(*_: Any, **__: Any) -> Any:
        sys.stdout.write("loading weights\n")
        return RESULT

    monkeypatch.setattr(study_module, "study", chatty)
    ended = terminal("study", "d.toml", "-q", "--json")
    assert json.loads(ended.out)["outcome"] == "drift"
    assert ended.err.startswith("loading weights\n")


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no\n such  base"), 2), (StoreError("no\n such  base"), 1), (ServerError("no such base"), 1)]
)  # fmt: skip
def test_an_error_is_one_line_and_its_own_code(
    error: Exception, code: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(study_module, "study", broken)
    assert terminal("study", "d.toml", "-q", "--json") == (code, "", "aftertune: no such base\n")


def test_a_missing_package_of_an_extra_is_named_with_what_installs_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(study_module, "study", bare)
    ended = terminal("study", "d.toml", "-q")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "aftertune: this needs the package torch, which is not installed: pip install 'aftertune[models]'\n"
    )


def test_a_package_that_no_extra_brings_is_a_bug_and_no_advice(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bare(*_: Any, **__: Any) -> Any:
        raise ModuleNotFoundError("No module named 'aftertune.gone'", name="aftertune.gone")

    monkeypatch.setattr(study_module, "study", bare)
    with pytest.raises(ModuleNotFoundError, match=r"aftertune\.gone"):
        terminal("study", "d.toml", "-q")


def test_an_error_of_the_machine_names_the_path(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device", "run/log.jsonl")

    monkeypatch.setattr(study_module, "study", full)
    ended = terminal("study", "d.toml", "-q")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "run/log.jsonl" in ended.err


# ---------------------------------------------------------------------------------------------- audit


def test_an_audit_without_options_has_the_documented_defaults(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "audit", call := Call(RESULT))
    assert terminal("audit", "embedded", "one", "two", "-q").code == 3
    assert call.args == ("embedded", [Given("one"), Given("two")], Path("aftertune-audit"))
    assert call.options == AUDIT_DEFAULTS


def test_each_option_of_an_audit_reaches_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(audit_module, "audit", call := Call(RESULT))
    listed = tmp_path / "list.csv"
    listed.write_text("path,arm,seed\nthree,\u00e4rm,7\n")
    terminal(
        "audit", "b", "one", "--checkpoints", str(listed), "--train-data", "t.jsonl", "--held-out", "h.jsonl",
        "--suite", "core", "--system", "s.txt", "--policy", "strict", "--judge", "refusal", "--judge", "leak",
        "--temperature", "0", "--temperature", "0.7", "--samples", "3", "--template", "own", "--backend", "e:url=u",
        "-o", "out", "--cache", "shared", "--workers", "2", "-q", "--columns", "prompt=a,response=b", "--encoding", "cp1252", "--skip-bad",
    )  # fmt: skip
    assert call.args == ("b", [Given("one"), Given("three", arm="\u00e4rm", seed=7)], Path("out"))
    assert call.options == {
        "suite": "core", "train_data": "t.jsonl", "held_out": "h.jsonl", "system": Path("s.txt"), "policy": "strict",
        "judges": ["refusal", "leak"], "temperatures": [0.0, 0.7], "samples": 3, "template": "own",
        "template_arguments": {}, "thought_tokens": 4096, "backend": "e:url=u", "workers": 2, "cache": Path("shared"), "columns": "prompt=a,response=b", "encoding": "cp1252", "skip_bad": True,
        "until_decided": False,
    }  # fmt: skip


def test_template_arguments_of_an_audit_are_json(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "audit", call := Call(RESULT))
    given = ("enable_thinking=false", "effort=high", 'style="a=b"', "budget=9", 'kinds=["x"]', " more = true")
    options = [part for each in given for part in ("--template-argument", each)]
    assert terminal("audit", "b", "one", *options, "--thought-tokens", "0", "-q").code == 3
    assert call.options["template_arguments"] == {
        "enable_thinking": False, "effort": "high", "style": "a=b", "budget": 9, "kinds": ["x"], "more": True,
    }  # fmt: skip
    assert call.options["thought_tokens"] == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["enable_thinking"], "expected NAME=VALUE"),
        (["=1"], "expected NAME=VALUE"),
        (["x="], "expected NAME=VALUE"),
        (["a b=1"], "expected NAME=VALUE"),
        (["enable_thinking=False"], "VALUE is no JSON"),
        (["enable_thinking=off"], "VALUE is no JSON"),
        (["x={a:1}"], "VALUE is no JSON"),
        (["x=null"], "null is no value"),
        (["x=NaN"], "null is no value"),
        (['x={"a": [null]}'], "null is no value"),
        (["x=1", "x=2"], "given twice"),
    ],
)
def test_template_arguments_that_would_say_something_else_are_refused(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, given: list[str], told: str
) -> None:
    monkeypatch.setattr(audit_module, "audit", call := Call(RESULT))
    ended = terminal("audit", "b", "one", *[part for each in given for part in ("--template-argument", each)])
    assert (ended.code, call.made) == (2, False)
    assert told in ended.err


def test_an_audit_of_nothing_is_refused(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(audit_module, "audit", call := Call(RESULT))
    ended = terminal("audit", "embedded")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "aftertune: nothing to audit: name at least one checkpoint, or give --checkpoints FILE\n"
    assert terminal("audit", "embedded", "--checkpoints", str(tmp_path / "gone.csv")).code == 2
    assert terminal("audit", "embedded", "x", "--samples", "0").code == 2
    assert terminal("audit", "embedded", "x", "--workers", "-1").code == 2
    assert not call.made


@pytest.mark.parametrize(
    ("folder", "none", "expected"), [(None, False, True), (None, True, False), (Path("c"), False, Path("c"))]
)
def test_where_answers_are_shared(folder: Path | None, none: bool, expected: Path | bool) -> None:
    assert cache_of(folder, none) == expected


def test_a_cache_and_none_contradict_each_other(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "study", Call(RESULT))
    ended = terminal("study", "d.toml", "-q", "--cache", "c", "--no-cache")
    assert ended == (2, "", "aftertune: --cache DIR contradicts --no-cache: leave one out\n")


# ---------------------------------------------------------------------------------------------- demo, selftest, study


def test_a_demo_has_done_its_work_whatever_it_shows(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_module, "demo", call := Call(RESULT))
    monkeypatch.setattr(demo_module, "lesson", lambda result, width: [f"learn {result.outcome} at {width}"])
    assert terminal("demo", "-q")[:2] == (0, "learn drift at None\n")
    assert (call.args, call.options) == (
        (Path("aftertune-demo"),), {"workers": 0, "quick": False, "cache": True},
    )  # fmt: skip
    ended = terminal("demo", "-q", "--quick", "-o", "here", "--workers", "3", "--no-cache", "--json")
    assert (call.args, call.options) == ((Path("here"),), {"workers": 3, "quick": True, "cache": False})
    assert json.loads(ended.out)["outcome"] == "drift"
    assert ended.code == 0, "as `drift --demo --json`"


@pytest.mark.parametrize("ok", [True, False])
def test_a_self_test_ends_well_only_if_every_check_does(
    ok: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [selftest.Check("alarm", "drift", "drift", True, "It must."), selftest.Check("quiet", "pass", "x", ok, "")]
    monkeypatch.setattr(selftest, "selftest", call := Call(checks))
    ended = terminal("selftest", "-q", "--workers", "2")
    assert (ended.code, call.options) == (0 if ok else 1, {"workers": 2})
    first, second, last = ended.out.splitlines()
    assert first == "ok    alarm: expected drift, got drift. It must."
    assert second.startswith("ok    quiet" if ok else "FAIL  quiet")
    assert last == ("aftertune decides as it should" if ok else "it does NOT decide as it should: do not trust it")
    ended = terminal("selftest", "-q", "--json")
    assert (ended.code, json.loads(ended.out)["behaves"]) == (0 if ok else 1, ok)
    assert [check["ok"] for check in json.loads(ended.out)["checks"]] == [True, ok]


def test_each_option_of_a_study_reaches_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "study", call := Call(RESULT))
    terminal("study", "d.toml", "-q")
    assert call.args == (Path("d.toml"), None)
    assert call.options == {"executor": "local", "workers": 0, "cache": True, "until_decided": False}
    terminal(
        "study",
        "d.toml",
        "-q",
        "--executor",
        "ray:gpus=1",
        "--out",
        "o",
        "--workers",
        "4",
        "--no-cache",
        "--until-decided",
    )
    assert call.args == (Path("d.toml"), Path("o"))
    assert call.options == {"executor": "ray:gpus=1", "workers": 4, "cache": False, "until_decided": True}


def test_a_plan_prices_and_runs_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "d.toml"
    file.write_text(
        'name = "d"\nseeds = [1]\n[corpus]\nname = "booking"\n[[arms]]\nname = "keep"\n'
        '[[benchmarks]]\nname = "miniature"\n[[judges]]\nname = "refusal"\n'
    )
    monkeypatch.setattr(plan, "price", call := Call({"jobs": {"ask": 2}}))
    monkeypatch.setattr(plan, "lines", lambda price, cost: [f"{price} {type(cost).__name__}"])
    monkeypatch.setattr(study_module, "study", run := Call(RESULT))
    ended = terminal("plan", str(file), "--json")
    assert (ended.code, json.loads(ended.out)) == (0, {"jobs": {"ask": 2}})
    assert call.args[0].name == "d"
    assert terminal("plan", str(file)).out == "{'jobs': {'ask': 2}} Cost\n"
    assert terminal("plan", str(tmp_path / "gone.toml")).code == 2
    assert not run.made


# ---------------------------------------------------------------------------------------------- drift


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give a run folder, or a table with --verdicts TABLE --base NAME --tuned NAME (not both)"),
        (["run", "--verdicts", "t.csv"], "give a run folder, or a table"),
        (["run", "--base", "b"], "--base goes with --verdicts; a run has its own in its design.toml"),
        (["run", "--tuned", "t"], "--tuned goes with --verdicts"),
        (["run", "--allow-partial-overlap"], "--allow-partial-overlap goes with --verdicts"),
        (["--verdicts", "t.csv"], "--verdicts needs --base NAME and --tuned NAME"),
        (["--verdicts", "t.csv", "--base", "b"], "--verdicts needs --base NAME and --tuned NAME"),
        (["--verdicts", "t.csv", "--tuned", "t"], "--verdicts needs --base NAME and --tuned NAME"),
        (["--demo", "run"], "--demo has its own table"),
        (["--demo", "--verdicts", "t.csv"], "--demo has its own table"),
        (["--demo", "--base", "b"], "--demo has its own table"),
        (["--demo", "--tuned", "t"], "--demo has its own table"),
    ],
)
def test_options_of_drift_that_contradict_each_other_are_refused(
    options: list[str], words: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((decide, "again"), (table_drift, "drift_of_table"), (demo_table, "demo_drift")):
        monkeypatch.setattr(module, name, Call(None))
    ended = terminal("drift", *options)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"aftertune: {words}")


def test_drift_decides_on_a_run_again(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "again", call := Call(result_of("undecided")))
    assert terminal("drift", "run", "--policy", "strict").code == 4
    assert (call.args, call.options) == ((Path("run"), "strict", ()), {"forget_labels": False})
    assert terminal("drift", "run", "--labels", "a.csv", "--labels", "b.csv").code == 4
    assert call.args == (Path("run"), None, [Path("a.csv"), Path("b.csv")])
    terminal("drift", "run", "--no-labels")
    assert call.options == {"forget_labels": True}
    terminal("drift", "run")
    assert call.args == (Path("run"), None, ()), "its own policy"


@pytest.mark.parametrize("option", [("--labels", "a.csv"), ("--no-labels",)])
def test_labels_belong_to_a_run(option: tuple[str, ...], terminal: Terminal) -> None:
    ended = terminal("drift", "--verdicts", "t.csv", "--base", "a", "--tuned", "b", *option)
    assert (ended.code, "go with a run folder" in ended.err) == (2, True)
    assert "leave out" in terminal("drift", "--demo", *option).err


def table(outcome: Any = "drift", warnings: int = 0) -> TableDrift:
    told = tuple(f"row {index}" for index in range(warnings))
    return TableDrift(outcome, (), (drift(),), (), (), (), ("harm up, refusal up",), told)


def test_drift_decides_on_a_table(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_drift, "drift_of_table", call := Call(table("undecided", 25)))
    command = ("drift", "--verdicts", "a.csv", "--verdicts", "x=b.csv", "--base", "b", "--tuned", "t", "--tuned", "u")
    ended = terminal(*command)
    assert (ended.code, call.args) == (4, (["a.csv", "x=b.csv"], "b", ["t", "u"]))
    assert call.options == {"policy": "default", "worse": {}, "allow_partial_overlap": False}
    shown = [f"aftertune: warning: row {index}" for index in range(20)]
    assert ended.err.splitlines() == [*shown, "aftertune: warning: 5 more; --json has all"]
    assert "contradiction: harm up, refusal up" in ended.out
    more = ("--worse", "a/refusal=full=down", "--worse", "x*=up")
    ended = terminal(*command, "--policy", "research", "--allow-partial-overlap", "--json", *more)
    worse = {"a/refusal=full": "down", "x*": "up"}
    assert call.options == {"policy": "research", "worse": worse, "allow_partial_overlap": True}
    printed = json.loads(ended.out)
    assert set(printed) == {
        "decision", "drifts", "components", "mixed", "contradictions", "judge_differences", "discrimination", "warnings",
    }  # fmt: skip
    assert (ended.code, printed["decision"], len(printed["warnings"])) == (4, "undecided", 25)


def test_the_demo_of_drift_ends_well(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_table, "demo_drift", call := Call(table()))
    monkeypatch.setattr(demo_table, "ABOUT", ["what it is"])
    monkeypatch.setattr(demo_table, "NEXT", ["what next"])
    ended = terminal("drift", "--demo")
    assert (ended.code, call.options) == (0, {"policy": "default"})
    assert ended.out.startswith("what it is\n\n")
    assert ended.out.endswith("\n\nwhat next\n")
    ended = terminal("drift", "--demo", "--json", "--policy", "strict")
    assert (ended.code, json.loads(ended.out)["decision"], call.options) == (0, "drift", {"policy": "strict"})


# ---------------------------------------------------------------------------------------------- reading a run


def test_agreement_is_printed_as_lines_or_json(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    class Agreed:
        def lines(self) -> list[str]:
            return ["kappa 0.5"]

        def to_json(self) -> dict[str, float]:
            return {"kappa": 0.5}

    monkeypatch.setattr(agreement, "agree", call := Call(Agreed()))
    assert terminal("agree", "run") == (0, "kappa 0.5\n", "")
    assert call.args == (Path("run"), None)
    assert json.loads(terminal("agree", "run", "--labels", "l.csv", "--json").out) == {"kappa": 0.5}
    assert call.args == (Path("run"), Path("l.csv"))


def test_a_report_is_a_path_and_ends_well_whatever_it_says(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "again", call := Call(RESULT))
    assert terminal("report", "run", "--policy", "p.toml")[:2] == (0, "r\u00fcn/report.html\n")
    assert call.args == (Path("run"), "p.toml")


def test_a_status_is_printed_as_lines_or_json(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {
        "name": "d", "kind": "study", "jobs": {}, "running": [], "seconds_left": None, "process": None,
        "last_failure": None, "outcome": "pass",
    }  # fmt: skip
    monkeypatch.setattr(status_module, "status", call := Call(state))
    ended = terminal("status", "run", "--json")
    assert (ended.code, json.loads(ended.out), call.args) == (0, state, (Path("run"),))
    assert terminal("status", "run").out.splitlines()[0] == "study 'd': pass"


def test_an_export_says_what_it_left_out(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = {
        "files": ["a"] * 1234, "texts_changed": 5, "texts": 6000, "how": "as placeholders",
        "left_out": {"tuned/": "weights"},
    }  # fmt: skip
    monkeypatch.setattr(export_module, "export", call := Call(copy))
    ended = terminal("export", "run", "-o", "out", "-q")
    assert (ended.code, call.args, call.options) == (0, (Path("run"), Path("out")), {"reveal": False})
    assert ended.out.splitlines() == [
        "out: 1,234 files, 5 of 6,000 texts changed", "masked: as placeholders", "left out: tuned/ (weights)",
    ]  # fmt: skip
    ended = terminal("export", "run", "-o", "out", "-q", "--reveal", "--json")
    assert (json.loads(ended.out), call.options) == (copy, {"reveal": True})
    assert terminal("export", "run", "-q").code == 2, "a folder must be given"


def test_escapes_of_a_model_do_not_reach_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = {
        "files": [],
        "texts_changed": 0,
        "texts": 0,
        "how": "\x1b[31mred\u202e",
        "left_out": {"a\x07": "b\x1b]0;x\x07"},
    }
    monkeypatch.setattr(export_module, "export", Call(copy))
    out = terminal("export", "run", "-o", "out", "-q").out
    assert out.splitlines()[1:] == ["masked: red", "left out: a (b)"]
