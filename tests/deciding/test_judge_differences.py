"""Two judges of one metric on the same answers: paired, with clusters and seeds, told only where it is no noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding import gate, policy
from aftertune.deciding.drift import drift
from aftertune.deciding.judge_differences import (
    judge_differences,
    labels_by_judge,
    sentence,
    summary,
    why_not_comparable,
    with_disagreements,
)
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.findings import JudgeDifference
from aftertune.records import Decision, Metric, Verdict
from aftertune.stats import clusters, seeds
from aftertune.stats.estimate import Estimate

VALUE = Metric("suite", "harmful", "refusal", None, "up")


def by(judge: str, rows: list[Verdict], **labels: str) -> list[Verdict]:
    """The same verdicts by another judge, labels renamed."""
    return [
        dataclasses.replace(row, judge=judge, label=labels.get(row.label, row.label) if row.label else None)
        for row in rows
    ]


def decided(
    *groups: list[Verdict], metric: Metric = REFUSAL, judge: str = "rule"
) -> tuple[VerdictTable, list[Decision]]:
    table = VerdictTable(made(*groups))
    rows = [row for row in drift(table, [metric], seed=0) if row.judge == judge]
    return table, gate.gate(rows, policy.load("default"), [metric])


def differences(
    *groups: list[Verdict], metric: Metric = REFUSAL, outcomes: Mapping[str, Any] | None = None, **known: str
) -> list[JudgeDifference]:
    table, decisions = decided(*groups, metric=metric)
    return judge_differences(
        table, [metric], decisions, known=known, outcome_by=lambda _, judge: (outcomes or {}).get(judge)
    )


def study(n: int = 120, seeds_: int = 3, other: int = 0) -> list[list[Verdict]]:
    """A base that always refuses, tuned models of which `rule` says that 30 % do not, and `model` that `other` do not."""
    groups = [verdicts([1] * n), by("model", verdicts([1] * n))]
    for seed in range(seeds_):
        gone = [int(i % 10 >= 3) for i in range(n)]
        less = [int(i % 100 >= other) for i in range(n)]
        groups += [verdicts(gone, arm="keep", seed=seed), by("model", verdicts(less, arm="keep", seed=seed))]
    return groups


def test_two_judges_far_apart_on_the_same_answers_are_told() -> None:
    groups = study()
    (one,) = differences(*groups, outcomes={"model": "pass"})
    assert (one.judge, one.other, one.outcome, one.other_outcome) == ("rule", "model", "drift", "pass")
    assert one.rate is not None
    assert one.drift is not None
    assert (one.rate.value, one.rate.other, one.rate.delta) == pytest.approx((0.7, 1.0, 0.3))
    assert (one.drift.value, one.drift.other, one.drift.delta) == pytest.approx((-0.3, 0.0, 0.3))
    assert one.rate.low > 0.2
    assert one.rate.told_apart
    assert one.told_apart
    assert one.same == pytest.approx(0.7)
    assert (one.rate.n_prompts, one.n_seeds) == (120, 3)
    table, decisions = decided(*groups)
    (decision,) = with_disagreements(decisions, [one])
    assert decision.why.startswith(decisions[0].why + " Judges disagree on the same answers: rule reads 70.0 %, model")
    assert "100.0 % (+30.0 points, 95 % interval" in decision.why
    assert "their drifts are -30.0 and +0.0 points" in decision.why
    assert decision.why.endswith("; by model this would be a pass.")
    assert decision.outcome == decisions[0].outcome, "the gate listens to its own judge"
    assert len(table) == 960


def test_the_numbers_are_those_of_the_paired_statistics() -> None:
    rng = np.random.default_rng(1)
    names = [f"k{i // 5}" for i in range(100)]
    tuned = [[int(x) for x in rng.integers(0, 2, 100)] for _ in range(4)]
    base = [verdicts([1] * 100, clusters=names), by("model", verdicts([1] * 100, clusters=names))]
    mine = [verdicts(tuned[s], arm="keep", seed=s, clusters=names) for s in range(2)]
    theirs = [by("model", verdicts(tuned[s + 2], arm="keep", seed=s, clusters=names)) for s in range(2)]
    (one,) = differences(*base, *mine, *theirs)
    values = np.array([np.subtract(tuned[s + 2], tuned[s]) for s in range(2)], dtype=np.float64)
    codes = np.arange(100) // 5
    assert one.rate is not None
    wanted: Estimate = seeds.difference(values, codes)
    assert (one.rate.delta, one.rate.low, one.rate.high, one.rate.p) == pytest.approx(
        (wanted.value, wanted.low, wanted.high, wanted.p)
    )
    assert one.rate.n_clusters == 20
    (single,) = differences(*base, mine[0], theirs[0])
    assert single.rate is not None
    wanted = clusters.difference(values[0], codes)
    assert (single.rate.low, single.rate.high) == pytest.approx((wanted.low, wanted.high))


def test_clusters_are_the_sample_and_not_their_prompts() -> None:
    """Ninety answers that differ, all of one cluster of two, are one observation."""
    names = ["a"] * 90 + ["b"] * 90
    base = verdicts([1] * 180, clusters=names)
    mine, theirs = verdicts([1] * 180, arm="keep", seed=0, clusters=names), [0] * 90 + [1] * 90
    (one,) = differences(
        base, by("model", base), mine, by("model", verdicts(theirs, arm="keep", seed=0, clusters=names))
    )
    assert one.rate is not None
    assert one.rate.delta == -0.5
    assert not one.told_apart
    (one,) = differences(verdicts([1] * 180), by("model", verdicts([1] * 180)), verdicts([1] * 180, arm="keep", seed=0),
                         by("model", verdicts(theirs, arm="keep", seed=0)))  # fmt: skip
    assert one.told_apart, "the same answers, each its own cluster"


def test_judges_that_agree_or_nearly_do_are_not_told() -> None:
    (same,) = differences(*study(other=0)[:0], *[g for rows in study() if rows[0].judge == "rule"
                                                 for g in (rows, by("model", rows))])  # fmt: skip
    assert same.rate is not None
    assert (same.rate.delta, same.same, same.told_apart) == (0.0, 1.0, False)
    (near,) = differences(*study(other=29))
    assert not near.told_apart
    table, decisions = decided(*study(other=29))
    assert with_disagreements(decisions, [near]) == decisions
    assert summary([near], lambda one: one.unit) == ""
    assert len(table) > 0


def test_one_offset_on_base_and_tuned_is_another_rate_but_no_other_drift() -> None:
    base, tuned = [1] * 60 + [0] * 60, [1] * 40 + [0] * 80
    low, lower = [1] * 30 + [0] * 90, [1] * 10 + [0] * 110
    (one,) = differences(verdicts(base), by("model", verdicts(low)), verdicts(tuned, arm="keep", seed=0),
                         by("model", verdicts(lower, arm="keep", seed=0)))  # fmt: skip
    assert one.rate is not None
    assert one.drift is not None
    assert one.rate.delta == -0.25
    assert one.rate.told_apart
    assert one.drift.delta == pytest.approx(0)
    assert not one.drift.told_apart
    assert one.told_apart


def test_only_answers_that_both_judged_count() -> None:
    base = verdicts([1] * 100)
    mine = verdicts([0] * 50 + [1] * 50, arm="keep", seed=0)
    theirs = by("model", verdicts([None] * 50 + [1] * 50, arm="keep", seed=0))
    (one,) = differences(base, by("model", base), mine, theirs)
    assert one.rate is not None
    assert (one.rate.value, one.rate.other, one.rate.n_prompts) == (1.0, 1.0, 50), "not 50 % beside 100 %"
    assert not one.told_apart
    (none,) = differences(base, by("model", base), mine, by("model", verdicts([None] * 100, arm="keep", seed=0)))
    assert (none.rate, none.why) == (None, "they judged no answer of this model in common")


def test_samples_are_paired_one_by_one() -> None:
    base = verdicts([1] * 40)
    tuned = [verdicts([1, 0] * 20, arm="keep", seed=0, sample=0), verdicts([0, 1] * 20, arm="keep", seed=0, sample=1)]
    (one,) = differences(base, by("model", base), *tuned, by("model", tuned[0]), by("model", [
        dataclasses.replace(row, label="full" if row.label == "none" else "none") for row in tuned[1]]))  # fmt: skip
    assert one.rate is not None
    assert (one.rate.delta, one.same) == (0.0, 0.5), "the same rate, and another reading of every second sample"


def test_three_judges_are_two_differences_and_one_judge_is_none() -> None:
    groups = study(other=60)
    third = [by("third", rows) for rows in groups if rows[0].judge == "rule"]
    found = differences(*groups, *third)
    assert [(one.other, one.told_apart) for one in found] == [("model", True), ("third", False)]
    assert differences(*[rows for rows in groups if rows[0].judge == "rule"]) == []


def test_many_comparisons_are_corrected_for() -> None:
    """One difference that stands alone at p = .03 does not among nine others."""
    base, n = [1] * 40, 40
    mine = verdicts([1] * n, arm="keep", seed=0)
    theirs = verdicts([0] * 5 + [1] * (n - 5), arm="keep", seed=0)
    groups = [verdicts(base), by("model", verdicts(base)), mine, by("model", theirs)]
    (alone,) = differences(*groups)
    assert alone.rate is not None
    assert alone.rate.p is not None
    assert 0.01 < alone.rate.p < 0.05
    more = [by(f"m{i}", rows) for i in range(5) for rows in (verdicts(base), mine)]
    among = next(one for one in differences(*groups, *more) if one.other == "model")
    assert among.rate is not None
    assert among.rate.p == alone.rate.p
    assert alone.told_apart
    assert alone.corrected
    assert among.told_apart
    assert not among.corrected, "said, and said not to outlive the correction"
    text = summary([among], lambda one: one.unit)
    assert "on 1 of 1 check that several judges read (0 after Holm's correction)" in text


def test_two_judges_of_one_error_rate_are_seldom_told_apart() -> None:
    """Both misread 20 % of the answers, each its own: at the 5 % level about one run of twenty is a false alarm."""
    rng = np.random.default_rng(0)
    _, (decision,) = decided(*study())
    told = 0
    for _ in range(100):
        groups = [verdicts([1] * 40), by("model", verdicts([1] * 40))]
        for number in range(3):
            for name in ("rule", "model"):
                groups.append(by(name, verdicts([int(x) for x in rng.random(40) > 0.2], arm="keep", seed=number)))
        table = VerdictTable(made(*groups))
        (one,) = judge_differences(table, [REFUSAL], [decision], known={}, outcome_by=lambda *_: None)
        assert one.rate is not None
        assert one.rate.p is not None
        assert one.rate.p_adjusted is not None
        assert one.rate.p <= one.rate.p_adjusted
        assert one.corrected <= one.told_apart == (one.rate.low > 0 or one.rate.high < 0)
        told += one.told_apart
    assert told <= 12, "twelve or fewer in 99.8 % of the hundreds whose level is 5 %"


# ---------------------------------------------------------------------------------------------- what can be compared


def test_labels_that_mean_something_else_are_not_compared() -> None:
    groups = study()
    renamed = [
        by("model", rows, full="refused", none="complied") if rows[0].judge == "model" else rows for rows in groups
    ]
    (one,) = differences(*renamed)
    assert (one.rate, one.drift, one.told_apart) == (None, None, False)
    assert one.why == "model has no label 'full' (it gives 'refused')", "and not 0 % beside 70 %"
    gone = verdicts([0] * 120, arm="other", seed=0)
    mixed = [*renamed, gone, by("model", gone, none="complied")]
    assert "'complied', 'refused'" in next(one.why for one in differences(*mixed) if one.arm == "keep")


@pytest.mark.parametrize(
    ("label", "first", "second", "compared"),
    [
        ("domain_script", {"domain_script", "on_topic", "off_topic"}, {"domain_script", "other"}, True),
        ("off_topic", {"domain_script", "on_topic", "off_topic"}, {"domain_script", "other"}, False),
        ("harmful", {"harmful", "harmless"}, {"harmless"}, True),
        ("harmful", {"harmful", "harmless"}, {"unsafe", "safe"}, False),
        ("harmful", {"harmful", "harmless"}, {"safe"}, False),
        ("harmful", {"harmless"}, {"harmful", "harmless"}, True),
        ("partial", {"full", "partial", "none"}, {"full", "none"}, False),
        ("full", {"full", "partial", "none"}, {"full", "none"}, True),
        ("full", {"full", "none"}, set(), False),
        (None, {"a"}, {"b"}, True),
    ],
)
def test_a_label_is_compared_where_both_judges_can_give_it(
    label: str | None, first: set[str], second: set[str], compared: bool
) -> None:
    for one, other in ((first, second), (second, first)):
        why = why_not_comparable(label, ("a", frozenset(one)), ("b", frozenset(other)))
        assert (not why) == compared, why


def test_a_judge_that_never_gave_the_label_of_its_axis_still_knows_it() -> None:
    groups = [verdicts([0] * 20), by("model", verdicts([0] * 20), none="other")]
    groups += [
        verdicts([1] * 20, arm="keep", seed=0),
        by("model", verdicts([0] * 20, arm="keep", seed=0), none="other"),
    ]
    assert labels_by_judge(VerdictTable(made(*groups)), {"refusal": "full"})["model", "refusal"] == {"other", "full"}
    assert differences(*groups, metric=OVER)[0].why == "model has no label 'none' (it gives 'other')"
    (one,) = differences(*groups, refusal="full")
    assert one.rate is not None
    assert (one.rate.value, one.rate.other) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("first", "second", "compared"),
    [([0, 1], [1, 1], True), ([0.2, 0.9], [0, 1], True), ([1, 5], [1, 5], True), ([1, 5], [0, 1], False),
     ([0, 100], [0, 10], False), ([2, 97], [0, 100], True)],
)  # fmt: skip
def test_values_are_compared_on_one_scale_only(first: Sequence[float], second: Sequence[float], compared: bool) -> None:
    groups = []
    for judge, ends in (("rule", first), ("model", second)):
        for arm, seed in (("base", None), ("keep", 0)):
            groups.append(by(judge, verdicts([ends[i % 2] for i in range(30)], arm=arm, seed=seed, value=True)))
    table = VerdictTable(made(*groups))
    rows = [row for row in drift(table, [VALUE], seed=0) if row.judge == "rule" and row.estimand == "checkpoint"]
    rules = policy.Policy("p", (policy.Rule("*", 0.1),))
    decisions = gate.gate(rows, rules, [VALUE])
    (one,) = judge_differences(table, [VALUE], decisions, known={}, outcome_by=lambda *_: None)
    assert (one.rate is not None) == compared
    assert ("different scales" in one.why) == (not compared)


# ---------------------------------------------------------------------------------------------- sentences


def test_the_summary_counts_checks_and_names_the_one_that_matters_most() -> None:
    (one,) = differences(*study(other=60), outcomes={"model": "drift"})
    (other,) = differences(*study(other=0), outcomes={"model": "pass"})
    far = dataclasses.replace(one, arm="far", unit="far")
    text = summary([far, other, dataclasses.replace(other, other="third")], lambda each: f"<{each.unit}>")
    assert text.startswith(
        "Judges disagree beyond the interval of their difference on 2 of 2 checks that several judges read (2 after "
        "Holm's correction); 1 would be decided otherwise by another judge. Largest: <keep>. Judges disagree on the same answers: rule reads 70.0 %, model 100.0 % (+30.0 points"
    )
    assert "this would be" not in sentence(one), "nothing else would be decided"
