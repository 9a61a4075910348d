"""Weights in 4 bits (NF4) beside plain ones: loading them, reading them back, and substituting others.

bitsandbytes holds such a weight as packed codes with a state beside them. Its shape, its values and what replaces it
are read through this module, so that the proof of application sees a 4-bit base as it sees any other.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from aftertune.errors import MissingPackageError, ModelError
from aftertune.extras import install


def loading_config(dtype: Any) -> Any:
    """Return how transformers loads a base in NF4, its constants quantised too, with products in `dtype`.

    Source: Dettmers et al. 2023, arXiv 2305.14314, sections 2 and 3. Raises MissingPackageError without bitsandbytes.
    """
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingPackageError(f"a base in 4 bits needs the package bitsandbytes: {install('bitsandbytes')}")
    silence()
    make: Any = BitsAndBytesConfig
    return make(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def silence() -> None:
    """Keep bitsandbytes quiet, which PEFT imports wherever it is installed.

    On some CPUs it asks the hub for a kernel and warns that it found none.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def keep_exact(model: Any, name: str) -> Any:
    """Return the model, with its 4-bit layers held to the exact products.

    On some CPUs bitsandbytes repacks a layer at its first forward pass and rounds its constants to bfloat16:
    the weights would not be those that were tuned. On every CPU it misreads rows whose length is no multiple of its
    block size (measured in 0.50: an error eight times that of the rounding). Raises ModelError for such a model.
    """
    for path, module in model.named_modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is None:
            continue
        module.support_avx512bf16_for_cpu = False
        state = module.weight.quant_state
        if module.weight.device.type == "cpu" and state.shape[-1] % state.blocksize:
            raise ModelError(
                f"{name}: cannot be held in 4 bits on a CPU: the rows of {path} have {state.shape[-1]} weights, "
                f"which is no multiple of {state.blocksize}"
            )
    return model


def matrix_shape(weight: Any) -> tuple[int, ...]:
    """Return the shape of the matrix that a parameter stands for."""
    state = getattr(weight, "quant_state", None)
    return tuple(weight.shape if state is None else state.shape)


def dequantized(weight: Any) -> Any:
    """Return the parameter as a tensor of its true shape, in the dtype of the model's products."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.data, state)


def rounded_like(value: Any, weight: Any) -> Any:
    """Return `value` as the parameter `weight` would hold it: its dtype and device, rounded to 4 bits if it is."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return value.to(weight)
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, own = quantize_4bit(
        value.to(weight.device, state.dtype), blocksize=state.blocksize, compress_statistics=True, quant_type="nf4"
    )
    return dequantize_4bit(packed, own)


@contextmanager
def substituted(model: Any, weights: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Replace 4-bit weights by `weights` (parameter name -> tensor) for the while; yield those meant for plain ones."""
    import torch

    own = dict(model.named_parameters(remove_duplicate=False))
    plain: dict[str, Any] = {}
    with ExitStack() as hooks:
        for name, value in weights.items():
            if getattr(own[name], "quant_state", None) is None:
                plain[name] = value
                continue

            def product(layer: Any, inputs: tuple[Any, ...], _output: Any, value: Any = value) -> Any:
                return torch.nn.functional.linear(inputs[0], value.to(inputs[0]), layer.bias)

            layer = model.get_submodule(name.removesuffix(".weight"))
            hooks.callback(layer.register_forward_hook(product).remove)
        yield plain
