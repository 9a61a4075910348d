"""`aftertune mitigate`: from a finished run to a frontier, and to an adapter that is usable without aftertune."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import small_design

import aftertune
from aftertune.asking.ask_job import AskJob
from aftertune.commands import mitigate as library
from aftertune.commands import study as running
from aftertune.commands.decide import Result
from aftertune.deciding.repair import Frontier, Row
from aftertune.errors import UsageError
from aftertune.models.loading import quiet
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Data, Recipe
from aftertune.run.run_folder import Run
from aftertune.studies import stored
from aftertune.studies.design import Design, Given
from aftertune.tuning.further_job import FurtherJob
from aftertune.tuning.tune_job import TuneJob

pytestmark = pytest.mark.slow

ONE = PluginSpec("local", {"workers": 1})


def design(**changes: Any) -> Design:
    fields: dict[str, Any] = {
        "arms": (Arm("keep"), Arm("hidden", pii="placeholder")),
        "recipe": Recipe(learning_rate=8e-3, epochs=1, batch_size=8),
        "judges": (PluginSpec("world"),),
        "data": Data(held_out=4),
        "seeds": (1, 2),
        "contrasts": (),
    }
    return small_design(**{**fields, **changes})


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return running.run(design(), tmp_path_factory.mktemp("mitigate") / "run", executor=ONE)


@pytest.fixture(name="repair", scope="module")
def _repair(run: Result) -> library.Repair:
    return aftertune.mitigate(run.root, methods=["interpolation", "null_space"], arms=["keep"], executor=ONE)


def test_what_the_run_finished_is_taken_over(run: Result, repair: library.Repair) -> None:
    old, new = Run.open(run.root), Run.open(repair.root)
    before, after = stored.read(old), stored.read(new)
    (_, _), (one, two) = (before.of(TuneJob)[2:], after.of(TuneJob))
    assert {one.id, two.id} == {job.id for job in before.of(TuneJob) if job.arm.name == "keep"}
    for job in (one, two):
        theirs, own = (each.job(job).path / "manifest.json" for each in (old, new))
        assert theirs.read_bytes() == own.read_bytes(), "not tuned again"
    assert len(after.of(FurtherJob)) == 4
    assert repair.root == Path(f"{run.root}-repair")
    assert {job.benchmark.name for job in after.of(AskJob)} == {"miniature", "dressed", "task"}
    assert after.own, "the base gave refusals of its own"
    assert repair.notes == (), "it kept rows for the task's loss"


def test_it_ends_in_a_frontier_with_intervals_for_the_arm(repair: library.Repair) -> None:
    (found,) = repair.frontiers
    assert (found.arm, found.recipe) == ("keep", "lora")
    assert [row.recipe for row in found.rows] == ["lora", "lora+interpolation-0.5", "lora+null_space-0.9"]
    assert list(found.metrics["safety"]) == ["miniature/harmful/refusal=full", "dressed/harmful/refusal=full"]
    assert "task/held_out/loss" in found.metrics["task"]
    half = found.rows[1]
    loss = half.cells["task/held_out/loss"]
    assert loss.to_tuned is not None
    assert loss.to_tuned.low < loss.to_tuned.high
    assert loss.to_tuned.n_seeds == 2
    assert half.seconds is not None
    assert half.seconds > (found.rows[0].seconds or 0), "the training, and what is done after it"
    kept = json.loads((repair.root / "repair.json").read_text())
    assert [row["recipe"] for row in kept["frontiers"][0]["rows"]] == [row.recipe for row in found.rows]
    page = repair.report.read_text()
    assert "| method | refused (miniature) | refused (dressed) | look-alikes refused (miniature) |" in page
    assert "`null_space-0.9`" in page
    assert "](repair.svg)" in page
    assert "null_space" in (repair.root / "repair.svg").read_text()


def test_a_longer_mitigated_training_stands_beside_the_plain_one(run: Result, tmp_path: Path) -> None:
    longer = aftertune.mitigate(
        run.root, tmp_path / "longer", methods=["kl_on_refusals:more_epochs=1"], arms=["keep"], executor=ONE
    )
    (found,) = longer.frontiers
    assert [row.recipe for row in found.rows] == ["lora", "lora+kl_on_refusals-more_epochs-1"]
    assert all(cell.value is not None for name, cell in found.rows[1].cells.items() if name in found.metrics["safety"])
    done = stored.read(Run.open(longer.root))
    epochs = {(subject.recipe, subject.epoch) for subject in done.subjects if not subject.is_base}
    assert epochs == {("lora", 1), ("lora+kl_on_refusals-more_epochs-1", 2)}, "each after its own last epoch"


def test_the_same_call_continues_and_gives_the_same(run: Result, repair: library.Repair) -> None:
    again = aftertune.mitigate(run.root, methods=["interpolation", "null_space"], arms=["keep"], executor=ONE)
    assert again.frontiers == repair.frontiers


def test_the_adapter_that_is_recommended_is_plain_peft_with_a_card(
    run: Result, repair: library.Repair, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    place = Run.open(repair.root)
    study = stored.read(place)
    study = dataclasses.replace(study, jobs=tuple(_with_plugins(study)))
    (found,) = repair.frontiers
    chosen = dataclasses.replace(found, recommended="lora+interpolation-0.5")
    folders = library._hand_out(place, study, chosen, "keep")
    assert [folder.name for folder in folders] == ["keep-seed-1", "keep-seed-2"]
    card = (folders[0] / "README.md").read_text()
    assert card.startswith("---\nbase_model: embedded\nlibrary_name: peft\n---\n")
    assert "arXiv 2109.01903" in card
    assert "| `interpolation-0.5` |" in card
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(study.bases[0].path)
        PeftModel.from_pretrained(model, str(folders[0]))
    assert not [path for folder in folders for path in folder.iterdir() if path.name == "manifest.json"]


def _with_plugins(study: Any) -> Any:
    from aftertune.studies.resolve import resolve

    return resolve(study.design, study.design).jobs


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ({"methods": ["interpolatio"]}, "did you mean 'interpolation'"),
        ({"arms": ["kep"]}, "no arm 'kep' in this run: it has keep, hidden"),
        ({"task_margin": 0.0}, "task_margin = 0.0"),
        ({"methods": ["interpolation:shares=[2]"]}, "shares"),
        ({"own": "miniatur", "arms": ["keep"]}, "did you mean 'miniature'"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_line(wanted: dict[str, Any], line: str, run: Result) -> None:
    with pytest.raises(UsageError, match=line) as error:
        aftertune.mitigate(run.root, run.root.with_name("none"), **wanted)
    assert "\n" not in str(error.value)
    assert not run.root.with_name("none").exists()


def test_what_is_handed_out_is_told_apart() -> None:
    def one(base: str, arm: str, recipe: str) -> Frontier:
        return Frontier(base, arm, recipe, {}, (), (), "", ())

    alone = [one("m", "keep", "lora"), one("m", "hidden", "lora")]
    assert [library._called(each, alone) for each in alone] == ["keep", "hidden"]
    several = [one(base, "keep", recipe) for base in ("a/x", "b/x") for recipe in ("lora", "full")]
    assert [library._called(each, several) for each in several] == [
        "keep-lora-base-1", "keep-full-base-1", "keep-lora-base-2", "keep-full-base-2",
    ]  # fmt: skip


def test_an_arm_of_which_nothing_was_tried_is_not_repaired() -> None:
    rows = (Row("m", "keep", "lora+kl", {}, None, "repairs", ""),)
    one = Frontier("m", "keep", "lora", {}, rows, (), "lora+kl", ())
    assert library._outcome([one], ["keep"]) == "pass"
    assert library._outcome([one], ["keep", "mine"]) == "undecided"
    assert library._outcome([], ["mine"]) == "undecided", "nothing tried is no repair"
    mixed = design(checkpoints=(Given("somewhere", arm="mine"),))
    training, after = [PluginSpec("own_answers")], [PluginSpec("own_answers"), PluginSpec("interpolation")]
    assert library._untried(mixed, after, ["keep", "mine"]) == []
    assert library._untried(mixed, training, ["keep"]) == []
    (left,) = library._untried(mixed, training, ["keep", "mine"])
    assert left.startswith("mine: it has finished checkpoints alone")
    with pytest.raises(UsageError, match="no mitigation can be tried on 'mine'"):
        library._untried(mixed, training, ["mine"])


def test_a_design_that_asks_the_task_gets_its_judge() -> None:
    asked = design(
        benchmarks=(*design().benchmarks, PluginSpec("task")), judges=(PluginSpec("world"), PluginSpec("script"))
    )
    made = library.repair_design(asked, [PluginSpec("interpolation")], ["keep"], None)
    assert [spec.name for spec in made.judges] == ["world", "reference"], "the judge of another axis is left out"
    assert [spec.name for spec in made.benchmarks] == ["miniature", "task", "dressed"]
    assert [bool(arm.mitigations) for arm in made.arms] == [True, False]
    assert [made.recipes_of(arm) for arm in made.arms] == [(made.recipe,), ()], "the other arm is composed, not tuned"


def test_a_run_of_mitigations_is_not_repaired_again(repair: library.Repair) -> None:
    with pytest.raises(UsageError, match="is a run of mitigations itself"):
        aftertune.mitigate(repair.root)


def test_finished_checkpoints_are_tried_with_what_needs_no_training(run: Result, tmp_path: Path) -> None:
    study = stored.read(Run.open(run.root))
    path = next(str(run.root / str(s.path)) for s in study.subjects if s.arm == "keep" and s.train_seed == 1)
    audit = design(arms=(), corpus=None, data=Data(), recipe=Recipe(), checkpoints=(Given(path, arm="mine"),))
    made = running.run(audit, tmp_path / "audit", executor=ONE)
    with pytest.raises(UsageError, match="mitigation 'own_answers': it acts on a training"):
        aftertune.mitigate(made.root, methods=["own_answers"], arms=["mine"])
    with pytest.raises(UsageError, match="mitigation 'regmean': it needs the tuning data"):
        aftertune.mitigate(made.root, methods=["regmean"], arms=["mine"])
    repair = aftertune.mitigate(made.root, arms=["mine"], executor=ONE)
    (found,) = repair.frontiers
    assert [row.recipe for row in found.rows] == ["given", "given+interpolation-0.5", "given+null_space-0.9"]
    assert [line.split(":")[0] for line in repair.left_out] == [
        "kl_on_refusals-with_answers", "kl_on_refusals-in_context-with_answers",
        "kl_on_refusals-first_tokens-5-in_context-more_epochs-1-rows_per_step-2-with_answers",
        "own_refusals-with_answers",
        "own_answers", "regmean",
    ]  # fmt: skip
    assert all(row.verdict != "repairs" for row in found.rows), "the task was not measured"
    assert "the task is not measured" in repair.notes[0]


def test_where_nothing_drifts_there_is_nothing_to_repair(run: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    study = stored.read(Run.open(run.root))
    monkeypatch.setattr("aftertune.run.checksums.check", lambda root, name: None)
    path = run.root / "decisions.json"
    before = path.read_bytes()
    try:
        rows = json.loads(before)
        for each in rows["decisions"]:
            each["outcome"] = "pass"
        path.write_text(json.dumps(rows))
        with pytest.raises(UsageError, match="nothing to repair"):
            library._arms(study, library._lost(Run.open(run.root), study), ())
        for metric, arm in (("harmful/refusal=full", "hidden"), ("privacy/privacy=revealed", "keep")):
            for each in rows["decisions"]:
                lost = each["metric"] == f"miniature/{metric}" and each["arm"] == arm
                each["outcome"] = "drift" if lost else "pass"
            path.write_text(json.dumps(rows))
            lost = library._lost(Run.open(run.root), study)
            assert library._arms(study, lost, ()) == [arm]
            private = arm == "keep"
            tried = {name.split(":")[0] for name in library._usual(lost, [arm])}
            assert ("kl_on_privacy" in tried, "kl_on_refusals" in tried) == (private, not private)
            assert library._arms(study, lost, ["hidden"]) == ["hidden"], "as named"
            named = {name.split(":")[0] for name in library._usual(lost, ["hidden"])}
            assert "kl_on_refusals" in named, "what is named is tried with something"
    finally:
        path.write_bytes(before)
