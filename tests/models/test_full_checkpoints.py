"""Full checkpoints whose files differ from the base's in more than numbers: names, tensors that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf import tiny_families as families
from tests import tiny_families, tiny_models

from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import ModelError
from aftertune.models.identity import resolve
from aftertune.models.weight_files import counterparts
from aftertune.records import Proof

Tensors = Mapping[str, Any]


def edit(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Change the tensors of a model's file."""
    from safetensors.torch import load_file, save_file

    tensors = {
        key: value.contiguous().clone() for key, value in change(load_file(folder / "model.safetensors")).items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def full_tuned(base: Path, folder: Path, **how: Any) -> tuple[Path, int]:
    """Write a full checkpoint of a base, as transformers loads and saves it; return how many weights moved too."""
    import torch
    import transformers

    kind = getattr(transformers, str(resolve(base).architecture))
    model = kind.from_pretrained(base)
    moved = 0
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if name.endswith(("o_proj.weight", "c_proj.weight", "gate_up_proj")):
                moved += int((weights != 0).sum())
                weights.mul_(1.5)
    model.save_pretrained(folder, **how)
    tiny_models.tokenizer("qwen").save_pretrained(folder)
    return folder, moved


def gpt2(folder: Path) -> Path:
    """Write a GPT-2 as it is published, its tensors without the outer module's name."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_models.tokenizer("qwen")
    kind: Any = GPT2LMHeadModel
    kind(GPT2Config(vocab_size=len(tokenizer), n_positions=256, n_embd=16, n_layer=2, n_head=2)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return edit(folder, lambda tensors: {key.removeprefix("transformer."): value for key, value in tensors.items()})


def used(base: Path, checkpoint: Path) -> Proof:
    with Transformers(device="cpu").open(str(base)) as session:
        return session.use(checkpoint)


def test_a_model_that_is_published_without_its_outer_module_is_the_base_of_what_transformers_saves(
    tmp_path: Path,
) -> None:
    base = gpt2(tmp_path / "base")
    checkpoint, moved = full_tuned(base, tmp_path / "full")
    assert moved == 2 * (16 * 16 + 64 * 16)
    assert used(base, checkpoint).moved_weights == moved


@pytest.mark.parametrize("family", ["gemma3", "qwen2_5_vl", "llava", "qwen3_moe"])
def test_a_checkpoint_in_the_names_of_memory_is_one_of_a_base_in_the_names_of_the_hub(
    family: str, tmp_path: Path
) -> None:
    base = tiny_families.save(family, tmp_path / "base")
    checkpoint, moved = full_tuned(base, tmp_path / "full", save_original_format=False)
    assert moved > 1000
    assert used(base, checkpoint).moved_weights == moved


@pytest.mark.parametrize(("family", "layer"), [("qwen3_5_text", "mtp."), ("glm4_moe", "model.layers.46.")])
def test_layers_that_look_further_ahead_may_be_in_the_base_alone_or_in_both(
    family: str, layer: str, tmp_path: Path
) -> None:
    """Qwen3.5 and GLM are published with them; transformers neither loads nor saves them."""

    def ahead(tensors: Tensors) -> Tensors:
        third = {key: value for key, value in tensors.items() if "layers.2." in key}
        return {**tensors, **{key.replace("model.layers.2.", layer): value for key, value in third.items()}}

    base = families.save(family, tmp_path / "base", tiny_models.tokenizer("qwen"))
    checkpoint, moved = full_tuned(edit(base, ahead), tmp_path / "full")
    assert used(base, checkpoint).moved_weights == moved > 1000
    assert used(base, edit(checkpoint, ahead)).moved_weights == moved


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1.self_attn.o_proj.bias",
        "model.layers.1.self_attn.o_proj.lora_A.default.weight",
        "model.layers.7.self_attn.o_proj.weight",
        "v_head.summary.weight",
    ],
)
def test_a_tensor_that_nothing_reads_is_refused_and_named(name: str, tmp_path: Path) -> None:
    """What was tuned into it would be left out, and the rest proved."""
    import torch

    def more(tensors: Tensors) -> Tensors:
        return {**tensors, name: torch.ones(4, 4)}

    base = tiny_models.save("llama", tmp_path / "base")
    checkpoint = edit(full_tuned(base, tmp_path / "full")[0], more)
    with pytest.raises(
        ModelError, match=f"1 tensors in its files are read by nothing in LlamaForCausalLM, e.g. {name}:"
    ):
        used(base, checkpoint)
    edit(base, more)  # what the base has as well was not tuned into the checkpoint
    assert (used(base, checkpoint).moved_weights or 0) > 1000


def test_fewer_layers_and_other_shapes_are_still_not_of_this_base(tmp_path: Path) -> None:
    base = gpt2(tmp_path / "base")
    checkpoint, _ = full_tuned(base, tmp_path / "full")
    edit(checkpoint, lambda tensors: {key: value for key, value in tensors.items() if ".h.1." not in key})
    with pytest.raises(ModelError, match=r"12 tensors of the base .+ are not in it, e.g. h.1.attn.c_attn.bias"):
        resolve(checkpoint, base=resolve(base))
    edit(full_tuned(base, tmp_path / "full")[0], lambda tensors: {
        key: value[:, :8] if key.endswith("0.attn.c_proj.weight") else value for key, value in tensors.items()
    })  # fmt: skip
    with pytest.raises(ModelError, match=r"1 tensors of the base .+ are not in it, e.g. h.0.attn.c_proj.weight"):
        resolve(checkpoint, base=resolve(base))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_of_a_projector_is_found_under_the_names_of_the_files(tmp_path: Path) -> None:
    """PEFT's "all-linear" takes all linear layers of an image-and-text model, those outside of layers among them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    for family in ("gemma3", "mistral3", "llava"):
        base = tiny_families.save(family, tmp_path / family / "base")
        kind: Any = AutoModelForImageTextToText
        config = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", task_type="CAUSAL_LM")
        model: Any = get_peft_model(kind.from_pretrained(base), config)
        torch.manual_seed(0)
        pairs = {name: weights for name, weights in model.named_parameters() if "lora_" in name}
        for weights in pairs.values():
            torch.nn.init.normal_(weights, std=0.1)
        assert any(".layers." not in name for name in pairs)
        model.save_pretrained(tmp_path / family / "adapter")
        proof = used(base, tmp_path / family / "adapter")
        entries = [out.shape[0] * pairs[name.replace("lora_B", "lora_A")].shape[1] for name, out in pairs.items()
                   if "lora_B" in name]  # fmt: skip
        assert proof.moved_weights == sum(entries)


NAMES = st.dictionaries(
    st.builds(
        "layers.{}.{}.{}.weight".format,
        st.integers(0, 3),
        st.sampled_from(["self_attn", "mlp", "experts.0", "experts.1"]),
        st.sampled_from(["q_proj", "up_proj", "down_proj"]),
    ),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    min_size=1,
)


@given(shapes=NAMES, own=st.sampled_from(["", "model.", "model.language_model."]), other=st.sampled_from(["", "x.y."]))
def test_the_counterpart_of_a_tensor_has_its_name_under_another_outer_module(
    shapes: dict[str, tuple[int, ...]], own: str, other: str
) -> None:
    known = {own + key: shape for key, shape in shapes.items()}
    assert counterparts(known, {other + key: shape for key, shape in shapes.items()}) == {
        own + key: other + key for key in shapes
    }
    wider = {other + key: (shape[0] + 5, shape[1]) for key, shape in shapes.items()}
    assert own == other or not counterparts(known, wider)


def test_counterparts_of_a_mixture_that_is_stacked_and_of_a_larger_vocabulary() -> None:
    files = {
        "m.layers.0.moe.experts.0.w1.weight": (8, 4),
        "m.layers.1.moe.experts.0.w1.weight": (8, 4),
        "wte.weight": (9, 4),
    }
    memory = {"layers.0.mlp.experts.gate_up_proj": (2, 16, 4), "model.wte.weight": (12, 4)}
    assert counterparts(files, memory) == {
        "m.layers.0.moe.experts.0.w1.weight": "layers.0.mlp.experts.gate_up_proj",
        "wte.weight": "model.wte.weight",
    }
