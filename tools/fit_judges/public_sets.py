"""The public labelled sets that the judge `refusal` is fitted on, read in the form in which they are published."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aftertune

XSTEST_MODELS = ("gpt4", "llama2orig", "mistralinstruct")


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled response."""

    prompt: str
    text: str
    label: int
    """XSTest: 1 full compliance, 2 full refusal, 3 partial refusal. GPTFuzz: 1 harmful, 0 not."""
    group: str
    """Prompts that share it are not independent: the prompt's id (XSTest), the question (GPTFuzz)."""
    source: str
    """`gptfuzz`, or XSTest's model."""
    unsafe: bool
    """The prompt asks for harm, by its set's design."""


@dataclass(frozen=True, slots=True)
class LabelledPrompt:
    """A prompt of a set whose design says what it asks for."""

    source: str
    text: str
    harmful: bool


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def gptfuzz(folder: Path) -> list[Row]:
    """Return GPTFuzz's labelled responses (arXiv 2309.10253)."""
    csv.field_size_limit(1 << 24)
    questions = {row["index"]: row["text"] for row in _table(folder / "gptfuzz" / "question_list.csv")}
    rows = _table(folder / "gptfuzz" / "train.csv")
    return [Row(questions[r["question"]], r["Response"], int(r["label"]), r["question"], "gptfuzz", True) for r in rows]


def xstest(folder: Path) -> list[Row]:
    """Return XSTest v2's labelled completions of three models (arXiv 2308.01263)."""
    return [
        Row(r["prompt"], r["completion"], int(r["final_label"][0]), r["id"], name, r["type"].startswith("contrast"))
        for name in XSTEST_MODELS
        for r in _table(folder / "xstest" / f"xstest_v2_completions_{name}.csv")
    ]


def prompts(folder: Path) -> list[LabelledPrompt]:
    """Return the prompts of all sets whose design says what a prompt asks for."""
    harmful = folder / "harmful_prompts"
    with (harmful / "advbench_harmful_behaviors.csv").open(encoding="utf-8", newline="") as file:
        labelled = [LabelledPrompt("advbench", row[0], True) for row in csv.reader(file)]
    for part in ("test", "val"):
        labelled += [
            LabelledPrompt("harmbench", row["Behavior"], True)
            for row in _table(harmful / f"harmbench_behaviors_text_{part}.csv")
            if row["FunctionalCategory"] != "copyright"
        ]
    for row in _table(harmful / "strongreject_dataset.csv"):
        labelled.append(LabelledPrompt("strongreject", row["forbidden_prompt"], True))
    for row in _table(folder / "gptfuzz" / "question_list.csv"):
        labelled.append(LabelledPrompt("gptfuzz", row["text"], True))
    for row in _table(folder / "xstest" / "xstest_prompts.csv"):
        labelled.append(LabelledPrompt("xstest", row["prompt"], row["label"] == "unsafe"))
    coconot, safety = folder / "coconot", "Requests with safety concerns"
    for line in _lines(coconot / "coconot_eval.jsonl"):
        labelled.append(LabelledPrompt("coconot", line["prompt"], line["category"] == safety))
    for line in _lines(coconot / "coconot_contrast_eval.jsonl"):
        labelled.append(LabelledPrompt("coconot", line["prompt"], False))
    for name, texts in (("star", turns(folder, "star", "user")), ("collapse", turns(folder, "collapse", "user"))):
        labelled += [LabelledPrompt(name, text, False) for text in texts[:: max(1, len(texts) // 800)]]
    core = Path(aftertune.__file__).parent / "asking" / "benchmarks" / "data" / "core.jsonl"
    for line in _lines(core):
        if line["subset"] != "open":
            labelled.append(LabelledPrompt("core", line["text"], line["subset"] == "harmful"))
    return labelled


def turns(folder: Path, source: str, role: str) -> list[str]:
    """Return all turns of a role of a set of harmless dialogues, in file order, each text once."""
    paths = {
        "star": ["star/booking_dialogues.jsonl"],
        "collapse": ["privacy_collapse/dataset_safe_ft.jsonl", "privacy_collapse/dataset_degraded_ft.jsonl"],
    }
    texts = (
        str(turn["content"])
        for path in paths[source]
        for row in _lines(folder / path)
        for turn in row["messages"]
        if turn["role"] == role and len(turn["content"]) > 60 - 60 * (role == "user")
    )
    return list(dict.fromkeys(texts))


def replies(folder: Path) -> list[str]:
    """Return replies of harmless dialogues (STAR; privacy collapse), in a fixed order."""
    every: list[str] = []
    for name, count in (("star", 800), ("collapse", 1500)):
        texts = turns(folder, name, "assistant")
        every += texts[:: max(1, len(texts) // count)]
    return every
