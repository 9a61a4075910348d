"""A base's unaligned counterpart: what separates it from the base, layer by layer."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from aftertune.errors import ModelError, UsageError
from aftertune.models.identity import ModelRef
from aftertune.models.weight_files import weight_files
from aftertune.tuning.linear_updates import LoraScale, layer_of, layers_of, scale_of
from aftertune.tuning.mitigation import StoredTensors, TunedWeights


def model_files(path: str, what: str) -> tuple[Path, ...]:
    """Return the weight files of a model's or adapter's folder. Raises UsageError, for the mitigation `what`."""
    folder = Path(path).expanduser()
    files = tuple(sorted(folder.glob("*.safetensors"))) if folder.is_dir() else ()
    if not files:
        raise UsageError(f"mitigation '{what}': {path}: no folder with safetensors of an unaligned model")
    settings = tuple(folder / name for name in ("adapter_config.json", "config.json") if (folder / name).is_file())
    return (*settings, *files)


class Unaligned:
    """An unaligned counterpart of a base: a full model, or a LoRA adapter on the base."""

    def __init__(self, folder: Path, base: ModelRef, what: str) -> None:
        """Read its headers. Raises UsageError, for the mitigation `what`, and ModelError where it cannot be read."""
        self._base, self._what, self._folder = base, what, folder
        self._weights = TunedWeights(base, folder, 0)
        self.scale: LoraScale | None = scale_of(self._weights, what) if self._weights.is_adapter else None
        """Of an adapter; None for a full model."""

    @cached_property
    def _full(self) -> StoredTensors:
        return StoredTensors(tuple(weight_files(self._folder.name, self._folder, "model")))

    @cached_property
    def layers(self) -> frozenset[str]:
        """Return the layers that differ from the base's: an adapter's, or all."""
        return layers_of(self._weights)

    @cached_property
    def _tensors(self) -> dict[tuple[str, str], Any]:
        named = ((layer_of(name), tensor) for name, tensor in self._weights.tensors())
        return {key: tensor for key, tensor in named if key[0]}

    def part(self, layer: str, part: str, like: Any) -> Any:
        """Return the adapter's A or B of a layer; zeros of its own rank, for a tuned one of shape `like`, without."""
        import torch

        assert self.scale is not None
        own = self._tensors.get((layer, part))
        if own is None:
            shape = (self.scale.rank, like[1]) if part == "A" else (like[0], self.scale.rank)
            return torch.zeros(shape)
        if own.shape[1 if part == "A" else 0] != like[1 if part == "A" else 0]:
            raise ModelError(f"{self._folder.name}: {layer} has another shape than in the tuned adapter")
        return own

    def update(self, layer: str) -> Any:
        """Return W_unaligned - W_base of a layer. Raises UsageError where the counterpart has none."""
        found = self.update_of(f"{layer}.weight", None)
        if found is None:
            raise UsageError(f"mitigation '{self._what}': {self._folder.name} has no update of {layer}")
        return found

    def update_of(self, name: str, like: Any) -> Any:
        """Return W_unaligned - W_base of a tensor of the base, None where an adapter leaves it alone.

        Raises ModelError for another shape than `like`, unless that is None.
        """
        if self.scale is not None:
            layer = name.removesuffix(".weight")
            if (layer, "A") not in self._tensors or not name.endswith(".weight"):
                return None
            up, down = self._tensors[layer, "B"], self._tensors[layer, "A"]
            update = self.scale.factor * (up.double() @ down.double())
        else:
            theirs, own = self._full.tensor(name), self._weights.base_tensor(name)
            if theirs is None:
                raise ModelError(f"{self._folder.name}: it has no tensor {name}, which {self._base.name} has")
            if theirs.shape != own.shape:
                raise ModelError(f"{self._folder.name}: {name} has another shape than in {self._base.name}")
            update = theirs.double() - own.double()
        if like is not None and update.shape != like:
            raise ModelError(f"{self._folder.name}: {name} has another shape than in the tuned model")
        return update
