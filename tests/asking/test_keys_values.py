"""Keys and values that are written in place are those that copying would give."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from perf import tiny_families
from torch.nn.functional import pad

from aftertune.asking.backends import _decoding
from aftertune.asking.backends._decoding import Batch, Row, decode
from aftertune.asking.backends._keys_values import GrowingLayer


def states(rows: int, columns: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    keys, values = (torch.randn(rows, 2, columns, width, generator=generator) for width in (3, 2))
    return keys, values


def llama() -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = tiny_families.configuration("llama", {"vocab_size": 64, "pad_token_id": 0, "eos_token_id": 1})
    kind: Any = AutoModelForCausalLM
    return kind.from_config(config).eval().requires_grad_(False)


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "drop", "keep", "join", "replace", "crop"]), st.integers(1, 90)), max_size=12
)


@given(OPERATIONS, st.integers(1, 5), st.integers(1, 70), st.integers(0, 999))
def test_any_order_of_changes_gives_what_copying_gives(
    changes: list[tuple[str, int]], rows: int, columns: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer: Any = GrowingLayer()
    copied: Any = states(rows, columns, generator)
    layer.update(*copied)
    for change, size in changes:
        rows, columns = copied[0].shape[0], copied[0].shape[2]
        if change == "add":
            new = states(rows, size, generator)
            layer.update(*new)
            copied = tuple(torch.cat([old, more], 2) for old, more in zip(copied, new, strict=True))
        elif change == "drop" and size < columns:
            layer.drop(size)
            copied = tuple(old[:, :, size:] for old in copied)
        elif change == "crop" and size < columns:
            layer.crop(-size)
            copied = tuple(old[:, :, :-size] for old in copied)
        elif change == "keep" and rows > 1:
            gone = size % rows
            layer.keep(rows - 1, torch.tensor([gone][: gone < rows - 1]), torch.tensor([rows - 1][: gone < rows - 1]))
            order = [rows - 1 if row == gone else row for row in range(rows - 1)]
            copied = tuple(old[order] for old in copied)
        elif change == "join":
            other, new = GrowingLayer(), states(1 + size % 3, size, generator)
            other.update(*new)
            layer.join([other])
            wide = max(columns, size)
            copied = tuple(
                torch.cat([pad(one, (0, 0, wide - one.shape[2], 0)) for one in pair])
                for pair in zip(copied, new, strict=True)
            )
        elif change == "replace":
            index = torch.tensor([size % rows, 0])
            layer.reorder_cache(index)
            copied = tuple(old[index] for old in copied)
        assert layer.get_seq_length() == copied[0].shape[2]
        assert torch.equal(layer.keys, copied[0]), change
        assert torch.equal(layer.values, copied[1]), change


def test_a_column_is_added_and_a_row_leaves_without_a_copy_of_the_rest() -> None:
    batch = Batch(llama(), 0)
    batch.enter(range(4), [[3 + row, 5, 7, 9][: 4 - row] for row in range(4)])
    places: set[int] = set()
    for _ in range(6):
        batch.step(torch.tensor([4] * 4))
        places.add(batch._cache.layers[0].keys.data_ptr())
    assert len(places) == 1, "the keys were moved"
    last = batch._cache.layers[1].values[batch.rows.index(3)].clone()
    batch.ended[batch.rows.index(0)] = True
    batch.leave()
    assert set(batch.rows) == {1, 2, 3}
    assert torch.equal(batch._cache.layers[1].values[batch.rows.index(3)], last[:, -batch._mask.shape[1] :])


@pytest.mark.parametrize("least", [1, 12, 40, 10_000])
def test_prompts_are_read_with_those_of_similar_length(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    lengths = [3, 30, 4, 29, 3, 12, 5, 28]
    rows = [Row([2 + (at * 7 + step) % 60 for step in range(n)], 6, 0.0, at) for at, n in enumerate(lengths)]
    rows += [rows[1], rows[4], Row([*rows[3].ids, 9], 3, 0.9, 5)]
    alone = [next(iter(decode(model, [row], 0, frozenset()))).tokens for row in rows]
    monkeypatch.setattr(_decoding, "PASS", least)
    read: list[tuple[int, int]] = []
    forward = Batch._forward

    def noted(batch: Batch, ids: Any, *others: Any) -> Any:
        read.append(tuple(ids.shape))
        return forward(batch, ids, *others)

    monkeypatch.setattr(Batch, "_forward", noted)
    for slots in (0, 4):
        read.clear()
        found = {one.row: one.tokens for one in decode(model, rows, 0, frozenset(), slots)}
        assert [found[at] for at in range(len(rows))] == alone
        different = {tuple(row.ids) for row in rows}
        total = sum(map(len, different))
        prefill = sum(count * width for count, width in read if width > 1)
        if slots == 0 and least == 1:
            assert prefill == total, "each prompt by itself: nothing is padding"
        if slots == 0 and least == 10_000:
            assert prefill == len(different) * 30
