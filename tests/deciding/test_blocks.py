"""Verdict tables by column, and the blocks that estimates are computed from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verdict_tables import OVER, REFUSAL, made, verdicts

from aftertune.deciding.blocks import blocks
from aftertune.deciding.verdict_table import Subject, VerdictTable, base_rows, own_base
from aftertune.errors import DataError, DesignError
from aftertune.records import Metric

VALUE = Metric("suite", "harmful", "refusal", None, "up")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=40))
def test_a_joint_code_orders_combinations_and_names_their_first_row(pairs: list[tuple[str, int]]) -> None:
    rows = [replace(verdicts([1], arm=arm, seed=seed)[0], prompt_id=f"p{i}") for i, (arm, seed) in enumerate(pairs)]
    table = VerdictTable(made(rows))
    code, firsts = table.joint(("arm", "train_seed"), table.where())
    distinct = sorted(set(pairs))
    assert code.tolist() == [distinct.index(pair) for pair in pairs]
    assert firsts.tolist() == [pairs.index(pair) for pair in distinct]
    assert [(table.at("arm", row), table.at("train_seed", row)) for row in firsts] == distinct


def test_rows_are_selected_by_value_and_an_unknown_value_selects_none() -> None:
    table = VerdictTable(made(verdicts([1, 0]), verdicts([0, 1, 1], arm="a", seed=3)))
    assert table.where(arm="a").tolist() == [2, 3, 4]
    assert table.where(arm="a", prompt_id="p0001").tolist() == [3]
    assert table.where(arm="nobody").tolist() == []
    assert table.equals("train_seed", None).tolist() == [True, True, False, False, False]
    assert table.column("prompt_id", table.where(arm="base")) == ["p0000", "p0001"]
    assert table.subject(2) == Subject("a", "lora", 3, None, "a-3-None")
    assert len(table) == 5
    assert VerdictTable.of(table) is table


def test_a_table_without_a_column_is_refused() -> None:
    with pytest.raises(DataError, match="no column 'judge'"):
        VerdictTable(made(verdicts([1])).drop_columns(["judge"]))


def test_encoding_does_not_depend_on_chunks_dictionaries_or_nulls() -> None:
    whole = made(verdicts([1, None, 0], arm="b"), verdicts([0, 1], arm="a"))
    chunked = pa.concat_tables([whole.slice(0, 2), whole.slice(2)])
    plain = pa.table({name: [value.as_py() for value in whole[name]] for name in whole.column_names}, whole.schema)
    for other in (chunked, plain):
        first, second = VerdictTable(whole), VerdictTable(other)
        assert first.values == second.values
        assert all(np.array_equal(first.codes[name], second.codes[name]) for name in first.codes)
    assert VerdictTable(whole).values["label"] == [None, "full", "none"]


def test_a_prompt_without_a_cluster_is_a_cluster_of_its_own() -> None:
    table = VerdictTable(made(verdicts([1, 0, 1, 1], clusters=["x", "", "x", ""])))
    first, alone, same, other = table.clusters(table.where()).tolist()
    assert first == same
    assert len({first, alone, other}) == 3


def test_a_subject_has_the_base_of_its_corpus_and_seed() -> None:
    subjects = [
        Subject("base", "", None, None, "b", "news"),
        Subject("base", "", None, None, "b", "mail"),
        Subject("a", "lora", 0, 1, "a", "mail"),
        Subject("a", "lora", 0, 1, "a", "chat"),
    ]
    bases = base_rows(subjects)
    assert bases == {("news", None): 0, ("mail", None): 1}
    assert own_base(subjects[2], bases) == 1
    assert own_base(subjects[3], bases) is None
    seeds = base_rows([Subject("base", "", seed, None, f"b{seed}") for seed in (4, 5)])
    assert own_base(Subject("a", "lora", 5, 1, "a"), seeds) == 1
    assert own_base(Subject("a", "lora", 6, 1, "a"), seeds) is None


def test_a_block_averages_samples_and_counts_unjudged_ones_as_the_worst() -> None:
    table = made(
        verdicts([1, 0]),
        verdicts([1, None], sample=1),
        verdicts([0, None], arm="a", seed=0),
        verdicts([1, None], arm="a", seed=0, sample=1),
    )
    (block,) = blocks(table, [REFUSAL])
    tuned, base = (next(i for i, s in enumerate(block.subjects) if s.arm == arm) for arm in ("a", "base"))
    assert block.n_asked[[base, tuned]].tolist() == [[2, 2], [2, 2]]
    assert block.n_judged[[base, tuned]].tolist() == [[2, 1], [2, 0]]
    assert block.mean[base].tolist() == [1.0, 0.0]
    assert block.mean[tuned, 0] == 0.5
    assert np.isnan(block.mean[tuned, 1])
    # Fewer refusals are worse, so that an unjudged answer counts as none in the worst case, as one in the best.
    assert block.worst[tuned].tolist() == [0.5, 0.0]
    assert block.best[tuned].tolist() == [0.5, 1.0]
    (over,) = blocks(table, [OVER])
    assert over.worst[tuned].tolist() == [0.5, 1.0]
    assert block.bases([tuned]) == [base]
    assert block.is_proportion


def test_the_bounds_of_a_number_hold_all_judged_values() -> None:
    table = made(verdicts([2.5, 0.5], value=True), verdicts([-1.0, None], value=True, arm="a", seed=0))
    (block,) = blocks(table, [VALUE])
    assert block.bounds == (-1.0, 2.5)
    assert block.width == 3.5
    assert not block.is_proportion
    assert np.nanmax(block.worst) == 2.5


def test_two_versions_of_a_judge_are_two_judges() -> None:
    table = made(verdicts([1, 0]), verdicts([1, 1], judge_version="2"))
    assert [block.judge for block in blocks(table, [REFUSAL])] == ["rule 1", "rule 2"]


def test_a_base_without_the_seed_of_a_checkpoint_is_refused() -> None:
    (block,) = blocks(made(verdicts([1], seed=1), verdicts([0], seed=2), verdicts([1], arm="a", seed=3)), [REFUSAL])
    tuned = next(i for i, subject in enumerate(block.subjects) if subject.arm == "a")
    with pytest.raises(DesignError, match="training seeds 1, 2, but not the 3 of 'a'"):
        block.bases([tuned])


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ((verdicts([1]), verdicts([0])), DataError, "two verdicts"),
        ((verdicts([1], clusters=["x"]), verdicts([1], arm="a", clusters=["y"])), DataError, "two clusters"),
        ((verdicts([1]), verdicts([1], checkpoint="other")), DesignError, "two checkpoints are called 'base'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(groups: tuple[list[object]], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        list(blocks(made(*groups), [REFUSAL]))  # type: ignore[arg-type]


def test_a_value_whose_square_overflows_is_refused() -> None:
    with pytest.raises(DataError, match="a value of 1e\\+200"):
        list(blocks(made(verdicts([1e200], value=True)), [VALUE]))
