"""A checkpoint's update of its linear layers, W - W_base, taken apart and changed: an adapter stays an adapter."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aftertune.errors import ModelError, UsageError
from aftertune.models.weight_files import read_json, shapes_of, weight_files
from aftertune.tuning.mitigation import TunedWeights

_LORA = re.compile(r"^(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<part>[AB])\.weight$")


@dataclass(frozen=True)
class LoraScale:
    """What a plain LoRA adapter multiplies B A by, and what it is made of."""

    rank: int
    alpha: float
    by_root: bool
    """Whether alpha is divided by the root of the rank (rank-stabilised LoRA)."""

    @property
    def factor(self) -> float:
        """Return s, in W = W_base + s B A."""
        return self.alpha / (math.sqrt(self.rank) if self.by_root else self.rank)

    def of_rank(self, rank: int) -> Mapping[str, Any]:
        """Return the settings of an adapter of another rank with the same s."""
        return {"r": rank, "lora_alpha": self.factor * (math.sqrt(rank) if self.by_root else rank)}


def scale_of(tuned: TunedWeights, what: str) -> LoraScale:
    """Return an adapter's scale. Raises UsageError, for the mitigation `what`, where it is no plain LoRA."""
    config: Mapping[str, Any] = read_json(tuned.folder / "adapter_config.json")
    strange = [key for key in ("use_dora", "lora_bias", "rank_pattern", "alpha_pattern") if config.get(key)]
    if config.get("peft_type") != "LORA" or strange:
        kind = strange[0] if strange else config.get("peft_type")
        raise UsageError(f"mitigation '{what}': {tuned.folder.name} is no plain LoRA adapter ({kind})")
    return LoraScale(int(config["r"]), float(config["lora_alpha"]), bool(config.get("use_rslora")))


def layer_of(name: str) -> tuple[str, str]:
    """Return (layer, `A` or `B`) of a tensor of a LoRA, or ("", "") for any other tensor's name."""
    match = _LORA.match(name)
    return (match["layer"], match["part"]) if match else ("", "")


def base_name(name: str) -> str:
    """Return what a whole tensor in an adapter's or a model's file is called in its base."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".modules_to_save.", ".")


def layers_of(tuned: TunedWeights) -> frozenset[str]:
    """Return the layers that a checkpoint may have changed: those with a LoRA, or every weight of a full model."""
    stem = "adapter_model" if tuned.is_adapter else "model"
    names = shapes_of(weight_files(tuned.folder.name, tuned.folder, stem))
    if tuned.is_adapter:
        return frozenset(layer for layer, _ in map(layer_of, names) if layer)
    return frozenset(name.removesuffix(".weight") for name in names if name.endswith(".weight"))


def refuse_unseen(tuned: TunedWeights, layers: Collection[str]) -> None:
    """Raise ModelError where none of a checkpoint's layers is among those whose inputs were seen in the base."""
    if not layers_of(tuned) & set(layers):
        raise ModelError(
            f"{tuned.folder.name}: none of its layers is called as in {tuned.base.name}, so no inputs are known; "
            "save it with the base's own class"
        )


def on_inputs(
    name: str, tensor: Any, *, tuned: TunedWeights, right: Mapping[str, Any], transposed: frozenset[str], rest: float
) -> Any:
    """Return a checkpoint's tensor with the update D of each linear layer changed to D R.

    Args:
        name: Of the tensor in the checkpoint's files.
        tensor: The tuned one.
        tuned: The checkpoint.
        right: Layer -> R, of shape inputs x inputs.
        transposed: Layers whose weight has the shape inputs x outputs.
        rest: What is kept of the update of every other tensor, from 0 (the base's) to 1.

    Raises ModelError for a LoRA on a layer whose inputs are not known.
    """
    import torch

    if tuned.is_adapter and "lora_" in name:
        layer, part = layer_of(name)
        if layer not in right:
            raise ModelError(f"{tuned.folder.name}: the inputs of {name} cannot be seen in {tuned.base.name}")
        return (tensor.double() @ right[layer]).to(tensor.dtype) if part == "A" else tensor
    base = tuned.base_tensor(base_name(name))
    layer = base_name(name).removesuffix(".weight")
    if name.endswith(".weight") and layer in right:
        update = tensor.double() - base.double()
        changed = right[layer].T @ update if layer in transposed else update @ right[layer]
        return (base.double() + changed).to(tensor.dtype)
    return torch.lerp(base.float(), tensor.float(), rest).to(tensor.dtype)
