"""No file that is read can run code: no pickle, no remote code unless asked for by name, no shell, no eval."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "aftertune"
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    ("torch", "load"), ("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("os", "system"),
    ("os", "popen"), ("numpy", "load"), ("np", "load"), ("pd", "read_pickle"),
}  # fmt: skip


def found(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"from {node.module}"
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                yield f"{node.func.id}() in line {node.lineno}"
            if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                pair = (node.func.value.id, node.func.attr)
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                if pair in ATTRIBUTES and not (pair == ("torch", "load") and safe):
                    yield f"{'.'.join(pair)}() in line {node.lineno}"
            for keyword in node.keywords:
                # What is not written as False could become true.
                on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
                if keyword.arg in ("shell", "trust_remote_code", "allow_pickle", "unsafe_allow_html") and on:
                    yield f"{keyword.arg} in line {node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_no_file_of_ours_runs_what_it_reads(file: Path) -> None:
    assert list(found(ast.parse(file.read_text(encoding="utf-8")))) == []


OTHERS = {"PeftModel", "GLiNER"}
"""Whose `from_pretrained` knows no code of a model's own."""


def test_loadings_are_there_to_be_looked_at() -> None:
    assert sum(".from_pretrained(" in file.read_text(encoding="utf-8") for file in FILES) > 3


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_every_loading_says_that_it_runs_no_code(file: Path) -> None:
    """Left out, `trust_remote_code` asks whoever sits at the terminal, who may say yes."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
            whose = ast.unparse(node.func.value).rsplit(".", 1)[-1]
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if whose not in OTHERS:
                assert said.get("trust_remote_code") == "False", f"line {node.lineno}"


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "eval('1')", "torch.load(p)", "yaml.load(t)", "run(c, shell=True)",
     "load(n, trust_remote_code=True)", "load(n, trust_remote_code=flag)", "np.load(p, allow_pickle=True)"],
)  # fmt: skip
def test_the_check_sees_what_it_looks_for(code: str) -> None:
    assert list(found(ast.parse(code)))
