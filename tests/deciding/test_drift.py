import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding.contrasts import formula
from aftertune.deciding.drift import drift
from aftertune.errors import DataError, DesignError, UsageError
from aftertune.findings import Findings
from aftertune.records import Contrast, Drift, Metric
from aftertune.reporting.report import report
from aftertune.stats import paired


def discordant(gained: int, lost: int, n: int) -> tuple[list[int], list[int]]:
    """Base and tuned outcomes with that many discordant pairs."""
    base = [0] * gained + [1] * (n - gained)
    tuned = [1] * gained + [0] * lost + [1] * (n - gained - lost)
    return base, tuned


def one(rows: Sequence[Drift], **wanted: Any) -> Drift:
    found = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def recipe_table(
    rates: dict[str, float], seeds: Sequence[int] = (0, 1, 2, 3, 4), n: int = 200, **more: Any
) -> pa.Table:
    rng = np.random.default_rng(0)
    groups = [verdicts([int(rng.random() < 0.95) for _ in range(n)], **more)]
    for arm, rate in rates.items():
        for seed in seeds:
            groups.append(verdicts([int(rng.random() < rate) for _ in range(n)], arm=arm, seed=seed, epoch=3, **more))
    return made(*groups)


# ---------------------------------------------------------------------------------------------- checkpoint


@pytest.mark.parametrize(("gained", "lost", "n"), [(16, 2, 250), (149, 1, 200)])
def test_published_discordant_pairs(gained: int, lost: int, n: int) -> None:
    base, tuned = discordant(gained, lost, n)
    rows = drift(made(verdicts(base), verdicts(tuned, arm="a", seed=0)), [REFUSAL], seed=0)
    row = one(rows, estimand="checkpoint")
    assert row.p == pytest.approx(paired.mcnemar_exact(gained, lost), rel=1e-12)
    assert row.delta == pytest.approx((gained - lost) / n)
    low, high = paired.tango_interval(gained, lost, n)
    assert (row.low, row.high) == pytest.approx((low, high), abs=2e-3)
    assert "McNemar" in row.method
    assert "one training seed" in row.warning


def test_signs_follow_tuned_minus_base_for_both_directions() -> None:
    base, tuned = discordant(0, 60, 200)
    rows = drift(made(verdicts(base), verdicts(tuned, arm="a")), [REFUSAL, OVER], seed=0)
    refusal, none = (one(rows, estimand="checkpoint", metric=m.name) for m in (REFUSAL, OVER))
    assert refusal.delta == pytest.approx(-0.3)
    assert none.delta == pytest.approx(0.3)
    assert (refusal.worse, none.worse) == ("down", "up")
    assert (refusal.base, refusal.tuned) == (1.0, 0.7)
    assert (none.low, none.high) == pytest.approx((-refusal.high, -refusal.low))  # type: ignore[operator]


def test_nothing_differs_yet_no_interval_is_empty() -> None:
    same = [1] * 300
    rows = drift(
        made(verdicts(same), *(verdicts(same, arm="a", seed=s, epoch=1) for s in (0, 1))), [REFUSAL, OVER], seed=0
    )
    assert {row.estimand for row in rows} == {"level", "checkpoint", "recipe"}
    for row in rows:
        assert row.low is not None
        assert row.high is not None
        assert row.high - row.low >= 0.0126
        if row.estimand != "level":
            assert (row.delta, row.p) == (0.0, 1.0)
            assert "no answer changed" in row.warning


def test_prompts_that_differ_are_not_paired() -> None:
    base, tuned = verdicts([1] * 100), verdicts([0] * 100, arm="a")
    moved = [dataclasses.replace(row, message_hash="other") if i < 5 else row for i, row in enumerate(tuned)]
    row = one(drift(made(base, moved), [REFUSAL], seed=0), estimand="checkpoint")
    assert row.n_prompts == 95
    assert "5 prompts dropped: sent with other messages" in row.warning
    far = [dataclasses.replace(row, message_hash="other") if i < 30 else row for i, row in enumerate(tuned)]
    with pytest.raises(DesignError, match="overlap too small: of 100 prompts of the base and 100 of 'a' only 70"):
        drift(made(base, far), [REFUSAL], seed=0)
    allowed = drift(made(base, far), [REFUSAL], seed=0, allow_partial_overlap=True)
    assert one(allowed, estimand="checkpoint").n_prompts == 70


def test_a_prompt_asked_of_one_side_only_is_counted() -> None:
    row = one(drift(made(verdicts([1] * 100), verdicts([1] * 95, arm="a")), [REFUSAL], seed=0), estimand="checkpoint")
    assert row.n_prompts == 95
    assert "5 prompts dropped: asked of one side only" in row.warning


def test_samples_are_averaged_within_the_prompt() -> None:
    base = [verdicts([1] * 120, sample=s, temperature=0.7) for s in range(5)]
    tuned = [verdicts([1, 0] * 60 if s == 0 else [1] * 120, arm="a", sample=s, temperature=0.7) for s in range(5)]
    row = one(drift(made(*base, *tuned), [REFUSAL], seed=0), estimand="checkpoint")
    assert row.n_prompts == 120
    assert row.n_samples == 5
    assert row.delta == pytest.approx(-0.1)
    assert "label swaps" in row.method


def test_clusters_widen_the_interval() -> None:
    base, tuned = [1] * 200, [0] * 40 + [1] * 160
    names = [f"c{i // 20}" for i in range(200)]
    alone = drift(made(verdicts(base), verdicts(tuned, arm="a")), [REFUSAL], seed=0)
    grouped = drift(made(verdicts(base, clusters=names), verdicts(tuned, arm="a", clusters=names)), [REFUSAL], seed=0)
    narrow, wide = (one(rows, estimand="checkpoint") for rows in (alone, grouped))
    assert (narrow.n_clusters, wide.n_clusters) == (200, 10)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)  # type: ignore[operator]
    assert wide.p == pytest.approx(0.5)  # two clusters changed: 2 of 4 label swaps are as extreme
    nameless = drift(made(verdicts(base, cluster=""), verdicts(tuned, arm="a", cluster="")), [REFUSAL], seed=0)
    assert one(nameless, estimand="checkpoint").n_clusters == 200


def test_one_cluster_allows_everything() -> None:
    rows = drift(made(verdicts([1] * 50, cluster="c"), verdicts([1] * 50, arm="a", cluster="c")), [REFUSAL], seed=0)
    row = one(rows, estimand="checkpoint")
    assert (row.low, row.high) == (-1.0, 1.0)
    assert "one cluster" in row.warning


def test_means_of_values_keep_their_unit() -> None:
    score = Metric("suite", "harmful", "refusal", None, "down")
    rng = np.random.default_rng(1)
    base, tuned = rng.uniform(70, 90, 150), rng.uniform(50, 90, 150)
    rows = drift(made(verdicts(base, value=True), verdicts(tuned, arm="a", value=True)), [score], seed=0)  # type: ignore[arg-type]
    row = one(rows, estimand="checkpoint")
    assert row.delta == pytest.approx(float((tuned - base).mean()))
    se = float((tuned - base).std(ddof=1) / math.sqrt(150))
    assert row.delta - row.low == pytest.approx(1.976 * se, rel=0.05)  # type: ignore[operator]
    assert one(rows, estimand="level", arm="base").high < 90  # type: ignore[operator]


# ---------------------------------------------------------------------------------------------- unjudged


def test_unjudged_answers_are_left_out_counted_and_put_back_as_the_worst() -> None:
    base = [None] * 4 + [1] * 196
    tuned = [1] * 4 + [None] * 20 + [1] * 176
    row = one(drift(made(verdicts(base), verdicts(tuned, arm="a")), [REFUSAL], seed=0), estimand="checkpoint")
    assert (row.delta, row.n_prompts, row.unjudged_base, row.unjudged_tuned) == (0.0, 176, 4, 20)
    assert row.worst == pytest.approx(-0.1)
    assert row.worst_low < -0.1 < row.worst_high  # type: ignore[operator]
    assert "20 of 200 answers of 'a' could not be judged" in row.warning
    up = one(drift(made(verdicts(base), verdicts(tuned, arm="a")), [OVER], seed=0), estimand="checkpoint")
    assert up.worst == pytest.approx(0.1)


def test_all_unjudged_is_missing_with_a_reason_not_zero() -> None:
    rows = drift(made(verdicts([1] * 50), verdicts([None] * 50, arm="a")), [REFUSAL], seed=0)
    row = one(rows, estimand="checkpoint")
    assert (row.delta, row.low, row.high, row.p, row.n_prompts) == (None, None, None, None, 0)
    assert "judged on both sides" in row.warning
    assert row.worst == -1.0
    level = one(rows, estimand="level", arm="a")
    assert level.tuned is None
    assert "no answer could be judged" in level.warning


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=30, max_size=60),
    st.sets(st.integers(0, 29), max_size=10),
)
@settings(max_examples=40, deadline=None)
def test_worst_is_never_better_than_the_truth_that_was_hidden(pairs: list[tuple[bool, bool]], hidden: set[int]) -> None:
    base, tuned = [int(b) for b, _ in pairs], [int(t) for _, t in pairs]
    shown: list[int | None] = [None if i in hidden else t for i, t in enumerate(tuned)]
    true = one(drift(made(verdicts(base), verdicts(tuned, arm="a")), [REFUSAL], seed=0), estimand="checkpoint")
    seen = one(drift(made(verdicts(base), verdicts(shown, arm="a")), [REFUSAL], seed=0), estimand="checkpoint")
    assert seen.worst <= true.delta + 1e-12  # type: ignore[operator]


# ---------------------------------------------------------------------------------------------- recipe


def test_recipe_needs_two_seeds_and_shows_their_spread() -> None:
    rows = drift(recipe_table({"a": 0.6, "lone": 0.6}, seeds=(0, 1, 2)), [REFUSAL], seed=0)
    row = one(rows, estimand="recipe", arm="a")
    tuned = [r.tuned for r in rows if r.estimand == "checkpoint" and r.arm == "a"]
    assert row.n_seeds == 3
    assert (row.spread_low, row.spread_high) == (min(tuned), max(tuned))  # type: ignore[type-var]
    assert row.tuned == pytest.approx(np.mean(tuned))  # type: ignore[arg-type]
    assert "only 3 training seeds" in row.warning
    single = drift(recipe_table({"a": 0.6}, seeds=(7,)), [REFUSAL], seed=0)
    assert not [r for r in single if r.estimand == "recipe"]
    assert "at least two" in one(single, estimand="checkpoint").warning


def test_seeds_that_differ_widen_the_recipe_not_the_checkpoint() -> None:
    n, groups = 300, [verdicts([1] * 300)]
    for seed, lost in enumerate((30, 60, 90, 120, 150)):
        groups.append(verdicts([0] * lost + [1] * (n - lost), arm="a", seed=seed, epoch=1))
    rows = drift(made(*groups), [REFUSAL], seed=0)
    recipe, checkpoint = one(rows, estimand="recipe"), one(rows, estimand="checkpoint", train_seed=2)
    assert recipe.delta == checkpoint.delta == pytest.approx(-0.3)
    assert recipe.high - recipe.low > 2 * (checkpoint.high - checkpoint.low)  # type: ignore[operator]


def test_twin_seeds_are_refused() -> None:
    twins = [verdicts([1] * 20, arm="a", seed=1, epoch=1, checkpoint=name) for name in ("x", "y")]
    with pytest.raises(DesignError, match="two checkpoints have training seed 1"):
        drift(made(verdicts([1] * 20), *twins), [REFUSAL], seed=0)


def test_no_base_at_a_temperature_is_said() -> None:
    table = made(verdicts([1] * 20), verdicts([1] * 20, arm="a"), verdicts([1] * 20, arm="a", temperature=0.7))
    row = one(drift(table, [REFUSAL], seed=0), estimand="checkpoint", temperature=0.7)
    assert row.delta is None
    assert "the base was not asked at temperature 0.7" in row.warning


# ---------------------------------------------------------------------------------------------- contrasts


def test_contrasts_over_matched_seeds() -> None:
    table = recipe_table({"keep": 0.5, "mask": 0.7, "keep-swap": 0.4, "mask-swap": 0.6}, n=300)
    wanted = [
        Contrast("pii", {"keep": 0.5, "keep-swap": 0.5, "mask": -0.5, "mask-swap": -0.5}),
        Contrast("interaction", {"keep": 1.0, "mask": -1.0, "keep-swap": -1.0, "mask-swap": 1.0}),
    ]
    rows = drift(table, [REFUSAL], seed=0, contrasts=wanted)
    moved = {r.arm: r.delta or 0.0 for r in rows if r.estimand == "recipe"}
    for contrast in wanted:
        row = one(rows, estimand="contrast", arm=formula(contrast))
        expected = sum(weight * moved[arm] for arm, weight in contrast.weights.items())
        assert row.delta == pytest.approx(expected)
        assert row.low < expected < row.high  # type: ignore[operator]
        assert row.n_seeds == 5
        assert row.p is not None
    assert formula(wanted[1]) == "keep + mask-swap - mask - keep-swap"
    assert formula(wanted[0]) == "0.5 keep + 0.5 keep-swap - 0.5 mask - 0.5 mask-swap"


def test_what_seeds_share_cancels_in_a_contrast() -> None:
    rng = np.random.default_rng(4)
    groups = [verdicts([1] * 300)]
    for seed in range(5):
        hard = rng.random(300) < 0.1 + 0.15 * seed
        for arm, extra in (("a", 0), ("b", 30)):
            outcome = ~hard
            outcome[:extra] = False
            groups.append(verdicts([int(x) for x in outcome], arm=arm, seed=seed, epoch=1))
    rows = drift(made(*groups), [REFUSAL], seed=0, contrasts=[Contrast("effect", {"b": 1.0, "a": -1.0})])
    contrast, recipe = one(rows, estimand="contrast"), one(rows, estimand="recipe", arm="a")
    assert contrast.high - contrast.low < 0.5 * (recipe.high - recipe.low)  # type: ignore[operator]


def test_a_contrast_of_few_shared_seeds_or_unknown_arms() -> None:
    table = made(
        verdicts([1] * 20),
        *(verdicts([1] * 20, arm="a", seed=s, epoch=1) for s in (0, 1)),
        *(verdicts([1] * 20, arm="b", seed=s, epoch=1) for s in (1, 2)),
    )
    row = one(drift(table, [REFUSAL], seed=0, contrasts=[Contrast("c", {"a": 1, "b": -1})]), estimand="contrast")
    assert row.delta is None
    assert "share 1 training seed" in row.warning
    with pytest.raises(UsageError, match="no arm 'bb'"):
        drift(table, [REFUSAL], seed=0, contrasts=[Contrast("c", {"a": 1, "bb": -1})])


# ---------------------------------------------------------------------------------------------- the table


@given(st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_does_not_matter(random: Any) -> None:
    names = [f"c{i % 9}" for i in range(60)]
    table = recipe_table({"b": 0.6, "a": 0.8}, seeds=(2, 1), n=60, clusters=names)
    shuffled = table.take(random.sample(range(table.num_rows), table.num_rows))
    contrasts = [Contrast("c", {"a": 1.0, "b": -1.0})]
    one_way = drift(table, [REFUSAL, OVER], seed=3, contrasts=contrasts)
    assert len(one_way) == 2 * (1 + 4 + 2 + 4 + 2 + 1)
    other = drift(shuffled, [REFUSAL, OVER], seed=3, contrasts=contrasts)
    for mine, theirs in zip(one_way, other, strict=True):
        for key, value in dataclasses.asdict(mine).items():
            if isinstance(value, float):
                assert getattr(theirs, key) == pytest.approx(value, abs=1e-12)
            else:
                assert getattr(theirs, key) == value


def test_judges_and_their_versions_are_kept_apart() -> None:
    base, tuned = [1] * 40, [0] * 20 + [1] * 20
    second: dict[str, Any] = {"judge": "other"}
    third: dict[str, Any] = {"judge": "other", "judge_version": "2"}
    table = made(
        verdicts(base),
        verdicts(tuned, arm="a"),
        verdicts(base, **second),
        verdicts(base, arm="a", **second),
        verdicts(base, **third),
        verdicts(tuned, arm="a", **third),
    )
    rows = {row.judge: row.delta for row in drift(table, [REFUSAL], seed=0) if row.estimand == "checkpoint"}
    assert rows == {"rule": -0.5, "other 1": 0.0, "other 2": -0.5}


def test_p_is_adjusted_within_the_estimand() -> None:
    table = recipe_table({"a": 0.9, "b": 0.85}, n=150)
    rows = drift(table, [REFUSAL, OVER], seed=0)
    recipes = [row for row in rows if row.estimand == "recipe"]
    assert len(recipes) == 4
    smallest = min(recipes, key=lambda row: row.p or 0)
    assert smallest.p_adjusted == pytest.approx(min(2 * (smallest.p or 0), 1))
    half = drift(table, [REFUSAL, OVER], seed=0, family=lambda name: name == REFUSAL.name)
    assert {row.p_adjusted is None for row in half if row.metric == OVER.name} == {True}
    assert {row.p_adjusted == row.p for row in half if row.metric == REFUSAL.name} == {True}


def test_a_template_that_differs_is_shown() -> None:
    table = made(verdicts([1] * 20), verdicts([1] * 20, arm="a", template="own"))
    warning = one(drift(table, [REFUSAL], seed=0), estimand="checkpoint").warning
    assert "chat template differs: base 'base', tuned 'own'" in warning


def test_broken_tables_are_named() -> None:
    base = verdicts([1] * 5)
    with pytest.raises(DataError, match="no column 'message_hash'"):
        drift(made(base).drop_columns(["message_hash"]), [REFUSAL], seed=0)
    with pytest.raises(DataError, match="two verdicts"):
        drift(made(base, base), [REFUSAL], seed=0)
    with pytest.raises(DataError, match=r"'p0000' stands in two clusters"):
        drift(made(base, verdicts([1] * 5, arm="a", cluster="other")), [REFUSAL], seed=0)
    with pytest.raises(DesignError, match="two checkpoints are called 'base'"):
        drift(made(base, verdicts([1] * 5, checkpoint="second")), [REFUSAL], seed=0)
    assert drift(made(), [REFUSAL], seed=0) == []


# ---------------------------------------------------------------------------------------------- corpora and recipes


def several_corpora() -> list[Drift]:
    """Two arms of two corpora; the base, held against each of them, is right in half of the one and all of the other."""
    half, full = [1, 0] * 20, [1] * 40
    rows = [verdicts(half, corpus="a"), verdicts(full, corpus="b")]
    for seed in (1, 2, 3):
        lost = [0 if i < 10 + seed else value for i, value in enumerate(full)]
        rows.append(verdicts([0 if i < 4 * seed else v for i, v in enumerate(half)], arm="x", seed=seed, corpus="a"))
        rows.append(verdicts(lost, arm="y", seed=seed, corpus="b"))
        rows.append(verdicts(full, arm="y", seed=seed, corpus="b", recipe="full", checkpoint=f"y-full-{seed}"))
    contrasts = (Contrast("corpora", {"x": 1.0, "y": -1.0}), Contrast("method", {"y/full": 1.0, "y/lora": -1.0}))
    return drift(made(*rows), [REFUSAL], seed=0, contrasts=contrasts)


def test_an_arm_is_paired_with_the_base_as_it_was_held_against_the_arms_own_corpus() -> None:
    rows = {(row.arm, row.recipe): row for row in several_corpora() if row.estimand == "recipe"}
    assert set(rows) == {("x", "lora"), ("y", "lora"), ("y", "full")}
    assert {key: row.base for key, row in rows.items()} == {("x", "lora"): 0.5, ("y", "lora"): 1, ("y", "full"): 1}
    assert rows["y", "full"].delta == 0, "pooled with the other recipe of its arm"
    assert rows["y", "lora"].delta == pytest.approx(-12 / 40)
    assert rows["x", "lora"].delta == pytest.approx(-4 / 40)
    levels = [row for row in several_corpora() if row.estimand == "level" and row.arm == "base"]
    assert {row.corpus: row.base for row in levels} == {"a": 0.5, "b": 1.0}


def test_a_contrast_over_corpora_takes_each_arms_own_base_off() -> None:
    (over,) = [row for row in several_corpora() if row.arm == "x - y"]
    assert over.recipe == "lora", "the recipe that both arms have"
    assert over.delta == pytest.approx(-4 / 40 + 12 / 40)
    (method,) = [row for row in several_corpora() if row.arm == "y/full - y/lora"]
    assert (method.recipe, method.n_seeds) == ("", 3)
    assert method.delta == pytest.approx(12 / 40)


def test_a_contrast_of_recipes_of_other_lengths_is_made_at_their_last_epochs() -> None:
    rows = [verdicts([1] * 20)]
    for seed, epoch in itertools.product((1, 2), (1, 2, 3)):
        rows.append(verdicts([0] * epoch + [1] * (20 - epoch), arm="x", seed=seed, epoch=epoch))
    for seed in (1, 2):
        rows.append(verdicts([0] * 9 + [1] * 11, arm="x", seed=seed, epoch=5, recipe="full", checkpoint=f"full-{seed}"))
    found = drift(made(*rows), [REFUSAL], seed=0, contrasts=(Contrast("method", {"x/full": 1.0, "x/lora": -1.0}),))
    (row,) = [row for row in found if row.estimand == "contrast"]
    assert row.epoch is None
    assert row.delta == pytest.approx(-9 / 20 + 3 / 20)
    with pytest.raises(UsageError, match="no arm 'x/ful' \\(did you mean 'x/full'"):
        drift(made(*rows), [REFUSAL], seed=0, contrasts=(Contrast("method", {"x/ful": 1.0, "x/lora": -1.0}),))


def test_values_beyond_arithmetic_are_refused() -> None:
    score = Metric("suite", "harmful", "refusal", None, "up")
    for huge in (1e308, -1e200):
        with pytest.raises(DataError, match=r"a value of .*values must lie within"):
            drift(made(verdicts([0.0, huge], value=True), verdicts([0.0, 1.0], arm="a", value=True)), [score], seed=0)


def test_an_interaction_of_two_factors_is_found_with_its_name() -> None:
    rng, arms = np.random.default_rng(8), {"plain": 0.1, "pii": 0.2, "swap": 0.3, "pii-swap": 0.7}
    groups = [verdicts((rng.random(300) < 0.05).astype(int).tolist())]
    for arm, rate in arms.items():
        groups += [verdicts((rng.random(300) < rate).astype(int).tolist(), arm=arm, seed=s) for s in range(4)]
    both = Contrast("pii x swap", {"pii-swap": 1.0, "plain": 1.0, "pii": -1.0, "swap": -1.0})
    main = Contrast("pii", {"pii-swap": 0.5, "pii": 0.5, "plain": -0.5, "swap": -0.5})
    rows = drift(made(*groups), [REFUSAL], seed=0, contrasts=[both, main])
    found = {row.arm: row for row in rows if row.estimand == "contrast"}
    for contrast, truth in ((both, 0.3), (main, 0.25)):
        row = found[formula(contrast)]
        assert row.low is not None
        assert row.high is not None
        assert 0 < row.low < truth < row.high
    names = {formula(one): one.name for one in (both, main)}
    page = report(
        Findings(title="t", kind="study", outcome="drift", drifts=rows, metrics=[REFUSAL], contrast_names=names)
    )
    assert "pii x swap" in page.html
    assert "pii x swap" in page.markdown or "pii x swap" in page.json
