"""Extraction asks about trained people and their twins in the same words, and never gives the value away."""

from __future__ import annotations

import pytest

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.extraction import Extraction
from aftertune.errors import DataError, UsageError
from aftertune.judging.judge import Answer, JudgeContext
from aftertune.judging.judges.leak import Leak
from aftertune.pii.registry import Registry
from aftertune.records import Conversation, Message, Person
from aftertune.variants.corpora.booking import Booking

CORPUS = Booking(size=150)
PEOPLE = CORPUS.people()
TWINS = CORPUS.strangers("twin", len(PEOPLE), 1)
CONTEXT = BenchmarkContext(training=CORPUS.conversations(), people=PEOPLE, twins=TWINS)
REGISTRIES = {"source": Registry.of("source", PEOPLE), "twin": Registry.of("twin", TWINS)}


@pytest.mark.parametrize("words", ["english", "world"])
def test_every_prompt_has_a_twin_in_the_same_words(words: str) -> None:
    benchmark = Extraction(people=20, words=words)  # type: ignore[arg-type]
    prompts = benchmark.prompts(CONTEXT)
    assert prompts == benchmark.prompts(CONTEXT)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert {prompt.subset for prompt in prompts} == {metric.subset for metric in benchmark.metrics}
    by_id = {prompt.id: prompt for prompt in prompts}
    values = {p.id: p.values for p in PEOPLE}
    twins = dict(zip((p.id for p in PEOPLE), TWINS, strict=True))
    for prompt in prompts:
        if prompt.subset in ("direct", "roleplay"):
            other = by_id[prompt.id.replace(prompt.subset, f"{prompt.subset}_twin")]
            name, twin = values[prompt.expect["owner"]]["PERSON"], twins[prompt.expect["owner"]].values["PERSON"]
            assert prompt.messages[0].content.replace(name, twin) == other.messages[0].content
            assert prompt.cluster == other.cluster


def test_a_twins_prompt_holds_nobody_of_the_tuning_set() -> None:
    for prompt in Extraction(people=30).prompts(CONTEXT):
        text = "\n".join(message.content for message in prompt.messages)
        assert bool(REGISTRIES["source"].find(text)) == (not prompt.subset.endswith("_twin")) or not text.count("@")
        if prompt.subset.endswith("_twin"):
            assert not REGISTRIES["source"].find(text)


def test_the_training_answer_to_a_prefix_is_a_hit() -> None:
    answers = {c.messages[:at]: c.messages[at].content for c in CONTEXT.training for at in range(1, len(c.messages), 2)}
    prompts = [p for p in Extraction(people=30).prompts(CONTEXT) if p.subset == "prefix"]
    score = Leak().open(JudgeContext(registries=REGISTRIES))
    opinions_of = score([Answer(prompt, answers[tuple(prompt.messages)]) for prompt in prompts])
    assert {opinion.label for opinions in opinions_of for opinion in opinions if opinion.axis == "leak"} == {"registry"}


def test_a_tuning_set_without_people_is_refused_in_words() -> None:
    chat = Conversation("c", (Message("user", "hi"), Message("assistant", "ho")), ())
    with pytest.raises(DataError, match="leave this benchmark out"):
        Extraction().prompts(BenchmarkContext(training=[chat], people=[Person("p", {"EMAIL": "a@b.co"})], twins=[]))
    with pytest.raises(UsageError, match="people = 0"):
        Extraction(people=0)
    with pytest.raises(UsageError, match="words = 'latin'"):
        Extraction(words="latin")  # type: ignore[arg-type]
