"""A LoRA is put on the linear layers of the text model that learn and can be asked, and on no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import tiny_families, tiny_models

from aftertune.errors import ModelError
from aftertune.models.identity import resolve
from aftertune.models.loading import load_weights, outline, quiet
from aftertune.tuning.lora_modules import left_out, lora_modules, patterns, text_parameters

IDS = [5, 9, 17, 40, 3]
ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
DENSE = [*ATTENTION, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
GATED_DELTA = [f"linear_attn.{name}" for name in ("out_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a")]
FEED = ["feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj"]
SHARED = [f"feed_forward.shared_expert.{name}" for name in ("gate_proj", "up_proj", "down_proj")]
QWEN2_SHARED = [f"mlp.shared_expert.{name}" for name in ("gate_proj", "up_proj", "down_proj")]
NEMOTRON = ["in_proj", "q_proj", "k_proj", "v_proj", "o_proj", "shared_experts.up_proj", "shared_experts.down_proj"]
PLACES = {
    "gemma3": ("model.language_model.layers", DENSE),
    "qwen2_5_vl": ("model.language_model.layers", DENSE),
    "mistral3": ("model.language_model.layers", DENSE),
    "idefics3": ("model.text_model.layers", DENSE),
    "qwen3_5": ("model.language_model.layers", [*GATED_DELTA, *DENSE]),
    "mllama": ("model.language_model.layers", DENSE),  # its cross-attention is never reached by a text
    "llama4": ("language_model.model.layers", [*ATTENTION, *FEED, *SHARED]),
    "qwen3_moe": ("model.layers", ATTENTION),
    "qwen2_moe": ("model.layers", [*DENSE, *QWEN2_SHARED]),
    "granitemoe": ("model.layers", ATTENTION),
    "phimoe": ("model.layers", ATTENTION),
    "falcon_h1": ("model.layers", [*FEED, "mamba.in_proj", *ATTENTION]),
    "nemotron_h": ("model.layers", [f"mixer.{name}" for name in NEMOTRON]),
    "zamba2": ("model.layers", ["mamba.in_proj", "linear", "mamba_decoder.mamba.in_proj"]),  # its attention is shared
}


@pytest.mark.parametrize("family", PLACES)
def test_the_text_models_own_layers_are_chosen(family: str) -> None:
    from peft import LoraConfig, get_peft_model
    from peft.tuners.lora import LoraLayer

    model = tiny_families.build(family)
    names = lora_modules(model, IDS)
    place, layers = PLACES[family]
    assert set(patterns(names)) == {f"{place}.*.{layer}" for layer in layers}
    with quiet():
        tuned = get_peft_model(model, LoraConfig(r=2, target_modules=set(names), task_type="CAUSAL_LM"))
    base = tuned.get_base_model()
    put = {name for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    assert put == set(names), "PEFT puts a LoRA on these and no others"


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma", "qwen"])
def test_of_a_plain_model_all_linear_layers_but_the_last_are_chosen(family: tiny_models.Family, tmp_path: Path) -> None:
    import torch

    model = load_weights(resolve(tiny_models.save(family, tmp_path)), torch.float32, "cpu")
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert set(lora_modules(model, IDS)) == linear - {"lm_head"}
    assert text_parameters(model).keys() == dict(model.named_parameters()).keys()


def test_experts_one_by_one_and_their_router_are_left_alone() -> None:
    """As in older models, whose experts are linear layers in a list, beside a gate that is one too."""
    import torch

    model = tiny_families.build("qwen3_moe")
    experts = torch.nn.ModuleList(torch.nn.Linear(32, 16) for _ in range(4))
    for layer in model.model.layers:
        layer.mlp = torch.nn.ModuleDict(
            {
                "gate": torch.nn.Linear(32, 4),
                "experts": experts,
                "shared_expert": torch.nn.Linear(32, 32),
                "shared_expert_gate": torch.nn.Linear(32, 1),
                "fc": torch.nn.Linear(32, 32),
            }
        )
    chosen = set(patterns(lora_modules(model)))
    assert chosen == {f"model.layers.*.{name}" for name in [*ATTENTION, "mlp.shared_expert", "mlp.fc"]}


def test_an_outline_without_weights_gives_the_same_layers(tmp_path: Path) -> None:
    for family in ("gemma3", "qwen3_moe", "falcon_h1"):
        reference = resolve(tiny_families.save(family, tmp_path / family))
        assert lora_modules(outline(reference)) == lora_modules(tiny_families.build(family), IDS)


def test_the_number_of_a_layer_is_a_star() -> None:
    names = ["model.layers.0.mlp.up_proj", "model.layers.11.mlp.up_proj", "model.projections.2"]
    assert patterns(names) == ("model.layers.*.mlp.up_proj", "model.projections.*")


def test_a_model_without_such_a_layer_is_refused() -> None:
    import torch

    model = tiny_families.build("qwen3_moe")
    for layer in model.model.layers:
        layer.self_attn = torch.nn.Identity()
    with pytest.raises(ModelError, match="Qwen3MoeForCausalLM has no linear layer that a LoRA can be put on"):
        lora_modules(model)


def test_full_tuning_moves_the_text_model_alone() -> None:
    model = tiny_families.build("gemma3")
    text = text_parameters(model)
    assert text
    assert all(name.startswith(("model.language_model.", "lm_head.")) for name in text)
    rest = set(dict(model.named_parameters())) - set(text)
    assert {name.split(".")[1] for name in rest} == {"vision_tower", "multi_modal_projector"}


@pytest.mark.parametrize(
    ("family", "left"),
    [
        ("gemma3", set()),
        ("qwen3_moe", {"model.layers.*.mlp.experts"}),
        ("falcon_h1", {"model.layers.*.mamba.out_proj"}),
    ],
)
def test_what_a_lora_leaves_alone_is_named(family: str, left: set[str]) -> None:
    model = tiny_families.build(family)
    found = set(left_out(model, lora_modules(model, IDS)))
    assert found == left
