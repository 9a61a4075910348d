"""A model without weights, by its class and configuration alone: the names and shapes that it has in memory.

transformers renames and stacks tensors of some models when it loads them, so the files do not tell these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aftertune.models.weight_files import Shape


def outlined(folder: Path, architecture: str) -> Any | None:
    """Return the model of a folder on the device `meta`; None where its class cannot be built, which loading explains.

    Loads no weights.
    """
    import torch
    import transformers

    library: Any = transformers
    try:
        kind = getattr(library, architecture)
        config: Any = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        config = config if isinstance(config, kind.config_class) else config.get_text_config(decoder=True)
        with torch.device("meta"):
            return kind(config)
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError, ImportError):
        return None


@lru_cache(maxsize=4)
def shapes_in_memory(folder: Path, architecture: str) -> Mapping[str, Shape]:
    """Return parameter name -> shape as the model has them in memory; empty where its class cannot be built."""
    model = outlined(folder, architecture)
    found = model.named_parameters(remove_duplicate=False) if model is not None else ()
    return MappingProxyType({name: tuple(weights.shape) for name, weights in found})
