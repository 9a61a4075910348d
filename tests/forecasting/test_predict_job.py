"""The job that predicts reads the variant, its card, the base's tokenizer and the base's own answers, and no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import tiny_models

from aftertune.data.conversations import ConversationWriter
from aftertune.data.variant_files import VariantFiles
from aftertune.errors import StoreError
from aftertune.forecasting.predict_job import PredictJob, rows_of
from aftertune.forecasting.predictor import Feature, OwnAnswer, Predictor, TuningData
from aftertune.forecasting.predictors.token_novelty import TokenNovelty
from aftertune.forecasting.resolved import ResolvedPredictor
from aftertune.models.identity import resolve
from aftertune.models.subject import ModelRecord
from aftertune.records import Conversation, Message, PluginSpec, Response
from aftertune.run.run_folder import Run
from aftertune.run.tables import table

NOVELTY = ResolvedPredictor.of(PluginSpec("token_novelty"), TokenNovelty())
CHATS = [
    Conversation(str(n), (Message("user", "How?"), Message("assistant", text)))
    for n, text in enumerate(("Good morning", "bicycle"))
]


def response(text: str, **changes: Any) -> Response:
    fields: dict[str, Any] = {
        "base": "tiny", "arm": "base", "recipe": "", "train_seed": None, "epoch": None, "checkpoint": "b",
        "benchmark": "m", "subset": "s", "prompt_id": text, "cluster": "k", "category": "k", "system": "",
        "template": "base", "temperature": 0.0, "sample": 0, "message_hash": "h", "token_hash": None, "text": text,
        "finish_reason": "stop", "new_tokens": 1,
    }  # fmt: skip
    return Response(**{**fields, **changes})


RESPONSES = [
    response("Good morning"),
    response("later", sample=1),
    response("warm", temperature=1.0),
    response("broken", error="out of memory", finish_reason="error"),
    response(" "),
    response("Where?", cluster="other"),
]


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> ModelRecord:
    return ModelRecord.of(resolve(str(tiny_models.save("llama", tmp_path / "base"))), "tiny")


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    variants = run.folder("variants", "v")
    variants.start()
    with ConversationWriter(VariantFiles(variants.path).arm("keep")) as file:
        for chat in CHATS:
            file.add(chat)
    variants.finish(documents={"cards": {"keep": {"arm": "keep", "words": 3}}})
    responses = run.folder("responses", "r")
    responses.start()
    responses.finish(tables={"responses": table(Response, RESPONSES)})
    return run


def predicting(base: ModelRecord, predictor: ResolvedPredictor = NOVELTY, **changes: Any) -> PredictJob:
    fields: dict[str, Any] = {"arm": "keep", "variants": "v", "responses": ("r",), "confidence": 0.9, "seed": 0}
    return PredictJob.make(predictor=predictor, base=base, **{**fields, **changes})


@dataclass(frozen=True)
class Spy(Predictor):
    """Keeps what it was given."""

    given: list[TuningData] = field(default_factory=list, compare=False)

    def features(self, data: TuningData, rng: np.random.Generator, *, confidence: float) -> Sequence[Feature]:
        self.given.append(data)
        value = float(rng.random())
        return [Feature(name="draw", value=value, low=confidence, high=1.0, n_tokens=1, n_conversations=1)]


@dataclass(frozen=True)
class Listener(Spy):
    """Asks for the base's own answers."""

    needs = frozenset({"own_answers"})


def test_a_predictor_gets_what_it_needs(base: ModelRecord, run: Run) -> None:
    spy, listener = Spy(), Listener()
    for plugin in (spy, listener):
        job = predicting(base, ResolvedPredictor.of(PluginSpec("spy"), plugin))
        job.run(run, run.job(job))
    for data in (*spy.given, *listener.given):
        assert [chat.messages for chat in data.conversations] == [chat.messages for chat in CHATS]
        assert data.card == {"arm": "keep", "words": 3}
        assert (
            data.tokens("Good morning")
            == tiny_models.tokenizer("llama")("Good morning", add_special_tokens=False)["input_ids"]
        ), "no special tokens"
    assert spy.given[0].own_answers == []
    assert listener.given[0].own_answers == [OwnAnswer("Good morning", "m/k"), OwnAnswer("Where?", "m/other")]


def test_what_it_waits_for_and_what_its_id_holds(base: ModelRecord) -> None:
    spy = ResolvedPredictor.of(PluginSpec("spy"), Spy())
    assert predicting(base).after == ("v", "r")
    assert predicting(base, spy).after == ("v",), "it needs no answers"
    jobs = [
        predicting(base),
        predicting(base, spy),
        predicting(base, arm="mask"),
        predicting(base, variants="w"),
        predicting(base, responses=("r", "s")),
        predicting(base, confidence=0.95),
        predicting(base, seed=1),
        predicting(dataclasses.replace(base, tokenizer_hash="other")),
    ]
    assert len({job.id for job in jobs}) == len(jobs)
    assert predicting(base).id == predicting(base).id


def test_rows_are_read_without_the_plugin_and_the_model(base: ModelRecord, run: Run) -> None:
    job = predicting(base)
    folder = run.job(job)
    folder.start()
    output = job.run(run, folder)
    folder.finish(tables=output.tables, info=output.info)
    bare = dataclasses.replace(job, predictor=dataclasses.replace(NOVELTY, plugin=None))
    (row,) = rows_of(run, [bare])
    assert (row.predictor, row.feature, row.base_model, row.arm) == ("token_novelty", "new tokens", "tiny", "keep")
    assert (row.n_conversations, row.n_reference, row.confidence) == (2, 2, 0.9)
    assert row.value is not None
    assert 0 < row.value < 1
    with pytest.raises(StoreError, match="run the command that began this run again"):
        bare.run(run, folder)


def test_random_draws_hang_on_the_seed_alone(base: ModelRecord, run: Run) -> None:
    spy = ResolvedPredictor.of(PluginSpec("spy"), Spy())

    def draw(seed: int) -> float:
        job = predicting(base, spy, seed=seed)
        value: float = job.run(run, run.job(job)).tables["rows"].column("value")[0].as_py()
        return value

    assert draw(0) == draw(0) != draw(1)


@dataclass(frozen=True)
class Reader(Spy):
    """Has the base read the data."""

    needs = frozenset({"readings"})


def test_the_base_reads_the_data_for_a_predictor_that_needs_it(base: ModelRecord, run: Run) -> None:
    reader, spy = Reader(), Spy()
    plugin = ResolvedPredictor.of(PluginSpec("spy"), reader)
    job = predicting(base, plugin)
    assert job.after == ("v",)
    job.run(run, run.job(job))
    (data,) = reader.given
    assert len(data.readings) == len(CHATS)
    assert all(each is not None and len(each.losses) > 1 for each in data.readings)
    ids = {
        job.id,
        predicting(base, ResolvedPredictor.of(PluginSpec("spy"), spy)).id,
        predicting(base, plugin, template_arguments={"enable_thinking": False}).id,
    }
    assert len(ids) == 3
    alone = predicting(base, ResolvedPredictor.of(PluginSpec("spy"), spy), template_arguments={"a": 1})
    assert alone.id in ids, "what does not read is the same under any template"
