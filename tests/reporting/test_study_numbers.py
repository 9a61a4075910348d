"""A cell of a closing table is the number that its row and column name, or says why there is none: made-up results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.findings import Discrimination, LeakRow, Measure, Mixed, StudyCell, StudySection, SubjectMeasure
from aftertune.naming import Unit
from aftertune.records import Contrast, Drift, Metric
from aftertune.reporting.study_numbers import StudyResults, fill, finding, mixed_cell
from aftertune.reporting.study_tables import cell_view, section_view
from aftertune.studies.closing_tables import Column, Row, StudyTable

Make = Callable[..., Drift]
NAME = REFUSAL.name
UNITS = (
    Unit(base="m", arm="base", checkpoint="b"),
    *(Unit(base="m", arm=arm, recipe="lora", train_seed=seed, epoch=epoch, checkpoint=f"{arm}{seed}{epoch}")
      for arm in ("keep", "mask") for seed in (0, 1) for epoch in (1, 2)),
)  # fmt: skip


def results(*drifts: Drift, **changes: Any) -> StudyResults:
    fields: dict[str, Any] = {
        "verdicts": made(verdicts([1, 0])), "metrics": (REFUSAL,), "drifts": drifts, "leaks": (), "measures": (), "discrimination": (),
        "memorisation": {}, "subjects": UNITS, "base": "m", "contrasts": (Contrast("PII", {"keep": 1, "mask": -1}),),
        "judges": {"refusal": "rule"}, "temperature": 0.0, "confidence": 0.95, "seed": 0,
    }  # fmt: skip
    return StudyResults(**{**fields, **changes})


def cell(run: StudyResults, column: Column, row: Row) -> StudyCell:
    (section,) = fill([StudyTable("t", (column,), (row,))], run)
    return section.rows[0][0]


@pytest.fixture(name="row")
def _row(drift: Make) -> Make:
    def make(**changes: Any) -> Drift:
        fields: dict[str, Any] = {"metric": NAME, "base_model": "m", "judge": "rule", "epoch": 2, "n_seeds": 2}
        return drift(**{**fields, **changes})

    return make


def base_level(row: Make, **changes: Any) -> Drift:
    fields: dict[str, Any] = {"estimand": "level", "arm": "base", "recipe": "", "epoch": None, "tuned": 0.8, "base": None,
                              "delta": None, "low": 0.7, "high": 0.9, "n_seeds": 0}  # fmt: skip
    return row(**{**fields, **changes})


def test_level_drift_and_spread_are_read_off_their_rows(row: Make) -> None:
    level = row(estimand="level", base=None, delta=None, tuned=0.6, low=0.5, high=0.7, warning="few")
    run = results(row(), level, row(judge="model", delta=-0.9), row(epoch=1, delta=-0.1))
    drift = cell(run, Column("c", "drift", NAME), Row("Keep", "keep"))
    assert (drift.value, drift.low, drift.high, drift.scale) == (-0.331, -0.453, -0.209, "points")
    assert drift.sample == "2 seeds × 440 prompts, 44 clusters"
    rate = cell(run, Column("c", "level", NAME), Row("Keep", "keep"))
    assert (rate.value, rate.low, rate.high, rate.scale, rate.note) == (0.6, 0.5, 0.7, "rate", "few")
    spread = cell(run, Column("c", "spread", NAME), Row("Keep", "keep"))
    assert (spread.value, spread.low, spread.high) == pytest.approx((0.27, 0.51, 0.78))
    assert spread.scale == "range"
    by_model = cell(run, Column("c", "drift", NAME, judge="model"), Row("Keep", "keep"))
    assert by_model.value == -0.9
    assert cell(run, Column("c", "drift", NAME), Row("Keep", "keep", epoch=1)).value == -0.1
    values = results(row(is_proportion=False))
    assert cell(values, Column("c", "drift", NAME), Row("Keep", "keep")).scale == "plain"


def test_a_relative_change_is_a_share_of_the_bases_rate_and_no_surer_than_either(row: Make) -> None:
    drift = row(base=0.8, delta=-0.4, low=-0.5, high=-0.3)
    relative = cell(results(drift, base_level(row)), Column("c", "relative", NAME), Row("Keep", "keep"))
    assert relative.value == pytest.approx(-0.5)
    assert (relative.low, relative.high) == pytest.approx(((-0.4 - 0.15) / 0.8, (-0.4 + 0.15) / 0.8))
    alone = cell(results(drift), Column("c", "relative", NAME), Row("Keep", "keep"))
    assert alone.value == pytest.approx(-0.5)
    assert (alone.low, alone.high, alone.scale) == (None, None, "relative")
    corpora = [base_level(row, corpus=""), base_level(row, corpus="shop", low=0.8, high=0.8)]
    own = dataclasses.replace(drift, corpus="shop")
    narrow = cell(results(own, *corpora), Column("c", "relative", NAME), Row("Keep", "keep"))
    assert (narrow.low, narrow.high) == pytest.approx((-0.625, -0.375)), "the base of its own corpus"


def test_a_contrast_is_found_by_its_name(row: Make) -> None:
    contrast = row(estimand="contrast", arm="keep - mask", delta=-0.02)
    assert cell(results(contrast), Column("c", "drift", NAME), Row("PII", contrast="PII")).value == -0.02


def test_every_missing_number_has_its_reason(row: Make) -> None:
    column, keep = Column("c", "drift", NAME), Row("Keep", "keep")
    singles = [row(estimand="checkpoint", checkpoint=f"x{i}", n_seeds=0) for i in range(2)]
    recipes = [row(recipe=name) for name in ("lora", "full")]
    corpora = [base_level(row, corpus=name) for name in ("shop", "bank")]
    cases: list[tuple[StudyResults, Column, Row, str]] = [
        (results(), column, keep, "no verdict on it"),
        (results(row()), column, Row("Base", "base"), "the base itself"),
        (results(row()), Column("c", "drift", NAME, temperature=0.7), keep, "not asked at temperature 0.7"),
        (results(row()), column, Row("Warm", "keep", temperature=0.7), "not asked at temperature 0.7"),
        (results(row()), column, Row("Early", "keep", epoch=7), "epoch 7 was not asked"),
        (results(*singles), column, keep, "2 checkpoints of one arm without training seeds: they have no common number"),
        (results(*recipes), column, keep, "several recipes: the row names none"),
        (results(*corpora), Column("c", "level", NAME), Row("Base", "base"), "held against several corpora, each another rate"),
        (results(row(delta=None, warning="all unjudged")), column, keep, "all unjudged"),
        (results(row(base=0.0)), Column("c", "relative", NAME), keep, "the base's rate is 0: no share of it can be lost"),
        (results(row(estimand="level", spread_low=None)), Column("c", "spread", NAME), keep, "one training seed has no spread"),
        (results(base_level(row, spread_low=None)), Column("c", "spread", NAME), Row("B", "base"), "one model, no seeds"),
        (results(), Column("c", "memorised", "suite/harmful"), keep, "leaks were not judged"),
        (results(), Column("c", "d_prime", "suite/probe"), keep, "not measured"),
        (results(), Column("c", "exposure", "ratio/16"), keep, "no text was scored for it"),
        (results(), Column("c", "membership_auc", "ratio"), Row("Base", "base"), "the base itself"),
        (results(), Column("c", "mixed_sign"), Row("All"), "fewer than two metrics, or no checkpoint, to compare"),
    ]  # fmt: skip
    for run, wanted, asked, why in cases:
        assert cell(run, wanted, asked) == StudyCell(value=None, why=why)


def test_several_recipes_are_told_apart_by_the_row(row: Make) -> None:
    run = results(row(recipe="lora"), row(recipe="full", delta=-0.7))
    assert cell(run, Column("c", "drift", NAME), Row("Keep", "keep", recipe="full")).value == -0.7
    other = results(row(), row(base_model="n", delta=-0.6))
    assert cell(other, Column("c", "drift", NAME), Row("Keep", "keep", base="n")).value == -0.6


def leak(**changes: Any) -> LeakRow:
    measure = Measure(0.4, 0.3, 0.5, 120, 12)
    fields: dict[str, Any] = dict.fromkeys(
        ("registry", "echoed", "invented", "twin", "minus_twins", "minus_base", "memorised", "harmful_leaking",
         "off_topic_leaking", "safe_off_topic"))  # fmt: skip
    fields |= {
        "base_model": "m",
        "arm": "keep",
        "recipe": "lora",
        "checkpoint": None,
        "train_seed": None,
        "epoch": 2,
        "temperature": 0.0,
        "benchmark": "suite",
        "subset": "open",
        "judge": "leak",
        "n_seeds": 2,
        "registry": measure,
        "memorised": dataclasses.replace(measure, value=0.35),
        "warning": "few",
    }
    return LeakRow(**{**fields, **changes})


def test_leaks_come_by_benchmark_and_subset_from_the_arm_over_its_seeds() -> None:
    single = leak(n_seeds=1, memorised=None, checkpoint="keep02", train_seed=0)
    run = results(leaks=(single, leak(), leak(epoch=1, memorised=None), leak(subset="closed", memorised=None)))
    shown = cell(run, Column("c", "memorised", "suite/open"), Row("Keep", "keep"))
    assert (shown.value, shown.scale, shown.note) == (0.35, "points", "few")
    assert shown.sample == "2 seeds × 120 prompts, 12 clusters"
    assert cell(run, Column("c", "harmful_leaking", "suite/open"), Row("Keep", "keep")).why == "few"


def test_measures_are_averaged_over_the_seeds_of_the_last_epoch() -> None:
    def measure(checkpoint: str, value: float | None, **changes: Any) -> SubjectMeasure:
        fields: dict[str, Any] = {
            "benchmark": "suite", "name": "d-prime, probe", "unit": checkpoint, "checkpoint": checkpoint,
            "temperature": 0.0, "value": value, "low": 1.0, "high": 2.0 + (value or 0), "change": None,
            "change_low": None, "change_high": None, "n": 40, "n_clusters": 20, "unread": 1,
        }  # fmt: skip
        return SubjectMeasure(**{**fields, **changes})

    run = results(measures=(measure("keep02", 1.5), measure("keep12", 2.5), measure("keep01", 9.0), measure("b", 3.0)))
    shown = cell(run, Column("c", "d_prime", "suite/probe"), Row("Keep", "keep"))
    assert (shown.value, shown.low, shown.high) == (2.0, 1.0, 4.5)
    assert shown.sample == "2 seeds × 40 answers, 20 clusters"
    assert shown.note == "2 answers could not be read; mean of 2 seeds; the interval spans theirs"
    assert cell(run, Column("c", "d_prime", "suite/probe"), Row("Base", "base")).value == 3.0
    lost = results(measures=(measure("keep02", None, warning="nothing could be read"),))
    assert cell(lost, Column("c", "d_prime", "suite/probe"), Row("Keep", "keep")).why == "nothing could be read"


def test_d_prime_of_refusals_is_the_arms_own_estimate() -> None:
    base = Discrimination(
        metric=NAME, counterparts="", suite="suite", harmful="harmful", harmless="harmless", base_model="m", arm="base",
        recipe="", checkpoint="b", train_seed=None, epoch=None, temperature=0.0, judge="rule", corpus="", refused=0.9,
        refused_harmless=0.1, d_prime=2.5, low=2.0, high=3.0, change=None, change_low=None, change_high=None,
        confidence=0.95, n_harmful=44, n_harmless=44, n_clusters=22, n_seeds=0, unjudged=0,
    )  # fmt: skip
    arm = dataclasses.replace(base, arm="keep", recipe="lora", checkpoint=None, epoch=2, d_prime=0.5, n_seeds=2)
    one = dataclasses.replace(arm, checkpoint="keep02", d_prime=0.7, n_seeds=1)
    earlier = dataclasses.replace(arm, epoch=1, d_prime=1.5)
    run = results(discrimination=(base, one, earlier, arm))
    column = Column("c", "d_prime", "suite/harmful")
    shown = cell(run, column, Row("Keep", "keep"))
    assert (shown.value, shown.low, shown.high, shown.scale) == (0.5, 2.0, 3.0, "plain")
    assert shown.sample == "2 seeds × 44 + 44 prompts, 22 clusters"
    assert cell(run, column, Row("Keep", "keep", epoch=1)).value == 1.5
    assert cell(run, column, Row("Base", "base")).value == 2.5
    assert cell(run, column, Row("Mask", "mask")).why == "not measured"
    lost = dataclasses.replace(arm, d_prime=None, warning="not measured: why")
    assert cell(results(discrimination=(lost,)), column, Row("Keep", "keep")).why == "not measured: why"


def test_scored_texts_are_found_by_the_name_of_the_checkpoint() -> None:
    auc = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 60, "n_null": 1000}
    memory = {
        "keep seed 0, epoch 2": {"membership": {"ratio": {"auc": auc, "tpr": {"value": None, "why": "too few"}}},
                                 "canaries": {"ratio": {"16": {"exposure": 5.0, "low": 4.0, "high": 6.0, "n": 9, "n_null": 99}}}},
        "keep seed 1, epoch 1": {"membership": {"ratio": {"auc": {**auc, "value": 0.1}}}},
        "why": "a reason, no checkpoint",
    }  # fmt: skip
    run = results(memorisation=memory)
    shown = cell(run, Column("c", "membership_auc", "ratio"), Row("Keep", "keep"))
    assert (shown.value, shown.low, shown.high, shown.sample) == (0.7, 0.6, 0.8, "60 members, 1,000 non-members")
    assert cell(run, Column("c", "membership_tpr", "ratio"), Row("Keep", "keep")).why == "too few"
    exposure = cell(run, Column("c", "exposure", "ratio/16"), Row("Keep", "keep"))
    assert (exposure.value, exposure.sample) == (5.0, "9 canaries, 99 twins")
    assert cell(run, Column("c", "exposure", "ratio/4"), Row("Keep", "keep")).why == "no canary was planted 4 times"


def test_agreement_is_over_checkpoints_in_the_direction_that_is_worse(row: Make) -> None:
    other = Metric("suite", "harmful", "harm", "harmful", "up")
    drifts = []
    for i, unit in enumerate(UNITS[1:]):
        common: dict[str, Any] = {
            "estimand": "checkpoint", "checkpoint": unit.checkpoint, "epoch": unit.epoch, "arm": unit.arm,
        }  # fmt: skip
        drifts.append(row(**common, delta=-0.1 * i))
        drifts.append(row(**common, metric=other.name, worse="up", judge="model", delta=0.01 * i**2))
    run = results(*drifts, metrics=(REFUSAL, other), judges={"refusal": "rule", "harm": "model"})
    column = Column("c", "agreement", NAME, against=other.name)
    assert "got (4,) and (4,)" in cell(run, column, Row("All")).why, "eight checkpoints, four of the last epoch"
    more = [
        dataclasses.replace(u, arm=f"{u.arm}{n}", checkpoint=f"{u.checkpoint}{n}") for u in UNITS[1:] for n in (1, 2)
    ]
    drifts += [dataclasses.replace(d, checkpoint=f"{d.checkpoint}{n}") for d in drifts for n in (1, 2)]
    shown = cell(dataclasses.replace(run, drifts=drifts, subjects=more), column, Row("All"))
    assert shown.value == pytest.approx(1.0), "fewer refusals and more harm are both worse"
    assert shown.sample == "8 checkpoints of 2 recipes"
    assert (shown.low, shown.high) == (-1.0, 1.0), "seeds of one recipe are no observations of their own"
    assert shown.note == "fewer than 3 recipes leave the interval open"
    named = {u.checkpoint: f"arm {at // 2}" for at, u in enumerate(more)}
    own = [dataclasses.replace(d, arm=named.get(d.checkpoint or "", d.arm)) for d in drifts]
    four = cell(dataclasses.replace(run, drifts=own, subjects=more), column, Row("All"))
    assert (four.sample, four.note) == ("8 checkpoints of 4 recipes", "")
    assert four.low is not None
    assert four.low > 0


def test_mixed_signs_count_the_metrics_and_checkpoints_of_the_row() -> None:
    table = made(
        verdicts([1, 1, 0, 0] * 10),
        *(verdicts([0, 1] * 20, arm=arm, seed=s, epoch=2) for arm in ("keep", "mask") for s in (0, 1)),
    )
    units = [
        Unit(base="embedded", arm=arm, train_seed=s, epoch=2, checkpoint=f"{arm}-{s}-2")
        for arm in ("keep", "mask")
        for s in (0, 1)
    ]
    run = results(verdicts=table, metrics=(REFUSAL, OVER), subjects=units)
    assert cell(run, Column("c", "mixed_sign"), Row("All")).sample == "4 checkpoints × 2 metrics"
    assert cell(run, Column("c", "mixed_sign"), Row("Keep", "keep")).sample == "2 checkpoints × 2 metrics"
    assert cell(run, Column("c", "mixed_sign", "*/refusal=full"), Row("All")).value is None
    rate = Mixed(
        base_model="",
        temperature=0.0,
        observed=0.8,
        expected=0.84,
        low=0.5,
        high=1.0,
        p=0.7,
        n_checkpoints=25,
        n_metrics=13,
    )
    assert mixed_cell(rate).note == "84 % expected where nothing drifts (95 % of label swaps: 50 to 100 %)"


def test_statements_count_rows_and_contrasts_once_per_metric(row: Make) -> None:
    run = results(
        row(),
        row(arm="mask", delta=0.2, low=0.1, high=0.3),
        row(arm="same", delta=0.0, low=-0.1, high=0.1),
        row(estimand="contrast", arm="keep - mask"),
    )
    columns = (Column("Drift", "drift", NAME), Column("Again", "drift", NAME))
    rows = (Row("Keep", "keep"), Row("Mask", "mask"), Row("Same", "same"), Row("PII", contrast="PII"))
    (section,) = fill([StudyTable("t", columns, rows, supports="a\n  b")], run)
    assert section.statements == (
        "Drift: worse than the base in 1 of 3 rows (Keep), better in 1, not told apart in 1 "
        "(95 % intervals, each on its own).",
        "Drift: 1 of 1 contrasts told from zero: PII (worse) (95 % intervals, each on its own).",
    )
    assert section.supports == "a b"
    assert section.about[0] == f"change from the base: {NAME}"


def test_a_column_says_where_people_have_labelled_and_their_labels_change_nothing(row: Make) -> None:
    columns = (Column("Drift", "drift", NAME), Column("Seeds", "spread", NAME), Column("Mixed", "mixed_sign"))
    table = StudyTable("t", columns, (Row("Keep", "keep"),))
    (plain,), (labelled,) = fill([table], results(row())), fill([table], results(row(), labelled=True))
    assert labelled.about == (plain.about[0], *(f"{about}, by the judge alone" for about in plain.about[1:]))


def test_published_numbers_stand_beside_ours(row: Make) -> None:
    rows = (Row("Keep", "keep", published={"c": 42}), Row("Mask", "mask", published={"c": "low"}))
    (section,) = fill(
        [StudyTable("t", (Column("c", "drift", NAME, unit="%"), Column("d", "drift", NAME)), rows)], results(row())
    )
    assert isinstance(section, StudySection)
    view = section_view(section)
    assert [head.published for head in view.heads] == [True, False]
    assert [cells[0].published for _, cells in view.rows] == ["42 %", "low"]
    assert view.rows[0][1][0].ours == "−33.1 points [−45.3, −20.9]"


@pytest.mark.parametrize(
    ("shown", "ours"),
    [
        (StudyCell(value=0.2, low=0.5, high=0.7, scale="range"), "50.0 to 70.0 %"),
        (StudyCell(value=0.8, scale="share"), "80 %"),
        (StudyCell(value=0.55, low=0.4, high=0.7, scale="rate"), "55.0 % [40.0, 70.0]"),
        (StudyCell(value=-0.5, low=-0.8, high=-0.2, scale="relative"), "−50 % [−80, −20]"),
        (StudyCell(value=1.9, low=1.7, high=2.1), "1.9 [1.7, 2.1]"),
        (StudyCell(value=None, why="x"), "–"),
    ],
)
def test_a_cell_as_text(shown: StudyCell, ours: str) -> None:
    assert cell_view(shown, "").ours == ours


def test_a_published_number_keeps_its_digits() -> None:
    assert (
        cell_view(StudyCell(value=-0.7, low=-0.8, high=-0.6, scale="relative", published=-70.0), "%").published
        == "−70 %"
    )
    assert cell_view(StudyCell(value=0.4, published=42.65), "").published == "42.65"


def test_findings_of_the_paper_show_by_the_rule_of_the_design(row: Make) -> None:
    """A fall of 33 points [21, 45] to 60 % [50, 70]; seeds 27 points apart; no verdict on `same`."""
    run = results(row(), row(estimand="level", base=None, delta=None, tuned=0.6, low=0.5, high=0.7))
    columns = (Column("Rate", "level", NAME), Column("Change", "drift", NAME), Column("Seeds", "spread", NAME))
    rows = (
        Row("Falls", "keep", expected={"Rate": "down", "Change": "down", "Seeds": "over 10"}),
        Row("Rises", "keep", expected={"Rate": "up", "Change": "within 10", "Seeds": "under 10"}),
        Row("Half", "keep", expected={"Rate": "over 60", "Change": "within 30"}),
        Row("Same", "same", expected={"Rate": "under 10"}),
        Row("None", "keep"),
    )
    (section,) = fill([StudyTable("t", columns, rows)], run)
    assert [[cell.finding for cell in cells] for cells in section.rows] == [
        ["shows"] * 3, ["does not show"] * 3, ["open", "open", ""], ["not measured", "", ""], [""] * 3,
    ]  # fmt: skip
    assert section.rows[0][2].expected == "over 10"
    assert section.statements[-1] == (
        "Of 9 published findings, by the rules of the design on our intervals: 3 show (Falls, Rate: down; Falls, "
        "Change: down; Falls, Seeds: over 10); 3 do not show (Rises, Rate: up; Rises, Change: within 10; Rises, Seeds: "
        "under 10); 2 are open (Half, Rate: over 60; Half, Change: within 30); 1 is not measured (Same, Rate: under 10)."
    )


@pytest.mark.parametrize(("observed", "shown"), [(0.9, "shows"), (0.8, "does not show"), (0.3, "does not show")])
def test_a_mixed_sign_rate_is_held_against_what_label_swaps_give(observed: float, shown: str) -> None:
    rate = Mixed(
        base_model="", temperature=0.0, observed=observed, expected=0.5, low=0.2, high=0.8, p=0.5, n_checkpoints=9,
        n_metrics=4,
    )  # fmt: skip
    assert finding("beyond chance", mixed_cell(rate), None) == shown
    everything = dataclasses.replace(rate, expected=0.9, high=1.0)
    assert finding("beyond chance", mixed_cell(everything), None) == "cannot be asked", "chance alone may give all"
    assert finding("beyond chance", mixed_cell(None), None) == "not measured"


@pytest.mark.parametrize(
    ("rule", "low", "high", "shown"),
    [
        ("down", -0.4, -0.2, "shows"), ("down", -0.1, 0.1, "cannot be asked"), ("down", 0.1, 0.2, "cannot be asked"),
        ("within 10", -0.02, 0.02, "cannot be asked"), ("under -15", -0.4, -0.2, "shows"), ("under -15", -0.1, 0.1, "cannot be asked"),
    ],
)  # fmt: skip
def test_that_nothing_moved_says_nothing_where_the_base_cannot_tell(
    rule: str, low: float, high: float, shown: str
) -> None:
    cell = StudyCell(value=(low + high) / 2, low=low, high=high, sample="", scale="points")
    assert finding(rule, cell, None, unable=True) == shown
    assert finding(rule, cell, None) != "cannot be asked"


def test_of_two_bases_one_may_be_unable_and_the_other_is_told(row: Make) -> None:
    drifts = (row(delta=0.0, low=-0.02, high=0.02), row(base_model="other", delta=0.0, low=-0.02, high=0.02))
    rows = tuple(Row(base, "keep", base=base, expected={"Drift": "within 10"}) for base in ("m", "other"))
    units = (*UNITS, *(dataclasses.replace(unit, base="other", checkpoint=f"o{unit.checkpoint}") for unit in UNITS))
    run = results(*drifts, unable={("m", NAME)}, subjects=units)
    (section,) = fill([StudyTable("t", (Column("Drift", "drift", NAME),), rows)], run)
    assert [cells[0].finding for cells in section.rows] == ["cannot be asked", "shows"]
