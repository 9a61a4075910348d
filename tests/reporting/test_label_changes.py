"""What changed between base and tuned checkpoint: all of it counted, a sample shown; each pair once, each text its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding.verdict_table import VerdictTable
from aftertune.findings import Flip, FlipCount, UnjudgedAnswers
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
    assert changes(*map(filed, rows)).examples([mean], 0) == []
    assert changes(*map(filed, rows)).counts([mean]) == []


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


def drawn(*groups: list[Verdict], seed: int = 0, metric: Metric = REFUSAL) -> list[tuple[str, int | None]]:
    """Prompt and training seed of each example."""
    pairs = changes(*groups)
    flips = pairs.flips(pairs.examples([metric], seed), {}, {})
    return [(flip.prompt_id, flip.train_seed) for flip in flips]


def test_flips_are_counted_all_over_all_seeds() -> None:
    base = verdicts([1] * 30 + [0] * 10)
    first = verdicts([0] * 20 + [1] * 20, arm="keep", seed=0)
    second = verdicts([0] * 12 + [1] * 18 + [None] * 5 + [0] * 5, arm="keep", seed=1)
    other = verdicts([1] * 30 + [0] * 10, arm="mild", seed=0)
    keep, mild = changes(base, first, second, other).counts([REFUSAL])
    assert keep == FlipCount(
        metric=REFUSAL.name, arm="keep", worse=32, better=10, other=0, n_pairs=75, n_prompts=40, n_checkpoints=2
    )
    assert (mild.worse, mild.better, mild.n_pairs, mild.n_checkpoints) == (0, 0, 40, 1), "none is a count too"
    (over,) = changes(base, first).counts([OVER])
    assert (over.worse, over.better) == (20, 10), "in the metric's own direction"


def test_changes_between_labels_that_a_metric_does_not_count_are_told_apart() -> None:
    base = [dataclasses.replace(row, label="partial") for row in verdicts([0, 0, 0, 0])]
    tuned = verdicts([0, 0, 1, None], arm="keep", seed=0)
    (row,) = changes(base, tuned).counts([REFUSAL])
    assert (row.worse, row.better, row.other, row.n_pairs) == (0, 1, 2, 3)


def test_every_sample_is_a_pair_and_an_epoch_before_the_last_is_none() -> None:
    def sampled(outcomes: list[int], sample: int, **more: Any) -> list[Verdict]:
        return verdicts(outcomes, sample=sample, **more)

    base = sampled([1, 1], 0) + sampled([1, 0], 1)
    tuned = sampled([0, 1], 0, arm="keep", seed=0, epoch=2) + sampled([0, 0], 1, arm="keep", seed=0, epoch=2)
    early = sampled([0, 0], 0, arm="keep", seed=0, epoch=1) + sampled([0, 0], 1, arm="keep", seed=0, epoch=1)
    (row,) = changes(base, tuned, early).counts([REFUSAL])
    assert (row.worse, row.better, row.n_pairs, row.n_prompts, row.n_checkpoints) == (2, 0, 4, 2, 1)
    assert drawn(base, tuned, early) == [("p0000", 0), ("p0000", 0)]


def test_examples_are_a_seeded_sample_over_all_seeds() -> None:
    base = verdicts([1] * 60)
    groups = [base, *(verdicts([0] * 60, arm="keep", seed=seed) for seed in range(3))]
    draws = [drawn(*groups, seed=seed) for seed in range(20)]
    for draw in draws:
        assert len(draw) == len(set(draw)) == FLIPS
        assert {seed for _, seed in draw} == {0, 1, 2}, "each checkpoint gives one before any gives a third"
    assert draws[0] == drawn(*reversed(groups), seed=0), "whatever the order of the rows"
    assert len({tuple(draw) for draw in draws}) == 20
    shown = {prompt for draw in draws for prompt, _ in draw}
    assert max(shown) > "p0050", "not the first ones"
    assert len(shown) > 40


def test_examples_are_for_the_worse_and_no_more_than_there_are() -> None:
    base = verdicts([1] * 8 + [0])
    first = verdicts([1, *[0] * 2, *[1] * 6], arm="keep", seed=0)
    second = verdicts([1] * 9, arm="keep", seed=1)
    assert drawn(base, first, second) == [("p0001", 0), ("p0002", 0)]
    pairs = changes(base, first)
    (flip, _) = pairs.flips(pairs.examples([REFUSAL], 0), {}, {})
    assert (flip.base_label, flip.tuned_label) == ("full", "none")


@given(
    st.lists(st.lists(st.sampled_from([0, 1, None]), min_size=12, max_size=12), min_size=2, max_size=5),
    st.integers(0, 3),
)
def test_counts_are_those_of_a_loop_and_examples_are_among_them(tables: list[list[int | None]], seed: int) -> None:
    before, *after = tables
    groups = [verdicts(row, arm="keep", seed=number) for number, row in enumerate(after)]
    pairs = [(old, new, f"p{i:04d}", number)
             for number, row in enumerate(after) for i, (old, new) in enumerate(zip(before, row, strict=True))
             if old is not None and new is not None]  # fmt: skip
    counts = changes(verdicts(before), *groups).counts([REFUSAL])
    assert [(row.worse, row.better, row.n_pairs) for row in counts] == [
        (sum(old > new for old, new, *_ in pairs), sum(old < new for old, new, *_ in pairs), len(pairs))
    ] * bool(pairs)
    worse = {(prompt, number) for old, new, prompt, number in pairs if old > new}
    examples = drawn(verdicts(before), *groups, seed=seed)
    assert set(examples) <= worse
    assert len(examples) == len(set(examples)) == min(FLIPS, len(worse))


def test_other_temperatures_and_judges_are_left_out() -> None:
    base, tuned = verdicts([1, 1]), verdicts([1, 1], arm="keep", seed=0)
    worse = verdicts([0, 0], arm="keep", seed=0)
    warm = [dataclasses.replace(row, temperature=0.7) for row in worse]
    other = [dataclasses.replace(row, judge="model") for row in worse]
    assert drawn(base, tuned, warm, other) == []
    assert drawn(verdicts([1]), worse) == [("p0000", 0)], "an answer without the base's is no pair"


def test_an_answer_is_unjudged_once_however_many_metrics_miss_it() -> None:
    base = verdicts([1, None, 1])
    tuned = verdicts([None, None, 1], arm="keep", seed=0) + verdicts([1, 1, None], arm="keep", seed=1)
    found = changes(base, tuned).unjudged([REFUSAL, OVER])
    assert found == UnjudgedAnswers(base=1, of_base=3, tuned=3, of_tuned=6)
    assert changes(base, tuned).unjudged([]) == UnjudgedAnswers(0, 0, 0, 0)


def test_a_base_is_read_under_the_corpus_of_the_checkpoint() -> None:
    shared = verdicts([0])
    own = [dataclasses.replace(row, corpus="shop", label="full") for row in verdicts([0])]
    tuned = [dataclasses.replace(row, corpus="shop") for row in verdicts([0], arm="keep", seed=0)]
    pairs = changes(shared, own, tuned)
    worst = pairs.examples([REFUSAL], 0)
    base, keep = ("base-None-None", "suite"), ("keep-0-None", "suite")
    texts = {(*base, "shop", "p0000", 0): "own", (*base, "", "p0000", 0): "shared", (*keep, "", "p0000", 0): "tuned",
             (*keep, "", "p0000", 1): "another sample"}  # fmt: skip
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
    assert drawn(shared, tuned) == [], "without one, the base that was asked for all"
