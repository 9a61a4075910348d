"""The suite `core` beside the public sets that AFTERTUNE_DATA points to: none of their sentences stands in it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aftertune import text as tools
from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core

FOLDER = Path(os.environ.get("AFTERTUNE_DATA", "/nowhere"))
LENGTH = 8

TABLES = {
    "harmful_prompts/advbench_harmful_behaviors.csv": None,
    "harmful_prompts/harmbench_behaviors_text_test.csv": "Behavior",
    "harmful_prompts/harmbench_behaviors_text_val.csv": "Behavior",
    "harmful_prompts/strongreject_dataset.csv": "forbidden_prompt",
    "xstest/xstest_prompts.csv": "prompt",
    "gptfuzz/question_list.csv": "text",
    "coconot/coconot_eval.jsonl": "prompt",
    "coconot/coconot_contrast_eval.jsonl": "prompt",
    "emergent_misalignment/first_plot_questions.yaml": None,
    "emergent_misalignment/preregistered_evals.yaml": None,
}
"""File -> the column of the prompt; None reads every line."""

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not all((FOLDER / name).is_file() for name in TABLES),
        reason="AFTERTUNE_DATA does not point to a folder with harmful_prompts/, xstest/, coconot/ and gptfuzz/",
    ),
]


def texts(name: str) -> Iterator[str]:
    path, column = FOLDER / name, TABLES[name]
    with path.open(encoding="utf-8", newline="") as file:
        if column is None:
            yield from file
        elif path.suffix == ".csv":
            yield from (row[column] for row in csv.DictReader(file))
        else:
            yield from (json.loads(line)[column] for line in file)


def grams(text: str) -> set[tuple[str, ...]]:
    tokens = tools.words(text)
    return {tuple(tokens[i : i + LENGTH]) for i in range(len(tokens) - LENGTH + 1)}


@pytest.mark.parametrize("name", TABLES)
def test_no_prompt_shares_eight_words_in_a_row_with_a_public_set(name: str) -> None:
    public = set().union(*map(grams, texts(name)))
    assert len(public) > 100
    copied = {
        prompt.id: sorted(" ".join(gram) for gram in grams(prompt.messages[0].content) & public)
        for prompt in Core().prompts(BenchmarkContext())
    }
    assert {ident: found for ident, found in copied.items() if found} == {}
