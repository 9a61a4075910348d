"""A rebuild against the base that ships."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from tools.shipped_models.__main__ import app
from typer.testing import CliRunner

from aftertune import shipped_models
from aftertune.shipped_models.card import ModelCard, show
from tools.shipped_models import build


def _measured(monkeypatch: pytest.MonkeyPatch, card: ModelCard) -> None:
    monkeypatch.setattr(build, "measure", lambda folder: card)


def test_the_shipped_base_is_its_own_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(shipped_models.folder(), tmp_path / "again"))
    shipped = show()
    own = tuple(rate for rate in shipped.results if not rate.name.startswith("tuned_"))
    _measured(monkeypatch, dataclasses.replace(shipped, results=own))
    assert build.compare(shipped.name, folder) == [(rate, rate) for rate in own], "rates after a tuning are left out"
    result = CliRunner().invoke(app, ["compare", shipped.name, str(folder)])
    assert result.exit_code == 0, result.output
    assert "weights: the same bytes; outside the interval: none" in result.output


def test_other_weights_and_a_rate_outside_the_interval_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(shipped_models.folder(), tmp_path / "again"))
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    shipped = show()
    first = dataclasses.replace(shipped.results[0], value=shipped.results[0].low - 0.001)
    _measured(monkeypatch, dataclasses.replace(shipped, results=(first, *shipped.results[1:])))
    result = CliRunner().invoke(app, ["compare", shipped.name, str(folder)])
    assert result.exit_code == 1
    assert f"weights: other bytes; outside the interval: {first.name}" in result.output
