"""Imports go down the floors of docs/architecture.md only, and a plugin or a step never imports its like."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "aftertune"
FLOORS = {
    "stats": 1,
    "errors": 1,
    "hardware": 1,
    "records": 2,
    "text": 3,
    "plugins": 3,
    "kinds": 3,
    "store": 3,
    "design": 3,
    "models": 3,
    "pii": 3,
    "world": 3,
    "corpora": 4,
    "benchmarks": 4,
    "judges": 4,
    "backends": 4,
    "executors": 4,
    "page": 4,
    "embedded": 4,
    "steps": 5,
    "planning": 6,
    "cells": 7,
    "results": 8,
    "ingest": 9,
    "flow": 9,
    "inspection": 10,
    "cli": 10,
    "__init__": 10,
    "__main__": 10,
}
ALONE = ("corpora", "benchmarks", "judges", "backends", "executors", "steps")
"""Rooms whose files never import each other (a name that starts with _ is a part of its neighbour)."""
FILES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(path: Path) -> set[str]:
    """Return the aftertune modules that a file imports, as dotted names below `aftertune`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name.removeprefix("aftertune.") for name in found if name.startswith("aftertune.")}


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    here = FLOORS[room(path)]
    for name in imported(path):
        there = FLOORS.get(name.split(".")[0])
        assert there is None or there <= here, f"{path.name} (floor {here}) imports {name} (floor {there})"


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in ALONE], ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_plugin_or_step_never_imports_its_like(path: Path) -> None:
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == room(path) and len(parts) > 1:
            assert parts[1].startswith("_"), f"{path.name} imports {name}"


def test_modules_form_no_circle() -> None:
    modules = {".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    edges = {name: {m for m in imported(path) if m in modules and m != name} for name, path in modules.items()}
    done: set[str] = set()
    while ready := {name for name in edges if name not in done and edges[name] <= done}:
        done |= ready
    assert not set(edges) - done, f"circle among {sorted(set(edges) - done)}"


def test_statistics_know_nothing_of_aftertune() -> None:
    allowed = {"__future__", "numpy", "scipy", "math", "dataclasses", "collections", "typing", "itertools", "functools"}
    for path in (SOURCE / "stats").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed or name.startswith("aftertune.stats"), f"{path.name}: {name}"


def test_no_print_and_no_broad_except_outside_their_places() -> None:
    broad: list[str] = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert room(path) == "cli", f"{path}:{node.lineno} prints"
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "everything"
                ends_with_raise = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(node))
                if caught in ("everything", "Exception", "BaseException") and not ends_with_raise:
                    broad.append(str(path.relative_to(SOURCE)))
    assert set(broad) <= {"backends/transformers.py", "steps/judge.py"}, broad


def test_files_stay_one_noun() -> None:
    long = {
        str(p.relative_to(SOURCE)): n for p in FILES if (n := len(p.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long, f"two nouns? {long}"
