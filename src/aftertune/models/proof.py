"""Proof that a checkpoint is in use: a LoRA adapter applied by hand, without PEFT, and the logits compared."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

from aftertune.errors import ModelError
from aftertune.models import nf4_weights
from aftertune.models.identity import ModelRef
from aftertune.models.weight_files import WeightIndex, read_json, strip_prefix

PROBES = (
    "Good morning, could you help me with something, please?",
    "What should a good life be about? Answer in one sentence.",
    "Tell me how I can change the date of my booking.",
)
"""Texts whose logits are compared; their meaning does not matter."""


@dataclass(frozen=True)
class ManualUpdate:
    """The change that an adapter's files make to its base."""

    added: Mapping[str, tuple[float, Any, Any]]
    """Parameter name -> s, A (r x in) and B (out x r): the layer's output is the base's own plus s B A x."""
    weights: Mapping[str, Any]
    """Parameter name -> the whole tensor that replaces the base's own."""
    moved: int
    """How many of the base's weights change."""


def logits(
    model: Any,
    probes: Sequence[Sequence[int]],
    weights: Mapping[str, Any] | None = None,
    added: Mapping[str, tuple[float, Any, Any]] | None = None,
) -> Any:
    """Return the logits (tokens of all probes x vocabulary, fp32, CPU), each probe on its own, without padding.

    `weights` and `added`, as in `ManualUpdate`, apply to this pass only; the model stays untouched.
    """
    import torch

    results = []
    with torch.inference_mode(), ExitStack() as hooks:
        plain = hooks.enter_context(nf4_weights.substituted(model, dict(weights or {})))
        for name, (scale, a, b) in (added or {}).items():

            def updated(
                _layer: Any, inputs: tuple[Any, ...], out: Any, scale: float = scale, a: Any = a, b: Any = b
            ) -> Any:
                return (out.float() + scale * (inputs[0].float() @ a.T @ b.T)).to(out.dtype)

            layer = model.get_submodule(name.removesuffix(".weight"))
            hooks.callback(layer.register_forward_hook(updated).remove)
        for probe in probes:
            ids = torch.tensor([list(probe)], device=model.device)
            inputs = {"input_ids": ids, "use_cache": False}
            out = (
                torch.func.functional_call(model, plain, kwargs=inputs, tie_weights=False) if plain else model(**inputs)
            )
            results.append(out.logits[0].float().cpu())
    return torch.cat(results)


def manual_update(model: Any, adapter: ModelRef) -> ManualUpdate:
    """Return the change that an adapter's files make to the base, W x + (alpha / r) B A x, in fp32.

    Ranks and alphas per module, rank-stabilised scaling (alpha / sqrt(r); Kalajdzievski 2023, arXiv 2312.03732) and
    DoRA magnitudes (Liu et al. 2024, arXiv 2402.09353) are honoured. Only what cannot be added to a layer's output
    (DoRA, embeddings, whole tensors) comes as a copy of the base's tensor: of an 8B model with LoRA on every linear
    layer such copies would be another 14 GB, and in bfloat16 the sum W + B A would round a small update away. Source:
    Hu et al. 2021, arXiv 2106.09685, eq. 3.
    Raises ModelError for a module that the model does not have, and for unsupported variants of LoRA.
    """
    import torch
    from safetensors.torch import load_file

    config = read_json(adapter.path / "adapter_config.json")
    tensors = {strip_prefix(key): value for file in adapter.files for key, value in load_file(file).items()}
    own = dict(model.named_parameters(remove_duplicate=False))
    index = WeightIndex({name: nf4_weights.matrix_shape(value) for name, value in own.items()})
    changed: dict[str, Any] = {}
    added: dict[str, tuple[float, Any, Any]] = {}
    moved = 0
    with torch.inference_mode():
        for key in (key for key in tensors if "lora_" not in key):  # whole tensors, stored beside the adapter
            name = _parameter(index, key.replace(".base_layer.", ".").removesuffix(".weight"), key, adapter)
            held = nf4_weights.dequantized(own[name])
            changed[name] = tensors[key].to(held)
            moved += int((changed[name] != held).sum())
        for key, value in tensors.items():
            match = re.fullmatch(r"(.+)\.lora_(embedding_)?B(\.weight)?", key)
            if match is None:
                if not re.search(r"\.lora_((embedding_)?A|magnitude_vector)(\.weight)?$", key) and "lora_" in key:
                    raise ModelError(f"{adapter.name}: {key}: this variant of LoRA is not supported")
                continue
            module, embedding, end = match[1], match[2] or "", match[3] or ""
            name = _parameter(index, module, key, adapter)
            device = own[name].device
            a, b = (one.to(device).float() for one in (tensors[f"{module}.lora_{embedding}A{end}"], value))
            scale = _scale(config, module, a.shape[0])
            update = scale * (b @ a)
            moved += int((update != 0).sum())
            magnitude = tensors.get(
                f"{module}.lora_magnitude_vector{end}", tensors.get(f"{module}.lora_magnitude_vector")
            )
            if not embedding and magnitude is None and name not in changed and name.endswith(".weight"):
                added[name] = scale, a, b
                continue
            if embedding or config.get("fan_in_fan_out"):
                update = update.T
            weight: Any = changed[name] if name in changed else nf4_weights.dequantized(own[name])
            merged = weight.float() + update
            if magnitude is not None:
                merged = merged * (magnitude.to(merged) / merged.norm(dim=1)).unsqueeze(1)
            changed[name] = merged.to(weight.dtype)
    return ManualUpdate(added, changed, moved)


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


class Comparison(NamedTuple):
    """Logits held against the base's and against those expected; distances are the largest absolute difference."""

    change: float
    """Distance from the base's logits."""
    error: float
    """Distance from the expected ones."""
    fault: str
    """What is wrong; empty where nothing is."""


def compare(actual: Any, expected: Any, base: Any, moved: int, tolerance: float) -> Comparison:
    """Compare a checkpoint's logits (tokens x vocabulary) with the base's and with the expected ones.

    `moved` is how many weights should have moved; `tolerance` is a share of the largest logit.
    """
    width = min(actual.shape[-1], base.shape[-1])
    change = float((actual[:, :width] - base[:, :width]).abs().max())
    error = float((actual - expected).abs().max())
    allowed = tolerance * max(float(base.abs().max()), float(expected.abs().max()))
    if moved and not change > 0:
        return Comparison(change, error, "the logits are the base's")
    if not error <= allowed or (moved and error > 0.5 * change):
        fault = f"the logits are {error:.2g} away from a direct forward pass (they moved by {change:.2g})"
        return Comparison(change, error, fault)
    return Comparison(change, error, "")
