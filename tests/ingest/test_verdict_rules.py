"""The rules that a table of verdicts is held to, and the columns that drift is given."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.deciding import policy as policies
from aftertune.errors import DataError, UsageError
from aftertune.ingest import verdicts

Row = dict[str, Any]
POLICY = policies.load("default")


def row(checkpoint: str, prompt: str = "p", value: Any = 0, metric: str = "h", **more: Any) -> Row:
    return {"checkpoint": checkpoint, "prompt": prompt, "metric": metric, "value": value, **more}


def read(found: list[Row], *tuned: str, base: str = "b", partial: bool = False) -> verdicts.Verdicts:
    names = list(dict.fromkeys(name for each in found for name in each))
    columns = {name: [each.get(name) for each in found] for name in names}
    for name, cells in columns.items():
        if any(isinstance(cell, str) for cell in cells):
            columns[name] = [cell if cell is None else str(cell) for cell in cells]
    table = pa.table(columns)
    stated = {each["metric"] for each in found if each.get("worse")}
    unstated = {each["metric"]: "up" for each in found if each["metric"] and each["metric"] not in stated}
    return verdicts.read(table, base, tuned or ("t",), POLICY, worse=unstated, allow_partial_overlap=partial)


def refusal(found: list[Row], *tuned: str, base: str = "b", partial: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        read(found, *tuned, base=base, partial=partial)
    said = str(caught.value)
    assert "\n" not in said
    return said


def column(found: verdicts.Verdicts, name: str) -> list[Any]:
    cells: list[Any] = found.table[name].to_pylist()
    return cells


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(("tuned", "twice"), [(["a", "c", "c"], "c"), (["c", "a", "c", "a"], "c"), (["a", "b"], "b")])
def test_the_name_that_stands_twice_is_the_one_named(tuned: list[str], twice: str) -> None:
    assert refusal([row("b")], *tuned).startswith(f"checkpoint '{twice}' is named twice;")


def test_a_near_miss_of_a_name_is_suggested_from_the_table() -> None:
    found = [row("b"), row("lora-1"), row("")]
    assert refusal(found, "lora-2") == "the data frame: no checkpoint 'lora-2' in it (did you mean 'lora-1'?)"
    assert refusal(found, "lora-1", base="zzz") == "the data frame: no checkpoint 'zzz' in it (known: b, lora-1)"


def test_other_checkpoints_are_left_out_with_all_their_faults() -> None:
    faulty = row("x", "", "words", "", seed="s", cluster="c", worse="sideways")
    read_ = read([faulty, row("b", value=1), row("t"), faulty], "t")
    assert (column(read_, "prompt_id"), column(read_, "value")) == (["p", "p"], [1.0, 0.0])
    assert [metric.label or metric.axis for metric in read_.metrics] == ["h"]


@pytest.mark.parametrize("name", ["prompt", "metric"])
def test_a_key_that_is_empty_is_refused_by_its_row(name: str) -> None:
    for empty in ("", None):
        assert refusal([row("b"), {**row("t"), name: empty}]) == f"the data frame: row 2: {name} is empty"


# ---------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("name", ["repeat", "judge", "metric", "prompt", "seed"])
def test_rows_that_differ_in_one_part_of_their_key_are_two(name: str) -> None:
    cells = (1, 2) if name == "seed" else ("x", "y")
    found = [{**row(checkpoint), name: cell} for checkpoint in "bt" for cell in cells]
    assert read(found).table.num_rows == 4
    again = refusal([*found, found[-1]])
    assert again.startswith("the data frame: row 5: a second row for checkpoint 't', prompt '")
    assert "'repeat', training seeds in 'seed' and instruments in 'judge'" in again


@pytest.mark.parametrize("name", ["value", "message_hash", "worse"])
def test_rows_that_differ_in_no_part_of_their_key_are_one_too_many(name: str) -> None:
    cells = {"value": (0, 1), "message_hash": ("x", "y"), "worse": ("up", None)}[name]
    found = [row("b"), *({**row("t"), name: cell} for cell in cells)]
    assert refusal(found).startswith("the data frame: row 3: a second row for checkpoint 't', prompt 'p', metric 'h'")


def test_the_first_repeated_row_in_the_table_is_named_whatever_its_key() -> None:
    found = [row("b", "z"), row("b", "a"), row("t", "z"), row("t", "a"), row("t", "a"), row("t", "z")]
    assert refusal(found).startswith("the data frame: row 5: a second row for checkpoint 't', prompt 'a'")


def test_a_prompt_has_one_cluster_within_a_metric_only() -> None:
    found = [row("b", cluster="x"), row("t", cluster="x")]
    other = [row(c, metric="g", cluster="y") for c in "bt"]
    assert column(read(found + other), "cluster") == ["x", "x", "y", "y"]
    said = refusal([row("b", cluster="x"), row("t", cluster=None)])
    assert said == (
        "the data frame: row 2: cluster = '', but prompt 'p' stands in 'x' in the data frame: row 1; give it one"
    )


# ---------------------------------------------------------------------------------------------- directions


def test_a_stated_direction_holds_for_all_rows_of_its_metric() -> None:
    found = [
        row("b", worse=None), row("t", worse="down"), row("b", metric="g", worse="up"), row("t", metric="g"),
        row("b", metric="f"), row("t", metric="f", worse=""),
    ]  # fmt: skip
    assert [(metric.axis, metric.worse) for metric in read(found).metrics] == [("f", "up"), ("g", "up"), ("h", "down")]


@pytest.mark.parametrize("word", ["Up", "higher", "1", "u p"])
def test_another_word_for_a_direction_is_refused(word: str) -> None:
    said = refusal([row("b"), row("t", worse=word)])
    assert said == f"the data frame: row 2: worse = '{word}' is neither 'up' nor 'down'"


def test_a_metric_with_two_directions_is_refused() -> None:
    said = refusal([row("b", worse="up"), row("t", worse="down")])
    assert "give it one" in said
    assert said.startswith("the data frame: row ")
    assert "other rows of h say" in said


# ---------------------------------------------------------------------------------------------- seeds and arms


@pytest.mark.parametrize("seed", ["-1", "1.5", "one", "inf", str(2**63), "1_0", "٣"])
def test_a_seed_is_a_whole_number_of_64_bits(seed: str) -> None:
    said = refusal([row("b"), row("t", seed=seed)])
    assert said == f"the data frame: row 2: seed = '{seed}' is not a whole number, 0 or more"


def test_a_seed_may_be_written_as_float_or_text() -> None:
    for cell in (3, 3.0, "3", "3.0", " 3e0 "):
        assert column(read([row("b"), row("t", seed=cell)]), "train_seed") == [None, 3]


def test_a_base_of_one_seed_is_the_base_of_all_and_one_of_several_keeps_them() -> None:
    tuned = [row("t", seed=0), row("t", seed=5)]
    single = read([row("b", seed=9), *tuned])
    assert column(single, "train_seed") == [None, 0, 5]
    assert column(single, "checkpoint") == ["b", "t seed 0", "t seed 5"]
    several = read([row("b", seed=0), row("b", seed=5), *tuned])
    assert column(several, "train_seed") == [0, 5, 0, 5]
    assert column(several, "checkpoint") == ["b seed 0", "b seed 5", "t seed 0", "t seed 5"]


def test_seeds_are_given_for_all_rows_of_a_name_or_none() -> None:
    said = refusal([row("b"), row("t", "p", seed=1), row("t", "q")])
    assert said == "the data frame: row 3: seed is empty, but other rows of 't' have one"


@pytest.mark.parametrize(
    ("names", "arms"),
    [
        ({"lora-s1": 1, "lora-s2": 2}, ["lora-s*", "lora-s*"]),
        ({"lora-01": 1, "lora-002": 2}, ["lora-*", "lora-*"]),
        ({"v1-s1": 1, "v1-s2": 2}, ["v1-s*", "v1-s*"]),
        ({"1/1": 1, "1/2": 2}, ["1/*", "1/*"]),
        ({"run10-s1-x": 1, "run10-s2-x": 2}, ["run10-s*-x", "run10-s*-x"]),
        ({"lora-s1": 1, "dpo-s2": 2}, ["lora-s1", "dpo-s2"]),
        ({"lora-s1": 1, "lora-s2": None}, ["lora-s1", "lora-s2"]),
        ({"lora-s1": 7, "lora-s2": 8}, ["lora-s1", "lora-s2"]),
        ({"x11": 1, "x12": 2}, ["x11", "x12"]),
        ({"lora-s11": 1, "lora-s21": 1}, ["lora-s11", "lora-s21"]),
        ({"s(1)+": 1, "s(2)+": 2, "other": None}, ["s(*)+", "s(*)+", "other"]),
        ({"base": None, "x": None}, ["base (tuned)", "x"]),
    ],
)
def test_names_that_differ_in_their_own_seed_share_an_arm(names: dict[str, int | None], arms: list[str]) -> None:
    found = read([row("b"), *(row(name, seed=seed) for name, seed in names.items())], *names)
    assert column(found, "arm") == ["base", *arms]
    assert column(found, "checkpoint") == ["b", *names]


def test_the_base_has_its_arm_whatever_its_name() -> None:
    found = read([row("m-1", seed=1), row("m-2", seed=2), row("m-3", seed=3)], "m-2", "m-3", base="m-1")
    assert column(found, "arm") == ["base", "m-*", "m-*"]


# ---------------------------------------------------------------------------------------------- overlap and the table


def test_a_metric_that_one_checkpoint_lacks_is_refused_or_allowed() -> None:
    found = [row("b"), row("t"), row("b", metric="g"), row("b", "q", metric="g")]
    said = refusal(found)
    assert said.startswith("the data frame: g: overlap too small: 't' has no row of it, another checkpoint has 2;")
    assert read(found, partial=True).table.num_rows == 4
    judged = [row("b", judge="x"), row("t", judge="x"), row("t", judge="y")]
    assert "'b' has no row of it by judge y, another checkpoint has 1;" in refusal(judged)


def test_what_drift_needs_of_a_row_is_all_there() -> None:
    found = read(
        [row("b", value=None, judge="j", message_hash="m", cluster="c"), row("t", value="2.5", judge="j", cluster="c")]
    )
    unjudged, judged = found.table.to_pylist()
    assert unjudged == {
        **dict.fromkeys(("recipe", "benchmark", "subset", "system", "corpus", "judge_version"), ""),
        **{"base": "b", "template": "base", "arm": "base", "train_seed": None, "epoch": None, "checkpoint": "b"},
        **{"prompt_id": "p", "cluster": "c", "temperature": 0.0, "judge": "j", "message_hash": "m", "axis": "h"},
        **{"label": None, "status": "abstain", "sample": judged["sample"], "value": unjudged["value"]},
        "author": "model",
    }
    assert unjudged["value"] != unjudged["value"]
    assert (judged["status"], judged["value"], judged["message_hash"]) == ("ok", 2.5, "")
    assert (judged["arm"], judged["base"]) == ("t", "b")


def test_equal_repeats_are_equal_samples_in_every_checkpoint() -> None:
    found = read([row(c, repeat=repeat) for c, repeats in (("b", "210"), ("t", "012")) for repeat in repeats])
    sample = column(found, "sample")
    assert len(set(sample)) == 3
    assert sample[:3] == sample[:2:-1]


CELLS = st.sampled_from([None, 0, 1, 2.5])


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.randoms())
def test_no_row_is_lost_changed_or_moved_to_another_prompt(pairs: list[tuple[Any, Any]], random: Any) -> None:
    found = [row(c, f"p{i}", pair[k]) for i, pair in enumerate(pairs) for k, c in enumerate("bt")]
    random.shuffle(found)
    read_ = read(found)
    arms = {"base": "b", "t": "t"}
    back = [
        (arms[arm], prompt, value if status == "ok" else None)
        for arm, prompt, value, status in zip(
            *(column(read_, name) for name in ("arm", "prompt_id", "value", "status")), strict=True
        )
    ]
    assert back == [(each["checkpoint"], each["prompt"], each["value"]) for each in found]


def test_an_error_of_content_is_a_data_error() -> None:
    with pytest.raises(DataError):
        read([row("b"), row("t", value="x")])
