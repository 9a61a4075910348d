"""A GGUF file through the commands: as the base of a study and of an audit, and as a checkpoint of its full base."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests import gguf_writing

from aftertune import shipped_models
from aftertune.asking.backends.transformers import Transformers
from aftertune.commands import audit, study
from aftertune.files import read_parquet
from aftertune.models.identity import resolve
from aftertune.models.session import Request
from aftertune.plugins import PluginSpec
from aftertune.records import Arm, Message, Prompt, Recipe
from aftertune.studies.design import Design, Given

FEW = PluginSpec("miniature", {"harmful": 6, "harmless": 6, "open": 6, "privacy": 6, "support": 6})
ONE = PluginSpec("local", {"workers": 1})


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AFTERTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default base, 8 bits a weight."""
    path = tmp_path_factory.mktemp("gguf") / "mini.Q8_0.gguf"
    return gguf_writing.write(shipped_models.folder(), path, quantization="Q8_0", pre="smollm")


def answers(base: str, checkpoint: Path | None = None) -> list[str]:
    prompts = [
        Prompt(f"p{number}", "few", "all", "any", f"p{number}", (Message("user", text),))
        for number, text in enumerate(
            ["Hello, I am 47 years old.", "How do I bake bread?", "Move booking 20815, please."]
        )
    ]
    with Transformers(batch_size=2).open(base) as session:
        session.use(checkpoint)
        requests = [Request(prompt, 0.0, 0, 1, 40) for prompt in prompts]
        replies = {reply.prompt_id: reply.text for reply in session.respond(requests, system=None, template="base")}
    return [replies[prompt.id] for prompt in prompts]


def test_the_same_answers_as_the_folder(tmp_path: Path) -> None:
    folder = shipped_models.folder()
    exact = gguf_writing.write(folder, tmp_path / "mini.gguf", pre="smollm")
    said = answers(str(folder))
    assert answers(str(exact)) == said
    assert all(said)


def test_a_study_on_a_file_and_an_audit_of_what_it_tuned(file: Path, tmp_path: Path) -> None:
    design = Design(
        name="gguf",
        bases=(str(file),),
        corpus=PluginSpec("booking", {"size": 24}),
        arms=(Arm("keep"),),
        recipe=Recipe(learning_rate=3e-3, epochs=1, batch_size=8),
        seeds=(1,),
        benchmarks=(FEW,),
        judges=(PluginSpec("world"),),
        policy="research",
    )
    run = study.run(design, tmp_path / "run", executor=ONE)
    assert {row.arm for row in run.drifts} == {"base", "keep"}
    adapter = next((run.root / "checkpoints").glob("*/epoch-1"))
    base = resolve(file)
    tuned = resolve(adapter, base=base)
    assert (tuned.kind, tuned.warnings) == ("adapter", ())
    with Transformers(batch_size=2).open(str(file)) as session:
        proof = session.use(adapter)
    assert proof.moved_weights
    assert proof.max_logit_change
    assert proof.matches_direct is not None
    assert proof.max_logit_change > 100 * proof.matches_direct
    record = json.loads((run.root / "study.json").read_text(encoding="utf-8"))
    assert base.identity in json.dumps(record)
    responses = [read_parquet(path) for path in (run.root / "responses").glob("*/responses.parquet")]
    assert {name for table in responses for name in table["base"].to_pylist()} == {str(file)}


def test_what_quantisation_did(file: Path) -> None:
    """As a checkpoint of its base: the same tokenizer in another file, other weights, proved from logits."""
    base = resolve(shipped_models.folder())
    quantised = resolve(file, base=base)
    assert quantised.warnings == ()
    assert quantised.tokenizer_hash == base.tokenizer_hash
    with Transformers(batch_size=2).open(str(shipped_models.folder())) as session:
        proof = session.use(quantised.path)
    assert proof.max_logit_change
    assert proof.moved_weights
    assert proof.moved_weights > 900_000  # of a million


def test_an_audit_of_a_quantised_file_against_its_base(file: Path, tmp_path: Path) -> None:
    design = audit.audit_design("embedded", [Given(str(file))])
    few = dataclasses.replace(design, benchmarks=(FEW,), judges=(PluginSpec("world"),))
    result = study.run(few, tmp_path / "run", executor=ONE)
    assert {row.arm for row in result.drifts if row.estimand == "checkpoint"} == {"mini.Q8_0.gguf"}
    assert not any("tokenizer" in warning or "template" in warning for warning in result.warnings)
