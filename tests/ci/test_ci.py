"""The scripts behind `action.yml` and the GitLab template, run as a CI job runs them, against a forge of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci import audit, comment

ROOT = Path(__file__).parents[2]


def decision(outcome: str, metric: str = "core/harmful/refusal=full", **own: Any) -> dict[str, Any]:
    return {"outcome": outcome, "metric": metric, "unit": "tuned", "why": "From 90 % to 40 %.", "required": True, **own}


def report(*decisions: dict[str, Any], outcome: str = "drift", **own: Any) -> dict[str, Any]:
    fields = {"schema": "aftertune.report/1", "outcome": outcome, "sentence": "1 of 2 checks break the policy."}
    return fields | {"decisions": list(decisions), "warnings": []} | own


def written(folder: Path, content: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(content))
    return folder


# ---------------------------------------------------------------------------------------------- the text


def test_a_comment_shows_what_did_not_pass_the_worst_first() -> None:
    text = comment.body(
        report(decision("undecided", "b"), decision("pass", "c"), decision("drift", "a"), decision("pass", "d")),
        "x",
        "",
    )
    assert text.startswith("<!-- aftertune:x -->\n### ❌ aftertune: drift\n")
    assert "4 required checks: 1 drift, 1 undecided, 2 pass." in text
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows == ["| a", "| b"]


def test_what_is_not_required_is_shown_where_it_counts() -> None:
    optional = [decision(outcome, outcome, required=False) for outcome in ("drift", "unconfirmed", "undecided", "pass")]
    text = comment.body(report(*optional, decision("pass", "b")), "x", "https://h/r")
    assert "1 required check: 1 pass." in text
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:] == [
        "| drift \\(optional\\)"
    ]
    assert "0 required checks: none." in comment.body(report(*optional[1:], outcome="undecided"), "x", "")
    assert text.endswith("\n[Whole report](https://h/r)\n")


@pytest.mark.parametrize(
    "hostile",
    [
        "a | b", "@everyone", "<img src=x onerror=alert(1)>", "[x](https://evil.example)", "https://evil.example", "#12",
        "a\n\n# head", "`code", "**bold**", "<!-- aftertune:audit -->", "www.evil.example", "&lt;b&gt;", "$x$", "~~x~~",
    ],
)  # fmt: skip
def test_texts_of_users_and_models_are_shown_as_they_stand(hostile: str) -> None:
    """By the rules of GitHub's Markdown, of which markdown-it reads all but mentions and references."""
    from markdown_it import MarkdownIt

    text = comment.body(report(decision("drift", unit=hostile), sentence=hostile, warnings=[hostile]), "x", "")
    page = MarkdownIt("gfm-like").render(text)
    rows = page.count("<tr>")
    assert rows == 2
    assert page.count("<td>") == 4
    for tag in ("<img", "<a ", "<strong>", "<code>", "<s>", "<h1>"):
        assert tag not in page
    assert page.count("<!--") == 1
    assert page.count("<h3>") == 1
    assert "@" not in text
    assert "#1" not in text.replace("\\#", "")


def test_a_long_comment_is_cut_between_lines() -> None:
    rows = [decision("drift", f"m{at}", why="x" * 5000) for at in range(60)]
    text = comment.body(report(*rows, warnings=["w" * 3000] * 30), "x", "")
    assert len(text) <= comment.LONGEST
    assert text.endswith("Cut here: the report holds the rest.\n")
    assert text.count("<details>") == text.count("</details>")


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "other/1"}'])
def test_another_file_is_no_report(content: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(content)
    assert comment.read(tmp_path) is None


# ---------------------------------------------------------------------------------------------- the comment


class Forge(BaseHTTPRequestHandler):
    """Comments of one pull request, a page of two at a time."""

    comments: list[dict[str, Any]]
    refuses = 0
    calls: list[tuple[str, str]]

    def _answer(self, code: int, content: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def _body(self) -> str:
        return str(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"])

    def _edit(self) -> None:
        ident = int(self.path.rsplit("/", 1)[1])
        next(each for each in self.comments if each["id"] == ident)["body"] = self._body()
        self._answer(200, {})

    def do_GET(self) -> None:
        self.calls.append(("GET", self.headers.get("Authorization") or self.headers.get("PRIVATE-TOKEN") or ""))
        page = int(self.path.rsplit("page=", 1)[1])
        self._answer(200, self.comments[2 * (page - 1) : 2 * page])

    def do_POST(self) -> None:
        if self.refuses:
            self._answer(self.refuses, {})
            return
        self.comments.append({"id": 100 + len(self.comments), "body": self._body()})
        self._answer(201, {})

    def do_PATCH(self) -> None:
        assert "/issues/comments/" in self.path
        self._edit()

    def do_PUT(self) -> None:
        assert "/merge_requests/7/notes/" in self.path
        self._edit()

    def log_message(self, *about: Any) -> None:
        """Say nothing."""


@contextmanager
def forge(refuses: int = 0) -> Iterator[tuple[type[Forge], str]]:
    others = [{"id": at, "body": text} for at, text in enumerate(["hello", None, "about <!-- aftertune:audit -->"])]
    made = type("Made", (Forge,), {"comments": others, "refuses": refuses, "calls": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB", "GITLAB", "CI_"))}
    program = ["bash"] if name.endswith(".sh") else [sys.executable]
    return subprocess.run(
        [*program, str(ROOT / "ci" / name), *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def github(url: str, folder: Path) -> Mapping[str, str]:
    event = folder / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    return {
        "GITHUB_TOKEN": "t", "GITHUB_REPOSITORY": "o/r", "GITHUB_API_URL": url, "GITHUB_EVENT_PATH": str(event),
    }  # fmt: skip


def gitlab(url: str, folder: Path) -> Mapping[str, str]:
    return {
        "GITLAB_CI": "true", "GITLAB_TOKEN": "t", "CI_API_V4_URL": url, "CI_PROJECT_ID": "3", "CI_MERGE_REQUEST_IID": "7",
    }  # fmt: skip


@pytest.mark.parametrize("place", [github, gitlab])
def test_one_comment_is_kept_up_to_date(place: Any, tmp_path: Path) -> None:
    run = written(tmp_path / "run", report(decision("drift")))
    with forge() as (held, url):
        told = place(url, tmp_path)
        assert script("comment.py", str(run), **told).stdout == "comment written\n"
        written(run, report(decision("pass"), outcome="pass"))
        assert script("comment.py", str(run), **told).stdout == "comment updated\n"
        assert script("comment.py", str(run), "--key", "other model", **told).stdout == "comment written\n"
        bodies = [each["body"] for each in held.comments]
    assert bodies[:3] == ["hello", None, "about <!-- aftertune:audit -->"], "somebody who quotes the mark"
    assert bodies[3].startswith("<!-- aftertune:audit -->\n### ✅ aftertune: pass")
    assert bodies[4].startswith("<!-- aftertune:other.model -->")
    assert len(bodies) == 5
    assert {call[1] for call in held.calls} == {"Bearer t" if place is github else "t"}


def test_a_token_that_may_not_write_ends_nothing(tmp_path: Path) -> None:
    run = written(tmp_path / "run", report(decision("drift")))
    with forge(refuses=403) as (_, url):
        done = script("comment.py", str(run), **github(url, tmp_path))
    assert done.returncode == 0
    assert "403" in done.stdout
    assert "pull-requests: write" in done.stdout


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "not started by a pull request"),
        ({"GITLAB_CI": "true"}, "no pipeline of a merge request"),
        ({"GITLAB_CI": "true", "CI_MERGE_REQUEST_IID": "7"}, "GITLAB_TOKEN"),
    ],
)
def test_where_there_is_nothing_to_comment_on_it_says_so(environment: Any, said: str, tmp_path: Path) -> None:
    done = script("comment.py", str(written(tmp_path, report(decision("drift")))), **environment)
    assert done.returncode == 0
    assert said in done.stdout
    assert script("comment.py", str(tmp_path / "none")).returncode == 1


# ---------------------------------------------------------------------------------------------- the audit


STAND_IN = """
import json, os, sys
from pathlib import Path
Path(os.environ["TOLD"]).write_text(json.dumps(sys.argv[1:]))
code = int(os.environ["CODE_OF_AUDIT"])
if code in (0, 3, 4):
    run = Path(sys.argv[sys.argv.index("-o") + 1]); run.mkdir(exist_ok=True)
    (run / "report.json").write_text(os.environ["REPORT"])
sys.exit(code)
"""


@pytest.mark.parametrize(("code", "outcome"), [(0, "pass"), (3, "drift"), (4, "undecided"), (1, "error"), (2, "error")])
def test_the_audit_runs_and_its_code_is_kept_for_later(code: int, outcome: str, tmp_path: Path) -> None:
    package = tmp_path / "stand_in" / "aftertune"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(STAND_IN)
    run = written(tmp_path / "run", report(decision("drift")))  # of an earlier attempt
    done = script(
        "audit.py",
        PYTHONPATH=str(package.parent), TOLD=str(tmp_path / "told"), CODE_OF_AUDIT=str(code),
        REPORT=json.dumps(report(decision(outcome), outcome=outcome)), AFTERTUNE_BASE="org/base",
        AFTERTUNE_CHECKPOINTS="./one 'two words'", AFTERTUNE_POLICY="strict", AFTERTUNE_SUITE="", AFTERTUNE_CACHE="kept",
        AFTERTUNE_RUN=str(run), AFTERTUNE_ARGUMENTS="--temperature 0.7 --samples 2",
        GITHUB_OUTPUT=str(tmp_path / "outputs"), GITHUB_STEP_SUMMARY=str(tmp_path / "summary"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "told").read_text()) == [
        "audit", "org/base", "./one", "two words", "-o", str(run), "--quiet", "--policy", "strict", "--cache", "kept",
        "--temperature", "0.7", "--samples", "2",
    ]  # fmt: skip
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    assert outputs == {"code": str(code), "outcome": outcome, "run": str(run) if code in (0, 3, 4) else ""}
    summary = (tmp_path / "summary").read_text()
    assert (f"aftertune: {outcome}" in summary) == (code in (0, 3, 4))


@pytest.mark.parametrize("lacking", [{"AFTERTUNE_BASE": "b"}, {"AFTERTUNE_CHECKPOINTS": "c"}])
def test_a_job_without_models_is_refused(lacking: dict[str, str]) -> None:
    done = script("audit.py", **lacking)
    assert done.returncode == 1
    assert done.stderr == "aftertune: give base and checkpoints: what is compared, and with what\n"
    for more in ("-o other", "--out=other", "-oother"):
        with pytest.raises(ValueError, match="input `run`"):
            audit.command({"AFTERTUNE_BASE": "b", "AFTERTUNE_CHECKPOINTS": "c", "AFTERTUNE_ARGUMENTS": more})
    with pytest.raises(ValueError, match="quotation"):
        audit.command({"AFTERTUNE_BASE": "b", "AFTERTUNE_CHECKPOINTS": "'x"})


@pytest.mark.parametrize(
    ("code", "drift", "undecided", "never"),
    [
        ("0", 0, 0, 0),
        ("3", 3, 3, 0),
        ("4", 0, 4, 0),
        ("1", 1, 1, 1),
        ("2", 2, 2, 2),
        ("", 1, 1, 1),
        ("137", 137, 137, 137),
    ],
)
def test_what_ends_a_job(code: str, drift: int, undecided: int, never: int) -> None:
    for fail_on, expected in (("drift", drift), ("undecided", undecided), ("never", never), ("", drift)):
        assert script("decide.sh", CODE=code, FAIL_ON=fail_on).returncode == expected
    assert script("decide.sh", CODE="0", FAIL_ON="drfit").returncode == 2


# ---------------------------------------------------------------------------------------------- the files


def test_the_action_hands_its_inputs_to_the_scripts_by_the_environment_alone() -> None:
    """An input that stood in a script's text could run as code."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    steps = action["runs"]["steps"]
    assert action["runs"]["using"] == "composite"
    for step in steps:
        assert ("run" in step) != ("uses" in step)
        if "run" in step:
            assert "${{" not in step["run"]
            assert step["shell"] == "bash"
            for name in ("audit.py", "comment.py", "decide.sh"):
                if name in step["run"]:
                    assert (ROOT / "ci" / name).is_file()
    told = next(step["env"] for step in steps if step.get("id") == "audit")
    read = {f"AFTERTUNE_{name}" for name in (*audit.OPTIONS, "BASE", "CHECKPOINTS", "RUN", "CACHE", "ARGUMENTS")}
    assert set(told) == read
    used = json.dumps(action["runs"])
    assert all(f"inputs.{name}" in used for name in action["inputs"])
    assert {each["value"].split(".")[1] for each in action["outputs"].values()} == {"audit"}


def test_the_options_that_the_action_gives_are_those_of_the_command() -> None:
    import inspect

    from aftertune.cli.runs import audit as command

    known = {f"--{name.replace('_', '-')}" for name in inspect.signature(command).parameters}
    assert {*audit.OPTIONS.values(), "--quiet", "--cache"} <= known


def test_the_gitlab_template_is_a_job_that_runs_the_same_scripts() -> None:
    job = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))[".aftertune"]
    lines = "\n".join(job["script"])
    assert all(f"ci/{name}" in lines for name in ("audit.py", "comment.py", "decide.sh"))
    assert job["artifacts"]["reports"]["junit"] == "$AFTERTUNE_RUN/junit.xml"
    checked = subprocess.run(["bash", "-n"], input=lines, capture_output=True, text=True, check=False)
    assert checked.stderr == ""
