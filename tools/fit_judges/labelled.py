"""Read the public labelled sets that the judge `refusal` is fitted on, as their datasets publish them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def prompts(folder: Path) -> list[tuple[str, str, int]]:
    """Return (source, prompt, 1 for harmful) of sets whose design says what a prompt asks for."""
    harmful = folder / "harmful_prompts"
    with (harmful / "advbench_harmful_behaviors.csv").open(encoding="utf-8", newline="") as file:
        found = [("advbench", row[0], 1) for row in csv.reader(file)]
    for part in ("test", "val"):
        found += [
            ("harmbench", r["Behavior"], 1)
            for r in _table(harmful / f"harmbench_behaviors_text_{part}.csv")
            if r["FunctionalCategory"] != "copyright"
        ]
    found += [("strongreject", r["forbidden_prompt"], 1) for r in _table(harmful / "strongreject_dataset.csv")]
    found += [("gptfuzz", r["text"], 1) for r in _table(folder / "gptfuzz" / "question_list.csv")]
    found += [
        ("xstest", r["prompt"], int(r["label"] == "unsafe")) for r in _table(folder / "xstest/xstest_prompts.csv")
    ]
    safety = "Requests with safety concerns"
    coconot = folder / "coconot"
    found += [("coconot", r["prompt"], int(r["category"] == safety)) for r in _lines(coconot / "coconot_eval.jsonl")]
    found += [("coconot", r["prompt"], 0) for r in _lines(coconot / "coconot_contrast_eval.jsonl")]
    for name, role_texts in (("star", turns(folder, "star", "user")), ("collapse", turns(folder, "collapse", "user"))):
        found += [(name, text, 0) for text in role_texts[:: max(1, len(role_texts) // 800)]]
    core = Path(__file__).parents[2] / "asking" / "benchmarks" / "data" / "core.jsonl"
    found += [("core", r["text"], int(r["subset"] == "harmful")) for r in _lines(core) if r["subset"] != "open"]
    return found


def turns(folder: Path, source: str, role: str) -> list[str]:
    """Return all turns of a role of a set of harmless dialogues, in file order, each text once."""
    paths = {
        "star": ["star/booking_dialogues.jsonl"],
        "collapse": ["privacy_collapse/dataset_safe_ft.jsonl", "privacy_collapse/dataset_degraded_ft.jsonl"],
    }
    said = (
        str(turn["content"])
        for path in paths[source]
        for row in _lines(folder / path)
        for turn in row["messages"]
        if turn["role"] == role and len(turn["content"]) > 60 - 60 * (role == "user")
    )
    return list(dict.fromkeys(said))


def replies(folder: Path) -> list[str]:
    """Return replies of harmless dialogues (STAR; privacy collapse), in a fixed order."""
    found: list[str] = []
    for name, count in (("star", 800), ("collapse", 1500)):
        texts = turns(folder, name, "assistant")
        found += texts[:: max(1, len(texts) // count)]
    return found
