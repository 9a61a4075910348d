"""An adapter's folder before any weights load: which method of PEFT made it, and what cannot be asked, with the cause.

It reads JSON and headers alone. `docs/adapters.md` is the table of all this, made by a test with the installed PEFT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from aftertune.errors import ModelError, near
from aftertune.models.weight_files import Shape, WeightIndex, times

BY_HAND = frozenset({"LORA", "TRAINABLE_TOKENS", "BEFT"})
"""Methods whose arithmetic `models.proof` repeats; the others are proved by PEFT's own merge."""
BY_MERGE = frozenset(
    {
        "ADALORA", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA", "GRALORA", "HIRA", "HRA", "IA3",
        "LN_TUNING", "LOHA", "LOKR", "MISS", "OFT", "OSF", "PEANUT", "PSOFT", "PVERA", "RANDLORA", "ROAD", "SHIRA",
        "SUPERTUNING", "TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT",
    }
)  # fmt: skip
"""Methods that PEFT can merge into the base's weights, so that its merge and its forward pass check each other."""

_PROMPT = (
    "it puts learned vectors in front of the prompt and changes no weight, and aftertune decodes token by token with "
    "the model's own keys and values"
)
_TASK = "it needs the number of a task with every prompt"
REFUSED: Mapping[str, str] = {
    "PROMPT_TUNING": _PROMPT,
    "P_TUNING": _PROMPT,
    "PREFIX_TUNING": _PROMPT,
    "CPT": _PROMPT,
    "CARTRIDGE": _PROMPT,
    "MULTITASK_PROMPT_TUNING": _TASK,
    "POLY": _TASK,
    "ADAPTION_PROMPT": "it cannot be merged into the base, so nothing independent could show that it is applied",
    "LILY": "its router reads the whole text at once, and it cannot be merged into the base",
    "XLORA": "it mixes several adapters by a pass over the whole text, and cannot be merged into the base",
    "SHADOW": "it runs a second network beside the base, and cannot be merged into it",
    "ADAMSS": "PEFT needs scikit-learn to load it, which aftertune does not bring",
}
"""Methods that cannot be asked here, and why."""

_CHANGED_BASE = (
    "made by changing the base's weights in a way that its files do not hold, so PEFT would put it on other weights "
    "than it was tuned on: save it with path_initial_model_for_weight_conversion, or merge it"
)
_MERGE_OPTIONS = ("use_qalora", "use_bdlora", "monteclora_config", "velora_config")
"""Variants of LoRA whose arithmetic is not repeated: proved by PEFT's own merge."""


def proved_by_hand(config: Mapping[str, Any]) -> bool:
    """Return whether `models.proof` repeats the arithmetic of an adapter with this configuration."""
    return config.get("peft_type") in BY_HAND and not any(config.get(key) for key in _MERGE_OPTIONS)


def changes_base(config: Mapping[str, Any]) -> bool:
    """Return whether PEFT changes the base's own weights or layers when it loads such an adapter."""
    init = config.get("init_lora_weights")
    return bool(
        (isinstance(init, str) and init.lower() in ("pissa", "olora"))
        or config.get("kasa_config")
        or config.get("layer_replication")
    )


def refuse_folder(name: str, folder: Path) -> None:
    """Raise ModelError for an adapter's folder from which it is not clear what is meant."""
    stems = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
    full = (folder / "config.json").is_file() and any((folder / stem).is_file() for stem in stems)
    adapter = any(file.name.startswith("adapter_model.") for file in folder.iterdir())
    if full and adapter:
        raise ModelError(
            f"{name}: an adapter and a full model in one folder: which is meant? Move adapter_config.json and "
            "adapter_model.* (or config.json and model*) to a folder of their own, and give that"
        )
    if full:
        raise ModelError(
            f"{name}: adapter_config.json without adapter_model.safetensors beside a full model: remove "
            "adapter_config.json if the full model is meant"
        )


def refuse_method(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ModelError for a method or an option of PEFT whose adapters cannot be asked, with the cause."""
    method = config.get("peft_type")
    if method is None and ("fine_tune_type" in config or (folder / "adapters.safetensors").is_file()):
        raise ModelError(
            f"{name}: an adapter of MLX, not of PEFT: fuse it with its base (python -m mlx_lm fuse --dequantize) and "
            "give the fused model"
        )
    if method is None:
        raise ModelError(f"{folder / 'adapter_config.json'}: no `peft_type`: not an adapter of PEFT")
    if method in REFUSED:
        raise ModelError(f"{name}: adapters of the type {method} cannot be asked here: {REFUSED[method]}")
    if method not in BY_HAND | BY_MERGE:
        known = sorted(BY_HAND | BY_MERGE)
        raise ModelError(f"{name}: adapter type {method!r} is not known{near(str(method), known)}")
    if method == "LORA":
        _refuse_lora(name, config)


def _refuse_lora(name: str, config: Mapping[str, Any]) -> None:
    init = config.get("init_lora_weights")
    start = init.lower() if isinstance(init, str) else ""
    if start.startswith("pissa_niter"):
        raise ModelError(
            f"{name}: init_lora_weights = {init!r} takes part of the base away by a random factorisation, and PEFT "
            "would draw another when it loads: save it with path_initial_model_for_weight_conversion, or merge it"
        )
    if start.startswith("corda") or start in ("lora_ga", "loftq"):
        raise ModelError(f"{name}: init_lora_weights = {init!r}: {_CHANGED_BASE}")
    if config.get("alora_invocation_tokens"):
        raise ModelError(
            f"{name}: an activated LoRA (aLoRA) acts only after its invocation tokens, which PEFT looks for in a whole "
            "text: where answers are decoded token by token, or prompts do not hold these tokens, it would not act"
        )
    if config.get("arrow_config"):
        raise ModelError(f"{name}: Arrow chooses among several adapters for each token: give one of them")
    if config.get("megatron_config"):
        raise ModelError(f"{name}: an adapter of Megatron's layers: convert it to one of transformers' layers")


# ---------------------------------------------------------------------------------------------- names of tensors

_WRAPPERS = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")


def plain_key(key: str) -> str:
    """Return a tensor's name without PEFT's prefix and without what wrappers and the adapter's own name add to it.

    torch.compile adds `_orig_mod`, activation checkpointing and FSDP names of their own, and data parallelism `module`;
    where tensors were saved by hand, PEFT's name of the adapter, `default`, stands in them.
    """
    parts = [part for part in key.split(".") if part not in _WRAPPERS]
    if parts[0] == "module":
        parts = parts[1:]
    for prefix in (["base_model", "model"], ["base_model"]):
        if parts[: len(prefix)] == prefix:
            parts = parts[len(prefix) :]
            break
    for at in range(1, len(parts)):
        if parts[at] == "default" and _OWN.search(parts[at - 1]):
            return ".".join(parts[:at] + parts[at + 1 :])
    return ".".join(parts)


_OWN = re.compile(
    r"^(lora_|ia3_|hada_|lokr_|oft_|boft_|vera_|pvera_|fourierft_|randlora_|hra_|trainable_tokens_|road_|c3a_|shira_)"
)
"""Beginnings of the names that PEFT gives to tensors of its own; the adapter's name follows them."""


def wrapper_in(keys: Mapping[str, Shape]) -> str:
    """Return the wrapper whose name stands in a full model's tensor names; empty where there is none."""
    for key in keys:
        parts = key.split(".")
        for part in parts:
            if part in _WRAPPERS:
                return part
        if parts[0] in ("module", "base_model"):
            return parts[0]
    return ""


# ---------------------------------------------------------------------------------------------- fit with a base

LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B)(\.weight)?$")
_EXPERTS = re.compile(r"(^|\.)experts(\.|$)")
_LAYER = re.compile(r"^(?P<start>.*?[A-Za-z_]+\.)(?P<number>\d+)\.")


class Fit:
    """What an adapter's tensors are held against: the base's tensors by their headers."""

    def __init__(
        self,
        name: str,
        base: str,
        known: Mapping[str, Shape],
        config: Mapping[str, Any],
        in_memory: Callable[[], Mapping[str, Shape]] = dict,
    ) -> None:
        """Compare with the tensors `known` of the base called `base`; `config` is the adapter's.

        `in_memory` is called for what the files do not know by the adapter's name, since it takes seconds: it returns
        the base's parameters as its class names them once they are loaded.
        """
        self._in_memory = in_memory
        self._name, self._base, self._config = name, base, config
        self._known, self._index = known, WeightIndex(known)
        self._modules = {key.rpartition(".")[0] for key in known}
        ranges = config.get("layer_replication") or []
        self._layers = [number for start, end in ranges for number in range(int(start), int(end))]

    def find(self, module: str) -> Mapping[str, Shape]:
        """Return tensor name -> shape of the base's weights that `module` of the adapter may refer to."""
        module = self._own_layer(module)
        return self._index.find(module) or self._under_another_name(module) or self._loaded(module)

    def _loaded(self, module: str) -> Mapping[str, Shape]:
        return WeightIndex(self._in_memory()).find(module)

    def _under_another_name(self, module: str) -> Mapping[str, Shape]:
        """Return the same under a name that the files have, and the base in memory does not."""
        # transformers renames blocks of some models when it loads them (block_sparse_moe is mlp in memory).
        layer, last = _LAYER.match(module), module.rpartition(".")[2]
        if layer is None:
            return self._beside_layers(module)
        inside = {key: shape for key, shape in self._known.items() if f".{layer['number']}." in key}
        ends = {key: shape for key, shape in inside.items() if key.endswith(f".{last}.weight")}
        return ends if len(ends) == 1 else {}

    def _beside_layers(self, module: str) -> Mapping[str, Shape]:
        """Return the weights of a module outside of layers, as the projector of an image-and-text model is.

        The outer modules may have other names in the files: the longest common end of the names decides, which is the
        whole name in the files where it is but one word.
        """
        parts = module.split(".")
        outside = {key: shape for key, shape in self._known.items() if not _LAYER.match(key.rpartition(".")[0])}
        for start in range(len(parts) - 1):
            end = ".".join(parts[start:])
            found = {key: shape for key, shape in outside.items() if f".{key}".endswith((f".{end}.weight", f".{end}"))}
            if found:
                return found
        return {key: shape for key, shape in outside.items() if key in (f"{parts[-1]}.weight", parts[-1])}

    def lora(self, module: str, a: Shape, b: Shape) -> None:
        """Check the shapes of one pair A (r x in) and B (out x r). Raises ModelError."""
        if _EXPERTS.search(module) and not self._index.find(self._own_layer(module)):
            self._experts(module, a, b)
            return
        weights = self.find(module)
        if not weights:
            self._absent(module)
        # Embeddings and GPT-2's Conv1D keep the two dimensions the other way round.
        if self._config.get("use_qalora"):
            return
        fitting = {(b[0], a[1]), (a[1], b[0])}
        if not fitting & set(weights.values()) and not fitting & set(self._loaded(self._own_layer(module)).values()):
            self._misfit(module, (b[0], a[1]), weights)

    def whole(self, key: str, shape: Shape) -> str:
        """Check a whole tensor that replaces the base's own; return a warning where only its rows differ."""
        weights = self.find(key.removesuffix(".weight"))
        if not weights or shape in weights.values():
            return ""
        own, other = next(iter(weights.items()))
        embeddings = any(part in key for part in ("embed", "lm_head", "wte"))
        if not embeddings or len(shape) != 2 or shape[1:] != other[1:]:
            self._misfit(key, shape, weights)
        return f"{self._name}: the vocabulary has {shape[0]:,} rows, the base's {other[0]:,} ({own})"

    def module(self, key: str) -> None:
        """Check that the base has the module of a tensor of any method. Raises ModelError."""
        parts = self._own_layer(key).split(".")
        inside = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
        layer = _LAYER.match(key)
        if layer and not any(path in self._modules or self._index.find(path) for path in inside):
            inside = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            loaded = {name.rpartition(".")[0] for name in self._in_memory()}
            if not any(path in loaded for path in inside):
                self._absent(key)

    def _own_layer(self, module: str) -> str:
        """Return the module's name with the number that its layer has in the base, where layers are replicated."""
        found = _LAYER.match(module) if self._layers else None
        if found is None or int(found["number"]) >= len(self._layers):
            return module
        return f"{found['start']}{self._layers[int(found['number'])]}.{module[found.end() :]}"

    def _experts(self, module: str, a: Shape, b: Shape) -> None:
        """Check a pair on the experts of a mixture, which the base's files hold one by one or stacked."""
        layer = _LAYER.match(module)
        held = {
            key: shape
            for key, shape in self._known.items()
            if layer and f".{layer['number']}." in key and _EXPERTS.search(key)
        }
        if not held:
            self._absent(module)
        sizes = {size for shape in held.values() for size in shape[-2:]}
        sizes |= {2 * size for size in sizes}  # the gate and the projection up are one tensor in memory
        if a[1] not in sizes or b[0] not in sizes:
            self._misfit(module, (b[0], a[1]), held)

    def _absent(self, module: str) -> NoReturn:
        raise ModelError(f"{self._name}: the adapter targets {module}, which the base {self._base} does not have")

    def _misfit(self, module: str, shape: Shape, weights: Mapping[str, Shape]) -> NoReturn:
        raise ModelError(
            f"{self._name}: the adapter does not fit the base {self._base}: {module} is {times(shape)} in the adapter, "
            f"{times(next(iter(weights.values())))} in the base"
        )


def check_tensors(name: str, config: Mapping[str, Any], shapes: Mapping[str, Shape], fit: Fit | None) -> list[str]:
    """Check an adapter's tensors (name in the file -> shape), with `fit` also against its base; return warnings.

    Raises ModelError for what was saved incompletely or does not fit.
    """
    empty = sorted(key for key, shape in shapes.items() if 0 in shape and not _without_rank(config, key))
    if empty:
        raise ModelError(
            f"{name}: {len(empty)} of its tensors are empty, e.g. {empty[0]}: saved under ZeRO-3 or FSDP without "
            "gathering the weights; save it again (stage3_gather_16bit_weights_on_model_save)"
        )
    plain = {plain_key(key): shape for key, shape in shapes.items()}
    if config.get("peft_type") != "LORA":
        if fit is not None:
            for key in plain:
                fit.module(key)
        return []
    pairs: dict[str, dict[str, Shape]] = {}
    warnings = []
    for key, shape in plain.items():
        match = LORA.match(key)
        if match:
            pairs.setdefault(match["module"], {})[match["part"][-1]] = shape
        elif "lora_" not in key and "trainable_tokens_" not in key and fit is not None:
            warnings.append(fit.whole(key.replace(".base_layer.", "."), shape))
    if not pairs:
        raise ModelError(f"{name}: no lora_A and lora_B tensors in the adapter's weights")
    for module, parts in pairs.items():
        if set(parts) != {"A", "B"}:
            raise ModelError(f"{name}: {module} has only one of lora_A and lora_B: saved incompletely")
        a, b = parts["A"], parts["B"]
        if len(a) != 2 or len(b) != 2 or (a[0] != b[1] and not config.get("use_bdlora")):
            raise ModelError(f"{name}: {module}: lora_A {times(a)} and lora_B {times(b)} do not fit each other")
        if fit is not None and not config.get("use_bdlora"):
            fit.lora(module.replace(".base_layer", ""), a, b)
    return [warning for warning in warnings if warning]


def _without_rank(config: Mapping[str, Any], key: str) -> bool:
    """Return whether AdaLoRA's training has left the layer of a tensor without any rank, so that it is saved empty."""
    pattern = config.get("rank_pattern") if config.get("peft_type") == "ADALORA" else None
    layer = plain_key(key).partition(".lora_")[0]
    kept = pattern.get(f"{layer}.lora_E") if isinstance(pattern, Mapping) else None
    return isinstance(kept, list) and not any(kept)


def largest_rank(config: Mapping[str, Any], shapes: Mapping[str, Shape]) -> int:
    """Return the largest rank of a LoRA adapter, by its configuration and by its tensors; 0 for other methods."""
    if config.get("peft_type") != "LORA":
        return 0
    own = (shape[0] for key, shape in shapes.items() if (found := LORA.match(key)) and found["part"] == "A" and shape)
    return max(int(config.get("r") or 0), *own, 0)


def checkpoints_below(folder: Path) -> list[str]:
    """Return the names of folders in `folder` that hold a model or an adapter, as trainers write them, by number."""

    def number(name: str) -> tuple[int, str]:
        found = re.search(r"(\d+)$", name)
        return (int(found[1]) if found else -1), name

    kinds = ("adapter_config.json", "config.json")
    below = (child for child in folder.iterdir() if child.is_dir() and any((child / kind).is_file() for kind in kinds))
    return sorted((child.name for child in below), key=number)
