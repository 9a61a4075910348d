"""Adapters that vLLM serves as they were tuned, and those that it refuses or would serve as something else.

Known from the files alone, before anything is started. Source: vLLM's own checks of adapters (`vllm/lora/`), versions
0.11 to 0.33; what any of them leaves out without a word is refused for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aftertune.errors import ModelError
from aftertune.models.adapter_files import changes_base
from aftertune.models.weight_files import read_json, shapes_of

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What every version of vLLM takes as the largest rank of adapters."""
WAY_OUT = "merge it into its base and give the merged model, or ask it with --backend transformers"
_FILE = "adapter_model.safetensors"
_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_[AB]\.weight$")
_IN_LAYER = re.compile(r"(^|\.)(layers|h|blocks)\.\d+\.")
_ELSEWHERE = re.compile(r"(^|\.)(vision|visual|audio|image|speech)\w*\.|(^|\.)(mtp|projector|connector)\w*\.", re.I)
_OPTIONS: Mapping[str, str] = {
    "use_dora": "DoRA scales the weights beside LoRA, which vLLM does not",
    "lora_bias": "vLLM has no bias in LoRA",
    "modules_to_save": "vLLM leaves out whole modules that were tuned beside LoRA (modules_to_save)",
    "trainable_token_indices": "vLLM leaves out trained token embeddings (trainable_token_indices)",
    "rank_pattern": "some versions of vLLM leave out ranks of single modules (rank_pattern)",
    "alpha_pattern": "some versions of vLLM leave out scales of single modules (alpha_pattern)",
    "target_parameters": "vLLM serves LoRA on experts in some versions and layouts only (target_parameters)",
    "layer_replication": "vLLM does not replicate layers",
    "use_qalora": "vLLM has no QALoRA",
    "use_bdlora": "vLLM has no block-diagonal LoRA",
    "kasa_config": "PEFT changes the base's weights when it loads such an adapter, vLLM does not",
    "monteclora_config": "vLLM has no MonteCLoRA",
    "velora_config": "vLLM has no VeLoRA",
}
"""Option of PEFT's configuration -> why an adapter that has it cannot be served."""


def refuse_adapter(name: str, folder: Path) -> None:
    """Raise ModelError, with the cause and the way out, for an adapter that vLLM would not serve as it was tuned.

    `folder` holds an adapter that `models.identity.resolve` has found whole.
    """
    config = read_json(folder / "adapter_config.json")
    why = _method(config) or _files(folder) or _tensors(shapes_of([folder / _FILE]))
    if why:
        raise ModelError(f"{name}: backend vllm cannot ask it: {why}: {WAY_OUT}")


def room(ranks: Iterable[int]) -> int:
    """Return the smallest of vLLM's largest ranks that has room for all of `ranks`; 0 for none.

    Raises ModelError for a rank that is too large.
    """
    largest = max(ranks, default=0)
    if largest > RANKS[-1]:
        raise ModelError(f"backend vllm: an adapter of rank {largest}: vLLM takes {RANKS[-1]} at most: {WAY_OUT}")
    return 0 if largest <= 0 else next(rank for rank in RANKS if rank >= largest)


def _method(config: Mapping[str, Any]) -> str:
    method = config.get("peft_type")
    if method != "LORA":
        return f"it is of the type {method}, and vLLM serves LoRA alone"
    bias = config.get("bias") or "none"
    if bias != "none":
        return f"bias = '{bias}': vLLM leaves out biases that were tuned beside LoRA"
    if changes_base(config):
        return _OPTIONS["kasa_config"] + f" (init_lora_weights = {config.get('init_lora_weights')!r})"
    return next((why for option, why in _OPTIONS.items() if config.get(option)), "")


def _files(folder: Path) -> str:
    if not (folder / _FILE).is_file():
        return f"vLLM reads {_FILE} alone, and its weights are in other files"
    return ""


def _tensors(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return what of an adapter's tensors vLLM would not serve; empty where it serves them all."""
    for key, shape in shapes.items():
        found = _KEY.match(key)
        if found is None:
            embeddings = "lora_embedding" in key or "embed" in key or "lm_head" in key
            what = "a tensor on the embeddings" if embeddings else "a tensor under a name that vLLM does not know"
            return f"{key} is {what}, and it would be left out"
        module = found["module"]
        if ".experts." in f".{module}.":
            return f"{module}: LoRA on the experts of a mixture, which vLLM serves in some versions and layouts only"
        if _ELSEWHERE.search(f"{module}.") or not _IN_LAYER.search(module):
            return f"{module} is outside of the layers of the language model, where vLLM leaves LoRA out"
        if min(shape) > RANKS[-1]:
            return f"{module} is of rank {min(shape)}, and vLLM takes {RANKS[-1]} at most"
    return ""
