"""Tensors in a full model's files that its class in transformers does not read, such as layers that look ahead."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def unread_by(model: Any, names: Iterable[str]) -> frozenset[str]:
    """Return those tensor names that a model says it leaves in its files.

    DeepSeek V3, GLM and Qwen3.5 are published with layers that guess several tokens at once; transformers loads none of
    them, and none is in what it saves. The patterns are loose (GPT-2's `attn.bias` also finds `c_attn.bias`), so what
    is one of the model's own parameters is never among them.
    """
    patterns = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    hits = [name for name in names if any(pattern.search(name) for pattern in patterns)]
    # Some are published without the outer module's name.
    own = {key[start:] for key, _ in model.named_parameters() for start in (0, key.find(".") + 1)} if hits else set()
    return frozenset(name for name in hits if name not in own)


def unread_in(folder: Path, architecture: str, names: Iterable[str]) -> frozenset[str]:
    """Return as `unread_by` for the class and configuration of a folder; empty where the class cannot be built.

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
            return unread_by(kind(config), names)
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError, ImportError):
        return frozenset()  # whoever loads it says why
