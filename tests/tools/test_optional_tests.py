"""`make test-optional` runs every test that is skipped without Pillow, MLflow, W&B, the real encoder or axe-core."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tools import optional_tests

TESTS = optional_tests.ROOT / "tests"
GUARD = re.compile(
    r'importorskip\("(PIL|mlflow|wandb)\b|AXE\.is_file\(\)|^@REAL$|not sentence_encoder\.is_there\(\), reason', re.M
)
SHARED = re.compile(r"^REAL = pytest\.mark\.skipif\(\s*not sentence_encoder\.is_there\(\)", re.M)


def guarded(path: Path) -> list[str]:
    """Return the tests of a file that one of the guards skips."""
    text = path.read_text(encoding="utf-8")
    if not GUARD.search(text):
        return []
    lines, found = text.splitlines(), []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            own = "\n".join(lines[first - 1 : node.end_lineno])
            hit = GUARD.search(own)
            if hit and (hit[0] != "@REAL" or SHARED.search(text)):
                found.append(f"{path.relative_to(TESTS.parent).as_posix()}::{node.name}")
    return found


def test_every_test_that_needs_them_is_run() -> None:
    own = Path(__file__)
    found = [each for path in TESTS.rglob("test_*.py") if path != own for each in guarded(path)]
    assert sorted(found) == sorted(optional_tests.TESTS)


def test_what_it_installs_is_pinned() -> None:
    pinned = {line.partition("==")[0] for line in (optional_tests.ROOT / "constraints.txt").read_text().splitlines()}
    assert {*optional_tests.PACKAGES, *optional_tests.ALONE} <= pinned


def test_a_skipped_test_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = (
        '<testsuites><testsuite><testcase classname="tests.a" name="test_one"/><testcase classname="tests.a" '
        'name="test_two"><skipped message="mlflow is not installed"/></testcase></testsuite></testsuites>'
    )
    (tmp_path / "results.xml").write_text(suite)
    assert optional_tests.skipped(tmp_path / "results.xml") == ["tests.a.test_two: mlflow is not installed"]

    class Done:
        returncode = 0

    def ran(command: list[str], **how: object) -> Done:
        Path(next(part for part in command if part.startswith("--junit-xml="))[len("--junit-xml=") :]).write_text(suite)
        return Done()

    monkeypatch.setattr(optional_tests, "installed", lambda folder: None)
    monkeypatch.setattr(subprocess, "run", ran)
    assert optional_tests.main() == 1
    suite = suite.replace('<skipped message="mlflow is not installed"/>', "")
    assert optional_tests.main() == 0
