"""A LoRA adapter applied by hand, without PEFT: what the proof of application is held against."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from aftertune.errors import ModelError
from aftertune.models import four_bits
from aftertune.models.reference import ModelRef
from aftertune.models.weights import WeightIndex, read_json, strip_prefix

PROBES = (
    "Good morning, could you help me with something, please?",
    "What should a good life be about? Answer in one sentence.",
    "Tell me how I can change the date of my booking.",
)
"""What is said to the model to see its logits; their meaning does not matter."""


def logits(model: Any, probes: Sequence[Sequence[int]], weights: dict[str, Any] | None = None) -> Any:
    """Return the logits (tokens of all probes x vocabulary, fp32, CPU), each probe on its own, without padding.

    `weights` (parameter name -> tensor) stands in for the model's own, which stay untouched.
    """
    import torch

    found = []
    with torch.inference_mode():
        for probe in probes:
            ids = torch.tensor([list(probe)], device=model.device)
            given = {"input_ids": ids, "use_cache": False}
            if weights is None:
                out = model(**given)
            else:
                with four_bits.instead(model, weights) as plain:
                    out = torch.func.functional_call(model, plain, kwargs=given, tie_weights=False)
            found.append(out.logits[0].float().cpu())
    return torch.cat(found)


def merged_by_hand(model: Any, adapter: ModelRef) -> tuple[dict[str, Any], int]:
    """Return the base's weights with the adapter added, W + (alpha / r) B A, and how many of them move.

    Only changed tensors are returned, by parameter name, as copies; ranks and alphas per module, rank-stabilised
    scaling (alpha / sqrt(r); Kalajdzievski 2023, arXiv 2312.03732) and DoRA magnitudes (Liu et al. 2024, arXiv
    2402.09353) are honoured. Source: Hu et al. 2021, arXiv 2106.09685, eq. 3.
    Raises ModelError for a module that the model does not have, and for variants of LoRA that are not known here.
    """
    import torch
    from safetensors.torch import load_file

    config = read_json(adapter.path / "adapter_config.json")
    tensors = {strip_prefix(key): value for file in adapter.files for key, value in load_file(file).items()}
    own = dict(model.named_parameters(remove_duplicate=False))
    index = WeightIndex({name: four_bits.shape(value) for name, value in own.items()})
    changed: dict[str, Any] = {}
    moved = 0
    with torch.inference_mode():
        for key in (key for key in tensors if "lora_" not in key):  # whole tensors, stored beside the adapter
            name = _parameter(index, key.replace(".base_layer.", ".").removesuffix(".weight"), key, adapter)
            held = four_bits.plain(own[name])
            changed[name] = tensors[key].to(held)
            moved += int((changed[name] != held).sum())
        for key, b in tensors.items():
            found = re.fullmatch(r"(.+)\.lora_(embedding_)?B(\.weight)?", key)
            if found is None:
                if not re.search(r"\.lora_((embedding_)?A|magnitude_vector)(\.weight)?$", key) and "lora_" in key:
                    raise ModelError(f"{adapter.name}: {key}: this variant of LoRA is not supported")
                continue
            module, embedding, end = found[1], found[2] or "", found[3] or ""
            a = tensors[f"{module}.lora_{embedding}A{end}"]
            name = _parameter(index, module, key, adapter)
            weight: Any = changed[name] if name in changed else four_bits.plain(own[name])
            update = _scale(config, module, a.shape[0]) * (b.float() @ a.float()).to(weight.device)
            if embedding or config.get("fan_in_fan_out"):
                update = update.T
            moved += int((update != 0).sum())
            merged = weight.float() + update
            magnitude = tensors.get(
                f"{module}.lora_magnitude_vector{end}", tensors.get(f"{module}.lora_magnitude_vector")
            )
            if magnitude is not None:
                merged = merged * (magnitude.to(merged) / merged.norm(dim=1)).unsqueeze(1)
            changed[name] = merged.to(weight.dtype)
    return changed, moved


def _parameter(index: WeightIndex, module: str, key: str, adapter: ModelRef) -> str:
    names = list(index.find(module))
    if not names:
        raise ModelError(f"{adapter.name}: {key}: the base has no such module")
    return next((name for name in names if name.removesuffix(".weight") == module), names[0])


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    alpha = float(config.get("lora_alpha") or 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = float(value)
            break
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
