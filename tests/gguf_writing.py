"""GGUF files made of small models' folders, as llama.cpp's convert_hf_to_gguf.py makes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
CONTROL, USER_DEFINED, NORMAL, UNUSED, BYTE = 3, 4, 1, 5, 6
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def interleaved(weights: Numbers, heads: int) -> Numbers:
    """Return the rows of queries or keys as llama.cpp stores them (`LlamaModel.permute` in its converter)."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def write(
    folder: Path,
    file: Path,
    *,
    quantization: str = "F32",
    pre: str | None = "gpt-2",
    leave_out: Sequence[str] = (),
    more: Mapping[str, Numbers] | None = None,
    **metadata: Any,
) -> Path:
    """Write the model in `folder` as a GGUF file, its matrices quantised.

    `metadata` replaces keys, with `__` for the dot between words, or leaves them out where None; `leave_out` and `more`
    are tensors by their names in the file.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = ARCHITECTURES[config["model_type"]]
    values: dict[str, Any] = {"general.type": "model", **settings(config, architecture), **vocabulary(folder, pre)}
    for key, value in metadata.items():
        values[key.replace("__", ".")] = value
    names = gguf.get_tensor_name_map(
        next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), config["num_hidden_layers"]
    )
    tensors = dict(more or {})
    for name, weights in load_file(folder / "model.safetensors").items():
        stored = str(names.get_name(name, try_suffixes=(".weight", ".bias")))
        for part, heads in (("attn_q.", "num_attention_heads"), ("attn_k.", "num_key_value_heads")):
            if architecture == "llama" and part in stored:
                weights = interleaved(weights, config[heads])
        if stored not in leave_out:
            tensors[stored] = weights
    return save(file, architecture, values, tensors, quantization)


def save(
    file: Path,
    architecture: str,
    values: Mapping[str, Any],
    tensors: Mapping[str, Numbers],
    quantization: str = "F32",
    raw: Mapping[str, tuple[Numbers, str]] | None = None,
) -> Path:
    """Write a GGUF file of metadata and tensors; those of two dimensions are quantised, or are the bytes of `raw`."""
    import gguf

    kind = gguf.GGMLQuantizationType[quantization]
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, weights in tensors.items():
        if raw and name in raw:
            writer.add_tensor(name, raw[name][0], raw_dtype=gguf.GGMLQuantizationType[raw[name][1]])
            continue
        plain = weights.ndim < 2 or quantization == "F32"
        data = np.ascontiguousarray(weights) if plain else gguf.quantize(weights, kind)
        writer.add_tensor(name, data, raw_dtype=None if plain else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def settings(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """Return what the converter writes of a configuration."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    keys = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": config["rope_parameters"]["rope_theta"],
    }
    if architecture == "llama":
        keys |= {"vocab_size": config["vocab_size"], "rope.dimension_count": head_dim}
    if architecture == "qwen3":
        keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    return {f"{architecture}.{key}": value for key, value in keys.items()}


def vocabulary(folder: Path, pre: str | None) -> dict[str, Any]:
    """Return what the converter writes of a byte-level tokenizer."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    named = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    ids = dict(content["model"]["vocab"])
    added = {token["content"]: token for token in content["added_tokens"]}
    ids |= {name: token["id"] for name, token in added.items()}
    tokens = sorted(ids, key=lambda token: ids[token])
    kinds = [NORMAL if token not in added else CONTROL if added[token]["special"] else USER_DEFINED for token in tokens]
    values: dict[str, Any] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [
            each if isinstance(each, str) else " ".join(each) for each in content["model"]["merges"]
        ],
        "tokenizer.chat_template": (folder / "chat_template.jinja").read_text(encoding="utf-8"),
    }
    for key, name in (("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token")):
        if token := named.get(name):
            values[f"tokenizer.ggml.{key}_token_id"] = ids[token if isinstance(token, str) else token["content"]]
    return values


def sentencepiece(pieces: Iterable[str], control: Sequence[str] = ("<s>", "</s>")) -> dict[str, Any]:
    """Return the metadata of a SentencePiece tokenizer with these pieces, the earlier the sooner merged."""
    own = list(pieces)
    data = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", *control, *data, *own]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * (1 + len(control) + 256) + [-float(rank) for rank in range(len(own))],
        "tokenizer.ggml.token_type": [2, *[CONTROL] * len(control), *[BYTE] * 256, *[NORMAL] * len(own)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
