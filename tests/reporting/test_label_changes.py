"""What changed between base and tuned checkpoint, counted by category and shown: each pair once, each text its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding.verdict_table import VerdictTable
from aftertune.findings import Flip
from aftertune.records import Metric, Verdict
from aftertune.reporting.label_changes import FLIPS, LabelChanges
from aftertune.stats.paired import tango_interval

JUDGES = {"refusal": "rule"}


def filed(rows: Sequence[Verdict]) -> list[Verdict]:
    """Every fourth prompt is of category `b`, the others of `a`."""
    return [dataclasses.replace(row, category="ab"[int(row.prompt_id[1:]) % 4 == 3]) for row in rows]


def changes(*groups: list[Verdict], temperature: float = 0.0) -> LabelChanges:
    return LabelChanges(VerdictTable(made(*groups)), JUDGES, temperature)


def test_categories_count_pairs_in_the_metrics_direction() -> None:
    base = filed(verdicts([1, 1, 1, 1, 1, 0, 0, 0]))
    first = filed(verdicts([0, 1, 1, 0, 0, 1, 0, 0], arm="keep", seed=0))
    second = filed(verdicts([1, 1, 1, 0, 1, 0, 0, None], arm="keep", seed=1))
    a, b = changes(base, first, second).categories([REFUSAL])
    assert (a.arm, a.category, a.n_prompts, a.n_pairs) == ("keep", "a", 6, 12)
    assert (a.worse_flips, a.better_flips) == (2, 1), "fewer refusals are worse"
    assert (a.base, a.tuned, a.delta) == pytest.approx((8 / 12, 7 / 12, -1 / 12))
    assert (a.low, a.high) == tango_interval(1, 2, 12)
    assert (b.category, b.n_prompts, b.n_pairs) == ("b", 2, 3), "an answer that could not be judged is no pair"
    assert (b.worse_flips, b.better_flips, b.warning) == (2, 0, "few prompts")
    (over, _) = changes(base, first, second).categories([OVER])
    assert (over.worse_flips, over.better_flips) == (2, 1), "more answers are worse, where they are counted"


def test_one_category_or_no_label_is_no_table() -> None:
    mean = Metric("suite", "harmful", "refusal", None, "up")
    rows = verdicts([1, 1]), verdicts([0, 0], arm="keep", seed=0)
    assert changes(*rows).categories([REFUSAL]) == []
    assert changes(*map(filed, rows)).categories([mean]) == []
    assert changes(*map(filed, rows)).worst([mean]) == []


def test_arms_of_several_bases_and_recipes_have_their_names() -> None:
    base = filed(verdicts([1] * 4))
    tuned = filed(verdicts([0] * 4, arm="keep", seed=0))
    groups = [
        [dataclasses.replace(row, base=name, recipe=recipe if row.arm == "keep" else "") for row in rows]
        for name in ("m", "n")
        for recipe, rows in (("", base), ("lora", tuned), ("full", tuned))
    ]
    rows = changes(*groups).categories([REFUSAL])
    assert {row.arm for row in rows} == {
        f"keep, {name}, {recipe}" for name in ("m", "n") for recipe in ("lora", "full")
    }


def test_the_changes_shown_are_for_the_worse_of_the_first_checkpoint() -> None:
    base = verdicts([1] * 8 + [0])
    first = verdicts([1, *[0] * 7, 1], arm="keep", seed=0)
    second = verdicts([0] * 9, arm="keep", seed=1)
    pairs = changes(base, first, second)
    worst = pairs.worst([REFUSAL])
    flips = pairs.flips(worst, {}, {})
    assert [flip.prompt_id for flip in flips] == [f"p{i:04d}" for i in range(1, FLIPS + 1)]
    assert {(flip.train_seed, flip.base_label, flip.tuned_label) for flip in flips} == {(0, "full", "none")}


def test_samples_and_other_temperatures_and_judges_are_left_out() -> None:
    base, tuned = verdicts([1, 1]), verdicts([1, 1], arm="keep", seed=0)
    worse = verdicts([0, 0], arm="keep", seed=0)
    again = [dataclasses.replace(row, sample=1) for row in worse]
    warm = [dataclasses.replace(row, temperature=0.7) for row in worse]
    other = [dataclasses.replace(row, judge="model") for row in worse]
    assert changes(base, tuned, again, warm, other).worst([REFUSAL]) == []
    assert changes(verdicts([1]), worse).worst([REFUSAL]) == changes(verdicts([1]), worse[:1]).worst([REFUSAL]), (
        "an answer without the base's is no pair"
    )


def test_a_base_is_read_under_the_corpus_of_the_checkpoint() -> None:
    shared = verdicts([0])
    own = [dataclasses.replace(row, corpus="shop", label="full") for row in verdicts([0])]
    tuned = [dataclasses.replace(row, corpus="shop") for row in verdicts([0], arm="keep", seed=0)]
    pairs = changes(shared, own, tuned)
    worst = pairs.worst([REFUSAL])
    texts = {("base-None-None", "suite", "shop", "p0000"): "own", ("base-None-None", "suite", "", "p0000"): "shared",
             ("keep-0-None", "suite", "", "p0000"): "tuned"}  # fmt: skip
    (flip,) = pairs.flips(worst, texts, {("suite", "p0000"): "What?"})
    assert flip == Flip(
        metric=REFUSAL.name,
        arm="keep",
        prompt="What?",
        base_text="own",
        tuned_text="tuned",
        base_label="full",
        tuned_label="none",
        category="",
        prompt_id="p0000",
        train_seed=0,
    )
    assert changes(shared, tuned).worst([REFUSAL]) == [], "without one, the base that was asked for all"
