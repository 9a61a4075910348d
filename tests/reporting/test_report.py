"""The step itself: findings in, three strings out."""

from __future__ import annotations

import json

import pytest

from aftertune.findings import Findings, Page
from aftertune.reporting.report import report


def test_report_gives_three_shapes_of_one_decision() -> None:
    page = report(Findings(title="A run", kind="audit", outcome="error", warnings=["No checkpoint fits the base."]))
    assert isinstance(page, Page)
    assert page.html.startswith("<!DOCTYPE html>")
    assert page.markdown.startswith("## A run")
    assert json.loads(page.json)["outcome"] == "error"
    for text in (page.html, page.markdown, page.json):
        assert "No checkpoint fits the base." in text


def test_findings_that_json_cannot_hold_are_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        report(Findings(title="t", kind="audit", outcome="pass", methods={"x": {1, 2}}))  # type: ignore[dict-item]
