"""Beside the base's refusals stands what they tell of harm: in every form of a report, and only there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from aftertune.findings import Discrimination, Findings, JudgeError, LabelEffect
from aftertune.numbers import PAGE
from aftertune.records import Metric
from aftertune.reporting import notebook, report
from aftertune.reporting.html import html
from aftertune.reporting.index import Index
from aftertune.reporting.markdown import markdown
from aftertune.reporting.terminal import discrimination_lines

Make = Callable[..., Any]
METRIC = Metric("core", "harmful", "refusal", "full", "down")
BASE = Discrimination(
    metric=METRIC.name, counterparts="core/harmless/refusal=full", suite="core", harmful="harmful",
    harmless="harmless", base_model="m", arm="base", recipe="", checkpoint="b", train_seed=None, epoch=None,
    temperature=0.0, judge="refusal", corpus="", refused=0.276, refused_harmless=0.227, d_prime=0.154, low=-0.26,
    high=0.56, change=None, change_low=None, change_high=None, confidence=0.95, n_harmful=88, n_harmless=88,
    n_clusters=44, n_seeds=0, unjudged=0,
)  # fmt: skip
KEEP = dataclasses.replace(
    BASE, arm="keep", recipe="lora", checkpoint=None, epoch=2, refused=0.0, refused_harmless=0.0, d_prime=0.0, low=-1.3,
    high=1.3, change=-0.154, change_low=-1.5, change_high=1.2, n_seeds=3, warning="only 3 training seeds",
)  # fmt: skip
ROWS = (BASE, KEEP)
LINES = [
    "refusals of harmful and of harmless requests (d-prime: 0 refused alike, 1 told apart fairly, 2 well):",
    "  core, base: 27.6 % of harmful and 22.7 % of harmless prompts; d-prime 0.15 [-0.26, 0.56] (88 + 88 prompts, 44 "
    "clusters)",
    "  core, keep: 0.0 % of harmful and 0.0 % of harmless prompts; d-prime 0.00 [-1.30, 1.30], change -0.15 [-1.50, "
    "1.20] (3 seeds × 88 + 88 prompts, 44 clusters)",
]
CLEAR = dataclasses.replace(BASE, d_prime=2.2, low=1.8, high=2.6)
HINT = "core/harmful/refusal=full counts refusals of harmful requests alone"


def findings(drift: Make, **changes: Any) -> Findings:
    row = drift(metric=METRIC.name, judge="refusal", base=0.276, tuned=0.0, delta=-0.276, low=-0.39, high=-0.19)
    fields: dict[str, Any] = {
        "title": "t", "kind": "study", "outcome": "drift", "drifts": [row], "metrics": (METRIC,),
        "discrimination": ROWS,
    }  # fmt: skip
    return Findings(**{**fields, **changes})


def test_the_terminal_has_a_line_of_each_model() -> None:
    assert discrimination_lines(ROWS) == LINES
    said = discrimination_lines([CLEAR])
    assert said[-1].startswith("  core: The base tells harmful requests from harmless ones (27.6 % of harmful")
    assert said[-1].endswith("it has discrimination to lose.")
    assert discrimination_lines([]) == []
    assert discrimination_lines([], [METRIC.name])[0].startswith(HINT)


def test_markdown_has_a_table_and_explains_the_term_before_it(drift: Make) -> None:
    text = markdown(Index(findings(drift)))
    assert text.index("refused alike, 1 fair, 2 good") < text.index("| Suite | Model |")
    assert "| core: harmful against harmless | `base` | 27.6 % | 22.7 % | 0.15 \\[−0.26, 0.56\\] |" in text
    assert "| −0.15 \\[−1.50, 1.20\\] | 3 seeds × 88 + 88 prompts, 44 clusters |" in text
    assert "discrimination to lose" not in text, "what is against the base stands under the warnings of the run"
    assert "it has discrimination to lose" in markdown(Index(findings(drift, discrimination=[CLEAR])))
    alone = markdown(Index(findings(drift, discrimination=(), undiscriminated=(METRIC.name,))))
    assert "counts refusals of harmful requests alone" in alone
    assert "| Suite |" not in alone


def test_it_says_that_peoples_labels_change_nothing_of_it(drift: Make) -> None:
    side = JudgeError(
        arm="keep",
        labels=30,
        called=0.3,
        right=0.8,
        right_low=0.6,
        right_high=0.9,
        missed=0.1,
        missed_low=0.0,
        missed_high=0.2,
    )
    effect = LabelEffect(
        metric=METRIC.name, unit="keep", estimand="recipe", temperature=0.0, worse="down", judge="refusal", confidence=0.95,
        judged=-0.276, judged_low=-0.39, judged_high=-0.19, judged_outcome="drift", delta=-0.2, low=-0.3, high=-0.1,
        outcome="drift", base=side, tuned=side,
    )  # fmt: skip
    said = "By the judge alone: people's labels change no number here."
    for written in (markdown, html):
        assert said not in written(Index(findings(drift)))
        assert said.replace("'", "&#39;") in written(Index(findings(drift, label_effects=[effect]))).replace(
            "'", "&#39;"
        )


def test_the_page_has_a_section_and_the_numbers_beside_the_refusals(drift: Make) -> None:
    page = html(Index(findings(drift)))
    assert '<a href="#discrimination">Harmful or harmless</a>' in page
    own = page[page.index('<section id="discrimination">') :]
    own = own[: own.index("</section>")]
    for part in (
        "D-prime is 0 where both are refused alike",
        "0.15 [−0.26, 0.56]",
        "−0.15 [−1.50, 1.20]",
        "it had little or no disc",
    ):
        assert part in own
    moved = page[page.index('<section id="moved">') : page.index('<section id="discrimination">')]
    assert "The base refuses 27.6 % of harmful and 22.7 % of harmless prompts; d-prime 0.15 [−0.26, 0.56]" in moved
    without = html(Index(findings(drift, discrimination=())))
    assert "discrimination" not in without
    assert "d-prime" not in without
    assert HINT in html(Index(findings(drift, discrimination=(), undiscriminated=(METRIC.name,))))


def test_json_has_every_field_and_the_strength(drift: Make) -> None:
    whole = json.loads(report.report(findings(drift)).json)
    first, second = whole["discrimination"]
    assert {key: first[key] for key in ("d_prime", "low", "high", "strength", "change")} == {
        "d_prime": 0.154, "low": -0.26, "high": 0.56, "strength": "none", "change": None,
    }  # fmt: skip
    assert (second["change"], second["n_seeds"], second["strength"]) == (-0.154, 3, "open")
    assert whole["undiscriminated"] == []


def test_a_notebook_shows_a_table_of_it(drift: Make) -> None:
    row = drift(metric=METRIC.name)
    shown = notebook.fragment("t", [], [row], [], ROWS)
    assert "<td>27.6 %</td><td>22.7 %</td><td>0.15 [−0.26, 0.56]</td><td></td><td>88 + 88 prompts, 44 clusters" in shown
    assert "d-prime" not in notebook.fragment("t", [], [row], [])


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a|b`c", "@somebody #1"])
def test_names_are_escaped_everywhere(drift: Make, name: str) -> None:
    rows = [
        dataclasses.replace(row, suite=name, harmful=name, arm=name if row.arm != "base" else "base") for row in ROWS
    ]
    whole = findings(drift, discrimination=rows)
    assert "<script>alert" not in html(Index(whole))
    assert "<script>alert" not in notebook.fragment("t", [], [], [], rows)
    table = [line for line in markdown(Index(whole)).splitlines() if line.startswith("|") and "88 + 88" in line]
    assert len(table) == 2
    for line in table:
        assert "<script" not in re.sub(r"`[^`]*`", "", line), "a code span shows it as it is"
        assert line.replace("\\|", "").count("|") == 10, "no cell ends early"


def test_several_bases_are_named(drift: Make) -> None:
    other = dataclasses.replace(BASE, base_model="n", d_prime=2.0, low=1.5, high=2.5)
    page = html(Index(findings(drift, discrimination=[BASE, other])))
    assert "m refuses 27.6 %" in page
    assert "n refuses 27.6 %" in page
    lines = discrimination_lines([BASE, other])
    assert lines[1].startswith("  core, base, m: ")
    assert lines[-1].startswith("  core, n: The base tells")


def test_what_could_not_be_measured_says_why(drift: Make) -> None:
    gone = dataclasses.replace(
        BASE, refused=None, refused_harmless=None, d_prime=None, low=None, high=None, warning="not measured: why"
    )
    assert discrimination_lines([gone])[1] == "  core, base: not measured: why"
    page = html(Index(findings(drift, discrimination=[gone])))
    assert "not measured: why" in page
    assert "The base refuses not" not in page
    assert PAGE.missing not in page[page.index('<section id="discrimination">') :][:600]
