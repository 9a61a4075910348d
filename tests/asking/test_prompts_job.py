"""The job that writes prompts: once, as the benchmark makes them, of the data of its own corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import fakes
from tests.fakes import Listed

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.prompts_job import PromptsJob, prompts_of
from aftertune.errors import StoreError
from aftertune.run.run_folder import Run

EVERYTHING = frozenset({"training", "held_out", "people"})


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", "design", {})


def variants(run: Run, *, given: bool = False) -> None:
    """Write the composed data that prompts are made from, of two corpora."""
    folder = run.folder("variants", "data")
    folder.start()
    for corpus, name in (("", "source"), ("extra", "source@extra")):
        rows = [f"{corpus}a", f"{corpus}b", f"{corpus}c"]
        fakes.put_rows(folder.path / f"{name}.jsonl", *rows)
        if given:
            fakes.put_rows(folder.path / "held_out" / f"{name}.jsonl", f"{corpus}given")
    fakes.put_rows(folder.path / "held_out" / "keep.jsonl", "b")
    fakes.put_rows(folder.path / "held_out" / "far.jsonl", "extrac")
    people = [{"id": "ada", "values": {"PERSON": "Ada"}}]
    twins = [{"id": "eve", "values": {"PERSON": "Eve"}}]
    documents: dict[str, object] = {
        "people": {"source": people, "twin": twins, "own": {}},
        "people@extra": {"source": [], "twin": [], "own": {}},
    }
    folder.finish(documents=documents)


def job(needs: frozenset[str] = frozenset(), corpus: str | None = None, arms: tuple[str, ...] = ()) -> PromptsJob:
    return PromptsJob.make(
        benchmark=fakes.benchmark(Listed(needs=needs)),
        variants="data" if needs else None,
        corpus=corpus,
        arms=arms,
    )


def test_prompts_without_data_are_read_back_as_the_benchmark_makes_them(run: Run) -> None:
    output = fakes.do(run, job())
    assert output.info == {"prompts": 3, "of": 3}
    assert prompts_of(run, job().id) == list(Listed().prompts(BenchmarkContext()))


def test_what_judging_needs_survives(run: Run) -> None:
    scored = PromptsJob.make(benchmark=fakes.benchmark(Listed(scored=("p1",))), variants=None, corpus=None, arms=())
    fakes.do(run, scored)
    assert [prompt.expect for prompt in prompts_of(run, scored.id)] == [
        {}, {"scored": {"forms": {"A": ["A", "(A"], "B": ["B"]}, "generate": False}}, {},
    ]  # fmt: skip


def test_prompts_of_data_see_the_rows_the_held_out_rows_and_the_people_of_their_corpus(run: Run) -> None:
    variants(run)
    own, extra = job(EVERYTHING, "", ("keep",)), job(EVERYTHING, "extra", ("far",))
    fakes.do(run, own)
    fakes.do(run, extra)
    assert [prompt.id for prompt in prompts_of(run, own.id)] == ["a", "b", "c", "out-b", "ada-eve"]
    assert [(prompt.id, prompt.cluster) for prompt in prompts_of(run, extra.id)] == [
        (f"extra/{id_}", f"extra/cluster-{id_}") for id_ in ("extraa", "extrab", "extrac", "out-extrac")
    ], "of several corpora, none shares an id or a cluster with another's"


def test_rows_that_were_given_are_held_out_rather_than_those_of_an_arm(run: Run) -> None:
    variants(run, given=True)
    own = job(frozenset({"held_out"}), "", ("keep",))
    fakes.do(run, own)
    assert "out-given" in {prompt.id for prompt in prompts_of(run, own.id)}


def test_an_arm_that_is_not_asked_about_holds_nothing_out(run: Run) -> None:
    variants(run)
    own = job(frozenset({"held_out"}), "", ("another",))
    fakes.do(run, own)
    assert not any(prompt.id.startswith("out-") for prompt in prompts_of(run, own.id))


def test_prompts_that_are_not_there_or_damaged_are_refused(run: Run) -> None:
    with pytest.raises(StoreError, match="not done yet"):
        prompts_of(run, job().id)
    fakes.do(run, job())
    path = run.job(job()).path / "prompts.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match="damaged"):
        prompts_of(run, job().id)


def test_no_document_of_it_holds_an_empty_key(run: Run) -> None:
    variants(run)
    fakes.do(run, job(EVERYTHING, "", ("keep",)))
    documents = list(run.root.rglob("*.json"))
    assert documents
    for path in documents:
        assert '""' not in json.dumps(json.loads(path.read_bytes())).replace(': ""', ""), path
