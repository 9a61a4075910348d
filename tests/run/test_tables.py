"""Records as Arrow tables: which column has which type, and which texts, gaps and missing columns come back as what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.run.tables import records, schema, table

INT64 = st.integers(-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class Item:
    text: str
    kind: Literal["a", "b"]
    count: int
    share: float
    flag: bool
    note: str | None
    old: Optional[int]  # noqa: UP045 - plugins may write it so
    late: float | None = None
    last: str = "as before"


ITEMS = st.builds(
    Item, st.text(st.characters(codec="utf-8")), st.sampled_from(["a", "b"]), INT64, st.floats(allow_nan=False),
    st.booleans(), st.none() | st.text(st.characters(codec="utf-8")), st.none() | INT64,
    st.none() | st.floats(allow_nan=False),
)  # fmt: skip


def item(text: str = "t", note: str | None = None) -> Item:
    return Item(text, "a", 1, 0.5, True, note, None)


def test_columns_are_the_fields_in_order_with_their_types() -> None:
    assert schema(Item) == pa.schema(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("kind", pa.string(), nullable=False),
            pa.field("count", pa.int64(), nullable=False),
            pa.field("share", pa.float64(), nullable=False),
            pa.field("flag", pa.bool_(), nullable=False),
            pa.field("note", pa.string(), nullable=True),
            pa.field("old", pa.int64(), nullable=True),
            pa.field("late", pa.float64(), nullable=True),
            pa.field("last", pa.string(), nullable=False),
        ]
    )
    assert schema(Item).names == list(Item.__dataclass_fields__)


@given(st.lists(ITEMS, max_size=5))
@settings(deadline=None)
def test_records_come_back_as_they_were(rows: list[Item]) -> None:
    made = table(Item, rows)
    assert made.num_rows == len(rows)
    assert records(Item, made) == rows


def test_no_records_are_a_table_of_no_rows_with_every_column() -> None:
    made = table(Item, [])
    assert (made.num_rows, made.schema) == (0, schema(Item))
    assert records(Item, made) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"), ("\udfff\ud800", "\N{REPLACEMENT CHARACTER}" * 2), ("", ""), ("ä", "ä"),
     ("\ue000\ud7ff", "\ue000\ud7ff")],
)  # fmt: skip
def test_half_a_pair_becomes_the_replacement_character_and_nothing_else_does(text: str, kept: str) -> None:
    rows = [item(text, None), item("\ud900", ""), item("x", text)]
    (first, second, third) = records(Item, table(Item, rows))
    assert (first.text, first.note) == (kept, None)
    assert (second.text, second.note) == ("\N{REPLACEMENT CHARACTER}", "")
    assert (third.text, third.note) == ("x", kept)


def test_a_column_that_a_table_lacks_takes_its_default() -> None:
    early = table(Item, [item()]).drop_columns(["late", "last"])
    assert records(Item, early) == [item()]
    assert records(Item, early)[0].last == "as before"


def test_a_column_without_a_default_is_needed() -> None:
    with pytest.raises(KeyError, match="count"):
        records(Item, table(Item, [item()]).drop_columns(["count"]))


def test_columns_are_known_by_name_and_others_left_out() -> None:
    made = table(Item, [item("one"), item("two")])
    turned = made.select(list(reversed(made.column_names))).append_column("newer", pa.array([1, 2]))
    assert records(Item, turned) == [item("one"), item("two")]


def test_equal_texts_are_one_object_over_chunks_and_gaps() -> None:
    made = pa.concat_tables([table(Item, [item("same", "n"), item("same", None)]), table(Item, [item("same", "n")])])
    first, second, third = records(Item, made)
    assert first.text is second.text is third.text
    assert [row.note for row in (first, second, third)] == ["n", None, "n"]


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises((pa.ArrowInvalid, TypeError)):
        table(Item, [Item("t", "a", "many", 0.5, True, None, None)])  # type: ignore[arg-type]
