"""Tables of verdicts as codes: formats, data frames, names, places of rows, numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import DataError, UsageError
from aftertune.ingest.logs import split_name
from aftertune.ingest.source_table import SourceTable, names_of, number_of

GOOD: dict[str, list[Any]] = {"checkpoint": ["b", "t"], "prompt": ["p", "p"], "metric": ["h", "h"], "value": [0, 1]}


def csv(path: Path, text: str, head: str = "checkpoint,prompt,metric,value") -> Path:
    path.write_text(f"{head}\n{text}", encoding="utf-8")
    return path


def jsonl(path: Path, *found: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


def frame(**changes: Any) -> pa.Table:
    return pa.table({**GOOD, **changes})


def cells(table: SourceTable, name: str) -> list[Any]:
    return [table.values(name)[code] for code in table.codes[name]]


# ---------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0.0), (True, 1.0), (False, 0.0), (-2.5, -2.5), ("1", 1.0), (" 0.5 ", 0.5), ("-1e-3", -0.001),
        ("+.5", 0.5), ("TRUE", 1.0), ("false ", 0.0), ("1_000", None), ("٣", None), ("0x1", None), ("inf", None),
        (math.inf, None), (-math.inf, None), ("1e999", None), ("1,5", None), ("--1", None), ("e", None), ("yes", None),
        ([1], None), ({}, None), (b"1", 1.0),
    ],
)  # fmt: skip
def test_a_number_is_finite_and_in_plain_digits(value: Any, number: float | None) -> None:
    assert number_of(value) == number


@pytest.mark.parametrize("value", [None, "", "  ", "nan", " NaN ", math.nan])
def test_what_is_empty_is_no_number_but_no_error(value: Any) -> None:
    number = number_of(value)
    assert number is not None
    assert math.isnan(number)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_own_text(number: float) -> None:
    assert number_of(repr(number)) == number == number_of(f"\t{number!r}\n")


# ---------------------------------------------------------------------------------------------- names


def test_a_name_before_the_path_is_split_off_unless_the_whole_is_a_path(tmp_path: Path) -> None:
    there = tmp_path / "a=b.csv"
    assert split_name(str(there)) == (f"{tmp_path}/a", Path("b.csv"))
    there.touch()
    assert split_name(str(there)) == ("", there)
    assert split_name(Path("x=y.csv")) == ("", Path("x=y.csv")), "a Path has no name"
    assert split_name("x=y=z.csv") == ("x", Path("y=z.csv"))
    assert split_name("=y.csv") == ("", Path("y.csv"))
    assert split_name("y.csv") == ("", Path("y.csv"))


def test_messages_name_the_first_source_and_count_the_others() -> None:
    assert names_of("n=a.csv") == "a.csv"
    assert names_of([Path("a.csv"), "b.csv", "c.csv"]) == "a.csv and 2 more"
    assert names_of([frame(), "b.csv"]) == "the data frame and 1 more"
    assert names_of(["a"] * 1002) == "a and 1,001 more"


def test_a_name_stands_for_the_one_checkpoint_of_its_file(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", "x,1,h,0\nx,2,h,1\n")
    assert cells(SourceTable(f"mine={path}"), "checkpoint") == ["mine", "mine"]
    csv(path, "x,1,h,0\ny,1,h,1\nz,1,h,1\n")
    with pytest.raises(UsageError) as caught:
        SourceTable(f"mine={path}")
    assert str(caught.value) == f"{path}: holds 3 checkpoints (x, y, ...): 'mine=' names one"


# ---------------------------------------------------------------------------------------------- columns


FLOATS = {"prompt": [1.0, 2.0], "cluster": [math.nan, 3.0], "seed": [1.0, 2.5]}


def test_whole_floats_are_read_as_whole_ids_in_a_frame_and_in_lines(tmp_path: Path) -> None:
    for table in (SourceTable(frame(**FLOATS)), SourceTable([frame(**FLOATS)])):
        assert (cells(table, "prompt"), cells(table, "cluster")) == (["1", "2"], [None, "3"])
    rows = [{**{name: column[i] for name, column in GOOD.items()}, "prompt": float(i)} for i in range(2)]
    assert cells(SourceTable(jsonl(tmp_path / "t.jsonl", *rows)), "prompt") == ["0", "1"]
    assert cells(SourceTable(frame(prompt=[1.5, 2.0])), "prompt") == ["1.5", "2.0"], "one is not whole: all stay"


def test_texts_of_every_width_bytes_and_dictionaries_are_texts() -> None:
    plain = cells(SourceTable(frame(prompt=["é", "ñ"])), "prompt")
    assert plain == ["é", "ñ"]
    for kind in (pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()):
        cast = pa.array(["é".encode(), "ñ".encode()] if "binary" in str(kind) else plain, kind)
        assert cells(SourceTable(frame(prompt=cast)), "prompt") == plain
    assert cells(SourceTable(frame(prompt=pa.array(plain).dictionary_encode())), "prompt") == plain


def test_a_dictionary_with_null_or_a_value_twice_has_one_code_for_each() -> None:
    indices = pa.array([0, 1, 2, 3, None], pa.int32())
    doubled = pa.DictionaryArray.from_arrays(indices, pa.array(["x", None, "x", ""]))
    five = {name: column[:1] * 5 for name, column in GOOD.items()} | {"prompt": list("abcde")}
    table = SourceTable(pa.table({**five, "cluster": doubled}))
    assert cells(table, "cluster") == ["x", None, "x", None, None]
    assert len(set(table.values("cluster"))) == len(table.values("cluster"))


def test_a_missing_optional_column_is_empty_everywhere() -> None:
    table = SourceTable(frame())
    for name in ("cluster", "seed", "repeat", "judge", "worse", "message_hash"):
        assert cells(table, name) == [None, None]


def test_files_are_joined_in_order_with_gaps_for_columns_that_one_lacks(tmp_path: Path) -> None:
    first = csv(tmp_path / "a.csv", "b,1,h,0\n")
    second = jsonl(tmp_path / "b.jsonl", {**{k: v[1] for k, v in GOOD.items()}, "prompt": 1, "seed": 4, "judge": "j"})
    table = SourceTable([first, second, frame(prompt=[1.0, 2.0])])
    assert cells(table, "prompt") == ["1", "1", "1", "2"]
    assert cells(table, "judge") == [None, "j", None, None]
    assert table.numbers("value").tolist() == [0, 1, 0, 1]
    assert table.path == f"{first} and 2 more"
    assert [table.where(row) for row in range(4)] == [
        f"{first}:2", f"{second}:1", "the data frame 3: row 1", "the data frame 3: row 2",
    ]  # fmt: skip


def test_unused_columns_are_a_warning_and_the_index_of_pandas_is_none(tmp_path: Path) -> None:
    assert SourceTable(frame(note=[1, 2], __index_level_0__=[0, 1])).warnings == [
        "the data frame: columns not used: note"
    ]
    path = csv(tmp_path / "a.csv", "b,1,h,0,x,y\n", "checkpoint,prompt,metric,value,zeta,alpha")
    assert SourceTable(path).warnings == [f"{path}: columns not used: zeta, alpha"]
    assert SourceTable(frame()).warnings == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"a": [1]}), "no column 'checkpoint' (there: a); it needs checkpoint, prompt, metric, value"),
        (pa.table({}), "no column 'checkpoint' (there: none); it needs checkpoint, prompt, metric, value"),
        (frame().slice(0, 0), "no rows in it"),
        (frame(value=[{}, {}]), "the column 'value' holds struct<>, not texts or numbers"),
        (frame(seed=[{"a": 1}] * 2), "the column 'seed' holds struct<a: int64>, not texts or numbers"),
        (frame().append_column("value", pa.array([1, 2])), "the column 'value' stands twice; rename one"),
    ],
)
def test_a_frame_that_is_no_table_of_verdicts_is_refused(table: pa.Table, said: str) -> None:
    with pytest.raises(DataError) as caught:
        SourceTable(table)
    assert str(caught.value) == f"the data frame: {said}"


def test_a_parquet_file_is_refused_as_a_frame_is(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for table, said in (
        (frame(value=[[1], [2]]), "the column 'value' holds list<"),
        (frame().slice(0, 0), "no rows in it"),
        (frame().append_column("metric", pa.array(["h", "i"])), "the column 'metric' stands twice; rename one"),
        (pa.table({"checkpoint": ["b"]}), "no column 'prompt' (there: checkpoint); it needs"),
    ):
        pq.write_table(table, path)
        with pytest.raises(DataError) as caught:
            SourceTable(path)
        assert str(caught.value).startswith(f"{path}: {said}")


def test_a_stream_that_breaks_is_one_line() -> None:
    class Broken:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise ValueError("first\nsecond")

    with pytest.raises(DataError) as caught:
        SourceTable(Broken())
    assert str(caught.value) == "the data frame: cannot be read as an Arrow table: first"


# ---------------------------------------------------------------------------------------------- rows


def test_a_place_is_that_of_the_file_after_rows_were_dropped(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", 'b,1,h,0\nb,"2\n2",h,0\nb,3,h,0\nb,4,h,bad\n')
    table = SourceTable(path)
    table.keep(np.array([False, True, False, True]))
    assert (table.where(0), table.where(1)) == (f"{path}:4", f"{path}:6")
    assert table.present("prompt") == ["2\n2", "4"]
    with pytest.raises(DataError, match=r"a\.csv:6: value = 'bad' is not a number"):
        table.numbers("value")
    table.keep(np.array([True, False]))
    assert table.numbers("value").tolist() == [0.0], "a bad value of a dropped row does no harm"


def test_blank_lines_of_json_lines_count_as_lines(tmp_path: Path) -> None:
    row = json.dumps({name: column[0] for name, column in GOOD.items()})
    (tmp_path / "t.jsonl").write_text(f"\n{row}\n\n{row}\n")
    table = SourceTable(tmp_path / "t.jsonl")
    assert (table.where(0), table.where(1)) == (f"{tmp_path}/t.jsonl:2", f"{tmp_path}/t.jsonl:4")


def test_the_first_bad_row_is_refused_with_a_cut_value() -> None:
    table = SourceTable(frame(prompt=["ok", "x" * 50]))
    with pytest.raises(DataError) as caught:
        table.refuse("prompt", lambda value: value != "ok", "is odd")
    assert str(caught.value) == f"the data frame: row 2: prompt = '{'x' * 40}' is odd"
    with pytest.raises(DataError, match=r"^the data frame: row 1: cluster is empty$"):
        table.refuse("cluster", lambda value: value is None, "is empty")
    table.refuse("prompt", lambda value: value == "none such", "is odd")


def test_empty_values_are_not_numbers_and_true_is_one() -> None:
    assert SourceTable(frame(value=[True, False])).numbers("value").tolist() == [1.0, 0.0]
    assert np.isnan(SourceTable(frame(value=[None, math.nan])).numbers("value")).all()


IDS = st.sampled_from(["", "a", "b", "1", "01", "é", "a,b", 'q"', "x\ny"])


@given(st.lists(st.tuples(IDS.filter(bool), IDS, st.sampled_from(["", "j"])), min_size=1, max_size=12))
def test_joint_codes_are_equal_where_all_columns_are(keys: list[tuple[str, str, str]]) -> None:
    prompts, clusters, judges = ([*column] for column in zip(*keys, strict=True))
    n = len(keys)
    columns = {"checkpoint": ["b"] * n, "prompt": prompts, "metric": ["h"] * n, "value": [0] * n}
    table = SourceTable(pa.table({**columns, "cluster": clusters, "judge": judges}))
    assert cells(table, "cluster") == [cluster or None for cluster in clusters]
    huge = (np.arange(n, dtype=np.int64) * 0, 2**31)
    for more in ((), (huge,), (huge, huge, huge)):
        code = table.joint(("prompt", "cluster", "judge"), *more)
        assert (code >= 0).all()
        assert [[a == b for b in code] for a in code] == [[a == b for b in keys] for a in keys]


def test_a_personal_value_in_a_bad_row_is_masked() -> None:
    table = SourceTable(frame(prompt=["ok", "Write to bo.velder@mail.org"]))
    with pytest.raises(DataError, match=r"row 2: prompt = 'Write to \[EMAIL\]' is odd"):
        table.refuse("prompt", lambda value: value != "ok", "is odd")
