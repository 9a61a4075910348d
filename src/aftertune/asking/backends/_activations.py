"""Activations of a model: the residual stream before, between and after its layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from aftertune.errors import ModelError
from aftertune.models.forward_pass import forward_arguments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def last_token_activations(model: Any, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Return the residual stream at the last token of each prompt (token ids): prompts x (layers + 1) x width.

    Index 0 is the input of the first layer, index i > 0 the output of layer i, before the final normalisation (which
    the last of transformers' `hidden_states` has behind it). Each prompt goes through the model on its own, without
    padding, so that its values cannot depend on the others. Raises ModelError where the layers cannot be found, or hand
    on more than one stream.
    """
    import numpy as np
    import torch

    layers = decoder_layers(model)
    width = int(model.config.get_text_config(decoder=True).hidden_size)
    result = np.empty((len(prompts), len(layers) + 1, width), dtype=np.float32)
    streams: dict[int, Any] = {}

    def record(index: int, hidden: Any) -> None:
        stream = hidden[0] if isinstance(hidden, tuple) else hidden
        if stream.ndim != 3:  # Gemma 3n, DeepSeek V4
            raise ModelError(
                f"{type(model).__name__}: its layers hand on several streams a token, so there is no one residual "
                "stream to be read"
            )
        streams[index] = stream[0, -1]

    def before(_layer: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        record(0, arguments[0] if arguments else named["hidden_states"])

    last_only = {"logits_to_keep": 1} if forward_arguments(model).last_only else {}
    with torch.inference_mode(), ExitStack() as hooks:
        hooks.callback(layers[0].register_forward_pre_hook(before, with_kwargs=True).remove)
        for number, layer in enumerate(layers, start=1):

            def after(_layer: Any, _arguments: Any, output: Any, number: int = number) -> None:
                record(number, output)

            hooks.callback(layer.register_forward_hook(after).remove)
        for row, ids in enumerate(prompts):
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False, **last_only)
            for index in range(len(layers) + 1):
                result[row, index] = streams[index].float().cpu().numpy()
    return result


def decoder_layers(model: Any) -> Sequence[Any]:
    """Return a model's layers in order, as `layer_list`."""
    return list(layer_list(model))


def layer_list(model: Any) -> Any:
    """Return the list of modules that holds a model's layers: of the length that its configuration gives.

    Works on models of any architecture and on those that PEFT wraps. Raises ModelError where there is no such list.
    """
    import torch

    count = int(model.config.get_text_config(decoder=True).num_hidden_layers)
    decoder = model.get_decoder() if callable(getattr(model, "get_decoder", None)) else None
    for root in (decoder, model):
        if root is not None:
            for module in root.modules():  # outermost first, so that lists within a layer come later
                if isinstance(module, torch.nn.ModuleList) and len(module) == count:
                    return module
    raise ModelError(f"{type(model).__name__}: no list of {count} layers in it, so its activations cannot be read")
