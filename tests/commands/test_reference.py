"""The reference and the notebook: current, and what they show is what happens."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from perf import reference

import aftertune

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "audit.ipynb"


def test_the_reference_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "python -m perf.reference --write"


def test_the_reference_has_every_public_name() -> None:
    listed = [name for names in reference.SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(aftertune.__all__)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", [name for name in aftertune.__all__ if inspect.isfunction(getattr(aftertune, name))])
def test_the_docstring_of_a_function_names_each_parameter(name: str) -> None:
    function = getattr(aftertune, name)
    text = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters:
        others = ("run", "policy", "labels", "out", "reveal", "progress") if "as `Run." in text else ()
        assert parameter in others or re.search(rf"\b{parameter}\b", text), f"{name}: {parameter} is not explained"


@pytest.mark.slow
def test_the_examples_of_the_reference(session: Path) -> None:
    blocks = re.findall(r"```pycon\n(.*?)```", reference.page(), re.DOTALL)
    assert len(blocks) > 10
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        test = parser.get_doctest(block, names, f"example {number}", "docs/reference.md", 0)
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
    assert not runner.failures, "".join(said)


def cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_one_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in ids)
    for cell in notebook["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def run_cells() -> dict[str, Any]:
    """Run the notebook's cells in order, as Jupyter does; what ends a cell stands in `shown`."""
    names: dict[str, Any] = {"shown": []}
    for source in cells("code"):
        body = ast.parse(source).body
        last = body[-1]
        if isinstance(last, ast.Expr):
            body[-1] = ast.parse(f"shown.append({ast.unparse(last)})").body[0]
        exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
    return names


def test_the_notebook_runs(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    names = run_cells()
    assert len(names["shown"]) == len(cells("code"))
    assert "<svg" in names["figure"]._repr_html_()
    assert names["drifts"]["delta"].min() < -0.5, "the known-bad adapter refuses no longer"
    assert len(names["flipped"]) > 50


def test_the_notebook_plots_where_matplotlib_is(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    figure, axes = MagicMock(), MagicMock()
    plots = SimpleNamespace(subplots=lambda figsize: (figure, axes))
    monkeypatch.setitem(sys.modules, "matplotlib", SimpleNamespace(pyplot=plots))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", plots)
    names = run_cells()
    (centre, labels), options = axes.errorbar.call_args
    assert len(centre) == len(labels) == len(names["drifts"])
    assert all((side >= 0).all() for side in options["xerr"]), "an interval reaches to both sides of its estimate"
