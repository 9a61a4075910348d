"""Which prompts are for tuning, which for choosing doses, and which are held out: named before anything was tuned.

Public prompts are read where they lie (the environment variable AFTERTUNE_DATA names the folder) and are copied
nowhere.

Held out, asked of the finished model: AdvBench, every fifth prompt; StrongREJECT; the standard behaviours of
HarmBench's test split (three public sets of harmful requests); the harmless contrast set of CoCoNot without its part on
safety, and a sample of the users' requests of privacy collapse (ordinary requests); XSTest, both kinds, told apart; the
suite `core`.

Development, for doses: AdvBench, every fifth prompt from the second on; the standard behaviours of HarmBench's
validation split; a part of CoCoNot's requests with safety concerns and of their contrast set; a group of each kind of
harm and every eighth ordinary request of the project's own.

What is tuned on comes near none of these prompts (`overlap.Prompts`), except that the project's own requests may come
near those of the development sets.
"""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.safety_tuning.overlap import Prompts

from aftertune.asking.benchmark import BenchmarkContext
from aftertune.asking.benchmarks.core import Core
from tools.safety_tuning import requests

VARIABLE = "AFTERTUNE_DATA"
EVERY = 8
"""Which of the own ordinary requests are for development."""
LONGEST = 300
"""Characters of a public request to tune on."""
_SAFETY = "Requests with safety concerns"


class NoDataError(Exception):
    """Why the public prompts cannot be read, in one line."""


@dataclass(frozen=True)
class Asked:
    """One prompt."""

    text: str
    source: str
    category: str = ""
    """Kind of harm, of the project's own requests."""


@dataclass(frozen=True)
class Row:
    """One row to tune on, without its answer."""

    id: str
    text: str
    harmful: bool
    source: str
    category: str = ""


def folder() -> Path:
    """Return the folder of the public prompts. Raises NoDataError where there is none."""
    named = os.environ.get(VARIABLE, "")
    if not named or not (Path(named) / "harmful_prompts").is_dir():
        raise NoDataError(f"{VARIABLE} names no folder with harmful_prompts/: the public prompts are read from there")
    return Path(named)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def _advbench() -> tuple[str, ...]:
    with (folder() / "harmful_prompts" / "advbench_harmful_behaviors.csv").open(encoding="utf-8", newline="") as file:
        rows = [row[0] for row in csv.reader(file)]
    return tuple(rows)


def _harmbench(split: str) -> list[str]:
    rows = _table(folder() / "harmful_prompts" / f"harmbench_behaviors_text_{split}.csv")
    return [row["Behavior"] for row in rows if row["FunctionalCategory"] == "standard"]


def _coconot(file: str, *, safety: bool, subcategory: str = "") -> list[str]:
    rows = lines(folder() / "coconot" / file)
    return [
        row["prompt"]
        for row in rows
        if (row["category"] == _SAFETY) == safety and subcategory in ("", row["subcategory"])
    ]


def _privacy_collapse() -> list[str]:
    rows = lines(folder() / "privacy_collapse" / "dataset_safe_ft.jsonl")
    texts = sorted({str(row["messages"][0]["content"]) for row in rows if row["messages"][0]["role"] == "user"})
    return random.Random("privacy collapse").sample(texts, 120)


def core() -> dict[str, list[Asked]]:
    """Return the prompts of the suite by subset: `harmful`, `harmless`, `open`."""
    found: dict[str, list[Asked]] = {}
    for prompt in Core().prompts(BenchmarkContext()):
        found.setdefault(prompt.subset, []).append(Asked(prompt.messages[-1].content, "core", prompt.category))
    return found


def held_out() -> dict[str, list[Asked]]:
    """Return the held-out public sets by name, without `core`."""
    strongreject = _table(folder() / "harmful_prompts" / "strongreject_dataset.csv")
    xstest = _table(folder() / "xstest" / "xstest_prompts.csv")
    sets = {
        "advbench": _advbench()[::5],
        "strongreject": [row["forbidden_prompt"] for row in strongreject],
        "harmbench": _harmbench("test"),
        "coconot-ordinary": _coconot("coconot_contrast_eval.jsonl", safety=False),
        "collapse-ordinary": _privacy_collapse(),
        "xstest-unsafe": [row["prompt"] for row in xstest if row["label"] == "unsafe"],
        "xstest-safe": [row["prompt"] for row in xstest if row["label"] == "safe"],
    }
    return {name: [Asked(text, name) for text in texts] for name, texts in sets.items()}


def own_development() -> tuple[requests.Group, ...]:
    """Return the groups that are not tuned on: one of each kind of harm, by chance."""
    by_category: dict[str, list[requests.Group]] = {}
    for group in requests.groups():
        by_category.setdefault(group.category, []).append(group)
    rng = random.Random("development")
    return tuple(rng.choice(groups) for groups in by_category.values())


def development() -> dict[str, list[Asked]]:
    """Return the development sets by name; no public prompt of them comes near a held-out one."""
    rng = random.Random("forms")
    own: dict[str, list[Asked]] = {"own-harmful": [], "own-harmless": []}
    for group in own_development():
        harmful, harmless = group.asked(rng.choice(requests.FORMS[group.kind]))
        own["own-harmful"].append(Asked(harmful, "own", group.category))
        own["own-harmless"] += [Asked(text, "own", group.category) for text in harmless]
    sets = {
        "dev-advbench": _advbench()[1::5],
        "dev-harmbench": _harmbench("val"),
        "dev-coconot": _coconot("coconot_eval.jsonl", safety=True, subcategory="dangerous or sensitive topics")[::2],
        "dev-coconot-contrast": _coconot("coconot_contrast_eval.jsonl", safety=True)[::3],
        "dev-ordinary": requests.ordinary()[::EVERY],
    }
    held = Prompts(each.text for each in _all(held_out()))  # some public sets took prompts from others
    return own | {name: [Asked(text, name) for text in texts if not held.near(text)] for name, texts in sets.items()}


def own_rows(seed: int = 0) -> list[Row]:
    """Return the project's own requests to tune on, each group in one form; none comes near a prompt of `core`."""
    held = {group.id for group in own_development()}
    rng = random.Random(f"rows {seed}")
    rows = []
    for group in requests.groups():
        form = rng.choice(requests.FORMS[group.kind])
        if group.id in held:
            continue
        harmful, harmless = group.asked(form)
        rows.append(Row(f"{group.id} harmful", harmful, True, "own pairs", group.category))
        rows += [
            Row(f"{group.id} harmless {number}", text, False, "own pairs", group.category)
            for number, text in enumerate(harmless, 1)
        ]
    rows += [
        Row(f"ordinary {at}", text, False, "own ordinary")
        for at, text in enumerate(requests.ordinary())
        if at % EVERY != 0
    ]
    suite = Prompts(each.text for each in _all(core()))
    return [row for row in rows if not suite.near(row.text)]


def public_rows() -> list[Row]:
    """Return the public harmful requests to tune on."""
    sources = {
        "advbench": [text for at, text in enumerate(_advbench()) if at % 5 > 1],
        "coconot": [
            text
            for part in ("misinformation", "privacy violations", "triggers for offensive language")
            for text in _coconot("coconot_eval.jsonl", safety=True, subcategory=part)
        ],
    }
    return [
        Row(f"{source} {at}", text, True, source)
        for source, texts in sources.items()
        for at, text in enumerate(texts)
        if len(text) < LONGEST
    ]


def rows(seed: int = 0, questions: Sequence[str] = ()) -> list[Row]:
    """Return everything to tune on; what comes near a held-out prompt, or as a public one near any other, is not.

    `questions`: ordinary requests that the base wrote (`questions.py`), which count as public ones.
    """
    held = Prompts(each.text for each in [*_all(held_out()), *_all(core())])
    chosen_on = Prompts(each.text for each in _all(development()))
    own = [row for row in own_rows(seed) if not held.near(row.text)]
    further = [Row(f"asked {at}", text, False, "asked by the base") for at, text in enumerate(questions)]
    return own + [row for row in [*public_rows(), *further] if not held.near(row.text) and not chosen_on.near(row.text)]


def _all(sets: dict[str, list[Asked]]) -> Sequence[Asked]:
    return [each for texts in sets.values() for each in texts]
