"""Weight files on disk: safetensors headers, shards, hashes and JSON without loading a weight; tensors one by one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aftertune.errors import ModelError

Shape = tuple[int, ...]

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
MAX_HEADER = 100_000_000
"""Bytes; the limit of the safetensors format."""


def read_json(file: Path) -> dict[str, Any]:
    """Return the JSON object in `file`. Raises ModelError with the line where it is broken."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"no such file: {file}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{file}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ModelError(f"{file}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise ModelError(f"{file}: JSON nested too deep") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: a JSON object was expected, not a {type(content).__name__}")
    return content


def read_header(file: Path) -> dict[str, Shape]:
    """Return tensor name -> shape of a safetensors file, from its header alone.

    Raises ModelError where the header is broken or the file is shorter or longer than its header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise ModelError(f"{file}: not a safetensors file, or cut off in its header: download or save it again")
        try:
            header = json.loads(stream.read(length))
            tensors = {key: value for key, value in header.items() if key != "__metadata__"}
            shapes = {key: tuple(int(n) for n in value["shape"]) for key, value in tensors.items()}
            end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise ModelError(f"{file}: its safetensors header cannot be read: download or save it again") from None
    if size != 8 + length + end:
        raise ModelError(
            f"{file}: {size:,} bytes where its header says {8 + length + end:,}: it is cut off or damaged, "
            "download or save it again"
        )
    return shapes


def weight_files(name: str, folder: Path, stem: str) -> list[Path]:
    """Return the safetensors files of `stem` (`model` or `adapter_model`) in `folder`, shards in the order of names.

    Raises ModelError where there are none, where a shard is missing, and where there are pickles only.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.exists():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(f"{index}: no `weight_map`")
        shards = sorted({str(shard) for shard in weight_map.values()})
        for shard in shards:
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise ModelError(f"{name}: the index names {shard}, which is not in the folder: download it again")
        return [folder / shard for shard in shards]
    single = folder / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        raise ModelError(
            f"{name}: pickled weights only ({pickles[0]}), which can run code when they load: convert them with "
            "model.save_pretrained(folder, safe_serialization=True)"
        )
    raise ModelError(f"{name}: no weights ({stem}.safetensors or its index) in this folder")


def shapes_of(files: Sequence[Path]) -> dict[str, Shape]:
    """Return tensor name -> shape over several safetensors files."""
    return {key: shape for file in files for key, shape in read_header(file).items()}


def tensors_of(files: Sequence[Path]) -> Iterator[tuple[str, Any]]:
    """Yield tensor name and tensor (on the CPU) over several safetensors files, one at a time."""
    from safetensors import safe_open

    for file in files:
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 - no mapping
                yield key, stored.get_tensor(key)


def hash_files(files: Sequence[Path]) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of one file's content, or of the hashes of several in order."""
    hashes = [_hash_file(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


_SETTINGS = ("config.json", "generation_config.json", "adapter_config.json")
_NO_SETTING = ("_name_or_path", "base_model_name_or_path", "transformers_version")
"""Keys of these files that decide no answer."""


def settings(folder: Path) -> list[dict[str, Any]]:
    """Return a model's configuration: what decides its answers besides weights, tokenizer and chat template.

    It holds an adapter's scale, a model's rotary base, and the tokens that end an answer. Raises ModelError.
    """
    files = [read_json(folder / name) for name in _SETTINGS if (folder / name).is_file()]
    return [{key: value for key, value in each.items() if key not in _NO_SETTING} for each in files]


def counterparts(known: Mapping[str, Shape], shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Return tensor name in `known` -> name of the same tensor in `shapes`, from two sets of files of one model.

    The outer modules may have other names (GPT-2 is published as `h.0`, and saved as `transformer.h.0`), and blocks in
    a layer too (`block_sparse_moe`, `mlp`). Such a counterpart has the same shape, but for the rows of a vocabulary.
    The experts of a mixture may be stacked in one of both: theirs is any tensor of experts in that layer.
    """
    by_end: dict[tuple[str, str], list[str]] = {}
    experts: dict[str, str] = {}
    for name in shapes:
        layer, end = _place(name)
        for part in {end, ".".join(end.split(".")[-2:])}:
            by_end.setdefault((layer, part), []).append(name)
        if ".experts." in name:
            experts.setdefault(layer, name)
    found: dict[str, str] = {}
    for name, shape in known.items():
        layer, end = _place(name)
        rows = slice(1 if _of_vocabulary(name) else 0, None)
        for part in (end, ".".join(end.split(".")[-2:])):
            alike = [one for one in by_end.get((layer, part), []) if shapes[one][rows] == shape[rows]]
            if name in shapes or len(alike) == 1 or (alike and part == end):
                found[name] = name if name in shapes else alike[0]
                break
        if name not in found and ".experts." in name and layer in experts:
            stacked = len(shape) == 3 or len(shapes[experts[layer]]) == 3
            found |= {name: experts[layer]} if stacked else {}
    return found


def _place(name: str) -> tuple[str, str]:
    """Return the layer of a tensor (`layers.3`, empty outside of layers) and its name from there on."""
    match = re.search(r"([A-Za-z_]+\.\d+)\.(.+)$", name)
    return (match[1], match[2]) if match else ("", ".".join(name.split(".")[-2:]))


def _of_vocabulary(name: str) -> bool:
    return "embed" in name or "lm_head" in name or "wte" in name


class WeightIndex:
    """The base's weight tensors by module, also where a library version names the outer modules differently."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        """Index `shapes` (tensor name -> shape)."""
        self._exact = {key.removesuffix(".weight"): {key: shape} for key, shape in shapes.items()}
        self._tails: dict[str, dict[str, Shape]] = {}
        for key, shape in shapes.items():
            self._tails.setdefault(_tail(key.removesuffix(".weight")), {})[key] = shape
        embeddings = {
            key: shape for key, shape in shapes.items() if key.endswith(("embed_tokens.weight", "wte.weight"))
        }
        # A tied output layer has no tensor of its own in the files.
        self._exact.setdefault("lm_head", embeddings)

    def find(self, module: str) -> dict[str, Shape]:
        """Return tensor name -> shape of the weights that `module` may refer to; empty if there are none."""
        return self._exact.get(module) or self._tails.get(_tail(module)) or {}


def _tail(module: str) -> str:
    """Return the part of a module's name from `layers.<n>` on, which all versions of a model share."""
    match = re.search(r"[A-Za-z_]+\.\d+\..+$", module)
    return match.group() if match else module


_hashes: dict[tuple[str, int, int], str] = {}


def _hash_file(path: str, size: int, mtime: int) -> str:
    key = (path, size, mtime)
    if key not in _hashes:
        with Path(path).open("rb") as stream:
            _hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _hashes[key]


def times(shape: Shape) -> str:
    """Return a shape for people, e.g. `128 x 64`."""
    return " x ".join(map(str, shape)) or "scalar"
