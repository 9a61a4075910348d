"""Counts are of what their words say: no sample, no cut list and no half of two kinds passes for the whole."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from tests.reporting.conftest import decision, drift

from aftertune.findings import Findings, JudgeDifference, PairedDifference, UnjudgedAnswers
from aftertune.numbers import sample
from aftertune.records import Decision, Drift
from aftertune.reporting.index import Index
from aftertune.reporting.markdown import markdown
from aftertune.reporting.report import report
from aftertune.reporting.sentences import decision_sentence, how_sure
from aftertune.reporting.tables import judge_pair_table


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


def apart(**changes: Any) -> JudgeDifference:
    row = decision(judge="one")
    names = ("metric", "unit", "estimand", "base_model", "arm", "recipe", "checkpoint", "epoch", "temperature")
    pair = PairedDifference(value=0.164, other=0.007, delta=-0.157, low=-0.226, high=-0.106, confidence=0.95, p=0.001,
                            p_adjusted=0.01, corrected=True, n_prompts=176, n_clusters=44)  # fmt: skip
    fields: dict[str, Any] = {"judge": "one", "other": "two", "outcome": "undecided", "other_outcome": "pass",
                              "required": True, "margin": 0.1, "rate": pair, "same": 0.84, "n_seeds": 5}  # fmt: skip
    return JudgeDifference(**{**{name: getattr(row, name) for name in names}, **fields, **changes})


def test_judges_that_disagree_stand_in_a_table_and_in_json() -> None:
    silent = apart(
        other="three", rate=None, same=None, n_seeds=0, other_outcome=None, why="three has no label 'harmful'"
    )
    page = report(of(rows_with(""), judge_differences=[apart(), silent]).findings)
    first, second = json.loads(page.json)["judge_differences"]
    assert (first["rate"]["value"], first["rate"]["other"], first["told_apart"], first["corrected"]) == (
        0.164, 0.007, True, True,
    )  # fmt: skip
    assert (second["rate"], second["told_apart"]) == (None, False)
    made = judge_pair_table(of(rows_with(""), judge_differences=[apart(), silent]))
    assert made is not None
    heads = [column.head for column in made.columns]
    told, untold = (dict(zip(heads, row, strict=True)) for row in made.rows)
    assert told["Rates"] == "16.4, 0.7 %"
    assert told["Difference [interval]"] == "−15.7 [−22.6, −10.6]"
    assert (told["Decision"], told["Note"], told["Read alike"]) == ("undecided, pass", "disagree", "84 %")
    assert told["n"] == "5 seeds × 176 prompts, 44 clusters"
    assert (untold["Rates"], untold["Note"]) == ("", "not compared: three has no label 'harmful'")
    assert "Judges of one metric on the same answers" in page.html
    assert judge_pair_table(of(rows_with(""))) is None


def test_the_confidence_of_looks_is_the_one_that_was_used() -> None:
    rows = [dataclasses.replace(row, confidence=0.9985) for row in rows_with("", "")]
    assert "99.85 % intervals" in dict(how_sure(of(rows)))


def test_a_pass_of_optional_checks_alone_says_that_none_is_required() -> None:
    found = of(rows_with(""), outcome="undecided")
    own = [dataclasses.replace(one, required=False, outcome="pass") for one in found.findings.decisions]
    said = decision_sentence(Index(dataclasses.replace(found.findings, decisions=own)))
    assert said == "The policy requires none of these checks, so nothing is passed: read what moved below."


def test_one_of_each_is_singular() -> None:
    (row,) = rows_with("")
    assert sample(dataclasses.replace(row, n_prompts=2, n_clusters=1, n_seeds=1)) == "1 seed × 2 prompts, 1 cluster"
    assert sample(dataclasses.replace(row, n_prompts=1, n_clusters=1, n_seeds=0)) == "1 prompt"
