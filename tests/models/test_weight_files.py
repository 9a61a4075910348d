"""Weight files byte by byte: headers, shards, hashes and settings, and the module that an adapter's name refers to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aftertune.errors import ModelError
from aftertune.models import weight_files as files


def put(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """Write a safetensors file: eight bytes of length, the header, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def refused(message: str) -> Any:
    return pytest.raises(ModelError, match=message)


# ---------------------------------------------------------------------------------------------- JSON


def test_an_object_is_read_with_its_umlauts(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes('{"größe": 3, "a": null}'.encode())
    assert files.read_json(path) == {"größe": 3, "a": None}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n "a": 1,\n "b": }', r"config\.json:3: not valid JSON: Expecting value"),
        (b"", r"config\.json:1: not valid JSON"),
        (b'{"a": "\xff"}', r"config\.json: not UTF-8 text"),
        (b"[1]", r"config\.json: a JSON object was expected, not a list"),
        (b"null", r"config\.json: a JSON object was expected, not a NoneType"),
        (b'"text"', r"config\.json: a JSON object was expected, not a str"),
        (b"[" * 200_000, r"config\.json: JSON nested too deep"),
    ],
)
def test_broken_json_is_one_line_that_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with refused(message) as caught:
        files.read_json(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with refused(r"no such file: .*absent\.json"):
        files.read_json(tmp_path / "absent.json")


# ---------------------------------------------------------------------------------------------- headers


def test_shapes_are_read_and_the_notes_of_a_file_are_no_tensor(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "b": tensor([2, 3], 4, 28), "a": tensor([], 0, 4)}
    assert files.read_header(put(tmp_path / "m", header, bytes(28))) == {"b": (2, 3), "a": ()}
    assert files.read_header(put(tmp_path / "none", {})) == {}


@pytest.mark.parametrize("by", [-1, 1])
def test_one_byte_too_few_or_too_many_is_told_with_both_sizes(tmp_path: Path, by: int) -> None:
    text = json.dumps({"a": tensor([500], 0, 2000)}).encode()
    path = put(tmp_path / "m", text, bytes(2000 + by))
    size = 8 + len(text) + 2000
    with refused(f"m: {size + by:,} bytes where its header says {size:,}: it is cut off or damaged, download or save"):
        files.read_header(path)


@pytest.mark.parametrize("length", [3, files.MAX_HEADER + 1, 2**64 - 1])
def test_a_header_that_cannot_fit_is_not_read(tmp_path: Path, length: int) -> None:
    with refused("not a safetensors file, or cut off in its header: download or save it again"):
        files.read_header(put(tmp_path / "m", b"{}", length=length))


@pytest.mark.parametrize("content", [b"", b"\x00" * 7])
def test_a_file_without_a_length_is_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    with refused("not a safetensors file"):
        files.read_header(path)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xff", b"{", [], 3, {"a": 1}, {"a": {}}, {"a": {"shape": [1]}}, {"a": {"shape": None, "data_offsets": [0, 0]}},
        {"a": {"shape": ["x"], "data_offsets": [0, 0]}}, {"a": {"shape": [1], "data_offsets": [0]}},
        {"a": {"shape": [1], "data_offsets": "0"}},
    ],
)  # fmt: skip
def test_a_header_of_other_content_is_one_line(tmp_path: Path, header: object) -> None:
    with refused("its safetensors header cannot be read: download or save it again") as caught:
        files.read_header(put(tmp_path / "m", header))
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=40).filter(lambda header: not header.lstrip().startswith(b"{")))
@settings(deadline=None)
def test_no_header_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, header: bytes) -> None:
    path = put(tmp_path_factory.mktemp("m") / "m", header)
    with pytest.raises(ModelError):
        files.read_header(path)


def test_shapes_and_tensors_of_several_files(tmp_path: Path) -> None:
    one = put(tmp_path / "1", {"a": tensor([1], 0, 4)}, bytes(4))
    two = put(tmp_path / "2", {"b": tensor([1, 1], 0, 4)}, bytes(4))
    assert files.shapes_of([one, two]) == {"a": (1,), "b": (1, 1)}
    assert files.shapes_of([]) == {}


@pytest.mark.parametrize(("shape", "text"), [((128, 64), "128 x 64"), ((3,), "3"), ((), "scalar")])
def test_a_shape_for_people(shape: tuple[int, ...], text: str) -> None:
    assert files.times(shape) == text


# ---------------------------------------------------------------------------------------------- which files


def index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_each_named_once_in_the_order_of_names_and_come_before_a_single_file(tmp_path: Path) -> None:
    for name in ("s2", "s1", "model.safetensors", "pytorch_model.bin"):
        (tmp_path / name).touch()
    assert files.weight_files("m", tmp_path, "model") == [tmp_path / "model.safetensors"]
    index(tmp_path, {"a": "s2", "b": "s1", "c": "s2"})
    assert files.weight_files("m", tmp_path, "model") == [tmp_path / "s1", tmp_path / "s2"]


@pytest.mark.parametrize("shard", ["../s", "sub/s", "absent", "folder", "", "..", "/s"])
def test_a_shard_outside_the_folder_or_absent_is_refused(tmp_path: Path, shard: str) -> None:
    inside = tmp_path / "model"
    for folder in (inside / "sub", inside / "folder"):
        folder.mkdir(parents=True)
    for path in (tmp_path / "s", inside / "sub" / "s"):
        path.touch()
    index(inside, {"a": shard})
    with refused(f"my model: the index names {shard}, which is not in the folder: download it again"):
        files.weight_files("my model", inside, "model")


@pytest.mark.parametrize("weight_map", [{}, None, ["s1"], "s1"])
def test_an_index_of_nothing_is_refused(tmp_path: Path, weight_map: object) -> None:
    index(tmp_path, weight_map)
    with refused(r"model\.safetensors\.index\.json: no `weight_map`"):
        files.weight_files("m", tmp_path, "model")


@pytest.mark.parametrize("name", ["z.bin", "z.pt", "z.pth", "z.ckpt"])
def test_every_kind_of_pickle_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.txt").touch()
    with refused(r"m: no weights \(adapter_model\.safetensors or its index\) in this folder"):
        files.weight_files("m", tmp_path, "adapter_model")
    (tmp_path / name).touch()
    with refused(rf"m: pickled weights only \({name}\), which can run code .* safe_serialization=True\)"):
        files.weight_files("m", tmp_path, "adapter_model")
    (tmp_path / "model.safetensors").touch()
    with refused("pickled weights only"):
        files.weight_files("m", tmp_path, "adapter_model")


# ---------------------------------------------------------------------------------------------- hashes and settings


def test_one_file_has_its_own_hash_and_several_that_of_their_hashes_in_order(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    sums = [hashlib.sha256(data).hexdigest() for data in (b"one", b"two")]
    assert files.hash_files([one]) == sums[0]
    assert files.hash_files([one, two]) == hashlib.sha256("".join(sums).encode()).hexdigest()
    assert files.hash_files([two, one]) == hashlib.sha256("".join(sums[::-1]).encode()).hexdigest()
    one.write_bytes(b"other")
    assert files.hash_files([one]) == hashlib.sha256(b"other").hexdigest(), "not remembered for another content"


def test_settings_are_what_decides_answers_file_by_file(tmp_path: Path) -> None:
    assert files.settings(tmp_path) == []
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "base_model_name_or_path": "here"}')
    (tmp_path / "config.json").write_text('{"rope_theta": 1e4, "_name_or_path": "x", "transformers_version": "5"}')
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "none of these"}')
    assert files.settings(tmp_path) == [{"rope_theta": 1e4}, {"r": 4}]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [1, 2], "transformers_version": "5"}')
    assert files.settings(tmp_path) == [{"rope_theta": 1e4}, {"eos_token_id": [1, 2]}, {"r": 4}]


# ---------------------------------------------------------------------------------------------- modules

QUERY = "model.layers.0.self_attn.q_proj"
WEIGHTS = {
    f"{QUERY}.weight": (8, 8), f"{QUERY}.bias": (8,), "model.layers.10.self_attn.q_proj.weight": (4, 4),
    "model.embed_tokens.weight": (50, 8),
}  # fmt: skip


def test_a_module_is_found_by_its_name_and_under_other_outer_names() -> None:
    found = files.WeightIndex(WEIGHTS)
    assert found.find(QUERY) == {f"{QUERY}.weight": (8, 8)}
    other = "model.language_model.layers.10.self_attn.q_proj"
    assert found.find(other) == {"model.layers.10.self_attn.q_proj.weight": (4, 4)}
    assert found.find("layers.0.self_attn.q_proj") == {f"{QUERY}.weight": (8, 8)}
    assert found.find("model.layers.1.self_attn.q_proj") == {}
    assert found.find("model.layers.0.self_attn.k_proj") == {}
    assert files.WeightIndex({}).find(QUERY) == {}


def test_a_tied_output_layer_is_the_embedding_and_its_own_tensor_counts_where_there_is_one() -> None:
    assert files.WeightIndex(WEIGHTS).find("lm_head") == {"model.embed_tokens.weight": (50, 8)}
    assert files.WeightIndex({"transformer.wte.weight": (9, 2)}).find("lm_head") == {"transformer.wte.weight": (9, 2)}
    own = files.WeightIndex({**WEIGHTS, "lm_head.weight": (51, 8)})
    assert own.find("lm_head") == {"lm_head.weight": (51, 8)}
