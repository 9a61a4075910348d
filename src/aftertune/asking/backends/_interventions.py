"""Changes within a running model: to the residual stream, and to which of its layers are tuned."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from aftertune.asking.backends._activations import layer_list
from aftertune.asking.backends._shuffled_updates import Shuffle
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
def only_tuned(
    base: Any, tuned: Any, layers: Collection[int], *, rest: bool, shuffled: int | None = None
) -> Iterator[Any]:
    """Yield the base with some layers of a tuned model, given by number from 1, put in their place while it is open.

    `rest` says whether what is in no layer (embeddings, the last norm, the output) is the tuned model's too. With
    `shuffled`, a seed, what the tuned model changes there is shuffled (`_shuffled_updates`). Where PEFT is around the
    base itself, its adapters are switched off everywhere else. Raises ModelError for models that do not fit.
    """
    own, other = layer_list(base), layer_list(tuned)
    if len(own) != len(other):
        raise ModelError(f"the base has {len(own)} layers and the checkpoint {len(other)}: they cannot be exchanged")
    with ExitStack() as undo:
        if own is other:
            undo.enter_context(_adapters_only(tuned, layers, rest=rest))
            host = tuned
        elif shuffled is not None:
            host = base
        else:
            host, there = (tuned, other) if rest else (base, own)
            undo.callback(_put, there, list(there))
            _put(there, [other[index] if index + 1 in layers else own[index] for index in range(len(own))])
        if shuffled is not None:
            _shuffle(base, tuned, layers, Shuffle(shuffled, undo, _outputs(base)), rest=rest)
        yield host


def _put(layers: Any, those: Sequence[Any]) -> None:
    for index, layer in enumerate(those):
        layers[index] = layer


def _outputs(model: Any) -> frozenset[int]:
    """Return the ids of the module whose rows are the tokens that may come next, and of those within it."""
    head = model.get_output_embeddings()
    return frozenset() if head is None else frozenset(id(module) for module in head.modules())


def _shuffle(base: Any, tuned: Any, layers: Collection[int], shuffle: Shuffle, *, rest: bool) -> None:
    from peft import PeftModel

    own, other = layer_list(base), layer_list(tuned)
    for number in layers:
        shuffle.apply(own[number - 1], other[number - 1], str(number))
    if rest:
        whole = tuned.get_base_model() if isinstance(tuned, PeftModel) else tuned
        shuffle.apply(base, whole, "", without=other)


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
