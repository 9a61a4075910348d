"""Files that a user names: where they go, what is refused before any work, and what no writing may replace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aftertune import files
from aftertune.data import table_files
from aftertune.errors import StoreError, UsageError


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for target in ("docs/new.md", "docs/there.md"):
        link = tmp_path / f"{Path(target).stem}-link.md"
        link.symlink_to(target)
        files.write(files.output(link), b"card")
        assert link.is_symlink()
        assert (tmp_path / target).read_bytes() == b"card"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "no name of a file to write"),
        ("folder", "a folder, where a file is to be written"),
        ("pipe", "a device or pipe, where a file is to be written"),
        ("to-pipe", "a device or pipe, where a file is to be written"),
        ("circle", "cannot write: .*; give another path"),
        ("absent/x", "no folder .*absent to write it in: make it, or give another path"),
        ("file/x", "no folder .*file to write it in"),
        ("n" * 300, "cannot write: File name too long"),
    ],
)
def test_what_no_file_can_be_is_refused_before_any_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UsageError, match=message):
        files.output(tmp_path / name if name else Path())


def test_an_input_is_no_output_by_whatever_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("mine")
    (tmp_path / "hard.csv").hardlink_to(path)
    (tmp_path / "soft.csv").symlink_to("a.csv")
    for other in (path, tmp_path / "hard.csv", tmp_path / "soft.csv", tmp_path / ".." / tmp_path.name / "a.csv"):
        with pytest.raises(UsageError, match="this file is what is read, and would be lost"):
            files.output(other, inputs=[tmp_path / "absent", path])
    assert files.output(tmp_path / "b.csv", endings=[".csv"], inputs=[path]).name == "b.csv"
    with pytest.raises(UsageError, match=r"unknown ending '.txt'; give one of \.csv"):
        files.output(tmp_path / "b.txt", endings=[".csv"])


def test_no_writing_replaces_a_pipe_or_device(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(StoreError, match="a device or pipe, not a file; give another path"):
        files.write(pipe, b"x")
    (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(StoreError, match="a device or pipe"):
        files.write(tmp_path / "link", b"x")
    assert pipe.is_fifo()
    assert not list(tmp_path.glob("*.part"))


def test_what_is_there_where_a_file_is_wanted_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "design.toml").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "gone.csv").symlink_to("nowhere")
    for name, said in {
        "run": "a run folder, where a file is wanted",
        ".": "a folder, where a file is wanted",
        "pipe.csv": "a device or pipe, where a file is wanted: save what comes from it as a file",
        "gone.csv": "a link to nothing",
        "absent.csv": "no such file",
    }.items():
        with pytest.raises(UsageError, match=said):
            table_files.read(tmp_path / name, ())


@pytest.mark.parametrize("text", ["name,grade\nmine,1\n", "prompt,response\na,b\n", '{"a": 1}', "\x00"])
def test_a_table_of_something_else_is_not_written_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match="is there already and is no table with the columns judge, axis; give another"):
        table_files.replaceable(path, ("judge", "axis"))
    path.write_text("judge,axis,more\na,b,c\n")
    table_files.replaceable(path, ("judge", "axis"))
    path.write_text("")
    table_files.replaceable(path, ("judge", "axis"))
    table_files.replaceable(tmp_path / "absent.csv", ("judge", "axis"))
