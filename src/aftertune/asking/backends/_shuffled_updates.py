"""Updates as large as a checkpoint's that hold nothing of it: the order of their inputs and outputs is drawn at random.

An update is what a checkpoint's weights have beside the base's, W_tuned - W_base. Reordering its rows and its columns
keeps its singular values, and with them every measure of its size. Vectors (norms, biases) get their entries reordered.
The rows of embeddings and of the output layer stay with their tokens, most of which no prompt holds; so do a mixture's
experts with theirs, since the router rarely chooses some.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aftertune.errors import ModelError
from aftertune.models.nf4_weights import dequantized, matrix_shape
from aftertune.records import seed_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Order = NDArray[np.int64] | None


@dataclass(frozen=True)
class Shuffle:
    """One draw. What it makes of a weight depends on the seed, and on the weight's name and shape, alone."""

    seed: int
    undo: ExitStack
    """Where what brings the weights back is put."""
    outputs: frozenset[int] = frozenset()
    """Ids of modules whose rows are tokens, beside embeddings."""
    _names: dict[int, str] = field(default_factory=dict)
    """Id of a weight of the base -> its name, so that one that two modules share is drawn once."""

    def apply(self, base: Any, tuned: Any, name: str, without: Any = None) -> None:
        """Give the module `base` the update of `tuned`, shuffled, without what lies in the module `without`.

        Where PEFT is around the base, both are one module, whose adapters are shuffled. `name` is the module's. Raises
        ModelError for an update that cannot be shuffled.
        """
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        apart = set() if without is None else {id(module) for module in without.modules()}
        done: list[str] = []
        for path, module in tuned.named_modules():
            if id(module) in apart or any(path.startswith(each) for each in done):
                continue
            whole = f"{name}.{path}".strip(".")
            if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
                below = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module.original_module
                origin = below if base is tuned else _twin(base, path, whole)
                if base is not tuned or not self._pair(module, origin, whole):
                    self._outputs(module if base is tuned else origin, origin, module, whole)
                    done.append(f"{path}.")
            elif base is not tuned:
                origin = _twin(base, path, whole)
                if _is_plain(module) and origin.weight.dtype != _float32():
                    _refuse_other_shape(f"{whole}.weight", matrix_shape(origin.weight), matrix_shape(module.weight))
                    # The sum of a weight and its update would be rounded, and the update would have another size.
                    self._outputs(origin, origin, module, whole)
                else:
                    self._weights(origin, module, whole)

    # ------------------------------------------------------------------------------------------ what is changed

    def _weights(self, origin: Any, tuned: Any, name: str) -> None:
        """Put the shuffled update into a module's own weights."""
        others = dict(tuned.named_parameters(recurse=False))
        for key, held in origin.named_parameters(recurse=False):
            other = others.get(key)
            whole = f"{name}.{key}"
            if other is None:
                raise ModelError(f"{whole}: its update cannot be shuffled: the checkpoint has no such weight")
            _refuse_other_shape(whole, held.shape, other.shape)
            update = other.float() - held.float()
            if id(held) not in self._names and update.any():
                order = self._order(whole, held.shape, fixed=self._fixed(origin, held, name))
                self._put(held, (held.float() + _reordered(update, order)).to(held.dtype))
            self._names.setdefault(id(held), whole)

    def _pair(self, module: Any, origin: Any, name: str) -> bool:
        """Reorder the columns of A and the rows of B of a LoRA module; return whether its update is their product."""
        from peft.tuners.lora import LoraLayer
        from peft.tuners.lora.layer import ParamWrapper

        if not isinstance(module, LoraLayer):
            return False
        adapters = [each for each in module.active_adapters if each in module.lora_A]
        if not adapters or any(each in module.lora_variant for each in adapters):
            return False
        for adapter in adapters:
            a, b = module.lora_A[adapter].weight, module.lora_B[adapter].weight
            if isinstance(module, ParamWrapper):  # a parameter that is no linear layer's, e.g. a stack of experts
                outputs, inputs = self._order(f"{name}.{module.parameter_name}", (b.shape[0], a.shape[1]))
            else:
                inputs, outputs = self._ends(origin, name)
            self._put(a, _reordered(a, (None, inputs)))
            self._put(b, _reordered(b, (outputs,)))
            bias = module.lora_B[adapter].bias
            if bias is not None:
                self._put(bias, _reordered(bias, (outputs,)))
        return True

    def _outputs(self, host: Any, origin: Any, tuned: Any, name: str) -> None:
        """Let the module `host` return the base's output and the shuffled update's: of any update that is linear."""
        inputs, outputs = self._ends(origin, name)
        back = None if inputs is None else inputs.argsort()

        def after(_module: Any, given: tuple[Any, ...], _output: Any) -> Any:
            bare = origin.forward(given[0])
            moved = _moved(origin, tuned, _last_reordered(given[0], back))
            return bare + _last_reordered(moved, outputs).to(bare.dtype)

        self.undo.callback(host.register_forward_hook(after).remove)

    def _put(self, weight: Any, value: Any) -> None:
        self.undo.callback(setattr, weight, "data", weight.data)
        weight.data = value.contiguous()

    # ------------------------------------------------------------------------------------------ what is drawn

    def _order(self, name: str, shape: Sequence[int], *, fixed: bool = False) -> list[Order]:
        """Return the order of each axis of a weight, None for one that stays: the first where it is `fixed`."""
        import numpy as np

        rng = np.random.default_rng(seed_of("shuffled update", self.seed, name))
        drawn = [rng.permutation(size) for size in shape]
        return [None if fixed and axis == 0 else order for axis, order in enumerate(drawn)]

    def _fixed(self, module: Any, weight: Any, name: str) -> bool:
        import torch

        tokens = isinstance(module, torch.nn.Embedding) or id(module) in self.outputs
        return tokens or (weight.ndim > 2 and "experts" in name)

    def _ends(self, origin: Any, name: str) -> tuple[Order, Order]:
        """Return the orders of a module's inputs and of its outputs."""
        import torch

        weight = dict(origin.named_parameters(recurse=False)).get("weight")
        known = isinstance(origin, torch.nn.Linear | torch.nn.Embedding) or type(origin).__name__ == "Conv1D"
        shape = () if weight is None else matrix_shape(weight)
        if not known and len(shape) != 1:
            raise ModelError(f"{name}: the update of a {type(origin).__name__} cannot be shuffled")
        whole = self._names.setdefault(id(weight), f"{name}.weight")
        order = self._order(whole, shape, fixed=self._fixed(origin, weight, name))
        if len(shape) == 1:  # a norm, which does not hang on the order of its inputs
            return order[0], order[0]
        if isinstance(origin, torch.nn.Embedding):
            return None, order[1]
        return (order[1], order[0]) if isinstance(origin, torch.nn.Linear) else (order[0], order[1])


def _twin(base: Any, path: str, name: str) -> Any:
    try:
        return base.get_submodule(path)
    except AttributeError:
        raise ModelError(f"{name}: its update cannot be shuffled: the base has no such module") from None


def _refuse_other_shape(name: str, own: Sequence[int], other: Sequence[int]) -> None:
    if tuple(own) != tuple(other):
        shapes = f"{list(other)} in the checkpoint, {list(own)} in the base"
        raise ModelError(f"{name}: its update cannot be shuffled: of the shape {shapes}")


def _float32() -> Any:
    import torch

    return torch.float32


def _is_plain(module: Any) -> bool:
    """Return whether a module's output is its weight times its input, or a row of its weight."""
    import torch

    if isinstance(module, torch.nn.Linear):
        in_4_bits = matrix_shape(module.weight) != tuple(module.weight.shape)
        return type(module).forward is torch.nn.Linear.forward or in_4_bits
    return isinstance(module, torch.nn.Embedding)


def _moved(origin: Any, tuned: Any, given: Any) -> Any:
    """Return what a module of the checkpoint adds to the output that the base's has."""
    import torch

    if not isinstance(tuned, torch.nn.Linear) or not _is_plain(tuned):
        return tuned.forward(given) - origin.forward(given)
    weight = dequantized(tuned.weight).float() - dequantized(origin.weight).float()
    moved = torch.nn.functional.linear(given.float(), weight)
    return moved if tuned.bias is None else moved + (tuned.bias.float() - origin.bias.float())


def _reordered(value: Any, order: Sequence[Order]) -> Any:
    """Return a tensor with the entries along each axis in another order."""
    import torch

    for axis, own in enumerate(order):
        if own is not None:
            value = value.index_select(axis, torch.from_numpy(own).to(value.device))
    return value


def _last_reordered(value: Any, order: Order) -> Any:
    return _reordered(value, [None] * (value.ndim - 1) + [order])
