"""Write docs/adapters.md: every method and option of the installed PEFT, and what comes of its adapters.

`python -m perf.adapters --write`; without it, say whether the file is current (exit code 1 if not). Each adapter is
made by PEFT on a tiny model with random weights, saved, and put on its base as an audit does.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import tiny_models

from aftertune.errors import AftertuneError

PAGE = Path(__file__).parents[1] / "docs" / "adapters.md"
LINEAR = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
METHODS: Mapping[str, Mapping[str, Any]] = {
    "ADALORA": {"total_step": 10},
    "BOFT": {"boft_block_size": 4},
    "C3A": {"block_size": 8},
    "FOURIERFT": {"n_frequency": 20},
    "IA3": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "LN_TUNING": {"target_modules": ["input_layernorm", "norm"]},
    "MISS": {"r": 4},
    "OFT": {"r": 0, "oft_block_size": 4},
    "OSF": {"effective_rank": 4},
    "PSOFT": {"r": 4},
    "ROAD": {"group_size": 8},
    "SHIRA": {"r": 2},
    "TRAINABLE_TOKENS": {"target_modules": ["embed_tokens"], "token_indices": [5, 6, 300]},
    "VBLORA": {"r": 2, "num_vectors": 8, "vector_length": 8, "topk": 2},
    "WAVEFT": {"n_frequency": 20},
}
"""Method -> settings that a model this small needs; the others have PEFT's own."""
MIXTURE = {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], "target_modules": ["q_proj"]}
OPTIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "on all linear layers": ("llama", {"target_modules": "all-linear"}),
    "on embeddings and output layer": ("llama", {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "on tied embeddings": ("qwen", {"target_modules": ["embed_tokens", "q_proj"]}),
    "on Conv1D": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "use_rslora": ("llama", {"use_rslora": True}),
    "rank_pattern, alpha_pattern": ("llama", {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 32}}),
    "layers_to_transform": ("llama", {"layers_to_transform": [1]}),
    "exclude_modules": ("llama", {"target_modules": "all-linear", "exclude_modules": ["down_proj"]}),
    "layer_replication": ("llama", {"layer_replication": [[0, 2], [0, 2]]}),
    "bias = all": ("qwen", {"bias": "all"}),
    "bias = lora_only": ("qwen", {"bias": "lora_only"}),
    "lora_bias": ("llama", {"lora_bias": True}),
    "modules_to_save": ("llama", {"modules_to_save": ["embed_tokens", "norm"]}),
    "modules_to_save, of tied embeddings": ("qwen", {"modules_to_save": ["lm_head"]}),
    "trainable_token_indices": ("llama", {"trainable_token_indices": [5, 300]}),
    "trainable_token_indices, of tied embeddings": ("qwen", {"trainable_token_indices": [5, 300]}),
    "target_parameters: experts of a mixture": ("mixture", MIXTURE),
    "on all linear layers of a mixture": ("mixture", {"target_modules": "all-linear"}),
    "use_dora": ("llama", {"use_dora": True}),
    "use_dora on embeddings": ("llama", {"use_dora": True, "target_modules": ["embed_tokens", "q_proj"]}),
    "use_dora on Conv1D": ("gpt2", {"use_dora": True, "target_modules": ["c_attn"], "fan_in_fan_out": True}),
    "init_lora_weights = False": ("llama", {"init_lora_weights": False}),
    "init_lora_weights = gaussian": ("llama", {"init_lora_weights": "gaussian"}),
    "init_lora_weights = orthogonal": ("llama", {"init_lora_weights": "orthogonal"}),
    "init_lora_weights = eva": ("llama", {"init_lora_weights": "eva"}),
    "init_lora_weights = mica": ("llama", {"init_lora_weights": "mica"}),
    "init_lora_weights = pissa": ("llama", {"init_lora_weights": "pissa"}),
    "init_lora_weights = olora": ("llama", {"init_lora_weights": "olora"}),
    "kasa_config": ("llama", {"kasa_config": "KasaConfig"}),
    "use_qalora": ("llama", {"use_qalora": True, "qalora_group_size": 8}),
    "use_bdlora": ("llama", {"use_bdlora": "BdLoraConfig", "target_modules": ["q_proj", "o_proj"]}),
    "monteclora_config": ("llama", {"monteclora_config": "MontecloraConfig"}),
    "velora_config": ("llama", {"velora_config": "VeloraConfig"}),
    "init_lora_weights = pissa_niter_4": ("", {"init_lora_weights": "pissa_niter_4"}),
    "init_lora_weights = corda": ("", {"init_lora_weights": "corda"}),
    "init_lora_weights = lora_ga": ("", {"init_lora_weights": "lora_ga"}),
    "init_lora_weights = loftq": ("", {"init_lora_weights": "loftq"}),
    "alora_invocation_tokens": ("", {"alora_invocation_tokens": [7, 8]}),
    "arrow_config": ("", {"arrow_config": {"top_k": 2}}),
    "megatron_config": ("", {"megatron_config": {"tensor_model_parallel_size": 1}}),
}
"""Option of LoRA -> the model that it is tried on (none where its adapters are refused by their settings), settings."""
NESTED: Mapping[str, Mapping[str, Any]] = {
    "BdLoraConfig": {"nblocks": 2, "target_modules_bd_a": ["q_proj"], "target_modules_bd_b": ["o_proj"]}
}
IDS = [5, 6, 7, 8, 9, 10, 11, 12, 13]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one adapter."""

    method: str
    option: str
    refused: str = ""
    """The words, without the adapter's name; empty where it was applied."""
    merged: bool = False
    check: str = ""
    change: float = 0.0
    """Largest absolute difference of a logit to the base's."""
    error: float = 0.0
    """The same, to the logits of the model that PEFT had when it saved the adapter."""

    @property
    def words(self) -> str:
        """The cell of the table."""
        if self.refused:
            return f"refused: {self.refused}"
        check = {"arithmetic": "our own arithmetic", "merge": "PEFT's merge"}[self.check]
        return f"applied, {'merged' if self.merged else 'beside the base'}; proved by {check}"


def bases(folder: Path) -> dict[str, Path]:
    """Write the tiny models, and return their folders by name."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen3MoeConfig, Qwen3MoeForCausalLM

    tokens = tiny_models.tokenizer("qwen")
    ids = {"vocab_size": len(tokens), "eos_token_id": tokens.eos_token_id, "bos_token_id": tokens.eos_token_id}
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    small: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
    wide: dict[str, Any] = {**shape, **experts, "initializer_range": 0.2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        others = {
            "gpt2": GPT2LMHeadModel(GPT2Config(**ids, **small)),
            "mixture": Qwen3MoeForCausalLM(Qwen3MoeConfig(**ids, **wide)),
        }
    for name, model in others.items():
        model.save_pretrained(folder / name)
        tokens.save_pretrained(folder / name)
    tiny_models.save("llama", folder / "llama")
    tiny_models.save("qwen", folder / "qwen")
    return {name: folder / name for name in ("llama", "qwen", "gpt2", "mixture")}


def make(base: Path, folder: Path, config: Any, *, scale: float = 0.05, rows: int = 0) -> Any:
    """Write an adapter whose trainable tensors have moved at random; return PEFT's logits (tokens x vocabulary).

    `rows` resizes the vocabulary first.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(base)
        if rows:
            model.resize_token_embeddings(rows, mean_resizing=False)
        tuned: Any = get_peft_model(model, config)
        torch.manual_seed(1)
        for weights in tuned.parameters():
            if weights.requires_grad:
                weights.data += scale * torch.randn_like(weights)
        tuned.save_pretrained(folder)
        with torch.inference_mode():
            return tuned.eval()(input_ids=torch.tensor([IDS])).logits[0]


def configuration(method: str, settings: Mapping[str, Any]) -> Any:
    """Return PEFT's configuration of a method."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.tuners.lora import config as lora
    from peft.utils import PeftType

    kind: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(method)]
    given = {
        key: getattr(lora, value)(**NESTED.get(value, {})) if isinstance(value, str) and hasattr(lora, value) else value
        for key, value in settings.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**{"task_type": "CAUSAL_LM", "target_modules": LINEAR, **given})


def tried() -> list[Outcome]:
    """Make an adapter of each method and of each option of LoRA, and put each on its base."""
    from peft.utils import PeftType

    from aftertune.models import adapter_files

    wanted = [("LORA", option, base, settings) for option, (base, settings) in OPTIONS.items()]
    for method in sorted({str(kind.value) for kind in PeftType} - {"LORA"}):
        here = "" if method in adapter_files.REFUSED else "llama"
        wanted.append((method, "", here, METHODS.get(method, {})))
    with tempfile.TemporaryDirectory() as temporary:
        known = bases(Path(temporary))
        return [
            outcome
            for base in ("", *known)
            for outcome in _tried_on(known.get(base), Path(temporary), [one for one in wanted if one[2] == base])
        ]


def _tried_on(base: Path | None, folder: Path, wanted: list[tuple[str, str, str, Mapping[str, Any]]]) -> list[Outcome]:
    from aftertune.asking.backends.transformers import Transformers
    from aftertune.models.identity import resolve

    results = []
    if base is None:
        for method, option, _, settings in wanted:
            refused = folder / f"{method} {option}"
            refused.mkdir()
            (refused / "adapter_config.json").write_text(
                json.dumps({"peft_type": method, **settings}), encoding="utf-8"
            )
            try:
                resolve(refused)
            except AftertuneError as error:
                results.append(Outcome(method, option, str(error).removeprefix(f"{refused}: ")))
        return results
    with Transformers(device="cpu").open(str(base)) as session:
        for at, (method, option, _, settings) in enumerate(wanted):
            adapter = folder / f"{base.name} {at}"
            truth = make(base, adapter, configuration(method, settings))
            results.append(use(session, adapter, Outcome(method, option), truth))
    return results


def use(session: Any, adapter: Path, outcome: Outcome, truth: Any) -> Outcome:
    """Return what comes of an adapter on a session's base; `truth` are the logits that it should give."""
    import torch

    try:
        proof = session.use(adapter)
    except AftertuneError as error:
        return dataclasses.replace(outcome, refused=str(error).removeprefix(f"{adapter}: "))
    with torch.inference_mode():
        actual = session._model(input_ids=torch.tensor([IDS])).logits[0]
    return dataclasses.replace(
        outcome,
        merged=proof.adapters == "merged",
        check=proof.check,
        change=proof.max_logit_change or 0.0,
        error=float((actual - truth).abs().max()),
    )


HEAD = """# Adapters

Which adapters of PEFT are asked, and how each is proved to be applied. Written by `python -m perf.adapters --write`
(`make adapters`) from adapters of every method and option of the installed PEFT, made and tried on tiny models; a test
holds the table to what comes of them today.

**Proved by our own arithmetic**: the adapter's files are applied by hand, without PEFT, and the logits of the model in
use must be those. **Proved by PEFT's merge**: our arithmetic does not know the method; PEFT's forward pass beside the
base and PEFT's merge into a copy, two pieces of code, must give the same logits, in float32. Either way every tensor of
the files must have been taken, bit for bit, none may be missing, and the logits must move. The report says which proof
it is. Where the logits are further apart than the tolerance, the distance must be one that rounding alone makes in this
model: its weights are changed in their last digit, and the logits move as far (Granite's sharp attention; mixtures in
bfloat16, which are then also compared in float32).

**Merged** means that the adapter is added into a copy of the base's weights (float32), **beside the base** that PEFT's
layers stay apart from them, as they always do in bfloat16. Where PEFT's merge is not the tuned model (Jamba; replicated
layers; a bias on layers without one), the adapter is asked beside the base. What is refused is refused from the
adapter's JSON and headers, before any weights load.

"""
TAIL = """
Names and folders:

| what | what comes of it |
|---|---|
| names with `_orig_mod.`, `module.`, `_checkpoint_wrapped_module.` or `.default.` | read without them |
| names with or without `language_model.`, where the base's class has the other | read under the base's |
| embeddings with more or fewer rows, as added tokens leave them | applied, with a warning |
| layers that AdaLoRA's training has left without any rank, whose tensors are empty | applied |
| adapters that transformers 4 made of single experts, whose layers it now stacks | applied, each expert in its place |
| whole checkpoints of mixtures | each expert's tensors are looked for, by value, in the stacks that are asked |
| an adapter and a full model in one folder | refused: which is meant must be said |
| a trainer's folder of `checkpoint-500`, `checkpoint-1000`, ... | refused, with the last of them as an example |
| tensors saved empty (ZeRO-3) or by halves | refused, the tensor named |
| adapters of MLX | refused, with the command that fuses them |
| a full model whose names carry a wrapper's | refused, the wrapper named |
"""


def page(outcomes: list[Outcome]) -> str:
    """Return the page."""
    lines = [HEAD + "| method | option | what comes of it |", "|---|---|---|"]
    ordered = sorted(outcomes, key=lambda one: (one.method != "LORA", one.method, bool(one.refused)))
    for one in ordered:
        option = f"`{one.option}`" if one.option and not one.option.startswith("on ") else one.option
        lines.append(f"| `{one.method}` | {option} | {one.words} |")
    return "\n".join(lines) + "\n" + TAIL


def main() -> int:
    """Write the page, or compare it; return the exit code."""
    text = page(tried())
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
    print(f"{PAGE}: {'current' if current else 'not current: run with --write'}")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
