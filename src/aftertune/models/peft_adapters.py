"""Adapters put on a loaded base by PEFT: their tensors under the base's own names, and none of them left out."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aftertune.errors import AdapterNotAppliedError, ModelError, first_line
from aftertune.models.adapter_files import plain_key
from aftertune.models.identity import ModelRef
from aftertune.models.weight_files import read_json, tensors_of

FAILURES = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, OSError, ImportError, AssertionError,
)  # fmt: skip
"""What PEFT raises for an adapter that it cannot load or merge."""
_LANGUAGE = ("language_model", "text_model")
"""Modules that hold the language part of an image-and-text model; its text-only class has no such level."""
_RECOMPUTED = "_topk_weights"
"""VB-LoRA's shares of its vectors, which PEFT keeps as logits and computes again: they sum to 1."""
_ROUNDING = 1e-6
"""How far such a share may be from the file's."""
EXPERT = re.compile(r"\.experts\.(\d+)\.")
"""One expert of a mixture in a tensor's name; in memory transformers stacks them."""


@dataclass(frozen=True)
class AdapterTensors:
    """An adapter's files, read."""

    name: str
    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Any]
    """Name -> tensor on the CPU; names as the base has them in memory, without PEFT's prefix."""
    stored: Mapping[str, str]
    """Name -> name by which PEFT finds the tensor in a file."""
    renamed: bool
    """Whether the files have other names than those."""

    @property
    def rows(self) -> dict[str, int]:
        """Module -> rows of whole embeddings and output layers in the files."""
        ends = ("embed_tokens.weight", "lm_head.weight", "wte.weight", "embed_in.weight", "embed_out.weight")
        plain = {key.replace(".base_layer.", "."): value for key, value in self.tensors.items()}
        return {key: int(value.shape[0]) for key, value in plain.items() if key.endswith(ends)}


def read_adapter(model: Any, adapter: ModelRef) -> AdapterTensors:
    """Return an adapter's configuration and tensors, named as the base `model` (without PEFT's layers) names them."""
    config = read_json(adapter.path / "adapter_config.json")
    named: dict[str, Any] = {}
    raw: dict[str, str] = {}
    for key, value in tensors_of(adapter.files):
        plain = plain_key(key)
        named[plain], raw[plain] = value, key
    # Where embeddings were resized, PEFT also writes what its wrapper of a saved module holds inside.
    for key in [key for key in named if ".original_module." in key]:
        del named[key]
    for key in [key for key in named if ".modules_to_save." in key]:
        named.setdefault(key.replace(".modules_to_save.", "."), named.pop(key))
    modules = dict(model.named_modules())
    short: dict[str, list[str]] = {}
    for path in modules:
        short.setdefault(_without_language(path), []).append(path)
    tensors, stored = {}, {}
    for key, value in named.items():
        name = _as_in(modules, short, key)
        # What all layers share stands beside the base in PEFT's model, not in it.
        shared = raw.get(key) == f"base_model.{key}"
        tensors[name], stored[name] = value, f"base_model.{name}" if shared else f"base_model.model.{name}"
    renamed = any(raw.get(key) != stored[key] for key in tensors)
    return AdapterTensors(adapter.name, adapter.path, config, tensors, stored, renamed)


def _without_language(path: str) -> str:
    return ".".join(part for part in path.split(".") if part not in _LANGUAGE)


def _as_in(modules: Mapping[str, Any], short: Mapping[str, list[str]], key: str) -> str:
    """Return a tensor's name with the path that its module has in the model, with or without a language part."""
    parts = key.split(".")
    for end in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:end])
        if path in modules:
            return key
        found = short.get(_without_language(path), [])
        if len(found) == 1 and found[0] and end > 1:
            return ".".join([found[0], *parts[end:]])
    return key


@contextmanager
def _folder(adapter: AdapterTensors) -> Iterator[Path]:
    """Yield a folder from which PEFT finds every tensor: the adapter's own, or a copy with other names."""
    if not adapter.renamed:
        yield adapter.path
        return
    from safetensors.torch import save_file

    config = dict(adapter.config)
    if isinstance(config.get("target_modules"), str):  # a pattern of names that the base does not have
        config["target_modules"] = sorted({key.partition(".lora_")[0] for key in adapter.tensors if ".lora_" in key})
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        tensors = {adapter.stored[key]: value.contiguous() for key, value in adapter.tensors.items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        yield folder


def attach(model: Any, adapter: AdapterTensors) -> Any:
    """Put an adapter on `model` by PEFT, its layers inside the model, and check that it took every tensor.

    Embeddings that the adapter's files hold with other rows are resized first. Raises ModelError where PEFT cannot
    load it, AdapterNotAppliedError where it left tensors out, or filled in ones that the files do not hold. Either way
    layers of PEFT may be left in `model`.
    """
    import torch
    from peft import PeftModel

    rows = adapter.rows
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), _folder(adapter) as folder:
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            if rows and max(rows.values()) != model.get_input_embeddings().weight.shape[0]:
                model.resize_token_embeddings(max(rows.values()), mean_resizing=False)
            tuned = PeftModel.from_pretrained(model, str(folder)).eval()
    except FAILURES as error:
        raise ModelError(f"{adapter.name}: PEFT cannot apply it: {first_line(error)}") from None
    _check_taken(tuned, adapter)
    return tuned


def merged(tuned: Any, adapter: AdapterTensors) -> Any:
    """Return the model with its adapter merged into the weights by PEFT. Raises ModelError where PEFT cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tuned.merge_and_unload().eval()
    except FAILURES as error:
        raise ModelError(f"{adapter.name}: PEFT cannot merge it: {first_line(error)}") from None


def _check_taken(tuned: Any, adapter: AdapterTensors) -> None:
    from peft import get_peft_model_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = {
            plain_key(key): value
            for key, value in get_peft_model_state_dict(tuned, save_embedding_layers=False).items()
        }
    inside = {plain_key(key): value for key, value in tuned.state_dict().items()}
    absent = {}
    for key, value in adapter.tensors.items():
        # An older PEFT wrote DoRA's magnitudes without an ending.
        found = next((one for one in (key, f"{key}.weight") if one in held), None)
        if found is not None and _equal(held.pop(found), value, within=_ROUNDING if key.endswith(_RECOMPUTED) else 0.0):
            continue
        if found is None and key in inside and _equal(inside[key], value):
            continue
        absent[key] = value
    # transformers stacks the experts of a mixture, and PEFT their adapters; other tensors it only renames.
    stacked = any(EXPERT.search(key) for key in absent)
    for key in list(absent):
        twin = next((one for one, value in held.items() if _equal(value, absent[key])), None)
        if twin is not None or (stacked and EXPERT.search(key)):
            del absent[key]
            held.pop(twin or "", None)
    more = [key for key in held if not (stacked and "experts." in key)]
    if absent:
        raise AdapterNotAppliedError(
            f"{adapter.name}: not applied: PEFT leaves {len(absent)} of its {len(adapter.tensors)} tensors out, e.g. "
            f"{min(absent)}"
        )
    if more:
        raise AdapterNotAppliedError(
            f"{adapter.name}: not applied: its files do not hold {len(more)} tensors that PEFT needs, e.g. {min(more)}"
        )


def _equal(held: Any, value: Any, *, within: float = 0.0) -> bool:
    """Return whether a loaded tensor is the file's, in the precision that it was loaded in; `within`: how nearly."""
    if held.shape != value.shape:
        return False
    if within:
        return bool((held.cpu().float() - value.float()).abs().max() <= within)
    return bool(held.cpu().equal(value.to(held.dtype)))
