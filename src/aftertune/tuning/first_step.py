"""Proof after the first optimizer step: the checkpoint that this training writes is the model that it trains.

A training whose checkpoint could not be asked ends after seconds, not when its results are wanted.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aftertune import hardware
from aftertune.errors import AftertuneError, ModelError, TuneError, first_line
from aftertune.models.identity import ModelRef, resolve
from aftertune.models.loading import load_weights, quiet
from aftertune.models.peft_adapters import attach, read_adapter
from aftertune.models.proof import TOLERANCE, compare_running, logits, manual_update

ENLARGED = 0.05
"""The largest entry of B during the proof of an adapter; one step alone could not be told from rounding."""

ROOM = 0.5
"""Share of this machine's memory that a copy of the model in float32 may take."""


class FirstStep:
    """Called after each step until the weights have moved (the first may have a learning rate of 0), then proves."""

    def __init__(
        self,
        base: ModelRef,
        probes: Sequence[Sequence[int]],
        scratch: Path,
        write: Callable[[Any, Path], None],
        before: tuple[tuple[float, float], ...],
    ) -> None:
        """Take the base, the tokens of the probes, a folder to write into, what writes, and the first fingerprint."""
        self._base = base
        self._probes = probes
        self._folder = scratch / "first-step"
        self._write = write
        self._before = before

    def __call__(self, model: Any) -> bool:
        """Return whether the weights have moved, in which case the checkpoint is proved.

        Raises TuneError where what would be asked is not what is trained.
        """
        import torch
        from peft import PeftModel

        prove = self._prove_adapter if isinstance(model, PeftModel) else self._prove_full
        training = model.training
        try:
            with torch.random.fork_rng(), quiet(), _own_passes(model):
                return prove(model.eval())
        except (AftertuneError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TuneError(
                f"{self._base.name}: stopped after the first step, since the tuned model could not be asked: "
                f"{first_line(error)}"
            ) from error
        finally:
            model.train(training)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _prove_adapter(self, model: Any) -> bool:
        with _enlarged(model) as moved:
            if not moved:
                return False
            self._write(model, self._folder)
            reference = resolve(self._folder, base=self._base)
            fault = self._fault(model, reference)
            if fault and model.get_base_model().dtype.itemsize < 4:
                # Rounding decides which experts a mixture chooses, and with them all logits.
                exact = _in_float32(model)
                fault = self._other_logits(model, reference) if exact is None else self._fault(exact, reference)
        if fault:
            raise ModelError(fault)
        return True

    def _fault(self, model: Any, reference: ModelRef) -> str:
        """Return how the adapter, as trained or loaded again, differs from its files; empty where it does not."""
        trained = logits(model, self._probes)
        with _plain(model) as plain:
            base = logits(plain, self._probes)
            update = manual_update(plain, reference)
            expected = logits(plain, self._probes, update.weights, update.added)
            asked = self._asked(plain, reference)
        # In 4 bits a layer may multiply by another kernel when it is asked than when it is trained, in bfloat16.
        packed = getattr(model.get_base_model(), "is_quantized", False)
        tolerance = TOLERANCE["bfloat16" if packed else str(model.get_base_model().dtype).removeprefix("torch.")]
        for which, actual in (("trained", trained), ("loaded again", asked)):
            found = compare_running(model, self._probes, actual, expected, base, update.moved, tolerance)
            if found.fault:
                return f"its adapter, {which}, is not what its files say: {found.fault}"
        return ""

    def _other_logits(self, model: Any, reference: ModelRef) -> str:
        """Return how the adapter, loaded again, differs from the trained one in the same low precision."""
        trained = logits(model, self._probes)
        with _plain(model) as plain:
            distance = float((self._asked(plain, reference) - trained).abs().max())
        largest = float(trained.abs().max())
        packed = getattr(model.get_base_model(), "is_quantized", False)
        if distance <= TOLERANCE["bfloat16" if packed else "float32"] * largest:
            return ""
        return f"its adapter, loaded again, is {distance:.2g} away from the trained one (largest logit {largest:.2g})"

    def _asked(self, plain: Any, reference: ModelRef) -> Any:
        """Return the logits of the adapter that was written, put on a base without one as it will be when asked."""
        loaded = attach(plain, read_adapter(plain, reference))
        try:
            return logits(loaded, self._probes)
        finally:
            loaded.unload()

    def _prove_full(self, model: Any) -> bool:
        import torch

        if fingerprint(model) == self._before:
            return False
        self._write(model, self._folder)
        reference = resolve(self._folder, base=self._base)
        # On the CPU: beside weights, gradients and optimizer there may be no room on a GPU.
        written = dict(load_weights(reference, torch.float32, "cpu").named_parameters())
        for name, weights in model.named_parameters():
            if name not in written or not written[name].equal(weights.detach().cpu().float()):
                raise ModelError(f"its checkpoint, loaded again, does not hold what was trained, e.g. {name}")
        return True


def fingerprint(model: Any) -> tuple[tuple[float, float], ...]:
    """Return sums per trained tensor that change whenever an optimizer step changes anything."""
    trained = (weights.detach().double() for weights in model.parameters() if weights.requires_grad)
    return tuple((weights.sum().item(), weights.abs().sum().item()) for weights in trained)


@contextmanager
def _enlarged(model: Any) -> Iterator[bool]:
    """Enlarge an adapter for the while; yield whether there is anything to enlarge."""
    weights = [tensor.data for name, tensor in model.named_parameters() if ".lora_B." in name]
    largest = max(float(tensor.abs().max()) for tensor in weights)
    if largest == 0:
        yield False
        return
    before = [tensor.clone() for tensor in weights]
    try:
        for tensor in weights:
            tensor.mul_(ENLARGED / largest)
        yield True
    finally:
        for tensor, own in zip(weights, before, strict=True):
            tensor.copy_(own)


def _in_float32(model: Any) -> Any:
    """Return a copy of a model in float32 on the CPU; None where weights are in 4 bits, or there is no memory for it.

    Beside weights, gradients and optimizer there may be no room on a GPU.
    """
    import torch

    weights = list(model.parameters())
    numbers = sum(each.numel() for each in weights)
    if not all(each.is_floating_point() for each in weights) or 4 * numbers > ROOM * hardware.memory():
        return None

    def copied(value: Any) -> Any:
        own = value.detach().cpu()
        return own.float() if own.is_floating_point() else own.clone()

    memo: dict[int, Any] = {id(each): torch.nn.Parameter(copied(each), requires_grad=False) for each in weights}
    memo |= {id(each): copied(each) for each in model.buffers()}
    return copy.deepcopy(model, memo)


@contextmanager
def _own_passes(model: Any) -> Iterator[Any]:
    """Yield the model with the forward passes of its classes: accelerate's round to bfloat16 whatever the weights."""
    wrapped = [(module, vars(module).pop("forward")) for module in model.modules() if "forward" in vars(module)]
    try:
        yield model
    finally:
        for module, own in wrapped:
            module.forward = own


@contextmanager
def _plain(model: Any) -> Iterator[Any]:
    """Yield the base inside a PeftModel, with its own layers in their places; the adapter is put back afterwards."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    base = model.get_base_model()
    config = base.peft_config
    layers = [(name, layer) for name, layer in base.named_modules() if isinstance(layer, BaseTunerLayer)]
    try:
        for name, layer in layers:
            base.set_submodule(name, layer.get_base_layer())
        del base.peft_config
        yield base
    finally:
        base.peft_config = config
        for name, layer in layers:
            base.set_submodule(name, layer)
