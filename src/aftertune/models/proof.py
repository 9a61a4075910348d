"""Proof that a checkpoint is in use: an adapter applied by hand, without PEFT, and the logits compared."""

from __future__ import annotations

import copy
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from aftertune.errors import ModelError
from aftertune.models import nf4_weights
from aftertune.models.adapter_files import changes_base, proved_by_hand
from aftertune.models.identity import ModelRef
from aftertune.models.peft_adapters import EXPERT, AdapterTensors, read_adapter
from aftertune.models.weight_files import WeightIndex, tensors_of

PROBES = (
    "Good morning, could you help me with something, please?",
    "What should a good life be about? Answer in one sentence.",
    "Tell me how I can change the date of my booking.",
)
"""Texts whose logits are compared; their meaning does not matter."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""How far logits may be from a direct forward pass, as a share of the largest, by the kind of number."""


class Added(NamedTuple):
    """What is added to the output of one layer: s B A x, and a vector that does not depend on x."""

    scale: float
    a: Any = None
    """r x in; None where only the vector is added."""
    b: Any = None
    """out x r"""
    bias: Any = None
    """out"""


@dataclass(frozen=True)
class ManualUpdate:
    """The change that an adapter's files make to its base."""

    added: Mapping[str, Added]
    """Parameter name -> what is added to the output of its layer."""
    weights: Mapping[str, Any]
    """Parameter name -> the whole tensor that replaces the base's own."""
    moved: int
    """How many of the base's weights change."""


def logits(
    model: Any,
    probes: Sequence[Sequence[int]],
    weights: Mapping[str, Any] | None = None,
    added: Mapping[str, Added] | None = None,
) -> Any:
    """Return the logits (tokens of all probes x vocabulary, fp32, CPU), each probe on its own, without padding.

    `weights` and `added`, as in `ManualUpdate`, apply to this pass only; the model stays untouched.
    """
    import torch

    results = []
    with torch.inference_mode(), ExitStack() as hooks:
        plain = hooks.enter_context(nf4_weights.substituted(model, dict(weights or {})))
        for name, change in (added or {}).items():

            def updated(_layer: Any, inputs: tuple[Any, ...], out: Any, change: Added = change) -> Any:
                result = out.float()
                if change.a is not None:
                    result = result + change.scale * (inputs[0].float() @ change.a.T @ change.b.T)
                if change.bias is not None:
                    result = result + change.bias
                return result.to(out.dtype)

            layer = model.get_submodule(name.removesuffix(".weight"))
            hooks.callback(layer.register_forward_hook(updated).remove)
        for probe in probes:
            ids = torch.tensor([list(probe)], device=model.device)
            inputs = {"input_ids": ids, "use_cache": False}
            out = (
                torch.func.functional_call(model, plain, kwargs=inputs, tie_weights=False) if plain else model(**inputs)
            )
            results.append(out.logits[0].float().cpu())
    return torch.cat(results)


def manual_update(model: Any, adapter: ModelRef, base: ModelRef | None = None) -> ManualUpdate:
    """Return the change that an adapter's files make to the base, W x + (alpha / r) B A x, in fp32.

    Ranks and alphas per module, rank-stabilised scaling (alpha / sqrt(r); Kalajdzievski 2023, arXiv 2312.03732), DoRA
    magnitudes (Liu et al. 2024, arXiv 2402.09353), biases, whole modules, single rows of an embedding, stacked experts,
    and what PiSSA (Meng et al. 2024, arXiv 2404.02948), OLoRA (Buyukakyuz 2024, arXiv 2406.01775) and KaSA (Wang et al.
    2024, arXiv 2412.06071) take away from the base are honoured. Only what cannot be added to a layer's output comes
    as a copy of the base's tensor: of an 8B model with LoRA on every linear layer such copies would be another 14 GB,
    and in bfloat16 the sum W + B A would round a small update away. In `base`'s files the weights of single experts
    are looked up that `model` holds stacked. Source: Hu et al. 2021, arXiv 2106.09685, eq. 3.
    Raises ModelError for a module that the model does not have, and for methods whose arithmetic is not known here.
    """
    read = read_adapter(model, adapter)
    if not proved_by_hand(read.config):
        raise ModelError(f"{adapter.name}: the arithmetic of this adapter is not repeated here")
    return _Arithmetic(model, read, base).update()


class _Arithmetic:
    """An adapter's arithmetic, tensor by tensor."""

    def __init__(self, model: Any, adapter: AdapterTensors, base: ModelRef | None) -> None:
        self._model, self._adapter, self._base = model, adapter, base
        self._config, self._tensors = adapter.config, adapter.tensors
        self._own = dict(model.named_parameters(remove_duplicate=False))
        self._index = WeightIndex({name: nf4_weights.matrix_shape(value) for name, value in self._own.items()})
        self._changed: dict[str, Any] = {}
        self._added: dict[str, Added] = {}
        self._moved = 0

    def update(self) -> ManualUpdate:
        import torch

        with torch.inference_mode():
            for key, value in self._tensors.items():
                if not _PARTS.search(key):
                    self._whole(key, value)
            for key, value in self._tensors.items():
                if key.endswith("trainable_tokens_delta"):
                    self._rows(key, value)
            for key, value in self._tensors.items():
                match = re.fullmatch(r"(.+)\.lora_(embedding_)?B(\.weight)?", key)
                if match is not None:
                    self._pair(match[1], match[2] or "", match[3] or "", value)
                elif key.endswith(".beft_bias"):
                    self._vector(key.removesuffix(".beft_bias"), value)
                elif _PARTS.search(key) and not _KNOWN.search(key):
                    raise ModelError(f"{self._adapter.name}: {key}: this variant of LoRA is not supported")
        return ManualUpdate(self._added, self._changed, self._moved)

    def _held(self, name: str) -> Any:
        return self._changed[name] if name in self._changed else nf4_weights.dequantized(self._own[name])

    def _aliases(self, name: str) -> list[str]:
        """Return the names of a parameter that is held under several, as tied embeddings are."""
        return [other for other, value in self._own.items() if value is self._own[name]]

    def _whole(self, key: str, value: Any) -> None:
        """Take a whole tensor: one that was saved beside the adapter in place of the base's own."""
        name = self._parameter(key.replace(".base_layer.", ".").removesuffix(".weight"), key)
        held = nf4_weights.dequantized(self._own[name])
        value = value.to(held)
        same = value.shape == held.shape
        self._moved += int((value != held).sum()) if same else value.numel()
        # A module to save is a copy beside the base's; other tensors are written into the base's own, tied or not.
        saved = {name.rpartition(".")[0].rpartition(".")[2], name.rpartition(".")[0]} & set(
            self._config.get("modules_to_save") or ()
        )
        for other in [name] if saved else self._aliases(name):
            if other == name or f"{other.removesuffix('.weight')}.weight" not in self._tensors:
                self._changed[other] = value

    def _rows(self, key: str, value: Any) -> None:
        """Put the trained rows into an embedding, and into the output layer that is tied to it."""
        module = key.removesuffix(".trainable_tokens_delta").removesuffix(".token_adapter")
        indices = self._config.get("trainable_token_indices") or self._config.get("token_indices") or []
        if isinstance(indices, Mapping):
            ends = [end for end in indices if module == end or module.endswith(f".{end}")]
            indices = indices[ends[0]] if ends else []
        if len(indices) != value.shape[0]:
            raise ModelError(f"{self._adapter.name}: {key}: {value.shape[0]} rows for {len(indices)} tokens")
        first = self._parameter(module, key)
        for name in self._aliases(first):
            held = self._held(name).clone()
            if name == first:
                self._moved += int((held[indices] != value.to(held)).sum())
            held[indices] = value.to(held)
            self._changed[name] = held

    def _vector(self, module: str, value: Any) -> None:
        name = self._parameter(module, f"{module}.weight")
        self._moved += int((value != 0).sum())
        self._added[name] = Added(0.0, bias=value.to(self._own[name].device).float().flatten())

    def _pair(self, module: str, embedding: str, end: str, b: Any) -> None:
        key = f"{module}.lora_{embedding}B{end}"
        other = f"{module}.lora_{embedding}A{end}"
        if other not in self._tensors:
            raise ModelError(f"{self._adapter.name}: {key}: without its lora_A")
        path = module.replace(".base_layer", "")
        a, b = self._tensors[other].float(), b.float()
        stack = self._stack(path, a, b)
        if stack is not None:
            name, experts = stack
            self._experts(name, experts, a.to(self._own[name].device), b.to(self._own[name].device))
            return
        if EXPERT.search(path) and not self._index.find(path):
            self._expert(path, _scale(self._config, path, a.shape[0]) * (b @ a))
            return
        name = self._parameter(path, key)
        device = self._own[name].device
        a, b = a.to(device), b.to(device)
        scale = _scale(self._config, path, a.shape[0])
        diagonal = self._tensors.get(f"{module}.lora_diag")
        if diagonal is not None:
            b = b * diagonal.to(b)
        bias = self._tensors.get(f"{module}.lora_B.bias")
        magnitude = self._tensors.get(f"{module}.lora_magnitude_vector.weight")
        if magnitude is None:
            magnitude = self._tensors.get(f"{module}.lora_magnitude_vector")
        self._moved += int((b @ a != 0).sum())
        layer = self._model.get_submodule(name.rpartition(".")[0])
        turned = bool(embedding) or type(layer).__name__ == "Conv1D"
        if self._takes_away:
            # Embeddings and GPT-2's Conv1D keep the two dimensions the other way round.
            weight = self._held(name)
            rest = self._remainder(weight.float().T if turned else weight.float(), scale, a.shape[0])
            self._changed[name] = (rest.T if turned else rest).to(weight.dtype)
        if not embedding and magnitude is None and _is_linear(layer, self._own[name]) and name.endswith(".weight"):
            self._added[name] = Added(scale, a, b, None if bias is None else scale * bias.to(b))
            return
        weight = self._held(name)
        total = (weight.float().T if turned else weight.float()) + scale * (b @ a)
        if magnitude is not None:
            total = total * (magnitude.to(total) / total.norm(dim=1)).unsqueeze(1)
        self._changed[name] = (total.T if turned else total).to(weight.dtype)
        if bias is not None:
            self._added[name] = Added(0.0, bias=scale * bias.to(b))

    @property
    def _takes_away(self) -> bool:
        return changes_base(self._config) and not self._config.get("layer_replication")

    def _remainder(self, weight: Any, scale: float, rank: int) -> Any:
        """Return what the method leaves of the base's matrix (out x in) when the adapter is put on it."""
        import torch

        if self._config.get("kasa_config"):
            u, s, v = torch.linalg.svd(weight, full_matrices=False)
            return (u[:, :-rank] * s[:-rank]) @ v[:-rank]
        if str(self._config["init_lora_weights"]).lower() == "pissa":
            u, s, v = torch.linalg.svd(weight, full_matrices=False)
            return weight - (u[:, :rank] * s[:rank]) @ v[:rank]
        q, r = torch.linalg.qr(weight)
        return weight - scale * q[:, :rank] @ r[:rank]

    def _stack(self, module: str, a: Any, b: Any) -> tuple[str, int] | None:
        """Return the stacked parameter of a mixture's experts that a pair of matrices is for, and their number."""
        found = []
        for name, value in self._own.items():
            if name.rpartition(".")[0] != module or value.dim() != 3:
                continue
            experts, sizes = value.shape[0], {tuple(value.shape[1:]), tuple(value.shape[:0:-1])}
            if (b.shape[0], a.shape[1]) in sizes and a.shape[0] == b.shape[1] and a.shape[0] % experts == 0:
                found.append((name, int(experts)))
        if len(found) > 1:
            raise ModelError(f"{self._adapter.name}: {module}: its adapter fits several of the stacked parameters")
        return found[0] if found else None

    def _experts(self, name: str, experts: int, a: Any, b: Any) -> None:
        """Add each expert's own B A to a stack; A holds them one after the other, the columns of B take turns."""
        import torch

        rank = a.shape[0] // experts
        update = torch.stack([b[:, at::experts] @ a[at * rank : (at + 1) * rank] for at in range(experts)])
        self._moved += int((update != 0).sum())
        held = self._held(name)
        module = self._model.get_submodule(name.rpartition(".")[0])
        if getattr(module, "is_transposed", False) or update.shape != held.shape:
            update = update.transpose(1, 2)
        scale = _scale(self._config, name, rank)
        self._changed[name] = (held.float() + scale * update).to(held.dtype)

    def _expert(self, module: str, update: Any) -> None:
        """Add one expert's update where the base's files say that its weights stand in the stack."""
        place = self._places.get(f"{module}.weight")
        if place is None:
            raise ModelError(f"{self._adapter.name}: {module}: the base has no such module")
        held = self._held(place.name)
        if place.name not in self._changed:
            held = held.clone()
        self._moved += int((update != 0).sum())
        part = place.part(held)
        part += update.to(part)
        self._changed[place.name] = held

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        return {} if self._base is None else places(self._own, self._base)

    def _parameter(self, module: str, key: str) -> str:
        names = list(self._index.find(module))
        if not names:
            raise ModelError(f"{self._adapter.name}: {key}: the base has no such module")
        return next((name for name in names if name.removesuffix(".weight") == module), names[0])


_PARTS = re.compile(r"\.lora_|trainable_tokens_delta$|\.beft_bias$")
_KNOWN = re.compile(r"\.lora_((embedding_)?A|magnitude_vector)(\.weight)?$|\.lora_B\.bias$|\.lora_diag$|_delta$")


def _is_linear(layer: Any, weight: Any) -> bool:
    """Return whether a layer's output is its matrix times its input, so that an update can be added to it."""
    import torch

    if nf4_weights.matrix_shape(weight) != tuple(weight.shape):
        return True
    # A router may be a linear layer by class whose forward pass chooses experts.
    plain = isinstance(layer, torch.nn.Linear) and type(layer).forward is torch.nn.Linear.forward
    return plain or type(layer).__name__ == "Conv1D"


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = float(config.get("lora_alpha") or 8)
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = float(value)
            break
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


# ---------------------------------------------------------------------------------------------- experts in files


class Place(NamedTuple):
    """Where a tensor of the files stands in a parameter that transformers made of several."""

    name: str
    """Of the parameter (experts x rows x columns)."""
    expert: int
    rows: slice
    columns: slice
    turned: bool
    """Whether rows and columns are the other way round."""

    def part(self, parameter: Any) -> Any:
        """Return the view of the parameter that is the tensor."""
        part = parameter[self.expert, self.rows, self.columns]
        return part.T if self.turned else part


def places(own: Mapping[str, Any], model: ModelRef) -> dict[str, Place]:
    """Return tensor name -> place, for the files' tensors of single experts that a loaded model holds stacked.

    They are found by their values, so this also proves that the model holds what the files do. A tensor that stands in
    several places (one of zeros, in a mixture that was pruned) stands as most others of its name do, each in a place of
    its own. `own` are the model's parameters; a tensor that stands nowhere is not in the result.
    """
    stacks: dict[str, list[tuple[str, Any]]] = {}
    for name, value in own.items():
        if value.dim() == 3 and "experts" in name:
            stacks.setdefault(_layer(name), []).append((name, value))
    found: dict[str, Place] = {}
    doubtful: dict[str, list[Place]] = {}
    usual: dict[str, Counter[tuple[object, ...]]] = {}
    for key, value in tensors_of(model.files):
        expert = EXPERT.search(key)
        if key in own or expert is None or value.dim() != 2:
            continue
        hits = [
            place
            for name, stack in stacks.get(_layer(key), [])
            for place in _candidates(name, stack, int(expert[1]), tuple(value.shape))
            if place.part(stack).equal(value.to(stack))
        ]
        if len(hits) == 1:
            found[key] = hits[0]
            usual.setdefault(_kind(key), Counter())[_manner(hits[0])] += 1
        elif hits:
            doubtful[key] = hits
    taken = {(place.name, place.expert, _manner(place)[:-1]) for place in found.values()}
    for key, hits in sorted(doubtful.items()):
        counts = usual.get(_kind(key), Counter())
        free = [place for place in hits if (place.name, place.expert, _manner(place)[:-1]) not in taken] or hits
        found[key] = max(free, key=lambda place: counts[_manner(place)])
        taken.add((found[key].name, found[key].expert, _manner(found[key])[:-1]))
    return found


def _kind(name: str) -> str:
    """Return a tensor's name without the numbers of its layer and expert."""
    return re.sub(r"\d+", "#", name)


def _manner(place: Place) -> tuple[object, ...]:
    """Return how a tensor stands in its stack, the same for all experts and layers."""
    rows, columns = ((part.start, part.stop) for part in (place.rows, place.columns))
    return _kind(place.name), rows, columns, place.turned


def _candidates(name: str, stack: Any, expert: int, shape: tuple[int, ...]) -> Iterator[Place]:
    if expert >= stack.shape[0]:
        return
    for turned in (False, True):
        rows, columns = shape[::-1] if turned else shape
        for own_rows, own_columns in ((rows, None), (None, columns)):
            high, wide = tuple(stack.shape[1:])
            if own_columns is None and columns == wide and high % rows == 0:
                for at in range(0, high, rows):
                    yield Place(name, expert, slice(at, at + rows), slice(None), turned)
            elif own_rows is None and rows == high and wide % columns == 0 and wide != columns:
                for at in range(0, wide, columns):
                    yield Place(name, expert, slice(None), slice(at, at + columns), turned)


def _layer(name: str) -> str:
    found = re.search(r"layers\.(\d+)\.", name)
    return found[1] if found else ""


def replicated(model: Any, config: Mapping[str, Any]) -> Any:
    """Return the model, or, for an adapter's configuration with `layer_replication`, a copy that has those layers.

    Each layer is a copy of its own, so that an update of one does not reach its twins. Source: the layers are those of
    PEFT's documentation of the option (ranges of numbers, one after the other).
    """
    import torch

    ranges = config.get("layer_replication")
    if not ranges:
        return model
    copied = copy.deepcopy(model)
    settings = copied.config.get_text_config()
    for parent in copied.modules():
        for name, layers in parent.named_children():
            if isinstance(layers, torch.nn.ModuleList) and len(layers) == settings.num_hidden_layers:
                own = [copy.deepcopy(layers[at]) for start, end in ranges for at in range(start, end)]
                for at, layer in enumerate(own):
                    for part in layer.modules():
                        if "layer_idx" in vars(part):
                            vars(part)["layer_idx"] = at
                setattr(parent, name, torch.nn.ModuleList(own))
                settings.num_hidden_layers = len(own)
                return copied
    return copied


def moved_weights(model: Any, base: Any) -> int:
    """Return how many weights of a loaded model differ from those of a loaded base of the same class."""
    own, other = (dict(one.named_parameters()) for one in (model, base))
    moved = 0
    for name, value in own.items():
        plain = nf4_weights.dequantized(value)
        same = name in other and nf4_weights.matrix_shape(other[name]) == tuple(plain.shape)
        moved += int((plain != nf4_weights.dequantized(other[name]).to(plain)).sum()) if same else plain.numel()
    return moved


def rounding_noise(model: Any, probes: Sequence[Sequence[int]], actual: Any) -> float:
    """Return how far the last digit of the weights moves a model's logits, `actual` on these probes.

    Every matrix is changed by a random share of at most the precision of its numbers, and the largest absolute
    difference of three draws is returned. Two computations of one model differ by about as much, for they add in other
    orders. It is large where attention is sharp, or where two experts of a mixture are as good as each other.
    """
    import torch

    largest = 0.0
    own = [value for value in model.parameters() if value.dim() > 1 and value.is_floating_point()]
    held = [value.data for value in own]
    try:
        for seed in range(3):
            draws = torch.Generator().manual_seed(seed)
            for value, data in zip(own, held, strict=True):
                share = (2 * torch.rand(data.shape, generator=draws) - 1) * torch.finfo(data.dtype).eps
                value.data = (data.float() * (1 + share.to(data.device))).to(data.dtype)
            largest = max(largest, float((logits(model, probes) - actual).abs().max()))
    finally:
        for value, data in zip(own, held, strict=True):
            value.data = data
    return largest


NOISE = 4
"""How many times the noise of rounding the logits may be away: each side has its own, of products and of sums."""


class Comparison(NamedTuple):
    """Logits held against the base's and against those expected; distances are the largest absolute difference."""

    change: float
    """Distance from the base's logits."""
    error: float
    """Distance from the expected ones."""
    fault: str
    """What is wrong; empty where nothing is."""


def compare(actual: Any, expected: Any, base: Any, moved: int, tolerance: float, noise: float = 0.0) -> Comparison:
    """Compare a checkpoint's logits (tokens x vocabulary) with the base's and with the expected ones.

    `moved` is how many weights should have moved; `tolerance` is a share of the largest logit, `noise` a distance that
    is allowed even where it is larger.
    """
    width = min(actual.shape[-1], base.shape[-1])
    change = float((actual[:, :width] - base[:, :width]).abs().max())
    error = float((actual - expected).abs().max())
    allowed = max(noise, tolerance * max(float(base.abs().max()), float(expected.abs().max())))
    if moved and not change > 0:
        return Comparison(change, error, "the logits are the base's")
    if not error <= allowed or (moved and error > 0.5 * change):
        fault = f"the logits are {error:.2g} away from a direct forward pass (they moved by {change:.2g})"
        return Comparison(change, error, fault)
    return Comparison(change, error, "")


def compare_running(
    model: Any, probes: Sequence[Sequence[int]], actual: Any, expected: Any, base: Any, moved: int, tolerance: float
) -> Comparison:
    """Compare as `compare`; a distance as small as the rounding of `model`, whose logits are `actual`, is no fault."""
    result = compare(actual, expected, base, moved, tolerance)
    if not result.fault or not result.error <= 0.5 * result.change:
        return result
    return compare(actual, expected, base, moved, tolerance, NOISE * rounding_noise(model, probes, actual))
