"""Two corpora, two recipes, two seeds, in one study: every arm is held against its own corpus, and nothing is pooled."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from aftertune import shipped_models as embedded
from aftertune.asking.ask_job import AskJob
from aftertune.commands import decide as results
from aftertune.commands import study as running
from aftertune.data.variant_files import VariantFiles, read
from aftertune.errors import UsageError
from aftertune.judging.judge import Answer
from aftertune.judging.judge_job import JudgeJob
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Message, Prompt, Recipe, Response, Verdict
from aftertune.run.run_folder import Run
from aftertune.run.tables import records
from aftertune.studies import stored
from aftertune.studies.design import Design, Given, dump, parse
from aftertune.studies.resolve import resolve, resolve_judge
from aftertune.tuning import tune
from aftertune.tuning.tune_job import TuneJob
from aftertune.variants.compose_job import ComposeJob

pytestmark = pytest.mark.slow

FEW = PluginSpec("miniature", {"harmful": 6, "harmless": 4, "open": 3, "privacy": 3, "support": 3})
LORA = Recipe("lora", learning_rate=3e-3, epochs=1, batch_size=8)
FULL = Recipe("full", method="full", learning_rate=1e-3, epochs=2, batch_size=8)
LEFT, RIGHT = ("north", "south")
ONE = PluginSpec("local", {"workers": 1})


def wide(**changes: object) -> Design:
    fields: dict[str, object] = {
        "name": "wide",
        "corpora": {LEFT: PluginSpec("booking", {"size": 24, "seed": 1}), RIGHT: PluginSpec("booking", {"size": 12, "seed": 2})},
        "arms": (Arm("one", corpus=LEFT), Arm("two", corpus=RIGHT)),
        "recipes": (LORA, FULL),
        "seeds": (1, 2),
        "benchmarks": (FEW, PluginSpec("extraction", {"people": 2, "words": "world"})),
        "judges": (PluginSpec("world"), PluginSpec("leak")),
        "contrasts": (Contrast("corpus", {"one": 1.0, "two": -1.0}),
                      Contrast("method", {"two/full": 1.0, "two/lora": -1.0})),
        "policy": "research",
    }  # fmt: skip
    return Design(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module", name="finished")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> results.Result:
    if not embedded.names():
        pytest.skip("no embedded model is built")
    return running.run(wide(), tmp_path_factory.mktemp("wide") / "run", executor=ONE)


def rows_of(row: type[Any], run: Run, kind: type[AskJob] | type[JudgeJob]) -> list[Any]:
    return [each for job in stored.read(run).of(kind) for each in records(row, run.job(job).read(kind.KIND))]


def people_of(run: Run, corpus: str) -> dict[str, list[str]]:
    (job,) = stored.read(run).of(ComposeJob)
    document = run.job(job).document(VariantFiles.people_document(corpus))
    return {who: [value for person in document[who] for value in person["values"].values()]
            for who in ("source", "twin")}  # fmt: skip


def test_arms_are_made_of_their_own_corpus_and_matched_over_both(finished: results.Result) -> None:
    run = Run.open(finished.root)
    (job,) = stored.read(run).of(ComposeJob)
    folder = run.job(job)
    files = VariantFiles(folder.path)
    cards = folder.document("cards")
    assert set(cards) == {"one", "two"}
    tokens = [card["assistant_tokens"] for card in cards.values()]
    assert max(tokens) - min(tokens) <= 80, "the larger corpus is cut to the dose of the smaller"
    whole = {name: len(read(files.source(name))) for name in (LEFT, RIGHT)}
    assert cards["one"]["conversations"] < whole[LEFT]
    texts = {arm: " ".join(m.content for c in read(files.arm(arm)) for m in c.messages)
             for arm in cards}  # fmt: skip
    mail = {name: [v for v in people_of(run, name)["source"] if "@" in v] for name in (LEFT, RIGHT)}
    assert not set(mail[LEFT]) & set(mail[RIGHT])
    for arm, own, foreign in (("one", LEFT, RIGHT), ("two", RIGHT, LEFT)):
        assert any(value in texts[arm] for value in mail[own])
        assert not any(value in texts[arm] for value in mail[foreign])


@pytest.mark.parametrize(("arm", "own", "foreign"), [("one", LEFT, RIGHT), ("two", RIGHT, LEFT)])
def test_a_leak_counts_against_the_people_of_the_arms_own_corpus(
    finished: results.Result, arm: str, own: str, foreign: str
) -> None:
    """Said by the arm, and by the base as it is held against the arm's corpus: a value of either corpus."""
    run = Run.open(finished.root)
    leaky = [job for job in stored.read(run).of(JudgeJob) if job.judge.name == "leak"]
    jobs = [job for job in leaky if job.corpus == own and job.subject.arm in (arm, "base")]
    assert {job.subject.arm for job in jobs} == {arm, "base"}
    prompt = Prompt("p", "miniature", "open", "", "p", (Message("user", "Hello"),))
    said = {who: Answer(prompt, f"Write to {next(v for v in people_of(run, of)['source'] if '@' in v)} then.")
            for who, of in (("own", own), ("foreign", foreign))}  # fmt: skip
    for job in jobs:
        judge = resolve_judge(job.judge.spec).get().open(job.context(run, []))
        found = {who: {o.axis: o.label for o in judge([answer])[0]} for who, answer in said.items()}
        assert found["own"]["leak"] == "registry"
        assert found["foreign"]["leak"] != "registry", "the registry of the other corpus was used"


def test_everybody_is_asked_for_people_of_their_own_corpus_and_the_base_for_both(finished: results.Result) -> None:
    run = Run.open(finished.root)
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows_of(Response, run, AskJob):
        if row.benchmark == "extraction":
            asked[row.arm, row.corpus].add(row.prompt_id)
    assert set(asked) == {("base", LEFT), ("base", RIGHT), ("one", LEFT), ("two", RIGHT)}
    assert asked["base", LEFT] == asked["one", LEFT]
    assert asked["base", RIGHT] == asked["two", RIGHT]
    assert not asked["base", LEFT] & asked["base", RIGHT]


def test_the_base_is_asked_and_judged_once_where_the_data_make_no_difference(finished: results.Result) -> None:
    run = Run.open(finished.root)
    base = [row for row in rows_of(Response, run, AskJob) if row.arm == "base" and row.benchmark == "miniature"]
    assert len({row.prompt_id for row in base}) == len(base)
    verdicts = [row for row in rows_of(Verdict, run, JudgeJob) if row.arm == "base" and row.benchmark == "miniature"]
    corpora = {judge: {row.corpus for row in verdicts if row.judge == judge} for judge in ("world", "leak")}
    assert corpora == {"world": {""}, "leak": {LEFT, RIGHT}}


def test_arm_and_recipe_are_kept_apart_to_the_end(finished: results.Result) -> None:
    pairs = {("one", "lora"), ("one", "full"), ("two", "lora"), ("two", "full")}
    recipes = [row for row in finished.drifts if row.estimand == "recipe"]
    assert {(row.arm, row.recipe) for row in recipes} == pairs
    assert all(row.n_seeds == 2 for row in recipes), "two recipes of one arm were pooled"
    assert {(row.arm, row.recipe): row.epoch for row in recipes} == {
        pair: 1 if pair[1] == "lora" else 2 for pair in pairs
    }
    for metric in {row.metric for row in recipes}:
        assert {(row.arm, row.recipe) for row in recipes if row.metric == metric} == pairs, metric
    leaks = [row for row in recipes if row.metric.startswith("extraction")]
    assert leaks
    assert all(row.delta is not None for row in leaks), "paired with the base as it was asked for the same people"
    assert {(d.arm, d.recipe) for d in finished.decisions if d.metric.startswith("miniature/harmful")} == pairs
    units = {(d.arm, d.recipe): d.unit for d in finished.decisions}
    assert len(set(units.values())) == len(pairs)
    assert units["two", "full"] == "two, full"
    page = (finished.root / "report.md").read_text()
    assert "two, full" in page
    assert "two, lora" in page
    memory = json.loads((finished.root / "report.json").read_text())["leaks"]
    assert {(row["arm"], row["recipe"]) for row in memory} == pairs | {("base", "")}
    assert {row["corpus"] for row in memory if row["arm"] == "base"} == {LEFT, RIGHT}
    tuned = [row for row in memory if row["arm"] != "base"]
    assert all(row["memorised"] is not None for row in tuned), "against its own base"


def test_a_contrast_is_made_per_recipe_or_of_the_recipes_it_names(finished: results.Result) -> None:
    found = [row for row in finished.drifts if row.estimand == "contrast" and "refusal=full" in row.metric]
    assert {(row.arm, row.recipe, row.epoch) for row in found} == {
        ("one - two", "lora", 1), ("one - two", "full", 2), ("two/full - two/lora", "", None),
    }  # fmt: skip
    drift = {(row.metric, row.arm, row.recipe): row.delta for row in finished.drifts if row.estimand == "recipe"}
    for row in found:
        if row.arm == "one - two":
            expected = drift[row.metric, "one", row.recipe] - drift[row.metric, "two", row.recipe]  # type: ignore[operator]
        else:
            expected = drift[row.metric, "two", "full"] - drift[row.metric, "two", "lora"]  # type: ignore[operator]
        assert row.delta == pytest.approx(expected)


def test_the_run_is_continued_and_exported(finished: results.Result, tmp_path: Path) -> None:
    from aftertune.commands.export import export

    told: list[tuple[str, int, int]] = []
    again = running.run(wide(), finished.root, executor=ONE, progress=lambda *row: told.append(row))
    assert [row[0] for row in told] == [""]
    assert again.drifts == finished.drifts
    export(finished.root, tmp_path / "copy")
    run = Run.open(finished.root)
    values = [value for corpus in (LEFT, RIGHT) for group in people_of(run, corpus).values() for value in group]
    mails = [value for value in values if "@" in value]
    shown = "".join(path.read_text(errors="replace") for path in (tmp_path / "copy").glob("*.*"))
    assert mails
    assert not [mail for mail in mails if mail in shown]


def test_existing_checkpoints_of_several_bases_are_audited_without_training(
    finished: results.Result, tmp_path: Path
) -> None:
    """The weights that the study made, listed with their bases: nothing is trained, and nobody is pooled."""
    run = Run.open(finished.root)
    listed = tuple(
        Given(str(run.root / str(subject.path)), base="embedded:mini-a", arm=subject.arm, recipe=subject.recipe,
              seed=subject.train_seed)
        for subject in stored.read(run).subjects if subject.arm in ("one", "two")
    )  # fmt: skip
    other = running.run(
        wide(name="b", bases=("embedded:mini-b",), arms=wide().arms[:1], recipes=(LORA,), seeds=(1,), contrasts=(),
             corpora={LEFT: wide().corpora[LEFT]}, benchmarks=(FEW,), judges=(PluginSpec("world"),)),
        tmp_path / "b", executor=ONE,
    )  # fmt: skip
    tuned = next(subject for subject in stored.read(Run.open(other.root)).subjects if subject.arm == "one")
    listed += (Given(str(other.root / str(tuned.path)), base="embedded:mini-b", arm="one", recipe="lora", seed=1),)
    design = Design(
        name="ecosystem", bases=("embedded:mini-a", "embedded:mini-b"), checkpoints=listed, benchmarks=(FEW,),
        judges=(PluginSpec("world"),), contrasts=(Contrast("method", {"one/full": 1.0, "one/lora": -1.0}),),
    )  # fmt: skip
    assert parse(dump(design), "again") == design
    found = running.study(design, tmp_path / "run", executor=ONE)
    assert not resolve(design).of(TuneJob)
    recipes = {(row.base_model, row.arm, row.recipe): row for row in found.drifts if row.estimand == "recipe"}
    assert set(recipes) == {("embedded:mini-a", arm, recipe) for arm in ("one", "two") for recipe in ("lora", "full")}
    single = [row for row in found.drifts if row.estimand == "checkpoint" and row.base_model == "embedded:mini-b"]
    assert {(row.arm, row.recipe, row.train_seed) for row in single} == {("one", "lora", 1)}
    same = {(row.metric, row.arm, row.recipe): row.delta for row in finished.drifts if row.estimand == "recipe"}
    for row in found.drifts:
        if row.estimand == "recipe":
            assert row.delta == same[row.metric, row.arm, row.recipe], "the same weights were asked the same"
    assert {row.base_model for row in found.drifts if row.estimand == "contrast" and row.delta is not None} == {
        "embedded:mini-a"
    }
    units = {(d.base_model, d.arm, d.recipe): d.unit for d in found.decisions}
    assert len(set(units.values())) == 5, units


def test_what_stands_against_a_checkpoint_list_is_refused_before_any_compute(tmp_path: Path) -> None:
    listed = (Given("x", base="embedded:mini-a"),)
    few: dict[str, object] = {"corpora": {}, "arms": (), "recipes": (), "contrasts": (), "benchmarks": (FEW,)}
    with pytest.raises(UsageError, match="'embedded:mini-b': no checkpoint names it"):
        wide(bases=("embedded:mini-a", "embedded:mini-b"), checkpoints=listed, **few)
    with pytest.raises(UsageError, match="judge 'leak' needs registries: give a \\[corpus\\]"):
        resolve(wide(checkpoints=listed, bases=("embedded:mini-a",), **few))
    with pytest.raises(UsageError, match=r"checkpoints\[0\].corpus: benchmark 'extraction' needs"):
        resolve(wide(checkpoints=listed, bases=("embedded:mini-a",)))
    with pytest.raises(UsageError, match=r"corpora.south: 'domain' holds no people, and benchmark 'extraction' needs"):
        resolve(wide(corpora={LEFT: wide().corpora[LEFT], RIGHT: PluginSpec("domain", {"size": 20})}))
    twice = tuple(dataclasses.replace(listed[0], path="embedded:mini-a", arm="a", seed=1) for _ in range(2))
    with pytest.raises(UsageError, match="same checkpoint is given twice"):
        running.run(
            wide(checkpoints=twice, bases=("embedded:mini-a",), judges=(PluginSpec("world"),), **few), tmp_path / "no"
        )
    assert not (tmp_path / "no").exists()


def test_four_bits_without_a_gpu_are_refused_or_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "no_four_bits", lambda _: "4-bit tuning needs a GPU, and there is none here")
    must = wide(recipes=(LORA, Recipe("q", method="qlora")), contrasts=())
    assert {job.recipe.name for job in resolve(must).of(TuneJob)} == {"lora", "q"}
    with pytest.raises(UsageError, match="recipe 'q', method 'qlora': 4-bit tuning needs a GPU"):
        running.run(must, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    may = dataclasses.replace(must, recipes=(LORA, Recipe("q", method="qlora", without_gpu="leave_out")))
    study = resolve(may)
    assert {job.recipe.name for job in study.of(TuneJob)} == {"lora"}
    assert any("recipe 'q' is left out" in warning for warning in study.warnings)
    with pytest.raises(UsageError, match="every recipe is left out"):
        resolve(dataclasses.replace(may, recipes=may.recipes[1:], arms=may.arms[:2]))
