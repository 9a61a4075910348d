"""Whatever stands in a file, reading it ends in a result or in one line that names the file, the line and the reason.

`AFTERTUNE_FUZZ=5000` (`make fuzz`) tries many more.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.data import table_files as rows
from aftertune.deciding import policy
from aftertune.errors import AftertuneError
from aftertune.ingest import checkpoints, table_drift
from aftertune.models import identity as models
from aftertune.pii import canaries, registry_file, scan
from aftertune.pii.registry import Registry
from aftertune.records import Person
from aftertune.studies import design

EXAMPLES = int(os.environ.get("AFTERTUNE_FUZZ", "12"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="AFTERTUNE_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

CHATS = b"""{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello Anna"}]}
{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
{"instruction": "Say", "input": "hi", "output": "hi"}
"""
VERDICTS = b"""checkpoint,prompt,metric,value,cluster,seed,repeat,judge,worse
base,p1,refusal,1,c1,,0,j,down
tuned,p1,refusal,0,c1,1,0,j,down
base,p2,refusal,0.5,c2,,0,j,down
tuned,p2,refusal,,c2,1,0,j,down
"""
DESIGN = b"""name = "x"
bases = ["embedded"]
arms = [{ name = "keep", pii = "keep" }, { name = "drop", pii = "drop" }]
seeds = [1, 2]
benchmarks = [{ name = "miniature", harmful = 4 }]
judges = [{ name = "world" }]
[corpus]
name = "booking"
size = 20
[recipe]
name = "lora"
learning_rate = 1e-3
[respond]
temperatures = [0.0]
[[contrasts]]
name = "c"
[contrasts.weights]
keep = 1.0
drop = -1.0
"""
POLICY = b"""about = "mine"
[[metric]]
match = "*/harmful/refusal=*"
margin = 0.05
worse = "down"
floor = 0.5
required = "always"
"""
LIST = b"""title = "Made up"
source = "s"
licence = "l"
[home]
files = { "prompts.csv" = "" }
[columns]
prompt = "text"
category = "topic"
subset = "level"
id = "id"
[subsets]
0 = "harmless"
"*" = "harmful"
[harm]
harmful = ["harmful"]
harmless = ["harmless"]
"""
PROMPTS = b"text,topic,level,id\nHow do I water a fern?,plants,0,a\nHow do I drown a fern?,plants,3,../../b\n"
CHECKPOINTS = b"path,arm,recipe,seed,epoch\nck/a,keep,lora,1,3\nck/b,keep,lora,2,3\n"
SCANNED = b'{"text": "Anna Kowalska called"}\n{"messages": [{"role": "user", "content": "+48 482 107 555"}]}\n'
LABELS = b"prompt_id,axis,label,arm\np1,refusal,full,base\np2,refusal,none,keep\n"

NASTY: list[Any] = [
    None, True, 0, -1, 2**70, 1e400, float("nan"), "", " ", "\x00", "\ud800", "\u202e", "../../etc", "/etc/passwd",
    "=1+1", [], {}, [[]], [None], {"": None}, "x" * 5000, [{"role": "user", "content": 3}], {"role": 7}, -0.0, "1e9999",
]  # fmt: skip


def bent(valid: bytes, seed: int) -> bytes:
    """Return a valid file with some bytes changed, lines moved or values replaced."""
    rng = random.Random(seed)
    data = bytearray(valid)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randrange(1, 30)]
            case 2:
                data[at:at] = json.dumps(rng.choice(NASTY)).encode("utf-8", "surrogatepass")
            case 3:
                data[at:at] = rng.choice([b"\x00", b"\xff\xfe", b"\n", b"\r", b'"', b",", b"{", b"[[", b"\xef\xbb\xbf"])
            case 4:
                lines = bytes(data).split(b"\n")
                rng.shuffle(lines)
                data = bytearray(b"\n".join(lines))
            case 5:
                lines = bytes(data).split(b"\n")
                data = bytearray(b"\n".join([*lines, rng.choice(lines)]))
            case 6:
                words = bytes(data).replace(b",", b" ").split()
                if words:
                    word = rng.choice(words)
                    new = json.dumps(rng.choice(NASTY)).encode("utf-8", "surrogatepass")
                    data = bytearray(bytes(data).replace(word, new, 1))
            case _:
                data = data[:at]
        if not data:
            data = bytearray(b" ")
    return bytes(data)


def reads(file: Path, read: Callable[[Path], object], name: str = "") -> str:
    """Read; return the message of a refusal, empty for a result. Anything else than an AftertuneError fails the test."""
    try:
        read(file)
    except AftertuneError as error:
        message = str(error)
        assert name or file.name in message, f"the message does not name the file: {message}"
        assert len(message) < 2000
        message.encode()
        return message
    return ""


def listed(path: Path) -> object:
    return plugins.load("benchmark", "prompt_list", {"list": str(path), "path": str(path.parent)}).prompts(
        BenchmarkContext()
    )


def asked(path: Path) -> object:
    toml = path.with_name("list.toml")
    toml.write_bytes(LIST)
    return listed(toml)


def chats(path: Path) -> object:
    corpus = plugins.load("corpus", "chat_file", {"path": str(path)})
    return list(corpus.stream())


READERS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "chats": ("chats.jsonl", CHATS, chats),
    "chats as JSON": ("chats.json", b'[{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}]', chats),
    "verdicts in CSV": ("v.csv", VERDICTS, lambda p: table_drift.drift_of_table([str(p)], "base", ["tuned"])),
    "verdicts in JSONL": (
        "v.jsonl",
        b'{"checkpoint": "base", "prompt": "p1", "metric": "m", "value": 1, "worse": "down"}\n'
        b'{"checkpoint": "tuned", "prompt": "p1", "metric": "m", "value": 0, "worse": "down"}\n',
        lambda p: table_drift.drift_of_table([str(p)], "base", ["tuned"]),
    ),
    "design": ("design.toml", DESIGN, design.read),
    "policy": ("policy.toml", POLICY, policy.load),
    "list of prompts": ("prompts.csv", PROMPTS, asked),
    "checkpoints": ("ck.csv", CHECKPOINTS, checkpoints.read),
    "checkpoints in JSONL": ("ck.jsonl", b'{"path": "a", "seed": 1}\n{"path": "b", "arm": "x"}\n', checkpoints.read),
    "labels": ("labels.csv", LABELS, lambda p: rows.read(p, ("prompt_id", "axis", "label"))),
    "text to scan": ("t.jsonl", SCANNED, lambda p: list(scan.scan(p))),
}


@pytest.mark.parametrize("kind", READERS)
@FUZZ
@given(seed=st.integers(0, 2**32))
def test_a_bent_file_is_read_or_refused_by_name(kind: str, seed: int, tmp_path: Path) -> None:
    name, valid, read = READERS[kind]
    file = tmp_path / name
    file.write_bytes(bent(valid, seed))
    reads(file, read)


@pytest.mark.parametrize("kind", READERS)
def test_the_valid_file_is_read(kind: str, tmp_path: Path) -> None:
    name, valid, read = READERS[kind]
    file = tmp_path / name
    file.write_bytes(valid)
    assert reads(file, read) == ""


@pytest.mark.parametrize("kind", READERS)
@FUZZ
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(kind: str, data: bytes, tmp_path: Path) -> None:
    name, _, read = READERS[kind]
    file = tmp_path / name
    file.write_bytes(data)
    reads(file, read)


JSON = st.recursive(
    st.sampled_from(NASTY) | st.text(max_size=5) | st.floats() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "role",
                    "content",
                    "from",
                    "value",
                    "conversations",
                    "text",
                    "spans",
                    "id",
                    "prompt",
                    "metric",
                    "checkpoint",
                    "path",
                    "response",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("kind", ["chats", "verdicts in JSONL", "checkpoints in JSONL", "text to scan"])
@FUZZ
@given(value=JSON)
def test_a_bent_row_is_named_with_its_line(kind: str, value: object, tmp_path: Path) -> None:
    name, valid, read = READERS[kind]
    file = tmp_path / name
    first = valid.split(b"\n")[0]
    file.write_bytes(first + b"\n" + json.dumps(value).encode() + b"\n")
    message = reads(file, read)
    if message and not isinstance(value, dict):
        assert f"{name}:2" in message, message


@FUZZ
@given(seed=st.integers(0, 2**32))
def test_a_bent_parquet_file_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(seed)
    columns = {
        name: [rng.choice([*NASTY[:5], "a", "b", 1.5, 0]) for _ in range(3)]
        for name in ("checkpoint", "prompt", "metric", "value", "worse", "path", "prompt_id", "axis", "label")
    }
    file = tmp_path / "v.parquet"
    kinds = [pa.string(), pa.int64(), pa.float64(), pa.list_(pa.string()), pa.binary(), pa.bool_()]
    arrays = {}
    for name, values in columns.items():
        kind = rng.choice(kinds)
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays[name] = pa.array([str(value) for value in values])
    pq.write_table(pa.table(arrays), file)
    data = file.read_bytes()
    if rng.random() < 0.6:
        file.write_bytes(bent(data, seed))
    for kind_ in ("verdicts in CSV", "labels", "checkpoints"):
        reads(file, READERS[kind_][2])


def adapter(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "b",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_%s.weight"
    header = json.dumps(
        {
            key % "A": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]},
            key % "B": {"dtype": "F32", "shape": [4, 2], "data_offsets": [32, 64]},
        }
    ).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))


@FUZZ
@given(seed=st.integers(0, 2**32), which=st.sampled_from(["adapter_config.json", "adapter_model.safetensors"]))
def test_a_bent_adapter_is_refused_by_name(seed: int, which: str, tmp_path: Path) -> None:
    folder = tmp_path / "ad"
    adapter(folder)
    (folder / which).write_bytes(bent((folder / which).read_bytes(), seed))
    reads(folder, models.resolve)


def test_the_valid_adapter_is_resolved(tmp_path: Path) -> None:
    adapter(tmp_path / "ad")
    assert models.resolve(tmp_path / "ad").kind == "adapter"


@FUZZ
@given(seed=st.integers(0, 2**32))
def test_a_bent_registry_is_refused_by_name(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "registry.jsonl"
    registry_file.save(
        Registry.of("source", [Person("p1", {"PERSON": "Anna Kowalska", "PHONE": "+48 482 107 555"})]), file
    )
    file.write_bytes(bent(file.read_bytes(), seed))
    reads(file, registry_file.load)
    reads(file, canaries.read)


@FUZZ
@given(seed=st.integers(0, 2**32))
def test_a_bent_prompt_list_description_is_refused(seed: int, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_bytes(PROMPTS)
    file = tmp_path / "list.toml"
    file.write_bytes(bent(LIST, seed))
    # A description that is whole may name files and columns of the data that are not there: then these are named.
    reads(file, listed, name="either")
