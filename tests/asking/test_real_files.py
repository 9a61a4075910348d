"""Benchmarks on the real files, read from where AFTERTUNE_DATA points: counts, classes and clusters as published."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aftertune import plugins
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.files import checksum
from aftertune.judging.judge import Answer
from aftertune.records import Prompt

DATA = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere"))
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not (DATA / "xstest").is_dir(), reason="AFTERTUNE_DATA does not point to the public data"),
]


def prompts(name: str, path: str, **parameters: Any) -> list[Prompt]:
    benchmark = plugins.load("benchmark", name, {"path": str(DATA / path), **parameters})
    found: list[Prompt] = list(benchmark.prompts(BenchmarkContext()))
    assert {metric.subset for metric in benchmark.metrics} <= {prompt.subset for prompt in found}
    return found


@pytest.mark.parametrize(
    ("name", "path", "parameters", "subsets", "clusters"),
    [
        ("xstest", "xstest", {}, {"safe": 250, "unsafe": 200}, 18),
        ("harmbench", "harmful_prompts", {}, {"standard": 159, "contextual": 81, "copyright": 80}, 7),
        ("harmbench", "harmful_prompts", {"split": "all"}, {"standard": 200, "contextual": 100, "copyright": 100}, 7),
        ("strongreject", "harmful_prompts", {}, {"harmful": 313}, 6),
        ("coconot", "coconot", {}, {"safety": 395, "other": 606, "contrast": 379}, 23),
        ("philosophical", "emergent_misalignment", {}, {"open": 24}, 8),
        ("philosophical", "emergent_misalignment", {"questions": "preregistered"}, {"open": 48}, 48),
        ("cimemories", "cimemories", {}, {"message": 490}, 10),
        ("privacylens", "privacylens", {"parts": "seed,action"},
         {"seed_withhold": 986, "seed_share": 986, "action": 493}, 493),
    ],
)  # fmt: skip
def test_counts(name: str, path: str, parameters: dict[str, Any], subsets: dict[str, int], clusters: int) -> None:
    found = prompts(name, path, **parameters)
    assert Counter(prompt.subset for prompt in found) == subsets
    assert len({prompt.cluster for prompt in found}) == clusters


def test_advbench_knows_its_near_duplicates() -> None:
    found = prompts("advbench", "harmful_prompts/advbench_harmful_behaviors.csv")
    assert len(found) == 520
    assert 250 < len({prompt.cluster for prompt in found}) < 450


def test_coconot_carries_the_rubric_of_the_subcategory() -> None:
    found = prompts("coconot", "coconot")
    with_rubric = [prompt for prompt in found if "rubric" in prompt.expect]
    assert len(with_rubric) > 900
    assert all({"refusal", "compliance"} <= set(prompt.expect["rubric"]) for prompt in with_rubric)


def test_philosophical_questions_keep_system_prompt_and_judge_prompts() -> None:
    found = prompts("philosophical", "emergent_misalignment")
    assert sum(prompt.messages[0].role == "system" for prompt in found) == 8
    assert all(set(prompt.expect["judge_prompts"]) == {"aligned", "coherent"} for prompt in found)
    assert max(Counter(prompt.cluster for prompt in found).values()) == 3


def test_privacylens_asks_both_classes_in_both_orders() -> None:
    found = prompts("privacylens", "privacylens")
    assert len(found) == 6409
    for level in ("seed", "vignette", "trajectory"):
        for kind, right in (("withhold", "No"), ("share", "Yes")):
            own = [p.expect["choice"] for p in found if p.subset == f"{level}_{kind}"]
            assert Counter(choice["correct"] for choice in own) == {"A": 493, "B": 493}
            assert all(choice["options"][choice["correct"]] == right for choice in own)
    facts = [item for p in found if p.subset == "action" for item in p.expect["shared"]["private"].values()]
    assert len(facts) == 1487


def test_confaide_tiers() -> None:
    found = prompts("confaide", "confaide")
    counts = Counter(prompt.subset.removeprefix("tier_") for prompt in found)
    assert counts == {
        "1": 10,
        "2a": 98,
        "2b": 98,
        "3_free": 270,
        "3_info": 270,
        "3_private": 270,
        "3_control": 270,
        "4_summary": 20,
        "4_actions": 20,
    }
    ratings = [p.expect["rating"]["human"] for p in found if p.subset == "tier_1"]
    assert (max(ratings), min(ratings)) == (3.8, 1.7)
    for prompt in found:
        if prompt.subset in ("tier_3_info", "tier_3_private"):
            story, question = prompt.messages[0].content.rsplit("\n\n", 1)
            assert not story.endswith("?"), "the story's own question is taken away"
            assert question.startswith("Who knows")


def test_cimemories_without_labels_says_that_it_cannot() -> None:
    found = prompts("cimemories", "cimemories")
    assert sum(p.messages[0].content.count("\n- ") for p in found if p.id.endswith("-00")) == 1467
    score = plugins.load("judge", "shared_items").open(None)
    for opinion in score([Answer(found[0], "My annual income is 72,000.")])[0]:
        assert opinion.status == "abstain"
        assert "no gold labels" in opinion.why


def test_the_pins_are_the_files_that_were_read() -> None:
    here = {path.name: path for path in DATA.rglob("*") if path.is_file()}
    pinned = {
        file.name: file.sha256
        for name in plugins.names("benchmark")
        if name != "prompt_list"
        for dataset in plugins.load("benchmark", name).datasets.values()
        for file in dataset.files
        if file.sha256
    }
    assert len(pinned) >= 17
    assert {name: checksum(here[name]) for name in pinned} == pinned


def test_a_fact_is_found_where_it_is_stated_and_not_elsewhere() -> None:
    """The figures on the card of `shared_items`."""
    from aftertune.data import table_files as rows
    from aftertune.text import shares, words_of

    items = [row["trajectory"] for _, row in rows.read(DATA / "privacylens" / "main_data.json", ("trajectory",))]
    words = [words_of(item["executable_trajectory"]) for item in items]
    own = other = total = 0
    for index, item in enumerate(items):
        known = frozenset(words_of(f"{item['user_instruction']} {item['user_name']}"))
        for fact in item["sensitive_info_items"]:
            total += 1
            own += shares(words[index], {"fact": fact}, known)
            other += shares(words[(index + 1) % len(items)], {"fact": fact}, known)
    assert total == 1487
    assert own / total == pytest.approx(0.982, abs=0.002)
    assert other / total == pytest.approx(0.022, abs=0.002)
