from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from aftertune import plugins
from aftertune import text as tools
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks import core
from aftertune.asking.benchmarks.core import Core
from aftertune.errors import DataError, UsageError
from aftertune.records import Prompt

PROMPTS = Core().prompts(BenchmarkContext())
BY_ID = {prompt.id: prompt for prompt in PROMPTS}
PAIRS = [(prompt, BY_ID[prompt.expect["pair"]]) for prompt in PROMPTS if prompt.subset == "harmful"]
CATEGORIES = Path(core.__file__).parent / "data" / "core_categories.jsonl"
FUNCTION_WORDS = frozenset(
    tools.words("""a about after again all also am an and any anybody anyone are as at be because been before being between but by
    can can't could did didn't do does doesn't don't each either every everybody everyone explain find for from get give
    had has have he help her here him his how i i'd i'm i've if in into is it it's its let like make may me might more
    most must my need neither no nobody none nor not nothing of off on one only or our out over own plan please put
    she should show so some somebody someone something suggest tell than that that's the their them then there there's
    these they this those through to too two up us very want was way we we're were what what's when where whether which
    while who whom why will with without won't would write you your""")
)


def words(prompt: Prompt) -> list[str]:
    return tools.words(prompt.messages[0].content)


def grams(prompt: Prompt, n: int) -> set[tuple[str, ...]]:
    tokens = words(prompt)
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


# ---------------------------------------------------------------------------------------------- shape


def test_sizes_are_those_of_the_card() -> None:
    assert Counter(prompt.subset for prompt in PROMPTS) == {"harmful": 440, "harmless": 440, "open": 60}
    for subset, groups, size in (("harmful", 44, 10), ("harmless", 44, 10), ("open", 12, 5)):
        counts = Counter(prompt.category for prompt in PROMPTS if prompt.subset == subset)
        assert len(counts) == groups
        assert set(counts.values()) == {size}


def test_ids_and_texts_are_unique_and_in_a_fixed_order() -> None:
    assert len(BY_ID) == len(PROMPTS) == len({prompt.messages for prompt in PROMPTS})
    assert list(PROMPTS) == list(Core().prompts(BenchmarkContext()))
    assert all(prompt.cluster == prompt.category and prompt.benchmark == "core" for prompt in PROMPTS)
    assert all(re.fullmatch(rf"{p.subset}-{p.category.replace(' ', '-')}-\d+", p.id) for p in PROMPTS)


def test_each_harmful_request_has_its_own_look_alike_of_the_same_category() -> None:
    for prompt in PROMPTS:
        if prompt.subset == "open":
            assert not prompt.expect
            continue
        pair = BY_ID[prompt.expect["pair"]]
        assert pair.expect["pair"] == prompt.id
        assert {pair.subset, prompt.subset} == {"harmful", "harmless"}
        assert pair.category == prompt.category


def test_every_category_is_mapped_and_every_class_of_the_taxonomies_is_met() -> None:
    rows = [json.loads(line) for line in CATEGORIES.read_text(encoding="utf-8").splitlines()]
    assert [row["category"] for row in rows] == list(dict.fromkeys(harmful.category for harmful, _ in PAIRS))
    assert {row["sorry_bench"] for row in rows} == {
        "hate speech generation",
        "assistance with crimes or torts",
        "potentially inappropriate topics",
        "potentially unqualified advice",
    }
    assert {row["harmbench"] for row in rows} == {
        "chemical_biological",
        "copyright",
        "cybercrime_intrusion",
        "harassment_bullying",
        "harmful",
        "illegal",
        "misinformation_disinformation",
    }
    # The twelve hazards of AILuminate 1.0, and elections, which it counts as advice.
    assert len({row["mlcommons"] for row in rows} - {None}) == 13


def test_metrics_name_subsets_that_exist_and_directions_are_right() -> None:
    metrics = {metric.name: metric.worse for metric in Core().metrics}
    assert metrics["core/harmful/refusal=full"] == "down"
    assert metrics["core/harmful/harm=harmful"] == "up"
    assert metrics["core/harmless/refusal=full"] == "up"
    assert metrics["core/open/coherence=coherent"] == "down"
    assert metrics["core/open/relevance=domain_script"] == "up"
    assert {name for name in metrics if "leak=registry" in name} == {
        f"core/{subset}/leak=registry" for subset in ("harmful", "harmless", "open")
    }
    assert {metric.subset for metric in Core().metrics} == {prompt.subset for prompt in PROMPTS}


# ---------------------------------------------------------------------------------------------- wording


def test_requests_are_short_and_hold_no_amounts_addresses_or_code() -> None:
    for prompt in PROMPTS:
        text = prompt.messages[0].content
        assert (3 if prompt.subset == "open" else 6) <= len(words(prompt)) <= 40, text
        assert not re.search(
            r"\d+\s?(?:g|kg|mg|ml|l|%|grams?|litres?|degrees|volts?)\b|https?:|www\.|[`{}<>\\\n]", text
        )
        assert text == text.strip() == tools.normalise(text)


def test_a_look_alike_is_about_as_long_as_its_request_and_shares_a_content_word() -> None:
    for harmful, harmless in PAIRS:
        long, short = len(words(harmful)), len(words(harmless))
        assert 0.6 * long <= short <= 1.4 * long, harmful.id
        assert (set(words(harmful)) & set(words(harmless))) - FUNCTION_WORDS, harmful.id


def test_no_two_prompts_but_a_pair_share_five_words_in_a_row() -> None:
    owners = defaultdict(set)
    for prompt in PROMPTS:
        for gram in grams(prompt, 5):
            owners[gram].add(frozenset((prompt.id, prompt.expect.get("pair", prompt.id))))
    assert {gram: sorted(map(sorted, ids)) for gram, ids in owners.items() if len(ids) > 1} == {}


def test_a_look_alike_repeats_at_most_half_of_its_request() -> None:
    for harmful, harmless in PAIRS:
        one, other = grams(harmful, 5), grams(harmless, 5)
        assert len(one & other) <= 0.5 * min(len(one), len(other)), harmful.id


def test_no_way_to_begin_a_prompt_is_worn_out() -> None:
    for subset in ("harmful", "harmless"):
        own = [words(prompt) for prompt in PROMPTS if prompt.subset == subset]
        assert max(Counter(tokens[0] for tokens in own).values()) < 0.1 * len(own)
        assert max(Counter(tuple(tokens[:3]) for tokens in own).values()) < 0.05 * len(own)


def test_form_does_not_tell_requests_from_look_alikes() -> None:
    harmful, harmless = ([pair[i] for pair in PAIRS] for i in (0, 1))
    lengths = [sum(len(words(prompt)) for prompt in group) / len(group) for group in (harmful, harmless)]
    assert abs(lengths[0] - lengths[1]) < 0.5
    questions = [sum("?" in prompt.messages[0].content for prompt in group) for group in (harmful, harmless)]
    assert abs(questions[0] - questions[1]) < 0.02 * len(PAIRS)


# ---------------------------------------------------------------------------------------------- subsets and faults


def test_a_smaller_set_is_the_beginning_of_every_category() -> None:
    full = list(PROMPTS)
    for size in (1, 3, 10):
        some = Core(per_category=size).prompts(BenchmarkContext())
        counts = Counter((prompt.subset, prompt.category) for prompt in some)
        assert {n for (subset, _), n in counts.items() if subset != "open"} == {size}
        assert {n for (subset, _), n in counts.items() if subset == "open"} == {(size + 1) // 2}
        assert len(counts) == 44 + 44 + 12
        kept = {prompt.id for prompt in some}
        assert list(some) == [prompt for prompt in full if prompt.id in kept]
        paired = [prompt for prompt in some if prompt.expect]
        assert {prompt.subset for prompt in paired} == {"harmful", "harmless"}
        assert all(prompt.expect["pair"] in kept for prompt in paired)
        assert all(int(prompt.id.rsplit("-", 1)[1]) <= size for prompt in some)


@pytest.mark.parametrize("size", [0, 11, -1, 2.5, "3", True])
def test_a_size_that_cannot_be_honoured_is_refused(size: object) -> None:
    with pytest.raises(UsageError, match="per_category = .*1 to 10"):
        plugins.load("benchmark", "core", {"per_category": size})


@pytest.mark.parametrize(
    "second",
    ['{"id": "2"}', "{", '{"id": "2", "subset": "closed", "category": "c", "text": "Why?"}', "[]"],
    ids=["a field is missing", "broken off", "an unknown subset", "no object"],
)
def test_a_damaged_file_is_named_with_its_line(second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "core.jsonl"
    path.write_text(
        '{"id": "1", "subset": "open", "category": "c", "text": "Why?"}\n' + second + "\n", encoding="utf-8"
    )
    monkeypatch.setattr(core, "_DATA", path)
    with pytest.raises(DataError, match=r"core\.jsonl:2"):
        Core().prompts(BenchmarkContext())
