"""Adapters: what PEFT makes is applied and proved, or refused from its files with the cause."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf import adapters
from tests import tiny_models

from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.errors import AdapterNotAppliedError, ModelError
from aftertune.models.adapter_files import plain_key
from aftertune.models.identity import resolve
from aftertune.models.proof import rounding_noise

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return adapters.bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def llama(bases: dict[str, Path]) -> Iterator[TransformersSession]:
    with Transformers(device="cpu").open(str(bases["llama"])) as session:
        yield session


@pytest.fixture(scope="module")
def plain(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.save_adapter(bases["llama"], tmp_path_factory.mktemp("plain") / "adapter")


@pytest.fixture
def adapter(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "adapter"))


def edit(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]], file: str = WEIGHTS) -> Path:
    """Change the tensors of a weight file."""
    from safetensors.torch import load_file, save_file

    tensors = {key: value.contiguous() for key, value in change(load_file(folder / file)).items()}
    save_file(tensors, folder / file, metadata={"format": "pt"})
    return folder


def renamed(folder: Path, rename: Callable[[str], str], file: str = WEIGHTS) -> Path:
    return edit(folder, lambda tensors: {rename(key): value for key, value in tensors.items()}, file)


def logits(session: TransformersSession, ids: list[int] | None = None) -> Any:
    import torch

    with torch.inference_mode():
        return session._model(input_ids=torch.tensor([ids or adapters.IDS])).logits[0]


def distance(one: Any, other: Any) -> float:
    return float((one - other).abs().max())


def refused(folder: Path, base: Path | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        resolve(folder, base=None if base is None else resolve(base))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- every method


@pytest.fixture(scope="module")
def outcomes() -> list[adapters.Outcome]:
    return adapters.tried()


def test_the_page_says_what_comes_of_each_adapter(outcomes: list[adapters.Outcome]) -> None:
    text = adapters.PAGE.read_text(encoding="utf-8")
    assert text == adapters.page(outcomes), "run python -m perf.adapters --write"


def test_every_method_of_the_installed_peft_is_tried(outcomes: list[adapters.Outcome]) -> None:
    from peft.utils import PeftType

    assert {one.method for one in outcomes} == {kind.value for kind in PeftType}
    assert len(outcomes) == len(adapters.OPTIONS) + len(PeftType) - 1


def test_what_is_applied_gives_the_logits_that_peft_had_when_it_saved(outcomes: list[adapters.Outcome]) -> None:
    applied = [one for one in outcomes if not one.refused]
    assert len(applied) > 60
    for one in applied:
        assert one.error < 1e-4 * max(1, one.change), one
        assert one.change > 0.05, one
        assert one.check in ("arithmetic", "merge"), one


def test_what_is_refused_is_refused_for_what_it_is(outcomes: list[adapters.Outcome]) -> None:
    words = {one.option or one.method: one.refused for one in outcomes if one.refused}
    assert len(words) == 19
    for name, part in {
        "init_lora_weights = pissa_niter_4": "PEFT would draw another when it loads",
        "init_lora_weights = lora_ga": "its files do not hold",
        "alora_invocation_tokens": "acts only after its invocation tokens",
        "PREFIX_TUNING": "learned vectors in front of the prompt",
        "POLY": "the number of a task",
    }.items():
        assert part in words[name]


# ---------------------------------------------------------------------------------------------- names of tensors


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"_orig_mod.{key}",
        lambda key: key.replace("base_model.model.", "base_model.model._orig_mod."),
        lambda key: f"module.{key}",
        lambda key: key.replace("layers.1.", "layers.1._checkpoint_wrapped_module."),
        lambda key: key.replace("base_model.", "base_model._fsdp_wrapped_module."),
        lambda key: key.replace("self_attn.", "self_attn._fsdp_wrapped_module._checkpoint_wrapped_module."),
        lambda key: key.replace(".weight", ".default.weight"),
        lambda key: key.removeprefix("base_model.model."),
        lambda key: key.replace("model.layers", "model.language_model.layers"),
        lambda key: key.replace("model.layers", "language_model.model.layers"),
        lambda key: key.replace("model.layers", "model.text_model.layers"),
    ],
)
def test_an_adapter_under_other_names_is_the_same_adapter(
    rename: Callable[[str], str], llama: TransformersSession, plain: Path, adapter: Path
) -> None:
    llama.use(plain)
    expected = logits(llama)
    proof = llama.use(renamed(adapter, rename))
    assert proof.max_logit_change is not None
    assert proof.max_logit_change > 0.1
    assert distance(logits(llama), expected) == 0


def test_a_pattern_of_names_that_the_base_does_not_have_is_replaced(
    llama: TransformersSession, plain: Path, adapter: Path
) -> None:
    llama.use(plain)
    expected = logits(llama)
    renamed(adapter, lambda key: key.replace("model.layers", "model.language_model.layers"))
    tiny_models.edit_json(adapter / "adapter_config.json", target_modules=r"model\.language_model\..*(proj)")
    llama.use(adapter)
    assert distance(logits(llama), expected) == 0


PATH = ["model", "layers", "3", "self_attn", "q_proj"]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["_orig_mod", "_fsdp_wrapped_module"])), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_wrappers_anywhere_change_no_name(wrappers: list[tuple[int, str]], parallel: bool, named: bool) -> None:
    parts = list(PATH)
    for at, wrapper in wrappers:
        parts.insert(at, wrapper)
    end = "lora_A.default.weight" if named else "lora_A.weight"
    key = f"{'module.' if parallel else ''}base_model.model.{'.'.join(parts)}.{end}"
    assert plain_key(key) == f"{'.'.join(PATH)}.lora_A.weight"


def test_a_layer_that_is_called_as_an_adapter_is_by_default_keeps_its_name() -> None:
    assert plain_key("base_model.model.model.default.lora_A.weight") == "model.default.lora_A.weight"
    assert plain_key("base_model.vera_A") == "vera_A"


@pytest.mark.parametrize("wrapper", ["_orig_mod", "module"])
def test_a_full_model_with_a_wrapper_in_its_names_is_told_so(
    wrapper: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    full = Path(shutil.copytree(bases["llama"], tmp_path / "full"))
    renamed(full, lambda key: f"{wrapper}.{key}", "model.safetensors")
    assert f"the name of a wrapper, `{wrapper}.`" in refused(full, bases["llama"])


# ---------------------------------------------------------------------------------------------- every tensor is taken


@pytest.mark.parametrize("method", ["LORA", "IA3", "LOHA"])
def test_a_tensor_that_peft_leaves_out_is_found(
    method: str, llama: TransformersSession, bases: dict[str, Path], tmp_path: Path
) -> None:
    settings = {"target_modules": ["q_proj", "k_proj"]} | ({"feedforward_modules": []} if method == "IA3" else {})
    adapters.make(bases["llama"], tmp_path / "a", adapters.configuration(method, settings))
    tiny_models.edit_json(tmp_path / "a" / "adapter_config.json", target_modules=["q_proj"])
    with pytest.raises(AdapterNotAppliedError, match=r"PEFT leaves \d+ of its \d+ tensors out, e\.g\. .*k_proj"):
        llama.use(tmp_path / "a")


def test_shares_that_peft_computes_again_are_those_of_the_files(
    bases: dict[str, Path], llama: TransformersSession, tmp_path: Path
) -> None:
    settings = {**adapters.METHODS["VBLORA"], "save_only_topk_weights": True}
    truth = adapters.make(bases["llama"], tmp_path / "a", adapters.configuration("VBLORA", settings))
    llama.use(tmp_path / "a")
    assert distance(logits(llama), truth) < 1e-4
    edit(tmp_path / "a", lambda all_: {key: value * (1 + 1e-3 * ("A_topk_w" in key)) for key, value in all_.items()})
    llama.use(tmp_path / "a")
    assert distance(logits(llama), truth) > 1e-6, "other shares are another adapter"


@pytest.mark.parametrize("method", ["LORA", "LOKR", "HRA"])
def test_a_tensor_that_peft_would_make_up_is_found(
    method: str, llama: TransformersSession, bases: dict[str, Path], tmp_path: Path
) -> None:
    settings = adapters.configuration(method, {"target_modules": ["q_proj", "k_proj"]})
    adapters.make(bases["llama"], tmp_path / "a", settings)
    edit(tmp_path / "a", lambda tensors: {key: value for key, value in tensors.items() if "k_proj" not in key})
    with pytest.raises(AdapterNotAppliedError, match=r"its files do not hold \d+ tensors that PEFT needs, .*k_proj"):
        llama.use(tmp_path / "a")


def test_a_merge_that_is_not_the_forward_pass_is_no_proof(
    llama: TransformersSession, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.loha.layer import LoHaLayer

    adapters.make(bases["llama"], tmp_path / "a", adapters.configuration("LOHA", {}))
    before = logits(llama) if llama.use(None) else None
    own = LoHaLayer.merge

    def doubled(self: Any, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        weight = self.get_base_layer().weight
        weight.data = weight.data + self.get_delta_weight("default")

    monkeypatch.setattr(LoHaLayer, "merge", doubled)
    with pytest.raises(AdapterNotAppliedError, match="PEFT's merge and its forward pass differ"):
        llama.use(tmp_path / "a")
    assert distance(logits(llama), before) == 0, "the base answers again"


def test_an_adapter_of_any_method_that_changes_nothing_is_told_so(
    llama: TransformersSession, bases: dict[str, Path], tmp_path: Path
) -> None:
    adapters.make(bases["llama"], tmp_path / "a", adapters.configuration("LOHA", {}), scale=0.0)
    with pytest.raises(AdapterNotAppliedError, match="changes no weight"):
        llama.use(tmp_path / "a")


@pytest.mark.parametrize("how", ["merged", "unmerged"])
def test_the_base_is_the_base_again_after_an_adapter_that_changes_it(
    how: Any, bases: dict[str, Path], tmp_path: Path
) -> None:
    with Transformers(device="cpu", adapters=how).open(str(bases["llama"])) as session:
        before = logits(session)
        for name, settings in {"p": {"init_lora_weights": "pissa"}, "k": {"kasa_config": "KasaConfig"}}.items():
            adapters.make(bases["llama"], tmp_path / name, adapters.configuration("LORA", settings))
            session.use(tmp_path / name)
            assert distance(logits(session), before) > 0.1
            session.use(None)
            assert distance(logits(session), before) == 0


# ---------------------------------------------------------------------------------------------- vocabularies


@pytest.mark.parametrize("rows", [425, 400])
@pytest.mark.parametrize("base", ["llama", "qwen"])
def test_an_adapter_with_another_vocabulary_is_applied_with_a_warning(
    rows: int, base: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    truth = adapters.make(bases[base], tmp_path / "a", adapters.configuration("LORA", {}), rows=rows)
    assert truth.shape[-1] == rows
    found = resolve(tmp_path / "a", base=resolve(bases[base]))
    assert any(f"the vocabulary has {rows} rows, the base's 420" in warning for warning in found.warnings)
    with Transformers(device="cpu").open(str(bases[base])) as session:
        session.use(tmp_path / "a")
        assert distance(logits(session), truth) < 1e-4


def test_a_token_that_no_probe_holds_is_seen_to_change(
    llama: TransformersSession, bases: dict[str, Path], tmp_path: Path
) -> None:
    held = {id_ for probe in llama._probes for id_ in probe}
    token = next(id_ for id_ in range(420) if id_ not in held)
    settings = {"target_modules": ["embed_tokens"], "token_indices": [token]}
    adapters.make(bases["llama"], tmp_path / "a", adapters.configuration("TRAINABLE_TOKENS", settings))
    proof = llama.use(tmp_path / "a")
    assert proof.max_logit_change is not None
    assert proof.max_logit_change > 0.01
    assert proof.moved_weights == 32
    full = Path(shutil.copytree(bases["llama"], tmp_path / "full"))

    def moved(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors["model.embed_tokens.weight"][token] += 0.5
        return tensors

    edit(full, moved, "model.safetensors")
    proof = llama.use(full)
    assert proof.max_logit_change is not None
    assert proof.max_logit_change > 0.1
    assert proof.moved_weights == 32


# ---------------------------------------------------------------------------------------------- mixtures


def experts_only(folder: Path, names: tuple[str, ...], by: float) -> Path:
    import torch

    def moved(tensors: dict[str, Any]) -> dict[str, Any]:
        draws = torch.Generator().manual_seed(5)
        return {
            key: value + by * torch.randn(value.shape, generator=draws) if any(name in key for name in names) else value
            for key, value in tensors.items()
        }

    return edit(folder, moved, "model.safetensors")


def test_experts_of_a_full_mixture_are_counted_and_held_against_the_files(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = experts_only(Path(shutil.copytree(bases["mixture"], tmp_path / "full")), ("experts.2.",), 0.1)
    with Transformers(device="cpu").open(str(bases["mixture"])) as session:
        proof = session.use(full)
        assert proof.moved_weights == 2 * 3 * 32 * 16, "layers, matrices, rows, columns of one expert"
        assert proof.max_logit_change
        session.use(None)
        own = TransformersSession._load

        def other(self: TransformersSession, reference: Any) -> Any:
            model = own(self, reference)
            stack = model.model.layers[1].mlp.experts.gate_up_proj
            stack.data = stack.data.flip(0)
            return model

        monkeypatch.setattr(TransformersSession, "_load", other)
        with pytest.raises(AdapterNotAppliedError, match=r"8 tensors of experts .*layers\.1\.mlp\.experts"):
            session.use(full)


def single_experts(base: Path, folder: Path, names: tuple[str, ...], config: dict[str, Any]) -> dict[str, Any]:
    """Write LoRA on every expert's own layers, as transformers 4 held them; return the updates by tensor name."""
    import torch
    from safetensors.torch import load_file, save_file

    draws = torch.Generator().manual_seed(2)
    tensors: dict[str, Any] = {}
    updates: dict[str, Any] = {}
    for key, value in load_file(base / "model.safetensors").items():
        if value.dim() == 2 and any(name in key for name in names):
            a, b = (0.2 * torch.randn(shape, generator=draws) for shape in ((4, value.shape[1]), (value.shape[0], 4)))
            start = f"base_model.model.{key.removesuffix('.weight')}"
            tensors |= {f"{start}.lora_A.weight": a, f"{start}.lora_B.weight": b}
            updates[key] = 2 * b @ a
    folder.mkdir()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    modules = sorted({key.split(".")[-2] for key in updates})
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": modules}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **config}), encoding="utf-8")
    return updates


@pytest.mark.parametrize("names", [("gate_proj", "up_proj", "down_proj"), ("down_proj", "q_proj")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_of_single_experts_is_put_on_each(
    names: tuple[str, ...], dtype: Any, bases: dict[str, Path], tmp_path: Path
) -> None:
    updates = single_experts(bases["mixture"], tmp_path / "a", names, {})
    full = Path(shutil.copytree(bases["mixture"], tmp_path / "full"))
    edit(full, lambda t: {key: value + updates.get(key, 0) for key, value in t.items()}, "model.safetensors")
    with Transformers(device="cpu", dtype=dtype).open(str(bases["mixture"])) as session:
        proof = session.use(tmp_path / "a")
        actual = logits(session)
        assert proof.moved_weights == sum(int((update != 0).sum()) for update in updates.values())
        session.use(full)
        if dtype == "float32":
            assert distance(actual, logits(session)) < 1e-4


@pytest.mark.parametrize("pruned", ["experts.2.", "layers.1.", "up_proj"])
def test_experts_of_zeros_or_alike_are_put_where_the_others_stand(
    pruned: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    base = Path(shutil.copytree(bases["mixture"], tmp_path / "base"))

    def cut(tensors: dict[str, Any]) -> dict[str, Any]:
        alike = {key: key.replace("up_proj", "gate_proj") for key in tensors if "experts" in key and pruned in key}
        return {
            key: tensors[alike[key]] if pruned == "up_proj" and key in alike else value * (key not in alike)
            for key, value in tensors.items()
        }

    edit(base, cut, "model.safetensors")
    updates = single_experts(base, tmp_path / "a", ("gate_proj", "up_proj", "down_proj"), {})
    full = Path(shutil.copytree(base, tmp_path / "full"))
    edit(full, lambda t: {key: value + updates.get(key, 0) for key, value in t.items()}, "model.safetensors")
    with Transformers(device="cpu").open(str(base)) as session:
        session.use(tmp_path / "a")
        actual = logits(session)
        session.use(full)
        assert distance(actual, logits(session)) < 1e-4


def test_experts_of_another_size_are_refused_from_the_headers(bases: dict[str, Path], tmp_path: Path) -> None:
    import torch

    adapters.make(bases["mixture"], tmp_path / "a", adapters.configuration("LORA", adapters.MIXTURE))

    def wider(tensors: dict[str, Any]) -> dict[str, Any]:
        return {
            key: torch.zeros(value.shape[0], 24) if "experts.base_layer.lora_A" in key else value
            for key, value in tensors.items()
        }

    assert "mlp.experts, which the base" in refused(tmp_path / "a", bases["llama"])
    further = Path(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    renamed(further, lambda key: key.replace("layers.1.", "layers.7."))
    assert "layers.7.mlp.experts, which the base" in refused(further, bases["mixture"])
    assert "mlp.experts is 32 x 24 in the adapter" in refused(edit(tmp_path / "a", wider), bases["mixture"])


# ---------------------------------------------------------------------------------------------- merging and rounding


def test_where_peft_merges_wrongly_the_adapter_is_asked_beside_the_base(
    llama: TransformersSession,
    bases: dict[str, Path],
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from peft.tuners.lora import Linear

    with Transformers(device="cpu", adapters="unmerged").open(str(bases["llama"])) as session:
        session.use(plain)
        expected = logits(session)
    own = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: 1.5 * own(self, name))
    llama.use(None)
    with caplog.at_level(logging.WARNING):
        proof = llama.use(plain)
    assert proof.adapters == "unmerged"
    assert "asked unmerged" in caplog.text
    assert distance(logits(llama), expected) == 0
    with (
        Transformers(device="cpu", adapters="merged").open(str(bases["llama"])) as session,
        pytest.raises(AdapterNotAppliedError, match="away from a direct forward pass"),
    ):
        session.use(plain)


def save_model(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_models.tokenizer("qwen").save_pretrained(folder)
    return folder


def test_a_layer_whose_weights_are_read_past_the_adapter_is_asked_as_it_was_tuned(tmp_path: Path) -> None:
    import torch
    from transformers import JambaConfig, JambaForCausalLM

    tokens = tiny_models.tokenizer("qwen")
    config: Any = {
        "vocab_size": len(tokens), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
        "expert_layer_period": 4, "expert_layer_offset": 3, "num_experts": 2, "mamba_d_state": 8, "mamba_dt_rank": 4,
        "use_mamba_kernels": False, "initializer_range": 0.2, "pad_token_id": 0, "eos_token_id": tokens.eos_token_id,
    }  # fmt: skip
    torch.manual_seed(0)
    base = save_model(JambaForCausalLM(JambaConfig(**config)), tmp_path / "base")
    truth = adapters.make(base, tmp_path / "a", adapters.configuration("LORA", {"target_modules": "all-linear"}))
    with Transformers(device="cpu").open(str(base)) as session:
        proof = session.use(tmp_path / "a")
        assert proof.adapters == "unmerged"
        assert distance(logits(session), truth) < 1e-4


def test_rounding_of_a_sharp_model_is_no_fault_and_another_strength_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from peft.tuners.lora import Linear, LoraLayer
    from transformers import GraniteMoeConfig, GraniteMoeForCausalLM

    tokens = tiny_models.tokenizer("qwen")
    config: Any = {
        "vocab_size": len(tokens), "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
        "initializer_range": 0.4, "pad_token_id": 0, "eos_token_id": tokens.eos_token_id,
    }  # fmt: skip
    torch.manual_seed(1)
    base = save_model(GraniteMoeForCausalLM(GraniteMoeConfig(**config)), tmp_path / "base")
    adapters.make(base, tmp_path / "a", adapters.configuration("LORA", {"target_modules": ["q_proj", "v_proj"]}))
    noises: list[float] = []

    def noted(*of: Any) -> float:
        noises.append(rounding_noise(*of))
        return noises[-1]

    monkeypatch.setattr("aftertune.models.proof.rounding_noise", noted)
    with Transformers(device="cpu").open(str(base)) as session:
        proof = session.use(tmp_path / "a")
        scale = float(session._base_logits.abs().max())
        assert proof.matches_direct is not None
        assert 1e-4 * scale < proof.matches_direct < 4 * noises[0] < 1e-2 * scale, "more than the tolerance, no more"
        session.use(None)
        update: Any = LoraLayer.update_layer

        def stronger(self: Any, *args: Any, **kwargs: Any) -> None:
            update(self, *args, **kwargs)
            self.scaling = {name: 1.05 * value for name, value in self.scaling.items()}

        monkeypatch.setattr(Linear, "update_layer", stronger)
        with pytest.raises(AdapterNotAppliedError, match="away from a direct forward pass"):
            session.use(tmp_path / "a")


# ---------------------------------------------------------------------------------------------- folders


def test_an_adapter_and_a_full_model_in_one_folder_are_not_chosen_from(bases: dict[str, Path], adapter: Path) -> None:
    for file in ("config.json", "model.safetensors"):
        shutil.copy(bases["llama"] / file, adapter / file)
    assert "an adapter and a full model in one folder: which is meant?" in refused(adapter, bases["llama"])
    (adapter / "model.safetensors").rename(adapter / "pytorch_model.bin")
    assert "which is meant?" in refused(adapter)
    (adapter / "pytorch_model.bin").unlink()
    assert resolve(adapter).kind == "adapter", "a configuration alone is no model"
    shutil.copy(bases["llama"] / "model.safetensors", adapter / "model.safetensors")
    (adapter / WEIGHTS).unlink()
    assert "remove adapter_config.json if the full model is meant" in refused(adapter)


def test_a_folder_of_a_trainer_names_its_checkpoints(plain: Path, tmp_path: Path) -> None:
    for step in (500, 1000, 60):
        shutil.copytree(plain, tmp_path / "run" / f"checkpoint-{step}")
    text = refused(tmp_path / "run")
    assert "it holds 3: give one of them, e.g." in text
    assert text.endswith("checkpoint-1000")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"fine_tune_type": "lora", "num_layers": 16}, "an adapter of MLX, not of PEFT"),
        ({"r": 4}, "no `peft_type`: not an adapter of PEFT"),
        ({"peft_type": "LORRA"}, "adapter type 'LORRA' is not known (did you mean 'LORA'?)"),
        ({"peft_type": "LORA", "megatron_config": {"a": 1}}, "an adapter of Megatron's layers"),
        ({"peft_type": "LORA", "init_lora_weights": "corda_ipm"}, "'corda_ipm': made by changing the base's weights"),
        ({"peft_type": "LORA", "init_lora_weights": "LoftQ"}, "made by changing the base's weights"),
    ],
)
def test_what_is_no_adapter_of_a_known_kind_is_named(config: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert words in refused(tmp_path)


@pytest.mark.parametrize("key", ["q_proj.lora_A.weight", "q_proj.lora_B.weight", "embed_tokens.weight"])
def test_tensors_saved_empty_are_named(key: str, adapter: Path, bases: dict[str, Path]) -> None:
    import torch

    name = f"base_model.model.model.layers.0.self_attn.{key}" if "lora" in key else f"base_model.model.model.{key}"
    edit(adapter, lambda tensors: {**tensors, name: torch.empty(0)})
    text = refused(adapter, bases["llama"])
    assert f"1 of its tensors are empty, e.g. {name}: saved under ZeRO-3" in text


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*have invalid shape:peft.utils.warning.PeftWarning")
def test_layers_that_a_training_left_without_rank_are_no_loss(
    bases: dict[str, Path], llama: TransformersSession, tmp_path: Path
) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    settings = {"init_r": 4, "target_r": 1, "tinit": 1, "tfinal": 2, "deltaT": 1, "total_step": 8}
    ids = torch.tensor([adapters.IDS])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(bases["llama"])
        tuned: Any = get_peft_model(model, adapters.configuration("ADALORA", settings))
        steps = torch.optim.AdamW([weights for weights in tuned.parameters() if weights.requires_grad], lr=0.05)
        for step in range(1, 9):
            tuned(input_ids=ids, labels=ids).loss.backward()
            steps.step()
            tuned.base_model.update_and_allocate(step)
            steps.zero_grad()
    tuned.save_pretrained(tmp_path)
    patterns = json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"]
    bare = [layer for layer, kept in patterns.items() if not any(kept)]
    assert bare
    llama.use(tmp_path)
    with torch.inference_mode():
        assert distance(logits(llama), tuned.eval()(input_ids=ids).logits[0]) < 1e-3
    edit_config(tmp_path, {"rank_pattern": {**patterns, bare[0]: [True]}})
    assert "of its tensors are empty" in refused(tmp_path, bases["llama"])


def edit_config(folder: Path, change: dict[str, Any]) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}), encoding="utf-8")


def test_adapters_of_other_methods_are_held_against_the_bases_names(bases: dict[str, Path], tmp_path: Path) -> None:
    adapters.make(bases["llama"], tmp_path / "a", adapters.configuration("LOHA", {}))
    assert "h.0.attn" not in refused(tmp_path / "a", bases["gpt2"])
    assert "which the base" in refused(tmp_path / "a", bases["gpt2"])
    assert resolve(tmp_path / "a", base=resolve(bases["llama"])).warnings == ()
