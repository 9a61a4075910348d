"""Loading of weights and tokenizers that `models.identity.resolve` has checked, with nothing on the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aftertune import hardware
from aftertune.errors import ModelError, first_line
from aftertune.models import nf4_weights
from aftertune.models.identity import ModelRef


def load_model(reference: ModelRef, dtype: str, device: str, *, nf4: bool = False) -> Any:
    """Return the model in evaluation mode, without gradients; `device` `auto` is a GPU where there is one.

    With `nf4` its linear layers are held in 4 bits (the output layer is not), and `dtype` is that of the rest.
    Raises ModelError where there is no such device, where transformers cannot load it, or would have to initialise
    weights that its files do not hold.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device = {device!r}: there is none such here: {first_line(error)}") from None
    loader: Any = AutoModelForCausalLM
    kind = getattr(torch, dtype)
    how = {"quantization_config": nf4_weights.loading_config(kind), "device_map": {"": device}} if nf4 else {}
    with quiet():
        try:
            model, info = loader.from_pretrained(
                reference.path,
                dtype=kind,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                trust_remote_code=False,  # None would prompt at the terminal, where somebody may say yes
                **how,
            )
        except (ValueError, OSError, KeyError, RuntimeError) as error:
            raise ModelError(f"{reference.name}: cannot be loaded: {first_line(error)}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{reference.name}: {len(missing)} weights are not in its files, e.g. {missing[0]}")
    if nf4:
        return nf4_weights.keep_exact(model, reference.name).eval().requires_grad_(False)
    try:
        return model.to(device).eval().requires_grad_(False)
    except RuntimeError as error:
        raise ModelError(f"{reference.name}: does not fit on {device}: {first_line(error)}") from None


def memory(device: str) -> int:
    """Return the bytes available to models on `device`: of the smallest GPU that it names, else of this machine."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        gpus = [int(device[5:])] if device.startswith("cuda:") else range(torch.cuda.device_count())
        return min(int(torch.cuda.get_device_properties(index).total_memory) for index in gpus)
    return hardware.memory()


def load_tokenizer(reference: ModelRef) -> Any:
    """Return the tokenizer in the model's folder. Raises ModelError where none can be loaded."""
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    try:
        return loader.from_pretrained(reference.path, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"{reference.name}: its tokenizer cannot be loaded: {first_line(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the loading bar, and a notice that PEFT's use of transformers causes."""
    from transformers.utils import logging

    library: Any = logging
    bars = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    nf4_weights.silence()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        if bars:
            library.enable_progress_bar()
