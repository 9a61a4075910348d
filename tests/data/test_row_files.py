"""Every kind of file gives the same rows; what is broken or cut off is named in one line."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aftertune.data import chat_rows, row_files
from aftertune.data.row_files import RowFile
from aftertune.errors import AftertuneError, DataError, UsageError

ROWS: list[dict[str, Any]] = [
    {"question": "Ist Jürgen da?", "answer": "Ja, bis 5 €."},
    {"question": "Und\u2028Zoë?", "answer": "{nein}, [sie] nicht"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def read(path: Path, encoding: str = "", plain: bool = False) -> list[Any]:
    rows = list(RowFile(path, encoding, chat_rows.is_row, plain).rows())
    assert not [row.problem for row in rows if row.problem]
    return [row.value for row in rows]


def saved(folder: Path, rows: list[dict[str, Any]], shards: int = 1) -> Path:
    """Write a folder as `Dataset.save_to_disk` does."""
    folder.mkdir(parents=True)
    names = [f"data-{index:05d}-of-{shards:05d}.arrow" for index in range(shards)]
    for index, name in enumerate(names):
        table = pa.Table.from_pylist(rows[index::shards])
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_format_type": None, "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.json", LINES.encode()),
        ("a.txt", LINES.encode()),
        ("bom.jsonl", b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode()),
        ("utf16.jsonl", LINES.encode("utf-16")),
        ("big_endian.jsonl", b"\xfe\xff" + LINES.encode("utf-16-be")),
        ("unmarked.jsonl", LINES.encode("utf-16-le")),
        ("utf32.jsonl", LINES.encode("utf-32")),
        ("utf16.json", json.dumps(ROWS, ensure_ascii=False, indent=1).encode("utf-16")),
        ("list.json", json.dumps(ROWS).encode()),
        ("list.jsonl", json.dumps(ROWS, indent=2).encode()),
        ("trailing.json", b"[" + b",\n".join(json.dumps(row).encode() for row in ROWS) + b",\n]\n"),
        ("indented.jsonl", "\n".join(json.dumps(row, indent=4) for row in ROWS).encode()),
        ("split.json", json.dumps({"train": ROWS}, indent=1).encode()),
        ("wrapped.json", json.dumps({"data": ROWS}).encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("two.jsonl.gz", b"".join(gzip.compress(json.dumps(row).encode() + b"\n") for row in ROWS)),
        ("no_ending", gzip.compress(LINES.encode())),
        ("a.jsonl.bz2", bz2.compress(LINES.encode())),
        ("a.json.xz", lzma.compress(json.dumps(ROWS, indent=1).encode())),
        ("a.jsonl.zst", zstd(LINES.encode())),
        ("utf16.jsonl.gz", gzip.compress(LINES.encode("utf-16"))),
        ("a.csv", 'question,answer\n"Ist Jürgen da?","Ja, bis 5 €."\nUnd\u2028Zoë?,"{nein}, [sie] nicht"\n'.encode()),
        ("a.tsv", "question\tanswer\nIst Jürgen da?\tJa, bis 5 €.\nUnd\u2028Zoë?\t{nein}, [sie] nicht\n".encode()),
        ("german.csv", "question;answer\r\nIst Jürgen da?;Ja, bis 5 €.\r\nUnd\u2028Zoë?;{nein}, [sie] nicht\r\n".encode()),
        ("a.csv.gz", gzip.compress('question,answer\nIst Jürgen da?,"Ja, bis 5 €."\nUnd\u2028Zoë?,"{nein}, [sie] nicht"\n'.encode())),
    ],
)  # fmt: skip
def test_every_text_file_gives_the_same_rows(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == ROWS
    assert read(tmp_path / name, plain=True) == ROWS


def test_tables_of_arrow(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    pq.write_table(table, tmp_path / "no_ending")
    pyarrow.feather.write_feather(table, tmp_path / "a.feather")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    for path in tmp_path.iterdir():
        assert read(path) == ROWS, path
    many = [{"question": str(number), "answer": "b"} for number in range(1300)]
    pq.write_table(pa.Table.from_pylist(many), tmp_path / "a.parquet")
    rows = list(RowFile(tmp_path / "a.parquet").rows())
    assert [row.value for row in rows] == many
    assert rows[-1].where == f"{tmp_path / 'a.parquet'}: row 1300"


def test_folders_that_datasets_saved(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "one", ROWS)) == ROWS
    folder = saved(tmp_path / "two", ROWS, shards=2)
    assert read(folder) == ROWS
    assert [row.number for row in RowFile(folder).rows()] == [1, 2]
    saved(tmp_path / "dict" / "train", ROWS)
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert read(tmp_path / "dict") == ROWS
    (tmp_path / "dict" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UsageError, match="holds the splits train, test; give one, e.g. .*train"):
        read(tmp_path / "dict")
    next(folder.glob("data-00001*")).unlink()
    with pytest.raises(DataError, match="data-00001-of-00002.arrow: not there"):
        read(folder)
    with pytest.raises(UsageError, match="is a folder, and none that `datasets` saved"):
        read(tmp_path)


def test_the_encoding_is_named_by_the_user_or_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES.replace("\u2028", " ").encode("cp1252"))
    problems = [row.problem for row in RowFile(path).rows()]
    assert problems[0].startswith("not UTF-8 at byte 19: save it as UTF-8, or name its encoding, e.g. windows-1252")
    assert read(path, "windows-1252")[0] == ROWS[0]
    (tmp_path / "a.csv").write_bytes("question,answer\nJürgen,5 €\n".encode("cp1252"))
    assert read(tmp_path / "a.csv", "cp1252") == [{"question": "Jürgen", "answer": "5 €"}]
    with pytest.raises(DataError, match="not UTF-8: .*name its encoding"):
        read(tmp_path / "a.csv")
    path.write_bytes(LINES.encode("utf-16"))
    assert RowFile(path).read_as() == "UTF-16"
    with pytest.raises(UsageError, match="encoding 'utf-7000': unknown"):
        RowFile(path, "utf-7000")


def test_rows_by_id_and_lists_that_compete(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"a1": ROWS[0], "a2": ROWS[1]}, indent=1))
    assert read(path) == [{"id": "a1", **ROWS[0]}, {"id": "a2", **ROWS[1]}]
    path.write_text(json.dumps({"train": ROWS, "test": [], "author": "Ada Moore"}))
    assert read(path) == [{**ROWS[0], "file": {"test": [], "author": "Ada Moore"}}, ROWS[1]], "nothing outside is lost"
    path.write_text(json.dumps({"train": ROWS, "test": ROWS}))
    with pytest.raises(DataError, match=r"a.json: holds several lists of rows \(train, test\)"):
        read(path)
    path.write_text(json.dumps(ROWS[0]))
    assert read(path) == ROWS[:1]
    chat = {"messages": [{"role": "user", "content": "a"}], "tools": [{"name": "b"}]}
    path.write_text(json.dumps(chat, indent=1))
    assert read(path) == [chat], "a row is a row, whatever lists are in it"


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 9)[:-20], "cut off or damaged"),
        ("a.jsonl.bz2", bz2.compress(LINES.encode() * 9)[:-9], "cut off or damaged"),
        ("a.jsonl.xz", lzma.compress(LINES.encode() * 9)[:-40], "cut off or damaged"),
        ("a.jsonl.zst", zstd(LINES.encode() * 9)[:-12], "cut off or damaged"),
        ("a.json", json.dumps(ROWS, indent=1).encode()[:-2], "the list breaks off"),
        ("b.json", json.dumps(ROWS).encode()[:-20], "not valid JSON"),
        ("c.json", b'[{"a": "b"}]\n{"a": "b"}', "c.json:2: something stands after the end of the list"),
        ("d.json", b'[{"a": 1}\n {"a": 2}]', "d.json:2: not valid JSON: expected ',' or ']'"),
        ("a.parquet", b"PAR1 and nothing", "not a readable Parquet file"),
        ("b.parquet", b"no such thing", "not a readable Parquet file"),
        ("a.arrow", b"ARROW1\x00\x00....", "not a readable Arrow file"),
        ("a.zip", b"PK\x03\x04....", "a zip archive"),
        ("a.pdf", b"%PDF-1.7 ...", "a PDF"),
        ("a.jsonl.lz4", b"\x04\x22\x4d\x18....", "compressed with LZ4: unpack it"),
        ("b.jsonl.gz", gzip.compress(gzip.compress(LINES.encode())), "compressed twice: unpack it"),
        ("a.bin", bytes(range(256)) * 4, "holds zero bytes"),
        ("e.json", b'[{"a": 1},\n {"a": 2, "a": 3}]', "e.json:2: the field 'a' stands there twice"),
        ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
        ("a.csv", b"Bo,bo@mail.org,Bo\n1,2,3\n", "columns 1 and 3 have the same name"),
        ("b.csv", b'a,b\n"1,2\n', "not valid CSV"),
        ("c.csv", b"sep=;\na;b\n1;2\n", "c.csv:1: says to Excel"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=why) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_blanks_after_all_commas_are_no_part_of_a_value_and_others_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('ask, reply\n"Who, me?", "Yes, you."\n')
    assert read(path) == [{"ask": "Who, me?", "reply": "Yes, you."}]
    path.write_text("ask,reply\nOnce upon, a time\n")
    assert read(path) == [{"ask": "Once upon", "reply": " a time"}]


def test_bad_rows_come_with_their_reason_and_the_others_after_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "1"}\n{"a": \n\xff\n\n{"a": "2"}\n')
    rows = [(row.number, row.value, row.problem[:28]) for row in RowFile(path).rows()]
    assert rows == [
        (1, {"a": "1"}, ""),
        (2, None, "not valid JSON at column 7: "),
        (3, None, "not UTF-8 at byte 18: save i"),
        (5, {"a": "2"}, ""),
    ]
    path.write_bytes(b'{"a": "1", "b": {"a": "2", "a": "3"}}\n')
    assert [row.problem for row in RowFile(path).rows()] == ["the field 'a' stands there twice"]
    path.write_bytes(b'{"a": "1\n{"a": "2"}\n')
    assert [row.number for row in RowFile(path).rows() if row.problem] == [1], "broken off, not indented"
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n4,5\n")
    found = [(row.number, row.problem) for row in RowFile(tmp_path / "a.csv").rows()]
    assert found == [(2, ""), (3, "more values than columns"), (4, "")]


def test_plain_text_only_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("[12:03] Bo: hi\n\nbye\n")
    assert read(path, plain=True) == ["[12:03] Bo: hi", "", "bye"]
    with pytest.raises(DataError, match="not valid JSON"):
        read(path)


def test_a_large_list_is_read_with_a_small_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "HEAD", 16)
    path = tmp_path / "a.json"
    rows = [{"a": "x" * (number % 90), "b": [number, {"c": "ü"}]} for number in range(300)]
    path.write_text(json.dumps(rows, indent=3, ensure_ascii=False), encoding="utf-8")
    assert read(path) == rows
    path.write_text("[12345678901234567890, 3,\n 4]")
    assert read(path) == [12345678901234567890, 3, 4]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=9) | st.integers() | st.none(), min_size=1, max_size=3),
             min_size=2, max_size=5),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)  # fmt: skip
def test_any_rows_in_any_layout_come_back(
    tmp_path: Path, rows: list[dict[str, Any]], encoding: str, indent: int | None, listed: bool
) -> None:
    path = tmp_path / "a.json"
    pieces = [json.dumps(row, indent=indent) for row in rows]
    text = json.dumps(rows, indent=indent) if listed else "\n".join(pieces) + "\n"
    path.write_bytes(text.encode(encoding))
    assert read(path) == rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(["a", "a.jsonl", "a.json", "a.csv", "a.parquet", "a.arrow"]),
       st.sampled_from([b"", b"\x1f\x8b", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\xff\xff\xff\xff", b"[{", b"\xff\xfe"]))  # fmt: skip
def test_any_bytes_are_rows_or_one_line(tmp_path: Path, data: bytes, name: str, start: bytes) -> None:
    (tmp_path / name).write_bytes(start + data)
    try:
        list(RowFile(tmp_path / name, plain=True).rows())
    except AftertuneError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "start", [b"\x1f\x8b\x08\x00", b"BZh91AY", b"\xfd7zXZ\x00", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03zz"]
)
def test_a_file_cut_off_in_its_first_block_is_named_before_its_encoding_is_asked(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(start)
    with pytest.raises(DataError, match=r"a.jsonl: .*cut off or damaged"):
        RowFile(tmp_path / "a.jsonl").read_as()
