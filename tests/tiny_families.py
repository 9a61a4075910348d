"""Random-weight checkpoints of families beside the four plain ones: image-and-text models, mixtures, hybrids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests import tiny_models

TEXT: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
VISION: Mapping[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {"hidden_size": 16, "intermediate_size": 24, "depth": 1, "num_heads": 2, "out_hidden_size": 32}
MIXTURE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
WINDOWS = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
GATED_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}


def _angles(*sections: int, **more: float) -> dict[str, Any]:
    return {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": list(sections), **more},
    }


def _with_vision(text: str, vision: str, **more: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda base: {
        "text_config": base | {"model_type": text},
        "vision_config": {**VISION, "model_type": vision},
        **more,
    }


CONFIGS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "gemma3": lambda base: {"text_config": base | WINDOWS, "vision_config": dict(VISION), "mm_tokens_per_image": 4},
    "qwen2_5_vl": lambda base: {
        "text_config": base | _angles(1, 1, 2),
        "vision_config": QWEN_VISION | {"fullatt_block_indexes": [0]},
    },
    "qwen3_5": lambda base: {
        "text_config": base | GATED_DELTA | _angles(1, 0, 0, partial_rotary_factor=0.25),
        "vision_config": QWEN_VISION | {"num_position_embeddings": 16},
    },
    "paligemma": _with_vision("gemma", "siglip_vision_model", image_token_index=5, projection_dim=32),
    "mistral3": _with_vision("mistral", "pixtral", image_token_index=5),
    "llava": _with_vision("llama", "clip_vision_model", image_token_index=5),
    "idefics3": lambda base: {
        "text_config": base | {"model_type": "llama"},
        "vision_config": dict(VISION),
        "image_token_id": 5,
        "scale_factor": 1,
    },
    "internvl": lambda base: {
        "text_config": base | {"model_type": "qwen2"},
        "vision_config": {**VISION, "image_size": [28, 28], "patch_size": [14, 14]},
        "image_token_id": 5,
    },
    "mllama": lambda base: {
        "text_config": base | {"cross_attention_layers": [1], "bos_token_id": 0, **_angles()},
        "vision_config": {
            **{key: VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "image_size")},
            "patch_size": 14, "num_global_layers": 1, "attention_heads": 2, "vision_output_dim": 32,
            "intermediate_layers_indices": [0], "max_num_tiles": 1, "supported_aspect_ratios": [[1, 1]],
        },
    },
    "llama4": lambda base: {
        "text_config": base
        | {"num_local_experts": 4, "intermediate_size_mlp": 48, "attention_chunk_size": 64, "moe_layers": [1]},
        "vision_config": {**VISION, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16},
    },
    "qwen3_moe": lambda base: base | MIXTURE,
    "qwen2_moe": lambda base: base | MIXTURE | {"shared_expert_intermediate_size": 16, "mlp_only_layers": [0]},
    "granitemoe": lambda base: base | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "phimoe": lambda base: base | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "minimax": lambda base: base
    | {"num_local_experts": 4, "layer_types": ["linear_attention", "full_attention"], "block_size": 16},
    "bamba": lambda base: base | MAMBA | {"attn_layer_indices": [1]},
    "jamba": lambda base: base
    | {
        "num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
    },
    "falcon_h1": lambda base: base | MAMBA | {"mamba_d_ssm": 64},
    "nemotron_h": lambda base: base
    | {
        "layers_block_type": ["mamba", "attention", "moe"], "mamba_num_heads": 4, "mamba_head_dim": 16,
        "ssm_state_size": 8, "n_groups": 1, "n_routed_experts": 4, "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 16, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    },
    "zamba2": lambda base: base
    | {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "mamba_d_state": 8,
        "mamba_ngroups": 1, "n_mamba_heads": 4, "mamba_headdim": 16, "adapter_rank": 4, "num_mem_blocks": 1,
    },
}  # fmt: skip


def save(family: str, folder: Path, *, architecture: str = "") -> Path:
    """Write a checkpoint with random weights (hidden 32, 2 layers) and a tokenizer."""
    model = build(family, architecture=architecture)
    model.save_pretrained(folder)
    tiny_models.tokenizer("qwen").save_pretrained(folder)
    return folder


def build(family: str, *, architecture: str = "") -> Any:
    """Return a model with random weights, wide enough that its logits differ from token to token."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    tokenizer = tiny_models.tokenizer("qwen")
    ids = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config: Any = transformers.CONFIG_MAPPING[family](**CONFIGS[family]({**TEXT, **ids}))
    auto: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    if architecture:
        auto, config = getattr(transformers, architecture), config.get_text_config(decoder=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto(config) if architecture else auto.from_config(config)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if weights.dim() >= 2 and weights.numel() > 1 and weights.std() < 0.1 and "A_log" not in name:
                    weights.normal_(0, 0.15)
    return model.eval()
