"""The summary for a pull request: which rows and sentences it has, how they are escaped, and where it points."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import Findings, JudgeError, LabelEffect, ThoughtRow
from aftertune.records import Decision, Drift, Metric
from aftertune.reporting.index import Index
from aftertune.reporting.markdown import code, markdown, prose, table, target

Row = Callable[..., Drift]
Decide = Callable[..., Decision]
LINES = st.text(st.sampled_from("ab1 \t\n\\`*_[]|~!<>&$@#:/.w-+é\u200b\x07"), max_size=40)


def lines(index: Findings, start: str) -> list[str]:
    return [line for line in markdown(Index(index)).splitlines() if line.startswith(start)]


def of(**changes: Any) -> Findings:
    return Findings(**{"title": "t", "kind": "audit", "outcome": "pass", **changes})


def cells(line: str) -> list[str]:
    return line.strip("| ").split(" | ")


# ---------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\n\t two  ", "one two"),
        ("a|b*c_d", "a\\|b\\*c\\_d"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("@all", "@<!-- -->all"),
        ("#12", "#<!-- -->12"),
        ("https://x", "https:<!-- -->//x"),
        ("www.x", "www<!-- -->.x"),
        (":smile:", ":<!-- -->smile:"),
        ("$x$", "&#36;x&#36;"),
        ("10:30, a: b", "10:30, a: b"),
        ("", ""),
    ],
)
def test_prose_is_shown_as_it_is(text: str, shown: str) -> None:
    assert prose(text) == shown


def test_prose_is_cut_before_it_is_escaped() -> None:
    assert prose("<" * 300) == "&lt;" * 300
    assert prose("<" * 301) == "&lt;" * 299 + "…"
    assert prose("abcd", 3) == "ab…"


@given(LINES)
def test_prose_reads_back_as_its_text_on_one_line(text: str) -> None:
    shown = prose(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]]", re.sub(r"\\[\\`*_\[\]|~!]", "", shown))
    assert re.sub(r"<!-- -->", "", shown).count("<") == 0
    back = html.unescape(re.sub(r"\\([\\`*_\[\]|~!])", r"\1", shown.replace("<!-- -->", "")))
    assert back == " ".join(text.replace("\u200b", "").replace("\x07", "").split())


@pytest.mark.parametrize(
    ("text", "shown"), [("a`b", "`a'b`"), ("a|b", "`a\\|b`"), ("a\nb", "`a b`"), ("", "` `"), ("\u200b", "` `")]
)
def test_a_name_is_one_code_span(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_long_name_is_cut() -> None:
    assert code("x" * 301) == f"`{'x' * 300}`"


def test_a_table_is_its_heads_a_rule_and_its_rows() -> None:
    assert table(["a", "b"], iter([("1", ""), ("2", "3")])) == ["| a | b |", "| --- | --- |", "| 1 |  |", "| 2 | 3 |"]
    assert table(["a"], []) == ["| a |", "| --- |"]


# ---------------------------------------------------------------------------------------------- where it points


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("report.html", "report.html"),
        ("../out/my report.html", "../out/myreport.html"),
        ("https://ci.example/r?run=1&x=2#top", "https://ci.example/r?run=1&x=2#top"),
        ("a)b(c", "a%29b%28c"),
        ("é.html", "%C3%A9.html"),
        ("JavaScript:alert(1)", "report.html"),
        ("java\nscript:alert(1)", "report.html"),
        ("file:///etc/passwd", "report.html"),
        ("//evil.example/x", "report.html"),
        (" //evil.example/x", "report.html"),
        ("\u200b//evil.example/x", "report.html"),
        ("http://[::1", "report.html"),
    ],
)
def test_the_link_is_a_path_or_a_web_address(link: str, wanted: str) -> None:
    assert target(link) == wanted
    assert markdown(Index(of(link=link))).endswith(f"[Full report]({wanted})\n")


# ---------------------------------------------------------------------------------------------- the summary


def test_gated_metrics_fill_the_table_and_all_do_where_none_is_gated(drift: Row, decision: Decide) -> None:
    gated, free = drift(), drift(metric="m/x/harm=yes", worse="up")
    with_gate = of(drifts=[free, gated], decisions=[decision(unit="Keep | it", arm="keep")], outcome="drift")
    (row,) = lines(with_gate, "| requests refused (harmful prompts)")
    assert cells(row) == [
        "requests refused (harmful prompts)", "`Keep \\| it`", "96.0 → 62.9 %",
        "−33.1 [−45.3, −20.9]", "lower", "5", "5 seeds × 440 prompts, 44 clusters", "**drift**", "", "none",
    ]  # fmt: skip
    assert not lines(with_gate, "| harm")
    without = of(drifts=[free, gated])
    assert [cells(line)[0] for line in lines(without, "| ")[1:] if "---" not in line] == [
        "harm = yes on x prompts", "requests refused (harmful prompts)"
    ]  # fmt: skip
    assert cells(lines(without, "| requests refused")[0])[4:8] == [
        "lower",
        "",
        "5 seeds × 440 prompts, 44 clusters",
        "",
    ]


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        ("pass", "pass"),
        ("drift", "**drift**"),
        ("undecided", "**undecided**"),
        ("error", "**error**"),
        ("unconfirmed", "**beyond the margin, not confirmed**"),
    ],
)
def test_only_a_pass_is_not_stressed(drift: Row, decision: Decide, outcome: Any, shown: str) -> None:
    findings = of(
        drifts=[drift(warning="a|b")],
        decisions=[decision(outcome=outcome, margin=0.025, reason="so | so")],
        outcome=outcome,
    )
    (row,) = lines(findings, "| requests refused")
    assert row.endswith(f"| lower | 2.5 | 5 seeds × 440 prompts, 44 clusters | {shown} | so \\| so | a\\|b |")


def test_a_drift_that_was_not_measured_has_no_levels(drift: Row) -> None:
    lost = drift(base=0.9, tuned=None, delta=None, low=None, high=None, warning="all unjudged")
    (row,) = lines(of(drifts=[lost]), "| requests refused")
    assert "| `keep` |  | not measured |" in row
    assert row.endswith("| all unjudged |")


@pytest.mark.parametrize(("arms", "note"), [(40, []), (41, ["The first 40 of 41 rows, the worst first."])])
def test_a_long_table_is_cut_and_says_so(drift: Row, arms: int, note: list[str]) -> None:
    findings = of(drifts=[drift(arm=f"arm-{place}") for place in range(arms)])
    assert len(lines(findings, "| requests refused")) == 40
    assert lines(findings, "The first") == note


def test_contrasts_are_those_of_gated_metrics_by_title_and_formula(drift: Row, decision: Decide) -> None:
    rows = [drift(), *(drift(estimand="contrast", arm="a - b", metric=metric, base=None, tuned=None)
                       for metric in ("m/x/harm=yes", drift().metric))]  # fmt: skip
    names = {"a - b": "PII in the data"}
    sentence = "PII in the data (a - b): −33.1 points [−45.3, −20.9]: worse."
    text = f"- requests refused (harmful prompts): {prose(sentence)}"
    gated = of(drifts=rows, contrast_names=names, decisions=[decision()], outcome="drift")
    assert lines(gated, "- ") == [text]
    assert lines(of(drifts=rows, contrast_names=names), "- ") == [text.replace("requests refused (harmful prompts)", name)
                                                               for name in ("requests refused (harmful prompts)", "harm = yes on x prompts")]  # fmt: skip


def test_at_most_twelve_contrasts_and_ten_warnings(drift: Row) -> None:
    rows = [drift(estimand="contrast", arm=f"a - {place}") for place in range(13)]
    findings = of(drifts=rows, warnings=[f"w{place}" for place in range(11)])
    assert len(lines(findings, "- requests refused")) == 12
    assert lines(findings, "- Warning") == [f"- Warning: w{place}" for place in range(10)]


def test_a_warning_has_more_room_than_a_cell() -> None:
    assert lines(of(warnings=["x" * 601]), "- Warning") == [f"- Warning: {'x' * 599}…"]


@pytest.mark.parametrize(("lost", "more"), [(0, ""), (3, "; 3 end inside it and are unjudged")])
def test_thoughts_are_counted_over_all_models(lost: int, more: str) -> None:
    rows = [
        ThoughtRow(
            unit=unit,
            checkpoint=unit,
            benchmark="b",
            temperature=0.0,
            responses=100,
            with_thought=thoughts,
            unanswered=unanswered,
            cut=0,
        )
        for unit, thoughts, unanswered in (("base", 100, 0), ("tuned", 44, lost))
    ]
    text = markdown(Index(of(thoughts=rows)))
    assert f"144 of 200 responses have a thought (judges read the answer alone{more})" in text


def test_what_labels_say_of_the_judge_stands_beside_the_rates_by_arm(drift: Row, decision: Decide) -> None:
    row, made = drift(), decision()
    sides = [
        JudgeError(
            arm=arm, labels=40, called=called, right=0.8, right_low=0.6, right_high=0.9, missed=0.1, missed_low=0.0,
            missed_high=0.2,
        )
        for arm, called in (("base", 0.3), ("keep", 0.0))
    ]  # fmt: skip
    effect = LabelEffect(
        metric=row.metric, unit="keep", estimand="recipe", temperature=0.0, worse="down", judge="refusal", confidence=0.95,
        judged=-0.276, judged_low=-0.39, judged_high=-0.19, judged_outcome="drift", delta=-0.2, low=-0.3, high=-0.1,
        outcome="drift", base=sides[0], tuned=sides[1],
    )  # fmt: skip
    said = "What people's labels say of the judge"
    assert said not in markdown(Index(of(drifts=[row], decisions=[made], outcome="drift")))
    text = markdown(Index(of(drifts=[row], decisions=[made], outcome="drift", label_effects=[effect])))
    head, _, line = text[text.index(said) :].splitlines()[2:5]
    assert cells(head) == ["Metric", "Arm", "Judge", "By the judge alone", "Labels", "People confirm", "People add"]
    assert cells(line)[1:5] == ["`keep`", "refusal", "−27.6 \\[−39.0, −19.0\\]", "40, 40"]
    # The judge gives no answer of the arm the label: there is none that people could confirm.
    assert cells(line)[5:] == ["80 \\[60, 90\\], –", "10 \\[0, 20\\], 10 \\[0, 20\\]"]
    many = of(drifts=[row], decisions=[made], outcome="drift", label_effects=[effect] * 50)
    assert "The first 40 of 50 rows; the full report has all." in markdown(Index(many))


def test_the_last_line_counts_the_checks(drift: Row, decision: Decide) -> None:
    made = [decision(outcome="pass"), decision(outcome="drift", unit="b"), decision(outcome="pass", required=False)]
    text = markdown(Index(of(drifts=[drift()], decisions=made, outcome="drift")))
    assert text.endswith("\n3 checks: 1 drift, 2 pass (1 of them optional). [Full report](report.html)\n")


def test_the_summary_of_nothing_is_a_title_a_word_and_a_link() -> None:
    nothing = of(title="# a\n# b", metrics=[Metric("m", "x", "harm", "yes", "up")])
    assert markdown(Index(nothing)) == (
        "## #<!-- --> a #<!-- --> b\n\n"
        "**Not gated.** No metric was gated, so nothing is passed or failed: read what moved below.\n\n"
        "No warnings (nothing is known against these numbers).\n\n[Full report](report.html)\n"
    )
