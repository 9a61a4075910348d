"""The job that tunes: the arm's own rows, a checkpoint for each epoch, what the tuning reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests import fakes

from aftertune.models.identity import SMALL
from aftertune.models.loaded import LOADED
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Conversation, Json, Recipe
from aftertune.run.run_folder import Run
from aftertune.tuning import tune
from aftertune.tuning.mitigation import OwnConversations
from aftertune.tuning.mitigations.interpolation import Interpolation
from aftertune.tuning.resolved import ResolvedMitigation
from aftertune.tuning.tune_job import TuneJob


@dataclasses.dataclass(frozen=True)
class Call:
    base: Path
    rows: list[str]
    recipe: Recipe
    seed: int
    out: Path
    mitigation: object
    template_arguments: Mapping[str, Json]


@pytest.fixture(name="calls")
def _calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    calls: list[Call] = []

    def tuned(
        base: Path,
        conversations: Sequence[Conversation],
        recipe: Recipe,
        seed: int,
        out: Path,
        *,
        mitigation: object,
        own: OwnConversations,
        on_step: object,
        template_arguments: Mapping[str, Json],
    ) -> tune.TuneReport:
        ids = [each.id for each in conversations]
        assert own == OwnConversations()
        calls.append(Call(base, ids, recipe, seed, out, mitigation, template_arguments))
        values: dict[str, Any] = {field.name: 1 for field in dataclasses.fields(tune.TuneReport)}
        return tune.TuneReport(**{**values, "checkpoints": (), "precision": "fp32", "device": "cpu", "further": ()})

    monkeypatch.setattr(tune, "tune", tuned)
    return calls


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", "design", {})
    folder = run.folder("variants", "data")
    folder.start()
    fakes.put_rows(folder.path / "keep.jsonl", "k1", "k2")
    fakes.put_rows(folder.path / "hidden.jsonl", "h1")
    folder.finish()
    return run


def job(**changes: Any) -> TuneJob:
    fields: dict[str, Any] = {
        "base": fakes.model(), "arm": Arm("keep"), "recipe": Recipe(), "seed": 3, "variants": "data", "mitigation": None,
    }  # fmt: skip
    return TuneJob.make("keep seed 3", **{**fields, **changes})


def test_an_arm_is_tuned_on_its_own_rows_into_the_jobs_folder(run: Run, calls: list[Call]) -> None:
    output: Any = fakes.do(run, job())
    assert calls == [Call(Path("/models/m"), ["k1", "k2"], Recipe(), 3, run.job(job()).path, None, {})]
    facts = output.info["tuning"]
    assert facts["device"] == "cpu"
    assert not {"checkpoints", "further"} & set(facts)
    fakes.do(run, job(arm=Arm("hidden"), seed=4))
    assert (calls[-1].rows, calls[-1].seed) == (["h1"], 4)


def test_the_chat_template_gets_the_arguments_that_a_prompt_gets(run: Run, calls: list[Call]) -> None:
    quiet = job(template_arguments={"enable_thinking": False})
    fakes.do(run, quiet)
    assert calls[-1].template_arguments == {"enable_thinking": False}
    assert quiet.id != job().id, "other rows, other weights"


def test_a_mitigation_is_handed_on(run: Run, calls: list[Call]) -> None:
    mitigation = Interpolation(shares=(0.5,))
    fakes.do(run, job(mitigation=ResolvedMitigation.of(PluginSpec("interpolation"), mitigation)))
    assert calls[0].mitigation == mitigation


def test_a_large_base_is_let_go_before_it_is_loaded_anew(
    run: Run, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go: list[int] = []
    monkeypatch.setattr(LOADED, "unload", lambda: let_go.append(1))
    fakes.do(run, job(base=fakes.model(parameters=SMALL - 1)))
    assert not let_go
    fakes.do(run, job(base=fakes.model(parameters=SMALL), seed=5))
    assert let_go == [1]


def test_a_checkpoint_lies_in_the_folder_of_its_job(tmp_path: Path) -> None:
    made = job()
    assert made.path(2) == f"checkpoints/{made.id}/epoch-2"
    assert made.path(2, "half") == f"checkpoints/{made.id}/epoch-2+half"


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 4},
        {"arm": Arm("keep", tokens=5)},
        {"recipe": Recipe(dropout=0.1)},
        {"variants": "other"},
        {"base": fakes.model(identity="other")},
        {"mitigation": ResolvedMitigation.of(PluginSpec("interpolation"), Interpolation(shares=(0.25,)))},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_id_holds_what_decides_the_weights(changes: dict[str, Any]) -> None:
    assert job(**changes).id != job().id
    assert job(base=fakes.model(path="/elsewhere")).id == job().id
