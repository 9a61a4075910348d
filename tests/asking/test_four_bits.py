"""A base in 4 bits: the weights are NF4's, adapters on it are proved, and no text depends on its neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.errors import AdapterNotAppliedError, MissingPackageError, ModelError
from aftertune.models import nf4_weights
from aftertune.models.session import Request
from aftertune.records import Conversation, Message, Prompt, Recipe
from aftertune.tuning import tune

pytest.importorskip("bitsandbytes", reason="needs aftertune[quantized]")

LEVELS = (
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
)  # fmt: skip
"""NF4's sixteen values: Dettmers et al. 2023, arXiv 2305.14314, appendix E."""
TEXTS = ("Good morning", "How do I repair a bicycle tyre?", "No", "Where would you like to go? Answer shortly.")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("four-bits")
    for family in ("llama", "qwen"):
        tiny_models.save(family, folder / family / "base", hidden_size=64, intermediate_size=128)
        tiny_models.save(family, folder / family / "full", seed=9, hidden_size=64, intermediate_size=128)
        tiny_models.save_adapter(folder / family / "base", folder / family / "adapter", scale=0.2)
    return folder


@pytest.fixture
def packed(made: Path) -> Iterator[TransformersSession]:
    with Transformers(batch_size=3, quantization="nf4").open(str(made / "llama" / "base")) as session:
        yield session


def said(session: TransformersSession, texts: tuple[str, ...] = TEXTS) -> list[str]:
    requests = [
        Request(Prompt(text, "test", "s", "c", "k", (Message("user", text),)), t, 0, 7 * at + int(t), 10)
        for at, text in enumerate(TEXTS)
        for t in (0.0, 1.0)
        if text in texts
    ]
    replies = {(r.prompt_id, r.temperature): r.text for r in session.respond(requests, system=None, template="base")}
    return [replies[text, t] for text in texts for t in (0.0, 1.0)]


def test_the_weights_are_the_bases_rounded_to_nf4(packed: TransformersSession, made: Path) -> None:
    import torch
    from safetensors.torch import load_file

    own = dict(packed._base.named_parameters())
    name = "model.layers.0.mlp.up_proj.weight"
    assert own[name].dtype == torch.uint8
    assert own[name].numel() * 2 == own["model.layers.0.mlp.down_proj.weight"].quant_state.shape.numel()
    file = load_file(made / "llama" / "base" / "model.safetensors")[name]
    held = nf4_weights.dequantized(own[name])
    assert held.shape == file.shape == torch.Size(nf4_weights.matrix_shape(own[name]))
    blocks, top = held.reshape(-1, 64), file.reshape(-1, 64).abs().amax(1, keepdim=True)
    scale = blocks.abs().amax(1, keepdim=True)
    # The constants are themselves rounded (8 bits), the values stand on NF4's levels exactly.
    assert torch.allclose(scale, top, rtol=0.05)
    apart = (blocks / scale).unsqueeze(-1) - torch.tensor(LEVELS)
    assert apart.abs().amin(-1).max() < 1e-4
    nearest = torch.tensor(LEVELS)[
        (file.reshape(-1, 64) / top).unsqueeze(-1).sub(torch.tensor(LEVELS)).abs().argmin(-1)
    ]
    assert ((blocks / scale - nearest).abs() < 1e-3).float().mean() > 0.99
    assert not hasattr(packed._base.lm_head.weight, "quant_state")


def test_asking_does_not_move_the_weights(packed: TransformersSession) -> None:
    import torch

    name = "model.layers.0.self_attn.q_proj.weight"
    before = nf4_weights.dequantized(dict(packed._base.named_parameters())[name]).clone()
    said(packed)
    assert torch.equal(before, nf4_weights.dequantized(dict(packed._base.named_parameters())[name]))


@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_adapter_and_full_checkpoint_are_proved(family: str, made: Path) -> None:
    here = made / family
    with Transformers(quantization="nf4").open(str(here / "base")) as session:
        answers = {"base": said(session)}
        for name in ("adapter", "full"):
            proof = session.use(here / name)
            assert proof.moved_weights
            assert proof.max_logit_change
            assert proof.matches_direct is not None
            assert proof.max_logit_change > 100 * proof.matches_direct
            assert "base in nf4" in proof.how
            assert proof.quantization == "nf4"
            answers[name] = said(session)
        assert "unmerged" in session.use(here / "adapter").how
        assert said(session) == answers["adapter"]
        session.use(None)
        assert said(session) == answers["base"]
    assert answers["base"] != answers["adapter"] != answers["full"]
    with Transformers().open(str(here / "base")) as session:
        assert said(session) != answers["base"], "4 bits must not be full precision under another name"


def test_text_does_not_depend_on_the_batch(packed: TransformersSession, made: Path) -> None:
    packed.use(made / "llama" / "adapter")
    together = said(packed)
    assert [text for one in TEXTS for text in said(packed, (one,))] == together


def test_an_adapter_at_another_strength_is_caught(
    packed: TransformersSession, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import LoraLayer

    update: Any = LoraLayer.update_layer

    def stronger(self: Any, *args: Any, **kwargs: Any) -> None:
        update(self, *args, **kwargs)
        self.scaling = {name: 2 * value for name, value in self.scaling.items()}

    monkeypatch.setattr(LoraLayer, "update_layer", stronger)
    with pytest.raises(AdapterNotAppliedError, match="away from a direct forward pass"):
        packed.use(made / "llama" / "adapter")


def test_tuned_in_four_bits_and_asked_in_four_bits(made: Path, tmp_path: Path) -> None:
    base = made / "llama" / "base"
    chats = [
        Conversation(f"c{at}", (Message("user", f"{text} {at}"), Message("assistant", "Of course, I can help you.")))
        for at, text in enumerate(TEXTS * 4)
    ]
    recipe = Recipe("q", method="qlora", without_gpu="run", epochs=3, batch_size=4, rank=8, learning_rate=5e-3)
    report = tune.tune(base, chats, recipe, 0, tmp_path / "tuned")
    assert report.losses[-1] < report.losses[0]
    adapter = report.checkpoints[-1]
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 8
    for quantization in ("nf4", "none"):
        with Transformers(quantization=quantization).open(str(base)) as session:
            assert session.use(adapter).moved_weights


def test_what_cannot_be_done_is_said(made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="quantization = 'none'"):
        Transformers(adapters="merged", quantization="nf4")
    with pytest.raises(ValueError, match="known: none, nf4"):
        Transformers(quantization="nf5")  # type: ignore[arg-type]
    narrow = tiny_models.save("llama", tmp_path / "narrow")
    with pytest.raises(ModelError, match="no multiple of 64"), Transformers(quantization="nf4").open(str(narrow)):
        pass
    recipe = Recipe("q", method="qlora")
    assert "needs a GPU" in tune.no_four_bits(recipe)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with (
        pytest.raises(MissingPackageError, match=r"aftertune\[quantized\]"),
        Transformers(quantization="nf4").open(str(made / "llama" / "base")),
    ):
        pass
    assert "bitsandbytes" in tune.no_four_bits(Recipe("q", method="qlora", without_gpu="run"))
