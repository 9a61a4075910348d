"""Which modules a LoRA is put on: the linear layers of the language model, as far as they can be tuned and asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aftertune.errors import ModelError, first_line

_READ_BY_KERNELS = ("out_proj", "x_proj", "dt_proj")
"""Layers of a state-space mixer whose weights its fused kernels read without calling the layer (Gu and Dao 2023, arXiv
2312.00752): a LoRA there would be trained on one machine and left out on another. PEFT forbids some of them."""
_ROUTER = re.compile(r"(^|_)(gate|router|gating)$")
_COUNT = re.compile(r"^(num|n|moe_num)_?(\w+_)?experts$")
"""Keys of a configuration that say how many experts a layer has."""


def lora_modules(model: Any, ids: Sequence[int] = ()) -> tuple[str, ...]:
    """Return the full names of the modules that a LoRA "on all linear layers" is put on.

    These are the linear layers of the text model: attention, dense layers and shared experts. Left out are

    - the output layer;
    - vision tower, audio tower and projector, and layers that a text never reaches (cross-attention to an image);
    - in a mixture of experts, the router and the experts themselves: a stack of experts is no linear layer, and which
      of them learn depends on the batch;
    - what fused kernels of a state-space mixer read (`_READ_BY_KERNELS`);
    - layers that share their weights with another one (an adapter of one would be merged into both);
    - where the installed PEFT takes the names of layers for those of the experts (it does for mixtures whose experts
      transformers 5 stacks), or renames them wrongly when it loads an adapter, the layers of these names.

    With `ids` (a text's tokens) the model is run once, and only layers that run are returned; without them `model` may
    be an outline without weights. Raises ModelError where no layer is left, or the text cannot be run.
    """
    linear = {name: module for name, module in model.named_modules() if isinstance(module, _linear_kinds())}
    output = model.get_output_embeddings()
    everywhere = (module for _, module in model.named_modules(remove_duplicate=False))
    shared = Counter(id(module.weight) for module in everywhere if isinstance(module, _linear_kinds()))
    text = model.get_decoder() if _has_parts(model) else model
    within = {id(module) for module in text.modules()}
    experts = _expert_counts(model.config.get_text_config(decoder=True))
    chosen = [
        name
        for name, module in linear.items()
        if module is not output
        and id(module) in within
        and not _of_experts(name)
        and not _routes(model, name, module, experts)
        and not _read_by_kernels(model, name)
        and shared[id(module.weight)] == 1
    ]
    if ids:
        reached = _reached(model, {name: linear[name] for name in chosen}, ids)
        chosen = [name for name in chosen if name in reached]
    chosen = _not_rewritten(model, chosen)
    if not chosen:
        raise ModelError(f"{type(model).__name__} has no linear layer that a LoRA can be put on: take method = 'full'")
    return tuple(chosen)


def left_out(model: Any, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return the layers of the text model that a LoRA on `chosen` leaves as they are, `*` for the number of a layer.

    These are its linear layers beside the output layer, and stacks of experts.
    """
    text = model.get_decoder() if _has_parts(model) else model
    within, output, own = {id(module) for module in text.modules()}, model.get_output_embeddings(), set(chosen)
    names = [
        name
        for name, module in model.named_modules()
        if id(module) in within
        and module is not output
        and name not in own
        and (isinstance(module, _linear_kinds()) or _is_stack(module))
    ]
    return patterns(names)


def _is_stack(module: Any) -> bool:
    return any(weights.dim() == 3 for weights in module.parameters(recurse=False)) and "Expert" in type(module).__name__


def patterns(names: Sequence[str]) -> tuple[str, ...]:
    """Return modules for people, `*` for the number of a layer: `model.layers.*.self_attn.q_proj`."""
    return tuple(dict.fromkeys(re.sub(r"\.\d+(?=\.|$)", ".*", name) for name in names))


def text_parameters(model: Any) -> dict[str, Any]:
    """Return the parameters of the text model with its output layer; all of a model that has no other part."""
    parameters = dict(model.named_parameters())
    if not _has_parts(model):
        return parameters
    modules = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    own = {id(weights) for module in modules if module is not None for weights in module.parameters()}
    return {name: weights for name, weights in parameters.items() if id(weights) in own}


def _has_parts(model: Any) -> bool:
    """Return whether the model has parts beside its text model."""
    return model.config.get_text_config(decoder=True) is not model.config


def _linear_kinds() -> tuple[Any, ...]:
    import torch
    from transformers.pytorch_utils import Conv1D

    return torch.nn.Linear, Conv1D


def _of_experts(name: str) -> bool:
    return any("expert" in part and "shared" not in part for part in name.split("."))


def _expert_counts(config: Any) -> frozenset[int]:
    counts = {value for key, value in config.to_dict().items() if _COUNT.match(key) and isinstance(value, int)}
    return frozenset(count for count in counts if count > 1)


def _routes(model: Any, name: str, module: Any, experts: frozenset[int]) -> bool:
    """Return whether a linear layer chooses experts or weighs the shared one."""
    parts = name.split(".")
    if any("router" in part for part in parts):
        return True
    if not experts:
        return False
    parents = [model.get_submodule(".".join(parts[:at])) for at in range(1, len(parts))]
    if any(re.search("Router|Gating", type(parent).__name__) for parent in parents):
        return True
    return any(_ROUTER.search(part) for part in parts) and int(module.weight.shape[0]) in experts | {1}


def _read_by_kernels(model: Any, name: str) -> bool:
    parent, _, own = name.rpartition(".")
    mixer = {key for key, _ in model.get_submodule(parent).named_parameters(recurse=False)} >= {"A_log", "D"}
    return mixer and own in _READ_BY_KERNELS


def _reached(model: Any, linear: dict[str, Any], ids: Sequence[int]) -> frozenset[str]:
    """Return which layers a text runs through, as the model is trained."""
    import torch

    reached: set[str] = set()
    hooks = [module.register_forward_hook(lambda *_, name=name: reached.add(name)) for name, module in linear.items()]
    training = model.training
    inputs = torch.tensor([list(ids)], device=model.device)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            model.train()(input_ids=inputs, attention_mask=torch.ones_like(inputs), use_cache=False)
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ModelError(f"{type(model).__name__} cannot be run on a text: {first_line(error)}") from error
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return frozenset(reached)


def _not_rewritten(model: Any, names: Sequence[str]) -> list[str]:
    """Return the names that PEFT takes as they are, when it makes a LoRA and when it loads one."""
    import torch
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import (
        convert_peft_adapter_state_dict_for_transformers,
        convert_peft_config_for_transformers,
    )

    if not names:
        return []
    config = LoraConfig(target_modules=set(names))
    try:
        convert_peft_config_for_transformers(config, model, None)
    except ValueError:  # some of the layers that PEFT takes for one layer of the experts, and not all
        kept = [_not_rewritten(model, [name]) for name in names]
        return [name for each in kept for name in each]
    keys = {f"base_model.model.{name}.lora_A.weight": name for name in names if name in config.target_modules}
    stored = {key: torch.empty(1, 1, device="meta") for key in keys}
    loaded = convert_peft_adapter_state_dict_for_transformers(model, config, stored)
    return [name for key, name in keys.items() if key in loaded]
