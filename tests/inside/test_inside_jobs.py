"""The jobs that look inside: what is stored is what the session gave, a kill costs little, and the rows stand alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import tiny_models

from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.data import prompts as stored
from aftertune.errors import ModelError, StoreError
from aftertune.inside import read_job
from aftertune.inside.analyse_job import AnalyseJob, rows_of
from aftertune.inside.analyses.refusal_direction import RefusalDirection
from aftertune.inside.read_job import ReadJob
from aftertune.inside.resolved import ResolvedAnalysis
from aftertune.models.identity import resolve
from aftertune.models.loaded import LOADED
from aftertune.models.resolved import ResolvedBackend
from aftertune.models.subject import ModelRecord, Subject
from aftertune.records import Message, PluginSpec, Prompt
from aftertune.run.job import Job
from aftertune.run.run_folder import Run

DEEDS = ("open a lock", "sell a car", "print a bill", "copy a key", "send a letter", "enter a house")
PROMPTS = [
    Prompt(f"{subset}{n}", "b", subset, f"k{n % 8}", f"k{n % 8}", (Message("user", f"{start} {DEEDS[n % 6]} {n}"),))
    for subset, start in (("harmful", "How may I secretly"), ("open", "Why"), ("harmless", "How may I rightly"))
    for n in range(24)
]
BACKEND = ResolvedBackend.of(PluginSpec("transformers"), Transformers())
ANALYSIS = ResolvedAnalysis.of(PluginSpec("refusal_direction"), RefusalDirection())


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inside")
    tiny_models.save("llama", folder / "base")
    tiny_models.save_adapter(folder / "base", folder / "adapter", scale=0.2)
    return folder


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    run = Run(tmp_path)
    folder = run.folder("prompts", "p")
    folder.start()
    folder.finish(tables={stored.TABLE: stored.to_table(PROMPTS)})
    return run


def subject(models: Path, arm: str) -> Subject:
    base = ModelRecord.of(resolve(str(models / "base")), "tiny")
    if arm == "base":
        return Subject(base, "base", "", None, None, "b", None)
    return Subject(base, arm, "lora", 3, 1, "c", str(models / "adapter"))


def reading(models: Path, arm: str = "base", **changes: Any) -> ReadJob:
    fields: dict[str, Any] = {
        "subject": subject(models, arm),
        "analysis": ANALYSIS,
        "benchmark": "b",
        "prompts": "p",
        "system": "",
        "template": "base",
        "backend": BACKEND,
    }
    return ReadJob.make(arm, **{**fields, **changes})


def done(run: Run, job: Job) -> Job:
    folder = run.job(job)
    folder.start()
    output = job.run(run, folder)
    folder.finish(tables=output.tables, documents=output.documents, info=output.info)
    return job


def test_what_is_stored_is_what_the_session_gave(models: Path, run: Run) -> None:
    job = reading(models, "keep", system="Be kind.")
    done(run, job)
    activations = read_job.read(run.job(job))
    assert activations.prompts == ANALYSIS.get().select(PROMPTS)
    by_id = {prompt.id: prompt for prompt in PROMPTS}
    with Transformers().open(str(models / "base")) as session:
        session.use(models / "adapter")
        prompts = [by_id[each.prompt_id] for each in activations.prompts]
        expected = session.activations(prompts, system="Be kind.", template="base")
    assert activations.values.dtype == np.float32
    assert activations.values.tobytes() == expected.tobytes()
    info = run.job(job).info()
    assert (info["prompts"], info["layers"], info["width"]) == (48, 2, 32)
    assert info["proof"]["max_logit_change"] > 0


def test_a_stop_costs_nothing_that_was_finished_and_changes_no_byte(
    models: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reading(models)
    done(run, whole)
    expected = (run.job(whole).path / "activations.parquet").read_bytes()
    asked: list[str] = []
    real = TransformersSession.activations

    def killed_after(limit: int) -> Any:
        def activations(self: TransformersSession, prompts: Sequence[Prompt], **settings: Any) -> Any:
            if len(asked) >= limit:
                raise KeyboardInterrupt
            asked.extend(prompt.id for prompt in prompts)
            return real(self, prompts, **settings)

        return activations

    folder = run.folder(ReadJob.KIND, "interrupted")
    folder.start()
    monkeypatch.setattr(TransformersSession, "activations", killed_after(30))
    with pytest.raises(KeyboardInterrupt):
        whole.run(run, folder)
    assert len(asked) == 30
    assert len(folder.journal(read_job.JournalRow)) == 30, "what was finished"
    with (folder.path / "journal").open("ab") as file:
        file.write(b'{"prompt_id": "torn')
    monkeypatch.setattr(TransformersSession, "activations", killed_after(1000))
    folder.start()
    output = whole.run(run, folder)
    folder.finish(tables=output.tables, info=output.info)
    assert len(asked) == len(set(asked)) == 48, "no prompt was read twice"
    assert (folder.path / "activations.parquet").read_bytes() == expected


def test_the_id_holds_what_decides_the_activations(models: Path) -> None:
    other = ResolvedAnalysis.of(PluginSpec("refusal_direction"), RefusalDirection(harmless="open"))
    jobs = [
        reading(models),
        reading(models, "keep"),
        reading(models, system="Be kind."),
        reading(models, template="own"),
        reading(models, prompts="q"),
        reading(models, analysis=other),
        reading(models, backend=ResolvedBackend.of(PluginSpec("transformers"), Transformers(adapters="unmerged"))),
    ]
    assert len({job.id for job in jobs}) == len(jobs)
    assert reading(models).id == reading(models).id
    assert reading(models, "keep").after == ("p",)
    tuned_here = dataclasses.replace(subject(models, "keep"), tuned_by="t")
    assert reading(models, subject=tuned_here).after == ("t", "p")


def test_values_that_are_not_finite_are_an_error(models: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        TransformersSession, "activations", lambda *_, **__: np.full((1, 3, 8), np.inf, dtype=np.float32)
    )
    job = reading(models)
    run.job(job).start()
    with pytest.raises(ModelError, match="look inside base on b: activations of prompt 'harmful0' are not finite"):
        job.run(run, run.job(job))


def test_an_analysis_reads_benchmarks_that_have_its_subsets() -> None:
    assert ANALYSIS.reads(["harmful", "harmless", "open"])
    assert not ANALYSIS.reads(["harmful", "open"])


def test_rows_need_neither_models_nor_plugins_and_say_what_they_are_about(models: Path, run: Run) -> None:
    base, tuned = reading(models), reading(models, "keep")
    done(run, base)
    done(run, tuned)
    LOADED.unload()
    job = AnalyseJob.make("keep seed 3", base=base, tuned=tuned, confidence=0.9, seed=0)
    assert job.after == (base.id, tuned.id)
    done(run, job)
    bare = dataclasses.replace(job, analysis=dataclasses.replace(ANALYSIS, plugin=None))
    rows = rows_of(run, [bare])
    assert {row.layer for row in rows} == {1, 2}
    assert {row.quantity for row in rows} >= {"cosine", "disattenuated cosine", "reliability, tuned"}
    for row in rows:
        assert (row.analysis, row.benchmark, row.base_model) == ("refusal_direction", "b", "tiny")
        assert (row.arm, row.recipe, row.checkpoint, row.train_seed, row.epoch) == ("keep", "lora", "c", 3, 1)
        assert (row.n_pairs, row.n_clusters, row.confidence) == (24, 8, 0.9)
        assert row.warning.startswith("only 8 clusters")
    directly = ANALYSIS.get().compare(
        read_job.read(run.job(base)), read_job.read(run.job(tuned)), np.random.default_rng(7), confidence=0.9
    )
    assert [(row.quantity, row.layer, row.value, row.low) for row in rows] == [
        (each.name, each.layer, each.value, each.low) for each in directly
    ]
    assert all(row.value is None or row.value != pytest.approx(1) for row in rows), "the adapter moved it"
    with pytest.raises(StoreError, match="run the command that began this run again"):
        bare.run(run, run.job(job))


def test_a_model_against_itself_has_not_moved(models: Path, run: Run) -> None:
    base = reading(models)
    again = reading(models, subject=dataclasses.replace(subject(models, "base"), arm="twin", id="b2"))
    done(run, base)
    done(run, again)
    job = AnalyseJob.make("twin", base=base, tuned=again, confidence=0.95, seed=0)
    done(run, job)
    rows = rows_of(run, [job])
    same = [row for row in rows if row.quantity == "cosine, same prompts"]
    assert [row.value for row in same] == pytest.approx([1, 1])
    assert all((row.low, row.high) == pytest.approx((1, 1)) for row in same)
    for row in rows:
        if row.quantity in ("disattenuated cosine", "length ratio"):
            assert row.value == pytest.approx(1)
        if row.quantity == "cosine":
            assert row.value == pytest.approx(row.ceiling)
    other = dataclasses.replace(job, seed=1)
    assert other.run(run, run.job(job)).tables["rows"] != job.run(run, run.job(job)).tables["rows"]
    assert job.run(run, run.job(job)).tables["rows"] == run.job(job).read("rows")
