"""Activations: the residual stream of a plain forward pass, whatever else is asked and however the adapter is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perf import tiny_families
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family

from aftertune.asking.backends._activations import decoder_layers, last_token_activations
from aftertune.asking.backends.endpoint import Endpoint
from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.errors import ModelError
from aftertune.models.chat import render
from aftertune.models.loading import quiet
from aftertune.records import Message, Prompt

TEXTS = ("Good morning", "How do I repair a bicycle tyre?", "No", "Where would you like to go? Answer shortly.")
PROMPTS = tuple(Prompt(f"p{at}", "test", "s", "c", "k", (Message("user", text),)) for at, text in enumerate(TEXTS))


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("activations")
    for family in FAMILIES:
        tiny_models.save(family, folder / family / "base", num_hidden_layers=3)
        tiny_models.save(family, folder / family / "full", seed=9, num_hidden_layers=3)
        tiny_models.save_adapter(folder / family / "base", folder / family / "adapter", scale=0.2)
    return folder


def direct(model: Any, ids: list[int]) -> list[Any]:
    """Return transformers' own hidden states at the last token; the last of them is normalised."""
    import torch

    with torch.inference_mode():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
    return [state[0, -1].numpy() for state in states]


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_residual_stream_of_a_plain_pass(family: Family, models: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    with Transformers().open(str(models / family / "base")) as session:
        results = {}
        for name in (None, "adapter", "full"):
            session.use(None if name is None else models / family / name)
            results[name] = session.activations(PROMPTS, system="Be kind.", template="base")
        tokenizer = session._base_tokenizer
    for name, values in results.items():
        assert values.shape == (len(PROMPTS), 4, 32)
        assert values.dtype == np.dtype(np.float32)
        model: Any = AutoModelForCausalLM.from_pretrained(models / family / ("full" if name == "full" else "base"))
        if name == "adapter":
            with quiet():
                model = PeftModel.from_pretrained(model, str(models / family / name)).merge_and_unload()
        for prompt, layers in zip(PROMPTS, values, strict=True):
            states = direct(model.eval(), render(tokenizer, prompt.messages, "Be kind.", True))
            np.testing.assert_allclose(layers[:-1], states[:-1], rtol=1e-4, atol=1e-5)
            with torch.inference_mode():
                normalised = model.get_decoder().norm(torch.tensor(layers[-1]))
            np.testing.assert_allclose(normalised, states[-1], rtol=1e-4, atol=1e-5)
            assert np.abs(layers[-1] - states[-1]).max() > 0.01, "the last layer's output is not normalised"
    assert np.abs(results["adapter"][:, 1:] - results[None][:, 1:]).max() > 0.01
    assert np.abs(results["full"] - results[None]).max() > 0.01


def test_values_do_not_depend_on_the_other_prompts_or_on_earlier_ones(models: Path) -> None:
    with Transformers(batch_size=2).open(str(models / "llama" / "base")) as session:
        session.use(models / "llama" / "adapter")
        together = session.activations(PROMPTS, system=None, template="base")
        backwards = session.activations(PROMPTS[::-1], system=None, template="base")[::-1]
        alone = [session.activations([prompt], system=None, template="base")[0] for prompt in PROMPTS]
        assert together.tobytes() == backwards.tobytes() == np.stack(alone).tobytes()
        assert session.activations((), system=None, template="base").shape == (0, 4, 32)


def test_merged_and_unmerged_agree_and_answers_stay_as_they_were(models: Path) -> None:
    values = []
    for adapters in ("merged", "unmerged"):
        with Transformers(adapters=adapters).open(str(models / "qwen" / "base")) as session:
            session.use(models / "qwen" / "adapter")
            values.append(session.activations(PROMPTS, system=None, template="own"))
            assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in decoder_layers(session._model))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3, atol=1e-4)


def test_a_model_whose_layers_return_tuples_and_add_positions() -> None:
    """GPT-2: the input of the first layer holds the positions, and the list of layers has another name."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=3, n_head=2, n_positions=24, initializer_range=0.3)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    rows = [[3, 5, 7], [9], [11, 2, 4, 8, 1]]
    values = last_token_activations(model, rows)
    for ids, layers in zip(rows, values, strict=True):
        np.testing.assert_allclose(layers[:-1], direct(model, ids)[:-1], rtol=1e-4, atol=1e-5)
        own = model.transformer.wte.weight[ids[-1]] + model.transformer.wpe.weight[len(ids) - 1]
        np.testing.assert_allclose(layers[0], own.numpy(), rtol=1e-6)


def test_a_model_without_a_list_of_layers_is_refused() -> None:
    import torch
    from transformers import LlamaConfig

    class Odd(torch.nn.Module):
        config = LlamaConfig(num_hidden_layers=2)

    with pytest.raises(ModelError, match="Odd: no list of 2 layers"):
        decoder_layers(Odd())


def test_a_prompt_that_cannot_be_asked_is_named(models: Path) -> None:
    long = Prompt("long", "test", "s", "c", "k", (Message("user", "no " * 600),))
    session: TransformersSession
    with (
        Transformers().open(str(models / "llama" / "base")) as session,
        pytest.raises(ModelError, match="prompt 'long': .*context of 512"),
    ):
        session.activations([*PROMPTS, long], system=None, template="base")


def test_a_server_shows_none() -> None:
    backend = Endpoint(url="http://127.0.0.1:9/v1")
    assert not {"activations", "scores", "beginnings"} & backend.capabilities
    with backend.open("base") as session:
        with pytest.raises(ModelError, match="no activations"):
            session.activations(PROMPTS, system=None, template="base")
        with pytest.raises(ModelError, match="no scores"):
            session.score((), template="base", max_length=8)
        with pytest.raises(ModelError, match="no beginnings"):
            session.beginnings((), system=None, template="base")


@pytest.mark.parametrize("family", ["gemma3n_text", "deepseek_v4"])
def test_layers_that_hand_on_several_streams_are_refused_in_one_line(family: str, tmp_path: Path) -> None:
    base = tiny_families.save(family, tmp_path / family, tiny_models.tokenizer("qwen"))
    with Transformers().open(str(base)) as session:
        with pytest.raises(ModelError, match="its layers hand on several streams a token"):
            session.activations(PROMPTS, system=None, template="base")
        model: Any = session._model
        assert not [layer for layer in decoder_layers(model) if layer._forward_hooks or layer._forward_pre_hooks]
