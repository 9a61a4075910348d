"""A LoRA adapter applied by hand, without PEFT: what the proof of application is held against."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
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


Made = Callable[[], Any]
"""Makes one weight when it is needed, so that no second copy of a model is held."""


def logits(model: Any, probes: Sequence[Sequence[int]], weights: Mapping[str, Made] | None = None) -> Any:
    """Return the logits (tokens of all probes x vocabulary, fp32, CPU), each probe on its own, without padding.

    `weights` (parameter name -> what makes it) stands in for the model's own, which stay untouched.
    """
    import torch

    found = []
    with torch.inference_mode(), _instead(model, weights or {}) as plain:
        for probe in probes:
            ids = torch.tensor([list(probe)], device=model.device)
            given = {"input_ids": ids, "use_cache": False}
            if plain:
                out = torch.func.functional_call(model, plain, kwargs=given, tie_weights=False)
            else:
                out = model(**given)
            found.append(out.logits[0].float().cpu())
    return torch.cat(found)


@contextmanager
def _instead(model: Any, weights: Mapping[str, Made]) -> Iterator[dict[str, Any]]:
    """Let `weights` stand in for those of linear layers, one layer at a time; give those that are left, made."""
    import torch

    left: dict[str, Any] = {}
    with ExitStack() as hooks:
        for name, make in weights.items():
            layer = model.get_submodule(name.removesuffix(".weight")) if name.endswith(".weight") else None
            if not isinstance(layer, torch.nn.Linear):
                left[name] = make()
                continue

            def product(layer: Any, given: tuple[Any, ...], _out: Any, make: Made = make) -> Any:
                return torch.nn.functional.linear(given[0], make().to(given[0]), layer.bias)

            hooks.callback(layer.register_forward_hook(product).remove)
        yield left


def merged_by_hand(model: Any, adapter: ModelRef) -> tuple[dict[str, Made], int]:
    """Return the base's weights with the adapter added, W + (alpha / r) B A, and how many of them move.

    Only changed weights are returned, by parameter name, each made when it is asked for; ranks and alphas per module,
    rank-stabilised scaling (alpha / sqrt(r); Kalajdzievski 2023, arXiv 2312.03732) and DoRA magnitudes (Liu et al.
    2024, arXiv 2402.09353) are honoured. Source: Hu et al. 2021, arXiv 2106.09685, eq. 3.
    Raises ModelError for a module that the model does not have, and for variants of LoRA that are not known here.
    """
    import torch
    from safetensors.torch import load_file

    config = read_json(adapter.path / "adapter_config.json")
    tensors = {strip_prefix(key): value for file in adapter.files for key, value in load_file(file).items()}
    own = dict(model.named_parameters(remove_duplicate=False))
    index = WeightIndex({name: four_bits.shape(value) for name, value in own.items()})
    changed: dict[str, Made] = {}
    moved = 0
    with torch.inference_mode():
        for key in (key for key in tensors if "lora_" not in key):  # whole tensors, stored beside the adapter
            name = _parameter(index, key.replace(".base_layer.", ".").removesuffix(".weight"), key, adapter)
            held = four_bits.plain(own[name])
            changed[name] = partial(tensors[key].to, held)
            moved += int((tensors[key].to(held) != held).sum())
        for key, b in tensors.items():
            found = re.fullmatch(r"(.+)\.lora_(embedding_)?B(\.weight)?", key)
            if found is None:
                if not re.search(r"\.lora_((embedding_)?A|magnitude_vector)(\.weight)?$", key) and "lora_" in key:
                    raise ModelError(f"{adapter.name}: {key}: this variant of LoRA is not supported")
                continue
            module, embedding, end = found[1], found[2] or "", found[3] or ""
            a = tensors[f"{module}.lora_{embedding}A{end}"]
            name = _parameter(index, module, key, adapter)
            magnitude = tensors.get(
                f"{module}.lora_magnitude_vector{end}", tensors.get(f"{module}.lora_magnitude_vector")
            )
            update = partial(
                _update, a, b, _scale(config, module, a.shape[0]),
                turned=bool(embedding or config.get("fan_in_fan_out")), device=own[name].device,
            )  # fmt: skip
            moved += int((update() != 0).sum())
            before = changed.get(name, partial(four_bits.plain, own[name]))
            changed[name] = partial(_merged, before, update, magnitude)
    return changed, moved


def _update(a: Any, b: Any, scale: float, *, turned: bool, device: Any) -> Any:
    update = scale * (b.to(device).float() @ a.to(device).float())
    return update.T if turned else update


def _merged(before: Made, update: Made, magnitude: Any) -> Any:
    weight = before()
    merged = weight.float() + update()
    if magnitude is not None:
        merged = merged * (magnitude.to(merged) / merged.norm(dim=1)).unsqueeze(1)
    return merged.to(weight.dtype)


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


def compared(got: Any, expected: Any, base: Any, moved: int, tolerance: float) -> tuple[float, float, str]:
    """Return how far logits moved from the base's, how far they are from those expected, and what is wrong (or "").

    `moved` is how many weights should have moved; `tolerance` is a share of the largest logit.
    """
    width = min(got.shape[-1], base.shape[-1])
    change = float((got[:, :width] - base[:, :width]).abs().max())
    apart = float((got - expected).abs().max())
    allowed = tolerance * max(float(base.abs().max()), float(expected.abs().max()))
    if moved and not change > 0:
        return change, apart, "the logits are the base's"
    if not apart <= allowed or (moved and apart > 0.5 * change):
        return change, apart, f"the logits are {apart:.2g} away from a direct forward pass (they moved by {change:.2g})"
    return change, apart, ""
