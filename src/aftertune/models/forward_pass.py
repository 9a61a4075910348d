"""What a model's forward pass takes beside the tokens: where it keeps what it has read, positions, chosen logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aftertune.errors import ModelError

CACHES = ("past_key_values", "cache_params")
"""What models call the argument that holds what they keep of the tokens before."""


@dataclass(frozen=True, slots=True)
class ForwardArguments:
    """What a model's forward pass takes beside tokens and mask."""

    cache: str
    """One of `CACHES`; empty where it takes none of them."""
    positions: bool
    """Whether `position_ids`."""
    last_only: bool
    """Whether `logits_to_keep`."""


def forward_arguments(model: Any) -> ForwardArguments:
    """Return what the forward pass of a model takes; PEFT may be around it."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    taken = inspect.signature(inner.forward).parameters
    positions = "position_ids" in taken
    if not positions and any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        positions = "position_ids" in inspect.signature(inner.base_model.forward).parameters  # it hands them on
    return ForwardArguments(cache_argument(inner.forward), positions, "logits_to_keep" in taken)


def cache_argument(forward: Callable[..., Any]) -> str:
    """Return which of `CACHES` a forward pass takes; empty where none."""
    taken = inspect.signature(forward).parameters
    return next((name for name in CACHES if name in taken), "")


def empty_cache(model: Any) -> Any:
    """Return an empty cache for a model; None where it makes one of its own kind in its first pass."""
    from transformers import DynamicCache

    # The list of those that do not take the common one is transformers' own: it asks the same question in `generate`.
    common = getattr(model, "_supports_default_dynamic_cache", None)
    return DynamicCache(config=model.config) if common is None or common() else None


def only_states(cache: Any) -> bool:
    """Return whether no layer of a cache keeps a column a token (Mamba): then the mask is of the new tokens alone."""
    from transformers.cache_utils import CacheLayerMixin

    return bool(cache.layers) and not any(isinstance(layer, CacheLayerMixin) for layer in cache.layers)


def refuse_class(name: str, kind: Any) -> None:
    """Refuse a model class whose forward pass does not say where it keeps what it has read.

    `name` is the model's, for people. Raises ModelError, in one line.
    """
    if not cache_argument(kind.forward):
        raise ModelError(
            f"{name}: {kind.__name__} cannot be asked here: its forward pass takes none of {', '.join(CACHES)}, so "
            "that each new token would see only the one before it; ask it on a server (backend endpoint)"
        )
