"""Changes within a running model: to the residual stream, and to which of its layers are tuned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from aftertune.asking.backends._activations import layer_list
from aftertune.errors import ModelError
from aftertune.models.session import StreamChange


@contextmanager
def changed_stream(model: Any, changes: Sequence[StreamChange]) -> Iterator[None]:
    """Change the output of layers at every position while the context is open.

    Raises ModelError for a layer that is not there and a direction that does not fit.
    """
    import torch

    layers = layer_list(model)
    with ExitStack() as hooks:
        for change in changes:
            if not 1 <= change.layer <= len(layers):
                raise ModelError(f"layer {change.layer}: the model has layers 1 to {len(layers)}")
            width = int(model.config.get_text_config(decoder=True).hidden_size)
            if change.direction.shape != (width,):
                raise ModelError(f"a direction of shape {change.direction.shape} for activations of {width} dimensions")
            layer = layers[change.layer - 1]
            vector = torch.tensor(change.direction, dtype=torch.float32, device=next(layer.parameters()).device)

            def after(_layer: Any, _given: Any, output: Any, vector: Any = vector, amount: Any = change.amount) -> Any:
                stream = output[0] if isinstance(output, tuple) else output
                added = -(stream.float() @ vector)[..., None] * vector if amount is None else amount * vector
                new = stream + added.to(stream.dtype)
                return (new, *output[1:]) if isinstance(output, tuple) else new

            hooks.callback(layer.register_forward_hook(after).remove)
        yield


@contextmanager
def only_tuned(base: Any, tuned: Any, layers: Collection[int], *, rest: bool) -> Iterator[Any]:
    """Yield the base with some layers of a tuned model, given by number from 1, put in their place while it is open.

    `rest` says whether what is in no layer (embeddings, the last norm, the output) is the tuned model's too. Where PEFT
    is around the base, its adapters are switched off everywhere else. Raises ModelError for models that do not fit.
    """
    from peft import PeftModel

    if isinstance(tuned, PeftModel):
        with _adapters_only(tuned, layers, rest=rest):
            yield tuned
        return
    own, other = layer_list(base), layer_list(tuned)
    if len(own) != len(other):
        raise ModelError(f"the base has {len(own)} layers and the checkpoint {len(other)}: they cannot be exchanged")
    host, there = (tuned, other) if rest else (base, own)
    before = list(there)
    mixed = [other[index] if index + 1 in layers else own[index] for index in range(len(own))]
    try:
        for index, layer in enumerate(mixed):
            there[index] = layer
        yield host
    finally:
        for index, layer in enumerate(before):
            there[index] = layer


@contextmanager
def _adapters_only(model: Any, layers: Collection[int], *, rest: bool) -> Iterator[None]:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    inside: set[int] = set()
    off: list[Any] = []
    for number, layer in enumerate(layer_list(model), start=1):
        own = [module for module in layer.modules() if isinstance(module, kinds)]
        inside |= {id(module) for module in own}
        off += [] if number in layers else own
    if not rest:
        off += [module for module in model.modules() if isinstance(module, kinds) and id(module) not in inside]
    try:
        for module in off:
            module.enable_adapters(False)
        yield
    finally:
        for module in off:
            module.enable_adapters(True)
