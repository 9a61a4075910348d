"""Tables of records: Arrow in memory and Parquet on disk, columns in the order of a record's fields."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import pyarrow as pa

Row = TypeVar("Row")


def schema(cls: type[Any]) -> pa.Schema:
    """Return the Arrow schema of a record's table: its fields in order, nullable where None may be."""
    import pyarrow as pa

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    columns = []
    for name, hint in typing.get_type_hints(cls).items():
        options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
        nullable = type(None) in options
        own = next(option for option in options if option is not type(None))
        kind = str if typing.get_origin(own) is typing.Literal else own
        columns.append(pa.field(name, kinds[kind], nullable=nullable))
    return pa.schema(columns)


def table(cls: type[Any], rows: Sequence[Any]) -> pa.Table:
    """Return records of class `cls` as an Arrow table (rows x fields)."""
    import pyarrow as pa

    shape = schema(cls)
    return pa.table(
        [_column([getattr(row, name) for row in rows], shape.field(name).type) for name in shape.names], shape
    )


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:  # lone surrogates, which UTF-8 cannot hold: each becomes U+FFFD
        return pa.array(
            [re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", v) if v else v for v in values], type=kind
        )


def records(cls: type[Row], rows: pa.Table) -> list[Row]:
    """Return a table's rows as records of class `cls`; a column that the table lacks takes its default."""
    later = {f.name for f in dataclasses.fields(cast(Any, cls)) if f.default is not dataclasses.MISSING}
    names = [name for name in schema(cls).names if name in rows.column_names or name not in later]
    columns = [_shared(rows.column(name)) for name in names]
    return [cls(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _shared(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values; equal texts are one object, since most columns hold few different ones."""
    if column.type != "string":
        return list(column.to_pylist())
    coded = column.combine_chunks().dictionary_encode()
    values = [*coded.dictionary.to_pylist(), None]
    return [values[-1 if code is None else code] for code in coded.indices.to_pylist()]
