"""The report on a run's findings: HTML for people, Markdown for a pull request, JSON for machines, JUnit XML for CI."""

from __future__ import annotations

from aftertune.findings import Findings, Page
from aftertune.reporting.html import html
from aftertune.reporting.index import Index
from aftertune.reporting.json_report import machine
from aftertune.reporting.junit import junit
from aftertune.reporting.markdown import markdown


def report(findings: Findings) -> Page:
    """Return the report on `findings` as four strings; the same findings give the same bytes.

    Every text of a model or a data set is cleaned, masked with `findings.mask`, cut, and escaped for its format.
    Writes nothing. Raises TypeError for findings that hold what JSON cannot.
    """
    index = Index(findings)
    whole = machine(index)
    return Page(html=html(index), markdown=markdown(index), json=whole, junit=junit(index))
