"""Lists of checkpoints: what each cell may hold, and where a path leads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftertune.errors import DataError, UsageError
from aftertune.ingest import checkpoints
from aftertune.studies.design import Given


def listed(folder: Path, *found: dict[str, Any]) -> list[Given]:
    path = folder / "l.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return checkpoints.read(path)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (1.5, "1.5"), (True, "True"), (float("inf"), "inf"), (float("nan"), "nan"), ("1_0", "1_0"), ("٣", "٣"),
        ("1.0", "1.0"), ("0x1", "0x1"), ([1], "[1]"), ("9" * 50, "9" * 40), (2**63, str(2**63)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["seed", "epoch"])
def test_a_number_that_is_not_whole_is_refused_never_cut(tmp_path: Path, column: str, cell: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        listed(tmp_path, {"path": "org/a", "seed": 1, "epoch": 1}, {"path": "org/a", column: cell})
    assert str(caught.value) == f"{tmp_path}/l.jsonl:2: {column} = '{said}' is not a whole number"


@pytest.mark.parametrize(
    ("cell", "number"),
    [(0, 0), (3.0, 3), ("7", 7), (" 7 ", 7), ("007", 7), (2**63 - 1, 2**63 - 1), (None, None), ("", None)],
)
def test_a_whole_number_is_read_however_it_is_written(tmp_path: Path, cell: Any, number: int | None) -> None:
    (one,) = listed(tmp_path, {"path": "org/a", "seed": cell, "epoch": cell})
    assert (one.seed, one.epoch) == (number, number)
    assert one.seed is None or type(one.seed) is int


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "a" * 5000, "org/model", "no such folder", "a\0b"])
def test_a_name_that_is_no_path_here_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    assert [one.path for one in listed(tmp_path, {"path": name})] == [name]


def test_a_path_beside_the_list_comes_before_one_beside_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (tmp_path / "m", here / "m", here / "only here", home / "h"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    found = listed(tmp_path, *({"path": name} for name in ("m", "only here", "~/h", str(here / "m"))))
    assert [one.path for one in found] == [str(tmp_path / "m"), "only here", str(home / "h"), str(here / "m")]


def test_what_is_left_out_is_of_the_recipe_given(tmp_path: Path) -> None:
    short, empty = listed(tmp_path, {"path": "a"}, {"path": "b", "arm": None, "recipe": "", "seed": None})
    assert short == Given(path="a", arm="", recipe="given", seed=None, epoch=None)
    assert empty == Given(path="b", arm="", recipe="given", seed=None, epoch=None)
    (full,) = listed(tmp_path, {"path": "a", "arm": "x", "recipe": "dpo", "seed": 0, "epoch": 2})
    assert full == Given(path="a", arm="x", recipe="dpo", seed=0, epoch=2)


def test_order_and_repeated_paths_are_kept(tmp_path: Path) -> None:
    found = listed(tmp_path, *({"path": name, "seed": i} for i, name in enumerate("baa")))
    assert [(one.path, one.seed) for one in found] == [("b", 0), ("a", 1), ("a", 2)]


@pytest.mark.parametrize("cell", [None, ""])
def test_an_empty_path_is_named_by_its_line(tmp_path: Path, cell: Any) -> None:
    with pytest.raises(DataError, match=r"l\.jsonl:2: path is empty$"):
        listed(tmp_path, {"path": "a"}, {"path": cell})


def test_a_missing_list_is_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv: no such file$"):
        checkpoints.read(tmp_path / "none.csv")


@given(st.integers(0, 10**18 - 1), st.sampled_from(["", "+", " ", "0"]))
def test_a_seed_in_words_is_the_seed_itself(seed: int, before: str) -> None:
    assert checkpoints._number(f"{before}{seed}", "l:1", "seed") == seed == checkpoints._number(seed, "l:1", "seed")
