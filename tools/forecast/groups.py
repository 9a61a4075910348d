"""What counts as one: a training, and the corpora that share rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tools.forecast.table import Row

ONE_IN = 100
"""Rows of one corpus of which fewer than one is a row of another one do not make the two a group."""


def once(rows: Sequence[Row]) -> list[Row]:
    """Return each training once, in their order: of one that was asked after several epochs, the last."""
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        if (known := last.get(row.training)) is None or row.epochs > known.epochs:
            last[row.training] = row
    return [row for row in rows if last[row.training] is row]


def groups(corpora: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the group of each row, from the corpora that it holds rows of: all that are linked by such rows.

    A mixture of two corpora makes one group of both, and of whatever is mixed with either.
    """
    found: list[set[str]] = []
    for own in dict.fromkeys(corpora):
        linked = [each for each in found if each & set(own)]
        found = [each for each in found if each not in linked] + [set(own).union(*linked)]
    return [next(tuple(sorted(each)) for each in found if own[0] in each) for own in corpora]


def codes(corpora: Sequence[tuple[str, ...]]) -> NDArray[np.int64]:
    """Return the group of each row as a number."""
    return np.asarray(np.unique(["+".join(each) for each in groups(corpora)], return_inverse=True)[1], dtype=np.int64)
