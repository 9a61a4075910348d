"""From a GGUF file's metadata to the configuration that transformers reads; what is not understood is refused.

A key that was passed over would change every answer without a word: a rotary scaling, a window of attention. Sources:
the keys' meanings in llama.cpp (src/llama-model.cpp) and what its convert_hf_to_gguf.py writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aftertune.errors import ModelError, near
from aftertune.models.gguf_files import AGAIN, FOLDER, GGUFHeader

ROPE_FACTORS = "rope_freqs.weight"
"""The tensor that divides the rotary frequencies (Llama 3.1 and later)."""


@dataclass(frozen=True, slots=True)
class Family:
    """How llama.cpp's name of an architecture is read."""

    model_type: str
    """In transformers."""
    permuted: bool = False
    """Whether llama.cpp stores the rows of queries and keys with each head's two halves interleaved."""
    biases: tuple[tuple[str, str], ...] = ()
    """Setting in the configuration -> the tensor of the first layer that says it is on."""


FAMILIES: Mapping[str, Family] = {
    # Mistral, SmolLM, TinyLlama, Yi and others are stored as `llama` too.
    "llama": Family("llama", True, (("attention_bias", "blk.0.attn_q.bias"), ("mlp_bias", "blk.0.ffn_up.bias"))),
    "qwen2": Family("qwen2"),
    "qwen3": Family("qwen3", biases=(("attention_bias", "blk.0.attn_q.bias"),)),
}
"""`general.architecture` -> how it is read."""

_SIZES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "context_length": "max_position_embeddings",
}
_PASSED_OVER = frozenset({"rope.scaling.finetuned", "vocab_size", "tensor_data_layout"})
"""Keys that decide no answer here: the vocabulary's size is that of the embeddings."""
_NO_SCALING = ("", "none")


def configuration(header: GGUFHeader) -> dict[str, Any]:
    """Return a model's settings as transformers' configuration takes them.

    Raises ModelError for an architecture that is not read, and for a key or value that would change answers and is not
    understood.
    """
    family = family_of(header)
    keys = header.under(header.architecture)
    config: dict[str, Any] = {"model_type": family.model_type}
    for key, setting in _SIZES.items():
        config[setting] = _whole(header, keys, key)
    heads = config["num_attention_heads"]
    config["num_key_value_heads"] = _whole(header, keys, "attention.head_count_kv", heads)
    config["head_dim"] = _head_dim(header, keys, config["hidden_size"], heads)
    config["rms_norm_eps"] = _number(header, keys, "attention.layer_norm_rms_epsilon")
    config["rope_parameters"] = _rope(header, keys, config)
    config["vocab_size"] = _vocabulary(header, config["hidden_size"])
    config["tie_word_embeddings"] = "output.weight" not in header.tensors
    for setting, tensor in family.biases:
        config[setting] = tensor in header.tensors
    for name in ("bos", "eos", "padding"):
        if (token := header.metadata.get(f"tokenizer.ggml.{name}_token_id")) is not None:
            config["pad_token_id" if name == "padding" else f"{name}_token_id"] = token
    unknown = {key: value for key, value in keys.items() if key not in _PASSED_OVER and not _nothing(key, value)}
    for key, value in unknown.items():
        raise ModelError(
            f"{header.path}: {header.architecture}.{key} = {str(value)[:60]} in its metadata is not understood "
            f"here, and may change every answer: {FOLDER}"
        )
    return config


def family_of(header: GGUFHeader) -> Family:
    """Return how a file's architecture is read. Raises ModelError for one that is not."""
    family = FAMILIES.get(header.architecture)
    if family is None:
        raise ModelError(
            f"{header.path}: architecture '{header.architecture}' is not read from GGUF files"
            f"{near(header.architecture, list(FAMILIES))}: {FOLDER}"
        )
    return family


def _nothing(key: str, value: Any) -> bool:
    """Return whether a value switches off what its key is about."""
    if key.endswith(("scale", "factor")) and value == 1:
        return True
    return value in (0, "", None, []) or (isinstance(value, list) and not any(value))


def _whole(header: GGUFHeader, keys: dict[str, Any], key: str, default: int | None = None) -> int:
    value = keys.pop(key, default)
    if isinstance(value, list) and value and len(set(value)) == 1:
        value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        if isinstance(value, list):
            raise ModelError(
                f"{header.path}: {header.architecture}.{key} differs between layers, which is not read: {FOLDER}"
            )
        raise ModelError(f"{header.path}: {header.architecture}.{key} is missing or no number above 0: {AGAIN}")
    return value


def _number(header: GGUFHeader, keys: dict[str, Any], key: str, default: float | None = None) -> float:
    """Return a number as it was before it was rounded to float32: its shortest decimal form (1e-05, not 9.99e-06)."""
    import numpy as np

    value = keys.pop(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise ModelError(f"{header.path}: {header.architecture}.{key} is missing or no number above 0: {AGAIN}")
    return float(str(np.float32(value)))


def _head_dim(header: GGUFHeader, keys: dict[str, Any], width: int, heads: int) -> int:
    rotary = keys.pop("rope.dimension_count", None)
    head_dim = _whole(header, keys, "attention.key_length", width // heads)
    values = _whole(header, keys, "attention.value_length", head_dim)
    if head_dim != values or rotary not in (None, head_dim):
        raise ModelError(
            f"{header.path}: heads of {head_dim} numbers with values of {values} and {rotary} rotated ones: only equal "
            f"ones are read; {FOLDER}"
        )
    return head_dim


def _vocabulary(header: GGUFHeader, width: int) -> int:
    """Return the rows of the embeddings, which may be more than the tokens."""
    embeddings, tokens = header.tensors.get("token_embd.weight"), header.metadata.get("tokenizer.ggml.tokens")
    if embeddings is None or len(embeddings.shape) != 2 or embeddings.shape[1] != width:
        raise ModelError(f"{header.path}: no embeddings of {width} numbers each (token_embd.weight): {AGAIN}")
    if not isinstance(tokens, list) or not tokens:
        raise ModelError(f"{header.path}: no tokenizer.ggml.tokens in its metadata: {AGAIN}")
    if len(tokens) > embeddings.shape[0]:
        raise ModelError(
            f"{header.path}: {len(tokens):,} tokens and embeddings for {embeddings.shape[0]:,}: it is damaged, {AGAIN}"
        )
    return embeddings.shape[0]


def _rope(header: GGUFHeader, keys: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotary settings. Raises ModelError for a scaling that is not read."""
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": _number(header, keys, "rope.freq_base", 10000.0)}
    kind = keys.pop("rope.scaling.type", "none")
    keys.setdefault("rope.scaling.factor", keys.pop("rope.scale_linear", 0) or 1.0)
    factor = _number(header, keys, "rope.scaling.factor") if keys["rope.scaling.factor"] else 1.0
    original = keys.pop("rope.scaling.original_context_length", None)
    if kind == "yarn":
        if not isinstance(original, int) or original < 1 or factor == 1:
            raise ModelError(f"{header.path}: a yarn scaling without its factor or original context: {AGAIN}")
        rope |= {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
        for name in ("beta_fast", "beta_slow"):
            if f"rope.scaling.yarn_{name}" in keys:
                rope[name] = _number(header, keys, f"rope.scaling.yarn_{name}")
    elif kind == "linear" or (kind in _NO_SCALING and factor != 1):
        rope |= {"rope_type": "linear", "factor": factor} if factor != 1 else {}
    elif kind not in _NO_SCALING:
        raise ModelError(f"{header.path}: rotary scaling '{kind}' is not read from GGUF files: {FOLDER}")
    if ROPE_FACTORS in header.tensors:
        if rope["rope_type"] != "default":
            raise ModelError(f"{header.path}: two rotary scalings at once ({kind} and {ROPE_FACTORS}): {FOLDER}")
        rope |= _llama3_scaling(header, float(rope["rope_theta"]), int(config["head_dim"]))
    return rope


_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What all Llama 3.1 to 3.3 have; only the factor differs, and the tensor's largest number is it."""


def _llama3_scaling(header: GGUFHeader, theta: float, head_dim: int) -> dict[str, Any]:
    """Return the scaling whose frequencies the file's factors are, or raise ModelError where none of that kind is.

    Llama 3's scaling (its `apply_scaling`): waves longer than 8192 are slowed by the factor, those shorter than a
    quarter of that not at all, those between by a mean of both. llama.cpp stores the quotient for each frequency.
    """
    import numpy as np

    tensor = header.tensors[ROPE_FACTORS]
    if tensor.quantization != "F32" or math.prod(tensor.shape) != head_dim // 2:
        raise ModelError(
            f"{header.path}: {ROPE_FACTORS} does not fit heads of {head_dim} numbers: it is damaged, {AGAIN}"
        )
    stored = np.fromfile(header.path, dtype="<f4", count=head_dim // 2, offset=tensor.start).astype(np.float64)
    if np.all(stored == 1):
        return {}
    low, high, context = (
        _LLAMA3["low_freq_factor"],
        _LLAMA3["high_freq_factor"],
        _LLAMA3["original_max_position_embeddings"],
    )
    factor = float(stored.max())
    waves = 2 * math.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((context / waves - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    if not np.allclose(stored, expected, rtol=1e-4):
        raise ModelError(f"{header.path}: the rotary factors of {ROPE_FACTORS} are not those of Llama 3: {FOLDER}")
    return {"rope_type": "llama3", "factor": factor, **_LLAMA3}
