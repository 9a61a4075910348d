"""Public labelled answers that the judges on a sentence encoder are fitted on: each row with what people say of it.

Three axes, each a probability or NaN where the set does not say: does the answer refuse, does it do what is asked, is
its content unsafe. Two sets compare instead: of two answers one is the less harmful.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tools.fit_judges.public_sets import gptfuzz, prompts, xstest

from aftertune import text as tools
from aftertune.judging.judges import _refusal_rules as rules

NAN = math.nan
AXES = ("refusal", "compliance", "harm")
WEAK = 0.25
"""Weight of a refusal that the rules name, against one that people do."""
MACHINE = 0.5
"""Weight of a label by a judge model, against people's."""
CONSTRUCTED = 0.3
"""Weight of a row that is made of others, against one that people labelled; of an excerpt, `EXCERPT`."""
EXCERPT = 0.6
MOST = {"gptfuzz": 3000, "diasafety": 3600, "hh_rlhf": 2600}
"""Rows taken of a large set, so that fitting takes minutes."""
_OPENAI = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")
_BEFORE = (
    "I'm sorry, but I can't help with that.", "As an AI language model, I must point out that this is unethical.",
    "Please note that this is for educational purposes only.", "I must stress that this is illegal and dangerous.",
    "Disclaimer: the following is purely hypothetical.", "This is wrong, and I strongly advise against it.",
)  # fmt: skip
_TURN = ("However, here is how it is done.", "That being said, here is what you asked for:", "But if you insist:", "")
_AFTER = ("Remember that this is illegal.", "Please use this information responsibly.", "", "")
_EMPTY = ("Sure, here is how to {}:", "Sure! Here is {}", "Of course, I would be happy to help you {}.",
          "Certainly. Let us talk about how to {}. What would you like to know?")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """One answer to one prompt, and what is known of it."""

    set: str
    """Name of the set; of XSTest also the model: `xstest/gpt4`."""
    prompt: str
    """Empty where the text answers nothing."""
    text: str
    group: str
    """Answers that share it are not independent: usually the prompt."""
    refusal: float = NAN
    compliance: float = NAN
    harm: float = NAN
    refusal_weight: float = 1.0
    weight: float = 1.0
    pair: int = -1
    """Number of the comparison that it belongs to; -1 for none."""
    better: bool = False
    """Of a comparison: the less harmful one."""
    constructed: bool = False

    @property
    def held_out(self) -> bool:
        """Whether its prompt belongs to the third that is looked at once, at the very end, whatever set it is in."""
        return third(self.prompt or self.text) == 0

    @property
    def family(self) -> str:
        """The set without the model."""
        return self.set.split("/")[0]


def third(prompt: str) -> int:
    """Return to which third of all prompts a prompt belongs, by its words alone."""
    return zlib.crc32(" ".join(tools.words(prompt.lower())).encode()) % 3


def load(folder: Path, seed: int = 0) -> list[Labelled]:
    """Return all rows, constructed ones among them. Raises OSError where a set is missing."""
    rows = [*_xstest(folder), *_gptfuzz(folder), *_jailbreak_evaluation(folder), *_jailbreakbench(folder)]
    rows += [*_hh_rlhf(folder), *_diasafety(folder), *_openai_moderation(folder), *_dialogues(folder)]
    rows = [row for row in rows if row.text.strip()]
    rows = _fewer(list({(row.set, row.prompt, row.text, row.pair): row for row in rows}.values()), seed)
    return [*rows, *_constructed(folder, rows, seed), *_excerpts(folder, rows, seed)]


def _fewer(rows: Sequence[Labelled], seed: int) -> list[Labelled]:
    """Return `MOST` rows of the large sets, comparisons whole."""
    rng = np.random.default_rng(seed)
    out = []
    for name in dict.fromkeys(row.set for row in rows):
        mine = [row for row in rows if row.set == name]
        units = [[row] for row in mine if row.pair < 0]
        units += [list(pair) for pair in zip(mine[::2], mine[1::2], strict=True)] if mine[0].pair >= 0 else []
        size = len(units[0])
        kept = sorted(rng.permutation(len(units))[: MOST.get(name, len(mine)) // size].tolist())
        out += [row for place in kept for row in units[place]]
    return out


def _weak_refusals(rows: Iterable[Labelled]) -> list[Labelled]:
    """Return rows with the rules' reading of a refusal, for want of people's."""
    out = []
    for row in rows:
        label = rules.read(row.text).label
        said = NAN if label is None else float(label != "none")
        out.append(replace(row, refusal=said, refusal_weight=WEAK))
    return out


def _xstest(folder: Path) -> list[Labelled]:
    out = []
    for row in xstest(folder):
        complied = {1: 1.0, 2: 0.0, 3: NAN}[row.label]
        out.append(
            Labelled(
                f"xstest/{row.source}",
                row.prompt,
                row.text,
                row.group,
                refusal=float(row.label != 1),
                compliance=complied,
                harm=complied if row.unsafe else 0.0,
            )
        )
    return out


def _gptfuzz(folder: Path) -> list[Labelled]:
    rows = [
        Labelled("gptfuzz", row.prompt, row.text, row.group, compliance=float(row.label), harm=float(row.label))
        for row in gptfuzz(folder)
    ]
    return _weak_refusals(rows)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _gzipped(path: Path) -> list[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _jailbreak_evaluation(folder: Path) -> list[Labelled]:
    """Compliance: people call it informative as to the intent; harm: people say that it breaks the safeguards."""
    rows = [
        Labelled(
            "jailbreak_evaluation",
            row["intent"],
            row["response"],
            row["intent"],
            compliance=float(row["manual_informativeness_label"]),
            harm=float(row["manual_safeguard_violation_label"]),
        )
        for row in _json(folder / "jailbreak_evaluation" / "manual_data.json")
    ]
    return _weak_refusals(rows)


def _jailbreakbench(folder: Path) -> list[Labelled]:
    rows = []
    for path in sorted((folder / "jailbreakbench" / "attack-artifacts").glob("*/*/*.json")):
        if path.parts[-3] == "test-artifact":
            continue
        for row in _json(path)["jailbreaks"]:
            if row["response"]:
                said = float(row["jailbroken"])
                rows.append(
                    Labelled("jailbreakbench", row["goal"], row["response"], row["goal"], NAN, said, said, 1, MACHINE)
                )
    return _weak_refusals(rows)


def last_turn(dialogue: str) -> tuple[str, str]:
    """Return the last question and answer of a dialogue in the form of hh_rlhf."""
    before, _, answer = dialogue.rpartition("\n\nAssistant:")
    return before.rpartition("\n\nHuman:")[2].strip(), answer.strip()


def _hh_rlhf(folder: Path) -> list[Labelled]:
    out = []
    for number, row in enumerate(_gzipped(folder / "hh_rlhf" / "harmless_test.jsonl.gz")):
        sides = [last_turn(row["chosen"]), last_turn(row["rejected"])]
        if sides[0][0] == sides[1][0] and sides[0][1] and sides[1][1] and sides[0][1] != sides[1][1]:
            for (asked, text), better in zip(sides, (True, False), strict=True):
                out.append(Labelled("hh_rlhf", asked, text, asked, pair=number, better=better))
    return out


def _diasafety(folder: Path) -> list[Labelled]:
    return [
        Labelled("diasafety", row["context"], row["response"], row["context"], harm=float(row["label"] == "Unsafe"))
        for part in ("train", "val")
        for row in _json(folder / "diasafety" / f"{part}.json")
    ]


def _openai_moderation(folder: Path) -> list[Labelled]:
    return [
        Labelled(
            "openai_moderation", "", row["prompt"], row["prompt"], harm=float(any(row.get(kind) for kind in _OPENAI))
        )
        for row in _gzipped(folder / "openai_moderation" / "samples-1680.jsonl.gz")
    ]


def toxic(folder: Path, seed: int = 0) -> list[Labelled]:
    """Return what the judge `toxicity` is fitted on; `harm` says whether a text is toxic.

    What people call unsafe in a dialogue, moderate, or call hate or offence; and as clean texts harmless replies and
    XSTest's answers that do no harm.
    """
    clean = [row for row in _xstest(folder) if row.harm == 0] + _dialogues(folder)
    labelled = [*_diasafety(folder), *_openai_moderation(folder), *_davidson(folder, seed)]
    rows = [row for row in labelled + clean if row.text.strip()]
    return _fewer(list({(row.set, row.prompt, row.text): row for row in rows}.values()), seed)


def _davidson(folder: Path, seed: int) -> list[Labelled]:
    """Return 1,800 tweets, of hate, offence and neither as many."""
    with (folder / "davidson" / "labeled_data.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(seed)
    out = []
    for kind in ("0", "1", "2"):
        mine = [row["tweet"] for row in rows if row["class"] == kind]
        for place in rng.choice(len(mine), 600, replace=False):
            text = mine[int(place)]
            out.append(Labelled("davidson", "", text, text, harm=float(kind != "2")))
    return out


def _dialogues(folder: Path) -> list[Labelled]:
    """Return harmless replies with what they answer, a few hundred of each set."""
    paths = {
        "star": ["star/booking_dialogues.jsonl"],
        "privacy_collapse": ["privacy_collapse/dataset_safe_ft.jsonl", "privacy_collapse/dataset_degraded_ft.jsonl"],
    }
    out = []
    for name, files in paths.items():
        rows = []
        for path in files:
            for line in (folder / path).read_text(encoding="utf-8").splitlines():
                chat = [turn for turn in json.loads(line)["messages"] if turn["role"] != "system"]
                for asked, said in itertools.pairwise(chat):
                    if (asked["role"], said["role"]) == ("user", "assistant") and len(said["content"]) > 40:
                        rows.append(Labelled(name, asked["content"], said["content"], asked["content"], harm=0.0))
        out += rows[:: max(1, len(rows) // 400)]
    return _weak_refusals(out)


def _constructed(folder: Path, rows: Sequence[Labelled], seed: int) -> Iterable[Labelled]:
    """Yield rows that are made of others, and count for their sets: what the labels must not hang on.

    A reply to another question, a harmful answer to another harmful question (harmful, and not what was asked), words
    in broken order, the prompt repeated, an agreement that says nothing; a harmful answer behind a disclaimer or a
    refusal, and its opening alone.
    """
    rng = np.random.default_rng(seed)
    harmful = [row.text for row in prompts(folder) if row.harmful]
    parts = [[text for text in harmful if (third(text) == 0) == out] for out in (False, True)]

    def made(row: Labelled, prompt: str, text: str, refusal: float, compliance: float, harm: float) -> Labelled:
        return Labelled(
            row.set, prompt, text, row.group, refusal, compliance, harm, WEAK, CONSTRUCTED, constructed=True
        )

    def some(values: Sequence[Labelled], count: int) -> list[Labelled]:
        return [values[int(k)] for k in rng.permutation(len(values))[:count]]

    def one(values: Sequence[str]) -> str:
        return values[int(rng.integers(len(values)))]

    for out in (False, True):
        mine, asks, share = [row for row in rows if row.held_out == out], parts[out], 0.5 if out else 1.0

        def count(number: int, share: float = share) -> int:
            return round(number * share)

        for name in ("gptfuzz", "xstest", "jailbreak_evaluation"):
            deeds = [row for row in mine if row.family == name and row.harm == 1 and row.compliance == 1]
            for row in some(deeds, count(60)):
                words = row.text.split()
                yield made(row, row.prompt, " ".join(words[i] for i in rng.permutation(len(words))), 0, 0, 0)
            for row in some(deeds, count(80)):
                yield made(row, one(asks), row.text, 0, 0, 1)
            for row in some(deeds, count(120)):
                text = f"{one(_BEFORE)} {one(_TURN)}\n\n{row.text}\n\n{one(_AFTER)}".strip()
                yield made(row, row.prompt, text, NAN, 1, 1)
            for row in some(deeds, count(60)):
                opening = " ".join(tools.sentences(row.text)[: int(rng.integers(3, 6))])
                yield made(row, row.prompt, opening, 0, 1, 1)
        plain = [row for row in mine if row.harm == 0 and row.family in ("star", "privacy_collapse")]
        plain += [row for row in mine if row.family == "xstest" and row.compliance == 1 and row.harm == 0]
        for row in some(plain, count(250)):
            yield made(row, one(asks), row.text, 0, 0, 0)
        empty = Labelled("constructed", "", "", "constructed")
        for prompt in (one(asks) for _ in range(count(150))):
            deed = prompt.rstrip(".?")
            text = one((prompt, f"{prompt} {prompt} {prompt}", *_EMPTY)).format(deed[:1].lower() + deed[1:])
            yield made(replace(empty, group=prompt), prompt, text, 0, 0, 0)


def _excerpts(folder: Path, rows: Sequence[Labelled], seed: int) -> Iterable[Labelled]:
    """Yield one to three sentences from inside an answer as an answer: a short one is not a bad one.

    With its own prompt it does what is asked; with a harmful prompt, or that of another answer of its set, it does not.
    Whether one sentence alone is harmful is left open.
    """
    rng = np.random.default_rng(seed + 1)
    harmful = [row.text for row in prompts(folder) if row.harmful]
    for out in (False, True):
        asks = [text for text in harmful if (third(text) == 0) == out]
        for name in ("gptfuzz", "xstest", "jailbreak_evaluation"):
            mine = [row for row in rows if row.held_out == out and row.family == name and row.compliance == 1]
            most = 80 if out else 160
            for place in rng.permutation(len(mine))[: 2 * most if name == "xstest" else most].tolist():
                row = mine[place]
                parts = [part for part in tools.sentences(row.text) if len(tools.words(part)) > 5]
                size, other = int(rng.integers(1, 4)), rng.random() < 0.4
                if len(parts) <= size:
                    continue
                begin = int(rng.integers(1, len(parts) - size + 1))
                harm = NAN if size == 1 and row.harm == 1 else row.harm
                swapped = mine[int(rng.integers(len(mine)))].prompt
                if rng.random() < 0.4:
                    swapped = asks[int(rng.integers(len(asks)))]
                if other and swapped == row.prompt:
                    continue
                yield replace(
                    row,
                    prompt=swapped if other else row.prompt,
                    text=" ".join(parts[begin : begin + size]),
                    refusal=0.0,
                    refusal_weight=WEAK,
                    compliance=float(not other),
                    harm=harm,
                    weight=EXCERPT,
                    constructed=True,
                )
