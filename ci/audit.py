"""Run `aftertune audit` in a CI job: options from the environment, a summary, outputs, and the exit code for later.

Needs nothing but Python's own library. The exit code is written to the outputs and the step goes on, so that a comment
and the report come out of a failed audit too; a later step ends with it. `GITHUB_OUTPUT` and `GITHUB_STEP_SUMMARY` are
used where they are set.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

OPTIONS = {"SUITE": "--suite", "POLICY": "--policy", "TRAIN_DATA": "--train-data", "SYSTEM": "--system"}
"""Environment variable, without its prefix -> option of `aftertune audit`, given where the variable is not empty."""

DECIDED = (0, 3, 4)
"""Exit codes of an audit that came to a decision."""


def command(environment: Mapping[str, str]) -> list[str]:
    """Return the command. Raises ValueError for what is missing, and for quotation marks that do not match."""
    inputs = {key.removeprefix("AFTERTUNE_"): value.strip() for key, value in environment.items()}
    checkpoints = shlex.split(inputs.get("CHECKPOINTS", ""))
    if not inputs.get("BASE") or not checkpoints:
        raise ValueError("give base and checkpoints: what is compared, and with what")
    parts = ["audit", inputs["BASE"], *checkpoints, "-o", inputs.get("RUN") or "aftertune-audit", "--quiet"]
    for name, option in OPTIONS.items():
        if inputs.get(name):
            parts += [option, inputs[name]]
    if inputs.get("CACHE"):
        parts += ["--cache", inputs["CACHE"]]
    more = shlex.split(inputs.get("ARGUMENTS", ""))
    if any(each.startswith(("-o", "--out")) for each in more):  # else the outcome is read where the audit is not
        raise ValueError("arguments: the folder of the run is the input `run`, not `-o` or `--out`")
    return [sys.executable, "-m", "aftertune", *parts, *more]


def main() -> None:
    """Run the audit, write summary and outputs, and end with 0."""
    try:
        parts = command(os.environ)
    except ValueError as error:
        sys.exit(f"aftertune: {error}")
    run = Path(parts[parts.index("-o") + 1])
    print("+", shlex.join(parts[1:]), flush=True)
    code = subprocess.run(parts, check=False).returncode
    comment = [sys.executable, str(Path(__file__).with_name("comment.py")), str(run), "--print"]
    said = subprocess.run(comment, capture_output=True, text=True, encoding="utf-8", check=False)
    fresh = code in DECIDED and said.returncode == 0  # else a report that lies there is of another attempt
    outcome = json.loads((run / "report.json").read_text(encoding="utf-8"))["outcome"] if fresh else "error"
    _append("GITHUB_STEP_SUMMARY", said.stdout if fresh else f"aftertune: exit code {code}, no decision.\n")
    _append("GITHUB_OUTPUT", f"code={code}\noutcome={outcome}\nrun={run if fresh else ''}\n")
    print(f"aftertune: {outcome}, exit code {code}")


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
