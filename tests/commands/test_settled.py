"""How a backend answers is chosen once per study, by size and memory, and stays so however the run is continued."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from aftertune.studies.pinned import pinned
from tests import tiny_models

from aftertune.asking.backends import transformers
from aftertune.asking.backends._loading import memory
from aftertune.commands import audit as auditing
from aftertune.commands import study as running
from aftertune.errors import StoreError, UsageError
from aftertune.models.identity import resolve
from aftertune.plugins import PluginSpec
from aftertune.run.run_folder import Run
from aftertune.studies import plan
from aftertune.studies.design import Design, Given

FEW = PluginSpec("miniature", {"harmful": 3, "harmless": 2, "open": 2, "privacy": 2, "support": 1})


@pytest.fixture
def design(tmp_path: Path) -> Design:
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.2)
    made = auditing.audit_design(str(base), [Given(str(adapter))])
    return dataclasses.replace(made, benchmarks=(FEW,), judges=(PluginSpec("refusal"),))


def test_two_copies_must_fit(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * resolve(design.bases[0]).parameters
    for have, chosen in ((int(2 * size / transformers.ROOM) + 1, {}), (2 * size, {"adapters": "unmerged"})):
        monkeypatch.setattr(transformers, "memory", lambda _, have=have: have)
        assert dict(pinned(design).backend.parameters) == chosen
        assert transformers.Transformers(adapters="unmerged").choose(design.bases) == {}
        assert transformers.Transformers(dtype="bfloat16").choose(design.bases) == {}


def test_a_run_is_continued_as_it_began(design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "memory", lambda _: 1)
    root = tmp_path / "run"
    running.run(design, root, executor=PluginSpec("local", {"workers": 1}))
    kept = Run.open(root).design()
    assert kept.backend.parameters["adapters"] == "unmerged"
    asked = {cell.id for cell in plan.make(kept).cells if cell.kind == "responses"}
    assert asked != {cell.id for cell in plan.make(design).cells if cell.kind == "responses"}, "it is part of the ids"
    for cell in asked:
        proof = Run.open(root).cell("responses", cell).info()["proof"]
        assert proof["checkpoint"] == design.bases[0] or "unmerged" in proof["how"]
    monkeypatch.setattr(transformers, "memory", lambda _: 10**15)
    running.run(design, root, executor=PluginSpec("local", {"workers": 1}))
    assert Run.open(root).design() == kept
    other = dataclasses.replace(design, backend=PluginSpec("transformers", {"dtype": "bfloat16"}))
    with pytest.raises((UsageError, StoreError)):
        running.run(other, root, executor=PluginSpec("local", {"workers": 1}))


def test_the_memory_of_this_machine_is_known() -> None:
    assert 10**8 < memory("cpu") < 10**15
