"""Keys and values of the tokens that a model has read, written in place: nothing is copied to add a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Columns, at least, that a buffer gets beyond those in use; else a quarter of these."""
Pair = tuple[Any, Any]
"""Tensors of keys and of values."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values (rows x heads x columns x width): views of buffers with room on the right.

    `DynamicLayer` copies all of them to make them one column longer. Here a new column is written behind the last one,
    columns on the left are dropped by moving the views, and rows that leave give their places to others. Where other
    code has put tensors of its own in place of the views, those are what the layer holds.
    """

    keys: Any
    values: Any

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._buffers: Pair | None = None
        self._views: Pair | None = None
        self._first = 0

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> Pair:
        """Write new columns of the rows that are there, and return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        new, held = (key_states, value_states), self.get_seq_length()
        end, count = self._first + held, key_states.shape[-2]
        buffers = self._own()
        if buffers is None or end + count > buffers[0].shape[-2]:
            buffers = self._reserve(new, len(key_states), held + count)
            if held:
                for buffer, old in zip(buffers, (self.keys, self.values), strict=True):
                    buffer[..., :held, :] = old
            end = held
        for buffer, states in zip(buffers, new, strict=True):
            buffer[: len(states), :, end : end + count] = states
        return self._show(len(key_states), end + count)

    def drop(self, columns: int) -> None:
        """Drop columns on the left."""
        if self._own() is None:
            self.keys, self.values = self.keys[..., columns:, :], self.values[..., columns:, :]
        else:
            end = self._first + self.get_seq_length()
            self._first += columns
            self._show(len(self.keys), end)

    def keep(self, rows: int, places: Any, moved: Any) -> None:
        """Keep as many rows, the first ones, after the rows `moved` were put into `places` (tensors of indices)."""
        for whole in (self.keys, self.values):
            if len(places):
                whole[places] = whole[moved]
        if self._own() is None:
            self.keys, self.values = self.keys[:rows], self.values[:rows]
        else:
            self._show(rows, self._first + self.get_seq_length())

    def join(self, others: Sequence[Any]) -> None:
        """Put the rows of other layers behind the own, aligned on the right; new columns on the left are zero."""
        parts: list[Pair] = [(layer.keys, layer.values) for layer in (self, *others)]
        rows = sum(len(keys) for keys, _ in parts)
        columns = max(keys.shape[-2] for keys, _ in parts)
        buffers, end = self._own(), self._first + self.get_seq_length()
        if buffers is None or rows > len(buffers[0]) or columns > end:
            buffers, end = self._reserve(parts[0], rows, columns), columns
        first, row = end - columns, 0
        for part in parts:
            for buffer, states in zip(buffers, part, strict=True):
                begin = end - states.shape[-2]
                own = buffer[row : row + len(states)]
                own[:, :, first:begin] = 0
                if own[:, :, begin:end].data_ptr() != states.data_ptr():
                    own[:, :, begin:end] = states
            row += len(part[0])
        self._first = first
        self._show(rows, end)

    def _own(self) -> Pair | None:
        """Return the buffers, if the keys and values are still views of them."""
        views = self._views
        return self._buffers if views and views[0] is self.keys and views[1] is self.values else None

    def _reserve(self, like: Pair, rows: int, columns: int) -> Pair:
        """Return new buffers of so many rows and columns, and some more columns; the old ones are let go."""
        more = columns + max(ROOM, columns // 4)
        keys, values = (states.new_empty(rows, states.shape[1], more, states.shape[3]) for states in like)
        self._buffers, self._first = (keys, values), 0
        return self._buffers

    def _show(self, rows: int, end: int) -> Pair:
        """Let keys and values be the first rows, up to the column `end` of the buffers; return them."""
        assert self._buffers is not None
        keys, values = (buffer[:rows, :, self._first : end] for buffer in self._buffers)
        self.keys, self.values = self._views = keys, values
        return keys, values


def written_in_place(cache: Any) -> Any:
    """Return an empty cache, all of whose layers keep everything, with layers that are written in place."""
    cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache
