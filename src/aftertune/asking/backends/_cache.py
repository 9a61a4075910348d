"""Keys and values of a batch in which rows leave, others enter, and several may begin alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def empty(config: Any) -> Any:
    """Return an empty cache for a model."""
    from transformers import DynamicCache

    return DynamicCache(config=config)


def is_plain(config: Any) -> bool:
    """Return whether every layer keeps all keys and values: no sliding window, no recurrent state.

    Only then can rows be aligned on the right and enter a batch later.
    """
    from transformers.cache_utils import DynamicLayer

    layers = empty(config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def turning_point(config: Any) -> int | None:
    """Return the tokens beyond which the longest row of a batch decides the rotary angles of all; None for no limit.

    So it is with LongRoPE (Phi-3 and 4; Ding et al. 2024, arXiv 2402.13753) as transformers computes it.
    """
    given = getattr(config, "rope_parameters", None) or {}
    each = [given, *(value for value in given.values() if isinstance(value, dict))]  # some have one per kind of layer
    points = [one.get("original_max_position_embeddings") for one in each if one.get("rope_type") == "longrope"]
    return min((point for point in points if point is not None), default=None)


def join(caches: Sequence[Any]) -> Any:
    """Return one cache with the rows of all, aligned on the right; what is new on the left is zero, to be masked."""
    import torch
    from torch.nn.functional import pad

    columns = max(cache.get_seq_length() for cache in caches)
    for at, layer in enumerate(caches[0].layers):
        parts = [cache.layers[at] for cache in caches]
        for name in ("keys", "values"):
            held = [getattr(part, name) for part in parts]  # rows x heads x columns x width
            wide = [pad(one, (0, 0, columns - one.shape[-2], 0)) for one in held]
            setattr(layer, name, torch.cat(wide))
    return caches[0]


def select(cache: Any, rows: Any) -> None:
    """Keep the rows of an index (a tensor), in its order."""
    for layer in cache.layers:
        # Layers with a recurrent state would keep that of all rows.
        recurrent = hasattr(layer, "update_recurrent_state")
        (layer.reorder_cache if recurrent else layer.batch_select_indices)(rows)


def trim(cache: Any, columns: int) -> None:
    """Drop columns on the left, which no row needs."""
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[..., columns:, :], layer.values[..., columns:, :]
