"""How a backend answers is chosen once per study, by size and memory, and stays so however the run is continued."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests import tiny_models

from aftertune.asking.ask_job import AskJob
from aftertune.asking.backends import transformers
from aftertune.commands import audit as auditing
from aftertune.commands import study as running
from aftertune.errors import StoreError, UsageError
from aftertune.models import identity
from aftertune.models.loading import memory
from aftertune.plugins import PluginSpec
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Design, Given
from aftertune.studies.resolve import resolve

FEW = PluginSpec("miniature", {"harmful": 3, "harmless": 2, "open": 2, "privacy": 2, "support": 1})


@pytest.fixture
def design(tmp_path: Path) -> Design:
    base = tiny_models.save("llama", tmp_path / "base")
    adapter = tiny_models.save_adapter(base, tmp_path / "adapter", scale=0.2)
    made = auditing.audit_design(str(base), [Given(str(adapter))])
    return dataclasses.replace(made, benchmarks=(FEW,), judges=(PluginSpec("refusal"),))


def test_two_copies_must_fit(design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 4 * identity.resolve(design.bases[0]).parameters
    for have, chosen in ((int(2 * size / transformers.ROOM) + 1, {}), (2 * size, {"adapters": "unmerged"})):
        monkeypatch.setattr(transformers, "memory", lambda _, have=have: have)
        assert dict(resolve(design).design.backend.parameters) == chosen
        assert transformers.Transformers(adapters="unmerged").choose(design.bases) == {}
        assert transformers.Transformers(dtype="bfloat16").choose(design.bases) == {}


def test_a_run_is_continued_as_it_began(design: Design, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "memory", lambda _: 1)
    root = tmp_path / "run"
    running.run(design, root, executor=PluginSpec("local", {"workers": 1}))
    study = stored.read(Run.open(root))
    assert study.design.backend.parameters["adapters"] == "unmerged"
    jobs = study.of(AskJob)
    monkeypatch.setattr(transformers, "memory", lambda _: 10**15)
    merged = {job.id for job in resolve(design).of(AskJob)}
    assert merged.isdisjoint(job.id for job in jobs), "it is part of the ids"
    for job in jobs:
        proof = Run.open(root).job(job).info()["proof"]
        assert proof["checkpoint"] == design.bases[0] or "unmerged" in proof["how"]
    running.run(design, root, executor=PluginSpec("local", {"workers": 1}))
    assert stored.read_design(Run.open(root)) == study.design
    other = dataclasses.replace(design, backend=PluginSpec("transformers", {"dtype": "bfloat16"}))
    with pytest.raises((UsageError, StoreError)):
        running.run(other, root, executor=PluginSpec("local", {"workers": 1}))


def test_the_memory_of_this_machine_is_known() -> None:
    assert 10**8 < memory("cpu") < 10**15
