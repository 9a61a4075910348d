"""An audit of the shipped model, made once for the tests that read one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.conftest import made_once

import aftertune
from aftertune import shipped_models


@pytest.fixture(scope="session", name="audited_once")
def _audited_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the examples of the documentation make, before they make it."""
    known_bad = shipped_models.known_bad()
    return made_once(
        tmp_path_factory, "documented", lambda root: aftertune.audit("embedded", known_bad, root, workers=1)
    )


@pytest.fixture(name="session")
def _session(audited_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, but for that run: the call that makes it continues it."""
    shutil.copytree(audited_once, tmp_path / "audit")
    monkeypatch.chdir(tmp_path)
    return tmp_path
