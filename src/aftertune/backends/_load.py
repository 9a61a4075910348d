"""Load weights and tokenizers that `models.resolve` has checked, without a word on the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aftertune.errors import ModelError
from aftertune.models import four_bits
from aftertune.models.reference import ModelRef


def load_model(reference: ModelRef, dtype: str, device: str, *, packed: bool = False) -> Any:
    """Return the model in evaluation mode, without gradients; `device` `auto` is a GPU where there is one.

    With `packed` its linear layers are held in NF4 (the output layer is not), and `dtype` is that of the rest.
    Raises ModelError where transformers cannot load it, or would have to invent weights that its files do not hold.
    """
    import torch
    from transformers import AutoModelForCausalLM

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loader: Any = AutoModelForCausalLM
    kind = getattr(torch, dtype)
    how = {"quantization_config": four_bits.config(kind), "device_map": {"": device}} if packed else {}
    with quiet():
        try:
            model, info = loader.from_pretrained(
                reference.path, dtype=kind, local_files_only=True, output_loading_info=True, **how
            )
        except (ValueError, OSError, KeyError, RuntimeError) as error:
            raise ModelError(f"{reference.name}: cannot be loaded: {first_line(error)}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{reference.name}: {len(missing)} weights are not in its files, e.g. {missing[0]}")
    if packed:
        return four_bits.settle(model, reference.name).eval().requires_grad_(False)
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(reference: ModelRef) -> Any:
    """Return the tokenizer in the model's folder. Raises ModelError where there is none that loads."""
    from transformers import AutoTokenizer

    loader: Any = AutoTokenizer
    try:
        return loader.from_pretrained(reference.path, local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(f"{reference.name}: its tokenizer cannot be loaded: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the loading bar, and a notice that PEFT's use of transformers calls forth, for the while."""
    from transformers.utils import logging

    library: Any = logging
    bars = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    four_bits.hush()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        if bars:
            library.enable_progress_bar()
