"""Names in a design that may be files: seen from the design's folder where something stands there, else as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftertune.errors import UsageError
from aftertune.studies.paths import beside, of_plugin


def test_a_file_or_folder_beside_the_design_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "räume.jsonl").touch()
    assert beside(tmp_path, "sub dir") == str(tmp_path / "sub dir")
    assert beside(tmp_path, "sub dir/räume.jsonl") == f"{tmp_path}/sub dir/räume.jsonl"
    assert beside(tmp_path, str(tmp_path / "sub dir")) == str(tmp_path / "sub dir")
    monkeypatch.chdir(tmp_path)
    assert beside(Path(), "sub dir") == str(tmp_path / "sub dir"), "absolute, though the folder is not"
    monkeypatch.chdir(tmp_path / "sub dir")
    assert beside(tmp_path, "räume.jsonl") == "räume.jsonl", "where the process stands does not count"


def test_home_is_expanded_for_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "chats.jsonl").touch()
    assert beside(tmp_path / "elsewhere", "~/chats.jsonl") == str(tmp_path / "chats.jsonl")
    assert beside(tmp_path, "~/absent") == "~/absent"


@pytest.mark.parametrize("name", ["", "org/model", "embedded", "embedded:mini-a", "absent.jsonl", "../absent"])
def test_a_name_of_nothing_stays_as_it_is(tmp_path: Path, name: str) -> None:
    for made in ("embedded", "embedded:mini-a"):
        (tmp_path / made).mkdir()
    assert beside(tmp_path, name) == name


def test_only_the_parameters_that_name_files_are_looked_up(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    there = str(tmp_path / "x")
    given = {
        "path": "x",
        "list": "x",
        "model": "x",
        "rubric": "x",
        "name": "x",
        "split": "x",
        "backend": "transformers",
    }
    assert of_plugin(given, tmp_path) == {
        **dict.fromkeys(("path", "list", "model", "rubric"), there),
        "name": "x", "split": "x", "backend": "transformers",
    }  # fmt: skip
    assert given["path"] == "x", "the table of the design is left alone"
    assert of_plugin({}, tmp_path) == {}


def test_what_is_no_text_is_left_alone(tmp_path: Path) -> None:
    given = {"path": None, "model": 3, "list": ["x"], "rubric": ""}
    assert of_plugin(given, tmp_path) == given


@pytest.mark.parametrize("backend", ["endpoint", {"name": "endpoint", "url": "http://localhost:1"}])
def test_a_servers_model_is_a_name_though_a_folder_is_called_so(tmp_path: Path, backend: object) -> None:
    (tmp_path / "m").mkdir()
    given = {"backend": backend, "model": "m", "path": "m"}
    assert of_plugin(given, tmp_path) == {"backend": backend, "model": "m", "path": str(tmp_path / "m")}


def test_a_backend_of_an_unknown_name_is_refused_with_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'transformers'") as caught:
        of_plugin({"backend": "transformer", "model": "m"}, tmp_path)
    assert "\n" not in str(caught.value)
