"""After the first step it is proved that what is trained can be asked; a training that fails that ends there."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from perf import tiny_families as families
from tests import tiny_families, tiny_models
from tests.tuning.test_tune import RECIPE, chats, weights

from aftertune.errors import ModelError, TuneError
from aftertune.models.identity import resolve
from aftertune.tuning import first_step, tune

ONE = dataclasses.replace(RECIPE, epochs=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save("llama", tmp_path_factory.mktemp("first") / "base")


def spoiled(monkeypatch: pytest.MonkeyPatch, spoil: Any) -> list[int]:
    """Let every checkpoint be spoiled as it is written; return the list of steps that are done."""
    write = tune._write
    steps: list[int] = []

    def written(model: Any, base: Any, folder: Path) -> None:
        write(model, base, folder)
        spoil(folder)

    monkeypatch.setattr(tune, "_write", written)
    return steps


def other_scale(folder: Path) -> None:
    tiny_models.edit_json(folder / "adapter_config.json", lora_alpha=3)


def without_a_matrix(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    kept = {key: value for key, value in tensors.items() if "layers.1.mlp.down_proj.lora_A" not in key}
    save_file(kept, folder / "adapter_model.safetensors")


def zeroed(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({key: 0 * value for key, value in tensors.items()}, folder / "adapter_model.safetensors")


def another_module(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    moved = {key.replace("layers.1.", "layers.7."): value for key, value in tensors.items()}
    save_file(moved, folder / "adapter_model.safetensors")


def fewer_targets(folder: Path) -> None:
    """PEFT then leaves out, with a warning at most, what the file still holds."""
    tiny_models.edit_json(folder / "adapter_config.json", target_modules=["q_proj"])


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
@pytest.mark.parametrize("spoil", [other_scale, without_a_matrix, zeroed, another_module, fewer_targets])
def test_an_adapter_that_could_not_be_asked_ends_after_one_step(
    spoil: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spoiled(monkeypatch, spoil)
    with pytest.raises(TuneError, match="stopped after the first step, since the tuned model could not be asked: .+"):
        tune.tune(base, chats(), RECIPE, 1, tmp_path, on_step=lambda step, *_: steps.append(step))
    assert steps == [1]


def lossy(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    last = sorted(tensors)[-1]
    tensors[last] = tensors[last] + 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def another_class(folder: Path) -> None:
    tiny_models.edit_json(folder / "config.json", architectures=["MistralForCausalLM"])


@pytest.mark.parametrize("spoil", [lossy, another_class])
def test_a_full_model_that_could_not_be_asked_ends_after_one_step(
    spoil: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spoiled(monkeypatch, spoil)
    with pytest.raises(TuneError, match="stopped after the first step"):
        recipe = dataclasses.replace(RECIPE, method="full")
        tune.tune(base, chats(), recipe, 1, tmp_path, on_step=lambda step, *_: steps.append(step))
    assert steps == [1]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_first_step_at_a_learning_rate_of_0_waits_for_the_second(
    method: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = spoiled(monkeypatch, other_scale if method == "lora" else lossy)
    recipe = dataclasses.replace(RECIPE, method=method, warmup=0.3)
    with pytest.raises(TuneError, match="stopped after the first step"):
        tune.tune(base, chats(), recipe, 1, tmp_path, on_step=lambda step, *_: steps.append(step))
    assert steps == [1, 2]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_proof_changes_nothing_of_the_training(
    method: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(RECIPE, method=method, dropout=0.2)  # dropout reads the random state
    proved = tune.tune(base, chats(), recipe, 1, tmp_path / "proved")
    monkeypatch.setattr(first_step.FirstStep, "__call__", lambda *_: True)
    plain = tune.tune(base, chats(), recipe, 1, tmp_path / "plain")
    assert proved.losses == plain.losses
    own, other = weights(proved), weights(plain)
    assert own.keys() == other.keys()
    assert all(own[key].equal(other[key]) for key in own)


# ---------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize(
    "family", ["gemma3", "qwen2_5_vl", "llama4", "qwen2_moe", "granitemoe", "nemotron_h", "zamba2"]
)
def test_an_adapter_is_trained_proved_and_says_where_it_is(family: str, tmp_path: Path) -> None:
    from aftertune.asking.backends.transformers import Transformers

    base = tiny_families.save(family, tmp_path / "base")
    report = tune.tune(base, chats(4), ONE, 1, tmp_path / "out")
    config = json.loads((report.checkpoints[0] / "adapter_config.json").read_text(encoding="utf-8"))
    assert not config.get("target_parameters")
    tuned = {key.removeprefix("base_model.model.").partition(".lora_")[0] for key in weights(report)}
    from aftertune.tuning.lora_modules import patterns

    assert set(report.modules) == set(patterns(sorted(tuned)))
    with Transformers().open(str(base)) as session:
        assert session.use(report.checkpoints[0]).moved_weights


@pytest.mark.parametrize("family", ["gemma3", "idefics3", "llama4"])
def test_full_tuning_leaves_the_eyes_as_they_are(family: str, tmp_path: Path) -> None:
    import torch

    from aftertune.models.loading import load_weights

    base = tiny_families.save(family, tmp_path / "base")
    for name in ("preprocessor_config.json", "processor_config.json"):
        (base / name).write_text("{}", encoding="utf-8")
    report = tune.tune(base, chats(4), dataclasses.replace(ONE, method="full"), 1, tmp_path / "out")
    folder = report.checkpoints[0]
    assert (folder / "preprocessor_config.json").is_file()
    assert (folder / "processor_config.json").is_file()
    reference = resolve(folder, base=resolve(base))
    before, after = (
        dict(load_weights(each, torch.float32, "cpu").named_parameters()) for each in (resolve(base), reference)
    )
    assert before.keys() == after.keys()
    moved = {name for name in before if not before[name].equal(after[name])}
    beside = {name for name in before if "vision" in name or "projector" in name or "connector" in name}
    assert beside
    assert not moved & beside
    layers = {name for name in before if ".layers." in name} - beside
    assert {name for name in layers if "experts" not in name} <= moved
    assert report.modules == ()


def test_a_mixtures_router_is_balanced_beside_the_loss_that_is_reported(tmp_path: Path) -> None:
    """Its own coefficient decides how much; the first loss, before anything moved, does not hold it."""
    results = []
    for coefficient in (0.0, 5.0):
        base = tiny_families.save("granitemoe", tmp_path / f"base-{coefficient}")
        tiny_models.edit_json(base / "config.json", router_aux_loss_coef=coefficient)
        seen: list[float] = []
        recipe = dataclasses.replace(ONE, method="full", batch_size=4)
        out = tmp_path / f"out-{coefficient}"
        report = tune.tune(base, chats(8), recipe, 1, out, on_step=lambda *step, seen=seen: seen.append(step[2]))
        results.append((seen[0], weights(report)))
    (plain, weights_plain), (balanced, weights_balanced) = results
    assert plain == balanced
    router = next(key for key in weights_plain if "router" in key)
    assert not weights_plain[router].equal(weights_balanced[router])


def test_a_forward_pass_that_fails_says_where(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory\nand much more")

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", full)
    message = "LlamaForCausalLM cannot be trained here: .* failed at step 1: RuntimeError: out of memory$"
    with pytest.raises(TuneError, match=message):
        tune.tune(base, chats(4), ONE, 1, tmp_path)


def test_what_cannot_be_asked_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import MiniMaxForCausalLM

    monkeypatch.setattr(MiniMaxForCausalLM, "_supports_default_dynamic_cache", lambda *_: True)
    base = tiny_families.save("minimax", tmp_path / "base")
    steps: list[int] = []
    with pytest.raises(ModelError, match="MiniMaxForCausalLM cannot be asked here"):
        tune.tune(base, chats(4), ONE, 1, tmp_path / "out", on_step=lambda step, *_: steps.append(step))
    assert not steps


def rounded_away(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let no comparison in bfloat16 hold, as where the last digit decides which experts are chosen; list all."""
    compared: list[str] = []
    fault = first_step.FirstStep._fault

    def seen(self: Any, model: Any, reference: Any) -> str:
        compared.append(str(model.get_base_model().dtype))
        return "rounding" if compared[-1] == "torch.bfloat16" else fault(self, model, reference)

    monkeypatch.setattr(first_step.FirstStep, "_fault", seen)
    return compared


@pytest.mark.parametrize("family", ["granitemoe", "jamba"])
def test_rounding_in_bfloat16_does_not_end_a_training(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate's forward pass rounds more than the model that is asked; then float32, or the same rounding, shows."""
    base = families.save(family, tmp_path / "base", tiny_models.tokenizer("qwen"))
    report = tune.tune(base, chats(4), ONE, 1, tmp_path / "out", precision="bf16")
    assert report.precision == "bf16"
    compared = rounded_away(monkeypatch)
    again = tune.tune(base, chats(4), ONE, 1, tmp_path / "again", precision="bf16")
    assert compared == ["torch.bfloat16", "torch.float32"]
    monkeypatch.setattr(first_step, "ROOM", 0.0)  # no memory for a copy
    last = tune.tune(base, chats(4), ONE, 1, tmp_path / "last", precision="bf16")
    assert compared[2:] == ["torch.bfloat16"]
    assert report.losses == again.losses == last.losses
    own, other = weights(report), weights(again)
    assert all(own[key].equal(other[key]) for key in own)


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
@pytest.mark.parametrize("room", [0.5, 0.0])
@pytest.mark.parametrize("spoil", [other_scale, zeroed, another_module])
def test_what_is_wrong_is_found_in_bfloat16_too(
    spoil: Any, room: float, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded_away(monkeypatch)
    monkeypatch.setattr(first_step, "ROOM", room)
    spoiled(monkeypatch, spoil)
    with pytest.raises(TuneError, match="stopped after the first step"):
        tune.tune(base, chats(4), ONE, 1, tmp_path / "out", precision="bf16")


@pytest.mark.parametrize("family", ["mamba", "mamba2", "falcon_mamba"])
def test_a_model_that_keeps_only_a_state_is_trained_and_asked(family: str, tmp_path: Path) -> None:
    from aftertune.asking.backends.transformers import Transformers

    base = families.save(family, tmp_path / "base", tiny_models.tokenizer("qwen"))
    report = tune.tune(base, chats(4), ONE, 1, tmp_path / "out")
    with Transformers().open(str(base)) as session:
        assert session.use(report.checkpoints[0]).moved_weights
