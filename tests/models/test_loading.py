"""The class that a checkpoint names is loaded, whatever it reads beside text, or it is refused before its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_families, tiny_models

from aftertune.errors import ModelError
from aftertune.models import loading
from aftertune.models.identity import chat_template, resolve
from aftertune.models.loading import load_model, load_tokenizer, model_class, outline

IDS = [5, 9, 17, 40, 3]


def logits(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([IDS]), use_cache=False).logits


@pytest.mark.parametrize(
    "family", ["gemma3", "qwen2_5_vl", "qwen3_5", "mistral3", "llava", "idefics3", "internvl", "mllama", "llama4"]
)
def test_an_image_and_text_model_answers_texts_as_its_own_class(family: str, tmp_path: Path) -> None:
    made = tiny_families.build(family)
    reference = resolve(tiny_families.save(family, tmp_path))
    model = load_model(reference, "float32", "cpu")
    assert type(model) is type(made)
    assert type(model).__name__ == reference.architecture
    assert logits(model).equal(logits(made))
    assert type(outline(reference)) is type(made)


def test_a_text_model_of_a_family_that_also_sees_is_loaded_as_a_text_model(tmp_path: Path) -> None:
    """As it is saved alone, and under the configuration of the whole, which names the text class."""
    alone = tiny_families.save("qwen3_5", tmp_path / "alone", architecture="Qwen3_5ForCausalLM")
    model = load_model(resolve(alone), "float32", "cpu")
    assert type(model).__name__ == "Qwen3_5ForCausalLM"
    whole = tiny_families.save("qwen3_5", tmp_path / "whole")
    tiny_models.edit_json(whole / "config.json", architectures=["Qwen3_5ForCausalLM"])
    kind, config = model_class(resolve(whole))
    assert (kind.__name__, config.model_type) == ("Qwen3_5ForCausalLM", "qwen3_5_text")


def test_a_class_of_a_models_own_code_gives_the_class_of_its_configuration(tmp_path: Path) -> None:
    text = tiny_models.save("qwen", tmp_path / "text")
    tiny_models.edit_json(text / "config.json", architectures=["MyForCausalLM"])
    assert model_class(resolve(text))[0].__name__ == "Qwen2ForCausalLM"
    seeing = tiny_families.save("llava", tmp_path / "seeing")
    tiny_models.edit_json(seeing / "config.json", architectures=["MyChatModel"])
    assert model_class(resolve(seeing))[0].__name__ == "LlavaForConditionalGeneration"


def encoder_decoder(folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    kind: Any = T5ForConditionalGeneration
    kind(T5Config(vocab_size=420, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(folder)
    tiny_models.tokenizer("qwen").save_pretrained(folder)


def decoder_of_two(folder: Path) -> None:
    """BART, whose decoder alone transformers would load as a causal model, without a word."""
    from transformers import BartConfig, BartForConditionalGeneration

    sizes: dict[str, Any] = {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
    }
    config = BartConfig(vocab_size=420, encoder_attention_heads=2, decoder_attention_heads=2, **sizes)
    kind: Any = BartForConditionalGeneration
    kind(config).save_pretrained(folder)
    tiny_models.tokenizer("qwen").save_pretrained(folder)


def reward_model(folder: Path) -> None:
    tiny_models.save("qwen", folder)  # its tied output layer would make a language model of a classifier's weights
    tiny_models.edit_json(folder / "config.json", architectures=["Qwen2ForSequenceClassification"])


def embedder(folder: Path) -> None:
    tiny_models.save("qwen", folder)
    tiny_models.edit_json(folder / "config.json", architectures=["Qwen2Model"])


def unknown(folder: Path) -> None:
    tiny_models.save("qwen", folder)
    tiny_models.edit_json(folder / "config.json", architectures=["NewForCausalLM"], model_type="a-new-one")


def of_images(folder: Path) -> None:
    tiny_models.save("qwen", folder)
    tiny_models.edit_json(folder / "config.json", architectures=["MyViT"], model_type="vit")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (encoder_decoder, "T5ForConditionalGeneration reads with an encoder and writes with a decoder"),
        (decoder_of_two, "BartForConditionalGeneration reads with an encoder and writes with a decoder"),
        (reward_model, "names the class Qwen2ForSequenceClassification, which does not write text"),
        (embedder, "names the class Qwen2Model, which does not write text"),
        (unknown, "a-new-one"),
        (of_images, "has no language model for MyViT"),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_what_writes_no_text_is_refused_before_its_weights_load(
    make: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import PreTrainedModel

    make(tmp_path)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", never)
    for use in (outline, lambda reference: load_model(reference, "float32", "cpu")):
        with pytest.raises(ModelError, match=why) as caught:
            use(resolve(tmp_path))
        assert "\n" not in str(caught.value)


def test_a_class_that_lacks_packages_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import LlavaForConditionalGeneration

    reference = resolve(tiny_families.save("llava", tmp_path))

    def lacking(*_: Any, **__: Any) -> None:
        raise ImportError(
            "\nTower requires the PIL library but it was not found in your environment. You can install it with pip:\n"
            "`pip install pillow`. Please note that you may need to restart your runtime after installation.\n"
            "\nTower requires the timm library but it was not found in your environment. You can install it with pip:\n"
            "`pip install timm`. Please note that you may need to restart your runtime after installation.\n"
        )

    monkeypatch.setattr(LlavaForConditionalGeneration, "__init__", lacking)
    for use in (outline, lambda each: load_model(each, "float32", "cpu")):
        with pytest.raises(ModelError, match=r"needs packages that are not installed: pip install pillow timm$"):
            use(reference)


def test_a_model_that_keeps_what_it_reads_in_a_way_of_its_own_is_refused(tmp_path: Path) -> None:
    model = load_model(resolve(tiny_families.save("minimax", tmp_path / "own")), "float32", "cpu")
    loading.refuse_text("base", model, IDS)  # with the cache that it makes itself
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "_supports_default_dynamic_cache", lambda *_: True)
        with pytest.raises(ModelError, match="MiniMaxForCausalLM cannot be asked here: MiniMax uses cache of its own"):
            loading.refuse_text("base", model, IDS)
    plain = load_model(resolve(tiny_models.save("llama", tmp_path / "plain")), "float32", "cpu")
    loading.refuse_text("base", plain, IDS)


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    """One that reads a prompt in both directions would be trained on answers that it sees."""
    model = load_model(resolve(tiny_families.save("paligemma", tmp_path)), "float32", "cpu")
    with pytest.raises(
        ModelError, match="PaliGemmaForConditionalGeneration cannot be asked here: its logits for the beginning"
    ):
        loading.refuse_text("base", model, IDS)


@pytest.mark.parametrize("family", ["gemma3", "qwen3_5", "llama4", "granitemoe", "falcon_h1", "bamba", "jamba"])
def test_a_model_that_reads_token_by_token_is_not(family: str, tmp_path: Path) -> None:
    model = load_model(resolve(tiny_families.save(family, tmp_path)), "float32", "cpu")
    loading.refuse_text("base", model, IDS)


def test_the_tokenizer_needs_no_package_for_images(tmp_path: Path) -> None:
    """A processor's files lie in the folder of an image-and-text model; older ones hold the chat template there."""
    folder = tiny_families.save("idefics3", tmp_path)
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Idefics3Processor"}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Idefics3ImageProcessor"}))
    tiny_models.edit_json(folder / "tokenizer_config.json", processor_class="Idefics3Processor")
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    assert load_tokenizer(resolve(folder)).chat_template == template
    (folder / "chat_template.jinja").unlink()
    assert resolve(folder).template_hash is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    reference = resolve(folder)
    assert reference.template_hash is not None
    assert chat_template(folder) == load_tokenizer(reference).chat_template == "{{ messages }}"
