"""The closing tables, the measures and what scored texts say: on the page with n, interval and reason, escaped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from aftertune.findings import Findings, Mixed, StudyCell, StudySection, SubjectMeasure
from aftertune.reporting.report import report

Make = Callable[..., Findings]
RATE = {"value": 0.25, "low": 0.15, "high": 0.38, "n": 60, "n_null": 100, "positives": 15, "fpr": 0.01,
        "false_positives": 1, "why": ""}  # fmt: skip
MEMORY: dict[str, Any] = {
    "keep seed 0 epoch 3": {
        "membership": {attack: {"auc": {"value": 0.71, "low": 0.63, "high": 0.78, "n": 60, "n_null": 100},
                                "tpr": RATE} for attack in ("loss", "ratio")},
        "canaries": {"ratio": {"1": {"exposure": 2.1, "low": 1.2, "high": 3.3, "most": 6.7, "n": 12, "n_null": 100,
                                     "tpr": {**RATE, "value": None, "why": "12 canaries are too few"}},
                               "16": {"exposure": 6.1, "low": 5.2, "high": 6.7, "most": 6.7, "n": 12, "n_null": 100,
                                      "tpr": RATE}},
                     "null": {"exposure": 1.4, "low": 1.3, "high": 1.6, "most": 6.7, "n": 100, "n_null": 99,
                              "tpr": RATE}},
    }
}  # fmt: skip


def section(**changes: Any) -> StudySection:
    fields: dict[str, Any] = {
        "title": "Refusal <b>", "source": "a paper", "heads": ("Refused", "Change"), "about": ("rate: x", "change: x"),
        "units": ("%", ""), "labels": ("Base", "Keep | x"),
        "rows": (
            (StudyCell(value=0.96, low=0.92, high=0.98, scale="rate", sample="176 prompts", published=42.6),
             StudyCell(value=None, why="the base itself")),
            (StudyCell(value=0.55, low=0.4, high=0.7, scale="rate", sample="5 seeds × 176 prompts",
                       published="<i>single</i> digits"),
             StudyCell(value=-0.41, low=-0.56, high=-0.26, scale="points", sample="5 seeds × 176 prompts")),
        ),
        "statements": ("Refused: worse than the base in 1 of 1 rows.",), "supports": "This.", "cannot": "<script>",
    }  # fmt: skip
    return StudySection(**{**fields, **changes})


def test_the_closing_table_is_last_and_marks_the_paper(study: Make) -> None:
    page = report(study(tables=[section()]))
    html = page.html
    assert html.index('id="caveats"') < html.index('id="paper"')
    body = html[html.index('id="paper"') :]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))
    for part in (
        "other models on other data",
        "55.0 % [40.0, 70.0]",
        "5 seeds × 176 prompts",
        "published: 42.6 %",
        "the base itself",
        "−41.0 points [−56.0, −26.0]",
        "worse than the base in 1 of 1 rows",
        "What this design supports.",
    ):
        assert part in text, part
    assert "<i>single" not in html
    assert html.count("<script") == 1
    assert "Refusal <b>" not in html
    assert body.count("published:") == 2, "only the column that the paper has a number for"
    assert "| Keep \\| x |" in page.markdown
    assert "*42.6 %*" in page.markdown
    assert "– (the base itself)" in page.markdown
    told = json.loads(page.json)["tables"][0]
    assert told["rows"][1][1]["value"] == -0.41
    assert 'id="paper"' not in report(study()).html


def test_measures_stand_on_the_page_with_their_change(study: Make) -> None:
    shared: dict[str, Any] = {"benchmark": "privacylens", "temperature": 0.0, "n": 986, "n_clusters": 493, "unread": 4}
    measures = [
        SubjectMeasure(name="d-prime, vignette", unit="keep seed 1", checkpoint="c", value=1.9, low=1.7, high=2.1,
                       change=-0.8, change_low=-1.1, change_high=-0.5, **shared),
        SubjectMeasure(name="criterion, vignette", unit="keep seed 1", checkpoint="c", value=None, low=None, high=None,
                       change=None, change_low=None, change_high=None, warning="no answer could be read", **shared),
    ]  # fmt: skip
    page = report(study(measures=measures))
    for part in ("1.9 [1.7, 2.1]", "−0.8 [−1.1, −0.5]", "493", "not measured", "no answer could be read"):
        assert part in page.html, part
    assert json.loads(page.json)["measures"][0]["change"] == -0.8
    assert 'id="measures"' not in report(study()).html


def test_membership_and_exposure_are_drawn_with_n_and_interval(study: Make) -> None:
    page = report(study(memorisation=MEMORY))
    for part in (
        "0.71 [0.63, 0.78]",
        "25.0 [15.0, 38.0]",
        "6.1 [5.2, 6.7]",
        "16 times",
        "never (twins)",
        "12 canaries are too few",
    ):
        assert part in page.html, part
    assert json.loads(page.json)["memorisation"] == MEMORY
    assert "Exposure" not in report(study(memorisation={"why": "no tuning data was given"})).html


def test_mixed_signs_are_shown_where_nothing_contradicts_itself(study: Make) -> None:
    mixed = Mixed(
        base_model="embedded-a",
        temperature=0.0,
        observed=0.8,
        expected=0.84,
        low=0.5,
        high=1.0,
        p=0.7,
        n_checkpoints=25,
        n_metrics=13,
    )
    html = report(study(mixed=[mixed])).html
    assert "80 % of 25 checkpoints" in html
    assert "84 % would be where nothing drifts at all" in html
    assert "No arm has movements in opposite directions" in html
