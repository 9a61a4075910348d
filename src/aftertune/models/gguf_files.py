"""GGUF files, llama.cpp's format of a whole model: their metadata and table of tensors, and what is refused at once.

Nothing here loads a library of models: a file that cannot be used is refused within the time of reading its header.
Source: the format's specification, github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from aftertune.errors import MissingPackageError, ModelError
from aftertune.extras import install

SUFFIX = ".gguf"
MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Metadata value type -> its form in `struct`."""
_TEXT, _VALUES = 50_000_000, 20_000_000
"""Bytes of a text and values of a list, at most; the largest vocabularies have 300,000 tokens."""
_DIMENSIONS = 4
"""At most, of a tensor in the format."""
AGAIN = "download it again, or convert the model again with llama.cpp's convert_hf_to_gguf.py"
FOLDER = "give the folder of the original model (safetensors), or convert it to one"
_TYPES = {
    "adapter": "a LoRA adapter for llama.cpp, which is not read here: give the folder of the PEFT adapter "
    "(adapter_config.json) from which it was made",
    "mmproj": "the image or audio part of a model (mmproj): give the file of the language model beside it",
    "imatrix": "an importance matrix, which llama.cpp makes to quantise a model: give the file of the model",
}
"""`general.type` of files that are no models -> what they are and what to do."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a GGUF file: where it lies, and how."""

    name: str
    """As llama.cpp calls it, e.g. `blk.0.attn_q.weight`."""
    shape: tuple[int, ...]
    """Outermost dimension first, as torch writes it."""
    quantization: str
    """Of its numbers, e.g. `Q4_K`, `F16`."""
    start: int
    """Offset in the file, in bytes."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class GGUFHeader:
    """What a GGUF file says of itself before its weights."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @property
    def architecture(self) -> str:
        """The name of the architecture in llama.cpp; empty where the file has none."""
        return str(self.metadata.get("general.architecture") or "")

    def under(self, prefix: str) -> dict[str, Any]:
        """Return the metadata whose keys begin with `prefix` and a dot, without it."""
        return {key[len(prefix) + 1 :]: value for key, value in self.metadata.items() if key.startswith(f"{prefix}.")}


def model_file(path: Path) -> Path | None:
    """Return the GGUF file that `path` means: the file itself, or the only one in a folder without other weights.

    None where it means none. Raises ModelError for a file that is no GGUF, and for a folder with several of them.
    """
    if path.is_file():
        if path.suffix.lower() == SUFFIX or _magic(path) == MAGIC:
            return path
        return None
    if not path.is_dir() or (path / "adapter_config.json").exists() or any(path.glob("*.safetensors")):
        return None
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == SUFFIX and each.is_file())
    if len(files) > 1:
        raise ModelError(f"{path}: {len(files)} GGUF files and no other weights: give one of them: {_names(files)}")
    return files[0] if files else None


def _names(files: Sequence[Path]) -> str:
    shown = ", ".join(file.name for file in files[:6])
    return shown if len(files) <= 6 else f"{shown} and {len(files) - 6} more"


def _magic(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(4)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


class _Reader:
    """Reads values from a stream and never beyond the end of its file."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._size = path.stat().st_size

    def cut_off(self) -> NoReturn:
        raise ModelError(f"{self._path}: cut off within its header, at {self._size:,} bytes: {AGAIN}")

    def room(self, count: int, width: int) -> None:
        """Raise ModelError where `count` values of at least `width` bytes cannot follow."""
        if count * width > self._size - self._stream.tell():
            self.cut_off()

    def unpack(self, form: str, count: int = 1) -> tuple[Any, ...]:
        width = struct.calcsize(f"<{form}")
        self.room(count, width)
        return struct.unpack(f"<{count}{form}", self._stream.read(count * width))

    def number(self, form: str) -> int:
        return int(self.unpack(form)[0])

    def text(self) -> str:
        length = self.number("Q")
        self.room(length, 1)
        self.sane(length, _TEXT)
        raw = self._stream.read(length)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise ModelError(f"{self._path}: a text in its header is not UTF-8: it is damaged, {AGAIN}") from None

    def value(self, kind: int) -> Any:
        if kind in _FORMATS:
            return self.unpack(_FORMATS[kind])[0]
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            of, count = self.number("I"), self.number("Q")
            self.sane(count, _VALUES)
            if of in _FORMATS:
                return list(self.unpack(_FORMATS[of], count))
            if of == _STRING:
                self.room(count, 8)
                return [self.text() for _ in range(count)]
            kind = of
        raise ModelError(f"{self._path}: a value of the unknown type {kind} in its header: it is damaged, {AGAIN}")

    def sane(self, count: int, most: int) -> None:
        """Raise ModelError for a text or list that no file has: reading it would take the machine's memory."""
        if count > most:
            raise ModelError(f"{self._path}: {count:,} characters or values at once in its header: damaged, {AGAIN}")

    def position(self) -> int:
        return self._stream.tell()


def read_header(path: Path) -> GGUFHeader:
    """Return what a GGUF file says of itself.

    Raises ModelError in one line for a file that is no GGUF, of another version, cut off anywhere or damaged in its
    header, and MissingPackageError without the package gguf, which knows the sizes of its number types.
    """
    try:
        with path.open("rb") as stream:
            return _header(_Reader(stream, path), path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None


def _header(reader: _Reader, path: Path) -> GGUFHeader:
    size = path.stat().st_size
    if size < 24 or bytes(reader.unpack("B", 4)) != MAGIC:
        raise ModelError(f"{path}: not a GGUF file (it does not begin with GGUF): {AGAIN}")
    version, tensors, values = reader.number("I"), reader.number("Q"), reader.number("Q")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "big"), "little") in _VERSIONS
        why = "for a big-endian machine" if swapped else f"of version {version}; 2 and 3 are read"
        raise ModelError(f"{path}: a GGUF file {why}: {AGAIN}")
    reader.room(values, 12)
    metadata: dict[str, Any] = {}
    for _ in range(values):
        key = reader.text()
        metadata[key] = reader.value(reader.number("I"))
    _refuse_no_model(path, metadata, tensors)
    reader.room(tensors, 24)
    table = [_row(reader, path) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or isinstance(alignment, bool) or alignment < 1:
        raise ModelError(f"{path}: general.alignment = {alignment!r} is no number of bytes: it is damaged, {AGAIN}")
    data = math.ceil(reader.position() / alignment) * alignment
    stored: dict[str, StoredTensor] = {}
    for name, shape, kind, offset in table:
        quantization, length = _size(path, name, shape, kind)
        if name in stored:
            raise ModelError(f"{path}: two tensors are called {name}: it is damaged, {AGAIN}")
        if data + offset + length > size:
            raise ModelError(
                f"{path}: {size:,} bytes, where {name} ends at {data + offset + length:,}: it is cut off, {AGAIN}"
            )
        stored[name] = StoredTensor(name, shape, quantization, data + offset, length)
    return GGUFHeader(path, metadata, stored)


def _row(reader: _Reader, path: Path) -> tuple[str, tuple[int, ...], int, int]:
    name, count = reader.text(), reader.number("I")
    if count > _DIMENSIONS:
        raise ModelError(f"{path}: {name} has {count} dimensions: the table of tensors is damaged, {AGAIN}")
    shape = tuple(int(each) for each in reversed(reader.unpack("Q", count)))
    return name, shape, reader.number("I"), reader.number("Q")


def _refuse_no_model(path: Path, metadata: Mapping[str, Any], tensors: int) -> None:
    """Raise ModelError for a GGUF file that holds something else than one whole language model."""
    kind, architecture = metadata.get("general.type"), metadata.get("general.architecture")
    if architecture == "clip":
        kind = "mmproj"
    if isinstance(kind, str) and kind in _TYPES:
        raise ModelError(f"{path}: {_TYPES[kind]}")
    named, parts = re.search(r"-\d{5}-of-(\d{5})\.gguf$", path.name), metadata.get("split.count")
    parts = parts if isinstance(parts, int) and parts > 1 else int(named[1]) if named else 1
    if parts > 1:
        raise ModelError(
            f"{path}: one of the {parts} parts of a model: join them first with llama.cpp's "
            "`llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf`, and give the whole"
        )
    if kind not in (None, "model"):
        raise ModelError(f"{path}: general.type = {kind!r}: not a model; {FOLDER}")
    if not isinstance(architecture, str) or not architecture:
        raise ModelError(f"{path}: no general.architecture in its metadata, so the model class is unknown: {AGAIN}")
    if not tensors:
        raise ModelError(f"{path}: a vocabulary without weights: give the file of a model")


def _size(path: Path, name: str, shape: tuple[int, ...], kind: int) -> tuple[str, int]:
    """Return the name of a tensor's number type and its size in bytes. Raises ModelError for what is not read."""
    gguf = package()
    try:
        quantization = gguf.GGMLQuantizationType(kind)
    except ValueError:
        raise ModelError(
            f"{path}: {name} is of number type {kind}, which the installed gguf does not know: "
            f"pip install -U gguf, or {FOLDER}"
        ) from None
    block, width = gguf.GGML_QUANT_SIZES[quantization]
    if quantization.name not in readable(gguf):
        raise ModelError(
            f"{path}: {name} is quantised as {quantization.name}, which the installed gguf cannot turn back into "
            f"numbers: pip install -U gguf, or {FOLDER}"
        )
    if shape and shape[-1] % block:
        raise ModelError(
            f"{path}: the rows of {name} ({shape[-1]}) are no whole blocks of {block}: it is damaged, {AGAIN}"
        )
    return quantization.name, math.prod(shape) // block * width


def readable(gguf: Any) -> frozenset[str]:
    """Return the names of the number types that the package can turn into float32, found by trying each on zeros."""
    if not _READABLE:
        import numpy as np

        for kind, (_, width) in gguf.GGML_QUANT_SIZES.items():
            try:
                gguf.dequantize(np.zeros((1, width), dtype=np.uint8), kind)
            except (NotImplementedError, ValueError):
                continue
            _READABLE.add(kind.name)
    return frozenset(_READABLE)


_READABLE: set[str] = set()


def package() -> Any:
    """Return the package gguf. Raises MissingPackageError with the line that installs it."""
    try:
        import gguf
    except ModuleNotFoundError:
        raise MissingPackageError(f"a GGUF file needs the package gguf: {install('gguf')}") from None
    return gguf
