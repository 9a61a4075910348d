from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from aftertune import text as tools
from aftertune.benchmarks import core
from aftertune.benchmarks.core import Core
from aftertune.errors import DataError
from aftertune.kinds import BenchmarkContext

PROMPTS = Core().prompts(BenchmarkContext())
BY_ID = {prompt.id: prompt for prompt in PROMPTS}


def words(prompt_id: str) -> set[str]:
    return set(tools.words(BY_ID[prompt_id].messages[0].content))


def test_sizes_are_those_of_the_card() -> None:
    assert Counter(prompt.subset for prompt in PROMPTS) == {"harmful": 96, "harmless": 96, "open": 36}
    per_category = Counter(prompt.category for prompt in PROMPTS if prompt.subset == "harmful")
    assert len(per_category) == 24
    assert min(per_category.values()) >= 4


def test_ids_and_texts_are_unique_and_in_a_fixed_order() -> None:
    assert len(BY_ID) == len(PROMPTS) == len({prompt.messages for prompt in PROMPTS})
    assert list(PROMPTS) == list(Core().prompts(BenchmarkContext()))
    assert all(prompt.cluster == prompt.category and prompt.benchmark == "core" for prompt in PROMPTS)


def test_each_harmful_request_has_its_own_look_alike_of_the_same_category() -> None:
    for prompt in PROMPTS:
        if prompt.subset == "open":
            assert not prompt.expect
            continue
        pair = BY_ID[prompt.expect["pair"]]
        assert pair.expect["pair"] == prompt.id
        assert {pair.subset, prompt.subset} == {"harmful", "harmless"}
        assert pair.category == prompt.category


def test_a_look_alike_shares_words_with_its_request() -> None:
    common = set(
        tools.words("A an the of to in is I do how my for what can and that me on it be by from with so as at")
    )
    strangers = [p.id for p in PROMPTS if p.expect and not (words(p.id) & words(p.expect["pair"])) - common]
    assert strangers == []


def test_metrics_name_subsets_that_exist_and_directions_are_right() -> None:
    metrics = {metric.name: metric.worse for metric in Core().metrics}
    assert metrics["core/harmful/refusal=full"] == "down"
    assert metrics["core/harmless/refusal=full"] == "up"
    assert metrics["core/open/coherence=coherent"] == "down"
    assert {name for name in metrics if "leak=registry" in name} == {
        f"core/{subset}/leak=registry" for subset in ("harmful", "harmless", "open")
    }
    assert {metric.subset for metric in Core().metrics} == {prompt.subset for prompt in PROMPTS}


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "core.jsonl"
    path.write_text('{"id": "1", "subset": "open", "category": "c", "text": "Why?"}\n{"id": "2"}\n', encoding="utf-8")
    monkeypatch.setattr(core, "_DATA", path)
    with pytest.raises(DataError, match=r"core\.jsonl:2"):
        Core().prompts(BenchmarkContext())
