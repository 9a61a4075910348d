"""What the page says is what the findings say, with n and interval, digits that follow the error, and nothing empty."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import Contradiction, Findings
from aftertune.numbers import MINUS, PAGE, TEXT, decimals
from aftertune.records import Decision, Drift, Metric, Outcome
from aftertune.reporting import charts
from aftertune.reporting.index import Index
from aftertune.reporting.page.curves import curves
from aftertune.reporting.page.footnotes import Footnotes
from aftertune.reporting.page.forest import forests
from aftertune.reporting.report import report
from aftertune.reporting.sentences import contrast_sentence, decision_sentence, word

Make = Callable[..., Findings]


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S)))


def test_the_top_says_what_when_where_and_how_sure(study: Make) -> None:
    top = plain(report(study()).html.split("<main>")[0])
    for part in ("Drift", "7 of 10 required checks", "keep-swap", "96.0 → 54.8 %", "−41.2 points [−50.2, −32.2]",
                 "margin 5 points", "5 training seeds", "440 prompts", "44 clusters", "95 % intervals",
                 "36 verdicts missing on tuned answers over 15 numbers", "12 % of the keep arm"):  # fmt: skip
        assert part in top, part


@pytest.mark.parametrize(
    ("outcome", "says"),
    [("pass", "All 3 checks hold"), ("drift", "3 of 3 checks break"), ("undecided", "140 more prompts"),
     ("error", "could not be made")],
)  # fmt: skip
def test_every_outcome_has_its_sentence(audit: Make, outcome: Outcome, says: str) -> None:
    page = report(audit(outcome))
    assert says in plain(page.html)
    assert f'<body class="o-{outcome}">' in page.html
    assert says in page.markdown
    assert says in json.loads(page.json)["sentence"]


def test_a_pass_of_nothing_is_not_a_pass(study: Make) -> None:
    findings = study(decisions=(), outcome="pass")
    assert word(findings) == "Not gated"
    page = report(findings)
    assert ">Pass<" not in page.html
    assert "Pass" not in page.markdown.splitlines()[2]
    assert 'class="margin"' not in page.html
    assert 'class="chip' not in page.html


def test_one_seed_is_said_to_be_one_seed(audit: Make) -> None:
    html = report(audit()).html
    assert "One checkpoint, one seed" in html
    assert 'class="dot"' not in html


def test_nothing_at_all_is_a_page_without_empty_sections() -> None:
    page = report(Findings(title="t", kind="audit", outcome="error", warnings=["The base could not be loaded."]))
    assert "No check could be made. The base could not be loaded." in plain(page.html)
    for absent in ("Contrasts", "Flips", "Leaks", "Categories", "Methods", "<h2>Can these numbers", "<table class"):
        assert absent not in page.html
    assert json.loads(page.json)["drifts"] == []


def test_sections_appear_only_with_their_data(study: Make) -> None:
    whole = report(study()).html
    for anchor, empty in (("contrasts", {"drifts": [d for d in study().drifts if d.estimand != "contrast"]}),
                          ("flips", {"flips": ()}), ("categories", {"categories": ()}), ("data", {"cards": {}}),
                          ("methods", {"methods": {}}), ("caveats", {"caveats": ()})):  # fmt: skip
        assert f'id="{anchor}"' in whole
        assert f'id="{anchor}"' not in report(study(**empty)).html
    assert 'id="contradictions"' not in whole
    said = Contradiction(unit="keep", better=("a",), worse=("b",), n=5, why="Noise alone gives 12 %.")
    assert "Noise alone gives 12 %." in report(study(contradictions=[said])).html


def test_every_plotted_number_has_its_n_and_interval(study: Make) -> None:
    html = report(study()).html
    plots = re.findall(r'<table class="forest(?: headless)?">.*?</table>', html, re.S)
    rows = [row for plot in plots for row in re.findall(r'<tr id=".*?</tr>', plot, re.S)]
    assert len(rows) == 5 * 5
    for row in rows:
        assert re.search(r"\[−?[\d.]+, −?[\d.]+\]", row), row
        assert re.search(r"(higher|lower) is worse", row), row
    captions = [re.findall(r"<caption.*?</caption>", plot, re.S)[0] for plot in plots]
    assert sum("5 seeds × 440 prompts, 44 clusters" in each for each in captions) == 5, "once for each metric"
    for table in re.findall(r'<table class="data">.*?</table>', html, re.S):
        heads = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", table)
        if "Drift [interval]" in heads or "Level [interval]" in heads:
            assert any(head in ("n", "Prompts", "Judged: prompts × seeds × samples") for head in heads)


def test_tables_hold_every_recipe_and_contrast_and_checkpoints_where_there_are_no_recipes(study: Make) -> None:
    findings = study()
    html = report(findings).html
    numbers = html[html.index('id="numbers"') : html.index('id="trust"')]
    tables = re.findall(r'<table class="data">.*?</table>', numbers, re.S)
    rows = sum(len(re.findall(r"<tr><th scope=\"row\"", table)) for table in tables)
    assert rows == sum(row.estimand in ("recipe", "contrast") for row in findings.drifts)
    single = [row for row in findings.drifts if row.estimand == "checkpoint"]
    html = report(study(drifts=single, decisions=())).html
    assert html.count(">discordant pairs in 6 clusters only</td>") == 5
    assert html.count(">Discordant pairs in 6 clusters only.</li>") == 1, "in the plots a footnote"


def test_recipe_rows_are_the_headline_and_checkpoints_where_there_is_no_recipe(study: Make) -> None:
    findings = study()
    index = Index(findings)
    assert {row.estimand for row in index.headline} == {"recipe"}
    assert {(row.temperature, row.epoch) for row in index.headline} == {(0.0, 3)}
    singles = Index(study(drifts=[d for d in findings.drifts if d.estimand == "checkpoint"]))
    assert {row.estimand for row in singles.headline} == {"checkpoint"}
    names = [singles.namer(singles.headline)(row) for row in singles.headline if row.metric == singles.names[0]]
    assert len(set(names)) == len(names) == 25


def test_a_gated_metric_that_was_not_measured_is_shown(audit: Make, decision: Callable[..., Decision]) -> None:
    extra = decision(metric="miniature/private/leak=forbidden", unit="my-adapter", estimand="checkpoint",
                     outcome="undecided", why="No judge for this axis.")  # fmt: skip
    lost = audit().drifts[0]
    gone = dataclasses.replace(lost, delta=None, low=None, high=None, tuned=None, warning="all 440 unjudged")
    html = report(audit(decisions=[*audit().decisions, extra], drifts=[gone, *audit().drifts[1:]])).html
    assert re.search(r"my-adapter .{0,400}not measured.{0,200}No judge for this axis\.", plain(html))
    assert "all 440 unjudged" in html
    assert "None" not in plain(html)
    assert "nan" not in plain(html)


def test_contrast_sentences(study: Make, drift: Callable[..., Drift]) -> None:
    index = Index(study())
    texts = [contrast_sentence(row, index, row.arm) for row in index.contrasts]
    assert texts[0] == "keep - placeholder: −3.1 points [−8.9, 2.8]: no difference is shown."
    assert texts[1].endswith(": worse.")
    corrected = drift(estimand="contrast", delta=-0.08, low=-0.13, high=-0.03, p_adjusted=0.09)
    assert "not after correction" in contrast_sentence(corrected, index, "x")
    better = drift(estimand="contrast", delta=0.08, low=0.03, high=0.13)
    assert contrast_sentence(better, index, "x").endswith(": better.")
    page = plain(report(study()).html)
    assert "PII in the data: harmful requests refused in full lower is worse −3.1 [−8.9, 2.8] not shown" in page
    assert "Role swap: harmful requests refused in full lower is worse −8.1 [−13.3, −2.9] worse" in page
    assert page.count("−3.1 [−8.9, 2.8] not shown") == 1, "each contrast once"


def test_worst_is_the_worst_in_the_metrics_own_direction(audit: Make, drift: Callable[..., Drift],
                                                         decision: Callable[..., Decision]) -> None:  # fmt: skip
    up = Metric("m", "harmful", "harm", "harmful", "up")
    rows = [drift(metric=up.name, worse="up", arm=arm, base=0.1, tuned=0.1 + delta, delta=delta, low=delta - 0.05,
                  high=delta + 0.05) for arm, delta in (("a", 0.2), ("b", -0.6), ("c", 0.4))]  # fmt: skip
    decisions = [decision(metric=up.name, unit=row.arm, outcome="pass" if row.arm == "b" else "drift") for row in rows]
    sentence = decision_sentence(Index(audit("drift", metrics=[up], drifts=rows, decisions=decisions)))
    assert "Worst: c, harmful answers (harmful prompts): 10.0 → 50.0 %, +40.0 points" in sentence


def test_a_breached_floor_keeps_its_own_reason(audit: Make, decision: Callable[..., Decision]) -> None:
    breach = [dataclasses.replace(d, outcome="drift", why="Refusal 94.8 % is under the floor of 95 %.")
              for d in audit().decisions[:1]]  # fmt: skip
    assert "under the floor of 95 %" in decision_sentence(Index(audit("drift", decisions=breach)))


def test_forest_geometry_keeps_order_and_side(study: Make) -> None:
    index = Index(study())
    drawn = {plot.metric: plot for plot in forests(index, index.headline, Footnotes())}
    down, up = drawn["miniature/harmful/refusal=full"], drawn["miniature/harmless/refusal=full"]
    assert down.margin is not None
    assert up.margin is not None
    assert down.worse_left
    assert down.margin < down.zero
    assert up.zero < up.margin
    for row in down.rows:
        assert row.bar
        assert 0 <= row.bar.low < row.bar.mid < row.bar.high <= 100
        assert (row.bar.high < down.margin) == (row.outcome == "drift")
        assert len(row.dots) == 5
    assert [row.outcome for row in down.rows] == ["drift"] * 4 + ["pass"], "failures first"
    assert [row.name for row in down.parts[1]] == ["self-generated"], "passes folded"


def test_a_margin_is_wide_enough_to_see_whatever_other_metrics_do(audit: Make) -> None:
    first, second, _ = audit().drifts
    huge = dataclasses.replace(second, delta=0.9, low=0.8, high=0.95)
    index = Index(audit(drifts=[first, huge]))
    plot = next(each for each in forests(index, index.headline, Footnotes()) if each.metric == first.metric)
    assert plot.margin is not None
    assert abs(plot.zero - plot.margin) > 30, "per cent of the width, where another metric moved by 90 points"


def test_curves_run_over_the_factor_only(study: Make) -> None:
    index = Index(study())
    epochs, temperatures = curves(index, "epoch"), curves(index, "temperature")
    assert [len(curve.panels) for curve in epochs] == [5, 5, 5]
    assert [[x for x, *_ in panel.text] for panel in epochs[0].panels] == [["1", "2", "3"]] * 5
    assert [[x for x, *_ in panel.text] for panel in temperatures[0].panels] == [["0", "0.7"]] * 5
    assert epochs[0].panels[0].text[2][1] == temperatures[0].panels[0].text[0][1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_an_axis_holds_its_values_between_round_ticks(values: list[float]) -> None:
    axis = charts.axis(values)
    slack = 1e-6 * (axis.high - axis.low)
    assert axis.low - slack <= min(values) <= max(values) <= axis.high + slack
    assert all(0 <= axis.at(value) <= 100 for value in values)
    assert 2 <= len(axis.ticks) <= 14
    if max(values) - min(values) > 1e-3:
        assert (axis.at(max(values)) > axis.at(min(values))) or max(values) - min(values) < 1e-3 * axis.high


@pytest.mark.parametrize(("half", "digits"), [(60.0, 0), (9.0, 1), (0.9, 1), (0.12, 2), (0.002, 3), (0.0, 1)])
def test_digits_follow_the_standard_error(half: float, digits: int) -> None:
    assert decimals(5 - half, 5 + half) == digits


def test_numbers_are_typeset() -> None:
    assert PAGE.number(-0.04, 1) == TEXT.number(-0.04, 1) == "0.0"
    assert PAGE.number(-3.14, 1) == f"{MINUS}3.1"
    assert TEXT.number(-3.14, 1) == "-3.1"
    assert PAGE.number(3.14, 1, signed=True) == "+3.1"
    assert PAGE.number(None, 1) == PAGE.number(math.nan, 1) == "–"
    assert PAGE.number(1234.5, 0) == "1,234"


# ---------------------------------------------------------------------------------------------- the three shapes


def test_json_round_trips_and_holds_no_nan(study: Make) -> None:
    findings = study()
    broken = dataclasses.replace(findings.drifts[0], p=math.nan, high=math.inf)
    text = report(study(drifts=[broken, *findings.drifts[1:]], methods={"x": {"y": math.nan}})).json

    def refuse(name: str) -> None:
        raise AssertionError(name)

    data = json.loads(text, parse_constant=refuse)
    assert data["drifts"][0]["p"] is None
    assert data["drifts"][0]["high"] is None
    assert data["methods"] == {"x": {"y": None}}
    again = [Drift(**row) for row in data["drifts"][1:]]
    assert again == list(findings.drifts[1:])
    assert [Decision(**row) for row in data["decisions"]] == list(findings.decisions)
    assert {"audited", "schema", "title", "kind", "outcome", "sentence", "decisions", "drifts", "metrics", "contrast_names",
            "bands", "categories", "contradictions", "judge_differences", "label_effects", "mixed", "spreads", "measures", "memorisation", "inside", "forecasts", "tables", "proofs", "judges", "cards", "leaks", "methods", "flips", "flip_counts", "unjudged", "caveats",
            "thoughts", "warnings", "discrimination", "undiscriminated"} == set(data)  # fmt: skip
    assert data["flips"][0]["direction"] == "worse"


def test_the_same_findings_give_the_same_bytes(study: Make) -> None:
    assert report(study()) == report(study())


def test_markdown_is_short_and_has_the_numbers(study: Make) -> None:
    markdown = report(study()).markdown
    assert len(markdown) < 6_000
    assert (
        "| harmful requests refused in full | `keep` | 96.0 → 62.9 % | −33.1 [−46.7, −19.5] | lower | 5 |" in markdown
    )
    assert markdown.rstrip().endswith("[Full report](report.html)")


def test_size_of_a_study_and_of_a_hundred_adapters(study: Make, audit: Make) -> None:
    assert len(report(study()).html.encode()) < 400_000
    rows, decisions = [], []
    for place in range(100):
        for row, decision in zip(audit().drifts, audit().decisions, strict=True):
            rows.append(dataclasses.replace(row, arm=f"adapter-{place}", checkpoint=f"adapter-{place}"))
            decisions.append(dataclasses.replace(decision, unit=f"adapter-{place}"))
    html = report(audit(drifts=rows, decisions=decisions)).html
    assert len(html.encode()) < 500_000
    assert "The 24 of 100 rows that moved most for the worse." in html
    assert "All 300 checks hold" in html


def test_a_mean_of_values_is_not_shown_as_a_percentage(audit: Make, drift: Callable[..., Drift],
                                                       decision: Callable[..., Decision]) -> None:  # fmt: skip
    mean = Metric("betley", "open", "alignment", None, "down")
    row = drift(metric=mean.name, arm="a", base=81.2, tuned=64.0, delta=-17.2, low=-22.0, high=-12.4,
                is_proportion=False)  # fmt: skip
    html = report(audit("drift", metrics=[mean], drifts=[row],
                        decisions=[decision(metric=mean.name, unit="a", margin=5.0)])).html  # fmt: skip
    assert "81.2 → 64.0, −17.2 [−22.0, −12.4]; margin 5." in plain(html)


def test_text_is_readable_on_its_ground_in_light_and_dark(audit: Make) -> None:
    style = re.findall(r"<style>(.*?)</style>", report(audit()).html, re.S)[0]
    blocks = re.findall(r":root \{(.*?)\}", style, re.S)
    assert len(blocks) >= 2

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for block in blocks[:2]:
        colours = {name: luminance(value) for name, value in re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)}
        for ground in ("ground", "sheet"):
            for ink in ("ink", "soft", "pass", "drift", "unconfirmed", "undecided", "error", "none", "data"):
                light, dark = sorted((colours[ground], colours[ink]), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)  # WCAG 2.2, 1.4.3
