"""Changes within a running model: what is changed is what was asked for, it reaches answers, and nothing of it stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tests import tiny_models
from tests.tiny_models import FAMILIES, Family
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from aftertune.asking.backends._activations import layer_list
from aftertune.asking.backends.endpoint import Endpoint
from aftertune.asking.backends.transformers import Transformers
from aftertune.errors import ModelError
from aftertune.models.session import Beginnings, Request, Session, StreamChange
from aftertune.records import Message, Prompt

TEXTS = ("Good morning", "How do I repair a bicycle tyre?", "No", "Where would you like to go? Answer shortly.")
PROMPTS = tuple(Prompt(f"p{at}", "test", "s", "c", "k", (Message("user", text),)) for at, text in enumerate(TEXTS))
LAYERS, WIDTH = 3, 32


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interventions")
    for family in FAMILIES:
        tiny_models.save(family, folder / family / "base", num_hidden_layers=LAYERS)
        tiny_models.save(family, folder / family / "full", seed=9, num_hidden_layers=LAYERS)
        tiny_models.save_adapter(folder / family / "base", folder / family / "adapter", scale=0.2)
    tiny_models.save("llama", folder / "deeper", num_hidden_layers=LAYERS + 1)
    return folder


def direction(seed: int = 0) -> NDArray[np.float64]:
    vector = np.random.default_rng(seed).normal(size=WIDTH)
    return np.asarray(vector / np.linalg.norm(vector))


def seen(session: Session) -> NDArray[np.float32]:
    return session.activations(PROMPTS, system=None, template="base")


def opens(session: Session) -> NDArray[np.float64]:
    """Return how probable two beginnings are, which hangs on the whole model."""
    items = [Beginnings(prompt, ("Good", "No")) for prompt in PROMPTS]
    return np.array([score.log_probabilities for score in session.beginnings(items, system=None, template="base")])


def said(session: Session) -> list[str]:
    requests = [Request(prompt, 0.0, 0, 1, 8) for prompt in PROMPTS]
    return [reply.text for reply in session.respond(requests, system=None, template="base")]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["merged", "unmerged"])
def test_a_direction_is_taken_out_or_added_where_it_was_asked_for(
    family: Family, how: Literal["merged", "unmerged"], models: Path
) -> None:
    unit = direction()
    with Transformers(adapters=how).open(str(models / family / "base")) as session:
        session.use(models / family / "adapter")
        before, options = seen(session), opens(session)
        with session.changed([StreamChange(2, unit)]):
            without, options_without = seen(session), opens(session)
        with session.changed([StreamChange(2, unit, 3.0)]):
            added = seen(session)
        after, options_after = seen(session), opens(session)
    expected = before[:, 2] - (before[:, 2] @ unit)[:, None] * unit
    assert without[:, :2].tobytes() == before[:, :2].tobytes(), "the layers below stay"
    assert np.abs(without[:, 2] @ unit).max() < 1e-4
    # Other positions changed alike, so that only the layer's own output is known beforehand.
    np.testing.assert_allclose(without[:, 2], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(added[:, 2], before[:, 2] + 3 * unit, rtol=1e-3, atol=1e-4)
    assert np.abs(without[:, 3] - before[:, 3]).max() > 1e-3
    assert np.abs(options_without - options).max() > 1e-3
    assert after.tobytes() == before.tobytes()
    assert options_after.tobytes() == options.tobytes()


def test_it_reaches_what_is_said(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        before = said(session)
        with session.changed([StreamChange(layer, direction(layer), 40.0) for layer in (1, 2, 3)]):
            changed = said(session)
        with session.changed([]):
            assert said(session) == before
        assert changed != before
        assert said(session) == before


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["merged", "unmerged"])
def test_all_layers_are_the_checkpoint_and_none_is_the_base(
    family: Family, how: Literal["merged", "unmerged"], models: Path
) -> None:
    with Transformers(adapters=how).open(str(models / family / "base")) as session:
        base = opens(session)
        session.use(models / family / "adapter")
        tuned = opens(session)
        with session.only_tuned((), rest=False):
            np.testing.assert_allclose(opens(session), base, rtol=1e-5, atol=1e-5)
        with session.only_tuned((1, 2, 3), rest=True):
            np.testing.assert_allclose(opens(session), tuned, rtol=1e-5, atol=1e-5)
        assert opens(session).tobytes() == tuned.tobytes()
        session.use(None)
        assert opens(session).tobytes() == base.tobytes()


def test_one_layer_is_the_same_layer_however_the_adapter_is_held(models: Path) -> None:
    found = []
    for how in ("merged", "unmerged"):
        with Transformers(adapters=how).open(str(models / "qwen" / "base")) as session:
            base = seen(session)
            session.use(models / "qwen" / "adapter")
            tuned = seen(session)
            with session.only_tuned((2,)):
                found.append(seen(session))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[0][:, 1], base[:, 1], rtol=1e-5, atol=1e-6)
    assert np.abs(found[0][:, 2] - base[:, 2]).max() > 1e-3
    assert np.abs(found[0][:, 2] - tuned[:, 2]).max() > 1e-3


def test_layers_of_a_full_model_and_what_is_in_no_layer(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        base = seen(session)
        session.use(models / "llama" / "full")
        tuned = seen(session)
        with session.only_tuned((), rest=True):
            np.testing.assert_allclose(seen(session)[:, 0], tuned[:, 0], rtol=1e-6), "embeddings of the checkpoint"
            assert np.abs(seen(session)[:, 3] - tuned[:, 3]).max() > 1e-3
        with session.only_tuned((1, 2, 3), rest=False):
            np.testing.assert_allclose(seen(session)[:, 0], base[:, 0], rtol=1e-6)
        with session.only_tuned((1, 2, 3), rest=True):
            assert seen(session).tobytes() == tuned.tobytes()
        with pytest.raises(ZeroDivisionError), session.only_tuned((1,), rest=False):
            raise ZeroDivisionError
        assert seen(session).tobytes() == tuned.tobytes(), "what fails inside leaves nothing behind"
        session.use(None)
        assert seen(session).tobytes() == base.tobytes()


@pytest.mark.parametrize("settings", [{"init_lora_weights": "pissa"}, {"modules_to_save": ["lm_head"]}])
def test_none_is_the_base_where_peft_holds_another(settings: dict[str, Any], models: Path, tmp_path: Path) -> None:
    """PiSSA takes away part of the base's weights when PEFT loads it: switched off it would leave the rest of them."""
    tiny_models.save_adapter(models / "llama" / "base", tmp_path / "adapter", scale=0.2, **settings)
    with Transformers(adapters="unmerged").open(str(models / "llama" / "base")) as session:
        base = opens(session)
        session.use(tmp_path / "adapter")
        tuned = opens(session)
        with session.only_tuned(()):
            np.testing.assert_allclose(opens(session), base, rtol=1e-5, atol=1e-5)
        with session.only_tuned((1, 2, 3), rest=True):
            np.testing.assert_allclose(opens(session), tuned, rtol=1e-5, atol=1e-5)
        assert opens(session).tobytes() == tuned.tobytes()


# ------------------------------------------------------------------------------------------ shuffled updates


def weights(model: Any) -> dict[str, NDArray[np.float32]]:
    return {name: value.float().numpy().copy() for name, value in model.named_parameters()}


def digest_of(session: Session) -> bytes:
    """Return all bytes of the base and of the model in use."""
    models: Any = session
    parts = [*models._base.state_dict().values(), *models._model.state_dict().values()]
    return b"".join(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for value in parts)


def maps(session: Session, layer: int) -> dict[str, NDArray[np.float32]]:
    """Return the matrix by which each linear module of a layer of the model in use acts, whatever it is made of."""
    model: Any = session
    found = {}
    for path, module in layer_list(model._model)[layer - 1].named_modules():
        name = path.replace(".base_layer", "")
        inner = any(part in path for part in ("lora_", "lora_magnitude"))
        if not inner and hasattr(module, "in_features") and name not in found:
            with torch.inference_mode():
                found[name] = module(torch.eye(module.in_features)).T.numpy()
    return found


@pytest.mark.parametrize("how", ["merged", "unmerged", "full", "dora"])
def test_a_shuffled_update_is_as_large_and_another(how: str, models: Path, tmp_path: Path) -> None:
    folder = models / "qwen" / ("full" if how == "full" else "adapter")
    if how == "dora":
        folder = tiny_models.save_adapter(models / "qwen" / "base", tmp_path / "dora", scale=0.2, use_dora=True)
    adapters: Literal["merged", "unmerged"] = "unmerged" if how in ("unmerged", "dora") else "merged"
    with Transformers(adapters=adapters).open(str(models / "qwen" / "base")) as session:
        base = maps(session, 2)
        session.use(folder)
        tuned, before = maps(session, 2), digest_of(session)
        with session.only_tuned((2,), shuffled=1):
            shuffled, others, stream = maps(session, 2), maps(session, 1), seen(session)
        with session.only_tuned((2,), shuffled=2):
            again = maps(session, 2)
        assert digest_of(session) == before
        with session.only_tuned((2,)):
            own = seen(session)
        session.use(None)
        assert set(tuned) == set(base) == set(shuffled)
        for name, matrix in maps(session, 1).items():
            np.testing.assert_allclose(others[name], matrix, atol=1e-5), "the other layers are the base's"
    assert len(base) == 7
    for name, start in base.items():
        update, drawn, other = tuned[name] - start, shuffled[name] - start, again[name] - start
        values = [np.linalg.svd(each, compute_uv=False) for each in (update, drawn)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-4, atol=1e-5)
        assert np.abs(drawn - update).max() > 0.1 * np.abs(update).max(), "another product"
        assert np.abs(drawn - other).max() > 0.1 * np.abs(update).max(), "another seed draws another"
        assert np.allclose(np.sort(drawn.ravel()), np.sort(update.ravel()), atol=1e-4), "the same entries elsewhere"
    assert np.abs(stream[:, 1] - own[:, 1]).max() < 1e-4
    assert np.abs(stream[:, 2] - own[:, 2]).max() > 1e-3


def test_the_same_seed_draws_the_same_however_the_adapter_is_held_and_whatever_was_done_before(models: Path) -> None:
    found = []
    for how in ("merged", "unmerged"):
        with Transformers(adapters=how).open(str(models / "qwen" / "base")) as session:
            session.use(models / "qwen" / "adapter")
            if how == "unmerged":
                with session.only_tuned((1, 3), rest=True, shuffled=8):
                    seen(session)
            with session.only_tuned((2,), shuffled=7):
                found.append(seen(session))
            with session.only_tuned((1, 2), shuffled=7):
                both = maps(session, 2)
            with session.only_tuned((2,), shuffled=7):
                alone = maps(session, 2)
        for name in alone:
            assert alone[name].tobytes() == both[name].tobytes(), "not by what else is exchanged"
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"init_lora_weights": "pissa"},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"modules_to_save": ["lm_head", "norm"]},
        {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True},
    ],
    ids=["dora", "pissa", "embeddings", "saved", "gpt2"],
)
def test_the_same_seed_draws_the_same_of_every_kind_of_adapter(settings: dict[str, Any], tmp_path: Path) -> None:
    """Merged, the shuffled update stands in the weights; unmerged, some kinds have it at the modules' outputs alone."""
    if "fan_in_fan_out" in settings:
        writer = tiny_models.tokenizer("llama")
        shape: dict[str, Any] = {
            "n_layer": 3,
            "n_embd": 32,
            "n_head": 4,
            "vocab_size": len(writer),
            "initializer_range": 0.2,
        }
        GPT2LMHeadModel(GPT2Config(**shape)).save_pretrained(tmp_path / "base")
        writer.save_pretrained(tmp_path / "base")
    else:
        tiny_models.save("llama", tmp_path / "base", num_hidden_layers=LAYERS)
    tiny_models.save_adapter(tmp_path / "base", tmp_path / "adapter", scale=0.2, **settings)
    if "modules_to_save" in settings:
        file = tmp_path / "adapter" / "adapter_model.safetensors"
        tensors = load_file(file)
        moved = {key: value + 0.1 * torch.randn_like(value) for key, value in tensors.items() if "lora_" not in key}
        save_file(tensors | moved, file, metadata={"format": "pt"})
    found = []
    hows: tuple[Literal["merged", "unmerged"], ...] = ("merged", "unmerged")
    for how in hows:
        with Transformers(adapters=how).open(str(tmp_path / "base")) as session:
            session.use(tmp_path / "adapter")
            tuned, before = opens(session), digest_of(session)
            with session.only_tuned((1, 3), rest=True, shuffled=7):
                found.append(opens(session))
            assert digest_of(session) == before
            with session.only_tuned((1, 3), rest=True):
                assert np.abs(found[-1] - opens(session)).max() > 1e-3
            assert opens(session).tobytes() == tuned.tobytes()
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_embeddings_of_another_size_are_refused_and_layers_are_not(models: Path, tmp_path: Path) -> None:
    tuned: Any = AutoModelForCausalLM.from_pretrained(models / "llama" / "full")
    tuned.resize_token_embeddings(tuned.config.vocab_size + 8, mean_resizing=False)
    tuned.save_pretrained(tmp_path / "tuned")
    tiny_models.tokenizer("llama").save_pretrained(tmp_path / "tuned")
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for dtype in dtypes:
        with Transformers(dtype=dtype).open(str(models / "llama" / "base")) as session:
            session.use(tmp_path / "tuned")
            before = digest_of(session)
            told = "embed_tokens.weight: its update cannot be shuffled: of the shape"
            with pytest.raises(ModelError, match=told), session.only_tuned((1,), rest=True, shuffled=1):
                pass
            assert digest_of(session) == before
            with session.only_tuned((1,), shuffled=1):
                opens(session)


@pytest.mark.parametrize("how", ["adapter", "full"])
def test_weights_are_back_to_the_byte_after_an_exception(how: str, models: Path) -> None:
    with Transformers(adapters="unmerged").open(str(models / "llama" / "base")) as session:
        session.use(models / "llama" / how)
        before, tuned = digest_of(session), opens(session)
        with pytest.raises(ZeroDivisionError), session.only_tuned((1, 2), rest=True, shuffled=3):
            assert digest_of(session) != before
            raise ZeroDivisionError
        assert digest_of(session) == before
        assert opens(session).tobytes() == tuned.tobytes()


def test_norms_biases_and_embeddings_keep_their_size_too(models: Path, tmp_path: Path) -> None:
    tiny_models.save("qwen", tmp_path / "base", num_hidden_layers=2)
    tuned: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        torch.manual_seed(0)
        for value in tuned.parameters():
            value += 0.1 * torch.randn_like(value)
    tuned.save_pretrained(tmp_path / "tuned")
    shutil.copytree(tmp_path / "base", tmp_path / "tuned", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.saf*"))
    with Transformers().open(str(tmp_path / "base")) as session:
        model: Any = session
        base = weights(model._base)
        session.use(tmp_path / "tuned")
        own = weights(model._model)
        with session.only_tuned((1,), rest=True, shuffled=5):
            drawn = weights(model._model)
    for name, start in base.items():
        update, moved = own[name] - start, drawn[name] - start
        if ".layers.1." in name:  # the second
            assert not moved.any(), name
            continue
        np.testing.assert_allclose(np.sort(moved.ravel()), np.sort(update.ravel()), atol=1e-6)
        assert np.abs(moved - update).max() > 0.1
        if "embed" in name:
            sizes = [np.sort(each, axis=1) for each in (moved, update)]
            np.testing.assert_allclose(sizes[0], sizes[1], atol=1e-6), "each token keeps its own"
    assert any(name.endswith("bias") for name in base)
    assert any("norm" in name for name in base)


def test_in_bfloat16_an_update_keeps_its_size(tmp_path: Path) -> None:
    """A sum of weight and update would be rounded, up to a whole update of the last digit."""
    tiny_models.save("llama", tmp_path / "base", num_hidden_layers=2)
    tuned: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)
    with torch.no_grad():
        torch.manual_seed(0)
        for name, value in tuned.named_parameters():
            if "proj" in name:
                value *= 1 + 2.0**-7 * (torch.rand_like(value) < 0.5)
    tuned.save_pretrained(tmp_path / "tuned")
    shutil.copytree(tmp_path / "base", tmp_path / "tuned", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.saf*"))
    with Transformers(dtype="bfloat16").open(str(tmp_path / "base")) as session:
        model: Any = session
        base = weights(model._base)
        session.use(tmp_path / "tuned")
        own, before = weights(model._model), digest_of(session)
        name = "model.layers.0.mlp.up_proj"
        update = own[f"{name}.weight"] - base[f"{name}.weight"]
        with session.only_tuned((1,), shuffled=4):
            module = model._model.get_submodule(name)
            given = torch.randn(20_000, 32).bfloat16()
            with torch.inference_mode():
                added = module(given).float() - module.forward(given).float()  # a hook acts on the first alone
        assert digest_of(session) == before
    # The outputs are rounded, so the matrix is estimated from many of them.
    found = np.linalg.lstsq(given.float().numpy(), added.numpy(), rcond=None)[0].T
    sizes = [np.linalg.svd(each, compute_uv=False) for each in (found, update)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.02, atol=0.02 * sizes[1][0])
    assert np.abs(found - update).max() > 0.5 * np.abs(update).max()


def test_what_does_not_fit_is_refused(models: Path) -> None:
    with Transformers().open(str(models / "llama" / "base")) as session:
        before = seen(session)
        for change, why in (
            (StreamChange(0, direction()), "layer 0: the model has layers 1 to 3"),
            (StreamChange(4, direction()), "layer 4: the model has layers 1 to 3"),
            (StreamChange(1, direction()[:5]), r"direction of shape \(5,\) for activations of 32 dimensions"),
        ):
            with pytest.raises(ModelError, match=why), session.changed([StreamChange(1, direction()), change]):
                pass
        assert seen(session).tobytes() == before.tobytes()


def test_a_server_can_not_be_changed() -> None:
    backend = Endpoint(url="http://127.0.0.1:9/v1")
    assert "interventions" not in backend.capabilities
    assert "interventions" in Transformers().capabilities
