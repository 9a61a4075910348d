"""The decisions as JUnit XML."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import Findings
from aftertune.records import Decision
from aftertune.reporting.report import report


def check(outcome: Any, **changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "metric": "core/harmful/refusal=full", "unit": "keep", "estimand": "recipe", "outcome": outcome,
        "required": True, "margin": 0.1, "why": "From 99 to 61 %.", "remedy": "", "judge": "refusal",
        "temperature": 0.0, "arm": "keep",
    }  # fmt: skip
    return Decision(**{**fields, **changes})


def document(*decisions: Decision, title: str = "audit") -> ElementTree.Element:
    findings = Findings(title=title, kind="audit", outcome="drift", decisions=decisions)
    return ElementTree.fromstring(report(findings).junit)


def states(root: ElementTree.Element) -> list[list[str]]:
    return [[child.tag for child in case] for case in root.iter("testcase")]


def test_each_outcome_is_what_a_ci_system_makes_of_it() -> None:
    root = document(
        check("pass"),
        check("drift"),
        check("undecided", remedy="Train with more seeds."),
        check("undecided", required=False),
        check("undecided", judge="", temperature=None, why="Not measured: there is no verdict on it."),
        check("drift", required=False),
        check("error"),
        check("unconfirmed"),
        check("unconfirmed", required=False),
    )
    assert states(root) == [
        [], ["failure"], ["error"], ["skipped"], ["skipped"], ["failure"], ["error"], ["error"], ["skipped"]
    ]  # fmt: skip
    assert [each.get("type") for each in root.iter("error")] == ["undecided", "error", "unconfirmed"]
    assert {key: root.attrib[key] for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "9", "failures": "2", "errors": "3", "skipped": "3",
    }  # fmt: skip
    error = root.find(".//error")
    assert error is not None
    assert (error.get("type"), error.text) == ("undecided", "Train with more seeds.")
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.get("message") == "From 99 to 61 %."


def test_a_suite_is_one_arm_and_a_case_names_metric_temperature_and_judge() -> None:
    root = document(check("pass"), check("drift", unit="placeholder"), check("pass", temperature=0.7))
    suites = [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root.iter("testsuite")]
    assert suites == [("keep", "2", "0"), ("placeholder", "1", "1")]
    assert [case.get("name") for case in root.iter("testcase")] == [
        "core/harmful/refusal=full, T = 0, judge refusal", "core/harmful/refusal=full, T = 0.7, judge refusal",
        "core/harmful/refusal=full, T = 0, judge refusal",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["<b>&\"'", "a\x00b\x1b[31m", "\ud800", "]]>", "\ufffe"])
def test_whatever_an_arm_is_called_the_document_can_be_read(text: str) -> None:
    root = document(check("drift", unit=text, why=text), title=text)
    assert states(root) == [["failure"]]


@given(st.text(max_size=40))
def test_any_text_can_stand_in_it(text: str) -> None:
    assert states(document(check("drift", unit=text, why=text, remedy=text))) == [["failure"]]
