"""GGUF files are models: the same numbers, tokens and answers as the folder that they were made of, or a refusal."""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import gguf_writing, tiny_models
from tests.gguf_writing import Numbers, write

from aftertune.errors import MissingPackageError, ModelError, StoreError, UsageError
from aftertune.models import gguf_files, gguf_unpacking
from aftertune.models.gguf_files import read_header
from aftertune.models.identity import resolve

IDS = [[5, 6, 7, 100, 200, 3, 9, 44, 301, 17]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("AFTERTUNE_CACHE", str(folder))
    return folder / "gguf"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    families: tuple[tiny_models.Family, ...] = ("llama", "mistral", "qwen")
    for family in families:
        tiny_models.save(family, folder / family)
        write(folder / family, folder / f"{family}.gguf")
    tiny_models.save_adapter(folder / "llama", folder / "adapter")
    return folder


def logits(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    model, info = loader.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.inference_mode():
        return model(torch.tensor(IDS)).logits


def refusal(path: Path, **of: Any) -> str:
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        resolve(path, **of)
    assert time.process_time() - began < 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- the same model


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen"])
def test_the_same_numbers_and_settings(made: Path, family: str) -> None:
    base = resolve(made / family)
    model = resolve(made / f"{family}.gguf", base=base)
    assert (model.kind, model.name, model.warnings) == ("full", str(made / f"{family}.gguf"), ())
    assert (model.tokenizer_hash, model.template_hash) == (base.tokenizer_hash, base.template_hash)
    assert logits(model.path).equal(logits(made / family))


def qwen3(folder: Path) -> Path:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = tiny_models.tokenizer("qwen")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model: Any = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=32,
                head_dim=16,  # not 32 / 4
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                initializer_range=0.2,
            )
        )
        for name, value in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(value, 0.5, 1.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_heads_of_another_width_and_their_norms(tmp_path: Path) -> None:
    folder = qwen3(tmp_path / "base")
    assert logits(resolve(write(folder, tmp_path / "m.gguf")).path).equal(logits(folder))


def test_biases_are_not_left_out(tmp_path: Path) -> None:
    folder = tiny_models.save("llama", tmp_path / "base", attention_bias=True, mlp_bias=True)
    edit_weights(folder, lambda name, value: value + 0.3 if name.endswith("bias") else value)
    assert logits(resolve(write(folder, tmp_path / "m.gguf")).path).equal(logits(folder))


def edit_weights(folder: Path, change: Callable[[str, Any], Any]) -> None:
    from safetensors.numpy import load_file, save_file

    file = folder / "model.safetensors"
    weights = {name: change(name, value) for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def test_more_rows_than_tokens(tmp_path: Path) -> None:
    folder = tiny_models.save("llama", tmp_path / "base", vocab_size=448)
    assert logits(resolve(write(folder, tmp_path / "m.gguf")).path).equal(logits(folder))


def test_a_vocabulary_that_is_padded_is_the_same_tokenizer(tmp_path: Path) -> None:
    folder = tiny_models.save("llama", tmp_path / "base", vocab_size=448)
    header = read_header(write(folder, tmp_path / "short.gguf"))
    tokens = [*header.metadata["tokenizer.ggml.tokens"], *(f"[PAD{number}]" for number in range(420, 448))]
    kinds = [*header.metadata["tokenizer.ggml.token_type"], *[gguf_writing.UNUSED] * 28]
    changes = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
    base = resolve(folder)
    model = resolve(altered(header.path, tmp_path / "m.gguf", changes), base=base)
    assert (model.warnings, model.tokenizer_hash) == ((), base.tokenizer_hash)


def test_what_a_file_leaves_open_is_said(made: Path, tmp_path: Path) -> None:
    """With a blank before each text or before the first alone: SentencePiece's files do not say which."""
    values = gguf_writing.sentencepiece([f"p{number}" for number in range(420 - 259)])
    plain = {f"tokenizer.ggml.{key}": None for key in ("pre", "merges", "padding_token_id")}
    open_, closed = tmp_path / "open.gguf", tmp_path / "closed.gguf"
    altered(made / "llama.gguf", open_, {**plain, **values})
    altered(made / "llama.gguf", closed, {**plain, **values, "tokenizer.ggml.add_space_prefix": False})
    model = resolve(open_)
    assert [warning.partition(": ")[2][:40] for warning in model.warnings] == [
        "its file does not say whether a blank is"
    ]
    assert resolve(closed).warnings == ()
    again = resolve(open_, base=model)  # as a checkpoint of a base with the same tokenizer nothing is open
    assert again.warnings == ()
    assert logits(model.path).equal(logits(made / "llama"))


def test_another_token_that_ends_answers_is_said(made: Path, tmp_path: Path) -> None:
    base = resolve(made / "mistral")
    file = altered(made / "mistral.gguf", tmp_path / "m.gguf", {"tokenizer.ggml.eos_token_id": 3})
    assert [warning.partition(": ")[2] for warning in resolve(file, base=base).warnings] == [
        f"tokens [1] end the base's answers and not its own (base {base.name})"
    ]


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_halves_stay_halves(made: Path, tmp_path: Path, kind: str) -> None:
    import torch
    from safetensors.torch import load_file

    model = resolve(write(made / "llama", tmp_path / "m.gguf", quantization=kind))
    weights = load_file(model.path / "model.safetensors")
    original = load_file(made / "llama" / "model.safetensors")
    half = getattr(torch, {"F16": "float16", "BF16": "bfloat16"}[kind])
    for name, value in weights.items():
        assert value.dtype == (half if value.ndim == 2 else torch.float32)
        assert value.equal(original[name].to(value.dtype)), name


def test_a_model_of_several_files_of_weights(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_unpacking, "SHARD", 40_000)
    model = resolve(made / "llama.gguf")
    assert len(model.files) > 2
    assert logits(model.path).equal(logits(made / "llama"))
    assert model.parameters == resolve(made / "llama").parameters


# ---------------------------------------------------------------------------------------------- numbers of few bits


def read_row(kind: str, raw: bytes) -> list[float]:
    """Return the numbers of whole blocks, as the loops of ggml-quants.c (`dequantize_row_*`) compute them."""
    half: Callable[[int], float] = lambda at: struct.unpack_from("<e", raw, at)[0]  # noqa: E731
    out: list[float] = []
    at = 0
    while at < len(raw):
        if kind == "Q8_0":
            out += [half(at) * value for value in struct.unpack_from("<32b", raw, at + 2)]
            at += 34
        elif kind in ("Q4_0", "Q4_1"):
            start = 2 if kind == "Q4_0" else 4
            offset = -8 * half(at) if kind == "Q4_0" else half(at + 2)
            packed = raw[at + start : at + start + 16]
            out += [half(at) * nibble + offset for nibble in (*(p & 15 for p in packed), *(p >> 4 for p in packed))]
            at += start + 16
        elif kind == "Q5_0":
            bits, packed = struct.unpack_from("<I", raw, at + 2)[0], raw[at + 6 : at + 22]
            low = [(p & 15) | ((bits >> j & 1) << 4) for j, p in enumerate(packed)]
            high = [(p >> 4) | ((bits >> (j + 16) & 1) << 4) for j, p in enumerate(packed)]
            out += [half(at) * (value - 16) for value in low + high]
            at += 22
        elif kind == "Q4_K":
            scales = raw[at + 4 : at + 16]
            for group in range(4):
                packed = raw[at + 16 + 32 * group : at + 48 + 32 * group]
                for part in (0, 1):
                    j = 2 * group + part
                    if j < 4:
                        scale, least = scales[j] & 63, scales[j + 4] & 63
                    else:
                        scale = (scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4)
                        least = (scales[j + 4] >> 4) | ((scales[j] >> 6) << 4)
                    out += [half(at) * scale * (p >> 4 * part & 15) - half(at + 2) * least for p in packed]
            at += 144
        elif kind == "Q6_K":
            below, above, signed = (
                raw[at : at + 128],
                raw[at + 128 : at + 192],
                struct.unpack_from("<16b", raw, at + 192),
            )
            values = [0.0] * 256
            for n in (0, 1):
                for j in range(32):
                    ql, qh, sc = below[64 * n :], above[32 * n :], signed[8 * n :]
                    parts = ql[j] & 15, ql[j + 32] & 15, ql[j] >> 4, ql[j + 32] >> 4
                    for k, part in enumerate(parts):
                        q = (part | ((qh[j] >> 2 * k & 3) << 4)) - 32
                        values[128 * n + 32 * k + j] = half(at + 208) * sc[j // 16 + 2 * k] * q
            out += values
            at += 210
        else:
            raise AssertionError(kind)
    return out


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q6_K"])
def test_quantised_numbers_are_those_of_the_format(kind: str, tmp_path: Path) -> None:
    """The matrix holds random bytes, so that every bit of a block is read: no quantiser needs to be trusted."""
    import gguf
    from safetensors.numpy import load_file

    folder = tiny_models.save("llama", tmp_path / "base", hidden_size=256, num_hidden_layers=1)
    write(folder, tmp_path / "m.gguf", quantization=kind if kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0") else "F16")
    header = read_header(tmp_path / "m.gguf")
    block, width = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rng = np.random.default_rng(7)
    blocks = rng.integers(0, 256, (64, 256 // block, width), dtype=np.uint8)
    for at in {"Q4_1": (0, 2), "Q4_K": (0, 2), "Q6_K": (208,)}.get(kind, (0,)):  # the scales, finite and small
        blocks[..., at : at + 2] = rng.normal(0, 0.01, (64, 256 // block, 1)).astype("<f2").view(np.uint8)
    values: dict[str, Any] = dict(header.metadata)
    tensors = {tensor.name: numbers(header.path, tensor) for tensor in header.tensors.values()}
    raw = blocks.reshape(64, -1)
    file = save_raw(tmp_path / "raw.gguf", values, tensors, "blk.0.ffn_gate.weight", raw, kind)
    unpacked = load_file(resolve(file).path / "model.safetensors")["model.layers.0.mlp.gate_proj.weight"]
    expected = np.array([read_row(kind, row.tobytes()) for row in raw])
    assert unpacked.shape == (64, 256)
    np.testing.assert_allclose(unpacked, expected, rtol=2e-6, atol=1e-7)


def numbers(path: Path, tensor: gguf_files.StoredTensor) -> Numbers:
    import gguf

    kind = gguf.GGMLQuantizationType[tensor.quantization]
    raw = np.fromfile(path, np.uint8, tensor.size, offset=tensor.start)
    return gguf.dequantize(raw.reshape(gguf.quant_shape_to_byte_shape(tensor.shape, kind)), kind).reshape(tensor.shape)


def save_raw(
    file: Path, values: dict[str, Any], tensors: dict[str, Numbers], name: str, raw: Numbers, kind: str
) -> Path:
    """Write a GGUF file in which one tensor holds these bytes."""
    values.pop("general.architecture")
    return gguf_writing.save(file, "llama", values, tensors, raw={name: (raw, kind)})


@pytest.mark.parametrize(("family", "kind"), [("mistral", "F32"), ("mistral", "Q4_1"), ("qwen", "Q8_0")])
def test_the_same_as_transformers_own_reading(made: Path, tmp_path: Path, family: str, kind: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    write(made / family, tmp_path / "m.gguf", quantization=kind)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(resolve(tmp_path / "m.gguf").path)
    mine = ours.state_dict()
    assert mine.keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert value.equal(mine[name]), name


def test_the_table_is_the_one_that_gguf_reads(made: Path) -> None:
    import gguf

    header, reader = read_header(made / "qwen.gguf"), gguf.GGUFReader(made / "qwen.gguf")
    assert list(header.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        own = header.tensors[tensor.name]
        assert (own.start, own.size, own.shape) == (
            tensor.data_offset,
            tensor.n_bytes,
            tuple(reversed(tensor.shape.tolist())),
        )
    for key, value in header.metadata.items():
        assert reader.fields[key].contents() == value, key


# ---------------------------------------------------------------------------------------------- rotary scaling


def test_llama_3_scaling_is_found_in_its_factors(tmp_path: Path) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    folder = tiny_models.save("llama", tmp_path / "base", hidden_size=128, rope_parameters=rope)  # type: ignore[arg-type]
    factors = llama3_factors(rope, 32)
    assert factors.min() == 1
    assert factors.max() == 32
    assert len(set(factors.tolist())) > 2
    model = resolve(write(folder, tmp_path / "m.gguf", more={"rope_freqs.weight": factors}))
    assert logits(model.path).equal(logits(folder))
    plain = resolve(write(folder, tmp_path / "plain.gguf"))  # what a reader gets that passes the factors over
    assert not logits(plain.path).equal(logits(folder))
    other = write(folder, tmp_path / "other.gguf", more={"rope_freqs.weight": factors[::-1].copy()})
    assert "not those of Llama 3" in refusal(other)


def llama3_factors(rope: dict[str, Any], head_dim: int) -> Numbers:
    """Return what `LlamaModel.generate_extra_tensors` in llama.cpp's converter writes."""
    out = []
    for frequency in 1 / rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim):
        wave = 2 * np.pi / frequency
        if wave < rope["original_max_position_embeddings"] / rope["high_freq_factor"]:
            out.append(1.0)
        elif wave > rope["original_max_position_embeddings"] / rope["low_freq_factor"]:
            out.append(rope["factor"])
        else:
            smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
                rope["high_freq_factor"] - rope["low_freq_factor"]
            )
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, dtype=np.float32)


@pytest.mark.parametrize(
    ("rope", "keys"),
    [
        ({"rope_type": "linear", "factor": 4.0}, {"type": "linear", "factor": 4.0}),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
            {"type": "yarn", "factor": 4.0, "original_context_length": 128},
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 16.0},
            {"type": "yarn", "factor": 4.0, "original_context_length": 128, "yarn_beta_fast": 16.0},
        ),
    ],
)
def test_scalings_by_name(tmp_path: Path, rope: dict[str, Any], keys: dict[str, Any]) -> None:
    folder = tiny_models.save("llama", tmp_path / "base", rope_parameters={"rope_theta": 10000.0, **rope})  # type: ignore[arg-type]
    named = {f"llama.rope.scaling.{key}": value for key, value in keys.items()}
    assert logits(resolve(write(folder, tmp_path / "m.gguf", **named)).path).equal(logits(folder))
    assert not logits(resolve(write(folder, tmp_path / "plain.gguf")).path).equal(logits(folder))


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general.type": "adapter"}, "a LoRA adapter for llama.cpp"),
        ({"general.type": "mmproj"}, "the image or audio part"),
        ({"general.type": "imatrix"}, "an importance matrix"),
        ({"general.type": "something"}, "general.type = 'something'"),
        ({"split.count": 3}, "one of the 3 parts of a model: join them first"),
        ({"general.architecture": "bert"}, "architecture 'bert' is not read"),
        ({"general.architecture": "qwen2moe"}, "did you mean 'qwen2'"),
        ({"tokenizer.ggml.pre": None}, "does not say how its tokenizer splits text"),
        ({"tokenizer.ggml.pre": "default"}, "does not say how its tokenizer splits text"),
        ({"tokenizer.ggml.pre": "some-new-model"}, "tokenizer.ggml.pre = 'some-new-model'"),
        ({"tokenizer.ggml.model": "bert"}, "a tokenizer of the kind 'bert'"),
        ({"tokenizer.ggml.model": None}, "a tokenizer of the kind None"),
        ({"tokenizer.ggml.tokens": ["a", "b"]}, "2 tokens and 420 types"),
        ({"tokenizer.ggml.eos_token_id": 5000}, "eos_token_id = 5000, beyond its 420 tokens"),
        ({"tokenizer.ggml.merges": None}, "no tokenizer.ggml.merges"),
        ({"llama.rope.scaling.type": "longrope"}, "rotary scaling 'longrope'"),
        ({"llama.attention.sliding_window": 128}, "llama.attention.sliding_window = 128"),
        ({"llama.expert_count": 8}, "llama.expert_count = 8"),
        ({"llama.attention.head_count_kv": [2, 1]}, "differs between layers"),
        ({"llama.attention.head_count": None}, "llama.attention.head_count is missing"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "layer_norm_rms_epsilon is missing or no number"),
        ({"llama.rope.dimension_count": 4}, "only equal ones are read"),
        (
            {"llama.embedding_length": 64, "llama.attention.key_length": 8, "llama.attention.value_length": 8},
            "no embeddings of 64 numbers each",
        ),
        ({"general.alignment": 0}, "general.alignment = 0"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_at_once(made: Path, tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert words in refusal(altered(made / "llama.gguf", tmp_path / "m.gguf", changes))


def altered(file: Path, out: Path, changes: dict[str, Any]) -> Path:
    """Return a copy of a GGUF file with other metadata (None leaves a key out), written by hand: no check of a library."""
    header = read_header(file)
    values = {**header.metadata, **changes}
    values = {key: value for key, value in values.items() if value is not None}
    body = b"".join(text(key) + packed(value) for key, value in values.items())
    table, data = b"", b""
    for tensor in header.tensors.values():
        data += bytes(-len(data) % 32)
        kind = {"F32": 0, "F16": 1}[tensor.quantization]
        dims = b"".join(struct.pack("<Q", size) for size in reversed(tensor.shape))
        table += text(tensor.name) + struct.pack("<I", len(tensor.shape)) + dims + struct.pack("<IQ", kind, len(data))
        data += file.read_bytes()[tensor.start : tensor.start + tensor.size]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(header.tensors), len(values)) + body + table
    out.write_bytes(head + bytes(-len(head) % 32) + data)
    return out


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Ii", 5, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind = packed(value[0])[:4]
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(value)) + b"".join(packed(each)[4:] for each in value)


def test_a_copy_by_hand_is_the_same_model(made: Path, tmp_path: Path) -> None:
    copy = altered(made / "llama.gguf", tmp_path / "m.gguf", {})
    assert logits(resolve(copy).path).equal(logits(made / "llama"))


def test_a_file_cut_off_anywhere(made: Path, tmp_path: Path) -> None:
    content = (made / "llama.gguf").read_bytes()
    for length in (0, 3, 4, 8, 23, 24, 40, 500, 3000, len(content) // 2, len(content) - 1):
        (tmp_path / "m.gguf").write_bytes(content[:length])
        why = refusal(tmp_path / "m.gguf")
        assert "cut off" in why or "not a GGUF file" in why, length


def test_damaged_headers_are_refused_in_a_line(made: Path, tmp_path: Path) -> None:
    """Each byte of the counts, and bytes all over the header, set to extremes: a refusal or the same sizes, never more."""
    content = (made / "llama.gguf").read_bytes()
    start = read_header(made / "llama.gguf").tensors["output_norm.weight"].start
    rng = np.random.default_rng(3)
    refused = 0
    for at in [*range(24), *rng.integers(24, min(start, 20_000), 250).tolist()]:
        damaged = bytearray(content)
        damaged[at] = 255 - damaged[at]
        (tmp_path / "m.gguf").write_bytes(damaged)
        gguf_unpacking._accepted.clear()
        try:
            header = read_header(tmp_path / "m.gguf")
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert all(tensor.start + tensor.size <= len(content) for tensor in header.tensors.values())
    assert refused >= 24 - 4  # the version's and the magic's bytes among them


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGML" + bytes(100), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + bytes(100), "of version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(100), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(100), "no general.architecture"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64, "not a GGUF file"),
    ],
)
def test_what_is_no_gguf(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert words in refusal(tmp_path / "m.gguf")


def test_a_file_of_another_name_and_a_file_that_is_none(made: Path, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes((made / "llama.gguf").read_bytes())
    assert resolve(tmp_path / "blob").kind == "full"
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match="is a file, and no GGUF file"):
        resolve(tmp_path / "notes.txt")
    with pytest.raises(ModelError, match="no such model folder: gone.gguf"):
        resolve("gone.gguf")


def test_folders_with_gguf_files(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    content = (made / "llama.gguf").read_bytes()
    (folder / "a.Q8_0.gguf").write_bytes(content)
    assert resolve(folder).weights_hash == resolve(made / "llama.gguf").weights_hash
    (folder / "b.Q4_0.gguf").write_bytes(content)
    with pytest.raises(
        ModelError, match=r"2 GGUF files and no other weights: give one of them: a.Q8_0.gguf, b.Q4_0.gguf"
    ):
        resolve(folder)
    part = tmp_path / "big-00002-of-00003.gguf"
    part.write_bytes(content)
    assert "one of the 3 parts of a model: join them first" in refusal(part)
    beside = tiny_models.save("qwen", tmp_path / "beside")
    (beside / "copy.gguf").write_bytes(content)
    assert resolve(beside).architecture == "Qwen2ForCausalLM"


def test_without_the_package(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingPackageError, match=r"needs the package gguf: pip install 'aftertune\[gguf\]'"):
        read_header(made / "llama.gguf")


def test_tensors_that_do_not_fit(made: Path, tmp_path: Path) -> None:
    base = made / "llama"
    extra = {"blk.0.attn_gate.weight": np.ones((32, 32), np.float32)}
    for number, (file, words) in enumerate(
        [
            ({"more": extra}, "blk.0.attn_gate.weight has no place"),
            ({"leave_out": ["blk.1.ffn_up.weight"]}, "blk.1.ffn_up.weight is not in it: it is incomplete"),
            ({"llama__feed_forward_length": 96}, "ffn_down.weight is 32 x 64, by its metadata 32 x 96"),
            ({"llama__block_count": 1}, "blk.1.attn_norm.weight has no place"),
            ({"llama__attention__head_count_kv": 4}, "attn_k.weight is 16 x 32, by its metadata 32 x 32"),
        ]
    ):
        path = write(base, tmp_path / f"{number}.gguf", **file)  # type: ignore[arg-type]
        with pytest.raises(ModelError) as caught:
            resolve(path)
        assert words in str(caught.value)
    assert not list((tmp_path / "cache" / "gguf").glob("*-1"))


def test_numbers_that_are_none(made: Path, tmp_path: Path) -> None:
    header = read_header(made / "llama.gguf")
    content = bytearray((made / "llama.gguf").read_bytes())
    start = header.tensors["blk.1.ffn_up.weight"].start
    content[start : start + 4] = struct.pack("<f", float("nan"))
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=r"blk.1.ffn_up.weight holds values that are no finite numbers"):
        resolve(tmp_path / "m.gguf")


# ---------------------------------------------------------------------------------------------- the cache


def test_unpacked_once_and_named_by_content(
    made: Path, tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = resolve(made / "llama.gguf")
    assert "unpacking llama.gguf once: 1 MB in" in caplog.text
    caplog.clear()
    stamp = (first.path / "model.safetensors").stat().st_mtime_ns
    copy = tmp_path / "renamed.gguf"
    copy.write_bytes((made / "llama.gguf").read_bytes())
    again = resolve(copy)
    assert (again.path, again.identity, caplog.text) == (first.path, first.identity, "")
    assert (again.path / "model.safetensors").stat().st_mtime_ns == stamp
    assert resolve(made / "mistral.gguf").identity != first.identity
    assert resolve(first.path).identity == first.identity  # as jobs name it


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "unpacked.json"])
@pytest.mark.parametrize("how", ["gone", "changed"])
def test_a_damaged_folder_is_made_again(made: Path, name: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    model = resolve(made / "llama.gguf")
    identity, file = model.identity, model.path / name
    content = file.read_bytes()
    file.unlink()
    if how == "changed":
        file.write_bytes(content[:-3] + b"   ")
    caplog.clear()
    assert resolve(made / "llama.gguf").identity == identity
    assert file.read_bytes() == content
    assert "damaged or of another version: unpacked again" in caplog.text


SLOW = """
import sys, time
from pathlib import Path
from aftertune.models import gguf_unpacking
write = gguf_unpacking._write
def slow(*args):
    write(*args)
    print("written", flush=True)
    time.sleep(float(sys.argv[2]))
gguf_unpacking._write = slow
print(gguf_unpacking.unpacked(Path(sys.argv[1])), flush=True)
"""


def start(file: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, str(file), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_while_it_unpacks(made: Path, cache: Path) -> None:
    process = start(made / "llama.gguf", 60)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert [path for path in cache.iterdir() if path.name.endswith(".part")]
    assert not list(cache.glob("*-1"))
    model = resolve(made / "llama.gguf")
    assert logits(model.path).equal(logits(made / "llama"))
    assert not [path for path in cache.iterdir() if path.name.endswith(".part")]


@pytest.mark.slow
def test_two_processes_at_once(made: Path, cache: Path) -> None:
    first = start(made / "llama.gguf", 0.5)
    assert first.stdout is not None
    assert first.stdout.readline() == "written\n"
    model = resolve(made / "llama.gguf")  # waits
    assert first.stdout.readline().strip() == str(model.path)
    assert first.wait() == 0
    first.stdout.close()
    assert logits(model.path).equal(logits(made / "llama"))


def test_no_room_and_no_folder(made: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    with monkeypatch.context() as here:
        here.setattr(shutil, "disk_usage", lambda _: Usage)
        with pytest.raises(
            StoreError, match=r"unpacking llama.gguf needs 0.05 GB, and 0.00 GB are free: free some space"
        ):
            resolve(made / "llama.gguf")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    import safetensors.torch

    with monkeypatch.context() as here:
        here.setattr(safetensors.torch, "save_file", full)
        with pytest.raises(
            StoreError, match=r"cannot unpack a GGUF file here: No space left on device; free some space"
        ):
            resolve(made / "llama.gguf")
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match=r"cannot make this folder"):
        resolve(made / "llama.gguf")


def test_refused_before_the_library_of_models_loads(made: Path, tmp_path: Path) -> None:
    file = altered(made / "llama.gguf", tmp_path / "m.gguf", {"general.architecture": "bert"})
    code = (
        "import sys; from aftertune.models.identity import resolve; from aftertune.errors import ModelError\n"
        "try: resolve(sys.argv[1])\nexcept ModelError: print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_no_file_of_the_folder_holds_where_it_lies(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes on any machine: the identity of a model must not depend on its path."""
    one = resolve(made / "llama.gguf").path
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "elsewhere"))
    other = resolve(made / "llama.gguf").path
    assert one != other
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert json.loads((one / "unpacked.json").read_text(encoding="utf-8"))["architecture"] == "llama"
    assert one.stat().st_mode & 0o077 == 0


def test_a_hub_s_collection_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    monkeypatch.setattr("aftertune.models.identity._from_hub", lambda _: tmp_path)
    with pytest.raises(ModelError, match=r"download one of them \(`hf download owner/Small-1B-GGUF FILE.gguf"):
        resolve("owner/Small-1B-GGUF")
