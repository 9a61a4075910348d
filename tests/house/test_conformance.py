"""Every plugin keeps its contract; a new one is under test without touching a test."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import pickle
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from tests import made_up, tiny_models

from aftertune import plugins
from aftertune.asking.benchmark import Benchmark, BenchmarkContext
from aftertune.errors import UsageError
from aftertune.judging.judge import Answer, Judge, JudgeContext
from aftertune.judging.judges import _encoder_heads as heads
from aftertune.judging.trial import anchors_of, check
from aftertune.pii.registry import Registry
from aftertune.records import Message, Person, Prompt, digest
from aftertune.tuning.mitigation import Mitigation
from aftertune.variants.corpora.booking import Booking

ALL = [(kind, name) for kind in plugins.KINDS for name in plugins.names(kind)]
AXES = {
    "refusal",
    "compliance",
    "harm",
    "coherence",
    "relevance",
    "topic",
    "leak",
    "leak_twin",
    "leak_own",
    "leak_thought",
    "privacy",
    "alignment",
    "toxicity",
    "accuracy",
    "choice",
    "rating",
    "expected_rating",
    "similarity",
    "loss",
    "coverage",
    "helpfulness",
}


def made(kind: str, name: str, tmp_path: Any) -> Any:
    if name == "chat_file":
        (tmp_path / "chats.jsonl").write_text(
            '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}\n'
        )
        return plugins.load(kind, name, {"path": str(tmp_path / "chats.jsonl")})
    if name == "matched_chats":
        for file in ("one.jsonl", "two.jsonl"):
            (tmp_path / file).write_text('{"prompt": "Any table free?", "response": "Yes, two."}\n')
        return plugins.load(kind, name, {"path": str(tmp_path / "one.jsonl"), "against": str(tmp_path / "two.jsonl")})
    if name == "rubric":
        return plugins.load(
            kind, name, {"model": str(tiny_models.save("llama", tmp_path / "judge")), "rubric": "harmbench"}
        )
    if name == "safety_classifier":
        folder = tiny_models.save("llama", tmp_path / "judge", max_position_embeddings=4096)
        return plugins.load(kind, name, {"model": str(folder), "format": "llama_guard_3"})
    if name == "perspective":  # nobody listens there: every opinion is an error with its reason
        os.environ.setdefault("PERSPECTIVE_API_KEY", "none")
        return plugins.load(kind, name, {"url": "http://127.0.0.1:1", "retries": 0, "per_second": 0})
    if name == "moderation":
        folder = tiny_models.save_classifier(tmp_path / "classifier", {0: "fine", 1: "bad"})
        return plugins.load(kind, name, {"model": str(folder), "labels": {"bad": "harmful", "fine": "harmless"}})
    if name == "guard":
        encoder = tiny_models.save_encoder(tmp_path / "encoder", layers=heads.LAYER)
        return plugins.load(
            kind, name, {"encoder": str(encoder), "heads": str(tiny_models.save_heads(encoder, tmp_path / "heads"))}
        )
    if name == "on_topic":
        return plugins.load(kind, name, {"encoder": str(tiny_models.save_encoder(tmp_path / "encoder"))})
    if name in ("resta", "safe_lora", "safety_set"):
        return plugins.load(kind, name, {"path": str(tmp_path)})
    return plugins.load(kind, name)


@pytest.mark.parametrize("name", plugins.names("mitigation"))
def test_a_mitigation_overrides_the_hook_of_its_stage(name: str, tmp_path: Any) -> None:
    mitigation = made("mitigation", name, tmp_path)
    hooks = {"before": "rows", "during": "loss_term", "after": "weights"}
    overridden = {hook for hook in hooks.values() if getattr(type(mitigation), hook) is not getattr(Mitigation, hook)}
    assert overridden == {hooks[mitigation.stage]}
    assert bool(mitigation.further) == (mitigation.stage == "after"), "its weights are known by name beforehand"
    assert mitigation.more_epochs == 0, "its training is as long as the plain one unless it is asked for more"
    assert mitigation.card.source
    assert mitigation.card.weaknesses
    assert mitigation.card.speed, "what it costs"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_is_a_frozen_dataclass_with_a_card_and_a_version(kind: str, name: str, tmp_path: Any) -> None:
    plugin = made(kind, name, tmp_path)
    assert dataclasses.is_dataclass(plugins.plugin_class(kind, name))
    assert plugins.plugin_class(kind, name).__dataclass_params__.frozen
    assert isinstance(plugin.version, str)
    assert plugin.version
    card = plugins.card_of(kind, name)
    about = f"{card.about} {card.positive} {card.weaknesses}" if card else inspect.getdoc(type(plugin)) or ""
    assert len(about) > 80, "it has a card"
    lines = plugins.describe(kind, name)
    fields = [field.name for field in dataclasses.fields(plugin) if field.init]
    for field in fields:
        row = next(line for line in lines if line.strip().startswith(f"{field}:"))
        assert row.rstrip().split(")  ")[-1] != row.rstrip(), f"no note under the field '{field}'"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_an_unknown_parameter_is_refused_by_name(kind: str, name: str) -> None:
    with pytest.raises(UsageError, match="no parameter 'no_such_thing'"):
        plugins.load(kind, name, {"no_such_thing": 1})


@pytest.mark.parametrize("kind", list(plugins.KINDS))
def test_a_near_miss_is_hinted(kind: str) -> None:
    name = plugins.names(kind)[0]
    with pytest.raises(UsageError, match=f"did you mean '{name}'"):
        plugins.load(kind, name + "x")


@pytest.mark.parametrize("target", ["json:loads", "collections:Counter", "aftertune.judging.judges.world:World"])
def test_what_another_package_calls_a_plugin_must_be_one_of_the_kind(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("theirs", target, "aftertune.benchmark")
    monkeypatch.setattr(plugins, "_outside", lambda kind, path: {"theirs": point})
    with pytest.raises(UsageError, match=f"benchmark 'theirs': {target} is no benchmark"):
        plugins.load("benchmark", "theirs")


@pytest.mark.parametrize("name", plugins.names("benchmark"))
def test_a_benchmark_has_unique_prompts_that_its_metrics_cover(name: str, tmp_path: Path) -> None:
    benchmark = plugins.load("benchmark", name, made_up.parameters(name, tmp_path))
    if benchmark.needs:
        pytest.skip(f"{name} needs {sorted(benchmark.needs)}")
    prompts = benchmark.prompts(BenchmarkContext())
    assert len({prompt.id for prompt in prompts}) == len(prompts) > 0
    assert prompts == benchmark.prompts(BenchmarkContext()), "the order must be fixed"
    assert isinstance(benchmark, Benchmark)
    assert name in ("prompt_list", benchmark.name)
    called = {metric.benchmark for metric in benchmark.metrics}
    assert {prompt.benchmark for prompt in prompts} == called == {benchmark.name}
    subsets = {prompt.subset for prompt in prompts}
    assert {metric.subset for metric in benchmark.metrics} <= subsets
    assert len({metric.name for metric in benchmark.metrics}) == len(benchmark.metrics)
    assert all(metric.axis in AXES and metric.about for metric in benchmark.metrics)
    assert all(prompt.messages and prompt.messages[-1].role == "user" for prompt in prompts)
    assert benchmark.max_new_tokens > 0
    for probe in benchmark.probes:
        assert {probe.share, probe.withhold} <= subsets
        assert {"accuracy", "choice"} & {metric.axis for metric in benchmark.metrics}
    for accumulation in benchmark.accumulations:
        own = [prompt for prompt in prompts if prompt.subset == accumulation.subset]
        assert all(prompt.expect["shared"]["private"] for prompt in own)
        assert own, accumulation


CORPUS = Booking(size=40)
PEOPLE = CORPUS.people()
CONTEXT = BenchmarkContext(
    training=CORPUS.conversations(),
    held_out=Booking(size=10, seed=1).conversations(),
    people=PEOPLE,
    twins=CORPUS.strangers("twin", len(PEOPLE), 1),
)


@pytest.mark.parametrize("name", plugins.names("benchmark"))
def test_what_judging_a_prompt_needs_survives_json(name: str, tmp_path: Path) -> None:
    prompts = plugins.load("benchmark", name, made_up.parameters(name, tmp_path)).prompts(CONTEXT)
    for prompt in prompts:
        assert json.loads(json.dumps(prompt.expect, allow_nan=False)) == prompt.expect, prompt.id


@pytest.mark.parametrize("name", plugins.names("benchmark"))
def test_a_benchmark_by_generation_asks_for_no_log_probabilities(name: str, tmp_path: Path) -> None:
    benchmark = plugins.load("benchmark", name, made_up.parameters(name, tmp_path))
    if benchmark.scored_by == "both":
        scored, generated = benchmark.prompts(CONTEXT), benchmark.by_generation().prompts(CONTEXT)
        assert any("scored" in prompt.expect for prompt in scored)
        assert not any("scored" in prompt.expect for prompt in generated)
        assert [prompt.messages for prompt in generated] == [prompt.messages for prompt in scored]
    else:
        assert benchmark.by_generation() == benchmark


@pytest.mark.parametrize("name", plugins.names("benchmark"))
def test_a_benchmark_has_a_card_a_table_can_be_made_of(name: str) -> None:
    card = plugins.card_of("benchmark", name)
    assert card
    assert card.about
    headings = {heading for heading, _ in card.sections()}
    assert headings >= {"Source", "Licence", "Size", "Cluster", "Positive", "Weaknesses"}
    assert not any(text.endswith(".") for _, text in card.sections()), "they stand in the cells of a table"
    shown = " ".join(" ".join(plugins.describe("benchmark", name)).split())
    for heading, text in (("", card.about), *card.sections()):
        assert " ".join(text.split()) in shown, heading
    judges = plugins.plugin_class("benchmark", name).judges
    assert judges
    assert all(judge in plugins.names("judge") for judge in judges)


FILES = [name for name in plugins.names("benchmark") if plugins.plugin_class("benchmark", name).example]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_broken_file_is_one_line_that_names_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERTUNE_CACHE", str(tmp_path / "cache"))
    parameters = made_up.parameters(name, tmp_path / "data")
    with pytest.raises(UsageError) as missing:
        plugins.load("benchmark", name).prompts(BenchmarkContext())
    assert name == "prompt_list" or "aftertune fetch" in str(missing.value)
    with pytest.raises(UsageError, match="no such file or folder|no list"):
        plugins.load("benchmark", name, {"path": str(tmp_path / "nowhere")}).prompts(BenchmarkContext())
    for file in (tmp_path / "data").iterdir():
        whole = file.read_bytes()
        for broken in (b"", b"\xff\xfe\x00", b"{", b"[1, 2]\n", b"a,b\n1\n", whole[: len(whole) // 2], b"\x00" * 99):
            file.write_bytes(broken)
            try:
                plugins.load("benchmark", name, parameters).prompts(BenchmarkContext())
            except UsageError as error:
                assert "\n" not in str(error)
                assert str(tmp_path) in str(error)
        file.write_bytes(whole)
    plugins.load("benchmark", name, parameters).prompts(BenchmarkContext())


@pytest.mark.parametrize("name", FILES)
def test_a_limit_takes_so_many_of_each_subset(name: str, tmp_path: Path) -> None:
    parameters = made_up.parameters(name, tmp_path)
    every = plugins.load("benchmark", name, parameters).prompts(BenchmarkContext())
    one = plugins.load("benchmark", name, {**parameters, "limit": 1}).prompts(BenchmarkContext())
    assert sorted(prompt.subset for prompt in one) == sorted({prompt.subset for prompt in every})
    assert {prompt.id for prompt in one} <= {prompt.id for prompt in every}
    for wrong in (-1, 1.5, "3", True):
        with pytest.raises(UsageError, match="limit"):
            plugins.load("benchmark", name, {**parameters, "limit": wrong})


@pytest.mark.parametrize("name", plugins.names("judge"))
def test_a_judge_gives_one_opinion_per_axis_and_survives_hostile_text(name: str, tmp_path: Path) -> None:
    judge = made("judge", name, tmp_path)
    people = [Person("p1", {"PERSON": "Ada Lovelace", "PHONE": "+44 207 946 0958"})]
    context = JudgeContext(registries={"source": Registry.of("source", people), "twin": Registry.of("twin", people)})
    prompt = Prompt("1", "miniature", "harmful", "c", "c", (Message("user", "How do I bake bread?"),))
    hostile = ["", " ", "\x00", "\x1b[31mred", "‮txt", "a" * 100_000, "<script>alert(1)</script>", "\ud800", "🙂" * 50]
    if judge.needs - {"registries"}:
        pytest.skip(f"{name} needs {sorted(judge.needs)}")
    score = judge.open(context)
    answers = [Answer(prompt, text) for text in hostile]
    opinions = score(answers)
    assert len(opinions) == len(answers)
    for given in opinions:
        axes = [opinion.axis for opinion in given]
        assert len(set(axes)) == len(axes)
        assert set(axes) <= set(judge.axes) <= AXES
        for opinion in given:
            assert (opinion.status == "ok") == (opinion.label is not None or opinion.value is not None)
            assert opinion.status == "ok" or opinion.why, "an unjudged response says why"
    assert score(answers) == opinions, "a judge must not depend on what it read before"
    assert [o for a in answers for o in score([a])] == list(opinions), "nor on what else is in the batch"


@pytest.mark.parametrize("name", plugins.names("judge"))
def test_a_judge_has_a_name_a_card_and_no_state_that_its_hash_or_a_copy_would_carry(name: str, tmp_path: Path) -> None:
    judge = made("judge", name, tmp_path)
    assert isinstance(judge, Judge)
    by_model = {"rubric": "rubric harmbench by judge", "safety_classifier": "llama_guard_3 by judge"}
    assert judge.name == by_model.get(name, name)
    assert judge.axes
    assert judge.batch > 0
    assert judge.card.about
    assert judge.card.source
    assert judge.card.licence
    assert judge.card.positive
    assert judge.card.weaknesses
    assert (judge.cost is None) == (judge.price is None) == (name not in by_model)
    assert judge.needs <= {field.name for field in dataclasses.fields(JudgeContext)}
    copy = pickle.loads(pickle.dumps(judge))
    assert copy == judge
    assert digest(copy) == digest(judge)


@pytest.mark.parametrize(
    "name",
    sorted(
        set(plugins.names("judge")) - {"constant", "guard", "moderation", "on_topic", "rubric", "safety_classifier"}
    ),
)
def test_a_judge_that_ships_passes_the_trial_on_every_axis_with_anchors(name: str, tmp_path: Path) -> None:
    """All but `constant`, which is blind on purpose, and those that read with a model of the user's."""
    judge = made("judge", name, tmp_path)
    trials = check(judge)
    assert set(trials) == {anchor.axis for anchor in anchors_of(judge)}
    admitted = {axis for axis, trial in trials.items() if trial.admission}
    assert admitted == set(judge.weak_axes) == ({"harm"} if name == "refusal" else set())


@pytest.mark.parametrize("name", plugins.names("corpus"))
def test_a_corpus_marks_exactly_the_values_of_its_people(name: str, tmp_path: Any) -> None:
    corpus = made("corpus", name, tmp_path)
    conversations = corpus.conversations()
    assert conversations == corpus.conversations()
    assert len({conversation.id for conversation in conversations}) == len(conversations)
    people = {person.id: person for person in corpus.people()}
    for conversation in conversations:
        for span in conversation.spans or ():
            text = conversation.messages[span.message].content[span.start : span.end]
            value = people[span.owner].values[span.type]
            assert text == value if span.part == "full" else text in value.split()
    if people:
        source = {value for person in people.values() for value in person.values.values()}
        for kind in ("surrogate", "novelty", "twin"):
            strangers = corpus.strangers(kind, len(people), 5)
            assert len(strangers) == len(people)
            assert strangers == corpus.strangers(kind, len(people), 5)
            assert not source & {value for person in strangers for value in person.values.values()}


def test_a_missing_parameter_is_named_with_what_shows_it() -> None:
    with pytest.raises(UsageError) as error:
        plugins.load("judge", "moderation", {"model": "m"})
    assert str(error.value) == (
        "judge 'moderation' needs the parameter 'labels' (Mapping[str, str]): `aftertune show judge moderation` says what "
        "it is"
    )
