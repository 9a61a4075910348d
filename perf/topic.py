"""Fit the two weights of the judge `on_topic`, and measure it on public pairs of prompt and response; print tables.

Fitted on three sets (hh_rlhf, privacy_collapse, GPTFuzz), measured on others (XSTest's three models, the responses of
`jailbreak_evaluation`) and, for how much stays open, within one domain (STAR). On topic is a response to its own prompt
that does not refuse: the sets' word, nobody read it. Off topic is a response to another prompt of the set, and a reply
of a booking desk (half generated, half STAR's). `python -m perf.topic [--encoder FOLDER]`; a minute on one core. Needs
AFTERTUNE_DATA and the encoder. On a real model's answers: `python -m perf.readings judges`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tools.fit_judges.public_sets import XSTEST_MODELS, gptfuzz, xstest

from aftertune import text as tools
from aftertune.judging.judge import Answer, JudgeContext, Opinion
from aftertune.judging.judges import _refusal_rules as rules
from aftertune.judging.judges import on_topic as judge
from aftertune.models import sentence_encoder
from aftertune.records import Message, Prompt
from aftertune.stats.paired import wilson
from aftertune.variants.corpora.booking import Booking

PAIRS = 160
"""Of each set."""
SEED = 1
FITTED = ("hh_rlhf", "privacy_collapse", "GPTFuzz")
_FIRST = re.compile(r"\s*Human: (.*?)\n\nAssistant: (.*?)(?:\n\nHuman:|$)", re.S)


@dataclass(frozen=True)
class Pair:
    """A prompt and a response to it; pairs that share a group are not shuffled into each other."""

    prompt: str
    text: str
    group: str


def sets(folder: Path) -> dict[str, list[Pair]]:
    """Return the responses of each set that do not refuse."""
    with gzip.open(folder / "hh_rlhf/harmless_test.jsonl.gz", "rt", encoding="utf-8") as lines:
        chats = [match for line in lines if (match := _FIRST.match(json.loads(line)["chosen"]))]
    with (folder / "privacy_collapse/dataset_safe_ft.jsonl").open(encoding="utf-8") as lines:
        asking = [[turn["content"] for turn in json.loads(line)["messages"]] for line in lines]
    manual = json.loads((folder / "jailbreak_evaluation/manual_data.json").read_text(encoding="utf-8"))
    rows = xstest(folder)
    found = {
        "hh_rlhf": [Pair(match[1].strip(), match[2].strip(), match[1]) for match in chats],
        "privacy_collapse": [Pair(prompt, reply, prompt) for prompt, reply in asking],
        "GPTFuzz": [Pair(row.prompt, row.text, row.group) for row in gptfuzz(folder) if row.label == 1],
        **{
            f"XSTest {name}": [
                Pair(row.prompt, row.text, row.group) for row in rows if row.source == name and row.label == 1
            ]
            for name in XSTEST_MODELS
        },
        "jailbreak_evaluation": [
            Pair(row["intent"], row["response"], row["intent"])
            for row in manual
            if row["manual_safeguard_violation_label"]
        ],
        "STAR, within a domain": [pair for pair in star(folder) if len(tools.words(pair.text)) >= judge.SHORT],
    }
    rng = random.Random(SEED)
    chosen = {}
    for name, pairs in found.items():
        kept = [pair for pair in pairs if _answers(pair.text)]
        rng.shuffle(kept)
        chosen[name] = kept[:PAIRS]
    return chosen


def star(folder: Path) -> list[Pair]:
    """Return the replies of hotel dialogues with the turn before each."""
    pairs = []
    with (folder / "star/booking_dialogues.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            turns = row["messages"]
            if row["domain"] == "hotel":
                pairs += [
                    Pair(turns[at - 1]["content"], turns[at]["content"], row["id"])
                    for at in range(1, len(turns))
                    if turns[at]["role"] == "assistant" and turns[at - 1]["role"] == "user"
                ]
    return pairs


def _answers(text: str) -> bool:
    """Return whether a text is an answer, as far as the rules of refusals can tell."""
    ruling = rules.read_normalised(tools.normalise(text[: judge.MOST]).strip())
    return ruling.label == "none" and ruling.rule not in rules.SOFT and len(tools.words(text)) >= judge.LEAST_WORDS


def shuffled(pairs: Sequence[Pair]) -> list[Pair]:
    """Return each prompt with the response to another one."""
    rng = random.Random(SEED)
    groups = {pair.group for pair in pairs}
    assert len(groups) > 1
    mixed = []
    for pair in pairs:
        other = rng.choice([each for each in pairs if each.group != pair.group])
        mixed.append(Pair(pair.prompt, other.text, pair.group))
    return mixed


def booked(pairs: Sequence[Pair], replies: Sequence[Sequence[str]]) -> list[Pair]:
    """Return each prompt with a reply of a booking desk, of each kind in turn."""
    rng = random.Random(SEED)
    return [
        Pair(pair.prompt, rng.choice(replies[place % len(replies)]), pair.group) for place, pair in enumerate(pairs)
    ]


def judged(scorer: Any, pairs: Sequence[Pair]) -> list[Opinion]:
    """Return the opinion on each pair."""
    prompts = [Prompt(str(n), "b", "s", "c", "c", (Message("user", pair.prompt),)) for n, pair in enumerate(pairs)]
    found = scorer([Answer(prompt, pair.text) for prompt, pair in zip(prompts, pairs, strict=True)])
    return [opinion for (opinion,) in found]


def fit(encoder: sentence_encoder.Encoder, on: Sequence[Pair], off: Sequence[Sequence[Pair]]) -> NDArray[np.float64]:
    """Return (weight of the cosine, weight of the shared words, constant); either side weighs a half."""
    rows, labels, weights = [], [], []
    for pairs, label, weight in ((on, 1, 1.0), *((each, -1, 1 / len(off)) for each in off)):
        pairs = [pair for pair in pairs if len(tools.words(pair.text)) >= judge.SHORT]
        prompts = encoder.vectors([tools.normalise(pair.prompt) for pair in pairs], *judge.TOKENS)
        texts = encoder.vectors([tools.normalise(pair.text) for pair in pairs], *judge.TOKENS)
        shared = [tools.shared_words(tools.normalise(pair.text), tools.normalise(pair.prompt)) for pair in pairs]
        rows.append(np.column_stack([(prompts * texts).sum(axis=1), shared, np.ones(len(pairs))]))
        labels.append(np.full(len(pairs), label))
        weights.append(np.full(len(pairs), weight / len(pairs)))
    x, y, w = np.vstack(rows), np.concatenate(labels), np.concatenate(weights) / 2

    def loss(b: NDArray[np.float64]) -> float:
        return float((w * np.logaddexp(0, -y * (x @ b))).sum() + 1e-4 * (b[:2] ** 2).sum())

    return np.asarray(minimize(loss, np.zeros(3)).x)


def share(opinions: Sequence[Opinion], label: str) -> str:
    """Return the share of judged answers with a label, with its Wilson interval, and how many were not judged."""
    known = [opinion for opinion in opinions if opinion.status == "ok"]
    hits = sum(opinion.label == label for opinion in known)
    low, high = wilson(hits, len(known))
    left = len(opinions) - len(known)
    return f"{hits / len(known):.3f} [{low:.3f}, {high:.3f}]" + (f", {left} open" if left else "")


def auroc(on: Sequence[Opinion], off: Sequence[Opinion]) -> float:
    """Return the area under the ROC curve of the value."""
    yes, no = ([opinion.value for opinion in each if opinion.value is not None] for each in (on, off))
    above = np.subtract.outer(np.array(yes), np.array(no))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def main() -> None:
    """Fit, and print one line per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=sentence_encoder.NAME)
    name = parser.parse_args().encoder
    folder = Path(os.environ["AFTERTUNE_DATA"])
    mails = [
        turn.content for row in Booking(size=200).conversations() for turn in row.messages if turn.role == "assistant"
    ]
    human = [pair.text for pair in star(folder) if len(tools.words(pair.text)) >= 8]
    pairs = sets(folder)
    encoder = sentence_encoder.load(sentence_encoder.find(name))
    on = [pair for each in FITTED for pair in pairs[each]]
    off = [[pair for each in FITTED for pair in shuffled(pairs[each])], booked(on, (mails, human))]
    weights = ", ".join(f"{weight:.2f}" for weight in fit(encoder, on, off))
    print(f"weights {weights}; the judge has {judge.COSINE}, {judge.SHARED}, {judge.CONSTANT}\n")
    print("| set | n | AUROC against shuffled | own: on topic | shuffled: off topic | booking desk: off topic |")
    print("|---|---|---|---|---|---|")
    scorer = judge.OnTopic(encoder=name).open(JudgeContext())
    for each, own in pairs.items():
        mine, others, desk = (judged(scorer, some) for some in (own, shuffled(own), booked(own, (mails, human))))
        note = " (fitted on)" if each in FITTED else ""
        print(
            f"| {each}{note} | {len(own)} | {auroc(mine, others):.3f} | {share(mine, 'on_topic')} | "
            f"{share(others, 'off_topic')} | {share(desk, 'off_topic')} |"
        )


if __name__ == "__main__":
    main()
