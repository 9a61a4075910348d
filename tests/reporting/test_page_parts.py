"""The parts of the page: the matrix, footnotes, addresses, leak bars, heat maps, contrasts and marked words."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import Audited, AuditedModel, CategoryRow, Findings, LeakRow, Measure
from aftertune.records import Decision, Metric
from aftertune.reporting.index import Index, phrase
from aftertune.reporting.page.anchors import anchor
from aftertune.reporting.page.audited import audited
from aftertune.reporting.page.changed_words import changed_words
from aftertune.reporting.page.contrasts import contrasts
from aftertune.reporting.page.footnotes import Footnotes
from aftertune.reporting.page.heat_map import heat_maps
from aftertune.reporting.page.leak_bars import leak_bars
from aftertune.reporting.page.matrix import matrix

Make = Callable[..., Findings]


def decided(findings: Findings, **outcomes: Any) -> list[Decision]:
    """The findings' decisions, those of an arm (`_` for `-`) with another outcome."""
    return [
        dataclasses.replace(d, outcome=outcomes.get(d.unit.replace("-", "_"), d.outcome)) for d in findings.decisions
    ]


# ---------------------------------------------------------------------------------------------- the matrix


def test_the_matrix_has_failures_first_and_folds_what_passes_everywhere(study: Make) -> None:
    shown = matrix(Index(study()))
    assert shown.corner == "Metric"
    assert [head.name for head in shown.heads][-1] == "self-generated", "the arm that passes comes last"
    assert [row.tone for row in shown.open] == ["drift", "drift"]
    assert [row.tone for row in shown.folded] == ["pass"]
    assert shown.fold == "1 metric that passes everywhere"
    cell = shown.open[0].cells[0]
    assert cell is not None
    assert (cell.outcome, cell.state, cell.change[0], cell.interval[0]) == ("drift", "drift", "−", "[")
    assert shown.open[0].head.worse == "lower is worse"
    assert cell.href == anchor("miniature/harmful/refusal=full", shown.heads[0].name)


@pytest.mark.parametrize(("arms", "corner"), [(8, "Metric"), (9, "Arm"), (100, "Arm")])
def test_many_arms_are_the_rows(audit: Make, arms: int, corner: str) -> None:
    one = audit()
    rows = [dataclasses.replace(r, arm=f"a{i}", checkpoint=f"a{i}") for i in range(arms) for r in one.drifts]
    made = [
        dataclasses.replace(d, arm=f"a{i}", unit=f"a{i}", checkpoint=f"a{i}", outcome="drift" if i == 5 else "pass")
        for i in range(arms)
        for d in one.decisions
    ]
    shown = matrix(Index(audit("drift", drifts=rows, decisions=made)))
    assert shown.corner == corner
    names = [row.head.name for row in shown.open]
    assert (names == ["a5"]) if corner == "Arm" else (shown.heads[0].name == "a5")
    if corner == "Arm":
        assert len(shown.open) + len(shown.folded) + shown.left_off == arms


def test_what_was_not_measured_and_what_was_not_gated_stand_in_the_matrix_as_that(audit: Make) -> None:
    gone = dataclasses.replace(audit().decisions[0], metric="m/x/harm=yes", outcome="undecided", judge="")
    shown = matrix(Index(audit(decisions=[*audit().decisions, gone])))
    assert [(row.head.name, row.cells[0].change) for row in shown.open if row.cells[0]] == [
        ("harm = yes on x prompts", "not measured")
    ]
    free = matrix(Index(audit(decisions=())))
    assert {cell.outcome for row in (*free.open, *free.folded) for cell in row.cells if cell} == {None}


# ---------------------------------------------------------------------------------------------- addresses and notes


@given(st.lists(st.text(max_size=120), min_size=1, max_size=3))
def test_an_address_is_safe_whatever_the_names_and_the_same_again(names: list[str]) -> None:
    made = anchor(*names)
    assert re.fullmatch(r"m-[A-Za-z0-9_=.-]*", made)
    assert made == anchor(*names)


@given(st.text(max_size=40), st.text(max_size=40))
def test_two_names_have_two_addresses(one: str, other: str) -> None:
    if one.replace("/", ".") != other.replace("/", "."):
        assert anchor(one) != anchor(other)


def test_a_warning_is_a_footnote_once_however_many_numbers_carry_it() -> None:
    notes = Footnotes()
    assert [notes("few prompts"), notes("few clusters; few prompts"), notes("")] == [(1,), (2, 1), ()]
    assert notes.rows == [(1, "few prompts"), (2, "few clusters")]


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (Metric("b", "support", "leak", "registry", "up", "whatever"), "answers that repeat training data (support prompts)"),
        (Metric("b", "", "leak_twin", "registry", "up"), "answers with data of twins, who were never trained on"),
        (Metric("b", "x", "refusal", "full", "down", "Share of harmful requests refused."), "harmful requests refused"),
        (Metric("b", "x", "refusal", "full", "down", "HARM said"), "HARM said"),
        (Metric("b", "x", "refusal", "full", "down", "long " * 30), "requests refused (x prompts)"),
        (Metric("b", "x", "odd", "yes", "up"), "odd = yes on x prompts"),
        (Metric("b", "", "score", None, "up"), "score"),
    ],
)  # fmt: skip
def test_a_metric_is_called_by_what_it_counts(metric: Metric, words: str) -> None:
    assert phrase(metric) == words


def test_metrics_that_count_the_same_are_told_apart() -> None:
    made = [Metric(b, s, "harm", "harmful", "up", "Harm.") for b, s in (("one", "x"), ("two", "x"), ("two", "y"))]
    index = Index(Findings(title="t", kind="audit", outcome="pass", metrics=made))
    assert [index.called(metric.name) for metric in made] == [
        "harm, one", "harm, two/x/harm=harmful", "harm, two/y/harm=harmful"
    ]  # fmt: skip


@given(st.text(alphabet="ab \n.", max_size=60), st.text(alphabet="ab \n.", max_size=60))
def test_pieces_are_the_text_and_marked_words_are_those_that_the_other_lacks(before: str, after: str) -> None:
    first, second, why = changed_words(before, after)
    assert "".join(text for _, text in first) == before
    assert "".join(text for _, text in second) == after
    kept = [[w for marked, text in pieces if not marked for w in text.split()] for pieces in (first, second)]
    if not why:
        assert kept[0] == kept[1], "what is not marked is common, and in the same order"


def test_changed_words_of_an_answer_are_marked_and_unlike_answers_are_not() -> None:
    before, after, why = changed_words("I cannot help with that request.", "I can gladly help with that request.")
    assert [text for marked, text in before if marked] == ["cannot"]
    assert [text for marked, text in after if marked] == ["can gladly"]
    assert why == ""
    assert changed_words("one two three", "four five six")[2].startswith("The answers have hardly a word in common")


# ---------------------------------------------------------------------------------------------- leaks and categories


def leak(arm: str, registry: float, twin: float | None, echoed: float = 0.0, invented: float = 0.0) -> LeakRow:
    def of(value: float | None) -> Measure | None:
        return None if value is None else Measure(value, max(value - 0.1, 0.0), min(value + 0.1, 1.0), 100, 20)

    return LeakRow(
        base_model="m", arm=arm, recipe="", checkpoint=None, train_seed=None, epoch=None, temperature=0.0,
        benchmark="b", subset="support", judge="leak", registry=of(registry), echoed=of(echoed), invented=of(invented),
        twin=of(twin), memorised=of(registry - (twin or 0.0)), n_seeds=3, minus_twins=None,
        minus_base=None, harmful_leaking=None, off_topic_leaking=None, safe_off_topic=None,
    )  # fmt: skip


def test_bars_part_what_is_memorised_from_the_level_of_twins() -> None:
    rows = [leak("a", 0.5, 0.1, 0.2, 0.1), leak("b", 0.05, 0.2), leak("base", 0.0, 0.0)]
    (group,) = leak_bars(Findings(title="t", kind="audit", outcome="pass", leaks=rows)).groups
    first, second, base = group.bars
    assert first.segments == (
        ("memorised", 0, 40.0),
        ("twins", 40.0, 10.0),
        ("echoed", 50.0, 20.0),
        ("invented", 70.0, 10.0),
    )
    assert second.segments == (("twins", 0, 5.0),), "below the twins' level nothing is memorised"
    assert (base.name, base.memorised, base.segments) == ("base", "", ())
    assert (group.leaking, group.sample) == (True, "3 seeds × 100 prompts, 20 clusters")
    assert leak_bars(Findings(title="t", kind="audit", outcome="pass", leaks=[leak("a", 0.0, 0.0)])).none == (
        "b: support",
    )


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_segments_never_leave_the_bar(shares: list[float]) -> None:
    rows = [leak("a", shares[0], shares[1], shares[2], shares[3])]
    for group in leak_bars(Findings(title="t", kind="audit", outcome="pass", leaks=rows)).groups:
        for bar in group.bars:
            ends = [start + width for _, start, width in bar.segments]
            assert all(later >= end - 0.01 for end, later in itertools.pairwise(ends))
            assert all(end <= 100.01 for end in ends)


def test_a_heat_map_has_every_category_and_arm_and_the_worst_first(study: Make) -> None:
    (first,) = heat_maps(Index(study()))
    assert first.worse == "lower is worse"
    assert [row[0] for row in first.rows] == ["burglary", "fraud", "weapons", "stalking"]
    cells = first.rows[0][2]
    assert [(cell.text, cell.tone, cell.sure) for cell in cells if cell] == [("−52", "w4", True)] * 2
    assert [(c.text, c.tone, c.sure) for c in first.rows[3][2] if c] == [("−8", "w1", False)] * 2


@pytest.mark.parametrize(
    ("worse", "delta", "tone"),
    [("up", 0.6, "w4"), ("up", -0.6, "b4"), ("down", 0.2, "b2"), ("down", -0.31, "w3"), ("down", 0.049, "")],
)
def test_a_cell_is_red_for_the_worse_whichever_way_the_metric_counts(
    study: Make, worse: Any, delta: float, tone: str
) -> None:
    metric = Metric("b", "x", "harm", "yes", worse)
    row = CategoryRow(metric=metric.name, arm="a", category="c", base=0.5, tuned=0.5, delta=delta, low=-1.0, high=1.0,
                      n_prompts=4, worse_flips=0, better_flips=0, n_pairs=4)  # fmt: skip
    (shown,) = heat_maps(Index(Findings(title="t", kind="audit", outcome="pass", metrics=[metric], categories=[row])))
    (cell,) = shown.rows[0][2]
    assert cell is not None
    assert cell.tone == tone


# ---------------------------------------------------------------------------------------------- contrasts, audited


def test_contrasts_stand_once_the_largest_first_and_worse_is_to_the_right(study: Make) -> None:
    shown = contrasts(Index(study()), Footnotes())
    assert shown is not None
    assert [(row.title, row.shows) for row in shown.shown] == [("Role swap", "worse")]
    assert [(row.title, row.shows) for row in shown.rest] == [
        ("PII in the data", "not shown"), ("PII x role swap interaction", "not shown")
    ]  # fmt: skip
    (bar,) = (row.bar for row in shown.shown)
    assert bar is not None
    assert shown.zero < bar.low < bar.mid < bar.high, "fewer refusals are worse: the bar is to the right of zero"
    assert contrasts(Index(study(drifts=[])), Footnotes()) is None


def test_the_first_screen_says_what_was_audited_and_who_may_read_it(study: Make) -> None:
    whole = Audited(
        started="2026-11-29", bases=(AuditedModel(name="base of Ana Duarte", identity="ab" * 32),),
        checkpoints=tuple(AuditedModel(name=f"keep seed {i}", identity=f"{i}" * 16) for i in range(3)),
        trained_here=True, policy="default", margins={"miniature/harmful/refusal=full": 0.1}, judges=("refusal 3",),
        versions={"aftertune": "0.1.0", "numpy": "2"}, knows_people=True,
    )  # fmt: skip
    mask = {"mask_label": lambda text: text.replace("Ana Duarte", "<PERSON>")}
    view = audited(Index(study(audited=whole, **mask)))
    assert view is not None
    facts = dict(view.facts)
    assert facts["Base"] == f"base of <PERSON>, weights {'ab' * 6}"
    assert facts["Checkpoints"] == "3 trained in this run: 5 arms of 5 training seeds each"
    assert facts["Policy"] == "default; margin (how much worse is allowed): 10 points on 1 metric"
    assert facts["Run"] == "2026-11-29 with aftertune 0.1.0"
    assert facts["Who may read it"].startswith("Those who may see the tuning data: it quotes answers")
    assert view.checkpoints[2] == ("keep seed 2", "2" * 12)
    assert audited(Index(study())) is None
