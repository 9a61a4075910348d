"""The identity of a base or a checkpoint: found and checked by its JSON files and headers, before any weights load.

Code that comes with a checkpoint is never run, and pickled weights are never read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from aftertune.errors import ModelError, first_line
from aftertune.models import gguf_files, gguf_unpacking
from aftertune.models.adapter_files import (
    Fit,
    check_tensors,
    checkpoints_below,
    refuse_folder,
    refuse_method,
    wrapper_in,
)
from aftertune.models.outline import shapes_in_memory
from aftertune.models.tokenizer_comparison import same_tokens
from aftertune.models.unread_tensors import unread_in
from aftertune.models.weight_files import (
    Shape,
    counterparts,
    hash_files,
    read_json,
    settings,
    shapes_of,
    times,
    weight_files,
)
from aftertune.records import digest

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
SMALL = 20_000_000
"""Parameters below which a model runs fastest on one thread."""


@dataclass(frozen=True)
class ModelRef:
    """A base or a checkpoint with local files that fit together, or a model that a server holds."""

    name: str
    """As the user gave it."""
    path: Path
    """The local folder (for a hub name: in the hub's cache)."""
    kind: Literal["full", "adapter", "served"]
    architecture: str | None
    """The model class, e.g. `LlamaForCausalLM`; an adapter has its base's, None where the base is not known."""
    files: tuple[Path, ...]
    """The weight files."""
    tokenizer_hash: str | None
    """Of vocabulary, merges and normalisation; None for an adapter that brings no tokenizer of its own."""
    template_hash: str | None
    """Of the chat template; None where there is none."""
    base_name: str | None
    """What an adapter's own configuration calls its base."""
    warnings: tuple[str, ...] = ()
    """What a reader of the report should know; none of it prevents the use."""
    declared: Mapping[str, str] = field(default_factory=dict)
    """What a server says of a served model, whose weights cannot be seen from here."""

    @cached_property
    def identity(self) -> str:
        """The hash of all that decides answers, or for a served model of what is declared: it goes into ids.

        Hashed are weights, configuration (an adapter's scale, a base's rope), tokenizer and chat template.
        """
        if self.kind == "served":
            return digest("served", self.declared)
        return digest("model", self.weights_hash, settings(self.path), self.tokenizer_hash, self.template_hash)

    @property
    def names(self) -> frozenset[str]:
        """Every name that a served model has or declares of itself; empty for weights that are here."""
        known = ("asked", "replied", "root")
        return frozenset(self.declared[key] for key in known if self.declared.get(key))

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 of the weight files' content, 64 hexadecimal digits: the identity of the weights.

        Computed on first use (about 1 s per 1.5 GB). Shards are hashed one by one, in the order of their names.
        Raises ModelError for a served model.
        """
        if self.kind == "served":
            raise ModelError(f"{self.name} is a served model: its weights are unknown")
        return hash_files(self.files)

    @cached_property
    def parameters(self) -> int:
        """How many numbers the weight files hold; tied ones count once."""
        return sum(math.prod(shape) for shape in shapes_of(self.files).values())


@contextmanager
def few_threads(model: ModelRef) -> Iterator[None]:
    """Restrict PyTorch to one thread while a small `model` (under 20 million parameters) runs.

    Small matrices are slower on several threads, and with one the sums do not depend on the machine's cores.
    """
    import torch

    before = torch.get_num_threads()
    if model.parameters < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_path_like(name: str) -> bool:
    """Return whether `name` means a folder on this machine, so that the hub is never asked for it.

    A hub name is `owner/model` or `model`, of letters, digits, `-`, `_` and `.`, that is not an existing path.
    """
    if name.startswith((".", "~", "/", "\\")) or "\\" in name or name.endswith(("/", gguf_files.SUFFIX)):
        return True
    if Path(name).exists():
        return True
    return re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name) is None or ("/" in name and Path(name).parent.is_dir())


def resolve(ref: str | Path, *, base: ModelRef | None = None) -> ModelRef:
    """Find and check the model that `ref` names: a folder (full model or PEFT adapter), a GGUF file, or a hub name.

    With `base`, also check that it is a checkpoint of it: an adapter's shapes must fit, a full model must have the
    same architecture and layer shapes. Reads no weights, except that a GGUF file is unpacked once (`gguf_unpacking`).
    Raises ModelError, in one line, for anything that cannot be used.
    """
    name = str(ref)
    if not name.strip():
        raise ModelError("an empty model name: give a folder or a hub name such as 'owner/model'")
    folder = Path(name).expanduser() if isinstance(ref, Path) or is_path_like(name) else _from_hub(name)
    if not folder.exists():
        raise ModelError(f"no such model folder: {name}")
    if (file := gguf_files.model_file(folder)) is not None:
        folder = gguf_unpacking.unpacked(file)
    if not folder.is_dir():
        raise ModelError(
            f"{name} is a file, and no GGUF file: give the folder that holds config.json and the safetensors weights"
        )
    if (folder / "adapter_config.json").exists():
        return _adapter(name, folder, base)
    return _full(name, folder, base)


def served(name: str, declared: Mapping[str, str]) -> ModelRef:
    """Return the model that a server calls `name`; `declared` is what the server says of it."""
    return ModelRef(name, Path(name), "served", None, (), None, None, None, declared=dict(declared))


# ---------------------------------------------------------------------------------------------- full models


def _full(name: str, folder: Path, base: ModelRef | None) -> ModelRef:
    if not (folder / "config.json").exists():
        if not is_path_like(name) and "gguf" in name.lower():
            raise ModelError(
                f"{name}: a hub's collection of GGUF files: download one of them (`hf download {name} FILE.gguf "
                "--local-dir .`) and give its path"
            )
        below = checkpoints_below(folder)
        hint = f"; it holds {len(below)}: give one of them, e.g. {folder / below[-1]}" if below else ""
        raise ModelError(
            f"{name}: neither config.json (a model) nor adapter_config.json (an adapter) in this folder{hint}"
        )
    config = read_json(folder / "config.json")
    architectures = config.get("architectures")
    if not (isinstance(architectures, list) and architectures and isinstance(architectures[0], str)):
        raise ModelError(f"{folder / 'config.json'}: no `architectures`, so the model class is unknown")
    files = weight_files(name, folder, "model")
    shapes = shapes_of(files)
    warnings = []
    if "auto_map" in config:
        warnings.append(f"{name} brings Python code of its own (auto_map); aftertune does not run it")
    if base is not None:
        if base.architecture != architectures[0] and not gguf_unpacking.stored_alike(folder, base.architecture):
            raise ModelError(
                f"{name} is a {architectures[0]}, the base {base.name} a {base.architecture}: not tuned from this base"
            )
        warnings += _compare_full(name, shapes, base)
    tokenizer, template = _own_hashes(folder, base)
    if tokenizer is None:
        raise ModelError(f"{name}: no tokenizer in this folder (tokenizer.json or tokenizer.model)")
    warnings += _compare_tokenizer(name, tokenizer, template, base)
    if base is None or tokenizer != base.tokenizer_hash:
        warnings += [f"{name}: {doubt}" for doubt in gguf_unpacking.doubts(folder)]
    if base is not None and (ends := gguf_unpacking.other_ends(folder, base.path)):
        warnings.append(f"{name}: tokens {ends} (base {base.name})")
    return ModelRef(
        name, folder, "full", architectures[0], tuple(files), tokenizer, template, None, warnings=tuple(warnings)
    )


def _compare_full(name: str, shapes: Mapping[str, Shape], base: ModelRef) -> list[str]:
    known = shapes_of(base.files)
    wrapper = wrapper_in(shapes)
    if wrapper and not shapes.keys() >= known.keys():
        raise ModelError(
            f"{name}: its tensors carry the name of a wrapper, `{wrapper}.`, so that no model would take them: save "
            "the model that was wrapped (for torch.compile: model._orig_mod.save_pretrained)"
        )
    same = counterparts(known, shapes)
    resized = {}
    for key, shape in known.items():
        own = shapes[same[key]] if key in same else shape
        if own == shape or (".experts." in key and same[key] != key):
            continue
        if own[1:] != shape[1:] or not ("embed" in key or "lm_head" in key or "wte" in key):
            raise ModelError(
                f"{name}: {key} is {times(own)}, in the base {base.name} {times(shape)}: not tuned from this base"
            )
        resized[key] = own
    missing = [key for key in known if key not in same and not _tied(key)]
    if missing and base.architecture:
        unread = unread_in(base.path, base.architecture, missing)
        missing = [key for key in missing if key not in unread]
    if missing:
        raise ModelError(
            f"{name}: {len(missing)} tensors of the base {base.name} are not in it, e.g. {missing[0]}: "
            "not tuned from this base, or saved incompletely"
        )
    return [
        f"{name}: the vocabulary has {resized[key][0]:,} rows, the base's {known[key][0]:,} ({key})"
        for key in sorted(resized)
    ]


# ---------------------------------------------------------------------------------------------- adapters


def _adapter(name: str, folder: Path, base: ModelRef | None) -> ModelRef:
    config = read_json(folder / "adapter_config.json")
    refuse_folder(name, folder)
    refuse_method(name, folder, config)
    if base is not None and base.kind == "adapter":
        raise ModelError(f"the base {base.name} is itself an adapter: merge it into its base first")
    files = weight_files(name, folder, "adapter_model")
    shapes = shapes_of(files)
    if not shapes:
        raise ModelError(f"{name}: the adapter holds no tensors")
    fit = None
    # Quantised weights are packed: their shapes on disk say nothing.
    if base is not None and "quantization_config" not in read_json(base.path / "config.json"):
        in_memory = partial(shapes_in_memory, base.path, base.architecture or "")
        fit = Fit(name, base.name, shapes_of(base.files), config, in_memory)
    warnings = check_tensors(name, config, shapes, fit)
    base_name = config.get("base_model_name_or_path") or None
    if base is not None and base_name and not _same_name(str(base_name), base):
        warnings.append(f"{name} says that it was tuned from {base_name}, not from {base.name}; its shapes fit")
    tokenizer, template = _own_hashes(folder, base)
    warnings += _compare_tokenizer(name, tokenizer, template, base)
    return ModelRef(
        name,
        folder,
        "adapter",
        base.architecture if base else None,
        tuple(files),
        tokenizer,
        template,
        str(base_name) if base_name else None,
        warnings=tuple(warnings),
    )


def _same_name(claimed: str, base: ModelRef) -> bool:
    def last(name: str) -> str:
        return name.rstrip("/").rsplit("/", 1)[-1]

    return claimed == base.name or last(claimed) in (last(base.name), base.path.name)


# ---------------------------------------------------------------------------------------------- files


def tokenizer_hashes(folder: Path) -> tuple[str | None, str | None]:
    """Return the hashes of the tokenizer and of the chat template in `folder`; None where there is none.

    Settings that change no token (padding, truncation, file layout) do not count.
    """
    tokenizer = None
    if (folder / "tokenizer.json").exists():
        tokenizer = _tokenizer_hash(folder / "tokenizer.json")
    elif (folder / "tokenizer.model").exists():
        tokenizer = hash_files([folder / "tokenizer.model"])[:16]
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        tokenizer = hash_files([folder / "vocab.json", folder / "merges.txt"])[:16]
    template = chat_template(folder)
    return tokenizer, digest(template) if template else None


_TOKENIZERS: dict[str, str] = {}
"""SHA-256 of a file -> the hash of its tokenizer: every adapter of a base brings the same large file."""


def _tokenizer_hash(file: Path) -> str:
    key = hash_files([file])
    if key not in _TOKENIZERS:
        content = read_json(file)
        _TOKENIZERS[key] = digest({k: v for k, v in content.items() if k not in ("padding", "truncation", "version")})
    return _TOKENIZERS[key]


def _own_hashes(folder: Path, base: ModelRef | None) -> tuple[str | None, str | None]:
    """Return `tokenizer_hashes`, and the base's for a tokenizer that gives the same tokens from another file."""
    tokenizer, template = tokenizer_hashes(folder)
    if base is not None and tokenizer not in (None, base.tokenizer_hash) and same_tokens(folder, base.path):
        tokenizer = base.tokenizer_hash
    return tokenizer, template


def chat_template(folder: Path) -> Any:
    """Return the chat template in `folder`, or several by name, as its files hold it; None where there is none."""
    if (folder / "chat_template.jinja").exists():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8", errors="replace")
    for name in ("tokenizer_config.json", "chat_template.json"):  # the second is an image-and-text model's processor's
        if (folder / name).exists() and (template := read_json(folder / name).get("chat_template")):
            return template
    return None


def _compare_tokenizer(name: str, tokenizer: str | None, template: str | None, base: ModelRef | None) -> list[str]:
    if base is None or tokenizer is None:
        return []
    warnings = []
    if tokenizer != base.tokenizer_hash:
        warnings.append(f"{name} brings another tokenizer than the base {base.name}")
    if template != base.template_hash:
        warnings.append(
            f"{name} brings {'another' if template else 'no'} chat template; the base {base.name} has its own"
        )
    return warnings


def _tied(key: str) -> bool:
    return key.endswith(("lm_head.weight", "embed_out.weight", "embed_tokens.weight")) or "rotary" in key


# ---------------------------------------------------------------------------------------------- the hub


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except HFValidationError as error:
        raise ModelError(f"{name}: neither a folder nor a hub name: {first_line(error)}") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"{name}: no such folder, not in the hub's cache, and the hub cannot be reached (or HF_HUB_OFFLINE is set)"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(f"{name}: the hub does not provide it: {first_line(error)}") from None
