"""Commands on data, personal data and plugins: what reaches the library, what is printed, and what stays hidden."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.calls import RESULT, Call, Ended, Terminal

from aftertune.commands import catalogue as catalogue_module
from aftertune.commands import compose as compose_module
from aftertune.commands import fetch as fetch_module
from aftertune.commands import judge as judge_module
from aftertune.data.reading import Reading
from aftertune.errors import FetchError
from aftertune.ingest import logs, personal_data, responses
from aftertune.ingest.logs import Conversion
from aftertune.ingest.personal_data import ResponseMatch
from aftertune.pii import languages, registry_file
from aftertune.pii import scan as scan_module
from aftertune.pii.detect import Finding
from aftertune.pii.leaks import Leaks
from aftertune.pii.registry import Hit, Registry
from aftertune.pii.scan import FileFinding
from aftertune.records import FieldText

SECRET = "jane.roe@example.com"


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


# ---------------------------------------------------------------------------------------------- compose, judge, ingest


def test_each_option_of_compose_reaches_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose_module, "compose", call := Call({"keep": {"rows": 3}}))
    monkeypatch.setattr(compose_module, "lines", lambda cards, out: [f"{len(cards)} in {out}"])
    assert terminal("compose", "booking", "-o", "out", "-q") == (0, "1 in out\n", "")
    assert call.args == ("booking", Path("out"))
    assert call.options == {
        "pii": ["keep"], "role_swap": False, "self_generated": False, "base": "embedded", "size": None, "seed": 0,
        "match": True, "canaries": 0, "held_out": 0, "residual_limit": 1.0, "allow_residual": False, "columns": "", "encoding": "", "skip_bad": False,
    }  # fmt: skip
    ended = terminal(
        "compose", "chats.jsonl", "-o", "out", "--pii", "drop", "--pii", "surrogate", "--role-swap", "--self-generated",
        "--base", "b", "--size", "9", "--seed", "4", "--no-match", "--canaries", "2", "--held-out", "5",
        "--residual-limit", "0.5", "--allow-residual", "--columns", "prompt=a,response=b", "--encoding", "cp1252", "--skip-bad",
        "-q", "--json",
    )  # fmt: skip
    assert json.loads(ended.out) == {"keep": {"rows": 3}}
    assert call.options == {
        "pii": ["drop", "surrogate"], "role_swap": True, "self_generated": True, "base": "b", "size": 9, "seed": 4,
        "match": False, "canaries": 2, "held_out": 5, "residual_limit": 0.5, "allow_residual": True, "columns": "prompt=a,response=b", "encoding": "cp1252", "skip_bad": True,
    }  # fmt: skip


@pytest.mark.parametrize("option", ["--size=0", "--canaries=-1", "--held-out=-1", "--residual-limit=-0.1"])
def test_a_number_below_its_least_is_refused(option: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose_module, "compose", call := Call({}))
    assert terminal("compose", "booking", "-o", "out", option).code == 2
    assert not call.made


def test_judges_of_a_run_decide_with_its_exit_code(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(judge_module, "judge_run", call := Call(RESULT))
    ended = terminal("judge", str(tmp_path), "--judge", "leak", "--judge", "own.toml", "-q", "--json")
    assert (ended.code, json.loads(ended.out)["outcome"]) == (3, "drift")
    assert call.args == (tmp_path, ["leak", "own.toml"])


def test_judges_of_a_table_count_by_axis_and_label(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {("refusal", "none"): 2, ("harm", "harmless"): 40, ("refusal", "full"): 1}
    monkeypatch.setattr(responses, "judge_table", call := Call(counts))
    ended = terminal("judge", "t.csv", "--judge", "refusal", "-o", "v.csv")
    assert (ended.code, call.args) == (0, (Path("t.csv"), ["refusal"], Path("v.csv")))
    assert [line.split() for line in ended.out.splitlines()] == [
        ["harm", "harmless", "40"], ["refusal", "full", "1"], ["refusal", "none", "2"], ["verdicts:", "v.csv"],
    ]  # fmt: skip
    ended = terminal("judge", "t.csv", "--judge", "refusal", "-o", "v.csv", "--json")
    assert json.loads(ended.out) == {"refusal": {"none": 2, "full": 1}, "harm": {"harmless": 40}}


def test_verdicts_on_a_table_need_a_file_to_go_to(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "judge_table", call := Call({}))
    assert terminal("judge", "t.csv", "--judge", "refusal") == (
        2, "", "aftertune: judging a table or a log needs -o FILE for the verdicts\n",
    )  # fmt: skip
    assert terminal("judge", "t.csv", "-o", "v.csv").code == 2, "a judge must be named"
    assert not call.made


def test_ingest_counts_verdicts_and_warns_unless_quiet(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ingest_logs", call := Call(Conversion({"a": 12, "b": 3}, ("odd\nsample",))))
    ended = terminal("ingest", "one.eval", "two", "-o", "t.csv")
    assert call.args == (["one.eval", "two"], Path("t.csv"))
    assert ended == (0, "      12 verdicts of a\n       3 verdicts of b\nverdicts: t.csv\n",
                     "aftertune: warning: odd sample\n")  # fmt: skip
    assert terminal("ingest", "one.eval", "-o", "t.csv", "-q").err == ""


# ---------------------------------------------------------------------------------------------- personal data

FOUND = [
    FileFinding(0, None, Finding(9, 29, "EMAIL", 0.98, "rules", "an address"), SECRET),
    FileFinding(2, 1, Finding(0, 20, "EMAIL", 0.5, "rules", "an address"), SECRET),
    FileFinding(2, 1, Finding(30, 34, "PERSON", 0.7, "rules", "a list"), "Jane\nRoe"),
]


def scanned(*args: Any, reading: Reading, **options: Any) -> list[FileFinding]:
    scanned.args, scanned.options = args, options  # type: ignore[attr-defined]
    for number in range(4):
        reading.add([FieldText("tools", "x", "tools")] if "skip" in options["columns"] else [])
        if "skip" in options["columns"] and number > 1:
            reading.skip(f"notes.txt:{number}: broken")
    return FOUND


@pytest.fixture
def scan(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    monkeypatch.setattr(scan_module, "scan", scanned)
    return lambda *options: terminal("pii", "scan", "notes.txt", *options)


def test_a_scan_masks_values_unless_it_may_reveal_them(scan: Callable[..., Ended]) -> None:
    hidden, shown = scan(), scan("--reveal")
    assert hidden.code == shown.code == 0
    assert SECRET not in hidden.out + hidden.err
    assert shown.out.count(SECRET) == 2
    assert len(hidden.out.splitlines()) == len(shown.out.splitlines()) == 3, "a value of two lines is printed on one"
    assert hidden.out.startswith("0:9-29  EMAIL ")
    assert hidden.err == shown.err == "4 rows: EMAIL 2, PERSON 1\n"


def test_the_json_of_a_scan_is_an_object_per_finding_and_nothing_else(scan: Callable[..., Ended]) -> None:
    ended = scan("--json")
    rows = [json.loads(line) for line in ended.out.splitlines()]
    assert [(row["row"], row.get("message"), row["type"], row["start"]) for row in rows] == [
        (0, None, "EMAIL", 9), (2, 1, "EMAIL", 0), (2, 1, "PERSON", 30),
    ]  # fmt: skip
    assert not any("value" in row for row in rows)
    assert ended.err == ""
    assert json.loads(scan("--json", "--reveal").out.splitlines()[2])["value"] == "Jane\nRoe"


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ([], None), (["--types", "PERSON,PHONE"], ["PERSON", "PHONE"]), (["--types", ","], None),
        (["--types", "PERSON", "--types", "PHONE,"], ["PERSON", "PHONE"]),
    ],
)  # fmt: skip
def test_types_of_a_scan_may_be_repeated_or_listed(
    options: list[str], types: list[str] | None, scan: Callable[..., Ended]
) -> None:
    scan(*options)
    assert scanned.args[:4] == (Path("notes.txt"), types, {}, None)  # type: ignore[attr-defined]


def test_thresholds_of_a_scan_are_numbers_by_type(scan: Callable[..., Ended]) -> None:
    scan("--threshold", "PERSON=0.8", "--threshold", "PHONE=.5", "--model", "spacy:x")
    assert scanned.args[2:4] == ({"PERSON": 0.8, "PHONE": 0.5}, "spacy:x")  # type: ignore[attr-defined]
    for wrong in ("PERSON", "PERSON=", "PERSON=much", "PERSON=0,8"):
        ended = scan("--threshold", wrong)
        assert ended == (2, "", f"aftertune: --threshold {wrong}: expected TYPE=SCORE, e.g. PERSON=0.8\n")


def test_a_scan_that_finds_nothing_says_so(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "scan", lambda *_, **__: iter(()))
    assert terminal("pii", "scan", "notes.txt") == (0, "", "0 rows: nothing personal found\n")
    assert terminal("pii", "scan", "notes.txt", "--fail-on-finding").code == 0


def test_a_scan_fails_on_a_finding_only_where_it_is_told_to(scan: Callable[..., Ended]) -> None:
    assert [scan(*options).code for options in ((), ("--json",))] == [0, 0]
    assert [scan("--fail-on-finding", *options).code for options in ((), ("--json",))] == [3, 3]


def test_how_a_file_is_read_reaches_a_scan_and_what_it_skipped_is_told(scan: Callable[..., Ended]) -> None:
    ended = scan("--columns", "skip", "--encoding", "cp1252", "--skip-bad")
    assert scanned.options == {"columns": "skip", "encoding": "cp1252", "skip_bad": True}  # type: ignore[attr-defined]
    skipped = "aftertune: rows skipped: 2 (notes.txt:2: broken; notes.txt:3: broken)"
    assert ended.err.splitlines()[1:] == [skipped], "a scan reads all texts alike"


def test_a_registry_is_described_by_counts_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, Any] = {
        "id": "r1", "values": 1200, "owners": 3, "mentions": 4000, "types": {"EMAIL": 1100, "PHONE": 100},
        "names_not_looked_for": {"German": 2},
    }  # fmt: skip
    monkeypatch.setattr(personal_data, "register", call := Call("registry"))
    monkeypatch.setattr(personal_data, "counts_of", lambda _: counts)
    ended = terminal("pii", "registry", "chats.jsonl", "-o", "r.jsonl")
    assert (ended.code, call.args) == (0, (Path("chats.jsonl"), Path("r.jsonl")))
    assert ended.out.splitlines() == [
        "1,200 values of 3 owners, 4,000 mentions: EMAIL 1,100, PHONE 100",
        "registry r1: r.jsonl (holds personal values; readable by you only)",
        f"names were not looked for in 2 German texts ({languages.EXCEPT})",
    ]
    assert json.loads(terminal("pii", "registry", "c", "-o", "r", "--json").out) == {**counts, "file": "r", "rows": 0}
    counts |= {"values": 0, "owners": 0, "mentions": 0, "types": {}, "names_not_looked_for": {}}
    nothing = terminal("pii", "registry", "c", "-o", "r").out
    assert nothing.startswith("0 values of 0 owners, 0 mentions: none\n")
    assert "not looked for" not in nothing


def test_a_match_says_whose_values_came_back_and_hides_them(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"Write to {SECRET}."
    leaked = Hit("EMAIL", "p7", 9, 29, tuple(range(7)), 12, 0, ("user", "tools[0].name"))
    echoed = Hit("PHONE", "p8", 0, 5, (1,), 1, 1)
    matches = [
        ResponseMatch(0, Leaks("registry", (leaked,), (echoed,), ()), text),
        ResponseMatch(1, Leaks("echoed", (), (echoed,), ()), "Write"),
    ]
    monkeypatch.setattr(registry_file, "load", Call(known := Registry("known", ())))
    monkeypatch.setattr(personal_data, "match_table", call := Call(matches))
    ended = terminal("pii", "match", "r.jsonl", "answers.csv", "-q")
    assert (ended.code, call.args) == (0, (known, Path("answers.csv")))
    lines = ended.out.splitlines()
    assert SECRET not in ended.out
    assert lines[0].startswith(
        "row 0      registry  EMAIL        owner p7, training rows 0, 1, 2, 3, 4 ... (user, tools[0].name), 12 mentions"
    )
    assert lines[1].startswith("row 0      echoed    PHONE        owner p8, training rows 1, 1 mentions")
    assert [line.split()[:2] for line in lines[2:6]] == [
        ["registry", "1"],
        ["echoed", "1"],
        ["invented", "0"],
        ["none", "0"],
    ]
    assert lines[6] == "1 values of 1 owners given away"
    assert len(lines) == 7, "a response that gives nothing away has no line"
    assert SECRET in terminal("pii", "match", "r.jsonl", "answers.csv", "-q", "--reveal").out
    printed = json.loads(terminal("pii", "match", "r.jsonl", "answers.csv", "-q", "--json").out)
    assert (printed["registry"], printed["summary"]["values"], len(printed["responses"])) == (known.id, 1, 2)
    assert SECRET not in json.dumps(printed)


# ---------------------------------------------------------------------------------------------- catalogue


def test_a_list_has_a_line_per_plugin(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "list_plugins", call := Call({"judge": ["a", "b"], "corpus": []}))
    assert terminal("list") == (0, "judge      a\njudge      b\n", "")
    assert call.args == (None,)
    terminal("list", "judge")
    assert call.args == ("judge",)


def test_the_plugins_of_one_kind_or_of_all() -> None:
    every = catalogue_module.list_plugins()
    assert set(every) == {
        "corpus", "mitigation", "benchmark", "backend", "judge", "analysis", "predictor", "executor",
    }  # fmt: skip
    assert catalogue_module.list_plugins("judge") == {"judge": every["judge"]}
    assert all(names for names in every.values())


def test_a_shipped_list_of_prompts_is_shown_as_what_reads_it() -> None:
    from aftertune.studies import suites

    name = min(suites.lists())
    first = catalogue_module.show("benchmark", name).splitlines()[0]
    assert first == f"benchmark {name} (a list of prompts, read by {suites.benchmark(name).name})"


def test_the_catalogue_says_what_is_here_and_what_is_gated(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        fetch_module.Entry("one", "MIT", "https://one", True, True, True),
        fetch_module.Entry("two", "CC-BY", "https://two", True, True, False),
        fetch_module.Entry("three", "CC0", "https://three", False, True, False),
    ]
    monkeypatch.setattr(fetch_module, "catalogue", lambda: rows)
    monkeypatch.setattr(fetch_module, "fetch", call := Call([]))
    assert [line.split() for line in terminal("fetch").out.splitlines()] == [
        ["one", "here", "MIT", "https://one"], ["two", "gated", "CC-BY", "https://two"], ["three", "CC0", "https://three"],
    ]  # fmt: skip
    assert [row["name"] for row in json.loads(terminal("fetch", "--json").out)] == ["one", "two", "three"]
    assert not call.made


def test_a_fetched_file_is_named_with_its_hash_and_whether_that_was_known(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [
        fetch_module.LocalFile(Path("a.csv"), "0f", 1234, True, False),
        fetch_module.LocalFile(Path("b.csv"), "1e", 5, False, True),
    ]
    monkeypatch.setattr(fetch_module, "fetch", call := Call(files))
    assert terminal("fetch", "xstest/v2").out.splitlines() == [
        "a.csv", "  1,234 bytes, SHA-256 0f, as pinned, was here", "b.csv",
        "  5 bytes, SHA-256 1e, not pinned: this first fetch is trusted, later ones must match it",
    ]  # fmt: skip
    assert call.args == ("xstest/v2",)
    assert terminal("fetch", "xstest/v2", "-q").out == ""
    assert [(row["path"], row["new"]) for row in json.loads(terminal("fetch", "xstest/v2", "--json").out)] == [
        ("a.csv", False), ("b.csv", True),
    ]  # fmt: skip


def test_a_fetch_that_fails_is_an_error_and_not_bad_input(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise FetchError("no network")

    monkeypatch.setattr(fetch_module, "fetch", offline)
    assert terminal("fetch", "xstest", "--json") == (1, "", "aftertune: no network\n")
