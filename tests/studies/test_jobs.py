"""The jobs of a study: their ids hold what decides what comes out, and nothing else; they wait for what they read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import fakes
from tests.fakes import Listed, Rows, Scripted, Wordy

from aftertune.asking.ask_job import AskJob
from aftertune.asking.base_score_job import BaseScoreJob
from aftertune.asking.prompts_job import PromptsJob
from aftertune.asking.score_job import ScoreJob
from aftertune.errors import UsageError
from aftertune.judging.judge_job import JudgeJob
from aftertune.models.subject import ModelRecord
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Contrast, Data, Recipe, Respond
from aftertune.run.job import Job
from aftertune.studies.cost import Cost
from aftertune.studies.design import Design, Given
from aftertune.studies.jobs import Jobs, arm_name
from aftertune.tuning.resolved import label
from aftertune.tuning.tune_job import TuneJob
from aftertune.variants.compose_job import ComposeJob

ROWS = PluginSpec("rows")
DATA_NEEDS = frozenset({"training"})


@dataclasses.dataclass(frozen=True)
class Resolved:
    """What `resolve` would hand over, before the jobs are made."""

    design: Design
    models: tuple[ModelRecord, ...]
    adapter: ModelRecord
    backend: Scripted
    corpora: tuple[Rows, ...] = (Rows(),)
    benchmarks: tuple[Listed, ...] = (Listed(), Listed("about", needs=DATA_NEEDS))
    judges: tuple[Wordy, ...] = (Wordy(), Wordy("reader", needs=frozenset({"corpus"})))

    def jobs(self) -> list[Job]:
        jobs = Jobs(
            self.design,
            tuple(fakes.corpus(name, plugin) for name, plugin in zip(self.design.sources, self.corpora, strict=True)),
            None,
            tuple(map(fakes.benchmark, self.benchmarks)),
            tuple(map(fakes.judge, self.judges)),
            fakes.backend(self.backend),
            self.design.recipes or (self.design.recipe,),
            {},
        )
        jobs.add(
            {
                model: [(each, self.adapter) for each in self.design.checkpoints if each.base in ("", model.name)]
                for model in self.models
            }
        )
        return jobs.made


def design(**changes: Any) -> Design:
    fields: dict[str, Any] = {
        "name": "d", "bases": ("m",), "corpus": ROWS, "arms": (Arm("keep"), Arm("own", answers="self_generated")),
        "recipe": Recipe(epochs=2), "seeds": (1, 2), "benchmarks": (ROWS,), "judges": (ROWS,),
        "data": Data(canaries=1, held_out=2), "checkpoints": (Given("adapter", arm="mine", seed=1),),
    }  # fmt: skip
    return Design(**{**fields, **changes})


def of(jobs: list[Job], kind: type[Job] | None, about: str = "") -> set[str]:
    """The ids of a kind, of those whose label holds some words."""
    return {job.id for job in jobs if (kind is None or isinstance(job, kind)) and set(about.split()) <= words(job)}


def words(job: Job) -> set[str]:
    """The words of a label, its commas left out."""
    return {word.strip(",") for word in job.label.split()}


ALL = (ComposeJob, TuneJob, PromptsJob, AskJob, BaseScoreJob, ScoreJob, JudgeJob)
ADAPTER = fakes.model("adapter", kind="adapter")
HERE = Resolved(design(), (fakes.model(),), ADAPTER, Scripted())


def changed(**changes: Any) -> Resolved:
    return dataclasses.replace(HERE, design=design(**changes))


def arms(**changes: Any) -> Resolved:
    return changed(arms=(Arm("keep", **changes), Arm("own", answers="self_generated")))


def benchmark(**changes: Any) -> Resolved:
    return dataclasses.replace(HERE, benchmarks=(Listed(**changes), HERE.benchmarks[1]))


def judge(**changes: Any) -> Resolved:
    return dataclasses.replace(HERE, judges=(Wordy(**changes), HERE.judges[1]))


DOWNSTREAM = {"tune", "prompts of about", "ask keep", "judge keep"}
"""What the tuning data decide, besides the data themselves."""
TUNED = {"tune keep", "ask keep", "score keep seed", "judge keep"}
ASKED = {"ask keep", "ask base", "ask mine", "judge keep", "judge base", "judge mine"}


@pytest.mark.parametrize(
    ("name", "other", "moves", "stays"),
    [
        ("arm's policy", arms(pii="placeholder"), {"compose", *DOWNSTREAM}, {"prompts of listed", "ask base listed"}),
        ("arm's tokens", arms(tokens=9), {"compose", *DOWNSTREAM}, {"prompts of listed", "ask base listed"}),
        ("arm's role swap", arms(role_swap=True), {"compose", *DOWNSTREAM}, {"prompts of listed"}),
        ("matching", changed(match_tokens=False), {"compose", *DOWNSTREAM}, {"prompts of listed"}),
        ("data seed", changed(data_seed=1), {"compose", "score", *DOWNSTREAM}, {"prompts of listed"}),
        ("canaries", changed(data=Data(canaries=2, held_out=2)), {"compose", *DOWNSTREAM}, {"prompts of listed"}),
        ("held-out rows", changed(data=Data(canaries=1, held_out=3)), {"compose", *DOWNSTREAM}, {"ask base listed"}),
        ("corpus", dataclasses.replace(HERE, corpora=(Rows(5),)), {"compose", *DOWNSTREAM}, {"ask base listed"}),
        ("recipe's rate", changed(recipe=Recipe(epochs=2, learning_rate=2e-3)), TUNED,
         {"compose", "prompts", "ask base", "ask mine", "judge base"}),
        ("recipe's rank", changed(recipe=Recipe(epochs=2, rank=4)), TUNED, {"compose", "ask base", "judge base"}),
        ("recipe's schedule", changed(recipe=Recipe(epochs=2, schedule="cosine")), TUNED, {"compose", "ask mine"}),
        ("scored length", changed(recipe=Recipe(epochs=2, max_length=9)), {*TUNED, "score base"}, {"ask base"}),
        ("benchmark's parameter", benchmark(count=4), {"prompts of listed", "ask keep seed 1 listed", "ask base listed"},
         {"compose", "tune", "score", "prompts of about", "ask keep seed 1 about"}),
        ("benchmark's length", benchmark(max_new_tokens=17), {"ask base listed"}, {"tune", "ask base about"}),
        ("judge's parameter", judge(strict=1), {"judge base wordy", "judge keep seed 1 wordy"},
         {"compose", "tune", "ask", "prompts", "score", "judge keep seed 1 reader"}),
        ("judge's model", judge(own="x"), {"judge base wordy"}, {"ask", "judge base reader"}),
        ("backend's parameter", dataclasses.replace(HERE, backend=Scripted(inexact=True)), {*ASKED, "score", "compose"},
         {"prompts of listed"}),
        ("system prompt", changed(respond=Respond(system="Be kind.")), {*ASKED, "compose"}, {"prompts of listed"}),
        ("template", changed(respond=Respond(template="own")), {*ASKED, "score keep seed"}, {"score base", "compose", "tune", "prompts"}),
        ("temperature", changed(respond=Respond(temperatures=(0.0, 1.0))), ASKED, {"compose", "tune", "score"}),
        ("samples", changed(respond=Respond(samples=2)), ASKED, {"compose", "tune", "score"}),
        ("sampling seed", changed(respond=Respond(seed=1)), ASKED, {"compose", "tune", "score"}),
        ("base", dataclasses.replace(HERE, models=(fakes.model(identity="other"),)),
         {"compose", "tune", "score", *ASKED}, {"prompts of listed"}),
        ("base's tokenizer", dataclasses.replace(HERE, models=(fakes.model(tokenizer_hash="u"),)),
         {"compose", *DOWNSTREAM}, {"prompts of listed", "ask base listed"}),
        ("given adapter", dataclasses.replace(HERE, adapter=fakes.model("adapter", kind="adapter", identity="new")),
         {"ask mine", "judge mine"}, {"compose", "tune", "ask keep", "ask base", "score"}),
    ],
)  # fmt: skip
def test_an_id_holds_what_decides_and_nothing_else(
    name: str, other: Resolved, moves: set[str], stays: set[str]
) -> None:
    old, new = HERE.jobs(), other.jobs()
    for about in moves:
        before, after = (of(jobs, None, about) for jobs in (old, new))
        assert before, about
        assert not before & after, f"{name}: {about}"
    for about in stays:
        before, after = (of(jobs, None, about) for jobs in (old, new))
        assert before, about
        assert before == after, f"{name}: {about}"


def test_a_backend_decides_the_data_only_where_a_base_answers_its_own() -> None:
    plain = changed(arms=(Arm("keep"),))
    other = dataclasses.replace(plain, backend=Scripted(inexact=True))
    assert of(plain.jobs(), ComposeJob) == of(other.jobs(), ComposeJob)
    kind = dataclasses.replace(plain.design, respond=Respond(system="Be kind."))
    assert of(plain.jobs(), ComposeJob) == of(dataclasses.replace(plain, design=kind).jobs(), ComposeJob)


def test_a_training_seed_moves_its_own_jobs_alone() -> None:
    old, new = HERE.jobs(), changed(seeds=(1, 3)).jobs()
    for kind in (TuneJob, AskJob, ScoreJob, JudgeJob):
        assert of(old, kind, "seed 1") == of(new, kind, "seed 1")
        assert not of(old, kind, "keep seed 2") & of(new, kind, "keep seed 3")


@pytest.mark.parametrize("kind", ["corpus", "benchmark", "canaries"])
def test_the_content_of_a_file_decides_and_its_path_does_not(tmp_path: Path, kind: str) -> None:
    def jobs(path: Path) -> list[Job]:
        if kind == "corpus":
            return dataclasses.replace(HERE, corpora=(Rows(file=str(path)),)).jobs()
        if kind == "benchmark":
            return benchmark(file=str(path)).jobs()
        return changed(data=Data(canary_file=str(path))).jobs()

    kinds: dict[str, type[Job]] = {"corpus": ComposeJob, "benchmark": PromptsJob, "canaries": ComposeJob}
    about = kinds[kind]
    file = tmp_path / "rows"
    file.write_text("one")
    before = of(jobs(file), about)
    assert of(jobs(file), about) == before
    file.write_text("two")
    assert of(jobs(file), about) != before


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"cost": Cost(tflops=1.0)},
        {"contrasts": (Contrast("c", {"keep": 1.0, "own": -1.0}),)},
        {"policy": "strict"},
        {"confidence": 0.9},
        {"analysis_seed": 5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_only_decided_or_printed_moves_no_job(changes: dict[str, Any]) -> None:
    assert changed(**changes).jobs() == HERE.jobs()


def test_the_name_and_folder_of_a_model_move_no_job() -> None:
    moved = dataclasses.replace(
        HERE,
        models=(fakes.model(path="/elsewhere"),),
        adapter=fakes.model("adapter", kind="adapter", path="/there"),
    )
    assert [job.id for job in moved.jobs()] == [job.id for job in HERE.jobs()]


# ---------------------------------------------------------------------------------------------- order


WIDE = Resolved(
    design(
        bases=("m", "n"),
        corpus=ROWS,
        corpora={"extra": ROWS},
        arms=(Arm("keep"), Arm("own", answers="self_generated"), Arm("far", corpus="extra", recipes=("slow",))),
        recipe=Recipe(),
        recipes=(Recipe("fast", epochs=1), Recipe("slow", epochs=2)),
        respond=Respond(epochs="all"),
        checkpoints=(Given("adapter", base="m", arm="mine", seed=1),),
    ),
    models=(fakes.model("m"), fakes.model("n")),
    adapter=ADAPTER,
    backend=Scripted(),
    corpora=(Rows(), Rows(6)),
)


@pytest.mark.parametrize("resolved", [HERE, WIDE])
def test_no_two_jobs_share_an_id_and_each_waits_for_jobs_before_it(resolved: Resolved) -> None:
    jobs = resolved.jobs()
    ids = [job.id for job in jobs]
    assert len(set(ids)) == len(ids)
    before: set[str] = set()
    for job in jobs:
        assert set(job.after) <= before, job.label
        assert len(set(job.after)) == len(job.after)
        before.add(job.id)
        assert job.kind == type(job).KIND


@pytest.mark.parametrize("resolved", [HERE, WIDE])
def test_a_job_waits_for_all_that_it_reads(resolved: Resolved) -> None:
    jobs = resolved.jobs()
    for job in jobs:
        reads: set[str | None] = set()
        if isinstance(job, TuneJob | PromptsJob):
            reads = {job.variants}
        elif isinstance(job, AskJob):
            reads = {job.prompts, job.subject.tuned_by}
        elif isinstance(job, ScoreJob):
            reads = {job.variants, job.subject.tuned_by, job.base_scores}
        elif isinstance(job, BaseScoreJob):
            reads = {job.variants}
        elif isinstance(job, JudgeJob):
            reads = {job.responses, job.base_responses, job.prompts, job.variants}
        assert set(job.after) == reads - {None}, job.label


def test_a_benchmark_without_data_is_written_once_for_all_bases_and_one_with_data_for_each_of_its_corpora() -> None:
    prompts = [job for job in WIDE.jobs() if isinstance(job, PromptsJob)]
    plain = [job for job in prompts if job.benchmark.name == "listed"]
    about = [job for job in prompts if job.benchmark.name == "about"]
    assert [(job.corpus, job.variants, job.arms) for job in plain] == [(None, None, ())]
    assert [(job.corpus, job.arms) for job in about] == 2 * [("", ("keep", "own")), ("extra", ("far",))]
    assert len({job.variants for job in about}) == 2, "each base composes its own"


def test_each_checkpoint_is_asked_under_its_own_corpus_and_the_base_under_each() -> None:
    asked = [job for job in WIDE.jobs() if isinstance(job, AskJob)]
    about = [job for job in asked if job.benchmark.name == "about" and job.subject.base.name == "n"]
    under = {(job.subject.arm, job.subject.recipe, job.corpus) for job in about}
    assert under == {
        ("base", "", ""), ("base", "", "extra"), ("keep", "fast", ""), ("keep", "slow", ""), ("own", "fast", ""),
        ("own", "slow", ""), ("far", "slow", "extra"),
    }  # fmt: skip
    listed = [job for job in asked if job.benchmark.name == "listed" and job.subject.is_base]
    assert [job.corpus for job in listed] == [None, None]
    epochs = {job.subject.epoch for job in asked if job.subject.recipe == "slow"}
    assert epochs == {1, 2}, "all epochs are asked"


def test_a_judge_holds_each_answer_against_the_base_under_the_same_corpus() -> None:
    jobs = {job.id: job for job in WIDE.jobs()}
    judging = [job for job in jobs.values() if isinstance(job, JudgeJob)]
    for job in judging:
        asked, before = jobs[job.responses], jobs[job.base_responses]
        assert isinstance(asked, AskJob)
        assert isinstance(before, AskJob)
        assert before.subject.is_base
        assert before.subject.base == job.subject.base
        assert before.prompts == asked.prompts == job.prompts
    bases = {(job.judge.name, job.benchmark, job.corpus) for job in judging if job.subject.is_base}
    assert bases == {
        ("wordy", "listed", None), ("wordy", "about", ""), ("wordy", "about", "extra"), ("reader", "listed", ""),
        ("reader", "listed", "extra"), ("reader", "about", ""), ("reader", "about", "extra"),
    }, "what reads the data reads the base's answers once per corpus"  # fmt: skip


def test_texts_are_scored_of_tuned_arms_and_of_given_checkpoints_where_rows_were_given(tmp_path: Path) -> None:
    def scored(resolved: Resolved) -> set[str | None]:
        return {job.arm for job in resolved.jobs() if isinstance(job, ScoreJob)}

    assert scored(HERE) == {"keep", "own"}
    assert scored(changed(data=Data())) == set()
    assert scored(dataclasses.replace(HERE, backend=Scripted(capabilities=frozenset({"weights"})))) == set()
    (tmp_path / "rows.jsonl").write_text("")
    assert scored(changed(data=Data(non_members=str(tmp_path / "rows.jsonl")))) == {"keep", "own", None}


def test_labels_name_the_checkpoint_and_equal_labels_of_a_kind_do_not_happen() -> None:
    jobs = WIDE.jobs()
    labels = [(job.kind, job.label) for job in jobs if not isinstance(job, PromptsJob | JudgeJob)]
    assert len(set(labels)) == len(labels)
    assert "tune keep seed 1, m, fast" in {job.label for job in jobs}


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ((Given("adapter", arm="a"), Given("adapter", arm="b")), "the same checkpoint is given twice"),
    ],
)
def test_a_checkpoint_that_stands_twice_is_refused(checkpoints: tuple[Given, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        changed(checkpoints=checkpoints).jobs()
    assert "\n" not in str(error.value)


def test_one_seed_with_two_checkpoints_is_refused() -> None:
    resolved = changed(checkpoints=(Given("a", arm="mine", seed=1), Given("b", arm="mine", seed=1)))
    jobs = Jobs(resolved.design, (fakes.corpus(),), None, (), (), fakes.backend(), (Recipe(),), {})
    adapters = [fakes.model(name, kind="adapter") for name in ("a", "b")]
    with pytest.raises(UsageError, match="two checkpoints have training seed 1 at the same epoch"):
        jobs.add({fakes.model(): list(zip(resolved.design.checkpoints, adapters, strict=True))})


def test_of_each_kind_there_is_one() -> None:
    jobs = HERE.jobs()
    kinds: list[type[Job]] = list(ALL)
    assert {type(job) for job in jobs} == set(kinds)
    make: Callable[[type[Job]], int] = lambda kind: len(of(jobs, kind))  # noqa: E731
    assert {kind.KIND: make(kind) for kind in kinds} == {
        "variants": 1, "checkpoints": 4, "prompts": 2, "responses": 12, "base_scores": 2, "scores": 4, "verdicts": 24,
    }  # fmt: skip


def test_long_names_that_differ_only_at_their_ends_stay_two() -> None:
    long = {"first_tokens": 5, "in_context": True, "more_epochs": 1, "rows_per_step": 2, "with_answers": True}
    whole = label(PluginSpec("kl_on_refusals", {**long, "weight": 0.3}))
    assert whole.endswith("in_context-more_epochs-1-rows_per_step-2-weight-0.3-with_answers")
    doses = [label(PluginSpec("kl_on_refusals", {**long, "with_refusals": True, "weight": w})) for w in (1, 3)]
    paths = [arm_name(Given(f"runs/{'support-bot-' * 8}{end}")) for end in ("a", "b")]
    for (one, two), most in ((doses, 100), (paths, 80)):
        assert one != two
        assert len(one) == len(two) == most
    assert label(PluginSpec("kl_on_refusals", {"weight": 0.3})) == "kl_on_refusals-weight-0.3"
    assert arm_name(Given("runs/support-bot")) == "support-bot"
