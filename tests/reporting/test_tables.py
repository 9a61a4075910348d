"""The page's tables: what each cell says, which columns and rows are left out, and that it is said where some are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.findings import CategoryRow, Findings, FlipCount, LeakRow, Measure, Spread, SubjectMeasure
from aftertune.records import Decision, Drift, Json, Metric, Proof
from aftertune.reporting import tables
from aftertune.reporting.index import Index
from aftertune.reporting.tables import Column, Table

Row = Callable[..., Drift]
COUNT = "suite/open/errors"
"""A mean of values, not a share."""


def of(**changes: Any) -> Findings:
    return Findings(**{"title": "t", "kind": "audit", "outcome": "pass", **changes})


def heads(table: Table) -> list[str]:
    return [column.head for column in table.columns]


def records(table: Table) -> list[dict[str, str]]:
    """The rows, each cell by its column's head."""
    return [dict(zip(heads(table), row, strict=True)) for row in table.rows]


def unmasked(text: str) -> str:
    return text


# ---------------------------------------------------------------------------------------------- any table


def test_a_column_that_is_empty_in_every_row_is_left_out_unless_it_heads_the_rows() -> None:
    columns = [Column("a", "name"), Column("b"), Column("c", "num"), Column("d")]
    made = tables.table("caption", columns, [["", "", "1", ""], ["", "", "", "2"]], "note", grouped=True)
    assert made == Table(
        "caption", (columns[0], columns[2], columns[3]), (("", "1", ""), ("", "", "2")), "note", grouped=True, whole=2
    )
    assert tables.table("caption", columns, []) == Table("caption", (columns[0],), ())


def test_a_table_is_cut_at_its_last_row_and_says_so_behind_its_own_note() -> None:
    columns = [Column("a"), Column("b")]
    full = [[str(place), ""] for place in range(150)]
    assert tables.table("c", columns, full, "Own.").note == "Own."
    cut = tables.table("c", columns, [*full, ["150", "only here"]], "Own.")
    assert cut.note == "Own. The first 150 of 151 rows; report.json has all."
    assert [row[0] for row in cut.rows] == [str(place) for place in range(150)]
    assert heads(cut) == ["a", "b"], "the column is not empty in every row, though in every row that is shown"


@given(st.integers(1, 5), st.data())
def test_no_cell_is_lost_or_moved(width: int, data: st.DataObject) -> None:
    cell = st.sampled_from(["", "x", "y"])
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width), max_size=6))
    made = tables.table("c", [Column(str(place)) for place in range(width)], rows)
    assert len(made.rows) == len(rows)
    for row, shown in zip(rows, records(made), strict=True):
        assert {str(at): cell for at, cell in enumerate(row) if cell} == {k: v for k, v in shown.items() if v}


# ---------------------------------------------------------------------------------------------- drifts and levels


def test_a_setting_that_all_drifts_share_is_said_once_below(drift: Row) -> None:
    rows = [drift(temperature=0.7, epoch=None, judge=judge) for judge in ("rule", "model")]
    made = tables.drift_table(Index(of(drifts=rows)), rows, "Drifts")
    assert made.note == (
        "The same in every row: base model embedded-a; recipe lora; temperature 0.7; method crossed seeds x clusters, t."
    )
    assert [row["Judge"] for row in records(made)] == ["rule", "model"]
    assert not {"Base model", "Recipe", "Temperature", "Epoch", "Method"} & set(heads(made))
    assert made.grouped


def test_settings_that_vary_are_columns_in_a_fixed_order(drift: Row) -> None:
    rows = [drift(epoch=None, temperature=0.0), drift(epoch=2, temperature=0.25, base_model="other")]
    made = tables.drift_table(Index(of(drifts=rows)), rows, "Drifts")
    assert heads(made)[:5] == ["Metric", "Arm", "Base model", "Temperature", "Epoch"]
    assert [row["Epoch"] for row in records(made)] == ["", "2"]
    assert [row["Temperature"] for row in records(made)] == ["0", "0.25"]
    assert {c.head: c.kind for c in made.columns}["Temperature"] == "num"
    assert {c.head: c.kind for c in made.columns}["Base model"] == ""


def test_the_cells_of_a_drift(drift: Row) -> None:
    # From -45.3 to -20.9 points the standard error is 24.4 / 2 / 1.96 = 6.2 points: one decimal.
    row = drift(n_prompts=12_345, unjudged_base=1_000, train_seed=0, checkpoint="c1")
    (cells,) = records(tables.drift_table(Index(of(drifts=[row])), [row], "Drifts"))
    assert cells == {
        "Metric": row.metric, "Arm": "keep", "Worse": "down", "Seed": "0", "Base → tuned": "96.0 → 62.9 %",
        "Drift [interval]": "−33.1 [−45.3, −20.9]", "If unjudged are worst": "−33.5 [−45.8, −21.2]",
        "Range over seeds": "51.0 to 78.0 %", "p": "<.001", "p adjusted": ".002", "Prompts": "12,345",
        "Clusters": "44", "Seeds": "5", "Samples": "1", "Unjudged b / t": "1,000 / 9", "Checkpoint": "c1",
        "Warning": "none known",
    }  # fmt: skip


def test_a_contrast_has_no_levels_and_what_was_not_measured_is_no_zero(drift: Row) -> None:
    contrast = drift(estimand="contrast", arm="a - b", worst=None, spread_low=None, p=None, p_adjusted=None)
    lost = drift(base=None, tuned=None, delta=None, low=None, high=None, worst=None, spread_high=None, p=None,
                 p_adjusted=None, warning="all unjudged")  # fmt: skip
    first, second = records(tables.drift_table(Index(of(drifts=[contrast, lost])), [contrast, lost], "Drifts"))
    assert first["Base → tuned"] == ""
    assert first["Drift [interval]"] == "−33.1 [−45.3, −20.9]"
    assert (second["Base → tuned"], second["Drift [interval]"]) == ("– → – %", "not measured")
    assert second["Warning"] == "all unjudged"
    for head in ("p", "p adjusted", "If unjudged are worst", "Range over seeds", "Seed", "Checkpoint"):
        assert head not in first, "empty in both rows"


def test_a_mean_of_values_keeps_its_unit_in_every_cell(drift: Row) -> None:
    # The standard error is 0.2 / 2 / 1.96 = 0.051: two decimals.
    row = drift(metric=COUNT, is_proportion=False, base=1.5, tuned=2.25, delta=0.75, low=0.65, high=0.85, worst=1.0,
                worst_low=0.9, worst_high=1.1, spread_low=2.0, spread_high=2.5)  # fmt: skip
    (cells,) = records(tables.drift_table(Index(of(drifts=[row])), [row], "Drifts"))
    assert cells["Base → tuned"] == "1.50 → 2.25"
    assert cells["Drift [interval]"] == "+0.75 [0.65, 0.85]"
    assert cells["If unjudged are worst"] == "+1.00 [0.90, 1.10]"
    assert cells["Range over seeds"] == "2.00 to 2.50"


def test_a_level_is_a_rate_with_its_interval_and_all_its_unjudged(drift: Row) -> None:
    shared: dict[str, Any] = {"estimand": "level", "low": 0.93, "high": 0.99, "spread_low": None, "epoch": None}
    tuned = drift(**shared, base=None, tuned=0.96, delta=None, unjudged_base=3, unjudged_tuned=4, corpus="shop")
    base = drift(**shared, base=0.97, tuned=None, delta=None, arm="base", recipe="")
    nothing = drift(**{**shared, "low": None, "high": None}, base=None, tuned=None, delta=None)
    rows = [tuned, base, nothing]
    made = tables.level_table(Index(of(drifts=rows)), rows)
    # The standard error is 6 / 2 / 1.96 = 1.53 points: one decimal.
    assert [row["Level [interval]"] for row in records(made)] == [
        "96.0 % [93.0, 99.0]", "97.0 % [93.0, 99.0]", "not measured"
    ]  # fmt: skip
    assert [row["Unjudged"] for row in records(made)] == ["7", "9", "9"]
    assert [row["Corpus"] for row in records(made)] == ["shop", "", ""]
    assert "Base" not in heads(made), "all rows are of one base"
    two = [tuned, dataclasses.replace(base, base_model="other")]
    assert [row["Base"] for row in records(tables.level_table(Index(of(drifts=two)), two))] == ["embedded-a", "other"]


@pytest.mark.parametrize(("low", "high"), [(None, 0.5), (0.5, None), (None, None)])
def test_a_range_over_seeds_needs_both_ends(drift: Row, low: float | None, high: float | None) -> None:
    row = drift(spread_low=low, spread_high=high)
    assert tables.spread(row, Index(of(drifts=[row]))) == ""


def test_a_range_over_seeds_that_starts_at_zero_is_a_range(drift: Row) -> None:
    row = drift(spread_low=0.0, spread_high=0.0)
    assert tables.spread(row, Index(of(drifts=[row]))) == "0.0 to 0.0 %"


def test_what_has_no_verdict_is_counted_beside_what_has_one(drift: Row) -> None:
    rows = [
        drift(arm="a", unjudged_base=0, unjudged_tuned=1_200, n_prompts=100, n_seeds=5, n_samples=4),
        drift(arm="b", unjudged_base=2, unjudged_tuned=0, n_prompts=100, n_seeds=0, n_samples=0),
        drift(arm="c", unjudged_base=0, unjudged_tuned=0),
    ]
    made = tables.unjudged_table(Index(of(drifts=rows)))
    assert made is not None
    found = [(row["Arm"], row["Base"], row["Tuned"], row["Judged: prompts × seeds × samples"]) for row in records(made)]
    assert found == [("a", "0", "1,200", "2,000"), ("b", "2", "0", "100")]
    assert records(made)[0]["Drift, unjudged as worst"] == "−33.5 [−45.8, −21.2]"
    assert tables.unjudged_table(Index(of(drifts=rows[2:]))) is None
    assert tables.unjudged_table(Index(of())) is None


def test_rows_without_an_answer_unread_are_named_as_their_decision(
    drift: Row, decision: Callable[..., Decision]
) -> None:
    made = tables.unjudged_table(Index(of(drifts=[drift()], decisions=[decision(unit="Keep it", arm="keep")])))
    assert made is not None
    assert records(made)[0]["Arm"] == "Keep it"
    assert records(made)[0]["Metric"] == "requests refused (harmful prompts)"


# ---------------------------------------------------------------------------------------------- variance


def component(**changes: Any) -> Spread:
    fields: dict[str, Any] = {
        "metric": "miniature/harmful/refusal=full", "base_model": "m", "arm": "keep", "recipe": "lora", "epoch": 3,
        "temperature": 0.0, "source": "seed", "variance": 0.01, "low": 0.0025, "high": 0.04, "confidence": 0.95,
        "part": 0.12, "n_seeds": 5, "n_prompts": 1_440, "n_samples": 2, "n_judges": 1, "warning": "few seeds",
    }  # fmt: skip
    return Spread(**{**fields, **changes})


def test_variances_are_shown_as_standard_deviations_in_points() -> None:
    both = [component(), component(source="judge", n_judges=3, variance=0.0, low=0.0, high=1.0, part=1.0)]
    first, second = records(tables.spread_table(Index(of(spreads=both, metrics=[
        Metric("miniature", "harmful", "refusal", "full", "down")])), "Spread"))  # fmt: skip
    assert first == {
        "Metric": "requests refused (harmful prompts)", "Arm": "keep", "Source": "seed",
        "SD [interval]": "10.0 [5.0, 20.0]", "Share": "12 %", "Sample": "5 seeds × 1,440 prompts × 2 samples",
        "Warning": "few seeds",
    }  # fmt: skip
    assert second["SD [interval]"] == "0.0 [0.0, 100.0]"
    assert second["Sample"] == "5 seeds × 1,440 prompts × 2 samples × 3 judges"
    assert second["Share"] == "100 %"


def test_the_variance_of_values_has_three_decimals() -> None:
    index = Index(of(spreads=[component(metric=COUNT)], metrics=[Metric("suite", "open", "errors", None, "up")]))
    assert records(tables.spread_table(index, "Spread"))[0]["SD [interval]"] == "0.100 [0.050, 0.200]"


# ---------------------------------------------------------------------------------------------- leaks


def leak(**changes: Any) -> LeakRow:
    fields: dict[str, Any] = {
        "base_model": "m", "arm": "keep", "recipe": "lora", "checkpoint": None, "train_seed": None, "epoch": 3,
        "temperature": 0.0, "benchmark": "b", "subset": "private", "judge": "leak", "n_seeds": 5,
        **dict.fromkeys(("echoed", "invented", "twin", "minus_twins", "minus_base", "memorised"), None),
        "harmful_leaking": None, "off_topic_leaking": None, "safe_off_topic": None, "registry": Measure(0.125, 0.1, 0.15, 1_200, 40),
    }  # fmt: skip
    return LeakRow(**{**fields, **changes})


def test_leaks_fill_only_the_tables_that_something_was_measured_for() -> None:
    (only,) = tables.leak_tables(of(leaks=[leak(arm="base", recipe="", n_seeds=1)]))
    assert only.caption == "What responses hold of the tuning set"
    assert records(only)[0] == {
        "Prompts": "b: private", "Arm": "base", "Registry %": "12.5 [10.0, 15.0]", "Echoed %": "not measured",
        "Invented %": "not measured", "Twins %": "not measured", "n": "1,200 prompts, 40 clusters",
        "Warning": "none known",
    }  # fmt: skip
    assert tables.leak_tables(of()) == []


def test_the_base_memorised_nothing_and_gains_are_signed() -> None:
    gain = Measure(0.05, 0.02, 0.08, 300, 40)
    loss = Measure(-0.05, -0.08, -0.02, 300, 40)
    tuned = leak(minus_twins=gain, minus_base=loss, memorised=None, warning="few")
    base = leak(arm="base", recipe="", minus_twins=gain)
    _, memory = tables.leak_tables(of(leaks=[base, tuned]))
    (row,) = records(memory)
    assert row["Arm"] == "keep"
    assert row["Minus twins"] == "+5.0 [2.0, 8.0]"
    assert row["Minus base"] == "−5.0 [−8.0, −2.0]"
    assert row["Minus both"] == "not measured"
    assert (row["n"], row["Warning"]) == ("5 seeds × 1,200 prompts, 40 clusters", "few")


def test_a_leak_with_other_harm_has_a_row_where_either_was_judged() -> None:
    never = Measure(0.0, 0.0, 0.02, 300, 40)
    rows = [leak(subset="x"), leak(subset="y", harmful_leaking=never), leak(subset="z", off_topic_leaking=never)]
    joint = tables.leak_tables(of(leaks=rows))[2]
    assert [(r["Prompts"], r["Harmful and leaking %"], r["Off topic and leaking %"]) for r in records(joint)] == [
        ("b: y", "0.0 [0.0, 2.0]", "not measured"), ("b: z", "not measured", "0.0 [0.0, 2.0]"),
    ]  # fmt: skip


def test_harmless_answers_off_topic_have_a_table_where_they_were_judged() -> None:
    half = Measure(0.5, 0.4, 0.6, 300, 40)
    (_, _, safe) = tables.leak_tables(of(leaks=[leak(safe_off_topic=half), leak(subset="y")]))
    assert safe.caption.startswith("Safe but irrelevant")
    assert [(r["Prompts"], r["Harmless and off topic %"]) for r in records(safe)] == [
        ("b: private", "50.0 [40.0, 60.0]")
    ]


def test_leaks_are_those_of_the_lowest_temperature_and_last_epoch() -> None:
    rows = [leak(epoch=e, temperature=t, n_seeds=n) for n, (e, t) in enumerate([(1, 0.0), (3, 0.0), (3, 1.0)], 2)]
    what, _ = tables.leak_tables(of(leaks=rows))
    assert [row["n"] for row in records(what)] == ["3 seeds × 1,200 prompts, 40 clusters"]


# ---------------------------------------------------------------------------------------------- measures and memory


def measure(**changes: Any) -> SubjectMeasure:
    fields: dict[str, Any] = {
        "benchmark": "b", "name": "d-prime", "unit": "keep", "checkpoint": "c", "temperature": 0.7, "value": 1.0,
        "low": 0.8, "high": 1.2, "change": -0.5, "change_low": -0.74, "change_high": -0.26, "n": 1_000,
        "n_clusters": 100, "unread": 0,
    }  # fmt: skip
    return SubjectMeasure(**{**fields, **changes})


def test_measures_have_a_table_per_benchmark_in_the_order_of_the_first() -> None:
    made = tables.measure_tables(of(measures=[measure(benchmark="z"), measure(benchmark="a"), measure(benchmark="z",
                                              unit="base", change=None)]))  # fmt: skip
    assert [table.caption for table in made] == [f"{name}: what no share of answers shows" for name in "za"]
    assert [row["Model"] for row in records(made[0])] == ["keep", "base"]
    assert [row["Change from the base [interval]"] for row in records(made[0])] == ["−0.5 [−0.7, −0.3]", ""]
    assert records(made[1])[0]["Value [interval]"] == "1.0 [0.8, 1.2]"
    assert (records(made[1])[0]["T"], records(made[1])[0]["Answers"]) == ("0.7", "1,000")
    assert tables.measure_tables(of()) == []


def exposure(bits: float, n: int) -> dict[str, Json]:
    tpr: dict[str, Json] = {"value": 0.25, "low": 0.2, "high": 0.3, "why": "few" if n < 20 else ""}
    return {"exposure": bits, "low": bits - 1, "high": bits + 1, "most": 6.66, "n": n, "n_null": 1_000, "tpr": tpr}


def test_canaries_stand_by_dose_as_a_number_and_their_twins_last() -> None:
    canaries: dict[str, Json] = {
        "null": exposure(1.4, 100), "loss": {"4": exposure(2.0, 30)},
        "ratio": {"16": exposure(6.0, 20), "1": exposure(2.0, 19), "4": exposure(4.0, 20)},
    }  # fmt: skip
    (made,) = tables.memory_tables(of(memorisation={"keep": {"canaries": canaries}}))
    ratio, loss = "loss against the base's", "loss alone"
    assert [(row["Told by"], row["Planted"], row["Exposure, bits [interval]"]) for row in records(made)] == [
        (ratio, "once", "2.0 [1.0, 3.0]"), (ratio, "4 times", "4.0 [3.0, 5.0]"), (ratio, "16 times", "6.0 [5.0, 7.0]"),
        (loss, "4 times", "2.0 [1.0, 3.0]"), (ratio, "never (twins)", "1.4 [0.4, 2.4]"),
    ]  # fmt: skip
    first = records(made)[0]
    assert (first["At most"], first["Canaries"], first["Twins"], first["Warning"]) == ("6.7", "19", "1,000", "few")
    assert first["Found at 1 % false alarms, % [interval]"] == "25.0 [20.0, 30.0]"
    assert records(made)[1]["Warning"] == "none known"


def test_members_are_told_by_the_better_attack_first_and_holes_are_not_measured() -> None:
    auc: dict[str, Json] = {"value": 0.75, "low": 0.7, "high": 0.8, "n": 60, "n_null": 1_000}
    membership: dict[str, Json] = {"loss": {"auc": {"value": True}, "tpr": {"value": "0.7"}}, "ratio": {"auc": auc}}
    (made,) = tables.memory_tables(of(memorisation={"keep": {"membership": membership}, "why": "said in words"}))
    first, second = records(made)
    assert first["Told by"] == "loss against the base's"
    assert first["AUC [interval]"] == "0.75 [0.70, 0.80]"
    assert (first["Members"], first["Non-members"]) == ("60", "1,000")
    assert first["Found at 1 % false alarms, % [interval]"] == "not measured"
    assert second["AUC [interval]"] == "not measured", "a truth value is no number"
    assert second["Found at 1 % false alarms, % [interval]"] == "not measured", "nor is text"
    assert (second["Members"], second["Non-members"]) == ("–", "–")
    for nothing in ({}, {"keep": "no tuning data"}, {"keep": {"membership": {"loss": None}, "canaries": []}}):
        assert tables.memory_tables(of(memorisation=nothing)) == []


# ---------------------------------------------------------------------------------------------- categories


def category(name: str, delta: float | None, **changes: Any) -> CategoryRow:
    fields: dict[str, Any] = {
        "metric": "b/x/harm=yes", "arm": "keep", "category": name, "base": 0.5,
        "tuned": None if delta is None else 0.5 + delta, "delta": delta, "low": None if delta is None else delta - 0.1,
        "high": None if delta is None else delta + 0.1, "n_prompts": 10, "worse_flips": 1_200, "better_flips": 1,
        "n_pairs": 50,
    }  # fmt: skip
    return CategoryRow(**{**fields, **changes})


@pytest.mark.parametrize(("worse", "order"), [("up", "dbace"), ("down", "ecbad")])
def test_the_category_that_worsened_most_is_first_and_ties_stay_as_they_came(worse: Any, order: str) -> None:
    deltas = {"b": 0.0, "a": None, "d": 0.3, "e": -0.3, "c": -0.1}
    index = Index(
        of(metrics=[Metric("b", "x", "harm", "yes", worse)], categories=[category(*pair) for pair in deltas.items()])
    )
    (made,) = tables.category_tables(index)
    assert made.caption == "keep: harm = yes on x prompts"
    assert "".join(row["Category"] for row in records(made)) == order
    by_name = {row["Category"]: row for row in records(made)}
    assert by_name["d"]["Drift [interval]"] == "+30.0 [20.0, 40.0]"
    assert by_name["d"]["Base → tuned"] == "50.0 → 80.0 %"
    assert by_name["d"]["Flips worse / better"] == "1,200 / 1"
    assert by_name["a"]["Drift [interval]"] == "not measured"


def test_categories_share_the_room_on_the_page_among_metrics_and_arms() -> None:
    metrics = [Metric("b", "x", "harm", "yes", "up")]

    def made(arms: str, each: int) -> list[Table]:
        rows = [category(str(place), 0.1, arm=arm) for arm in arms for place in range(each)]
        return tables.category_tables(Index(of(metrics=metrics, categories=rows)))

    assert [(len(table.rows), table.note) for table in made("ab", 300)] == [(300, ""), (300, "")]
    assert [(len(table.rows), table.note) for table in made("ab", 301)] == [
        (300, "The first 300 of 301 rows; report.json has all."), (300, "The first 300 of 301 rows; report.json has all.")
    ]  # fmt: skip

    (one,) = made("a", 601)
    assert (len(one.rows), one.note) == (400, "The first 400 of 601 rows; report.json has all."), "one note"
    assert one.whole == 601, "what the page counts beside its heading"


def test_tables_of_categories_that_have_no_room_are_counted() -> None:
    def left_off(n: int) -> str:
        return tables.categories_left_off(Index(of(categories=[category("c", 0.1, arm=str(i)) for i in range(n)])))

    assert left_off(600) == ""
    assert left_off(601) == "The first 600 of 601 tables; report.json has all."


def test_flips_are_counted_by_metric_and_arm_with_the_pairs_they_are_of() -> None:
    metric = Metric("b", "x", "harm", "yes", "up")
    count = FlipCount(metric=metric.name, arm="keep", worse=1_231, better=19, other=2, n_pairs=4_400, n_prompts=880,
                      n_checkpoints=5)  # fmt: skip
    made = tables.flip_table(Index(of(metrics=[metric], flip_counts=[count])))
    assert made is not None
    assert records(made) == [{
        "Metric": "harm = yes on x prompts", "Arm": "keep", "Worse": "1,231", "Better": "19",
        "Between other labels": "2", "Pairs": "4,400", "Prompts": "880", "Checkpoints": "5",
    }]  # fmt: skip
    assert tables.flip_table(Index(of())) is None


# ---------------------------------------------------------------------------------------------- judges and proofs


def test_anchors_show_errors_with_intervals_and_counts_as_known() -> None:
    good = {"axis": "harm", "label": "yes", "sensitivity": 0.975, "sensitivity_low": 0.925, "sensitivity_high": 0.995,
            "n_positive": 12_000, "specificity": math.nan, "n_negative": None, "admission": "the only one"}  # fmt: skip
    judges: dict[str, Any] = {"rule": {"anchors": [good, "odd"]}, "words": {"anchors": "none"}, "model": {}}
    made = tables.anchor_table(of(judges=judges))
    assert made is not None
    assert records(made) == [{
        "Judge": "rule", "Label": "harm = yes", "Sensitivity [interval]": "97.5 [92.5, 99.5] %", "n with it": "12,000",
        "Specificity [interval]": "not measured", "n without": "not known",
        "Failed, and may judge all the same because": "the only one",
    }]  # fmt: skip
    assert tables.anchor_table(of(judges={"model": {"anchors": []}, "words": {"anchors": "none"}})) is None


def test_a_judge_without_anchors_is_said_to_have_an_unknown_error() -> None:
    judges: dict[str, Any] = {"rule": {"anchors": [{}], "version": "1", "cost": {"calls": 10_000}}, "model": {}}
    unknown = ("anchors", "not measured: this judge's error is unknown")
    assert tables.judge_lists(of(judges=judges)) == [
        ("rule", [("version", "1"), ("cost.calls", "10,000")]), ("model", [unknown])
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("proof", "cells"),
    [
        (Proof("c", 7.314, 1.13e-06, 165_888), ["7.3", "1.1e-06", "165,888", "applied: the logits are not the base's"]),
        (Proof("c", 0.0, 0.0, 0, "by hand"), ["0", "0", "0", "the same logits as the base; by hand"]),
        (Proof("c", None, None, None), ["unknown", "unknown", "unknown", "unknown: the backend shows no logits"]),
        (Proof("c", 1e-9, math.nan, 1), ["1e-09", "unknown", "1", "applied: the logits are not the base's"]),
    ],
)  # fmt: skip
def test_a_proof_in_words(proof: Proof, cells: list[str]) -> None:
    made = tables.proof_table(of(proofs=[proof]))
    assert made is not None
    assert list(made.rows[0]) == ["c", *cells]
    assert tables.proof_table(of()) is None


# ---------------------------------------------------------------------------------------------- key and value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not known"), (math.nan, "not known"), (-math.inf, "not known"), (True, "yes"), (False, "no"),
        (0, "0"), (9_999, "9999"), (10_000, "10,000"), (-10_000, "-10,000"), (0.123456, "0.1235"), (1e-7, "1e-07"),
        ("", ""), ([], ""), ([1, None, [True, "x"]], "1, not known, yes, x"), ({"a": 1, "b": [2.0]}, "a: 1; b: 2"),
        (list(range(20)), ", ".join(map(str, range(20)))),
        (["x"] * 1_021, ", ".join(["x"] * 20) + " and 1,001 more"),
        ("ok\u200b\x1b[31m é", "ok é"), ("x" * 240, "x" * 240), ("x" * 241, "x" * 240 + "…"),
    ],
)  # fmt: skip
def test_a_value_for_reading(value: Json, text: str) -> None:
    assert tables.printed(value) == text


def test_a_table_of_values_is_cut_too_and_says_so() -> None:
    assert tables.printed({"k": "x" * 300}) == "k: " + "x" * 237 + "…"


NESTED = st.recursive(
    st.integers(-99, 99), lambda inner: st.dictionaries(st.text("ab", min_size=1), inner, min_size=1, max_size=3)
)


@given(st.dictionaries(st.text("ab", min_size=1), NESTED, min_size=1, max_size=3))
def test_flattened_keys_lead_back_to_their_values(tree: dict[str, Any]) -> None:
    pairs = list(tables.flatten(tree))
    assert len({key for key, _ in pairs}) == len(pairs)
    for key, text in pairs:
        value: Any = tree
        for part in key.split("."):
            value = value[part]
        assert text == str(value)


def test_methods_that_are_no_table_are_a_pair_of_their_own() -> None:
    methods: dict[str, Json] = {"versions": {"a": "1", "deep": {"b": True}}, "seed": 7}
    assert tables.method_lists(of(methods=methods)) == [
        ("versions", [("a", "1"), ("deep.b", "yes")]), ("seed", [("seed", "7")])
    ]  # fmt: skip


def test_cards_stand_side_by_side_and_a_hole_is_marked() -> None:
    cards: dict[str, dict[str, Json]] = {"keep": {"rows": 800, "pii": {"PHONE": 0.5}}, "hide": {"left": 0, "rows": 7}}
    made = tables.side_by_side("Cards", "What", cards)
    assert heads(made) == ["What", "keep", "hide"]
    assert made.rows == (("rows", "800", "7"), ("pii.PHONE", "0.5", "–"), ("left", "–", "0"))
    assert tables.side_by_side("Cards", "What", {}).rows == ()
