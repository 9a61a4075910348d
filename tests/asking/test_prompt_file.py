"""What every benchmark that is a file of prompts gets from its base class, tried on one of a few declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.prompt_file import PromptFile, Row
from aftertune.asking.request_metrics import harmful
from aftertune.data import datasets, table_files
from aftertune.data.datasets import Dataset, RemoteFile
from aftertune.errors import DataError, UsageError
from aftertune.files import checksum
from aftertune.plugins import Card
from aftertune.records import Metric, Prompt


@dataclass(frozen=True)
class Small(PromptFile):
    """Two files, of which the second may be missing."""

    which: str = "all"
    """Which files are read."""
    name: ClassVar[str] = "small"
    card: ClassVar[Card] = Card("Small.", "here", "MIT")
    datasets: ClassVar[Mapping[str, Dataset]] = {
        "": Dataset("page", "MIT", (RemoteFile("a.csv", "https://x.invalid/a"), RemoteFile("b.csv", "https://x/b")))
    }
    columns: ClassVar[tuple[str, ...]] = ("id", "text")
    metrics: ClassVar[tuple[Metric, ...]] = harmful(name, "harmful")

    def reads(self, file: str) -> bool:
        return self.which in ("all", file)

    def required(self) -> Sequence[str]:
        return ("a.csv",) if self.reads("a.csv") else ()

    def prompts_of(self, row: Row) -> Iterator[Prompt]:
        yield self.ask(
            row.text("id"), row.values.get("subset") or "harmful", "c", f"k{row.index // 3}", row.text("text")
        )


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return str(folder)


def ids(benchmark: Small) -> list[str]:
    return [prompt.id for prompt in benchmark.prompts(BenchmarkContext())]


def test_files_are_read_in_the_order_of_the_data_set(tmp_path: Path) -> None:
    path = write(tmp_path, b="id,text\n3,three\n", a="id,text\n1,one\n2,two\n", c="id,text\n4,four\n")
    assert ids(Small(path)) == ["1", "2", "3"]
    assert ids(Small(path, which="b.csv")) == ["3"]
    assert ids(Small(f"{path}/c.csv", which="b.csv")) == ["4"], "a single file is read as it is"
    (tmp_path / "a.csv").unlink()
    with pytest.raises(DataError, match=r"there is no a\.csv, which small needs"):
        ids(Small(path))
    (tmp_path / "b.csv").unlink()
    with pytest.raises(DataError, match=r"has none of the files that small reads: b\.csv"):
        ids(Small(path, which="b.csv"))
    with pytest.raises(DataError, match=r"no such file or folder; small reads a\.csv, b\.csv"):
        ids(Small(f"{path}/nowhere"))


def test_without_a_path_only_the_files_that_are_read_must_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path))
    folder = datasets.folder("small", "")
    folder.mkdir(parents=True)
    write(folder, b="id,text\n3,three\n")
    digest = checksum(folder / "b.csv")
    (folder / datasets.RECORD).write_text(f'{{"b.csv": {{"url": "https://x/b", "sha256": "{digest}", "bytes": 1}}}}')
    assert ids(Small(which="b.csv")) == ["3"]
    with pytest.raises(DataError, match=r"small: a\.csv is not here\. Run `aftertune fetch small`"):
        ids(Small())
    (folder / datasets.RECORD).write_text('{"b.csv": {"url": "https://x/b"}}')
    with pytest.raises(DataError, match="fetch small"):
        ids(Small(which="b.csv"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,text\n1,one\n1,two\n", "two rows have the id '1'"),
        ("id,text,subset\n1,one,mild\n", r"no row belongs to the subset 'harmful' \(there: mild\)"),
        ("id,text\n1,\n", r"a\.csv:2: text is empty"),
        ("id,words\n1,one\n", r"a\.csv:2: no column 'text'"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_its_location(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        ids(Small(write(tmp_path, a=text)))
    assert str(tmp_path) in str(caught.value)


def test_a_limit_takes_turns_over_the_clusters(tmp_path: Path) -> None:
    path = write(tmp_path, a="id,text\n" + "".join(f"{i},text\n" for i in range(6)))
    assert ids(Small(path, limit=2)) == ["0", "3"]
    assert ids(Small(path, limit=3)) == ["0", "1", "3"], "in the order of the file"
    for limit in (-1, 1.5, True):
        with pytest.raises(UsageError, match="small: limit = "):
            Small(path, limit=limit)  # type: ignore[arg-type]


def test_a_row_names_field_and_location() -> None:
    row = Row(Path("f.json"), 0, "f.json: item 1", {"text": 3, "level": "high", "seed": {"way": " mail "}, "list": []})
    assert row.section("seed").text("way") == "mail"
    for call, says in (
        (lambda: row.text("text"), "f.json: item 1: text is int, not text"),
        (lambda: row.text("none"), "f.json: item 1: none is empty"),
        (lambda: row.choice("level", ("low", "mid")), "f.json: item 1: level is 'high', not one of low, mid"),
        (lambda: row.section("list"), "f.json: item 1: list is list, not an object"),
        (lambda: row.section("seed").text("who"), "f.json: item 1: seed: who is empty"),
    ):
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value) == says


def test_rows_of_a_list_are_items_and_other_rows_lines() -> None:
    assert table_files.location(Path("a.json"), 3) == "a.json: item 3"
    assert table_files.location(Path("a.jsonl"), 3) == "a.jsonl:3"
