"""Loading of weights and tokenizers that `models.identity.resolve` has checked, with nothing on the terminal.

The class that the checkpoint names is loaded, image-and-text classes among them; it is asked and tuned on text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aftertune import hardware
from aftertune.errors import ModelError, first_line
from aftertune.models import nf4_weights
from aftertune.models.forward_pass import empty_cache, forward_arguments, only_states, refuse_class
from aftertune.models.identity import ModelRef, chat_template
from aftertune.models.weight_files import Shape, counterparts, shapes_of

FORGETS = 0.1
"""Share of the largest logit by which a text read token by token may be away from one pass over the whole: rounding in
bfloat16 and states that are added up in another order are well below it; a model that forgets what it read, or looks
ahead, is off by about as much as its logits are large."""


def load_model(reference: ModelRef, dtype: str, device: str, *, nf4: bool = False, base: ModelRef | None = None) -> Any:
    """Return the model in evaluation mode, without gradients; `device` `auto` is a GPU where there is one.

    With `nf4` its linear layers are held in 4 bits (the output layer is not), and `dtype` is that of the rest.
    Raises ModelError where there is no such device, and as `load_weights`.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device = {device!r}: there is none such here: {first_line(error)}") from None
    return load_weights(reference, getattr(torch, dtype), device, nf4=nf4, base=base).eval().requires_grad_(False)


def load_weights(
    reference: ModelRef, dtype: Any, device: str, *, nf4: bool = False, base: ModelRef | None = None
) -> Any:
    """Return the model of the class that its checkpoint names, in evaluation mode; `dtype` is torch's.

    Raises ModelError where the model cannot be asked (`model_class`), where transformers cannot load it, would have to
    initialise weights that its files do not hold, or where it does not fit on the device; with `base`, of which it is a
    checkpoint, also where its files hold tensors that its class does not read and the base does not have.
    """
    kind, config = model_class(reference)
    refuse_class(reference.name, kind)
    how = {"quantization_config": nf4_weights.loading_config(dtype), "device_map": {"": device}} if nf4 else {}
    with quiet():
        try:
            model, info = kind.from_pretrained(
                reference.path,
                config=config,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                trust_remote_code=False,  # None would prompt at the terminal, where somebody may say yes
                **how,
            )
        except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise ModelError(f"{reference.name}: cannot be loaded: {first_line(error)}") from error
        except ImportError as error:
            raise ModelError(f"{reference.name}: {_packages(error)}") from None
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(f"{reference.name}: {len(missing)} weights are not in its files, e.g. {missing[0]}")
    unread = sorted(info["unexpected_keys"]) if base is not None else []
    if base is not None and unread:
        names: dict[str, Shape] = dict.fromkeys(unread, ())
        theirs = counterparts(names, dict.fromkeys(shapes_of(base.files), ()))
        if strange := [key for key in unread if key not in theirs]:
            raise ModelError(
                f"{reference.name}: {len(strange)} tensors in its files are read by nothing in {kind.__name__}, e.g. "
                f"{strange[0]}: what was tuned into them would be left out; merge them, or correct its config.json"
            )
    if nf4:
        return nf4_weights.keep_exact(model, reference.name)
    try:
        return model.to(device)
    except RuntimeError as error:
        raise ModelError(f"{reference.name}: does not fit on {device}: {first_line(error)}") from None


def model_class(reference: ModelRef) -> tuple[Any, Any]:
    """Return the class that a full model's `architectures` names, and its configuration; loads no weights.

    A name that transformers does not know (a class of the model's own code) gives the class that transformers has
    for its configuration. Raises ModelError for a model that does not continue text by itself, and for
    one whose forward pass cannot be asked token by token here.
    """
    import transformers
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

    name = reference.name
    with quiet():
        try:
            config: Any = AutoConfig.from_pretrained(reference.path, local_files_only=True, trust_remote_code=False)
        except StrictDataclassError as error:  # its first line names the field alone
            raise ModelError(f"{name}: config.json cannot be used: {' '.join(str(error).split())}") from error
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{name}: cannot be loaded: {first_line(error)}") from error
    if config.is_encoder_decoder:
        raise ModelError(
            f"{name}: {reference.architecture} reads with an encoder and writes with a decoder, which cannot be asked "
            "here; ask it on a server (backend endpoint)"
        )
    named = getattr(transformers, reference.architecture or "", None)
    kind: Any = None
    if isinstance(named, type) and issubclass(named, PreTrainedModel):
        if not named.can_generate():
            raise ModelError(
                f"{name}: its config.json names the class {named.__name__}, which does not write text: give a "
                "causal or image-and-text language model"
            )
        own: Any = named.config_class or type(config)
        fitting = [each for each in (config, config.get_text_config(decoder=True)) if isinstance(each, own)]
        if fitting:
            kind, config = named, fitting[0]
    if kind is None:
        automatic: Any = (AutoModelForCausalLM, AutoModelForImageTextToText)
        known = [auto._model_mapping for auto in automatic]
        found = (mapping[type(config)] for mapping in known if type(config) in mapping)
        kind = next((each for each in found if isinstance(each, type)), None)
    if kind is None:
        raise ModelError(
            f"{name}: cannot be loaded: transformers {transformers.__version__} has no language model for "
            f"{reference.architecture} (model_type {config.model_type!r})"
        )
    return kind, config


def refuse_text(name: str, model: Any, ids: Sequence[int]) -> None:
    """Refuse a loaded model that cannot read a text (token ids) as it is asked: the last token by itself.

    Raises ModelError where that fails, or gives other logits than one pass over the whole text: such a model forgets
    what it read, or looks ahead (PaliGemma reads a prompt in both directions), and would be trained on what it sees.
    """
    import torch

    known = forward_arguments(model)
    text = torch.tensor([list(ids)], device=model.device)
    mask = torch.ones_like(text)
    positions = torch.arange(len(ids), device=model.device)[None]
    try:
        with torch.inference_mode():
            whole = model(input_ids=text, use_cache=False).logits[0].float()
            cache, parts = empty_cache(model), []
            for part, seen in ((slice(0, -1), mask[:, :-1]), (slice(-1, None), mask)):
                own = {"position_ids": positions[:, part]} if known.positions else {}
                seen = mask[:, part] if cache is not None and only_states(cache) else seen
                out = model(input_ids=text[:, part], attention_mask=seen, use_cache=True, **{known.cache: cache}, **own)
                cache = getattr(out, known.cache) if cache is None else cache
                parts.append(out.logits[0].float())
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        raise ModelError(
            f"{name}: {type(model).__name__} cannot be asked here: {first_line(error)}; ask it on a server (backend "
            "endpoint)"
        ) from error
    distance, largest = float((torch.cat(parts) - whole).abs().max()), float(whole.abs().max())
    if not distance <= FORGETS * largest:
        raise ModelError(
            f"{name}: {type(model).__name__} cannot be asked here: its logits for the beginning of a text and then "
            f"the next token are {distance:.2g} away from those for the whole (largest {largest:.2g}); ask it on a "
            "server (backend endpoint)"
        )


def outline(reference: ModelRef) -> Any:
    """Return the model without weights: its modules and the shapes of its parameters (on the device `meta`).

    Raises ModelError as `model_class`, and for a class that cannot be built here.
    """
    import torch

    kind, config = model_class(reference)
    refuse_class(reference.name, kind)
    with quiet(), torch.device("meta"):
        try:
            return kind(config)
        except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise ModelError(f"{reference.name}: {kind.__name__} cannot be built: {first_line(error)}") from error
        except ImportError as error:
            raise ModelError(f"{reference.name}: {_packages(error)}") from None


def _packages(error: ImportError) -> str:
    """Return what a class of transformers lacks, from the error in which it says so."""
    packages = re.findall(r"`pip install ([^`]+)`", str(error))
    if packages:
        return f"its class needs packages that are not installed: pip install {' '.join(dict.fromkeys(packages))}"
    return f"its class cannot be loaded: {first_line(error)}"


def memory(device: str) -> int:
    """Return the bytes available to models on `device`: of the smallest GPU that it names, else of this machine."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        gpus = [int(device[5:])] if device.startswith("cuda:") else range(torch.cuda.device_count())
        return min(int(torch.cuda.get_device_properties(index).total_memory) for index in gpus)
    return hardware.memory()


def load_tokenizer(reference: ModelRef) -> Any:
    """Return the tokenizer in the model's folder. Raises ModelError where none can be loaded.

    Older image-and-text models keep the chat template in a file of their processor, which no tokenizer reads.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = read_tokenizer(reference.path, AutoTokenizer)
    except ModelError as error:
        raise ModelError(f"{reference.name}: {error}") from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = chat_template(reference.path)
    return tokenizer


def read_tokenizer(folder: Path, kind: Any) -> Any:
    """Return the tokenizer in a folder, by a class of transformers. Raises ModelError where it cannot be loaded."""
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The library in Rust raises nothing more special.
        if type(error) is not Exception and not isinstance(
            error, (ValueError, OSError, LookupError, TypeError, ImportError)
        ):
            raise
        raise ModelError(f"its tokenizer cannot be loaded: {first_line(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the loading bar, and a notice that PEFT's use of transformers causes."""
    from transformers.utils import logging

    library: Any = logging
    bars = library.is_progress_bar_enabled()
    library.disable_progress_bar()
    nf4_weights.silence()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*is_gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        if bars:
            library.enable_progress_bar()
