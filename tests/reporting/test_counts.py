"""Counts are of what their words say: no sample, no cut list and no half of two kinds passes for the whole."""

from __future__ import annotations

from typing import Any

import pytest
from tests.reporting.conftest import decision, drift

from aftertune.findings import Findings, UnjudgedAnswers
from aftertune.records import Decision, Drift
from aftertune.reporting.index import Index
from aftertune.reporting.markdown import markdown
from aftertune.reporting.sentences import decision_sentence, how_sure


def of(rows: list[Drift], decisions: list[Decision] | None = None, **changes: Any) -> Index:
    made = [decision(arm=row.arm, unit=row.arm) for row in rows] if decisions is None else decisions
    fields: dict[str, Any] = {"title": "t", "kind": "audit", "outcome": "drift", "drifts": rows, "decisions": made}
    return Index(Findings(**{**fields, **changes}))


def rows_with(*warnings: str) -> list[Drift]:
    return [drift(arm=f"a{at}", warning=text, unjudged_tuned=0) for at, text in enumerate(warnings)]


@pytest.mark.parametrize(
    ("flagged", "run", "fact", "meaning"),
    [
        (("", ""), (), "No warnings", "nothing is known against these numbers"),
        (("", ""), ("w",), "1 warning on the run", "none on any one of the 2 gated numbers"),
        (("few",) * 11, (), "11 of 11 gated numbers carry a warning", "few; none on the run as a whole"),
        (("few", ""), ("w", "v"), "1 of 2 gated numbers carries a warning", "few; 2 warnings on the run as a whole"),
        (
            ("few; old", "old", "old; other", ""),
            (),
            "3 of 4 gated numbers carry a warning",
            "most often: old (3 of them); none on the run as a whole",
        ),
    ],
)
def test_warnings_of_numbers_and_of_the_run_are_told_apart(
    flagged: tuple[str, ...], run: tuple[str, ...], fact: str, meaning: str
) -> None:
    assert how_sure(of(rows_with(*flagged), warnings=run))[-1] == (fact, meaning)


def test_numbers_are_not_called_gated_where_none_is() -> None:
    facts = how_sure(of(rows_with("few", ""), [], outcome="pass"))
    assert facts[-1] == ("1 of 2 numbers carries a warning", "few; none on the run as a whole")


def test_unjudged_answers_are_counted_once_of_all_that_were_asked() -> None:
    rows = [drift(arm="a", n_prompts=70, n_seeds=1, unjudged_tuned=30, unjudged_base=2) for _ in "xy"]
    facts = dict(how_sure(of(rows, unjudged=UnjudgedAnswers(base=2, of_base=100, tuned=30, of_tuned=100))))
    assert facts["30 of 100 tuned answers unjudged on some metric"] == (
        "the worst case counts them as the worst; of the base's, 2 of 100"
    )
    (missing,) = [pair for pair in how_sure(of(rows)) if "missing" in pair[0]]
    assert missing == (
        "60 verdicts missing on tuned answers, and 4 on the base's",
        "over 2 numbers; the worst case counts them as the worst",
    )


def test_a_drift_of_an_optional_check_is_not_counted_among_the_required_ones() -> None:
    rows = [drift(arm="a"), drift(arm="b")]
    made = [decision(unit="a", outcome="pass"), decision(unit="b", required=False)]
    assert decision_sentence(of(rows, made)).startswith("1 of 1 optional check breaks the policy. Worst: b,")
    made = [decision(unit="a"), decision(unit="b", required=False)]
    assert decision_sentence(of(rows, made)).startswith("1 of 1 required check breaks the policy. Worst: a,")
    assert decision_sentence(of(rows, [decision(unit="a"), decision(unit="b")])).startswith("2 of 2 checks break")


@pytest.mark.parametrize("n", [10, 11, 25])
def test_markdown_says_how_many_warnings_it_leaves_off(n: int) -> None:
    text = markdown(of(rows_with(""), warnings=[f"warning number {at}" for at in range(n)]))
    assert text.count("- Warning:") == min(n, 10)
    assert (f"- The first 10 of {n} warnings; the full report has all." in text) == (n > 10)


@pytest.mark.parametrize("n", [12, 13])
def test_markdown_says_how_many_contrasts_it_leaves_off(n: int) -> None:
    contrasts = [drift(estimand="contrast", arm=f"a - b{at:02}") for at in range(n)]
    text = markdown(of([*rows_with(""), *contrasts], [decision(arm="a0", unit="a0")]))
    assert (f"- The first 12 of {n} contrasts; the full report has all." in text) == (n > 12)
