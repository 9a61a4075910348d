"""Interventions: layers beside shuffled updates, and the directions that are tried.

An update that acts is found, and one that holds nothing is not. The tuned model is made so that it is known beforehand: layer 1 has an update drawn at random, layer 2 one that raises
the readout, and layer 3 none.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests import tiny_models
from transformers import AutoModelForCausalLM, AutoTokenizer

from aftertune.asking.backends.transformers import Transformers, TransformersSession
from aftertune.commands import explain as library
from aftertune.errors import ModelError
from aftertune.inside import intervene_job, read_job
from aftertune.inside.analysis import Activations
from aftertune.inside.concepts import ABOUT, ConceptPairs, refusal_pairs, written
from aftertune.inside.explanation import Effect, Explanation
from aftertune.inside.intervene_job import (
    ANSWERS,
    NOTHING,
    READOUTS,
    TUNED,
    UNSHUFFLED,
    AnsweredSo,
    Intervened,
    InterveneJob,
    held_clusters,
)  # fmt: skip
from aftertune.records import Message, Prompt
from aftertune.reporting import explanation as page
from aftertune.run.job import Output
from aftertune.run.job_progress import PROGRESS
from aftertune.run.tables import records

WORDS = ("booking", "tyre", "wheel", "people", "phone", "travel", "help", "morning", "answer", "hole", "May", "number")
PROMPTS = tuple(Prompt(word, "b", "s", "c", word, (Message("user", f"The {word}?"),)) for word in WORDS)
OPENING = "G"
SIZE = 0.05
"""Of an update, as a share of the matrix."""


def tuned(base: Path, folder: Path) -> Path:
    """Write the tuned model: in layer 2 a step along the gradient of the mean log-probability of the opening."""
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    first = tokenizer.encode(OPENING, add_special_tokens=False)[0]
    logs = []
    for prompt in PROMPTS:
        turns = [{"role": "user", "content": prompt.messages[0].content}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        logs.append(model(input_ids=ids["input_ids"]).logits[0, -1].log_softmax(-1)[first])
    torch.autograd.backward(torch.stack(logs).mean())
    torch.manual_seed(0)
    with torch.no_grad():
        for number in (0, 1):
            for value in model.model.layers[number].parameters():
                if value.ndim == 2:
                    step = value.grad if number else torch.randn_like(value)
                    value += SIZE * value.norm() * step / step.norm()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(name="session", scope="module")
def _session(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("layers")
    base = tiny_models.save("llama", folder / "base", num_hidden_layers=3, initializer_range=0.1)
    with Transformers().open(str(base)) as session:
        session.use(tuned(base, folder / "tuned"))
        yield session


def job(draws: int, session: Any, monkeypatch: pytest.MonkeyPatch) -> InterveneJob:
    """Return the job of the tuned model, which takes what it needs of a run from here."""
    monkeypatch.setattr(intervene_job, "_directions", lambda *_: [])
    monkeypatch.setattr(read_job, "read", lambda _: SimpleNamespace(values=np.zeros((1, 4, 32))))
    monkeypatch.setattr(intervene_job, "chosen_prompts", lambda *_: PROMPTS)
    subject: Any = SimpleNamespace(id="t", is_base=False, base=SimpleNamespace(identity="b"))
    conditions: Any = SimpleNamespace(
        id="c", system="", template="base", template_arguments={}, session=lambda *_: session
    )
    return InterveneJob.make(
        "tuned", subject, "refusal", "a", "p", read=WORDS, asked=(), openings=(OPENING,), single=(), blocks=((1,), (2,), (3,)),
        draws=draws, seed=0, conditions=conditions,
    )  # fmt: skip


def done(work: InterveneJob) -> Output:
    run: Any = SimpleNamespace(folder=lambda *_: None)
    return work.run(run, run)


def rows(output: Output) -> list[Intervened]:
    return records(Intervened, output.tables[READOUTS])


def effects(output: Output) -> dict[str, Effect]:
    """Return layers -> effect, as `explain` makes them."""
    folder = SimpleNamespace(read=lambda name: output.tables[name])
    stub: Any = SimpleNamespace(job=lambda _: folder, design=SimpleNamespace(confidence=0.95), about="refusal")
    made = library.Explaining(stub, stub, {}, ())._effects("m", stub, {prompt.id: prompt for prompt in PROMPTS})
    return {effect.layers: effect for effect in made}


def test_an_update_that_acts_is_found_and_one_drawn_at_random_is_not(
    session: TransformersSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = effects(done(job(19, session, monkeypatch)))
    whole = found["all"]
    assert {layers: effect.n_null for layers, effect in found.items()} == {
        "1": 19, "2": 19, "3": 0, "rest": 0, "all": 0,
    }  # fmt: skip
    assert whole.change.low > 0
    assert found["2"].carries(whole) is True
    assert found["1"].clear, "by its interval alone it would be one of those that do something"
    assert found["1"].told is False, "its update is one of twenty"
    assert [found[part].carries(whole) for part in ("3", "rest")] == [False, False]
    (line,) = [
        line
        for line in page.sentences(
            Explanation(
                title="t", confidence=0.95, openings={}, readouts=(), twins=(), directions=(),
                effects=tuple(found.values()),
            )
        )
        if "whole tuning" in line
    ]  # fmt: skip
    assert "layer 2 (" in line.partition("carries a share")[0]
    assert "layer 1" not in line.partition("carries a share")[0]
    assert found["2"].null_high is not None
    assert found["2"].change.value > 2 * found["2"].null_high, "by far"


def test_a_draw_is_the_same_however_many_there_are(
    session: TransformersSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    expected: list[int] = []
    monkeypatch.setattr(PROGRESS, "advance", lambda count=1: counted.append(count))
    monkeypatch.setattr(PROGRESS, "expect", lambda of, **_: expected.append(of))
    few, more = rows(done(job(1, session, monkeypatch))), rows(done(job(2, session, monkeypatch)))
    assert sum(counted) == sum(expected) == 2 * 6 + 3 * 4, "what is skipped counts as done"
    drawn = [row for row in few if row.direction]
    assert {(row.how, row.direction, row.layers) for row in drawn} == {
        (TUNED, "shuffled 1", "1"), (TUNED, "shuffled 1", "2"),
    }  # fmt: skip
    assert [row for row in more if row.direction == "shuffled 1"] == drawn
    second = [row for row in more if row.direction == "shuffled 2"]
    assert len(second) == len(drawn) == 2 * len(PROMPTS)
    assert np.mean([one.value != other.value for one, other in zip(drawn, second, strict=True)]) > 0.5
    assert {row.layers for row in few if row.how == TUNED and not row.direction} == {"1", "2", "3", "rest", "none"}
    (nothing,) = {row.how for row in few if row.how != TUNED}
    assert nothing == NOTHING


def test_an_update_that_cannot_be_shuffled_is_named_and_the_rest_goes_on(
    session: TransformersSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = session.only_tuned

    def refusing(layers: Any, *, rest: bool = False, shuffled: int | None = None) -> Any:
        if shuffled is not None and layers == (1,):
            raise ModelError("1.odd: the update of a Odd cannot be shuffled")
        return exchange(layers, rest=rest, shuffled=shuffled)

    monkeypatch.setattr(session, "only_tuned", refusing)
    output = done(job(1, session, monkeypatch))
    assert output.info[UNSHUFFLED] == {"1": "1.odd: the update of a Odd cannot be shuffled"}
    assert {row.layers for row in rows(output) if row.direction} == {"2"}
    assert records(AnsweredSo, output.tables[ANSWERS]) == []


def activations(about: str, held: float) -> Activations:
    """Return activations of which a concept's two sides differ in one place, and in another in held clusters alone."""
    harmful, harmless = (
        [Prompt(f"{name}{n}", "b", name, "c", f"k{n}", (Message("user", f"{name} {n}"),)) for n in range(8)]
        for name in ("harmful", "harmless")
    )
    prompts = [*refusal_pairs([*harmful, *harmless], "harmful", "harmless", 0), *written(world=True, limit=8)]
    selected = ConceptPairs().select(prompts)
    place = list(ABOUT).index(about)
    values = np.random.default_rng(0).normal(scale=0.01, size=(len(selected), 3, 12)).astype(np.float32)
    _, codes = np.unique([prompt.cluster for prompt in prompts if prompt.subset == about], return_inverse=True)
    rows = [row for row, prompt in enumerate(prompts) if prompt.subset == about]
    for row, code in zip(rows, codes, strict=True):
        values[row, :, place] += 2.0 if selected[row].side == "first" else 0.0
        values[row, :, 11] += held if code % 2 and selected[row].side == "first" else 0.0
    return Activations(selected, values)


@pytest.mark.parametrize(("about", "sense"), [("refusal", 1.0), ("privacy", -1.0)])
def test_a_direction_is_estimated_apart_from_where_it_is_tried_and_points_at_what_is_lost(
    about: str, sense: float
) -> None:
    base = activations(about, held=100.0)
    found = {name: (vectors, lengths) for name, vectors, lengths in intervene_job._directions(base, about, 3, 0)}
    assert list(found) == [about, *(name for name in ABOUT if name != about), "random 1", "random 2", "random 3"]
    vectors, lengths = found[about]
    assert vectors[1, list(ABOUT).index(about)] == pytest.approx(sense, abs=0.01), "towards what it should bring back"
    assert lengths[1] == pytest.approx(2.0, abs=0.1), "nothing of the held clusters is in it"
    assert all((own == lengths).all() for _, own in found.values()), "all are of equal length"
    clusters = {prompt.cluster for prompt in base.prompts if prompt.pair.startswith(about)}
    held = held_clusters(base, about)
    assert held < clusters
    assert len(held) == len(clusters) // 2
