"""Tiny models with random weights of every causal and image-and-text family that the installed transformers has.

A family is a key of transformers' own lists of causal and of image-and-text models. Its configuration class says which
settings it has; those that decide its size are set by their names, in `SETTINGS`. A family that needs more than that
has an entry in `OWN`.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Kind = Literal["text", "image and text"]

LAYERS = 4
SETTINGS: Mapping[str, Any] = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "embed_dim", "embedding_size", "width", "out_hidden_size"), 64
    ),
    **dict.fromkeys(
        ("n_inner", "ffn_hidden_size", "dim_ff", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim", "dff"), 96
    ),
    **dict.fromkeys(("intermediate_size", "intermediate_size_mlp", "dense_intermediate_size"), 96),
    **dict.fromkeys(("num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers"), LAYERS),
    **dict.fromkeys(("encoder_layers",), 1),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "swa_num_attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads"), 2),
    **dict.fromkeys(
        ("head_dim", "v_head_dim", "swa_head_dim", "global_head_dim", "kv_channels", "linear_head_dim"), 16
    ),
    **dict.fromkeys(("swa_v_head_dim", "attention_head_dim"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank", "d_rel", "laurel_rank", "gated_norm_rank"), 16),
    **dict.fromkeys(("index_head_dim", "rotary_dim"), 16),
    **dict.fromkeys(("index_n_heads", "o_groups", "hc_mult", "n_shared_experts", "num_shared_experts"), 2),
    **dict.fromkeys(("index_topk",), 24),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_groups", "n_group_for_routing"), 1),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "zero_expert_num"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts", "moe_num_experts_per_tok"), 2),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"), 32),
    **dict.fromkeys(("moe_shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("shared_experts_intermediate_size", "prefix_dense_intermediate_size"), 32),
    **dict.fromkeys(("num_dense_layers", "first_k_dense_replace", "moe_layer_start_index"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 512),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "attention_window_size", "attention_chunk_size"), 16),
    **dict.fromkeys(("window_size",), 16),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_n_heads", "n_mamba_heads", "mamba_num_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "mamba_headdim"), 16),
    **dict.fromkeys(("mamba_d_ssm",), 128),
    **dict.fromkeys(("mamba_n_groups", "mamba_ngroups", "n_groups"), 1),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 8),
    **dict.fromkeys(("mamba_dt_rank", "time_step_rank"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "linear_num_heads"), 4),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    **dict.fromkeys(("hidden_size_per_layer_input",), 8),
    **dict.fromkeys(("num_kv_shared_layers", "num_nextn_predict_layers", "num_mtp_layers"), 0),
    **dict.fromkeys(("adapter_rank", "vocab_size_per_layer_input_rank"), 8),
    **dict.fromkeys(("attn_layer_period", "expert_layer_period", "layer_group_size"), 2),
    **dict.fromkeys(("attn_layer_offset", "expert_layer_offset"), 1),
    "initializer_range": 0.2,
    "is_decoder": True,
    "add_cross_attention": False,
    "use_mamba_kernels": False,
}
"""Setting -> value, for every family that has the setting."""
OPTIONAL = frozenset({"sliding_window", "n_inner", "num_key_value_heads", "attention_chunk_size"})
"""Settings that switch something on: left alone where they are off."""
VISION: Mapping[str, Any] = {
    **dict.fromkeys(("hidden_size", "embed_dim", "width", "projection_dim"), 32),
    **dict.fromkeys(("intermediate_size", "mlp_dim"), 48),
    **dict.fromkeys(("num_hidden_layers", "depth", "layers", "num_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "num_heads", "attention_heads"), 2),
    **dict.fromkeys(("out_hidden_size", "output_dim", "output_hidden_size", "text_hidden_size"), 64),
    **dict.fromkeys(("num_key_value_heads",), 2),
    "image_size": 28,
    "patch_size": 14,
    "num_channels": 3,
    "in_channels": 3,
    "spatial_merge_size": 1,
    "fullatt_block_indexes": [0],
    "deepstack_visual_indexes": [0],
    "head_dim": 16,
}


def _sections(*sizes: int) -> dict[str, Any]:
    """Return how rotary angles are shared out to time, height and width, which must fit the size of a head."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": list(sizes)}}


OWN: Mapping[str, Mapping[str, Any]] = {
    "bamba": {"attn_layer_indices": [1, 3]},
    "chameleon": {"vocabulary_map": {"<image>": 5}},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots3_note": {"num_key_value_heads": 4},
    "dots3_note_text": {"num_key_value_heads": 4},
    "ernie4_5_vl_moe": {"moe_intermediate_size": [32, 32]},
    "glm5_next": {"num_key_value_heads": 4},
    **dict.fromkeys(("glm46v", "glm4v", "glm_ocr", "glmga", "qwen2_vl", "qwen2_5_vl"), _sections(2, 3, 3)),
    "glm4v_moe": _sections(1, 1, 2),
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"num_key_value_heads": 2},
    "qwen4_exp_text": {"num_key_value_heads": 2},
    "zamba": {"layers_block_type": ["linear_attention", "linear_attention", "hybrid", "hybrid"]},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
}
"""Family -> settings of its text model beside `SETTINGS`."""
TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
"""What configurations that hold a text model call its own."""


def families() -> dict[str, Kind]:
    """Return every family, by name; one in both lists is an image-and-text family."""
    from transformers.models.auto import modeling_auto as auto

    found: dict[str, Kind] = dict.fromkeys(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "text")
    found |= dict.fromkeys(auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, "image and text")
    return dict(sorted(found.items()))


def configuration(family: str, tokens: Mapping[str, int | None]) -> Any:
    """Return a family's tiny configuration; `tokens` are the tokenizer's `vocab_size` and special ids."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return _text(CONFIG_MAPPING[family], {**SETTINGS, **tokens}, OWN.get(family, {}))


def save(family: str, folder: Path, tokenizer: Any, *, seed: int = 0) -> Path:
    """Write a tiny checkpoint of a family with random weights, wide enough that logits differ from token to token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = configuration(family, {"vocab_size": len(tokenizer), **ends})
    kind: Any = AutoModelForCausalLM if families()[family] == "text" else AutoModelForImageTextToText
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = kind.from_config(config).eval()
        for name, weights in model.named_parameters():
            if weights.dim() >= 2 and weights.std() < 0.1 and "A_log" not in name:
                weights.normal_(0, 0.15)
        read, written = model.get_input_embeddings(), model.get_output_embeddings()
        if read is not None and written is not None and read.weight is written.weight:
            read.weight.normal_(0, 0.02)  # else a token's own row is the likeliest, and every answer repeats its prompt
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _text(kind: Any, settings: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """Return a configuration of a text model, or of a model that holds one."""
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    renamed = getattr(kind, "attribute_map", {}) or {}
    chosen: dict[str, Any] = {}
    for name, value in settings.items():
        place = name if name in defaults else renamed.get(name, name)
        if place == "head_dim" and "qk_rope_head_dim" in defaults:
            continue  # latent attention: it is that of the rotary part, and each family works it out
        off = name in OPTIONAL and defaults.get(place) in (None, False)
        if place in defaults and value is not None and not off:
            chosen.setdefault(place, value)
    parts = {name: type(getattr(kind(), name, None)) for name in getattr(kind, "sub_configs", None) or {}}
    for part, part_kind in parts.items():
        if part in own or not dataclasses.is_dataclass(part_kind):
            continue
        text = part in TEXT_PARTS
        chosen[part] = _text(part_kind, settings, own) if text else _text(part_kind, VISION, {})
    if "qk_rope_head_dim" in defaults and "num_key_value_heads" in chosen:
        chosen["num_key_value_heads"] = chosen["num_attention_heads"]
    held = any(part in TEXT_PARTS for part in parts)
    return kind(**{**chosen, **({} if held else own)})
