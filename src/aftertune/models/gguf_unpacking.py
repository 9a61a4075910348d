"""A GGUF file as a folder that transformers and PEFT read: unpacked once, into the user's cache, named by its content.

Weights are turned back into numbers as llama.cpp does (package gguf), names and layout into transformers': a tensor
that is not understood, or missing, is refused. So everything that aftertune does with a folder, it does with a file.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aftertune.data.datasets import cache
from aftertune.errors import MissingPackageError, ModelError, StoreError, first_line
from aftertune.extras import install
from aftertune.files import as_json, make_folder, writing
from aftertune.models.gguf_configuration import ROPE_FACTORS, Family, configuration, family_of
from aftertune.models.gguf_files import AGAIN, FOLDER, GGUFHeader, StoredTensor, package, read_header
from aftertune.models.gguf_tokenizers import check_tokenizer, read_tokenizer
from aftertune.models.weight_files import Shape, hash_files, read_json, times

VERSION = "1"
"""Of what is written; a file is unpacked again where it is another."""
RECORD = "unpacked.json"
"""Written last: file name -> SHA-256, from which architecture, and what the file left open. A folder without it is
unfinished."""
SHARD = 4_000_000_000
"""Bytes of weights in one file, at most, unless one tensor has more."""
_KEPT = {"F16": ("float16", 2), "BF16": ("bfloat16", 2)}
"""Number types that are stored as they are -> torch's name, bytes; all others become float32, which loses nothing."""
_SPARE = 50_000_000
"""Bytes beside the weights: tokenizer, configuration."""

log = logging.getLogger(__name__)
_accepted: set[tuple[str, int, int]] = set()
"""Path, size and time of the files that this process has found good."""


def unpacked(path: Path) -> Path:
    """Return the folder of a GGUF file's model in the cache, unpacked now if it is not there or is damaged.

    Processes that need the same file at once wait for the first. One that is killed leaves nothing that counts.
    Raises ModelError for a file that is not read, within the time of reading its header; StoreError, in one line, where
    the cache cannot be written or has no room.
    """
    facts = path.stat()
    key = str(path.absolute()), facts.st_size, facts.st_mtime_ns
    if key not in _accepted:
        header = read_header(path)
        configuration(header)
        check_tokenizer(header)
        _accepted.add(key)
    root = cache() / "gguf"
    name = f"{hash_files([path])[:32]}-{VERSION}"
    folder = root / name
    if _whole(folder):
        return folder
    header = read_header(path)
    with _held(root, name):
        if _whole(folder):
            return folder
        _make_room(root, name, header)
        scratch = root / f".{name}.{os.getpid()}.part"
        try:
            make_folder(scratch)
            with _stored(scratch):
                _write(header, configuration(header), scratch)
                scratch.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def stored_alike(folder: Path, architecture: str | None) -> bool:
    """Return whether a folder was made from a GGUF file in which models of `architecture` are stored as what it holds.

    Mistral's are stored as Llama's: the same tensors and the same computation, within Mistral's window of attention.
    """
    return architecture == "MistralForCausalLM" and _recorded(folder, "architecture") == "llama"


def doubts(folder: Path) -> list[str]:
    """Return what a GGUF file leaves open of how text becomes tokens, for a folder that was made from one."""
    doubt = _recorded(folder, "doubt")
    return [doubt] if doubt else []


def other_ends(folder: Path, base: Path) -> str:
    """Return how the tokens that end an answer differ from the base's, where `folder` was made from a GGUF file.

    Empty where each of the base's ends an answer of the file's too: a file names few, and llama.cpp's own come beside.
    """
    if not (folder / RECORD).is_file():
        return ""
    own, others = _ends(folder), _ends(base)
    return f"{sorted(others - own)} end the base's answers and not its own" if others - own else ""


def _ends(folder: Path) -> set[int]:
    for name in ("generation_config.json", "config.json"):
        ends = read_json(folder / name).get("eos_token_id") if (folder / name).is_file() else None
        if ends is not None:
            return set(ends) if isinstance(ends, list) else {ends}
    return set()


def _recorded(folder: Path, what: str) -> str:
    try:
        return str(json.loads((folder / RECORD).read_text(encoding="utf-8"))[what])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _whole(folder: Path) -> bool:
    """Return whether a folder is there and holds what was written into it."""
    try:
        files: dict[str, str] = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return bool(files) and all(hash_files([folder / name]) == sha256 for name, sha256 in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextlib.contextmanager
def _held(root: Path, name: str) -> Iterator[None]:
    """Hold a folder's name, waiting for whoever unpacks it now, and clear what a killed process left."""
    make_folder(root)
    with writing(root, "cannot unpack a GGUF file here (AFTERTUNE_CACHE names another folder)"):
        lock = (root / f"{name}.lock").open("ab")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in root.glob(f".{name}.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        yield


@contextlib.contextmanager
def _stored(folder: Path) -> Iterator[None]:
    """Raise StoreError, in one line, for what the disk refuses."""
    from safetensors import SafetensorError

    with writing(folder.parent, "cannot unpack a GGUF file here"):
        try:
            yield
        except SafetensorError as error:  # safetensors reports a full disk so
            raise StoreError(
                f"{folder.parent}: cannot unpack a GGUF file here: {error}; free some space and run the same command "
                "again"
            ) from None


def _make_room(root: Path, name: str, header: GGUFHeader) -> None:
    """Remove a damaged folder, and say how much will be written where. Raises StoreError where there is no room."""
    if (root / name).exists():
        log.warning("%s: damaged or of another version: unpacked again", root / name)
        with writing(root / name, "cannot be removed"):
            shutil.rmtree(root / name)
    weights = sum(_bytes(tensor) for tensor in header.tensors.values())
    needed = weights + _SPARE
    free = shutil.disk_usage(root).free
    if needed > free:
        raise StoreError(
            f"{root}: unpacking {header.path.name} needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free: free "
            "some space, or name another folder in AFTERTUNE_CACHE, and run the same command again"
        )
    log.warning("unpacking %s once: %s MB in %s", header.path.name, f"{math.ceil(weights / 1e6):,}", root / name)


def _bytes(tensor: StoredTensor) -> int:
    return math.prod(tensor.shape) * _KEPT.get(tensor.quantization, ("", 4))[1]


# ---------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class _Placed:
    """A tensor of the file with its place in the model."""

    name: str
    """In transformers."""
    stored: StoredTensor


def _write(header: GGUFHeader, config: Mapping[str, Any], folder: Path) -> None:
    """Write everything into an empty folder, the record last. Raises ModelError for tensors that do not fit."""
    model_class, shapes = _expected(header, config)
    placed = _places(header, shapes, bool(config["tie_word_embeddings"]))
    tokenizer = read_tokenizer(header)
    names = _write_weights(header, family_of(header), config, placed, folder)
    ends = list(tokenizer.ends)
    files: dict[str, object] = {
        "config.json": {
            **config,
            "architectures": [model_class],
            "dtype": "float32",
            **({"eos_token_id": ends if len(ends) > 1 else ends[0]} if ends else {}),
        },
        "generation_config.json": {
            **{key: config[key] for key in ("bos_token_id", "pad_token_id") if key in config},
            **({"eos_token_id": ends} if ends else {}),
        },
        "tokenizer_config.json": tokenizer.settings,
    }
    for name, content in files.items():
        (folder / name).write_bytes(as_json(content))
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    names += [*files, "tokenizer.json"]
    if tokenizer.template:
        (folder / "chat_template.jinja").write_text(tokenizer.template, encoding="utf-8")
        names.append("chat_template.jinja")
    for name in names:
        _to_disk(folder / name)
    record = {
        "files": {name: hash_files([folder / name]) for name in names},
        "architecture": header.architecture,
        "doubt": tokenizer.doubt,
    }
    (folder / RECORD).write_bytes(as_json(record))
    _to_disk(folder / RECORD)


def _to_disk(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _expected(header: GGUFHeader, config: Mapping[str, Any]) -> tuple[str, dict[str, Shape]]:
    """Return the model's class and the tensors that it has, name -> shape, without making any."""
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"a model needs the package {error.name}: {install(error.name or '')}") from None

    make: Any = AutoConfig.for_model
    loader: Any = AutoModelForCausalLM
    try:
        with torch.device("meta"):
            model = loader.from_config(make(**config))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise ModelError(
            f"{header.path}: transformers makes no model of its settings: {first_line(error)}; {FOLDER}"
        ) from None
    return type(model).__name__, {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _places(header: GGUFHeader, shapes: Mapping[str, Shape], tied: bool) -> list[_Placed]:
    """Return each tensor of the file with its name in transformers, in the file's order.

    Raises ModelError for a tensor that the model has and the file has not, or the other way round, or of another shape.
    """
    gguf = package()
    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == header.architecture)
    layers = header.metadata[f"{header.architecture}.block_count"]
    names = gguf.get_tensor_name_map(architecture, layers)
    wanted: dict[str, str] = {}
    for name in shapes:
        if tied and name == "lm_head.weight":
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored not in header.tensors:
            raise ModelError(f"{header.path}: {stored or name} is not in it: it is incomplete, {AGAIN}")
        wanted[stored] = name
    placed = []
    for tensor in header.tensors.values():
        if tensor.name == ROPE_FACTORS:  # a setting: `configuration` has read it
            continue
        if tensor.name not in wanted:
            raise ModelError(
                f"{header.path}: {tensor.name} has no place in a model of the architecture '{header.architecture}', so "
                f"the model would answer otherwise without it: {FOLDER}"
            )
        name = wanted[tensor.name]
        if tensor.shape != shapes[name]:
            raise ModelError(
                f"{header.path}: {tensor.name} is {times(tensor.shape)}, by its metadata {times(shapes[name])}: {AGAIN}"
            )
        placed.append(_Placed(name, tensor))
    return placed


def _write_weights(
    header: GGUFHeader, family: Family, config: Mapping[str, Any], placed: Sequence[_Placed], folder: Path
) -> list[str]:
    """Write the weights shard by shard, one tensor at a time in memory and one shard, and return the files' names."""
    from safetensors.torch import save_file

    shards = _shards(placed)
    of = len(shards)
    names: list[str] = []
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = "model.safetensors" if of == 1 else f"model-{number:05}-of-{of:05}.safetensors"
        tensors = {each.name: _numbers(header, family, config, each) for each in shard}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        names.append(name)
        places |= dict.fromkeys(tensors, name)
    if of > 1:
        index = {"metadata": {"total_size": sum(_bytes(each.stored) for each in placed)}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_bytes(as_json(index))
        names.append("model.safetensors.index.json")
    return names


def _shards(placed: Sequence[_Placed]) -> list[list[_Placed]]:
    shards: list[list[_Placed]] = [[]]
    size = 0
    for each in placed:
        if shards[-1] and size + _bytes(each.stored) > SHARD:
            shards.append([])
            size = 0
        shards[-1].append(each)
        size += _bytes(each.stored)
    return shards


def _numbers(header: GGUFHeader, family: Family, config: Mapping[str, Any], placed: _Placed) -> Any:
    """Return a tensor's numbers in transformers' layout. Raises ModelError for one that holds no finite numbers."""
    import numpy as np
    import torch

    gguf = package()
    tensor = placed.stored
    kind = gguf.GGMLQuantizationType[tensor.quantization]
    raw = np.fromfile(header.path, dtype=np.uint8, count=tensor.size, offset=tensor.start)
    rows = raw.reshape(gguf.quant_shape_to_byte_shape(tensor.shape, kind))
    with np.errstate(all="ignore"):  # a damaged scale overflows: said below, by name
        values = np.asarray(gguf.dequantize(rows, kind), dtype=np.float32).reshape(tensor.shape)
    if not np.isfinite(values).all():
        raise ModelError(
            f"{header.path}: {tensor.name} holds values that are no finite numbers: it is damaged, {AGAIN}"
        )
    if family.permuted:
        for part, heads in (("attn_q", "num_attention_heads"), ("attn_k", "num_key_value_heads")):
            if f".{part}." in tensor.name:
                values = _halves(values, int(config[heads]))
    result = torch.from_numpy(np.ascontiguousarray(values))
    return result.to(getattr(torch, _KEPT[tensor.quantization][0])) if tensor.quantization in _KEPT else result


def _halves(values: Any, heads: int) -> Any:
    """Return the rows of queries or keys with each head's first half before its second, as transformers rotates them.

    llama.cpp rotates neighbouring rows, and its converter interleaves the halves for that
    (`LlamaModel.permute` in convert_hf_to_gguf.py); this undoes it.
    """
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)
