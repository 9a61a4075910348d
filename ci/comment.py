"""Comment on a pull request (GitHub) or merge request (GitLab) with a run's decision: one comment, kept up to date.

`python ci/comment.py RUN` needs nothing but Python's own library. It finds its own comment by a mark that no reader
sees, and writes it anew; without one it makes one. Whose comment it is, is decided by `--key`, so that two audits of
one pull request have one each. What a token may not do is said and ends nothing: pull requests from forks have tokens
that cannot write.

On GitHub: GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_API_URL and the number of the pull request (`--number`, else from
GITHUB_EVENT_PATH). On GitLab: GITLAB_TOKEN (CI_JOB_TOKEN cannot write notes), CI_API_V4_URL, CI_PROJECT_ID and
CI_MERGE_REQUEST_IID. `--print` only prints the text.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROWS = 25
"""Checks shown; the report holds all of them."""
LONGEST = 60_000
"""Characters; GitHub takes 65,536."""
WORDS = {
    "pass": "pass",
    "drift": "drift",
    "unconfirmed": "beyond the margin, not confirmed",
    "undecided": "undecided",
    "error": "error",
}
"""Outcome of a check -> how it is written; the worst but `error` first in a table."""
ORDER = ("drift", "error", "unconfirmed", "undecided", "pass")
SIGNS = {"pass": "✅", "drift": "❌", "error": "⚠️"}
Report = Mapping[str, Any]


def read(run: Path) -> Report | None:
    """Return a run's report; None where there is none, or it is not one that this script knows."""
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known = isinstance(report, dict) and str(report.get("schema", "")).startswith("aftertune.report/")
    return report if known else None


def body(report: Report, key: str, link: str) -> str:
    """Return the text of a comment; `link` leads to the whole report, empty where nothing does."""
    decisions = [one for one in report["decisions"] if one["required"]]
    counts = Counter(one["outcome"] for one in decisions)
    outcome = report["outcome"]
    count = ", ".join(f"{counts[name]} {WORDS.get(name, name)}" for name in _ordered(counts))
    lines = [
        mark(key),
        f"### {SIGNS.get(outcome, '❔')} aftertune: {plain(WORDS.get(outcome, str(outcome)))}",
        "",
        plain(report["sentence"]),
        "",
        f"{len(decisions)} required {'check' if len(decisions) == 1 else 'checks'}: {count or 'none'}.",
    ]
    shown = [one for one in decisions if one["outcome"] != "pass"]
    # An optional check counts where it is a drift or an error.
    shown += [one for one in report["decisions"] if not one["required"] and one["outcome"] in ("drift", "error")]
    rows = sorted(shown, key=lambda one: _rank(one["outcome"]))
    if rows:
        lines += ["", "| Check | Model | Decision | Why |", "| --- | --- | --- | --- |"]
        for one in rows[:ROWS]:
            metric = one["metric"] if one["required"] else f"{one['metric']} (optional)"
            cells = (metric, one["unit"], WORDS.get(one["outcome"], str(one["outcome"])), one["why"])
            lines.append("| " + " | ".join(map(plain, cells)) + " |")
    if len(rows) > ROWS:
        lines += ["", f"The first {ROWS} of {len(rows)} rows."]
    if report["warnings"]:
        lines += ["", "<details><summary>Warnings</summary>", ""]
        lines += [f"- {plain(text)}" for text in report["warnings"][:ROWS]]
        lines += ["", "</details>"]
    if link:
        lines += ["", f"[Whole report]({link})"]
    return _cut(lines)


def _cut(lines: list[str]) -> str:
    text = "\n".join(lines) + "\n"
    if len(text) <= LONGEST:
        return text
    kept: list[str] = []
    for line in lines:
        if sum(map(len, kept)) + len(kept) + len(line) > LONGEST - 100:
            break
        kept.append(line)
    folded = "<details><summary>Warnings</summary>" in kept and "</details>" not in kept
    end = ["", "</details>"] if folded else []
    return "\n".join([*kept, *end, "", "Cut here: the report holds the rest."]) + "\n"


def mark(key: str) -> str:
    """Return the mark of a comment, which Markdown does not show."""
    return f"<!-- aftertune:{re.sub('[^A-Za-z0-9_.]', '.', key)} -->"


def plain(text: str) -> str:
    """Return a text that Markdown shows as it stands: no markup, link, mention, reference or new line in it."""
    text = " ".join(str(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "&#64;")
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", text)
    return re.sub(r"(?i)\b(https?|ftp|www)(?=[:.])", lambda match: f"{match[0]}&#8203;", text)


def _ordered(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=_rank)


def _rank(outcome: str) -> int:
    return ORDER.index(outcome) if outcome in ORDER else len(ORDER)


# ---------------------------------------------------------------------------------------------- where it is written


class Forge:
    """The comments of one pull request or merge request."""

    def __init__(self, comments: str, edit: str, headers: Mapping[str, str], verb: str) -> None:
        """Take the address of all comments, that of one (`{id}`), headers, and the verb that changes one."""
        self._comments, self._edit, self._headers, self._verb = comments, edit, headers, verb

    def put(self, text: str, key: str) -> str:
        """Write the comment, anew or for the first time; return which. Raises OSError, ValueError."""
        for comment in self._all():
            if str(comment.get("body") or "").lstrip().startswith(mark(key)):
                self._send(self._verb, self._edit.format(id=comment["id"]), {"body": text})
                return "updated"
        self._send("POST", self._comments, {"body": text})
        return "written"

    def _all(self) -> Iterator[Mapping[str, Any]]:
        page = 1
        while comments := self._send("GET", f"{self._comments}?per_page=100&page={page}"):
            yield from comments
            page += 1

    def _send(self, verb: str, address: str, data: Any = None) -> Any:
        request = urllib.request.Request(
            address,
            method=verb,
            data=None if data is None else json.dumps(data).encode(),
            headers={**self._headers, "Content-Type": "application/json", "User-Agent": "aftertune"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")


def forge(environment: Mapping[str, str], number: str) -> Forge | str:
    """Return where to comment; a sentence where that is not known."""
    if environment.get("GITLAB_CI"):
        request = number or environment.get("CI_MERGE_REQUEST_IID", "")
        if not request:
            return "this is no pipeline of a merge request: nothing to comment on"
        if not environment.get("GITLAB_TOKEN"):
            return "GITLAB_TOKEN is not set: a token with the scope `api` (CI_JOB_TOKEN cannot write notes)"
        notes = f"{environment['CI_API_V4_URL']}/projects/{environment['CI_PROJECT_ID']}/merge_requests/{request}/notes"
        return Forge(notes, f"{notes}/{{id}}", {"PRIVATE-TOKEN": environment["GITLAB_TOKEN"]}, "PUT")
    request = number or _pull_request(environment.get("GITHUB_EVENT_PATH", ""))
    if not request:
        return "this was not started by a pull request: nothing to comment on"
    if not environment.get("GITHUB_TOKEN"):
        return "GITHUB_TOKEN is not set"
    issues = (
        f"{environment.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    )
    headers = {"Authorization": f"Bearer {environment['GITHUB_TOKEN']}", "Accept": "application/vnd.github+json"}
    return Forge(f"{issues}/{request}/comments", f"{issues}/comments/{{id}}", headers, "PATCH")


def _pull_request(event: str) -> str:
    try:
        told = json.loads(Path(event).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(told.get("pull_request", {}).get("number") or told.get("number") or "")


def main() -> None:
    """Comment, or say why not; ends with 1 only where there is no run."""
    parser = argparse.ArgumentParser(description="Comment on a pull request with a run's decision.")
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--key", default="audit", help="tells the comments of several audits apart")
    parser.add_argument("--link", default="", help="address of the whole report")
    parser.add_argument("--number", default="", help="of the pull request")
    parser.add_argument("--print", action="store_true", help="print the text and comment nowhere")
    options = parser.parse_args()
    report = read(options.run)
    if report is None:
        sys.exit(f"{options.run}: no report.json of aftertune in it")
    text = body(report, options.key, options.link)
    if options.print:
        print(text, end="")
        return
    place = forge(os.environ, options.number)
    if isinstance(place, str):
        print(f"no comment: {place}")
        return
    try:
        print(f"comment {place.put(text, options.key)}")
    except urllib.error.HTTPError as error:
        hint = " (a token of a fork cannot write; else grant `pull-requests: write`)"
        hint = hint if error.code in (401, 403, 404) else ""
        print(f"no comment: the server answered {error.code} {error.reason}{hint}")
    except (OSError, ValueError) as error:
        print(f"no comment: {error}")


if __name__ == "__main__":
    main()
