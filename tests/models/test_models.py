"""Bases and checkpoints are found and checked by their files alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests import tiny_models

from aftertune.errors import ModelError, UsageError
from aftertune.models.identity import is_path_like, resolve


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_models.save("llama", folder / "base")
    tiny_models.save("llama", folder / "wide", hidden_size=48)
    tiny_models.save("llama", folder / "full", seed=3)
    tiny_models.save("mistral", folder / "mistral")
    tiny_models.save_adapter(folder / "base", folder / "adapter")
    return folder


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "base", tmp_path / "base"))


@pytest.fixture
def adapter(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "adapter", tmp_path / "adapter"))


def refused(ref: str | Path, base: Any = None) -> str:
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        resolve(ref, base=base)
    assert time.process_time() - began < 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_base_and_its_checkpoints(made: Path) -> None:
    base = resolve(made / "base")
    assert (base.kind, base.architecture, base.warnings) == ("full", "LlamaForCausalLM", ())
    content = (made / "base" / "model.safetensors").read_bytes()
    assert base.weights_hash == hashlib.sha256(content).hexdigest()
    adapter = resolve(str(made / "adapter"), base=base)
    assert (adapter.kind, adapter.tokenizer_hash, adapter.architecture) == ("adapter", None, "LlamaForCausalLM")
    assert adapter.base_name == str(made / "base")
    assert adapter.warnings == ()
    full = resolve(made / "full", base=base)
    assert full.weights_hash != base.weights_hash
    assert (full.tokenizer_hash, full.template_hash) == (base.tokenizer_hash, base.template_hash)


def test_the_hash_follows_the_content_not_the_name(made: Path, base: Path) -> None:
    assert resolve(base).weights_hash == resolve(made / "base").weights_hash
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert resolve(base).weights_hash != resolve(made / "base").weights_hash


@pytest.mark.parametrize("name", ["./x", "../x/y", "~/x", "/a/b", "a/b/c", "x\\y", "models/", "a b"])
def test_a_path_like_name_never_goes_to_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aftertune.models.identity._from_hub", lambda name: pytest.fail("asked the hub"))
    assert is_path_like(name)
    assert "no such model folder" in refused(name)


def test_a_name_below_an_existing_folder_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_path_like("runs/adapter")
    assert not is_path_like("meta-llama/Llama-3.2-1B")
    assert not is_path_like("gpt2")


def test_a_hub_name_offline_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "aftertune-none/such-model: no such folder, not in the hub's cache" in refused("aftertune-none/such-model")


def test_checking_imports_no_torch(made: Path) -> None:
    code = (
        "import sys; from aftertune.models.identity import resolve; from pathlib import Path\n"
        f"resolve(Path({str(made / 'adapter')!r}), base=resolve(Path({str(made / 'base')!r}))).weights_hash\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_that_are_missing_or_broken(base: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither config.json" in refused(tmp_path / "empty")
    assert "is a file" in refused(base / "config.json")
    config = base / "config.json"
    good = config.read_text()
    config.write_text(good[:-40])
    assert "config.json:" in refused(base)
    config.write_text("[]")
    assert "a JSON object was expected" in refused(base)
    config.write_text('{"model_type": "llama"}')
    assert "architectures" in refused(base)
    config.write_text(good)
    (base / "tokenizer.json").unlink()
    assert "no tokenizer" in refused(base)


def test_pickles_are_refused(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    message = refused(base)
    assert "pickled weights only (pytorch_model.bin)" in message
    assert "safe_serialization" in message
    (base / "pytorch_model.bin").unlink()
    assert "no weights" in refused(base)


def test_damaged_weights_are_found(base: Path) -> None:
    weights = base / "model.safetensors"
    content = weights.read_bytes()
    for cut in (content[:-1], content + b"x"):
        weights.write_bytes(cut)
        assert "cut off or damaged" in refused(base)
    for cut in (b"", content[:5], content[:100]):
        weights.write_bytes(cut)
        assert "not a safetensors file" in refused(base)
    weights.write_bytes(content[:8] + b"}" + content[9:])
    assert "header cannot be read" in refused(base)


def test_shards(base: Path, made: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(base / "model.safetensors")
    names = sorted(tensors)
    (base / "model.safetensors").unlink()
    shards = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for shard, keys in shards.items():
        save_file({key: tensors[key] for key in keys}, base / shard)
    index = {"weight_map": {key: shard for shard, keys in shards.items() for key in keys}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    sharded = resolve(base)
    assert [file.name for file in sharded.files] == list(shards)
    assert sharded.weights_hash != resolve(made / "base").weights_hash
    resolve(made / "adapter", base=sharded)
    (base / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors, which is not in the folder" in refused(base)


def test_an_adapter_must_fit(made: Path, adapter: Path) -> None:
    message = refused(adapter, base=resolve(made / "wide"))
    assert "does not fit the base" in message
    assert "32 x 64 in the adapter, 48 x 64 in the base" in message
    assert resolve(adapter, base=None).kind == "adapter"


def test_an_adapter_of_another_name_is_a_warning(made: Path, adapter: Path) -> None:
    tiny_models.edit_json(adapter / "adapter_config.json", base_model_name_or_path="someone/else")
    found = resolve(adapter, base=resolve(made / "base"))
    assert len(found.warnings) == 1
    assert "someone/else" in found.warnings[0]


def test_broken_adapters(made: Path, adapter: Path) -> None:
    from safetensors.numpy import load_file, save_file

    base = resolve(made / "base")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    first = next(key for key in tensors if key.endswith("lora_A.weight"))
    save_file({key.replace("q_proj", "query"): value for key, value in tensors.items()}, file)
    assert "self_attn.query, which the base" in refused(adapter, base=base)
    save_file({key.replace("layers.1.", "layers.7."): value for key, value in tensors.items()}, file)
    assert "layers.7." in refused(adapter, base=base)
    save_file({key: value for key, value in tensors.items() if key != first}, file)
    assert "only one of lora_A and lora_B" in refused(adapter, base=base)
    save_file({**tensors, first: tensors[first][:2].copy()}, file)
    assert "do not fit each other" in refused(adapter, base=base)
    save_file({}, file)
    assert "no tensors" in refused(adapter, base=base)
    tiny_models.edit_json(adapter / "adapter_config.json", peft_type="PREFIX_TUNING")
    assert "adapters of the type PREFIX_TUNING cannot be asked here" in refused(adapter, base=base)
    file.rename(adapter / "adapter_model.bin")
    tiny_models.edit_json(adapter / "adapter_config.json", peft_type="LORA")
    assert "pickled weights only" in refused(adapter, base=base)


def test_a_full_model_must_be_of_the_base(made: Path) -> None:
    base = resolve(made / "base")
    assert "is a MistralForCausalLM" in refused(made / "mistral", base=base)
    assert "not tuned from this base" in refused(made / "wide", base=base)
    assert "is itself an adapter" in refused(made / "adapter", base=resolve(made / "adapter"))


def test_another_tokenizer_or_template_is_noted(made: Path, base: Path) -> None:
    reference = resolve(made / "base")
    template = base / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert [w.split("brings ")[1] for w in resolve(base, base=reference).warnings] == [
        f"another chat template; the base {made / 'base'} has its own"
    ]
    content = json.loads((base / "tokenizer.json").read_text())
    content["padding"] = {"strategy": "BatchLongest"}
    (base / "tokenizer.json").write_text(json.dumps(content))
    assert resolve(base).tokenizer_hash == reference.tokenizer_hash, "padding changes no token"
    content["model"]["merges"].pop()
    (base / "tokenizer.json").write_text(json.dumps(content))
    assert any("another tokenizer" in warning for warning in resolve(base, base=reference).warnings)
    tiny_models.edit_json(base / "config.json", auto_map={"AutoModel": "evil.Model"})
    assert any("does not run it" in warning for warning in resolve(base).warnings)


def test_a_larger_vocabulary_is_a_warning(made: Path, tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "more", vocab_size=430)
    found = resolve(tmp_path / "more", base=resolve(made / "base"))
    assert any("the vocabulary has 430 rows" in warning for warning in found.warnings)


def test_a_small_model_runs_on_one_thread(made: Path) -> None:
    import torch

    from aftertune.models.identity import SMALL, few_threads

    model = resolve(made / "base")
    assert model.parameters == 45_472 < SMALL
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with few_threads(model):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_errors_are_model_errors(made: Path) -> None:
    with pytest.raises(ModelError):
        resolve("")


def test_what_decides_answers_beside_the_weights_is_another_model(made: Path, base: Path, adapter: Path) -> None:
    assert resolve(base).identity == resolve(made / "base").identity, "where it lies is no part of it"
    own = resolve(adapter, base=resolve(base)).identity
    tiny_models.edit_json(adapter / "adapter_config.json", lora_alpha=400)
    assert resolve(adapter, base=resolve(base)).identity != own
    for file, changes in (("config.json", {"rope_theta": 5.0}), ("generation_config.json", {"eos_token_id": [1, 2]})):
        before = resolve(base)
        was = before.identity
        tiny_models.edit_json(base / file, **changes)
        assert resolve(base).weights_hash == before.weights_hash
        assert resolve(base).identity != was
