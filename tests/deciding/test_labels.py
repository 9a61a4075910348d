"""People's labels in drifts and decisions: what a judge's unequal error invents, the labels take back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding import gate, policy
from aftertune.deciding.drift import drift
from aftertune.deciding.label_effects import (
    error_sentence,
    judge_errors,
    label_effects,
    lines,
    sentence,
    summary,
    with_label_effects,
)
from aftertune.deciding.labels import AnswerKey, AnswerLabel, not_read
from aftertune.deciding.verdict_table import VerdictTable
from aftertune.records import Contrast, Drift, Metric

N = 200
RULES = policy.load("default")


def label(arm: str, prompt: int, *labels: str, seed: int | None = None, weight: float = 1.0) -> AnswerLabel:
    key = AnswerKey(f"{arm}-{seed}-None", "suite", "harmful", f"p{prompt:04d}", 0.0, 0)
    return AnswerLabel(key, "refusal", labels, weight)


def by_people(truth: list[int], arm: str, every: int = 3, seed: int | None = None) -> list[AnswerLabel]:
    """Label every third answer of an arm, right."""
    said = {1: "full", 0: "none"}
    return [label(arm, at, said[truth[at]], seed=seed) for at in range(0, len(truth), every)]


def blind_judge() -> tuple[VerdictTable, list[AnswerLabel]]:
    """Both models refuse 90 %; the judge overlooks a sixth of the tuned model's refusals, and none of the base's."""
    rng = np.random.default_rng(3)
    base, tuned = ((rng.random(N) < 0.9).astype(int).tolist() for _ in range(2))
    seen = [int((one and at % 3 != 1) or (one and at % 2)) for at, one in enumerate(tuned)]
    table = VerdictTable(made(verdicts(base), verdicts(seen, arm="mine", seed=1)))
    own = rng.permutation(N)[:80]
    said = {1: "full", 0: "none"}
    labels = [label("base", int(at), said[base[at]]) for at in own]
    labels += [label("mine", int(at), said[tuned[at]], seed=1) for at in rng.permutation(N)[:80]]
    return table, labels


def rows(table: VerdictTable, labels: list[AnswerLabel], metric: Metric = REFUSAL) -> dict[tuple[str, str], Drift]:
    return {(row.estimand, row.arm): row for row in drift(table, [metric], seed=0, labels=labels)}


def test_a_drift_that_the_judge_invents_goes_with_the_labels() -> None:
    table, labels = blind_judge()
    judged, labelled = rows(table, [])["checkpoint", "mine"], rows(table, labels)["checkpoint", "mine"]
    assert judged.high is not None
    assert judged.high < -0.05, "significant, and wrong"
    assert labelled.low is not None
    assert labelled.high is not None
    assert labelled.low < 0 < labelled.high
    assert labelled.delta is not None
    assert abs(labelled.delta) < 0.06
    assert labelled.p is not None
    assert labelled.p > 0.2
    assert "prediction-powered by labels: 80 of the base, 80 of the tuned model" in labelled.method
    assert labelled.base is not None
    assert labelled.tuned is not None
    assert labelled.tuned - labelled.base == pytest.approx(labelled.delta)


def test_the_level_is_by_people_too_and_its_estimate_is_the_drifts() -> None:
    table, labels = blind_judge()
    found = rows(table, labels)
    assert found["level", "mine"].tuned == pytest.approx(found["checkpoint", "mine"].tuned)
    assert found["level", "base"].base == pytest.approx(found["checkpoint", "mine"].base)
    assert "prediction-powered by 80 labels" in found["level", "mine"].method
    assert rows(table, [])["level", "mine"].tuned != pytest.approx(found["level", "mine"].tuned, abs=0.02)


def test_one_set_of_labels_serves_every_metric_of_its_axis() -> None:
    table, labels = blind_judge()
    full, none = rows(table, labels)["checkpoint", "mine"], rows(table, labels, OVER)["checkpoint", "mine"]
    assert none.delta == pytest.approx(-(full.delta or 0.0))
    assert none.low == pytest.approx(-(full.high or 0.0))


def test_labels_that_confirm_a_judge_leave_its_estimate_and_widen_its_interval() -> None:
    rng = np.random.default_rng(0)
    base, tuned = (rng.random(N) < 0.9).astype(int).tolist(), (rng.random(N) < 0.5).astype(int).tolist()
    table = VerdictTable(made(verdicts(base), verdicts(tuned, arm="mine", seed=1)))
    few = rows(table, by_people(base, "base", 8) + by_people(tuned, "mine", 8, 1))["checkpoint", "mine"]
    many = rows(table, by_people(base, "base", 1) + by_people(tuned, "mine", 1, 1))["checkpoint", "mine"]
    judged = rows(table, [])["checkpoint", "mine"]
    assert few.delta == pytest.approx(judged.delta)
    widths = [(row.high or 0.0) - (row.low or 0.0) for row in (judged, many, few)]
    assert widths == sorted(widths)
    assert widths[2] > 1.5 * widths[0]


def test_a_recipe_is_labelled_over_its_seeds() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(N) < 0.95).astype(int).tolist()
    tuned = [(rng.random(N) < 0.9).astype(int).tolist() for _ in range(3)]
    seen = [[int(one and rng.random() < 0.7) for one in each] for each in tuned]
    table = VerdictTable(
        made(verdicts(base), *(verdicts(each, arm="mine", seed=seed) for seed, each in enumerate(seen)))
    )
    labels = by_people(base, "base", 4)
    for seed, each in enumerate(tuned):
        labels += by_people(each, "mine", 8, seed)
    judged, labelled = rows(table, [])["recipe", "mine"], rows(table, labels)["recipe", "mine"]
    assert judged.high is not None
    assert judged.high < -0.2
    assert labelled.delta == pytest.approx(-0.05, abs=0.07)
    assert labelled.spread_low is not None
    assert labelled.spread_low > (judged.spread_high or 1.0), "rates of the seeds are by people as well"
    assert "labels: 50 of the base, 75 of the tuned model" in labelled.method


PAIR = Contrast("a against b", {"a": 1.0, "b": -1.0})
FOUND: Mapping[str, float] = {"a": 0.95, "b": 0.45, "c": 0.95, "d": 0.45}
"""Share of an arm's refusals that the judge finds."""


def arms(
    rng: np.random.Generator, rates: Mapping[str, float], per_arm: int = 90
) -> tuple[VerdictTable, list[AnswerLabel]]:
    """Three seeds of each arm by a judge that overlooks more of one arm's refusals, and labels of some answers."""
    tables = [verdicts((rng.random(N) < 0.9).astype(int).tolist())]
    labels: list[AnswerLabel] = []
    for arm, rate in rates.items():
        truth = rng.random((3, N)) < rate
        seen = truth & (rng.random((3, N)) < FOUND[arm])
        tables += [verdicts(each.astype(int).tolist(), arm=arm, seed=seed) for seed, each in enumerate(seen)]
        for at in rng.permutation(3 * N)[:per_arm].tolist():
            seed, prompt = divmod(at, N)
            labels.append(label(arm, prompt, "full" if truth[seed, prompt] else "none", seed=seed))
    return VerdictTable(made(*tables)), labels


def contrast(table: VerdictTable, labels: list[AnswerLabel], wanted: Contrast = PAIR) -> Drift:
    found = drift(table, [REFUSAL], contrasts=[wanted], seed=0, labels=labels)
    return next(row for row in found if row.estimand == "contrast")


def test_a_difference_between_arms_that_the_judge_invents_goes_with_the_labels() -> None:
    table, labels = arms(np.random.default_rng(5), {"a": 0.6, "b": 0.6})
    judged, labelled = contrast(table, []), contrast(table, labels)
    assert judged.low is not None
    assert judged.low > 0.2, "significant, and wrong"
    assert labelled.low is not None
    assert labelled.high is not None
    assert labelled.low < 0 < labelled.high
    assert labelled.p is not None
    assert labelled.p > 0.05
    assert "prediction-powered by labels, 90 or more of each arm" in labelled.method
    drifts = {row.arm: row.delta for row in drift(table, [REFUSAL], seed=0, labels=[*labels, *base_labels()])
              if row.estimand == "recipe"}  # fmt: skip
    assert labelled.delta == pytest.approx((drifts["a"] or 0.0) - (drifts["b"] or 0.0)), "the base cancels"


def base_labels() -> list[AnswerLabel]:
    return [label("base", at, "full") for at in range(30)]


def test_the_base_of_a_contrast_that_does_not_cancel_is_by_people_as_well() -> None:
    table, labels = arms(np.random.default_rng(7), {"a": 0.6, "b": 0.6})
    joint = Contrast("both", {"a": 0.5, "b": 0.5})
    without = contrast(table, labels, joint)
    assert "by the judge alone: 0 labels of the base are too few, at least 20 of each are needed" in without.warning
    assert without.delta == contrast(table, [], joint).delta
    found = contrast(table, [*labels, *base_labels()], joint)
    assert found.delta is not None
    assert without.delta is not None
    assert abs(found.delta - -0.3) < 0.12
    assert without.delta < -0.4, "the judge alone"


def test_a_contrast_with_few_labels_of_an_arm_is_the_judges_and_says_so() -> None:
    table, labels = arms(np.random.default_rng(6), {"a": 0.6, "b": 0.6})
    of_b = [each for each in labels if each.answer.checkpoint.startswith("b-")]
    few = [each for each in labels if each not in of_b] + of_b[:19]
    judged, found = contrast(table, []), contrast(table, few)
    assert (found.delta, found.low, found.high, found.method) == (judged.delta, judged.low, judged.high, judged.method)
    assert "by the judge alone: 19 labels of b are too few, at least 20 of each are needed" in found.warning


@pytest.mark.slow
@pytest.mark.parametrize("weights", [{"a": 1.0, "b": -1.0}, {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}])
def test_a_contrast_with_labels_covers_the_truth(weights: dict[str, float]) -> None:
    rng, wanted, hits, draws = np.random.default_rng(11), Contrast("c", weights), 0, 80
    for _ in range(draws):
        table, labels = arms(rng, dict.fromkeys(weights, 0.6), per_arm=60)
        found = contrast(table, labels, wanted)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert hits >= 0.9 * draws


@pytest.mark.parametrize("arm", ["base", "mine"])
def test_labels_of_one_side_or_too_few_are_not_used_and_this_is_said(arm: str) -> None:
    table, labels = blind_judge()
    some = [each for each in labels if each.answer.checkpoint.startswith(arm)]
    rest = [each for each in labels if each not in some][:19]
    judged, found = rows(table, [])["checkpoint", "mine"], rows(table, [*some, *rest])["checkpoint", "mine"]
    assert (found.delta, found.low, found.high) == (judged.delta, judged.low, judged.high)
    counts = "80 labels of the base and 19 of mine" if arm == "base" else "19 labels of the base and 80 of mine"
    assert f"by the judge alone: {counts} are too few, at least 20 of each are needed" in found.warning


def test_an_unjudged_answer_is_still_the_worst_beside_what_people_read() -> None:
    rng = np.random.default_rng(2)
    base, tuned = ((rng.random(N) < 0.9).astype(int).tolist() for _ in range(2))
    lost = [None if at < 20 else one for at, one in enumerate(tuned)]
    table = VerdictTable(made(verdicts(base), verdicts(lost, arm="mine", seed=1)))
    labels = by_people(base, "base", 2) + by_people(tuned, "mine", 2, 1)
    found = rows(table, labels)["checkpoint", "mine"]
    assert found.unjudged_tuned == 20
    assert found.worst is not None
    assert found.delta is not None
    assert found.worst == pytest.approx((180 * (found.tuned or 0) / 200) - np.mean(base), abs=0.02)
    assert found.worst < found.delta - 0.05
    assert "90 of the tuned model" in found.method, "labels of answers that this judge could not read say nothing of it"


def test_an_answer_of_a_content_filter_is_still_the_worst_beside_what_people_read() -> None:
    """People who read the filter's refusals say nothing of the model behind it."""
    base, tuned = [1] * 90, [1] * 90
    labels = by_people(base, "base") + by_people(tuned, "a")
    plain = verdicts(base, arm="base", seed=None) + verdicts(tuned, arm="a", seed=0)
    filtered = [dataclasses.replace(row, author="filter") if number % 2 else row for number, row in enumerate(plain)]
    seen, unseen = (rows(VerdictTable(made(table)), labels)["checkpoint", "a"] for table in (plain, filtered))
    assert seen.worst is not None
    assert unseen.worst is not None
    assert seen.worst > -0.1
    assert unseen.worst == pytest.approx(seen.worst - 0.5, abs=0.1)


def test_where_readers_differ_each_has_half_an_answer() -> None:
    base = [1] * 60
    table = VerdictTable(made(verdicts(base), verdicts(base, arm="mine", seed=1)))
    labels = [label("base", at, "full", "full") for at in range(60)]
    labels += [label("mine", at, "full", "full" if at % 2 else "none", seed=1) for at in range(60)]
    found = rows(table, labels)["checkpoint", "mine"]
    assert found.delta == pytest.approx(-0.25)


def test_what_labels_changed_is_told_with_both_decisions() -> None:
    table, labels = blind_judge()
    judged, labelled = (drift(table, [REFUSAL], seed=0, labels=each) for each in ((), labels))
    before, after = (gate.gate(each, RULES, [REFUSAL]) for each in (judged, labelled))
    (effect,) = label_effects(table, [REFUSAL], labels, (judged, before), (labelled, after))
    assert (effect.judged_outcome, effect.outcome, effect.overturned) == ("drift", "undecided", True)
    assert (effect.base.labels, effect.tuned.labels) == (80, 80)
    assert effect.base.missed == 0
    assert effect.tuned.missed > 0.5, "of what the judge does not see, people see most"
    assert effect.tuned.missed_low < effect.tuned.missed < effect.tuned.missed_high
    assert f"{100 * effect.judged:+.1f}" in sentence(effect)
    assert "undecided, where the judge alone gives a drift" in sentence(effect)
    assert "people confirm 100.0 %" in error_sentence(effect)
    assert summary([effect]) == ("People's labels stand in 1 decision; 1 of them would be another by the judge alone.")
    assert lines([effect])[0].startswith("labels: suite/harmful/refusal=full, mine")
    (decision,) = with_label_effects(after, [effect], labelled)
    assert decision.why.endswith(sentence(effect))
    assert "labels an arm in place of 80" in decision.remedy
    wrong = judge_errors(table, [REFUSAL], labels)
    assert wrong == {REFUSAL.name: pytest.approx(0.15, abs=0.05)}


def test_labels_of_other_answers_change_nothing() -> None:
    table, labels = blind_judge()
    other = [AnswerLabel(each.answer, "harm", each.labels) for each in labels]
    assert drift(table, [REFUSAL], seed=0, labels=other) == drift(table, [REFUSAL], seed=0)
    assert label_effects(table, [REFUSAL], other, ([], []), ([], [])) == []
    assert summary([]) == ""


@pytest.mark.parametrize(
    ("axis", "wanted", "why"),
    [("leak", "registry", "registries"), ("leak_own", "echoed", "registries"), ("alignment", None, "a value"),
     ("choice", "correct", "probabilities"), ("refusal", "full", "")],
)  # fmt: skip
def test_some_axes_are_not_read_by_people(axis: str, wanted: str | None, why: str) -> None:
    assert why in not_read(Metric("b", "s", axis, wanted, "up"))
    assert bool(not_read(Metric("b", "s", axis, wanted, "up"))) == bool(why)
