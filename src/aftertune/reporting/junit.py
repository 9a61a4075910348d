"""The decisions as JUnit XML, in which CI systems show tests: a suite is an arm or checkpoint, a case one check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from aftertune.records import Decision
from aftertune.reporting.cleaning import clean
from aftertune.reporting.index import Index

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML 1.0 document may hold."""


def junit(index: Index) -> str:
    """Return the document; the same findings give the same bytes.

    A drift is a failure; what is undecided, unconfirmed or failed on the way is an error, whose type says which. What
    could not be measured, and what the policy does not require and is undecided or unconfirmed, is skipped: a CI system
    counts that as neither passed nor failed.
    """
    findings = index.findings
    root = ElementTree.Element("testsuites", name=_text(findings.title))
    suites: dict[str, list[Decision]] = {}
    for decision in findings.decisions:
        suites.setdefault(decision.unit, []).append(decision)
    for unit, decisions in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", {"name": _text(unit)} | _counts(decisions))
        for decision in decisions:
            case = ElementTree.SubElement(suite, "testcase", classname=_text(unit), name=_text(_name(decision)))
            if (state := _state(decision)) is not None:
                told = ElementTree.SubElement(case, state, message=_text(decision.why))
                if state != "skipped":
                    told.set("type", decision.outcome)
                told.text = _text(decision.remedy) or None
    root.attrib.update(_counts(findings.decisions))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _state(decision: Decision) -> str | None:
    """Return the element that says what a check came to; None for a pass."""
    if decision.outcome == "drift":
        return "failure"
    if decision.outcome == "pass":
        return None
    unmeasured = decision.outcome == "undecided" and not decision.judge
    return "skipped" if unmeasured or not decision.required else "error"


def _counts(decisions: Sequence[Decision]) -> dict[str, str]:
    states = [_state(decision) for decision in decisions]
    named = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(states))} | {name: str(states.count(state)) for name, state in named.items()}


def _name(decision: Decision) -> str:
    """Return the metric, with what tells the check from others of it."""
    at = "" if decision.temperature is None else f", T = {decision.temperature:g}"
    return decision.metric + at + (f", judge {decision.judge}" if decision.judge else "")


def _text(value: str) -> str:
    return _NOT_XML.sub("\ufffd", clean(value))
